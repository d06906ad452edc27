//! Targets: their reads, and operation by operation what is done to them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{
    Applied, CallContext, Cursor, Item, ItemCapabilities, ItemChange, ItemCollection, ItemEntry,
    ItemOperation, ItemRead, ItemStore, MemberChange, MemberOperation, MembersEntry, MembershipRead,
    MembershipTarget, PresentMember, PresentRecord, ReadStream, RecordCapabilities, RecordChange,
    RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget, Result, TargetCapabilities,
};
use usersync_memory::{CallKind, Fault, Moment};
use usersync_model::{
    ContainerRef, Digest, ObjectId, OperationId, PrincipalRef, RecordRef, Subject, SystemId,
};

use super::read::on;
use super::{Points, wait};
use crate::sweep::witness::Attempt;

impl Points {
    /// Points around a target of memberships.
    #[must_use]
    pub fn target(&self, inner: Arc<dyn MembershipTarget>) -> Arc<dyn MembershipTarget> {
        Arc::new(Target {
            points: self.clone(),
            inner,
        })
    }

    /// Points around a target of records.
    #[must_use]
    pub fn record_target(&self, inner: Arc<dyn RecordTarget>) -> Arc<dyn RecordTarget> {
        Arc::new(Target {
            points: self.clone(),
            inner,
        })
    }

    /// Points around a system that keeps items.
    #[must_use]
    pub fn items(&self, inner: Arc<dyn ItemStore>) -> Arc<dyn ItemStore> {
        Arc::new(Target {
            points: self.clone(),
            inner,
        })
    }

    /// A batch of operations, each a point of its own. What comes between two that are broken reaches the target in one piece.
    async fn apply<O: Operation>(
        &self,
        place: &Place<'_>,
        operations: &[O],
        send: impl Fn(&[O]) -> Vec<Result<Applied>> + Send + Sync,
    ) -> Vec<Result<Applied>> {
        let mut answers: Vec<Option<Result<Applied>>> = Vec::new();
        answers.resize_with(operations.len(), || None);
        let mut batch = Batch {
            points: self,
            operations,
            waiting: Vec::new(),
            send: &send,
        };
        for (position, operation) in operations.iter().enumerate() {
            let mut call = on(place.system, operation.kind(), place.context);
            call.containers = place.container.into_iter().cloned().collect();
            call.subject = operation.subject();
            call.operation = Some(operation.id());
            call.position = position;
            let fault = self.meet(&call).await;
            self.attempt(place, operation);
            match fault {
                None => batch.waiting.push(position),
                Some(Fault::Hang(moment)) => {
                    if moment == Moment::After {
                        batch.waiting.push(position);
                    }
                    batch.send(&mut answers);
                    return self.die().await;
                }
                Some(fault) => {
                    if fault == Fault::Timeout(Moment::After) {
                        batch.waiting.push(position);
                        batch.send(&mut answers);
                    }
                    answers[position] = Some(Err(fault.error(&call)));
                }
            }
        }
        batch.send(&mut answers);
        answers.into_iter().flatten().collect()
    }

    fn attempt(&self, place: &Place<'_>, operation: &impl Operation) {
        let attempt = Attempt {
            context: place.context,
            container: place
                .container
                .map(|id| ContainerRef::new(place.system.clone(), id.clone())),
            subject: operation.subject(),
            operation: operation.id(),
            kind: operation.kind(),
        };
        let store = self.inner_store();
        let problems = attempt.problems(store.as_deref());
        self.witness(|witness| witness.attempted(&attempt, problems));
    }
}

/// Where operations are done, and in whose name.
struct Place<'a> {
    system: &'a SystemId,
    container: Option<&'a ObjectId>,
    context: &'a CallContext,
}

/// Operations on their way to a target.
struct Batch<'a, O, S> {
    points: &'a Points,
    operations: &'a [O],
    waiting: Vec<usize>,
    send: &'a S,
}

impl<O: Operation, S: Fn(&[O]) -> Vec<Result<Applied>>> Batch<'_, O, S> {
    fn send(&mut self, answers: &mut [Option<Result<Applied>>]) {
        let positions = std::mem::take(&mut self.waiting);
        if positions.is_empty() {
            return;
        }
        let operations: Vec<O> = positions.iter().map(|at| self.operations[*at].clone()).collect();
        let answered = (self.send)(&operations);
        for ((position, operation), answer) in positions.into_iter().zip(&operations).zip(answered) {
            let changed = answer.as_ref().is_ok_and(|applied| applied.changed);
            self.points.witness(|witness| match operation.subject() {
                Some(_) => witness.answered(operation.id(), changed),
                None => witness.answered_of_item(operation.id(), changed),
            });
            answers[position] = Some(answer);
        }
    }
}

/// What is done to a target.
trait Operation: Clone + Send + Sync {
    fn id(&self) -> OperationId;
    fn kind(&self) -> CallKind;
    fn subject(&self) -> Option<Subject>;
}

impl Operation for MemberOperation {
    fn id(&self) -> OperationId {
        self.id
    }

    fn kind(&self) -> CallKind {
        match self.change {
            MemberChange::Add(_) => CallKind::Add,
            MemberChange::Remove => CallKind::Remove,
            MemberChange::Update(_) => CallKind::Update,
        }
    }

    fn subject(&self) -> Option<Subject> {
        Some(Subject::Principal(self.principal.clone()))
    }
}

impl Operation for RecordOperation {
    fn id(&self) -> OperationId {
        self.id
    }

    fn kind(&self) -> CallKind {
        match self.change {
            RecordChange::Create(_) => CallKind::Create,
            RecordChange::Delete => CallKind::Delete,
            RecordChange::Update(_) => CallKind::Update,
        }
    }

    fn subject(&self) -> Option<Subject> {
        Some(Subject::Record(self.record.clone()))
    }
}

impl Operation for ItemOperation {
    fn id(&self) -> OperationId {
        self.id
    }

    fn kind(&self) -> CallKind {
        match self.change {
            ItemChange::Create(_) => CallKind::Create,
            ItemChange::Delete { .. } => CallKind::Delete,
            ItemChange::Update { .. } => CallKind::Update,
        }
    }

    /// An item is known by a UID, and a subject is known by its system, too.
    fn subject(&self) -> Option<Subject> {
        None
    }
}

/// Points around something that is written to.
#[derive(Debug)]
struct Target<T: ?Sized> {
    points: Points,
    inner: Arc<T>,
}

#[async_trait]
impl MembershipRead for Target<dyn MembershipTarget> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.inner.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let mut call = on(self.system(), CallKind::Members, context);
        call.containers.clone_from(&containers);
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.points
            .read(call, move || inner.members(containers, &context))
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let mut call = on(self.system(), CallKind::Member, context);
        call.containers = vec![container.clone()];
        call.subject = Some(Subject::Principal(principal.clone()));
        let read = self.inner.member(container, principal, context);
        self.points.call(call, read).await
    }
}

#[async_trait]
impl MembershipTarget for Target<dyn MembershipTarget> {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let place = Place {
            system: self.inner.system(),
            container: Some(container),
            context,
        };
        let send = |batch: &[MemberOperation]| wait(self.inner.apply(container, batch, context));
        self.points.apply(&place, operations, send).await
    }
}

#[async_trait]
impl RecordRead for Target<dyn RecordTarget> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> RecordCapabilities {
        self.inner.capabilities()
    }

    fn filter(&self) -> Option<Digest> {
        self.inner.filter()
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        let inner: Arc<dyn RecordRead> = Arc::clone(&self.inner) as _;
        self.points.record_source(inner).records(request, context)
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let inner: Arc<dyn RecordRead> = Arc::clone(&self.inner) as _;
        self.points
            .record_source(inner)
            .record(collection, id, context)
            .await
    }
}

#[async_trait]
impl RecordTarget for Target<dyn RecordTarget> {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let place = Place {
            system: self.inner.system(),
            container: collection,
            context,
        };
        let send = |batch: &[RecordOperation]| wait(self.inner.apply(collection, batch, context));
        self.points.apply(&place, operations, send).await
    }
}

#[async_trait]
impl ItemRead for Target<dyn ItemStore> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> ItemCapabilities {
        self.inner.capabilities()
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let mut call = on(self.system(), CallKind::Items, context);
        call.containers = vec![collection.account.clone()];
        let (inner, of, context) = (Arc::clone(&self.inner), collection.clone(), context.clone());
        self.points.read(call, move || inner.items(&of, since, &context))
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> Result<Option<Item>> {
        let mut call = on(self.system(), CallKind::Item, context);
        call.containers = vec![collection.account.clone()];
        let read = self.inner.find(collection, uid, context);
        self.points.call(call, read).await
    }

    async fn now(&self, context: &CallContext) -> Result<Option<DateTime<Utc>>> {
        let call = on(self.system(), CallKind::ItemClock, context);
        self.points.call(call, self.inner.now(context)).await
    }
}

#[async_trait]
impl ItemStore for Target<dyn ItemStore> {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let place = Place {
            system: self.inner.system(),
            container: Some(&collection.account),
            context,
        };
        let send = |batch: &[ItemOperation]| wait(self.inner.apply(collection, batch, context));
        self.points.apply(&place, operations, send).await
    }
}
