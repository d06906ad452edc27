//! One operation on its way to a target.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use usersync_connector::{Applied, CallContext, Error, Result};
use usersync_model::OperationId;
use usersync_store::LedgerKey;

use crate::core::{Broken, Core};
use crate::executor::Process;
use crate::fault::FaultKind;
use crate::history::{Done, OnItem};

/// One operation on its way to a target.
#[derive(Clone)]
pub(super) struct Effect {
    pub(super) core: Core,
    pub(super) context: CallContext,
    pub(super) on: On,
    /// Lets the target do it.
    pub(super) act: Arc<dyn Fn() -> BoxFuture<'static, Option<Result<Applied>>> + Send + Sync>,
}

/// What an operation is about.
#[derive(Clone)]
pub(super) enum On {
    Item(OnItem),
    Subject(OnSubject),
}

/// An operation on a member or a record.
#[derive(Clone)]
pub(super) struct OnSubject {
    pub(super) key: LedgerKey,
    pub(super) id: OperationId,
    pub(super) what: Done,
    /// Whether its subject is there now.
    pub(super) is_there: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on {
            On::Item(OnItem {
                account, uid, what, ..
            }) => write!(f, "{what:?} item {uid} of {account}")?,
            On::Subject(OnSubject { key, what, .. }) => {
                write!(f, "{what:?} {} in {}", key.subject, key.container)?;
            }
        }
        write!(f, " for {}/{}", self.context.tenant, self.context.job)
    }
}

impl Effect {
    /// It is about to be sent.
    pub(super) fn begin(&self, process: Process) {
        let now = self.core.now();
        let mut state = self.core.lock();
        state.trace.say(format_args!("  {process:?} begins {self:?}"));
        match &self.on {
            On::Item(on) => state.history.attempt_on_item(process, now, &self.context, on),
            On::Subject(OnSubject { key, id, what, .. }) => {
                state
                    .history
                    .attempt(process, now, &self.context, key, *id, *what);
            }
        }
    }

    async fn arrive(&self) -> Result<Applied> {
        let unanswered = || Err(Error::broken(FaultKind::Lost));
        let (answer, was_there) = self.watched().await;
        let answer = answer.unwrap_or_else(unanswered);
        let is_there = match &self.on {
            On::Item(_) => false,
            On::Subject(on) => (on.is_there)(),
        };
        let told = match &answer {
            Ok(applied) if applied.changed => "changed",
            Ok(_) => "unchanged",
            Err(error) => error.kind().code(),
        };
        let mut state = self.core.lock();
        state.trace.say(format_args!("  {self:?}: {told}"));
        let is_changed = told == "changed";
        match &self.on {
            On::Item(on) => state.history.effect_on_item(on, is_changed),
            On::Subject(OnSubject { key, id, what, .. }) => {
                if *what == Done::Changed && is_changed && was_there && !is_there {
                    state.history.changed_before(&self.context, *id);
                }
                state
                    .history
                    .effect(&self.context, key, *id, *what, (is_there, is_changed));
            }
        }
        answer
    }

    /// Lets the target do it. One that waits after that may be overtaken by a person or by another operation: what it does counts from
    /// the moment at which it can be seen. Tells, too, whether its subject was there when the call began.
    async fn watched(&self) -> (Option<Result<Applied>>, bool) {
        let mut call = (self.act)();
        let On::Subject(on) = &self.on else {
            return (call.await, false);
        };
        let was_there = (on.is_there)();
        let answer = poll_fn(|context| {
            let before = (on.is_there)();
            let answer = call.poll_unpin(context);
            let after = (on.is_there)();
            if answer.is_pending() && before != after {
                let mut state = self.core.lock();
                state.trace.say(format_args!("  {self:?} has its effect"));
                state
                    .history
                    .moved_by(&self.context, &on.key, on.id, on.what, after);
            }
            answer
        });
        (answer.await, was_there)
    }

    /// Makes the call; whoever is told for sure what came of it knows.
    pub(super) async fn send(self, site: &str) -> Result<Applied> {
        let (core, context) = (self.core.clone(), self.context.clone());
        let id = match &self.on {
            On::Item(_) => None,
            On::Subject(on) => Some(on.id),
        };
        let answer = self.sent(site).await;
        if let Some(id) = id.filter(|_| !answer.as_ref().is_err_and(Error::outcome_unknown)) {
            core.lock().history.answered(&context, id);
        }
        answer
    }

    async fn sent(self, site: &str) -> Result<Applied> {
        let core = self.core.clone();
        core.lock().calls += 1;
        core.point().await;
        let Some(fault) = core.fault(FaultKind::OF_EFFECTS) else {
            let answer = self.arrive().await;
            core.point().await;
            return answer;
        };
        core.fired(fault, site);
        match fault {
            FaultKind::LateAnswer => {
                let answer = self.arrive().await;
                core.sleep(core.delay()).await;
                answer
            }
            FaultKind::FailedAfter => {
                drop(self.arrive().await);
                core.point().await;
                Err(Error::broken(fault))
            }
            FaultKind::Hung => {
                if core.detail(2) == 1 {
                    drop(self.arrive().await);
                }
                std::future::pending().await
            }
            FaultKind::LateEffect => {
                self.clone().later();
                core.sleep(core.delay()).await;
                Err(Error::broken(fault))
            }
            FaultKind::AppliedTwice => {
                let answer = self.arrive().await;
                self.later();
                core.point().await;
                answer
            }
            _ => {
                core.point().await;
                Err(Error::broken(fault))
            }
        }
    }

    /// Lets it arrive some time, whoever is still there by then.
    fn later(self) {
        let core = self.core.clone();
        let delay = core.delay();
        let arrival = async move {
            self.core.sleep(delay).await;
            drop(self.arrive().await);
        };
        core.spawn(Process::World, arrival.boxed());
    }
}
