//! What a job is allowed to do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use usersync_model::{Digest, MembershipState, PrincipalRef};

use crate::decide::{Drift, Mode};
use crate::merge::{ConflictPolicy, FirstSight};

/// How a job treats what it finds, and how much it may remove without asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How it treats what it finds.
    pub mode: Mode,
    /// What becomes of memberships of ours that somebody removed.
    pub drift: Drift,
    /// Who wins when both sides changed a facet.
    pub conflict: ConflictPolicy,
    /// What becomes of the facets of something never agreed on.
    pub first_sight: FirstSight,
    /// The state that new members get.
    pub initial_state: MembershipState,
    /// How many hours a principal that left its directory keeps what it has. `None`: none.
    pub grace_hours: Option<u32>,
    /// How much may be removed without asking.
    pub guards: Guards,
}

impl Policy {
    /// A policy of `mode`, and otherwise the default one.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }

    /// Identifies the policy: equal for equal policies only.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(self).expect("a policy has only text keys, so it has a JSON form");
        Digest::of("usersync.policy/1", &bytes)
    }
}

/// The limits beyond which removals are held until somebody approves them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guards {
    /// Per container.
    pub container: Option<Share>,
    /// Whether a container of ours that would become empty is held.
    pub emptied: bool,
    /// Per run.
    pub run: Option<Share>,
    /// Across runs.
    pub window: Option<Window>,
    /// Whether administrators, owners and last owners are held.
    pub privileged: bool,
    /// Who is never removed without an approval.
    pub protected: BTreeSet<PrincipalRef>,
    /// Who every complete read must show; if one is missing, nothing is removed.
    pub sentinels: BTreeSet<PrincipalRef>,
    /// What happens to everything else when a guard holds something.
    pub on_exceeded: OnExceeded,
}

impl Default for Guards {
    /// Per container more than 50 % of at least 10; per run more than 20 %, and at least 10; a day's window of the
    /// same figures; emptied containers and privileged principals held.
    fn default() -> Self {
        Self {
            container: Some(Share {
                percent: 50,
                floor: 10,
            }),
            emptied: true,
            run: Some(Share {
                percent: 20,
                floor: 10,
            }),
            window: Some(Window {
                hours: 24,
                share: Share {
                    percent: 20,
                    floor: 10,
                },
            }),
            privileged: true,
            protected: BTreeSet::new(),
            sentinels: BTreeSet::new(),
            on_exceeded: OnExceeded::HoldRemovals,
        }
    }
}

/// A share of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// In percent; more than this is too much.
    pub percent: u8,
    /// Per container: with fewer members than this, the share is not looked at. Per run and window: so many are always
    /// allowed.
    pub floor: u32,
}

/// A limit across runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its length.
    pub hours: u32,
    /// How much may be removed within it.
    pub share: Share,
}

/// What happens to the rest of a plan when a guard holds removals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExceeded {
    /// Additions continue.
    #[default]
    HoldRemovals,
    /// Everything is held.
    StopEverything,
}

impl Share {
    /// Whether removing `removals` of a container's `present` is too much.
    #[must_use]
    pub fn exceeded_in_container(self, removals: u64, present: u64) -> bool {
        present >= u64::from(self.floor)
            && u128::from(removals) * 100 > u128::from(present) * u128::from(self.percent)
    }

    /// How many of `present` may be removed in a run or window.
    #[must_use]
    pub fn allowance(self, present: u64) -> u64 {
        let share = u128::from(present) * u128::from(self.percent) / 100;
        u64::from(self.floor).max(u64::try_from(share).unwrap_or(u64::MAX))
    }
}
