//! Following a read to its end, with an eye on the protocol.

use futures::{FutureExt, StreamExt};
use usersync_connector::{Error, ErrorKind, Extent, ReadEnd, ReadEvent, ReadStream};

use super::violation::{Point, Violation};

/// All that a read showed.
#[derive(Debug)]
pub(crate) struct Followed<T> {
    pub(crate) extent: Option<Extent>,
    pub(crate) chunks: usize,
    pub(crate) entries: Vec<T>,
    pub(crate) end: Option<ReadEnd>,
    pub(crate) error: Option<Error>,
    /// What broke the protocol.
    pub(crate) fault: Option<&'static str>,
}

/// Written apart from `Reader`, which repairs what this has to notice.
pub(crate) async fn follow<T>(mut stream: ReadStream<T>) -> Followed<T> {
    let mut followed = Followed {
        extent: None,
        chunks: 0,
        entries: Vec::new(),
        end: None,
        error: None,
        fault: None,
    };
    while let Some(event) = stream.next().await {
        match event {
            Ok(ReadEvent::Begin(_)) if followed.extent.is_some() => followed.fault = Some("a second begin"),
            Ok(ReadEvent::Begin(extent)) => followed.extent = Some(extent),
            Ok(ReadEvent::Chunk(entries)) => {
                if followed.extent.is_none() {
                    followed.fault = Some("entries before the begin");
                }
                followed.chunks += 1;
                followed.entries.extend(entries);
            }
            Ok(ReadEvent::End(end)) => {
                if followed.extent.is_none() {
                    followed.fault = Some("an end before the begin");
                }
                followed.end = Some(end);
                // A stream may stay open behind its end; whatever is ready there is too late.
                if let Some(Some(_)) = stream.next().now_or_never() {
                    followed.fault = Some("something behind the end");
                }
                break;
            }
            Err(error) => {
                followed.error = Some(error);
                break;
            }
        }
    }
    followed
}

impl<T> Followed<T> {
    fn summary(&self) -> String {
        match (&self.error, &self.fault, &self.end) {
            (Some(error), ..) => format!("the error {error}"),
            (_, Some(fault), _) => (*fault).to_owned(),
            (.., Some(end)) => format!("{} entries, {end:?}", self.entries.len()),
            (.., None) => format!("{} entries and no end", self.entries.len()),
        }
    }

    /// Whether the read says that something may be missing; it need not say so well.
    pub(crate) fn is_partial(&self) -> bool {
        self.error.is_some() || self.end.as_ref().is_none_or(|end| !end.verdict.is_complete())
    }

    /// Whether it says so of the whole or of some group or container.
    pub(crate) fn is_partial_somewhere(&self) -> bool {
        self.is_partial() || self.end.as_ref().is_some_and(|end| !end.partial.is_empty())
    }

    /// The entries and the end of a read that shows all there is.
    pub(crate) fn complete(
        self,
        point: Point,
        done: &str,
        extent: Extent,
    ) -> Result<(Vec<T>, ReadEnd), Violation> {
        let is_whole = !self.is_partial() && self.fault.is_none() && self.extent == Some(extent);
        let summary = self.summary();
        match self.end {
            Some(end) if is_whole && end.partial.is_empty() => Ok((self.entries, end)),
            _ => Err(point.violated(
                done,
                format!("begin {extent:?}, chunks, one end, all complete"),
                (self.extent, summary),
            )),
        }
    }

    /// Any verdict, as long as the protocol is kept.
    pub(crate) fn well_formed(&self, point: Point, done: &str) -> Result<(), Violation> {
        let ends_once = self.fault.is_none() && (self.error.is_some() || self.end.is_some());
        point.holds(
            ends_once,
            done,
            "begin, chunks, and one end or an error",
            self.summary(),
        )
    }

    /// A read that is refused before it shows anything.
    pub(crate) fn refused(&self, point: Point, done: &str, kind: ErrorKind) -> Result<(), Violation> {
        let is_refused = self.error.as_ref().is_some_and(|error| error.kind() == kind) && self.chunks == 0;
        let expected = format!("an error of kind {} before the first chunk", kind.code());
        point.holds(is_refused, done, expected, (self.chunks, self.summary()))
    }
}
