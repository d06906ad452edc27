//! Versions of objects, for targets with conditional writes.

use usersync_connector::{Error, ErrorKind, Precondition, Result, Version};

/// Gives every write a version of its own, over all objects: one that is made again never looks as it did before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions(u64);

impl Versions {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    /// What the next write gets.
    pub(crate) fn following(self) -> u64 {
        self.0 + 1
    }

    pub(crate) fn shown(version: u64) -> Version {
        Version(version.to_string())
    }
}

/// Whether an object in this version, `None` if it is not there, is what the operation requires.
pub(crate) fn expect_precondition(precondition: &Precondition, present: Option<u64>) -> Result<()> {
    let present = present.map(Versions::shown);
    match precondition {
        Precondition::None => Ok(()),
        Precondition::Absent if present.is_none() => Ok(()),
        Precondition::Version(version) if present.as_ref() == Some(version) => Ok(()),
        Precondition::Absent | Precondition::Version(_) => Err(Error::new(
            ErrorKind::Conflict,
            "somebody changed it meanwhile; read it again and decide anew",
        )),
    }
}
