//! How a store is opened.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// How a store is opened. The default is durable against loss of power and reads the system's clock.
#[derive(Clone)]
pub struct SqliteOptions {
    pub(crate) busy_timeout: Duration,
    pub(crate) durability: Durability,
    pub(crate) read_only: bool,
    clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The disk: what was committed survives a loss of power. SQLite's `synchronous=FULL`.
    #[default]
    Full,
    /// The operating system: what was committed survives the end of the process in any way, but a loss of power may undo the last
    /// commits, in their order and whole. Effects that were applied to a target may then be unknown to the ledger: they are found
    /// there as foreign. SQLite's `synchronous=NORMAL`.
    Process,
}

impl SqliteOptions {
    /// The same options with another time that a call waits for another connection's lock, at most, before it fails as
    /// [`Unavailable`](usersync_store::StoreErrorKind::Unavailable); other calls wait behind it. Five seconds by default.
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The same options with another durability, [`Full`](Durability::Full) by default. In a host's database, what the host set
    /// on its connection counts instead.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The same options to read only: every write is refused as [`ReadOnly`](usersync_store::StoreErrorKind::ReadOnly).
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// The same options with another clock. Where it goes backwards, also across restarts, the store goes on from the latest time told,
    /// at this clock's pace, until this clock is ahead. The store cuts it to microseconds.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            durability: Durability::Full,
            read_only: false,
            clock: Arc::new(|| DateTime::from(SystemTime::now())),
        }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("busy_timeout", &self.busy_timeout)
            .field("durability", &self.durability)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// What the names of the store's tables begin with in a host's database, such as `usersync_`.
///
/// An ASCII letter and then letters, digits and underscores, at most [`MAX_BYTES`](Self::MAX_BYTES) long, not beginning with
/// `sqlite_`. SQLite does not tell upper case from lower case here, so prefixes are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TablePrefix(String);

/// Why a text is no prefix for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TablePrefixError {
    /// It has a character other than lower-case ASCII letters, digits and underscores.
    #[error(
        "a table prefix has lower-case ASCII letters, digits and underscores only; byte {at} is something else"
    )]
    Character {
        /// Byte offset of the character.
        at: usize,
    },
    /// It does not begin with a letter.
    #[error("a table prefix begins with an ASCII letter; put one in front")]
    Start,
    /// It begins with `sqlite_`.
    #[error("names that begin with sqlite_ belong to SQLite; choose another prefix")]
    Reserved,
    /// It is longer than [`TablePrefix::MAX_BYTES`].
    #[error("a table prefix has at most {max} bytes, not {len}; choose a shorter one", max = TablePrefix::MAX_BYTES)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl TablePrefix {
    /// The longest prefix, in bytes.
    pub const MAX_BYTES: usize = 32;

    /// Reads a prefix.
    ///
    /// # Errors
    /// [`TablePrefixError`] when the text is none.
    pub fn new(text: &str) -> Result<Self, TablePrefixError> {
        if text.len() > Self::MAX_BYTES {
            return Err(TablePrefixError::TooLong { len: text.len() });
        }
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if let Some(at) = text.bytes().position(|byte| !is_allowed(byte)) {
            return Err(TablePrefixError::Character { at });
        }
        if !text.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(TablePrefixError::Start);
        }
        if text.starts_with("sqlite_") {
            return Err(TablePrefixError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TablePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TablePrefix {
    type Err = TablePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}
