//! What may happen to a read on its way: order, paging, repetitions, and ends that come too early.

use futures::StreamExt;
use futures::stream;
use usersync_connector::{Error, ErrorKind, Extent, ReadEnd, ReadEvent, ReadStream, Result};
use usersync_model::{DirectoryChange, PartialKind, PartialReason};

use super::rng::SplitMix64;

/// The same full read in another order, with repetitions, memberships spread over more entries, and chunks of any size: what
/// follows from it must be the same (promise 1). Only for full reads; the changes of a history have an order.
#[must_use]
pub fn disturb(changes: Vec<DirectoryChange>, rng: &mut SplitMix64) -> Vec<Vec<DirectoryChange>> {
    let mut entries = duplicate(spread_members(changes, rng), 200, rng);
    rng.shuffle(&mut entries);
    rechunk(entries, rng)
}

/// The same entries, `per_mille` of a thousand of them twice.
#[must_use]
pub fn duplicate<T: Clone>(entries: Vec<T>, per_mille: u32, rng: &mut SplitMix64) -> Vec<T> {
    let mut more = Vec::with_capacity(entries.len());
    for entry in entries {
        if rng.chance(per_mille) {
            more.push(entry.clone());
        }
        more.push(entry);
    }
    more
}

/// The same memberships, in entries of one to three members each.
#[must_use]
pub fn spread_members(changes: Vec<DirectoryChange>, rng: &mut SplitMix64) -> Vec<DirectoryChange> {
    let mut spread = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            DirectoryChange::Members {
                group,
                system,
                members,
            } if members.len() > 1 => {
                let mut rest = members.as_slice();
                while !rest.is_empty() {
                    let (some, more) = rest.split_at((1 + rng.index(3)).min(rest.len()));
                    spread.push(DirectoryChange::Members {
                        group: group.clone(),
                        system: system.clone(),
                        members: some.to_vec(),
                    });
                    rest = more;
                }
            }
            other => spread.push(other),
        }
    }
    spread
}

/// The same entries in chunks of nought to nine.
#[must_use]
pub fn rechunk<T>(entries: Vec<T>, rng: &mut SplitMix64) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        let size = rng.index(10);
        chunks.push(entries.by_ref().take(size).collect());
    }
    chunks
}

/// The same entries in chunks of `size`, at least one.
#[must_use]
pub fn into_chunks<T>(entries: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    let mut entries = entries.into_iter();
    loop {
        let chunk: Vec<_> = entries.by_ref().take(size.max(1)).collect();
        if chunk.is_empty() {
            return chunks;
        }
        chunks.push(chunk);
    }
}

/// A read of these chunks that ends as `end` says.
#[must_use]
pub fn events<T: Send + 'static>(extent: Extent, chunks: Vec<Vec<T>>, end: ReadEnd) -> ReadStream<T> {
    let chunks = chunks.into_iter().map(|chunk| Ok(ReadEvent::Chunk(chunk)));
    let events = std::iter::once(Ok(ReadEvent::Begin(extent)))
        .chain(chunks)
        .chain(std::iter::once(Ok(ReadEvent::End(end))));
    stream::iter(events).boxed()
}

/// How a read ends that does not show everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With an error.
    Error,
    /// With a verdict that says so.
    Partial,
    /// Without any verdict.
    Silent,
}

impl Ending {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Error, Self::Partial, Self::Silent];
}

/// A read that is cut short: what follows from it must not rest on what is missing (promise 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation<T> {
    /// How many entries are shown; `None`: not even the begin is.
    pub shown: Option<usize>,
    /// How it ends.
    pub ending: Ending,
    chunks: Vec<Vec<T>>,
}

impl<T> Truncation<T> {
    /// The chunks that are shown.
    #[must_use]
    pub fn chunks(&self) -> &[Vec<T>] {
        &self.chunks
    }
}

impl<T: Send + 'static> Truncation<T> {
    /// The read.
    #[must_use]
    pub fn into_stream(self) -> ReadStream<T> {
        let begin = self.shown.map(|_| Ok(ReadEvent::Begin(Extent::Full)));
        let chunks = self.chunks.into_iter().map(|chunk| Ok(ReadEvent::Chunk(chunk)));
        let end: Option<Result<ReadEvent<T>>> = match self.ending {
            Ending::Error => Some(Err(Error::new(ErrorKind::Unavailable, "cut short"))),
            Ending::Partial => Some(Ok(ReadEvent::End(ReadEnd::partial(PartialReason::new(
                PartialKind::Limit,
                "cut short",
            ))))),
            Ending::Silent => None,
        };
        let events: Vec<_> = begin.into_iter().chain(chunks).chain(end).collect();
        stream::iter(events).boxed()
    }
}

/// Every way to cut a full read of these chunks short: before the begin, and before, between and behind any two entries, with each
/// ending that the protocol allows there. Costs O(n²) entries altogether, made one truncation at a time.
pub fn truncations<T: Clone>(chunks: &[Vec<T>]) -> impl Iterator<Item = Truncation<T>> + '_ {
    let entries: usize = chunks.iter().map(Vec::len).sum();
    let unbegun = [Ending::Error, Ending::Silent]
        .into_iter()
        .map(|ending| Truncation {
            shown: None,
            ending,
            chunks: Vec::new(),
        });
    let begun = (0..=entries).flat_map(move |shown| {
        Ending::ALL.into_iter().map(move |ending| Truncation {
            shown: Some(shown),
            ending,
            chunks: first(chunks, shown),
        })
    });
    unbegun.chain(begun)
}

fn first<T: Clone>(chunks: &[Vec<T>], mut entries: usize) -> Vec<Vec<T>> {
    let mut some = Vec::new();
    for chunk in chunks {
        if entries == 0 {
            break;
        }
        let shown = chunk.len().min(entries);
        some.push(chunk[..shown].to_vec());
        entries -= shown;
    }
    some
}
