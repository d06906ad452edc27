//! Reads as streams that say how complete they are.

use std::fmt;

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use usersync_model::{Completeness, ObjectId, PartialReason};

use crate::error::{Result, Retry};

/// A read: [`ReadEvent::Begin`], any number of [`ReadEvent::Chunk`], [`ReadEvent::End`].
///
/// A stream that ends without `End`, or with an error, is partial: what it did not show is unknown. So is one
/// that shows anything before `Begin`, a second `Begin`, or anything that is ready right behind `End`, since
/// its verdict came too early. What comes later than that, or after an error, is ignored.
///
/// [`read_stream`](crate::read_stream) makes a well-formed one, and [`Reader`](crate::Reader) follows any by
/// these rules.
pub type ReadStream<T> = BoxStream<'static, Result<ReadEvent<T>>>;

/// One step of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadEvent<T> {
    /// The first event.
    Begin(Extent),
    /// Entries, in any order; an entry may come again.
    Chunk(Vec<T>),
    /// The last event.
    End(ReadEnd),
}

/// What a read covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Only what changed since the cursor that was given.
    Changes,
    /// Everything.
    Full,
}

/// How a read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// The verdict on the whole read.
    pub verdict: Completeness,
    /// The groups or containers that are partial although the whole is complete.
    pub partial: Vec<(ObjectId, PartialReason)>,
    /// Where the next read of changes continues, if the system offers that.
    pub cursor: Option<Cursor>,
    /// What the system asked for, where it asked not to be called any more and the read ended early for that. What is missing
    /// is partial all the same. A read that shows nothing at all ends with the error instead.
    pub retry: Option<Retry>,
}

impl ReadEnd {
    /// All was seen.
    #[must_use]
    pub fn complete() -> Self {
        Self {
            verdict: Completeness::Complete,
            partial: Vec::new(),
            cursor: None,
            retry: None,
        }
    }

    /// Something may be missing.
    #[must_use]
    pub fn partial(reason: PartialReason) -> Self {
        Self {
            verdict: Completeness::Partial(reason),
            partial: Vec::new(),
            cursor: None,
            retry: None,
        }
    }

    /// The same end with a cursor.
    #[must_use]
    pub fn with_cursor(mut self, cursor: Option<Cursor>) -> Self {
        self.cursor = cursor;
        self
    }
}

/// Where a read of changes continues: opaque to everyone but the connector that made it, and bound by it to
/// itself and to the scope it read. `Debug` shows only its length, since it may carry a token.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(Vec<u8>);

impl Cursor {
    /// Wraps the connector's own bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The connector's own bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}
