//! The roster: a JSON file that people may edit, written as a whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use usersync::connector::{Error, ErrorKind, Result, Version};
use usersync::model::{Digest, MembershipState, ObjectId, Role};

/// What is in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roster {
    pub(crate) containers: Vec<Listed>,
}

/// A container with its members. Who put them there is not in the roster, but in the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    pub(crate) id: ObjectId,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) members: Vec<Person>,
}

/// A member. Name and address are for readers, as they were when the member was added; the id says who it is. Guests whom the
/// directory does not have take any id that is theirs alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    pub(crate) id: ObjectId,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) role: Role,
    #[serde(default, skip_serializing_if = "is_active")]
    pub(crate) state: MembershipState,
}

fn is_active(state: &MembershipState) -> bool {
    *state == MembershipState::Active
}

impl Person {
    /// Another one for anything that somebody changes.
    pub(crate) fn version(&self) -> Version {
        let bytes = serde_json::to_vec(self).expect("a person has only text keys, so it has a JSON form");
        Version(Digest::of("sync_ldif.person/1", &bytes).short())
    }
}

impl Roster {
    pub(crate) fn get(&self, container: &ObjectId) -> Option<&Listed> {
        self.containers.iter().find(|listed| listed.id == *container)
    }

    pub(crate) fn get_mut(&mut self, container: &ObjectId) -> Option<&mut Listed> {
        self.containers.iter_mut().find(|listed| listed.id == *container)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let roster: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut containers: Vec<_> = roster.containers.iter().map(|listed| &listed.id).collect();
        containers.sort_unstable();
        if let Some(twice) = repeated(&containers) {
            return Err(format!("the container {twice} is there twice"));
        }
        for listed in &roster.containers {
            let mut members: Vec<_> = listed.members.iter().map(|person| &person.id).collect();
            members.sort_unstable();
            if let Some(twice) = repeated(&members) {
                return Err(format!("the member {twice} is in {} twice", listed.id));
            }
        }
        Ok(roster)
    }

    fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a roster has only text keys, so it has a JSON form") + "\n"
    }
}

fn repeated<'a>(sorted: &[&'a ObjectId]) -> Option<&'a ObjectId> {
    sorted
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
}

/// The file. It need not be there yet.
#[derive(Clone, Debug)]
pub(crate) struct RosterFile(PathBuf);

/// What was read: the roster, and the text that it was read from.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) roster: Roster,
    text: Option<String>,
}

impl RosterFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the roster; one that is not there is empty.
    pub(crate) fn read(&self) -> Result<Read> {
        let Some(text) = self.text()? else {
            return Ok(Read {
                roster: Roster::default(),
                text: None,
            });
        };
        match Roster::parse(&text) {
            Ok(roster) => Ok(Read {
                roster,
                text: Some(text),
            }),
            Err(problem) => {
                let message = format!("{} is no roster: {problem}; mend it", self.0.display());
                Err(Error::new(ErrorKind::InvalidData, message))
            }
        }
    }

    /// Replaces what was read by `roster`, and answers whether it did: not if somebody changed the file meanwhile.
    ///
    /// Whoever reads the file sees the old one or the new one, whatever happens. An edit that is saved between the last look and
    /// the renaming, which follow each other at once, is lost: files have no conditional write.
    pub(crate) fn replace(&self, read: &Read, roster: &Roster) -> Result<bool> {
        // Through a link, the file that it leads to is replaced, and not the link.
        let path = fs::canonicalize(&self.0).unwrap_or_else(|_| self.0.clone());
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let new = path.with_file_name(name);
        let fail = |error| self.error("written", error);
        write_whole(&new, &roster.to_text()).map_err(fail)?;
        if let Ok(old) = fs::metadata(&path) {
            fs::set_permissions(&new, old.permissions()).map_err(fail)?;
        }
        if self.text()? != read.text {
            fs::remove_file(&new).map_err(fail)?;
            return Ok(false);
        }
        fs::rename(&new, &path).map_err(fail)?;
        // So that the new name survives a loss of power. Not every system offers it; the next run would notice.
        if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(true)
    }

    fn text(&self) -> Result<Option<String>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read", error)),
        }
    }

    fn error(&self, what: &str, error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::InvalidData => ErrorKind::InvalidData,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unavailable,
        };
        // The file is replaced as a whole: what fails leaves the old one.
        Error::new(kind, format!("{} could not be {what}: {error}", self.0.display()))
            .with_unknown_outcome(false)
    }
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
