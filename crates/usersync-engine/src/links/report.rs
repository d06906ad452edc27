//! What became of each principal of a call.

use std::fmt;

use serde::Serialize;
use usersync_license::{OverUse, Refusal, SeatCounts};
use usersync_model::{LinkState, PrincipalRef};
use usersync_reconcile::Situation;

use super::load::Seen;
use crate::report::FailedRead;

/// What became of each principal that a call was about. All of it was committed in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LinkReport {
    /// Ascending by principal, each once. When a call let somebody in who waited, that is told, too.
    pub outcomes: Vec<(PrincipalRef, LinkOutcome)>,
    /// By how much those who have seats exceed the entitlement. Nobody loses a seat by that.
    pub over_use: Option<OverUse>,
    /// The seats that would have to be added for all who wait.
    pub missing: SeatCounts,
    /// The reads of both sides that did not show everything: the principals as [`ReadOf::Source`](crate::ReadOf::Source), the accounts
    /// as [`ReadOf::Target`](crate::ReadOf::Target). Whom they would have shown counts as unknown: who is told as not seen may be there,
    /// and nobody is proposed by a rule. Empty for a call that reads neither.
    pub failed_reads: Vec<FailedRead>,
}

/// What became of one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkOutcome {
    /// The account has, or is proposed for, another principal.
    AccountTaken,
    /// It is staged already.
    AlreadyStaged,
    /// The link was changed.
    Changed(LinkState),
    /// The account or the principal is an administrator's: what was asked for must be confirmed.
    ConfirmationNeeded,
    /// Its owner was asked to consent.
    ConsentRequested,
    /// It was linked before.
    Linked(LinkState),
    /// One of the two was not seen.
    NotSeen,
    /// There is no link, or none that this can be done to.
    NoLink,
    /// The proposal is too old to rely on.
    ProposalExpired,
    /// There is no seat for it, however long it waits.
    Refused(Refusal),
    /// The link is no more.
    Removed {
        /// Whether its seat is free.
        released: bool,
    },
    /// The link is saved.
    Saved(LinkState),
    /// The pair is proposed.
    Staged,
    /// Nothing was to be changed.
    Unchanged(LinkState),
    /// Its situation is not one that links by itself.
    Unfit(Situation),
    /// The proposal is dropped.
    Unstaged,
    /// It waits for a seat.
    Waiting {
        /// The place in the waiting list of the tenant, from 1.
        place: u64,
        /// Why.
        reason: Refusal,
    },
}

impl LinkReport {
    pub(super) fn new(mut outcomes: Vec<(PrincipalRef, LinkOutcome)>) -> Self {
        outcomes.sort_by(|a, b| a.0.cmp(&b.0));
        outcomes.dedup_by(|b, a| a.0 == b.0);
        Self {
            outcomes,
            ..Self::default()
        }
    }

    /// The same report of a call that went by these reads.
    pub(super) fn after<'s>(mut self, reads: impl IntoIterator<Item = &'s Seen>) -> Self {
        let failed = reads.into_iter().filter_map(|seen| seen.failed.clone());
        self.failed_reads.extend(failed);
        self
    }

    /// What became of `principal`, if the call was about it. O(log n).
    #[must_use]
    pub fn of(&self, principal: &PrincipalRef) -> Option<&LinkOutcome> {
        let at = self
            .outcomes
            .binary_search_by(|(other, _)| other.cmp(principal))
            .ok()?;
        Some(&self.outcomes[at].1)
    }

    /// How many ended with this [`code`](LinkOutcome::code).
    #[must_use]
    pub fn count(&self, code: &str) -> usize {
        self.outcomes
            .iter()
            .filter(|(_, outcome)| outcome.code() == code)
            .count()
    }
}

impl LinkOutcome {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AccountTaken => "account_taken",
            Self::AlreadyStaged => "already_staged",
            Self::Changed(_) => "changed",
            Self::ConfirmationNeeded => "confirmation_needed",
            Self::ConsentRequested => "consent_requested",
            Self::Linked(_) => "linked",
            Self::NoLink => "no_link",
            Self::NotSeen => "not_seen",
            Self::ProposalExpired => "proposal_expired",
            Self::Refused(_) => "refused",
            Self::Removed { .. } => "removed",
            Self::Saved(_) => "saved",
            Self::Staged => "staged",
            Self::Unchanged(_) => "unchanged",
            Self::Unfit(_) => "unfit",
            Self::Unstaged => "unstaged",
            Self::Waiting { .. } => "waiting",
        }
    }
}

impl fmt::Display for LinkOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountTaken => {
                f.write_str("the account has another principal; remove that link or proposal first")
            }
            Self::AlreadyStaged => f.write_str("it is staged already; save it"),
            Self::Changed(state) => write!(f, "changed; it is {state}"),
            Self::ConfirmationNeeded => f.write_str("it is an administrator's; confirm that this is meant"),
            Self::ConsentRequested => f.write_str("its owner was asked to consent"),
            Self::Linked(state) => write!(f, "it was linked before, and is {state}"),
            Self::NoLink => f.write_str("there is no such link; stage and save it first"),
            Self::NotSeen => f.write_str("the principal or the account was not seen; load again"),
            Self::ProposalExpired => f.write_str("the proposal is too old; stage it again"),
            Self::Refused(refusal) => write!(f, "{refusal}; {}", refusal.next_action()),
            Self::Removed { released: true } => f.write_str("removed; its seat is free"),
            Self::Removed { released: false } => {
                f.write_str("removed; the principal keeps its seat, for another link or for the host")
            }
            Self::Saved(state) => write!(f, "saved; it is {state}"),
            Self::Staged => f.write_str("staged; save it"),
            Self::Unchanged(state) => write!(f, "unchanged; it is {state}"),
            Self::Unfit(situation) => write!(f, "not linked by itself: {situation}"),
            Self::Unstaged => f.write_str("no longer staged"),
            Self::Waiting { place, reason } => {
                write!(
                    f,
                    "waits for a seat, at place {place}: {reason}; {}",
                    reason.next_action()
                )
            }
        }
    }
}
