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
    /// Why what is not seen may be there all the same, although all that there is was read: nothing goes from the other side for it.
    pub doubt: Option<&'a PartialReason>,
    /// The side's clock when it was read.
    pub now: Option<DateTime<Utc>>,
}

/// What both sides said of one item when they last agreed. What a side says of its own need not be on the other: systems drop
/// what they do not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemBase {
    /// The UID.
    pub uid: ObjectId,
    /// Identifies what the first side said.
    pub first: Digest,
    /// Identifies what the second side said.
    pub second: Digest,
    /// If both sides changed it since then: whether they changed the same properties, to different values, so that carrying one
    /// change over undoes the other. Otherwise both are carried over, one after the other.
    pub overlap: bool,
}

/// What both sides said when they last agreed.
#[derive(Clone, Copy, Debug)]
pub struct ItemBases<'a> {
    /// The bases, ascending by their UIDs.
    pub items: &'a [ItemBase],
    /// How many bases there are besides, of items that are on both sides, once each, as their bases say. They are listed nowhere:
    /// nothing becomes of them, but guards count them.
    pub others: u64,
}

impl<'a> From<&'a [ItemBase]> for ItemBases<'a> {
    /// These, and no others.
    fn from(items: &'a [ItemBase]) -> Self {
        Self { items, others: 0 }
    }
}

/// Who wins when both sides changed the same of an item since they last agreed. A change always wins against a deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemConflict {
    /// The first side's changes are written to the second.
    FirstWins,
    /// The first side's changes are written to the second, whose content becomes an item of its own on both before.
    KeepBoth,
    /// The content that changed last, by how long ago it changed on the clock of its own side. Reported where that is not known
    /// of both, or equal.
    Newest,
    /// Nothing is written, the conflict is reported.
    #[default]
    Report,
    /// The second side's changes are written to the first.
    SecondWins,
}

impl ItemConflict {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::FirstWins => "first_wins",
            Self::KeepBoth => "keep_both",
            Self::Newest => "newest",
            Self::Report => "report",
            Self::SecondWins => "second_wins",
        }
    }
}
