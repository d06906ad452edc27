//! Keys. The tenant is not part of them: it is an argument of every call and a field of every transaction, so
//! that no call reaches across tenants.

use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{ContainerRef, PrincipalRef, Subject};

/// Between the parts of a key. Ids hold no control characters, so no part can imitate it.
const SEPARATOR: char = '\u{1f}';

/// Whether it is a character of ASCII that is no control character.
fn is_plain(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

/// The key of a value, a counter or a log entry: parts in the order of their significance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// The key made of these parts. Control characters in a part are dropped, so that parts stay apart.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut key = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
        for part in parts {
            // All bytes are looked at, so that many are looked at together.
            if part.bytes().fold(true, |all, byte| all & is_plain(byte)) {
                key.push_str(part);
            } else {
                key.extend(part.chars().filter(|c| !c.is_control()));
            }
            key.push(SEPARATOR);
        }
        Self(key)
    }

    /// The parts.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(SEPARATOR)
    }

    /// Whether the first parts of this key are the parts of `prefix`. The empty key is a prefix of every key.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// The key as stored; keys order as these texts do, byte for byte.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts()).finish()
    }
}

/// What kind of value a key names. Tables are apart: equal keys in two tables are two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// Approvals given and not used yet.
    Approval,
    /// Last agreed facets of records.
    Base,
    /// Cursors of reads.
    Cursor,
    /// Notifications that were refused: when they are tried again, and those that were given up.
    Delivery,
    /// When a principal was first missed.
    Departure,
    /// Operations begun and not ended: the journal.
    Intent,
    /// Job definitions.
    Job,
    /// What a job remembers between runs.
    JobState,
    /// Links.
    Link,
    /// Where items are: their bases by the places that they name.
    Place,
    /// Run reports.
    Run,
    /// When jobs run, and what they wait for.
    Schedule,
    /// Seats taken.
    Seat,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 13] = [
        Self::Approval,
        Self::Base,
        Self::Cursor,
        Self::Delivery,
        Self::Departure,
        Self::Intent,
        Self::Job,
        Self::JobState,
        Self::Link,
        Self::Place,
        Self::Run,
        Self::Schedule,
        Self::Seat,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Base => "base",
            Self::Cursor => "cursor",
            Self::Delivery => "delivery",
            Self::Departure => "departure",
            Self::Intent => "intent",
            Self::Job => "job",
            Self::JobState => "job_state",
            Self::Link => "link",
            Self::Place => "place",
            Self::Run => "run",
            Self::Schedule => "schedule",
            Self::Seat => "seat",
        }
    }
}

/// Entries that are only ever added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Log {
    /// Who did what, and by what right.
    Audit,
    /// Notifications to deliver; an entry is dropped once it is delivered.
    Outbox,
}

/// The key of a ledger row: one subject in one container of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerKey {
    /// The container, or the collection of records.
    pub container: ContainerRef,
    /// Who or what is in it.
    pub subject: Subject,
}

impl LedgerKey {
    /// The key of a membership.
    #[must_use]
    pub fn member(container: ContainerRef, principal: PrincipalRef) -> Self {
        Self {
            container,
            subject: Subject::Principal(principal),
        }
    }
}
