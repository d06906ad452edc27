//! Reads, page by page.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use usersync_connector::{
    AccountCapabilities, AccountDirectory, AccountEntry, CallContext, ContainerCatalog, Cursor, Directory,
    DirectoryCapabilities, PresentRecord, ReadEvent, ReadStream, RecordCapabilities, RecordEntry, RecordRead,
    RecordRequest, Result,
};
use usersync_memory::{Call, CallKind, Fault, Moment};
use usersync_model::{
    Container, ContainerRef, Digest, DirectoryChange, ObjectId, RecordRef, Subject, SystemId,
};

use super::{Broken, Points, call_by, wait};

/// How many entries a page has at most.
const PAGE: usize = 4;

impl Points {
    /// Points around a directory.
    #[must_use]
    pub fn directory(&self, inner: Arc<dyn Directory>) -> Arc<dyn Directory> {
        Arc::new(Read {
            points: self.clone(),
            inner,
        })
    }

    /// Points around a list of containers.
    #[must_use]
    pub fn catalog(&self, inner: Arc<dyn ContainerCatalog>) -> Arc<dyn ContainerCatalog> {
        Arc::new(Read {
            points: self.clone(),
            inner,
        })
    }

    /// Points around a system of accounts.
    #[must_use]
    pub fn accounts(&self, inner: Arc<dyn AccountDirectory>) -> Arc<dyn AccountDirectory> {
        Arc::new(Read {
            points: self.clone(),
            inner,
        })
    }

    /// Points around a system whose records are read.
    #[must_use]
    pub fn record_source(&self, inner: Arc<dyn RecordRead>) -> Arc<dyn RecordRead> {
        Arc::new(Read {
            points: self.clone(),
            inner,
        })
    }

    /// A connector's read.
    pub(super) fn read<T: Send + 'static>(
        &self,
        call: Call,
        open: impl FnOnce() -> ReadStream<T> + Send + 'static,
    ) -> ReadStream<T> {
        let pages = move || -> ReadStream<T> { open().flat_map(|event| stream::iter(pages(event))).boxed() };
        self.stream(call, pages, |event| matches!(event, ReadEvent::End(_)))
    }

    /// A stream of which every event is a point, from its begin to the one that is its last.
    pub(super) fn stream<T, E>(
        &self,
        call: Call,
        open: impl FnOnce() -> BoxStream<'static, std::result::Result<T, E>> + Send + 'static,
        is_last: fn(&T) -> bool,
    ) -> BoxStream<'static, std::result::Result<T, E>>
    where
        T: Send + 'static,
        E: Broken + Send + 'static,
    {
        let points = self.clone();
        let stages = stream::unfold(Stage::Closed(open, call), move |stage| {
            let points = points.clone();
            async move {
                let (call, take) = stage.next()?;
                match points.meet(&call).await {
                    None => {
                        let (event, inner) = take()?;
                        let is_over = event.as_ref().map_or(true, is_last);
                        let stage = match is_over {
                            true => Stage::Ended,
                            false => Stage::Open(inner, call),
                        };
                        Some((event, stage))
                    }
                    Some(Fault::Hang(moment)) => {
                        if moment == Moment::After {
                            drop(take());
                        }
                        points.die().await
                    }
                    Some(fault) => {
                        if fault == Fault::Timeout(Moment::After) {
                            drop(take());
                        }
                        Some((Err(E::broken(&fault, &call)), Stage::Ended))
                    }
                }
            }
        });
        stages.boxed()
    }
}

/// How far a stream is.
enum Stage<F, T> {
    Closed(F, Call),
    Ended,
    Open(BoxStream<'static, T>, Call),
}

impl<T, F: FnOnce() -> BoxStream<'static, T>> Stage<F, T> {
    /// The next call to make, and how to make it.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    fn next(self) -> Option<(Call, impl FnOnce() -> Option<(T, BoxStream<'static, T>)>)> {
        let (call, open, inner) = match self {
            Self::Closed(open, call) => (call, Some(open), None),
            Self::Ended => return None,
            Self::Open(inner, mut call) => {
                call.position += 1;
                (call, None, Some(inner))
            }
        };
        let take = move || {
            let mut inner = inner.or_else(|| open.map(|open| open()))?;
            let event = wait(inner.next())?;
            Some((event, inner))
        };
        Some((call, take))
    }
}

/// An event as small pages.
fn pages<T>(event: Result<ReadEvent<T>>) -> Vec<Result<ReadEvent<T>>> {
    let Ok(ReadEvent::Chunk(entries)) = event else {
        return vec![event];
    };
    let mut entries = entries.into_iter().peekable();
    let mut pages = Vec::new();
    while entries.peek().is_some() {
        pages.push(Ok(ReadEvent::Chunk(entries.by_ref().take(PAGE).collect())));
    }
    pages
}

/// Points around something that is read.
#[derive(Debug)]
struct Read<T: ?Sized> {
    points: Points,
    inner: Arc<T>,
}

impl Directory for Read<dyn Directory> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.inner.capabilities()
    }

    fn filter(&self) -> Option<Digest> {
        self.inner.filter()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let call = on(self.system(), CallKind::Directory, context);
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.points.read(call, move || inner.read(since, &context))
    }
}

impl ContainerCatalog for Read<dyn ContainerCatalog> {
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container> {
        let mut call = call_by(CallKind::Containers, context);
        call.containers = only.iter().flatten().map(|id| id.object.clone()).collect();
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.points.read(call, move || inner.containers(only, &context))
    }
}

impl AccountDirectory for Read<dyn AccountDirectory> {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> AccountCapabilities {
        self.inner.capabilities()
    }

    fn accounts(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<AccountEntry> {
        let call = on(self.system(), CallKind::Accounts, context);
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.points.read(call, move || inner.accounts(since, &context))
    }
}

#[async_trait]
impl RecordRead for Read<dyn RecordRead> {
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
        let mut call = on(self.system(), CallKind::Records, context);
        call.containers = request.collection.iter().cloned().collect();
        let (inner, context) = (Arc::clone(&self.inner), context.clone());
        self.points.read(call, move || inner.records(request, &context))
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let mut call = on(self.system(), CallKind::Record, context);
        call.containers = collection.into_iter().cloned().collect();
        call.subject = Some(Subject::Record(id.clone()));
        let read = self.inner.record(collection, id, context);
        self.points.call(call, read).await
    }
}

/// A call of a system.
pub(super) fn on(system: &SystemId, kind: CallKind, context: &CallContext) -> Call {
    let mut call = call_by(kind, context);
    call.system = Some(system.clone());
    call
}
