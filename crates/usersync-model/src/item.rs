//! Entries of a person's diary, tasks and contacts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a collection of items holds; each is synchronized for a link or not as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// Contacts.
    Contact,
    /// Entries of a diary; a recurring one is one item.
    Diary,
    /// Tasks.
    Task,
}

impl ItemKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Contact, Self::Diary, Self::Task];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Diary => "diary",
            Self::Task => "task",
        }
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
