//! Folders for the files of one run of an example.

use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

/// A folder: a given one, which stays, or a new temporary one of this process alone, which is gone when it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    /// The folder at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn at(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self {
            path,
            is_temporary: false,
        })
    }

    /// A new temporary folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary() -> io::Result<Self> {
        let mut number = 0;
        loop {
            let path = env::temp_dir().join(format!("usersync-example-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        is_temporary: true,
                    });
                }
                // Left by a process of the same number that was killed, or used by another part of this one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// A file in the folder.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            // Nobody is left to tell if this fails.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
