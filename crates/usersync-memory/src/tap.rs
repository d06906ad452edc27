//! What stands between a backend and its callers: numbers, records and breaks calls.

use std::num::NonZeroUsize;

use futures::stream::{self, BoxStream, StreamExt};
use usersync_connector::{
    CHUNK_ENTRIES, Cursor, Error, Extent, MembersEntry, ReadEnd, ReadEvent, ReadStream, failed_read,
};
use usersync_model::{DirectoryChange, ObjectId, PartialReason};
use usersync_store::{Chunks, StoreError};

use crate::call::{CallSite, Calls};
use crate::fault::{Fault, Faults, FromFault, Injected, Moment, mix};

/// A backend's own faults and record of calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap {
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
}

/// What a read shows when nothing goes wrong.
pub(crate) struct Read<T> {
    pub(crate) extent: Extent,
    pub(crate) entries: Box<dyn Iterator<Item = T> + Send>,
    pub(crate) end: ReadEnd,
}

impl<T> Read<T> {
    /// A complete read of everything.
    pub(crate) fn full(entries: impl Iterator<Item = T> + Send + 'static) -> Self {
        Self {
            extent: Extent::Full,
            entries: Box::new(entries),
            end: ReadEnd::complete(),
        }
    }

    /// A complete read of what changed.
    pub(crate) fn changes(entries: impl Iterator<Item = T> + Send + 'static) -> Self {
        Self {
            extent: Extent::Changes,
            ..Self::full(entries)
        }
    }

    /// The same read, to be continued from a cursor.
    pub(crate) fn with_cursor(mut self, cursor: Option<Cursor>) -> Self {
        self.end.cursor = cursor;
        self
    }
}

impl Tap {
    /// A tap without faults whose record is empty and remembers as much.
    pub(crate) fn fork(&self) -> Self {
        Self {
            faults: Faults::default(),
            calls: self.calls.fresh(),
        }
    }

    fn begin(&self, site: &CallSite<'_>) -> Injected {
        let (number, injected) = self.faults.next(site);
        self.calls.record(number, site);
        injected
    }

    /// Answers a call that is not a stream with what `act` says, unless something goes wrong.
    pub(crate) async fn call<T, E: FromFault>(
        &self,
        site: CallSite<'_>,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(fault) = self.begin(&site).outcome else {
            return act();
        };
        let after = matches!(fault, Fault::Hang(Moment::After) | Fault::Timeout(Moment::After));
        if after {
            drop(act());
        }
        if matches!(fault, Fault::Hang(_)) {
            std::future::pending::<()>().await;
        }
        Err(E::from_fault(&fault, &site))
    }

    /// Answers a connector's read with what `read` gives, unless something goes wrong.
    pub(crate) fn read<T: Entry>(
        &self,
        site: CallSite<'_>,
        read: impl FnOnce() -> Result<Read<T>, Error>,
    ) -> ReadStream<T> {
        let injected = self.begin(&site);
        match &injected.outcome {
            Some(Fault::Hang(Moment::Before)) => return stream::pending().boxed(),
            Some(
                fault @ (Fault::Failed { .. } | Fault::RateLimited { .. } | Fault::Timeout(Moment::Before)),
            ) => return failed_read(Error::from_fault(fault, &site)),
            _ => {}
        }
        match read() {
            Ok(read) => distorted(read, injected, &site),
            Err(error) => failed_read(match site.system_called() {
                Some(system) => error.at(system, site.kind.code()),
                None => error,
            }),
        }
    }

    /// Answers a store's read with `entries`, unless something goes wrong.
    pub(crate) fn chunks<T, I>(&self, site: CallSite<'_>, entries: impl FnOnce() -> I) -> Chunks<T>
    where
        T: Send + 'static,
        I: Iterator<Item = T> + Send + 'static,
    {
        let Injected { page, outcome, .. } = self.begin(&site);
        let size = page.map_or(CHUNK_ENTRIES, NonZeroUsize::get);
        let failed = |fault: &Fault| {
            let error = StoreError::from_fault(fault, &site);
            stream::once(std::future::ready(Err(error)))
        };
        match outcome {
            Some(Fault::Hang(Moment::Before)) => stream::pending().boxed(),
            Some(Fault::Hang(Moment::After)) => chunked(entries(), size, |_| 1)
                .map(Ok)
                .chain(stream::pending())
                .boxed(),
            Some(Fault::Stalled { shown }) => chunked(entries().take(shown), size, |_| 1)
                .map(Ok)
                .chain(stream::pending())
                .boxed(),
            Some(fault @ Fault::Timeout(Moment::After)) => chunked(entries(), size, |_| 1)
                .map(Ok)
                .chain(failed(&fault))
                .boxed(),
            Some(fault) => failed(&fault).boxed(),
            None => chunked(entries(), size, |_| 1).map(Ok).boxed(),
        }
    }
}

/// An entry of a read, as faults see it.
pub(crate) trait Entry: Clone + Send + 'static {
    /// The group or container that it is about.
    fn object(&self) -> Option<&ObjectId>;

    /// How many members it shows, if it shows members.
    fn members(&self) -> Option<usize>;

    /// Leaves out all members but the first `shown`.
    fn shorten(&mut self, shown: usize);

    fn size(&self) -> usize {
        self.members().unwrap_or(1).max(1)
    }
}

/// Entries that stand for one thing each.
macro_rules! plain_entry {
    ($($entry:ty),*) => {$(
        impl Entry for $entry {
            fn object(&self) -> Option<&ObjectId> {
                None
            }

            fn members(&self) -> Option<usize> {
                None
            }

            fn shorten(&mut self, _shown: usize) {}
        }
    )*};
}

plain_entry!(
    usersync_connector::AccountEntry,
    usersync_connector::ItemEntry,
    usersync_connector::RecordEntry,
    usersync_model::Container
);

impl Entry for DirectoryChange {
    fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Members { group, .. } | Self::MembersRemoved { group, .. } => Some(group),
            _ => None,
        }
    }

    fn members(&self) -> Option<usize> {
        match self {
            Self::Members { members, .. } | Self::MembersRemoved { members, .. } => Some(members.len()),
            _ => None,
        }
    }

    fn shorten(&mut self, shown: usize) {
        if let Self::Members { members, .. } | Self::MembersRemoved { members, .. } = self {
            members.truncate(shown);
        }
    }
}

impl Entry for MembersEntry {
    fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Members { container, .. } => Some(container),
            Self::Missing { .. } => None,
        }
    }

    fn members(&self) -> Option<usize> {
        match self {
            Self::Members { members, .. } => Some(members.len()),
            Self::Missing { .. } => None,
        }
    }

    fn shorten(&mut self, shown: usize) {
        if let Self::Members { members, .. } = self {
            members.truncate(shown);
        }
    }
}

/// What comes behind the last entry.
enum Tail {
    End(ReadEnd),
    Error(Error),
    Nothing,
    Pending,
}

fn distorted<T: Entry>(read: Read<T>, injected: Injected, site: &CallSite<'_>) -> ReadStream<T> {
    let Read {
        extent,
        mut entries,
        mut end,
    } = read;
    let Injected {
        duplicated,
        page,
        seed,
        outcome,
    } = injected;
    if duplicated {
        let once: Vec<T> = entries.collect();
        entries = Box::new(once.clone().into_iter().chain(once));
    }
    if let Some(seed) = seed {
        let mut shuffled: Vec<T> = entries.collect();
        shuffle(&mut shuffled, seed);
        entries = Box::new(shuffled.into_iter());
    }
    let mut shown = None;
    let tail = match outcome {
        Some(ref fault @ Fault::FailedAfter { shown: limit, .. }) => {
            shown = Some(limit);
            Tail::Error(Error::from_fault(fault, site))
        }
        Some(ref fault @ Fault::Timeout(_)) => Tail::Error(Error::from_fault(fault, site)),
        Some(Fault::Hang(_)) => Tail::Pending,
        Some(Fault::Stalled { shown: limit }) => {
            shown = Some(limit);
            Tail::Pending
        }
        Some(Fault::Truncated { shown: limit }) => {
            shown = Some(limit);
            Tail::Nothing
        }
        Some(Fault::Partial { shown: limit, kind }) => {
            shown = Some(limit);
            Tail::End(ReadEnd::partial(PartialReason::new(kind, "injected fault")))
        }
        Some(Fault::PartialOf {
            object,
            shown: limit,
            kind,
        }) => {
            end.partial
                .push((object.clone(), PartialReason::new(kind, "injected fault")));
            entries = Box::new(short_of(entries, object, limit));
            Tail::End(end)
        }
        _ => Tail::End(end),
    };
    if let Some(shown) = shown {
        entries = Box::new(cut(entries, shown));
    }
    let size = page.map_or(CHUNK_ENTRIES, NonZeroUsize::get);
    let events = stream::once(std::future::ready(Ok(ReadEvent::Begin(extent))))
        .chain(chunked(entries, size, T::size).map(|chunk| Ok(ReadEvent::Chunk(chunk))));
    match tail {
        Tail::End(end) => events
            .chain(stream::once(std::future::ready(Ok(ReadEvent::End(end)))))
            .boxed(),
        Tail::Error(error) => events.chain(stream::once(std::future::ready(Err(error)))).boxed(),
        Tail::Nothing => events.boxed(),
        Tail::Pending => events.chain(stream::pending()).boxed(),
    }
}

/// The first `left` of what the entries show, within an entry if need be.
fn cut<T: Entry>(entries: impl Iterator<Item = T>, mut left: usize) -> impl Iterator<Item = T> {
    entries.map_while(move |mut entry| {
        if left == 0 {
            return None;
        }
        entry.shorten(left);
        left = left.saturating_sub(entry.size());
        Some(entry)
    })
}

/// The entries with only the first `left` members of `object`.
fn short_of<T: Entry>(
    entries: impl Iterator<Item = T>,
    object: ObjectId,
    mut left: usize,
) -> impl Iterator<Item = T> {
    entries.filter_map(move |mut entry| {
        if entry.object() == Some(&object) {
            entry.shorten(left);
            let members = entry.members().unwrap_or(0);
            if members == 0 {
                return None;
            }
            left -= members;
        }
        Some(entry)
    })
}

/// Chunks that are full as soon as their entries' sizes reach `size`.
fn chunked<T: Send + 'static>(
    mut entries: impl Iterator<Item = T> + Send + 'static,
    size: usize,
    size_of: fn(&T) -> usize,
) -> BoxStream<'static, Vec<T>> {
    stream::iter(std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        let mut filled = 0_usize;
        while filled < size {
            let Some(entry) = entries.next() else { break };
            filled = filled.saturating_add(size_of(&entry));
            chunk.push(entry);
        }
        (!chunk.is_empty()).then_some(chunk)
    }))
    .boxed()
}

/// Fisher–Yates.
fn shuffle<T>(entries: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..entries.len()).rev() {
        state = mix(state);
        let other = state % (last as u64 + 1);
        entries.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

/// What every backend offers beside its work.
macro_rules! tapped {
    ($backend:ty) => {
        impl $backend {
            /// This handle with other faults. They are the handle's, and of clones made from it later: other handles of the same
            /// state go on as they did.
            #[must_use]
            pub fn with_faults(mut self, faults: &$crate::Faults) -> Self {
                self.tap.faults = faults.clone();
                self
            }

            /// This handle with another record of calls; the handle's, as with faults.
            #[must_use]
            pub fn with_calls(mut self, calls: &$crate::Calls) -> Self {
                self.tap.calls = calls.clone();
                self
            }

            /// What goes wrong with calls through this handle.
            #[must_use]
            pub fn faults(&self) -> &$crate::Faults {
                &self.tap.faults
            }

            /// The calls made through this handle, as far as they were recorded, oldest first.
            #[must_use]
            pub fn calls(&self) -> Vec<$crate::Call> {
                self.tap.calls.all()
            }

            /// The record of calls made through this handle.
            #[must_use]
            pub fn call_record(&self) -> &$crate::Calls {
                &self.tap.calls
            }
        }
    };
}
pub(crate) use tapped;
