//! Streams of chunks.
//!
//! A stream shows one snapshot: what was committed before it was asked for. A write-ahead log gives that without copying anything: a second
//! connection holds a read transaction open for as long as the stream is read, and writers go on meanwhile. The price is that the
//! log cannot be cut shorter behind that snapshot, so a stream is to be read to its end or dropped. Where a second connection is not to
//! be had, the whole answer is read at once and kept in memory until it was read.

use std::vec;

use futures::StreamExt;
use futures::stream;
use usersync_store::Chunks;

use crate::database::Database;
use crate::error::Result;
use crate::names::Names;
use crate::worker::{Client, Reader, Worker};

/// The largest chunk: in entries, and in bytes of their values, which the last entry may exceed.
pub(crate) const CHUNK_ROWS: usize = 1024;
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// How a scan goes on, a bounded piece of work at a time.
pub(crate) trait Steps: Send + Sized + 'static {
    type Item: Send + 'static;

    fn step(&mut self, db: &Database, names: &mut Names) -> Result<Step<Self::Item>>;
}

pub(crate) enum Step<T> {
    /// What comes next; never empty.
    Chunk(Vec<T>),
    /// There is no more.
    End,
    /// Nothing yet: other requests come first.
    Progress,
}

/// A scan under way. It travels between the stream and the worker, so that a stream that is dropped leaves nothing behind.
enum Scan<S: Steps> {
    /// Everything, read at once.
    Copied(vec::IntoIter<Vec<S::Item>>),
    /// On a connection with a read transaction open.
    Snapshot(S, Lent),
}

/// What a step came to: the scan and a chunk, if there is one already; nothing at the end.
type Went<S> = Option<(Box<Scan<S>>, Option<Vec<<S as Steps>::Item>>)>;

/// A connection that goes back to the worker, unless the worker has ended.
struct Lent {
    reader: Option<Reader>,
    home: Client,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.home.give_back(reader);
        }
    }
}

impl<S: Steps> Scan<S> {
    fn begin(
        worker: &mut Worker,
        home: Client,
        begin: impl FnOnce(&Database, &mut Names) -> Result<Option<S>>,
    ) -> Result<Went<S>> {
        let scan = match worker.take_reader()? {
            Some(mut reader) => {
                let steps = begin(&reader.database, &mut reader.names);
                let lent = Lent {
                    reader: Some(reader),
                    home,
                };
                steps?.map(|steps| Self::Snapshot(steps, lent))
            }
            None => worker
                .in_one_read(|db, names| begin(db, names)?.map(|steps| copy(steps, db, names)).transpose())?
                .map(|chunks| Self::Copied(chunks.into_iter())),
        };
        match scan {
            Some(scan) => Box::new(scan).step(),
            None => Ok(None),
        }
    }

    fn step(mut self: Box<Self>) -> Result<Went<S>> {
        let step = match &mut *self {
            Self::Copied(chunks) => chunks.next().map_or(Step::End, Step::Chunk),
            Self::Snapshot(steps, lent) => match &mut lent.reader {
                Some(reader) => steps.step(&reader.database, &mut reader.names)?,
                None => Step::End,
            },
        };
        Ok(match step {
            Step::Chunk(chunk) => Some((self, Some(chunk))),
            Step::End => None,
            Step::Progress => Some((self, None)),
        })
    }
}

fn copy<S: Steps>(mut steps: S, db: &Database, names: &mut Names) -> Result<Vec<Vec<S::Item>>> {
    let mut chunks = Vec::new();
    loop {
        match steps.step(db, names)? {
            Step::Chunk(chunk) => chunks.push(chunk),
            Step::End => return Ok(chunks),
            Step::Progress => {}
        }
    }
}

/// A stream of what `begin` reads, if it reads anything. The snapshot is that of the moment when the worker comes to it.
pub(crate) fn chunks<S: Steps>(
    client: &Client,
    begin: impl FnOnce(&Database, &mut Names) -> Result<Option<S>> + Send + 'static,
) -> Chunks<S::Item> {
    let home = client.clone();
    let begun = client.read(move |worker| Scan::begin(worker, home, begin));
    stream::unfold(Some((client.clone(), begun)), |state| async {
        let (client, mut pending) = state?;
        loop {
            match pending.await {
                Ok(None) => return None,
                Ok(Some((scan, chunk))) => {
                    // The next chunk is read while the caller has this one.
                    pending = client.read(|_| scan.step());
                    if let Some(chunk) = chunk {
                        return Some((Ok(chunk), Some((client, pending))));
                    }
                }
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
    .boxed()
}
