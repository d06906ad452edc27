//! An entitlement as three sums that must stay within bounds: what the allocator decides by, and what a store
//! checks in the same atomic step as it counts a take.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entitlement::{Entitlement, ResourcePlacement};
use crate::seat::{SeatCounts, SeatKind};

/// The bounds of an entitlement under a placement policy.
///
/// A store keeps one counter per [`SeatKind`] and commits a transaction that takes seats exactly when, after its
/// releases and takes, each of [`SeatRule::ALL`] holds: the counters of [`SeatRule::kinds`] together are at most
/// [`limit`](Self::limit). That grants precisely what [`allocate`](crate::allocate()) grants. A transaction that only
/// releases is never checked: after a reduced entitlement it would fail although it mends matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeatLimits {
    /// `None`: resources are not enabled.
    resources: Option<u64>,
    total: u64,
    users: u64,
}

impl Entitlement {
    /// What the entitlement allows under `placement`.
    #[must_use]
    pub fn limits(self, placement: ResourcePlacement) -> SeatLimits {
        let total = u64::from(self.capacity());
        let resources = self.extra.is_enabled().then(|| match placement {
            ResourcePlacement::ExtraOnly => u64::from(self.extra.seats()),
            ResourcePlacement::ExtraThenUser => total,
        });
        SeatLimits {
            resources,
            total,
            users: u64::from(self.users),
        }
    }
}

impl SeatLimits {
    /// The largest sum that `rule` allows.
    #[must_use]
    pub fn limit(&self, rule: SeatRule) -> u64 {
        match rule {
            SeatRule::Resources => self.resources.unwrap_or(0),
            SeatRule::Total => self.total,
            SeatRule::Users => self.users,
        }
    }

    /// Whether, with `counts` taken, one more seat of `kind` may be taken: whether every rule holds after it.
    ///
    /// # Errors
    /// - [`Refusal::ResourcesNotEnabled`] for a resource before the option is enabled;
    /// - [`Refusal::NoSeat`] when a rule that counts `kind` would be exceeded;
    /// - [`Refusal::OverUse`] when only the other kind exceeds its own rule already.
    pub fn admit(&self, counts: SeatCounts, kind: SeatKind) -> Result<(), Refusal> {
        if kind == SeatKind::Resource && self.resources.is_none() {
            return Err(Refusal::ResourcesNotEnabled);
        }
        let after = counts.plus(kind);
        let exceeded = |rule: &SeatRule| rule.count(after) > self.limit(*rule);
        if let Some(rule) = kind.rules().into_iter().find(exceeded) {
            let limit = self.limit(rule);
            return Err(Refusal::NoSeat { rule, limit });
        }
        if SeatRule::ALL.iter().any(exceeded) {
            return Err(Refusal::OverUse);
        }
        Ok(())
    }

    /// By how much `counts` exceed the rules; `None` when they do not.
    #[must_use]
    pub fn over_use(&self, counts: SeatCounts) -> Option<OverUse> {
        let excess = |rule: SeatRule| rule.count(counts).saturating_sub(self.limit(rule));
        let over_use = OverUse {
            resources: excess(SeatRule::Resources),
            total: excess(SeatRule::Total),
            users: excess(SeatRule::Users),
        };
        over_use.excesses().next().is_some().then_some(over_use)
    }

    /// The seats that would have to be added for `counts` to fit: first the user seats that users are short of, then
    /// what resources are short of after that. A user kept waiting only by resources on user seats is a missing
    /// resource seat, for user seats there are enough.
    #[must_use]
    pub fn missing(&self, counts: SeatCounts) -> SeatCounts {
        let users = counts.users.saturating_sub(self.users);
        let on_their_own = counts.resources.saturating_sub(self.limit(SeatRule::Resources));
        let beside_users = counts.total().saturating_sub(self.total.saturating_add(users));
        SeatCounts {
            resources: on_their_own.max(beside_users),
            users,
        }
    }
}

impl SeatKind {
    /// The rules that count seats of this kind, the narrower first.
    #[must_use]
    pub fn rules(self) -> [SeatRule; 2] {
        match self {
            Self::Resource => [SeatRule::Resources, SeatRule::Total],
            Self::User => [SeatRule::Users, SeatRule::Total],
        }
    }
}

/// One of the sums that an entitlement bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeatRule {
    /// The seats of resources.
    Resources,
    /// The seats of users and resources together.
    Total,
    /// The seats of users.
    Users,
}

impl SeatRule {
    /// All rules, in their order.
    pub const ALL: [Self; 3] = [Self::Resources, Self::Total, Self::Users];

    /// The kinds of seats that it sums up.
    #[must_use]
    pub fn kinds(self) -> &'static [SeatKind] {
        match self {
            Self::Resources => &[SeatKind::Resource],
            Self::Total => &SeatKind::ALL,
            Self::Users => &[SeatKind::User],
        }
    }

    /// Its sum in `counts`.
    #[must_use]
    pub fn count(self, counts: SeatCounts) -> u64 {
        match self {
            Self::Resources => counts.resources,
            Self::Total => counts.total(),
            Self::Users => counts.users,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Resources => "resources",
            Self::Total => "total",
            Self::Users => "users",
        }
    }

    fn seats(self) -> &'static str {
        match self {
            Self::Resources => "resource seats",
            Self::Total => "seats of both kinds",
            Self::Users => "user seats",
        }
    }
}

/// More seats are taken than the entitlement has, as after it was reduced. Nothing is released for that; newcomers of
/// either kind wait until every rule holds again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct OverUse {
    resources: u64,
    total: u64,
    users: u64,
}

impl OverUse {
    /// By how much `rule` is exceeded; 0 when it holds.
    #[must_use]
    pub fn by(&self, rule: SeatRule) -> u64 {
        match rule {
            SeatRule::Resources => self.resources,
            SeatRule::Total => self.total,
            SeatRule::Users => self.users,
        }
    }

    /// The rules that are exceeded, at least one, in their order, and by how much.
    pub fn excesses(&self) -> impl Iterator<Item = (SeatRule, u64)> + use<> {
        let over_use = *self;
        SeatRule::ALL
            .into_iter()
            .map(move |rule| (rule, over_use.by(rule)))
            .filter(|(_, by)| *by > 0)
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "over_use"
    }

    /// What a person can do about it.
    #[must_use]
    pub fn next_action(&self) -> &'static str {
        MEND_OVER_USE
    }
}

impl fmt::Display for OverUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more seats are taken than there are: ")?;
        for (i, (rule, by)) in self.excesses().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{} over by {by}", rule.seats())?;
        }
        Ok(())
    }
}

/// Why a seat is not given.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The principal is seated, or asked for, as the other kind too.
    #[error("one principal cannot be both a user and a resource")]
    BothKinds,
    /// All seats that it could have are taken.
    #[error("no seat is left: all {limit} {} are taken", rule.seats())]
    NoSeat {
        /// The rule that one more would exceed.
        rule: SeatRule,
        /// What the rule allows.
        limit: u64,
    },
    /// It could have a seat, but more seats of the other kind are taken than there are.
    #[error("more seats of the other kind are taken than there are")]
    OverUse,
    /// It is a resource, and the resource option is not enabled.
    #[error("resources are not enabled")]
    ResourcesNotEnabled,
}

impl Refusal {
    /// Whether the principal waits for a seat, rather than being refused for good as things stand.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::NoSeat { .. } | Self::OverUse)
    }

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BothKinds => "both_kinds",
            Self::NoSeat { .. } => "no_seat",
            Self::OverUse => "over_use",
            Self::ResourcesNotEnabled => "resources_not_enabled",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn next_action(self) -> &'static str {
        match self {
            Self::BothKinds => {
                "link the principal as what it is, and remove the link that treats it as the other"
            }
            Self::NoSeat { .. } => {
                "raise the entitlement, or remove the last link of a principal to release its seat"
            }
            Self::OverUse => MEND_OVER_USE,
            Self::ResourcesNotEnabled => "have the resource option enabled, then save the link again",
        }
    }
}

const MEND_OVER_USE: &str = "raise the entitlement, or remove links until no more seats are taken than there are; \
    nothing is released by itself";
