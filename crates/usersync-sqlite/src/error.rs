//! How SQLite's errors become the store's.

use std::sync::Arc;

use rusqlite::ErrorCode;
use usersync_store::{StoreError, StoreErrorKind};

pub(crate) type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why a step did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Something failed, for this request and perhaps for others.
    Failed(Failure),
    /// The answer is no, and nothing was written.
    Refused(StoreError),
}

/// What failed. Can be told to several callers.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: StoreErrorKind,
    message: String,
    source: Option<Arc<rusqlite::Error>>,
}

impl Failure {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    pub(crate) fn error(&self) -> StoreError {
        let error = StoreError::new(self.kind, self.message.clone());
        match &self.source {
            Some(source) => error.with_source(Arc::clone(source)),
            None => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let (kind, message) = classify(&error);
        Self {
            kind,
            message: message.to_owned(),
            source: Some(Arc::new(error)),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Failed(failure) => failure.error(),
            Fault::Refused(error) => error,
        }
    }
}

/// What is stored is not what this crate writes.
pub(crate) fn corrupt(what: impl Into<String>) -> Failure {
    Failure::new(StoreErrorKind::Corrupt, what)
}

/// The worker has ended.
pub(crate) fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the store was closed; open it again")
}

fn classify(error: &rusqlite::Error) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind::{Corrupt, Full, ReadOnly, Unavailable};
    if matches!(
        error,
        rusqlite::Error::InvalidPath(_) | rusqlite::Error::NulError(_)
    ) {
        return (Unavailable, "the path is none that SQLite can open; give another");
    }
    let Some(code) = error.sqlite_error_code() else {
        return (
            Corrupt,
            "a column is not what this program writes; restore the database from a backup",
        );
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            Unavailable,
            "another connection holds the lock; try again, or wait longer for it",
        ),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => (
            Corrupt,
            "the file is damaged or is no SQLite database; restore it from a backup",
        ),
        ErrorCode::DiskFull => (Full, "the disk, or the size allowed, is used up; make room"),
        ErrorCode::TooBig => (
            Full,
            "a value is larger than SQLite takes; store less in one value",
        ),
        ErrorCode::ReadOnly => (
            ReadOnly,
            "the file may not be written; open it with the rights to write",
        ),
        ErrorCode::PermissionDenied | ErrorCode::CannotOpen => (
            Unavailable,
            "the file cannot be opened; check that its folder exists and what rights there are",
        ),
        // A table or column that is missing, or a row that breaks a rule of its table: somebody else wrote here.
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::Unknown => (
            Corrupt,
            "the tables are not as this program made them; restore them from a backup",
        ),
        _ => (Unavailable, "SQLite failed; the cause says why"),
    }
}
