//! Why a store call failed.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// A check of the transaction did not hold; nothing was written. Read again and decide anew.
    Conflict,
    /// What is stored cannot be read; nothing was changed.
    Corrupt,
    /// The writer's lease was lost to somebody with a higher fencing token, or is one of another tenant; nothing was written.
    Fenced,
    /// The store has no room; nothing was written.
    Full,
    /// The lease is held by somebody else.
    Held,
    /// What is stored was written by a newer version; nothing was changed.
    NewerFormat,
    /// The store cannot be written.
    ReadOnly,
    /// The store cannot be reached or is busy; whether a transaction was committed is not known.
    Unavailable,
}

/// Why a store call failed. `Display` leaves the source to [`source`](StdError::source).
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    check: Option<usize>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error of `kind`.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            check: None,
            source: None,
        }
    }

    /// The check at this index of [`Transaction::checks`](crate::Transaction::checks) did not hold.
    #[must_use]
    pub fn conflict(check: usize, message: impl Into<String>) -> Self {
        Self {
            check: Some(check),
            ..Self::new(StoreErrorKind::Conflict, message)
        }
    }

    /// The same error with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// For a conflict, the index of the check that did not hold.
    #[must_use]
    pub fn failed_check(&self) -> Option<usize> {
        self.check
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Conflict => "a check did not hold",
            StoreErrorKind::Corrupt => "what is stored cannot be read",
            StoreErrorKind::Fenced => "the lease was lost",
            StoreErrorKind::Full => "the store is full",
            StoreErrorKind::Held => "the lease is held by somebody else",
            StoreErrorKind::NewerFormat => "what is stored was written by a newer version",
            StoreErrorKind::ReadOnly => "the store cannot be written",
            StoreErrorKind::Unavailable => "the store is unavailable",
        })?;
        write!(f, ": {}", self.message)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// What a store answers.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
