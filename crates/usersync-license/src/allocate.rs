//! Giving the seats there are to those who ask, in a fixed order.

use serde::{Deserialize, Serialize};
use usersync_model::PrincipalRef;

use crate::limits::{OverUse, Refusal, SeatLimits};
use crate::seat::{SeatCounts, SeatHolder, Seats};

/// Decides which seats are released and taken, and who waits.
///
/// # Guarantees
/// - Releases come first; then requests are served in their order, and by principal where that is equal. The result
///   does not depend on the order or repetition of `releases` and `requests`.
/// - After any take, every rule of `limits` holds. A request that cannot be served does not keep a later one, of the
///   other kind, from a seat that only that one can have.
/// - Nobody loses a seat except by `releases`. Where more seats are taken than `limits` allow, that is reported as
///   over-use, and all newcomers wait.
/// - A principal that is seated already gets no second seat. One that is released and asked for again, as the same
///   kind, keeps its seat: what it shares between links was not given up.
/// - A principal asked for as both kinds, or as another kind than the one it is seated as and keeps, is refused; such
///   requests are as if they had not been made.
/// - Releasing a principal that has no seat is nothing.
///
/// O((r + q) log (n + r + q)) for n seats, r releases and q requests.
#[must_use]
pub fn allocate<K: Ord>(
    limits: &SeatLimits,
    seats: &Seats,
    releases: &[PrincipalRef],
    requests: &[SeatRequest<K>],
) -> SeatPlan {
    let mut refused = Vec::new();
    let asked = one_per_principal(requests, &mut refused);
    let releases = effective_releases(seats, releases, &asked);
    let newcomers = newcomers(seats, &releases, asked, &mut refused);

    let mut counts = releases
        .iter()
        .fold(seats.counts(), |counts, release| counts.minus(release.kind));
    let over_use = limits.over_use(counts);
    let mut demand = counts;
    let mut takes = Vec::new();
    let mut waiting = Vec::new();
    for request in newcomers {
        let holder = &request.holder;
        match limits.admit(counts, holder.kind) {
            Ok(()) => {
                counts = counts.plus(holder.kind);
                demand = demand.plus(holder.kind);
                takes.push(holder.clone());
            }
            Err(reason) if reason.waits() => {
                demand = demand.plus(holder.kind);
                waiting.push(Waiting {
                    holder: holder.clone(),
                    place: waiting.len() as u64 + 1,
                    reason,
                });
            }
            Err(reason) => refused.push(Refused::new(&holder.principal, reason)),
        }
    }
    refused.sort_unstable_by(|a, b| a.principal.cmp(&b.principal));
    SeatPlan {
        releases,
        takes,
        waiting,
        refused,
        over_use,
        missing: limits.missing(demand),
    }
}

/// A principal asks for a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatRequest<K> {
    /// Who asks, as what.
    pub holder: SeatHolder,
    /// Smaller is served first: the time since when it asks, a rank, or both. Of several requests for one principal
    /// the smallest counts.
    pub order: K,
}

impl<K: Ord> SeatRequest<K> {
    /// `holder` asks, in this order.
    #[must_use]
    pub fn new(holder: SeatHolder, order: K) -> Self {
        Self { holder, order }
    }
}

/// Which seats change hands, and who gets none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SeatPlan {
    /// Seats given back, before any is taken; sorted by principal.
    pub releases: Vec<SeatHolder>,
    /// New seats, in the order they are given.
    pub takes: Vec<SeatHolder>,
    /// Who gets a seat once there are enough, in the order of their places.
    pub waiting: Vec<Waiting>,
    /// Who gets none however many there are; sorted by principal, one entry each.
    pub refused: Vec<Refused>,
    /// By how much those who keep their seats exceed the entitlement.
    pub over_use: Option<OverUse>,
    /// The seats that would have to be added for all who are seated or wait, by kind; see [`SeatLimits::missing`].
    pub missing: SeatCounts,
}

/// A principal that waits for a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Who waits, as what.
    pub holder: SeatHolder,
    /// The place in the waiting list, from 1.
    pub place: u64,
    /// Why: one that [waits](Refusal::waits).
    pub reason: Refusal,
}

/// A principal that asked and does not even wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Who.
    pub principal: PrincipalRef,
    /// Why.
    pub reason: Refusal,
}

impl Refused {
    fn new(principal: &PrincipalRef, reason: Refusal) -> Self {
        Self {
            principal: principal.clone(),
            reason,
        }
    }
}

/// The first request of each principal, sorted by principal; those asked for as both kinds are refused.
fn one_per_principal<'a, K: Ord>(
    requests: &'a [SeatRequest<K>],
    refused: &mut Vec<Refused>,
) -> Vec<&'a SeatRequest<K>> {
    let mut sorted: Vec<_> = requests.iter().collect();
    sorted.sort_unstable_by(|a, b| (&a.holder, &a.order).cmp(&(&b.holder, &b.order)));
    let mut asked = Vec::with_capacity(sorted.len());
    for same in sorted.chunk_by(|a, b| a.holder.principal == b.holder.principal) {
        if same[0].holder.kind == same[same.len() - 1].holder.kind {
            asked.push(same[0]);
        } else {
            refused.push(Refused::new(&same[0].holder.principal, Refusal::BothKinds));
        }
    }
    asked
}

/// The seats that are given up: those of `releases` that exist and are not asked for again; sorted by principal.
fn effective_releases<K>(
    seats: &Seats,
    releases: &[PrincipalRef],
    asked: &[&SeatRequest<K>],
) -> Vec<SeatHolder> {
    let mut sorted: Vec<_> = releases.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let is_asked = |holder: &SeatHolder| {
        asked
            .binary_search_by(|request| request.holder.cmp(holder))
            .is_ok()
    };
    sorted
        .into_iter()
        .filter_map(|principal| {
            Some(SeatHolder {
                principal: principal.clone(),
                kind: seats.kind_of(principal)?,
            })
        })
        .filter(|holder| !is_asked(holder))
        .collect()
}

/// Those of `asked`, sorted by principal, that have no seat once `releases` are carried out, in the order they are
/// served.
fn newcomers<'a, K: Ord>(
    seats: &Seats,
    releases: &[SeatHolder],
    mut asked: Vec<&'a SeatRequest<K>>,
    refused: &mut Vec<Refused>,
) -> Vec<&'a SeatRequest<K>> {
    asked.retain(|request| {
        let principal = &request.holder.principal;
        let Some(kind) = seats.kind_of(principal) else {
            return true;
        };
        if kind == request.holder.kind {
            return false;
        }
        let released = releases
            .binary_search_by(|release| release.principal.cmp(principal))
            .is_ok();
        if !released {
            refused.push(Refused::new(principal, Refusal::BothKinds));
        }
        released
    });
    // Stable, so that among equals the order by principal stays.
    asked.sort_by(|a, b| a.order.cmp(&b.order));
    asked
}
