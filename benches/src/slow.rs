//! A target that takes its time.

use std::time::Duration;

use async_trait::async_trait;
use usersync_connector::{
    Applied, CallContext, MemberOperation, MembersEntry, MembershipRead, MembershipTarget, PresentMember,
    ReadStream, Result, TargetCapabilities,
};
use usersync_memory::MemoryTarget;
use usersync_model::{ObjectId, PrincipalRef, SystemId};

/// A target each of whose effects takes as long as it would over a network. It needs tokio's time.
#[derive(Clone, Debug)]
pub struct Slow {
    inner: MemoryTarget,
    latency: Duration,
}

impl Slow {
    /// `inner`, with so much between a call and its effect.
    #[must_use]
    pub fn new(inner: MemoryTarget, latency: Duration) -> Self {
        Self { inner, latency }
    }
}

#[async_trait]
impl MembershipRead for Slow {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.inner.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        self.inner.members(containers, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        self.inner.member(container, principal, context).await
    }
}

#[async_trait]
impl MembershipTarget for Slow {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        tokio::time::sleep(self.latency).await;
        self.inner.apply(container, operations, context).await
    }
}
