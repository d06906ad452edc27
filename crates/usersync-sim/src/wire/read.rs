//! Reads that wait, and go wrong as reads do.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use usersync_connector::{Error, MembersEntry, ReadEnd, ReadEvent, ReadStream, Result};
use usersync_model::{Container, DirectoryChange, ObjectId, PartialKind, PartialReason};

use crate::core::{Broken, Core};
use crate::fault::FaultKind;

/// An entry of a read, as faults see it.
pub(crate) trait Entry: Clone + Send + 'static {
    /// The group or container that it is about, if a read can be partial for that alone.
    fn object(&self) -> Option<&ObjectId> {
        None
    }

    /// Leaves out all members but the first `shown`; `false`: nothing of it is left.
    fn shorten(&mut self, _shown: usize) -> bool {
        true
    }
}

impl Entry for Container {}

impl Entry for DirectoryChange {
    fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Members { group, .. } => Some(group),
            _ => None,
        }
    }

    fn shorten(&mut self, shown: usize) -> bool {
        if let Self::Members { members, .. } = self {
            members.truncate(shown);
            return !members.is_empty();
        }
        true
    }
}

impl Entry for MembersEntry {
    fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Members { container, .. } => Some(container),
            Self::Missing { .. } => None,
        }
    }

    fn shorten(&mut self, shown: usize) -> bool {
        if let Self::Members { members, .. } = self {
            members.truncate(shown);
        }
        true
    }
}

/// A read that ended, to be told again.
pub(crate) type Told<T> = Vec<Result<ReadEvent<T>>>;

impl Core {
    /// A read whose events come from `read`, asked at a moment that the seed picks. What is `stale` may be shown instead, and
    /// `shown` is told of complete reads.
    pub(crate) fn read<T: Entry>(
        &self,
        site: String,
        read: impl FnOnce() -> ReadStream<T> + Send + 'static,
        stale: impl FnOnce() -> Option<Told<T>> + Send + 'static,
        shown: impl FnOnce(&[Result<ReadEvent<T>>]) + Send + 'static,
    ) -> ReadStream<T> {
        let core = self.clone();
        let begin = async move {
            core.lock().calls += 1;
            core.point().await;
            let fault = core.fault(FaultKind::OF_READS);
            if let Some(fault @ (FaultKind::FailedBefore | FaultKind::RateLimited)) = fault {
                core.fired(fault, &site);
                return core.tell(vec![Err(Error::broken(fault))], false);
            }
            let old = match fault {
                Some(FaultKind::Stale) => stale(),
                _ => None,
            };
            if let Some(old) = old {
                core.fired(FaultKind::Stale, &site);
                return core.tell(old, false);
            }
            let events: Vec<_> = read().collect().await;
            shown(&events);
            match fault {
                Some(fault) => core.distorted(events, fault, &site).await,
                None => core.tell(events, false),
            }
        };
        begin.into_stream_of()
    }

    async fn distorted<T: Entry>(
        &self,
        events: Told<T>,
        fault: FaultKind,
        site: &str,
    ) -> BoxStream<'static, Result<ReadEvent<T>>> {
        let mut first = Vec::new();
        let mut entries: Vec<T> = Vec::new();
        let mut last = Vec::new();
        for event in events {
            match event {
                Ok(ReadEvent::Chunk(chunk)) => entries.extend(chunk),
                Ok(ReadEvent::Begin(_)) => first.push(event),
                Ok(ReadEvent::End(_)) | Err(_) => last.push(event),
            }
        }
        let part = self.detail(entries.len() + 1);
        let partial = || PartialReason::new(PartialKind::Limit, "simulated");
        let mut size = entries.len().max(1);
        let mut is_stalled = false;
        match fault {
            FaultKind::FailedAfter => {
                entries.truncate(part);
                last = vec![Err(Error::broken(fault))];
            }
            FaultKind::Truncated => {
                entries.truncate(part);
                last.clear();
            }
            FaultKind::Stalled => {
                entries.truncate(part);
                last.clear();
                is_stalled = true;
            }
            FaultKind::Partial => {
                entries.truncate(part);
                last = vec![Ok(ReadEvent::End(ReadEnd::partial(partial())))];
            }
            FaultKind::PartialOf => {
                let Some(object) = entries.get(part.min(entries.len().saturating_sub(1))) else {
                    return self.tell(rejoined(first, entries, size, last), false);
                };
                let Some(object) = object.object().cloned() else {
                    return self.tell(rejoined(first, entries, size, last), false);
                };
                let shown = self.detail(3);
                entries.retain_mut(|entry| entry.object() != Some(&object) || entry.shorten(shown));
                if let Some(Ok(ReadEvent::End(end))) = last.first_mut() {
                    end.partial.push((object, partial()));
                }
            }
            FaultKind::Paged => size = 1 + part % 3,
            FaultKind::Reordered => {
                for last in (1..entries.len()).rev() {
                    let other = self.detail(last + 1);
                    entries.swap(last, other);
                }
            }
            FaultKind::Repeated => {
                let again = entries.clone();
                entries.extend(again);
            }
            FaultKind::LateAnswer => self.sleep(self.delay()).await,
            _ => return self.tell(rejoined(first, entries, size, last), false),
        }
        self.fired(fault, site);
        self.tell(rejoined(first, entries, size, last), is_stalled)
    }

    /// Events, one after the other, with others going on between them.
    fn tell<T: Entry>(&self, events: Told<T>, is_stalled: bool) -> BoxStream<'static, Result<ReadEvent<T>>> {
        let core = self.clone();
        let told = stream::iter(events).then(move |event| {
            let core = core.clone();
            async move {
                core.point().await;
                event
            }
        });
        match is_stalled {
            true => told.chain(stream::pending()).boxed(),
            false => told.boxed(),
        }
    }
}

fn rejoined<T>(first: Told<T>, entries: Vec<T>, size: usize, last: Told<T>) -> Told<T> {
    let mut events = first;
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        events.push(Ok(ReadEvent::Chunk(entries.by_ref().take(size).collect())));
    }
    events.extend(last);
    events
}

/// A future that becomes a stream.
trait IntoStreamOf<T> {
    fn into_stream_of(self) -> BoxStream<'static, T>;
}

impl<T: 'static, F: Future<Output = BoxStream<'static, T>> + Send + 'static> IntoStreamOf<T> for F {
    fn into_stream_of(self) -> BoxStream<'static, T> {
        stream::once(self).flatten().boxed()
    }
}
