//! What can go wrong.

use std::num::NonZeroUsize;
use std::time::Duration;

use usersync_connector::{Error, ErrorKind, Retry};
use usersync_model::{ObjectId, PartialKind};
use usersync_store::{StoreError, StoreErrorKind};

use super::FromFault;
use crate::call::{Call, CallKind, CallSite};

/// What goes wrong with a call. A fault is only ever given to a call that can show it.
///
/// In reads, sizes count principals, accounts, containers and records, and every single membership. "Before" and "after"
/// mean for a read: before its begin, and between its last entry and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An effect is refused as if somebody had changed the object: [`ErrorKind::Conflict`].
    Conflict,
    /// A read shows everything twice.
    Duplicated,
    /// A connector's call fails without an effect, a read before it begins.
    Failed {
        /// With this kind.
        kind: ErrorKind,
        /// With this hint.
        retry: Retry,
    },
    /// A connector's read fails on its way.
    FailedAfter {
        /// How much it shows before.
        shown: usize,
        /// With this kind.
        kind: ErrorKind,
        /// With this hint.
        retry: Retry,
    },
    /// There is never an answer, neither before nor after the effect: for time-outs, cancellation and crashes.
    Hang(Moment),
    /// A read comes in chunks of one more size than usual. No harm in itself.
    Paged {
        /// The size of a chunk.
        size: NonZeroUsize,
    },
    /// A read ends early, and says that it is partial.
    Partial {
        /// How much it shows.
        shown: usize,
        /// With this reason.
        kind: PartialKind,
    },
    /// A read leaves out members of one group or container, and says so of that one only.
    PartialOf {
        /// Which group or container.
        object: ObjectId,
        /// How many of its members it shows.
        shown: usize,
        /// With this reason.
        kind: PartialKind,
    },
    /// A connector's call is refused with [`ErrorKind::RateLimited`].
    RateLimited {
        /// The `Retry-After` that comes with it.
        after: Duration,
    },
    /// A read comes in another order.
    Reordered {
        /// Which order.
        seed: u64,
    },
    /// A read stops on its way and never goes on.
    Stalled {
        /// How much it shows before.
        shown: usize,
    },
    /// A store's call fails without an effect.
    StoreFailed(StoreErrorKind),
    /// The answer does not come in time, and the caller cannot know whether there was an effect:
    /// [`ErrorKind::TimedOut`] from a connector, [`StoreErrorKind::Unavailable`] from a store.
    Timeout(Moment),
    /// A connector's read stops early without saying anything.
    Truncated {
        /// How much it shows.
        shown: usize,
    },
}

/// When a call gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// After the effect: the answer is lost.
    After,
    /// Before the effect: the request is lost.
    Before,
}

/// The kinds of [`Fault`], to count them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// [`Fault::Conflict`].
    Conflict,
    /// [`Fault::Duplicated`].
    Duplicated,
    /// [`Fault::Failed`].
    Failed,
    /// [`Fault::FailedAfter`].
    FailedAfter,
    /// [`Fault::Hang`] after the effect.
    HangAfter,
    /// [`Fault::Hang`] before the effect.
    HangBefore,
    /// [`FaultRule::meanwhile`](super::FaultRule::meanwhile).
    Meanwhile,
    /// [`Fault::Paged`].
    Paged,
    /// [`Fault::Partial`].
    Partial,
    /// [`Fault::PartialOf`].
    PartialOf,
    /// [`Fault::RateLimited`].
    RateLimited,
    /// [`Fault::Reordered`].
    Reordered,
    /// [`Fault::Stalled`].
    Stalled,
    /// [`Fault::StoreFailed`].
    StoreFailed,
    /// [`Fault::Timeout`] after the effect.
    TimeoutAfter,
    /// [`Fault::Timeout`] before the effect.
    TimeoutBefore,
    /// [`Fault::Truncated`].
    Truncated,
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Conflict => FaultKind::Conflict,
            Self::Duplicated => FaultKind::Duplicated,
            Self::Failed { .. } => FaultKind::Failed,
            Self::FailedAfter { .. } => FaultKind::FailedAfter,
            Self::Hang(Moment::After) => FaultKind::HangAfter,
            Self::Hang(Moment::Before) => FaultKind::HangBefore,
            Self::Paged { .. } => FaultKind::Paged,
            Self::Partial { .. } => FaultKind::Partial,
            Self::PartialOf { .. } => FaultKind::PartialOf,
            Self::RateLimited { .. } => FaultKind::RateLimited,
            Self::Reordered { .. } => FaultKind::Reordered,
            Self::Stalled { .. } => FaultKind::Stalled,
            Self::StoreFailed(_) => FaultKind::StoreFailed,
            Self::Timeout(Moment::After) => FaultKind::TimeoutAfter,
            Self::Timeout(Moment::Before) => FaultKind::TimeoutBefore,
            Self::Truncated { .. } => FaultKind::Truncated,
        }
    }

    /// Whether a call of this kind can show the fault.
    #[must_use]
    pub fn fits(&self, call: CallKind) -> bool {
        let is_sleep = call == CallKind::Sleep;
        let connector = !call.is_store() && !is_sleep;
        match self {
            Self::Conflict => call.is_effect(),
            Self::Duplicated
            | Self::FailedAfter { .. }
            | Self::Partial { .. }
            | Self::Reordered { .. }
            | Self::Truncated { .. } => connector && call.is_stream(),
            Self::Failed { .. } | Self::RateLimited { .. } => connector,
            Self::Hang(_) => true,
            Self::Timeout(_) => !is_sleep,
            Self::Paged { .. } | Self::Stalled { .. } => call.is_stream(),
            Self::PartialOf { .. } => matches!(call, CallKind::Directory | CallKind::Members),
            Self::StoreFailed(_) => call.is_store(),
        }
    }

    /// The error that a connector answers with when this happens to `call`.
    #[must_use]
    pub fn error(&self, call: &Call) -> Error {
        Error::from_fault(self, &CallSite::of(call, None))
    }

    /// The error that a store answers with when this happens to `call`.
    #[must_use]
    pub fn store_error(&self, call: &Call) -> StoreError {
        StoreError::from_fault(self, &CallSite::of(call, None))
    }

    pub(super) fn fits_site(&self, site: &CallSite<'_>) -> bool {
        let shown = match self {
            Self::PartialOf { object, .. } => site.kind == CallKind::Directory || site.is_about(object),
            _ => true,
        };
        shown && self.fits(site.kind)
    }
}
