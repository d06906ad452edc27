//! What planning a pair of collections takes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{Digest, ObjectId, PartialReason};

/// An item as one side shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSight {
    /// The UID, by which both sides know it.
    pub uid: ObjectId,
    /// Identifies what it says: equal for contents that say the same.
    pub fingerprint: Digest,
    /// The version seen.
    pub version: Option<String>,
    /// When it changed last, by the clock of its side.
    pub changed: Option<DateTime<Utc>>,
    /// The name shown to people.
    pub label: String,
}

/// One of two collections. A UID that comes twice is reported, and left alone on both sides.
#[derive(Clone, Copy, Debug)]
pub struct ItemSide<'a> {
    /// The items seen, ascending by their UIDs.
    pub items: &'a [ItemSight],
    /// Why there may be others; `None`: there are none.
    pub rest: Option<&'a PartialReason>,
    /// The side's clock when it was read.
    pub now: Option<DateTime<Utc>>,
}

/// What one side said when both last agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemMark {
    /// What it said; `None` where it was written and not seen since: what it says at that version counts.
    pub fingerprint: Option<Digest>,
    /// The version then.
    pub version: Option<String>,
}

impl ItemMark {
    /// What is seen now.
    #[must_use]
    pub fn of(sight: &ItemSight) -> Self {
        Self {
            fingerprint: Some(sight.fingerprint),
            version: sight.version.clone(),
        }
    }

    /// What was written, and left this version.
    #[must_use]
    pub fn written(version: Option<String>) -> Self {
        Self {
            fingerprint: None,
            version,
        }
    }

    /// Whether a side still says what it said then. A side without versions that was written is taken as it is first seen.
    pub(super) fn holds_for(&self, sight: &ItemSight) -> bool {
        match &self.fingerprint {
            Some(fingerprint) => *fingerprint == sight.fingerprint,
            None => self.version.is_none() || self.version == sight.version,
        }
    }
}

/// What both sides said of one item when they last agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemBase {
    /// The UID.
    pub uid: ObjectId,
    /// The first side.
    pub first: ItemMark,
    /// The second side.
    pub second: ItemMark,
}

/// Who wins when both sides changed an item since they last agreed. A change always wins against a deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemConflict {
    /// The first side's content is written to the second.
    FirstWins,
    /// The first side's content stays, and the second's becomes an item of its own on both.
    KeepBoth,
    /// The content that changed last, by how long ago it changed on the clock of its own side. Reported where that is not known
    /// of both, or equal.
    Newest,
    /// Nothing is written, the conflict is reported.
    #[default]
    Report,
    /// The second side's content is written to the first.
    SecondWins,
}
