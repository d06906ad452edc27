//! Who holds a seat.

use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{PrincipalKind, PrincipalRef};

use crate::allocate::SeatPlan;
use crate::limits::{Refusal, SeatLimits};

/// The seated principals of one tenant. A principal has at most one seat, of one kind, however many links share it.
///
/// Two values with equal holders are equal, and serialize to equal bytes, whatever their history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<SeatHolder>", into = "Vec<SeatHolder>")]
pub struct Seats {
    holders: Vec<SeatHolder>,
    counts: SeatCounts,
}

impl Seats {
    /// These principals are seated, whatever the entitlement; repetitions count once. O(n log n).
    ///
    /// # Errors
    /// [`SeatConflict`] when one principal is given as both a user and a resource.
    pub fn new(holders: impl IntoIterator<Item = SeatHolder>) -> Result<Self, SeatConflict> {
        let mut holders: Vec<_> = holders.into_iter().collect();
        holders.sort_unstable();
        holders.dedup();
        if let Some(pair) = holders
            .windows(2)
            .find(|pair| pair[0].principal == pair[1].principal)
        {
            return Err(SeatConflict {
                principal: pair[0].principal.clone(),
            });
        }
        let counts = SeatCounts::of(&holders);
        Ok(Self { holders, counts })
    }

    /// The holders, sorted by principal.
    #[must_use]
    pub fn holders(&self) -> &[SeatHolder] {
        &self.holders
    }

    /// How many seats are taken.
    #[must_use]
    pub fn counts(&self) -> SeatCounts {
        self.counts
    }

    /// The kind of seat that `principal` holds, if it holds one. O(log n).
    #[must_use]
    pub fn kind_of(&self, principal: &PrincipalRef) -> Option<SeatKind> {
        let at = self.find(principal).ok()?;
        Some(self.holders[at].kind)
    }

    /// Takes one seat, and says whether it is a new one: a principal that is seated already keeps the seat it has.
    /// O(n).
    ///
    /// # Errors
    /// [`Refusal`] when there is no seat for it; nothing has changed then.
    pub fn take(&mut self, holder: SeatHolder, limits: &SeatLimits) -> Result<bool, Refusal> {
        match self.find(&holder.principal) {
            Ok(at) if self.holders[at].kind == holder.kind => Ok(false),
            Ok(_) => Err(Refusal::BothKinds),
            Err(at) => {
                limits.admit(self.counts, holder.kind)?;
                self.counts = self.counts.plus(holder.kind);
                self.holders.insert(at, holder);
                Ok(true)
            }
        }
    }

    /// Gives the seat of `principal` back, and returns what it was; `None` when it had none. O(n).
    pub fn release(&mut self, principal: &PrincipalRef) -> Option<SeatHolder> {
        let at = self.find(principal).ok()?;
        let holder = self.holders.remove(at);
        self.counts = self.counts.minus(holder.kind);
        Some(holder)
    }

    /// The seats once `plan`, made for these seats, is carried out in full; carrying it out again changes nothing.
    /// O((n + k) log k) for k changes.
    #[must_use]
    pub fn after(mut self, plan: &SeatPlan) -> Self {
        self.holders.retain(|holder| {
            plan.releases
                .binary_search_by(|release| release.principal.cmp(&holder.principal))
                .is_err()
        });
        self.holders.extend_from_slice(&plan.takes);
        // Stable, so that of two entries for one principal the seat it already has is the one kept.
        self.holders.sort_by(|a, b| a.principal.cmp(&b.principal));
        self.holders.dedup_by(|b, a| a.principal == b.principal);
        self.counts = SeatCounts::of(&self.holders);
        self
    }

    fn find(&self, principal: &PrincipalRef) -> Result<usize, usize> {
        self.holders
            .binary_search_by(|holder| holder.principal.cmp(principal))
    }
}

impl TryFrom<Vec<SeatHolder>> for Seats {
    type Error = SeatConflict;

    fn try_from(holders: Vec<SeatHolder>) -> Result<Self, SeatConflict> {
        Self::new(holders)
    }
}

impl From<Seats> for Vec<SeatHolder> {
    fn from(seats: Seats) -> Self {
        seats.holders
    }
}

/// A principal with the kind of seat that it holds or asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatHolder {
    /// Who.
    pub principal: PrincipalRef,
    /// As what.
    pub kind: SeatKind,
}

impl SeatHolder {
    /// `principal`, as a resource.
    #[must_use]
    pub fn resource(principal: PrincipalRef) -> Self {
        Self {
            principal,
            kind: SeatKind::Resource,
        }
    }

    /// `principal`, as a user.
    #[must_use]
    pub fn user(principal: PrincipalRef) -> Self {
        Self {
            principal,
            kind: SeatKind::User,
        }
    }
}

impl fmt::Display for SeatHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.principal)
    }
}

/// What a seat is taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeatKind {
    /// A room, a device or another thing that can be booked.
    Resource,
    /// A person or another holder of an account.
    User,
}

impl SeatKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 2] = [Self::Resource, Self::User];

    /// The kind of seat that a principal of `kind` takes; `None` for a group, which takes none.
    #[must_use]
    pub fn of(kind: PrincipalKind) -> Option<Self> {
        match kind {
            PrincipalKind::User => Some(Self::User),
            PrincipalKind::Group(_) => None,
            PrincipalKind::Resource(_) => Some(Self::Resource),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::User => "user",
        }
    }
}

impl fmt::Display for SeatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A number of seats of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatCounts {
    /// Seats of resources.
    pub resources: u64,
    /// Seats of users.
    pub users: u64,
}

impl SeatCounts {
    /// The holders of each kind. O(n).
    #[must_use]
    pub fn of(holders: &[SeatHolder]) -> Self {
        holders
            .iter()
            .fold(Self::default(), |counts, holder| counts.plus(holder.kind))
    }

    /// The number of one kind.
    #[must_use]
    pub fn count(self, kind: SeatKind) -> u64 {
        match kind {
            SeatKind::Resource => self.resources,
            SeatKind::User => self.users,
        }
    }

    /// The number of both kinds together, at most [`u64::MAX`].
    #[must_use]
    pub fn total(self) -> u64 {
        self.users.saturating_add(self.resources)
    }

    /// One more of `kind`, at most [`u64::MAX`].
    #[must_use]
    pub fn plus(mut self, kind: SeatKind) -> Self {
        let count = self.count_mut(kind);
        *count = count.saturating_add(1);
        self
    }

    /// One less of `kind`, never below zero.
    #[must_use]
    pub fn minus(mut self, kind: SeatKind) -> Self {
        let count = self.count_mut(kind);
        *count = count.saturating_sub(1);
        self
    }

    fn count_mut(&mut self, kind: SeatKind) -> &mut u64 {
        match kind {
            SeatKind::Resource => &mut self.resources,
            SeatKind::User => &mut self.users,
        }
    }
}

/// One principal was given as seated twice, as a user and as a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{principal} is seated both as a user and as a resource; keep the one that it is, and release the other"
)]
pub struct SeatConflict {
    /// Which principal.
    pub principal: PrincipalRef,
}
