//! The decision table: one key, one job.

use serde::{Deserialize, Serialize};
use usersync_model::Origin;

/// How a job treats what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Adds what is desired and takes back what it added itself.
    #[default]
    Managed,
    /// Makes the target equal to what is desired, whoever added what is there.
    Mirror,
    /// Adds, and never removes or clears.
    AddOnly,
}

impl Mode {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Mirror => "mirror",
            Self::AddOnly => "add_only",
        }
    }
}

/// What becomes of something of ours that somebody removed at the target, while it is still desired. Only
/// [`Mode::Managed`] has the choice; the other modes restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Leave it removed.
    Respect,
    /// Add it again.
    #[default]
    Restore,
}

/// What the ledger says about a key, seen from one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Standing {
    /// Whether this job claims it.
    pub claimed: bool,
    /// Who put it there; `None` without a row.
    pub origin: Option<Origin>,
    /// Whether another job claims it.
    pub others: bool,
}

impl Standing {
    /// A key of ours that only this job claims.
    pub const OURS: Self = Self {
        claimed: true,
        origin: Some(Origin::Ours),
        others: false,
    };

    /// Whether the key belongs to the base: this job claims it and its origin is ours.
    #[must_use]
    pub fn in_base(self) -> bool {
        self.claimed && self.origin == Some(Origin::Ours)
    }
}

/// Whether something is so, where it may not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// It is not.
    No,
    /// Nobody knows.
    Unknown,
    /// It is.
    Yes,
}

impl From<bool> for Truth {
    fn from(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }
}

/// What the table says about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Make it.
    Add,
    /// It is there and desired: claim it. Its origin stays, and is foreign without a row.
    Claim,
    /// It is gone and not desired: forget the claim.
    Forget,
    /// It is there and not desired, and stays for the reason given.
    Keep(Kept),
    /// All is as it should be.
    Nothing,
    /// It stays, and the claim on it is dropped.
    Release(Kept),
    /// End it, and drop the claim.
    Remove,
    /// Somebody removed it, and it stays removed.
    Respect,
    /// Somebody removed it; make it again.
    Restore,
    /// Not known enough. The operation named would be needed if things were as feared, and is held.
    Wait(Option<Needed>),
}

/// Why something stays that is not desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// The job never removes.
    AddOnly,
    /// Another job claims it.
    ClaimedElsewhere,
    /// Somebody else put it there.
    Foreign,
}

/// An operation that may be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Needed {
    /// Making it.
    Add,
    /// Ending it.
    Remove,
    /// Making it again.
    Restore,
}

/// The decision on one key, given what the ledger says, whether it is desired and whether it is there.
///
/// Total, and free of any other input. Where `desired` or `present` is unknown, the answer never adds, removes, restores
/// or forgets anything.
#[must_use]
pub fn decide(mode: Mode, drift: Drift, standing: Standing, desired: Truth, present: Truth) -> Decision {
    match (desired, present) {
        (Truth::No, Truth::No) if standing.claimed => Decision::Forget,
        (Truth::No, Truth::No) => Decision::Nothing,
        (Truth::No, Truth::Yes) => undesired(mode, standing),
        (Truth::Yes, Truth::No) if !standing.in_base() => Decision::Add,
        (Truth::Yes, Truth::No) => match (mode, drift) {
            (Mode::Managed, Drift::Respect) => Decision::Respect,
            _ => Decision::Restore,
        },
        (Truth::Yes, Truth::Yes) if standing.claimed => Decision::Nothing,
        (Truth::Yes, Truth::Yes) => Decision::Claim,
        (Truth::Unknown, Truth::Yes) => match undesired(mode, standing) {
            Decision::Remove => Decision::Wait(Some(Needed::Remove)),
            _ => Decision::Wait(None),
        },
        (Truth::Unknown, Truth::No) if standing.in_base() => match (mode, drift) {
            (Mode::Managed, Drift::Respect) => Decision::Wait(None),
            _ => Decision::Wait(Some(Needed::Restore)),
        },
        (Truth::Unknown, Truth::No) => Decision::Wait(Some(Needed::Add)),
        (Truth::Yes, Truth::Unknown) if standing.claimed => Decision::Wait(None),
        (Truth::Yes, Truth::Unknown) => Decision::Wait(Some(Needed::Add)),
        (Truth::No | Truth::Unknown, Truth::Unknown) => Decision::Wait(None),
    }
}

fn undesired(mode: Mode, standing: Standing) -> Decision {
    match mode {
        Mode::AddOnly if standing.in_base() => Decision::Keep(Kept::AddOnly),
        Mode::Mirror if !standing.others => Decision::Remove,
        Mode::Mirror if standing.claimed => Decision::Release(Kept::ClaimedElsewhere),
        Mode::Mirror => Decision::Keep(Kept::ClaimedElsewhere),
        _ if !standing.claimed => Decision::Keep(Kept::Foreign),
        _ if !standing.in_base() => Decision::Release(Kept::Foreign),
        _ if standing.others => Decision::Release(Kept::ClaimedElsewhere),
        _ => Decision::Remove,
    }
}
