//! A target that tells how long it was called.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use usersync_connector::{
    Applied, CallContext, MemberOperation, MembersEntry, MembershipRead, MembershipTarget, PresentMember,
    ReadStream, Result, TargetCapabilities,
};
use usersync_model::{ObjectId, PrincipalRef, SystemId};

/// From the first call with operations to the last answer. Clones share it.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Marks>);

#[derive(Debug)]
struct Marks {
    /// How many operations are to be answered.
    left: AtomicU64,
    begun: OnceLock<Instant>,
    ended: OnceLock<Instant>,
}

impl Watch {
    /// A watch for so many operations.
    #[must_use]
    pub fn of(operations: u64) -> Self {
        Self(Arc::new(Marks {
            left: AtomicU64::new(operations),
            begun: OnceLock::new(),
            ended: OnceLock::new(),
        }))
    }

    /// How long it took.
    ///
    /// # Panics
    /// If not every operation was answered.
    #[must_use]
    pub fn spent(&self) -> Duration {
        let at = |mark: &OnceLock<Instant>| *mark.get().expect("every operation was answered");
        at(&self.0.ended).duration_since(at(&self.0.begun))
    }
}

/// A target with a watch.
#[derive(Clone, Debug)]
pub struct Watched {
    inner: Arc<dyn MembershipTarget>,
    watch: Watch,
}

impl Watched {
    /// `inner`, whose calls `watch` times.
    #[must_use]
    pub fn new(inner: Arc<dyn MembershipTarget>, watch: &Watch) -> Self {
        Self {
            inner,
            watch: watch.clone(),
        }
    }
}

#[async_trait]
impl MembershipRead for Watched {
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
impl MembershipTarget for Watched {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let marks = &self.watch.0;
        marks.begun.get_or_init(Instant::now);
        let answers = self.inner.apply(container, operations, context).await;
        let answered = operations.len() as u64;
        if marks.left.fetch_sub(answered, Ordering::AcqRel) == answered {
            marks.ended.get_or_init(Instant::now);
        }
        answers
    }
}
