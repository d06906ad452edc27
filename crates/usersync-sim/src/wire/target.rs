//! Membership targets.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use usersync_connector::{
    Applied, CallContext, Error, MemberChange, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, Result, TargetCapabilities, failed_read,
};
use usersync_model::{ContainerRef, ObjectId, PrincipalRef, SystemId};
use usersync_store::LedgerKey;

use super::Wire;
use crate::core::{Broken, Core};
use crate::executor::Process;
use crate::fault::FaultKind;
use crate::history::Done;
use crate::plug::TargetUnderTest;

/// A target, one for each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireTarget {
    pub(crate) wire: Wire<Arc<dyn TargetUnderTest>>,
    pub(crate) system: SystemId,
    pub(crate) capabilities: TargetCapabilities,
}

#[async_trait]
impl MembershipRead for WireTarget {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.capabilities
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let target = match self.wire.of(&context.tenant) {
            Ok(target) => target,
            Err(error) => return failed_read(error),
        };
        let site = self.wire.site("members", context);
        let context = context.clone();
        self.wire.core.read(
            site,
            move || target.members(containers, &context),
            || None,
            |_| {},
        )
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let target = self.wire.of(&context.tenant)?;
        let site = self.wire.site("member", context);
        let read = target.member(container, principal, context);
        self.wire.core.call(FaultKind::OF_CALLS, &site, read).await
    }
}

#[async_trait]
impl MembershipTarget for WireTarget {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let mut results = Vec::with_capacity(operations.len());
        let target = match self.wire.of(&context.tenant) {
            Ok(target) => target,
            Err(_) => return results,
        };
        let core = &self.wire.core;
        let calls: Vec<Effect> = operations
            .iter()
            .map(|operation| Effect {
                core: core.clone(),
                target: Arc::clone(&target),
                container: ContainerRef::new(self.system.clone(), container.clone()),
                operation: operation.clone(),
                context: context.clone(),
            })
            .collect();
        for call in &calls {
            call.begin(self.wire.process);
        }
        for call in calls {
            let site = self.wire.site("apply", context);
            results.push(call.send(&site).await);
        }
        results
    }
}

/// One operation on its way to a target.
#[derive(Clone)]
struct Effect {
    core: Core,
    target: Arc<dyn TargetUnderTest>,
    container: ContainerRef,
    operation: MemberOperation,
    context: CallContext,
}

impl Effect {
    fn key(&self) -> LedgerKey {
        LedgerKey::member(self.container.clone(), self.operation.principal.clone())
    }

    fn what(&self) -> Done {
        match self.operation.change {
            MemberChange::Add(_) => Done::Added,
            MemberChange::Remove => Done::Removed,
            MemberChange::Update(_) => Done::Changed,
        }
    }

    fn begin(&self, process: Process) {
        let now = self.core.now();
        let mut state = self.core.lock();
        let (key, what, id) = (self.key(), self.what(), self.operation.id);
        state.trace.say(format_args!(
            "  {process:?} begins {what:?} {} in {} for {}/{}",
            key.subject, key.container, self.context.tenant, self.context.job
        ));
        state.history.attempt(process, now, &self.context, &key, id, what);
    }

    /// Lets the target do it.
    async fn arrive(&self) -> Result<Applied> {
        let operations = std::slice::from_ref(&self.operation);
        let answers = self
            .target
            .apply(&self.container.object, operations, &self.context)
            .await;
        let unanswered = || Err(Error::broken(FaultKind::Lost));
        let answer = answers.into_iter().next().unwrap_or_else(unanswered);
        let members = self.target.members_now(&self.container.object).unwrap_or_default();
        let is_there = members.iter().any(|member| member.principal == self.operation.principal);
        let mut state = self.core.lock();
        let (key, what, id) = (self.key(), self.what(), self.operation.id);
        let told = match &answer {
            Ok(applied) if applied.changed => "changed",
            Ok(_) => "unchanged",
            Err(error) => error.kind().code(),
        };
        state.trace.say(format_args!(
            "  {what:?} {} in {} for {}/{}: {told}",
            key.subject, key.container, self.context.tenant, self.context.job
        ));
        state.history.effect(&self.context, &key, id, what, is_there);
        answer
    }

    /// Makes the call; whoever is told for sure what came of it knows.
    async fn send(self, site: &str) -> Result<Applied> {
        let (core, context, id) = (self.core.clone(), self.context.clone(), self.operation.id);
        let answer = self.sent(site).await;
        if !answer.as_ref().is_err_and(Error::outcome_unknown) {
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
            FaultKind::Lost => {
                core.point().await;
                Err(Error::broken(fault))
            }
            _ => Err(Error::broken(fault)),
        }
    }

    /// Lets it arrive some time, whoever is still there by then.
    fn later(self) {
        let core = self.core.clone();
        let delay = core.delay();
        core.spawn(
            Process::World,
            async move {
                self.core.sleep(delay).await;
                drop(self.arrive().await);
            }
            .boxed(),
        );
    }
}
