//! Following a run, and ending it early.

use std::sync::Arc;

use futures::channel::mpsc;
use usersync_model::{Digest, SystemId};
use usersync_reconcile::Summary;

use crate::sync::{AtomicBool, Ordering};

/// What happens in a run, as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunEvent {
    /// Effects were confirmed.
    Applied {
        /// How many operations have ended so far.
        done: u64,
        /// Of how many.
        of: u64,
    },
    /// The run ended.
    Finished,
    /// There is a plan.
    Planned {
        /// Its digest.
        digest: Digest,
        /// What it has.
        summary: Summary,
    },
    /// A directory is being read.
    ReadDirectory {
        /// Which.
        system: SystemId,
        /// How many entries came so far.
        entries: u64,
    },
    /// A target is being read.
    ReadTarget {
        /// Which.
        system: SystemId,
        /// How many members came so far.
        members: u64,
    },
}

/// Follows a run and can end it early. Clones follow and end the same run.
#[derive(Clone, Debug, Default)]
pub struct RunControl {
    cancelled: Arc<AtomicBool>,
    events: Option<mpsc::UnboundedSender<RunEvent>>,
}

impl RunControl {
    /// A control that nobody listens to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A control, and the stream of what happens. The stream ends when the run and every clone of the control are gone.
    #[must_use]
    pub fn with_events() -> (Self, mpsc::UnboundedReceiver<RunEvent>) {
        let (sender, receiver) = mpsc::unbounded();
        (
            Self {
                cancelled: Arc::default(),
                events: Some(sender),
            },
            receiver,
        )
    }

    /// Ends the run before its next effect. Effects that have begun are waited for and recorded; the next run does the
    /// rest.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether the run was told to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(crate) fn tell(&self, event: RunEvent) {
        if let Some(events) = &self.events {
            // Nobody listens any more: that is the listener's business.
            let _ = events.unbounded_send(event);
        }
    }
}
