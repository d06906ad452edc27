//! The backends of this crate keep every contract, with each capability and without.

#![allow(clippy::unwrap_used, reason = "a failing harness fails its test")]

mod host;
mod item;
mod membership;
mod record;
mod source;
mod store;

use std::num::NonZeroUsize;
use std::sync::Mutex;

use usersync_connector::*;
use usersync_memory::*;
use usersync_model::*;
use usersync_testkit::conformance::LeaveOut;

/// The backend given last.
struct Last<T>(Mutex<Option<T>>);

impl<T: Clone> Last<T> {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn set(&self, backend: T) -> T {
        *self.0.lock().unwrap() = Some(backend.clone());
        backend
    }

    fn get(&self) -> T {
        self.0.lock().unwrap().clone().unwrap()
    }
}

fn system() -> SystemId {
    SystemId::new("memory").unwrap()
}

fn fault(what: LeaveOut) -> FaultRule {
    FaultRule::new(match what {
        LeaveOut::Everything => Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry: Retry::Later,
        },
        LeaveOut::MembersOf(object) => Fault::PartialOf {
            object,
            shown: 1,
            kind: PartialKind::Unreadable,
        },
        LeaveOut::Something => Fault::Partial {
            shown: 1,
            kind: PartialKind::Limit,
        },
    })
}

fn everything() -> TargetCapabilities {
    TargetCapabilities {
        conditional_write: true,
        idempotency_key: true,
        max_batch: NonZeroUsize::new(100).unwrap(),
        point_read: true,
        updates: true,
    }
}
