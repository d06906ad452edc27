//! Membership targets.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use usersync_connector::{
    Applied, CallContext, MemberChange, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, Result, TargetCapabilities, failed_read,
};
use usersync_model::{ContainerRef, ObjectId, PrincipalRef, SystemId};
use usersync_store::LedgerKey;

use super::Wire;
use super::effect::{Effect, On, OnSubject};
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
        let Ok(target) = self.wire.of(&context.tenant) else {
            return Vec::new();
        };
        let effects = operations
            .iter()
            .map(|operation| self.effect(&target, container, operation, context));
        self.wire.send(effects, context).await
    }
}

impl WireTarget {
    fn effect(
        &self,
        target: &Arc<dyn TargetUnderTest>,
        container: &ObjectId,
        operation: &MemberOperation,
        context: &CallContext,
    ) -> Effect {
        let act = {
            let (target, container) = (Arc::clone(target), container.clone());
            let (operation, context) = (operation.clone(), context.clone());
            move || {
                let (target, container) = (Arc::clone(&target), container.clone());
                let (operation, context) = (operation.clone(), context.clone());
                let call = async move {
                    let answers = target.apply(&container, &[operation], &context).await;
                    answers.into_iter().next()
                };
                call.boxed()
            }
        };
        let is_there = {
            let (target, container, who) =
                (Arc::clone(target), container.clone(), operation.principal.clone());
            move || {
                let members = target.members_now(&container).unwrap_or_default();
                members.iter().any(|member| member.principal == who)
            }
        };
        let container = ContainerRef::new(self.system.clone(), container.clone());
        Effect {
            core: self.wire.core.clone(),
            context: context.clone(),
            on: On::Subject(OnSubject {
                key: LedgerKey::member(container, operation.principal.clone()),
                id: operation.id,
                what: match operation.change {
                    MemberChange::Add(_) => Done::Added,
                    MemberChange::Remove => Done::Removed,
                    MemberChange::Update(_) => Done::Changed,
                },
                is_there: Arc::new(is_there),
            }),
            act: Arc::new(act),
        }
    }
}
