//! What goes wrong.

use std::fmt;

/// A kind of fault. Each has a counter in the [`Report`](crate::Report), which proves that it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// An effect reaches the system twice; the answer is that of the first.
    AppliedTwice,
    /// A process dies between two of its steps, and starts anew on its store.
    Died,
    /// A call has its effect, and the answer is lost.
    FailedAfter,
    /// A call fails and has no effect, and says so.
    FailedBefore,
    /// A call is never answered; it had its effect, or not.
    Hung,
    /// The answer comes late, by seconds or many minutes.
    LateAnswer,
    /// The answer is lost, and the effect, or the transaction, comes later, whoever is still there by then.
    LateEffect,
    /// A lease is taken over from a worker that still lives.
    LeaseExpired,
    /// The request is lost, and the caller cannot know.
    Lost,
    /// A read comes in small pages.
    Paged,
    /// A read says that it shows only a part.
    Partial,
    /// A read says that it shows only a part of one group or container.
    PartialOf,
    /// A process stands still for a while, and goes on as if nothing had been.
    Paused,
    /// The system asks to be left alone for a while.
    RateLimited,
    /// Entries of a read come in another order.
    Reordered,
    /// Entries of a read come twice.
    Repeated,
    /// A read shows what was there some time ago.
    Stale,
    /// A read stops in the middle, and goes on never.
    Stalled,
    /// Time passes while somebody could go on.
    TimePassed,
    /// A read ends in the middle, without a verdict.
    Truncated,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 20] = [
        Self::AppliedTwice,
        Self::Died,
        Self::FailedAfter,
        Self::FailedBefore,
        Self::Hung,
        Self::LateAnswer,
        Self::LateEffect,
        Self::LeaseExpired,
        Self::Lost,
        Self::Paged,
        Self::Partial,
        Self::PartialOf,
        Self::Paused,
        Self::RateLimited,
        Self::Reordered,
        Self::Repeated,
        Self::Stale,
        Self::Stalled,
        Self::TimePassed,
        Self::Truncated,
    ];

    /// What may happen to a call that is answered once.
    pub(crate) const OF_CALLS: &[Self] = &[
        Self::FailedBefore,
        Self::FailedAfter,
        Self::Lost,
        Self::LateAnswer,
        Self::Hung,
        Self::RateLimited,
    ];

    /// What may happen to an effect at a target.
    pub(crate) const OF_EFFECTS: &[Self] = &[
        Self::FailedBefore,
        Self::FailedAfter,
        Self::Lost,
        Self::LateAnswer,
        Self::Hung,
        Self::RateLimited,
        Self::LateEffect,
        Self::AppliedTwice,
    ];

    /// What may happen to a read.
    pub(crate) const OF_READS: &[Self] = &[
        Self::FailedBefore,
        Self::FailedAfter,
        Self::Truncated,
        Self::Partial,
        Self::PartialOf,
        Self::Paged,
        Self::Reordered,
        Self::Repeated,
        Self::LateAnswer,
        Self::Stale,
        Self::Stalled,
        Self::RateLimited,
    ];

    /// What may happen to a call of a store.
    pub(crate) const OF_STORES: &[Self] = &[
        Self::FailedBefore,
        Self::FailedAfter,
        Self::LateAnswer,
        Self::Hung,
    ];

    /// What may happen to a transaction.
    pub(crate) const OF_COMMITS: &[Self] = &[
        Self::FailedBefore,
        Self::FailedAfter,
        Self::LateAnswer,
        Self::Hung,
        Self::LateEffect,
    ];

    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AppliedTwice => "applied_twice",
            Self::Died => "died",
            Self::FailedAfter => "failed_after",
            Self::FailedBefore => "failed_before",
            Self::Hung => "hung",
            Self::LateAnswer => "late_answer",
            Self::LateEffect => "late_effect",
            Self::LeaseExpired => "lease_expired",
            Self::Lost => "lost",
            Self::Paged => "paged",
            Self::Partial => "partial",
            Self::PartialOf => "partial_of",
            Self::Paused => "paused",
            Self::RateLimited => "rate_limited",
            Self::Reordered => "reordered",
            Self::Repeated => "repeated",
            Self::Stale => "stale",
            Self::Stalled => "stalled",
            Self::TimePassed => "time_passed",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
