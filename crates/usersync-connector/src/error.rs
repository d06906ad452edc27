//! The one error of all connectors.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use usersync_model::SystemId;

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object is there already. A target answers this as success with `changed: false` instead.
    AlreadyExists,
    /// The precondition of the call does not hold: somebody changed the object meanwhile.
    Conflict,
    /// The cursor is no longer known: read everything.
    CursorExpired,
    /// The system or the caller sent something that cannot be.
    InvalidData,
    /// A configured limit was hit.
    LimitExceeded,
    /// The object does not exist.
    NotFound,
    /// The actor may not do this.
    PermissionDenied,
    /// The system asks to slow down.
    RateLimited,
    /// No answer in time.
    TimedOut,
    /// The credentials were not accepted.
    Unauthenticated,
    /// The system cannot be reached or is busy.
    Unavailable,
    /// Anything else.
    Unexpected,
    /// The connector does not offer this; its capabilities say so.
    Unsupported,
}

impl ErrorKind {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::CursorExpired => "cursor_expired",
            Self::InvalidData => "invalid_data",
            Self::LimitExceeded => "limit_exceeded",
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::TimedOut => "timed_out",
            Self::Unauthenticated => "unauthenticated",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
            Self::Unsupported => "unsupported",
        }
    }
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The system said when: not before this long from now (`Retry-After`).
    After(Duration),
    /// Later, with a pause that grows.
    Later,
    /// The same call fails the same way.
    Never,
}

/// Why a call to a connector failed.
///
/// `Display` shows the kind, the message and the place, and leaves the source to
/// [`source`](StdError::source). A message never holds a secret; connectors take care of that.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    retry: Retry,
    outcome_unknown: bool,
    operation: Option<&'static str>,
    system: Option<SystemId>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`. Rate limits, time-outs and unavailability are worth trying again later, everything
    /// else is not, until [`with_retry`](Self::with_retry) says otherwise.
    ///
    /// Time-outs, unavailability and what is unexpected leave the outcome of a write unknown, since a connection
    /// may break once the call was sent; everything else tells that nothing happened. A connector that knows
    /// better says so by [`with_unknown_outcome`](Self::with_unknown_outcome): whatever failed before anything
    /// was sent may then be tried again at once.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::RateLimited | ErrorKind::TimedOut | ErrorKind::Unavailable => Retry::Later,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retry,
            outcome_unknown: matches!(
                kind,
                ErrorKind::TimedOut | ErrorKind::Unavailable | ErrorKind::Unexpected
            ),
            operation: None,
            system: None,
            source: None,
        }))
    }

    /// The refusal of something the connector does not offer.
    #[must_use]
    pub fn unsupported(what: &'static str) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            format!("{what} is not offered; see the connector's capabilities"),
        )
    }

    /// The same error with another hint on trying again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// The same error, saying whether the effect may have happened all the same.
    #[must_use]
    pub fn with_unknown_outcome(mut self, unknown: bool) -> Self {
        self.0.outcome_unknown = unknown;
        self
    }

    /// The same error, naming where it happened. The first place named stays.
    #[must_use]
    pub fn at(mut self, system: &SystemId, operation: &'static str) -> Self {
        self.0.system.get_or_insert_with(|| system.clone());
        self.0.operation.get_or_insert(operation);
        self
    }

    /// The same error with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error once more, without its source: what fails as a whole fails for each operation of a call.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = &*self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            message: inner.message.clone(),
            retry: inner.retry,
            outcome_unknown: inner.outcome_unknown,
            operation: inner.operation,
            system: inner.system.clone(),
            source: None,
        }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again may help, and when.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether the effect may have happened although the call failed. Such a call is never simply repeated.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
    }

    /// What happened, without the kind and the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The call that failed, if it was named.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The system that was called, if it was named.
    #[must_use]
    pub fn system(&self) -> Option<&SystemId> {
        self.0.system.as_ref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("retry", &self.0.retry)
            .field("outcome_unknown", &self.0.outcome_unknown)
            .field("operation", &self.0.operation)
            .field("system", &self.0.system)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.code(), self.0.message)?;
        match (&self.0.system, self.0.operation) {
            (Some(system), Some(operation)) => write!(f, " ({operation} on {system})"),
            (Some(system), None) => write!(f, " (on {system})"),
            (None, Some(operation)) => write!(f, " ({operation})"),
            (None, None) => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// What a connector answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever does not think of it is on the safe side: what may have happened is looked at before it is tried again.
    #[test]
    fn what_may_break_after_the_call_was_sent_leaves_its_outcome_open() {
        let open = [ErrorKind::TimedOut, ErrorKind::Unavailable, ErrorKind::Unexpected];
        let settled = [
            ErrorKind::AlreadyExists,
            ErrorKind::Conflict,
            ErrorKind::CursorExpired,
            ErrorKind::InvalidData,
            ErrorKind::LimitExceeded,
            ErrorKind::NotFound,
            ErrorKind::PermissionDenied,
            ErrorKind::RateLimited,
            ErrorKind::Unauthenticated,
            ErrorKind::Unsupported,
        ];
        for (kinds, is_open) in [(&open[..], true), (&settled[..], false)] {
            for kind in kinds {
                let error = Error::new(*kind, "it broke");
                assert_eq!(error.outcome_unknown(), is_open, "{error}");
                let told = error.with_unknown_outcome(!is_open);
                assert_eq!(told.outcome_unknown(), !is_open, "{told}");
            }
        }
    }
}
