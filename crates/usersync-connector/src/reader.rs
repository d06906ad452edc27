//! Making well-formed reads, and following any read safely.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use usersync_model::{PartialKind, PartialReason};

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::read::{Extent, ReadEnd, ReadEvent, ReadStream};
use crate::wrap::limits::{Meter, out_of_time};
use crate::wrap::{Measured, ReadLimits};

/// How many entries a chunk made by [`read_stream`] holds at most.
pub const CHUNK_ENTRIES: usize = 1024;

/// A well-formed read of `entries`: begin, chunks of at most [`CHUNK_ENTRIES`], `end`.
///
/// The entries are taken from the iterator chunk by chunk, as the stream is polled. They should be at hand:
/// an iterator that blocks belongs on a thread of its own, as
/// [`Blocking`](crate::adapt::blocking::Blocking) gives it.
pub fn read_stream<T, I>(extent: Extent, entries: I, end: ReadEnd) -> ReadStream<T>
where
    T: Send + 'static,
    I: IntoIterator<Item = T>,
    I::IntoIter: Send + 'static,
{
    let mut entries = entries.into_iter().fuse();
    let chunks = std::iter::from_fn(move || {
        let chunk: Vec<T> = entries.by_ref().take(CHUNK_ENTRIES).collect();
        (!chunk.is_empty()).then_some(ReadEvent::Chunk(chunk))
    });
    let events = std::iter::once(ReadEvent::Begin(extent))
        .chain(chunks)
        .chain(std::iter::once(ReadEvent::End(end)));
    stream::iter(events.map(Ok)).boxed()
}

/// A read that fails before it begins.
pub fn failed_read<T: Send + 'static>(error: Error) -> ReadStream<T> {
    stream::once(std::future::ready(Err(error))).boxed()
}

/// Follows one read and holds it to the protocol of [`ReadStream`].
///
/// Take chunks until there are none, then ask [`finish`](Self::finish) how much was seen. Whatever goes wrong
/// makes the end partial, never complete:
///
/// * an error ends the read as [`PartialKind::Failed`], and [`error`](Self::error) keeps it;
/// * a chunk or an end before the begin, a second begin, and anything ready behind the end do the same, with an
///   error of [`ErrorKind::InvalidData`];
/// * a stream that ends without an end is [`PartialKind::NoVerdict`];
/// * a read that is finished before its stream was exhausted is [`PartialKind::Cancelled`].
///
/// The cursor of a partial read is dropped, since a read from there would never show what was missed.
///
/// ```
/// use usersync_connector::{Extent, ReadEnd, Reader, read_stream};
///
/// # futures::executor::block_on(async {
/// let mut reader = Reader::new(read_stream(Extent::Full, 0..3, ReadEnd::complete()));
/// let mut seen = Vec::new();
/// while let Some(chunk) = reader.next_chunk().await {
///     seen.extend(chunk);
/// }
/// assert_eq!(seen, [0, 1, 2]);
/// assert!(reader.finish().verdict.is_complete());
/// # });
/// ```
pub struct Reader<T> {
    stream: stream::Fuse<ReadStream<T>>,
    extent: Option<Extent>,
    /// Set once, together with the end of the stream.
    end: Option<ReadEnd>,
    error: Option<Error>,
    bounds: Option<Box<Bounds<T>>>,
}

/// What of a chunk is within the limits, and why the read is over if something is not.
type Admit<T> = fn(&mut Meter, Vec<T>) -> (Vec<T>, Option<PartialReason>);

/// What a read is held to.
struct Bounds<T> {
    meter: Meter,
    admit: Admit<T>,
    limits: ReadLimits,
    clock: Arc<dyn Clock>,
    /// When the wall time is over.
    deadline: Option<DateTime<Utc>>,
}

impl<T> Bounds<T> {
    fn admit(&mut self, chunk: Vec<T>) -> (Vec<T>, Option<PartialReason>) {
        if self.deadline.is_some_and(|deadline| self.clock.now() >= deadline) {
            return (Vec::new(), Some(out_of_time(self.limits.wall_time)));
        }
        (self.admit)(&mut self.meter, chunk)
    }
}

impl<T> Reader<T> {
    /// Follows `stream`. Nothing is polled yet.
    #[must_use]
    pub fn new(stream: ReadStream<T>) -> Self {
        Self {
            stream: stream.fuse(),
            extent: None,
            end: None,
            error: None,
            bounds: None,
        }
    }

    /// Follows `stream` up to `limits`: what is beyond one of them is not handed out, and ends the read, or makes the group concerned
    /// partial, as [`ReadLimits`] says. The stream is not polled again then.
    ///
    /// The wall time is looked at whenever a chunk comes. A stream that stays silent is for
    /// [`Wrap::timeout`](crate::wrap::Wrap::timeout).
    #[must_use]
    pub fn within(stream: ReadStream<T>, limits: ReadLimits, clock: Arc<dyn Clock>) -> Self
    where
        T: Measured,
    {
        let wall_time = TimeDelta::from_std(limits.wall_time).ok();
        Self {
            bounds: Some(Box::new(Bounds {
                meter: Meter::new(limits),
                admit: Meter::admit,
                limits,
                deadline: wall_time.and_then(|wall_time| clock.now().checked_add_signed(wall_time)),
                clock,
            })),
            ..Self::new(stream)
        }
    }

    /// Waits until the read has begun and tells what it covers; at once if that is known. `None` when it ended
    /// before it began: [`error`](Self::error) and [`finish`](Self::finish) say why.
    ///
    /// Dropping the future loses nothing.
    pub async fn begin(&mut self) -> Option<Extent> {
        if self.extent.is_none() && self.end.is_none() {
            match self.stream.next().await {
                Some(Ok(ReadEvent::Begin(extent))) => self.extent = Some(extent),
                Some(Ok(ReadEvent::Chunk(_))) => self.violated("entries before the begin"),
                Some(Ok(ReadEvent::End(_))) => self.violated("an end before the begin"),
                Some(Err(error)) => self.failed(error),
                None => self.ended_without_verdict(),
            }
        }
        self.extent
    }

    /// The next entries, perhaps none, so that a caller can stop a read that shows nothing for ever; `None`
    /// once the read has ended, however it ended.
    ///
    /// Dropping the future loses nothing.
    pub async fn next_chunk(&mut self) -> Option<Vec<T>> {
        self.begin().await?;
        if self.end.is_none() {
            match self.stream.next().await {
                Some(Ok(ReadEvent::Chunk(chunk))) => return Some(self.admit(chunk)),
                Some(Ok(ReadEvent::Begin(_))) => self.violated("a second begin"),
                Some(Ok(ReadEvent::End(end))) => self.ended(end),
                Some(Err(error)) => self.failed(error),
                None => self.ended_without_verdict(),
            }
        }
        None
    }

    /// What the read covers, once it has begun.
    #[must_use]
    pub fn extent(&self) -> Option<Extent> {
        self.extent
    }

    /// Why the read failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The same, handed over. The end stays partial.
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// How the read ended, and stops it if it has not.
    #[must_use]
    pub fn finish(mut self) -> ReadEnd {
        if self.end.is_none() {
            self.conclude(given_up());
        }
        self.end.unwrap_or_else(given_up)
    }

    /// The error that ended the read, handed over, or else how it ended.
    pub(crate) fn outcome(&mut self) -> Result<ReadEnd> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.end.clone().unwrap_or_else(given_up)),
        }
    }

    /// All entries, and how the read ended. For reads that are known to be small.
    pub async fn collect(mut self) -> (Vec<T>, ReadEnd) {
        let mut entries = Vec::new();
        while let Some(chunk) = self.next_chunk().await {
            entries.extend(chunk);
        }
        (entries, self.finish())
    }

    /// What of `chunk` is within the limits. Ends the read if something is not.
    fn admit(&mut self, chunk: Vec<T>) -> Vec<T> {
        let Some(bounds) = &mut self.bounds else {
            return chunk;
        };
        let (chunk, stop) = bounds.admit(chunk);
        if let Some(reason) = stop {
            self.conclude(ReadEnd::partial(reason));
        }
        chunk
    }

    /// The read has ended like this; with the groups that were cut.
    fn conclude(&mut self, end: ReadEnd) {
        self.end = Some(match self.bounds.take() {
            Some(bounds) => bounds.meter.finish(end),
            None => end,
        });
    }

    fn ended(&mut self, mut end: ReadEnd) {
        // An event behind the end proves that the verdict came too early. It is not waited for: a stream may
        // stay pending after its end.
        if let Some(Some(_)) = self.stream.next().now_or_never() {
            return self.violated("something after the end");
        }
        if !end.verdict.is_complete() {
            end.cursor = None;
        }
        self.conclude(end);
    }

    fn ended_without_verdict(&mut self) {
        self.conclude(ReadEnd::partial(PartialReason::new(PartialKind::NoVerdict, "")));
    }

    fn violated(&mut self, what: &str) {
        self.failed(Error::new(
            ErrorKind::InvalidData,
            format!("the connector's read shows {what}; report this to whoever maintains the connector"),
        ));
    }

    fn failed(&mut self, error: Error) {
        self.conclude(ReadEnd::partial(PartialReason::new(
            PartialKind::Failed,
            error.to_string(),
        )));
        self.error = Some(error);
    }
}

fn given_up() -> ReadEnd {
    ReadEnd::partial(PartialReason::new(
        PartialKind::Cancelled,
        "the reader stopped before the end",
    ))
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("extent", &self.extent)
            .field("end", &self.end)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::executor::block_on;
    use proptest::prelude::*;
    use usersync_model::{Completeness, ObjectId};

    use super::*;
    use crate::account::AccountEntry;
    use crate::read::Cursor;
    use crate::test_clock::TestClock;

    /// One letter per event, so that a case reads as a line.
    fn event(letter: char) -> Result<ReadEvent<char>> {
        match letter {
            'B' => Ok(ReadEvent::Begin(Extent::Full)),
            'E' => Ok(ReadEvent::End(
                ReadEnd::complete().with_cursor(Some(Cursor::new("next"))),
            )),
            'P' => Ok(ReadEvent::End(
                ReadEnd::partial(PartialReason::new(PartialKind::Unreadable, "acl"))
                    .with_cursor(Some(Cursor::new("next"))),
            )),
            '!' => Err(Error::new(ErrorKind::Unavailable, "busy")),
            '-' => Ok(ReadEvent::Chunk(Vec::new())),
            entry => Ok(ReadEvent::Chunk(vec![entry])),
        }
    }

    fn follow(script: &str) -> String {
        let mut reader = Reader::new(stream::iter(script.chars().map(event).collect::<Vec<_>>()).boxed());
        block_on(async {
            let mut seen = String::new();
            while let Some(chunk) = reader.next_chunk().await {
                seen.extend(chunk);
            }
            let error = reader.error().map_or("-", |error| error.kind().code());
            let error = error.to_owned();
            let end = reader.finish();
            let verdict = match &end.verdict {
                Completeness::Complete => "complete",
                Completeness::Partial(reason) => reason.kind.code(),
            };
            format!("{seen} {verdict} {error} {}", end.cursor.is_some())
        })
    }

    #[test]
    fn whatever_breaks_the_protocol_is_partial() {
        for (script, want) in [
            ("BE", " complete - true"),
            ("BabE", "ab complete - true"),
            ("Ba-bE", "ab complete - true"),
            ("BaP", "a unreadable - false"),
            ("", " no_verdict - false"),
            ("B", " no_verdict - false"),
            ("Bab", "ab no_verdict - false"),
            ("!", " failed unavailable false"),
            ("Ba!bE", "a failed unavailable false"),
            ("aBE", " failed invalid_data false"),
            ("E", " failed invalid_data false"),
            ("BaBbE", "a failed invalid_data false"),
            ("BaEb", "a failed invalid_data false"),
            ("BaEE", "a failed invalid_data false"),
            ("BaE!", "a failed invalid_data false"),
        ] {
            assert_eq!(follow(script), want, "{script:?}");
        }
    }

    #[test]
    fn a_pending_stream_behind_the_end_is_not_waited_for() {
        let events = stream::iter("BaE".chars().map(event).collect::<Vec<_>>());
        let (entries, end) = block_on(Reader::new(events.chain(stream::pending()).boxed()).collect());
        assert_eq!(entries, ['a']);
        assert!(end.verdict.is_complete());
    }

    #[test]
    fn a_read_given_up_is_cancelled() {
        let mut reader = Reader::new(read_stream(Extent::Changes, 0..5000, ReadEnd::complete()));
        assert_eq!(block_on(reader.begin()), Some(Extent::Changes));
        assert_eq!(
            block_on(reader.next_chunk()).map(|c| c.len()),
            Some(CHUNK_ENTRIES)
        );
        let end = reader.finish();
        assert!(
            matches!(end.verdict, Completeness::Partial(reason) if reason.kind == PartialKind::Cancelled)
        );
    }

    #[test]
    fn a_read_within_limits_ends_at_the_first_of_them() {
        let entry = |name: &str| AccountEntry::Removed(ObjectId::new(name).unwrap());
        let chunk = move |_| Ok(ReadEvent::Chunk(vec![entry("a"), entry("b")]));
        let few = |entries, chunks, wall_time| ReadLimits {
            entries,
            chunks,
            wall_time,
            ..ReadLimits::default()
        };
        let hour = Duration::from_secs(3600);
        for (limits, want, reason) in [
            (few(5, 100, hour), 5, "raise `ReadLimits::entries`"),
            (few(100, 3, hour), 6, "raise `ReadLimits::chunks`"),
            (few(100, 100, Duration::ZERO), 0, "raise `ReadLimits::wall_time`"),
        ] {
            let endless = stream::iter((0..).map(chunk));
            let begin = stream::iter([Ok(ReadEvent::Begin(Extent::Full))]);
            let mut reader = Reader::within(begin.chain(endless).boxed(), limits, TestClock::new());
            let mut seen = 0;
            while let Some(chunk) = block_on(reader.next_chunk()) {
                seen += chunk.len();
            }
            assert_eq!(seen, want, "{reason}");
            let Completeness::Partial(partial) = reader.finish().verdict else {
                unreachable!("the read has no end: {reason}");
            };
            assert_eq!(partial.kind, PartialKind::Limit);
            assert!(partial.detail.contains(reason), "{partial}");
        }
        let whole = read_stream(Extent::Full, [entry("a")], ReadEnd::complete());
        let reader = Reader::within(whole, few(1, 1, hour), TestClock::new());
        assert_eq!(block_on(reader.collect()).1, ReadEnd::complete());
    }

    proptest! {
        /// Complete only for exactly one begin, chunks, one end: `B[a-]*E`, read off the text.
        #[test]
        fn complete_exactly_when_well_formed(script in "[BEPa!\\-]{0,6}") {
            let inner = script.strip_prefix('B').and_then(|rest| rest.strip_suffix('E'));
            let well_formed = inner.is_some_and(|inner| inner.chars().all(|c| "a-".contains(c)));
            prop_assert_eq!(follow(&script).contains("complete"), well_formed);
        }

        #[test]
        fn a_read_made_of_entries_shows_them_all(len in 0_usize..4000) {
            let stream = read_stream(Extent::Full, 0..len, ReadEnd::complete());
            let (entries, end) = block_on(Reader::new(stream).collect());
            prop_assert_eq!(entries, (0..len).collect::<Vec<_>>());
            prop_assert_eq!(end, ReadEnd::complete());
        }
    }
}
