//! What is stored of items, and under which keys.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use usersync_connector::{Actor, Cursor, Version};
use usersync_content::Outline;
use usersync_model::{Digest, ItemKind, JobId, Link, ObjectId, OperationId, TenantId};
use usersync_reconcile::HoldCause;
use usersync_store::{Format, Key, Revision, StateRead, Table};

use crate::error::Result;

pub(super) const ROW: Format = Format {
    name: "usersync.item",
    version: 2,
};
pub(super) const INTENT: Format = Format {
    name: "usersync.item-intent",
    version: 2,
};
pub(super) const STATE: Format = Format {
    name: "usersync.item-state",
    version: 3,
};

/// One of the two sides of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    First,
    Second,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

/// What both sides said of an item when they last agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) uid: ObjectId,
    pub(super) first: Mark,
    pub(super) second: Mark,
}

/// What one side said of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) href: ObjectId,
    /// The version that says exactly this; `None` if there are no versions, or the side says more than was agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Version>,
    pub(super) outline: Outline,
}

impl Row {
    pub(super) fn mark(&self, side: Side) -> &Mark {
        match side {
            Side::First => &self.first,
            Side::Second => &self.second,
        }
    }

    pub(super) fn of(uid: ObjectId, side: Side, mark: Mark, other: Mark) -> Self {
        let (first, second) = match side {
            Side::First => (mark, other),
            Side::Second => (other, mark),
        };
        Self { uid, first, second }
    }
}

/// An operation on an item begun: durable before its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemIntent {
    pub(super) operation: OperationId,
    /// Whether an earlier attempt had this id already. Not stored: it is known anew when the operation is begun.
    #[serde(skip)]
    pub(super) carried: bool,
    /// Whether it was answered in this run. Not stored either.
    #[serde(skip)]
    pub(super) is_recent: bool,
    pub(super) side: Side,
    pub(super) uid: ObjectId,
    pub(super) effect: Effect,
    /// The version that the side had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Version>,
    /// What the other side says, from which this comes; `None` for a copy, which has no other side yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Mark>,
    pub(super) actor: Actor,
    pub(super) approved: bool,
    pub(super) reason: String,
    pub(super) plan: Digest,
    /// What the system answered, if what it made of the text is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answered: Option<Answered>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    /// The version that was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Version>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    Create {
        /// What the text says.
        wanted: Outline,
    },
    Delete,
    Update {
        /// What the new text says.
        wanted: Outline,
        /// What the old one said.
        before: Outline,
        /// What of the old one was agreed on.
        agreed: Outline,
    },
}

impl Effect {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Delete => "delete",
            Self::Update { .. } => "change",
        }
    }
}

/// What is remembered of a pair of collections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PairState {
    /// Rises with every batch of operations: part of their ids, beside the token of the lease.
    pub(super) serial: u64,
    /// How many rows there are, if all places that they name are stored: version 1 stored none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    /// Where reads of changes continue. Whatever did not change since then is what its row says.
    pub(super) first: Option<Cursor>,
    /// The same of the second side.
    pub(super) second: Option<Cursor>,
    /// Whether the link was removed: what is left of its rows and operations is being dropped, and counts no more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) forgotten: bool,
    /// Of which life of the link all this is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) life: Option<Revision>,
    /// The policy by which what it removes was shown last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) policy: Option<Digest>,
    /// What holds the removals of each side, until somebody approves them or nobody wants any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) shut: [Option<HoldCause>; 2],
    /// What an approval let go and is not known to be done yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) granted: Option<Granted>,
    /// What was written on each side since its cursor was given, and its place, if it was known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) written: [Written; 2],
}

/// By UID.
pub(super) type Written = BTreeMap<ObjectId, Option<ObjectId>>;

/// The operations that an approval let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Granted {
    pub(super) policy: Digest,
    /// `None`: it was given with the run, and lasts until it is done or nobody wants it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<DateTime<Utc>>,
    /// Where, on what, and the code of what is done to it.
    pub(super) operations: BTreeSet<(Side, ObjectId, String)>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// So many writes are remembered beside a cursor. After more of them the side is read whole, which costs little beside them.
const MOST_WRITTEN: usize = 100;

impl PairState {
    /// Drops the cursor of a side where too much was written since, and what was written where there is no cursor.
    pub(super) fn bound(&mut self, side: Side) {
        let cursor = match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        };
        let written = &mut self.written[side as usize];
        cursor.take_if(|_| written.len() > MOST_WRITTEN);
        if cursor.is_none() {
            written.clear();
        }
    }

    pub(super) fn cursor(&self, side: Side) -> Option<&Cursor> {
        match side {
            Side::First => self.first.as_ref(),
            Side::Second => self.second.as_ref(),
        }
    }
}

/// The parts of the keys of everything about one kind of items of one link.
pub(super) fn pair_parts<'a>(job: &'a JobId, link: &'a Link, kind: ItemKind) -> [&'a str; 6] {
    [
        job.as_str(),
        link.principal().system.as_str(),
        link.principal().object.as_str(),
        link.account().system.as_str(),
        link.account().object.as_str(),
        kind.code(),
    ]
}

/// Where the state of a pair of collections is, which is also the prefix of its rows and intents.
pub(super) fn pair_key(job: &JobId, link: &Link, kind: ItemKind) -> Key {
    Key::of(&pair_parts(job, link, kind))
}

pub(super) fn below(pair: &Key, last: &str) -> Key {
    let parts: Vec<&str> = pair.parts().chain([last]).collect();
    Key::of(&parts)
}

/// That a row names a place. Of several rows that name one, at most one can be what is there.
pub(super) fn place_key(pair: &Key, side: Side, href: &ObjectId, uid: &ObjectId) -> Key {
    below(&places_key(pair, side, href), uid.as_str())
}

/// What the keys of all rows that name a place start with.
pub(super) fn places_key(pair: &Key, side: Side, href: &ObjectId) -> Key {
    below(&below(pair, side.code()), href.as_str())
}

pub(super) async fn load_pair_state(
    state: &dyn StateRead,
    tenant: &TenantId,
    pair: &Key,
) -> Result<Option<PairState>> {
    match state.value(tenant, Table::Cursor, pair).await? {
        Some(stored) => Ok(Some(STATE.decode(&stored.bytes)?)),
        None => Ok(None),
    }
}

pub(super) async fn load_rows(
    state: &dyn StateRead,
    tenant: &TenantId,
    pair: &Key,
) -> Result<BTreeMap<ObjectId, Row>> {
    let mut chunks = state.values(tenant, Table::Base, pair);
    let mut rows = BTreeMap::new();
    while let Some(chunk) = chunks.try_next().await? {
        for (_, stored) in chunk {
            let row: Row = ROW.decode(&stored.bytes)?;
            rows.insert(row.uid.clone(), row);
        }
    }
    Ok(rows)
}

pub(super) async fn load_intents(
    state: &dyn StateRead,
    tenant: &TenantId,
    pair: &Key,
) -> Result<Vec<ItemIntent>> {
    let mut chunks = state.values(tenant, Table::Intent, pair);
    let mut intents = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        for (_, stored) in chunk {
            intents.push(INTENT.decode(&stored.bytes)?);
        }
    }
    Ok(intents)
}
