//! How much of a system a read has seen. Absence may be concluded only from [`Completeness::Complete`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// The verdict on a read, or on one group or container of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// All there is was seen: what was not seen is not there.
    Complete,
    /// Something may be missing: what was not seen is unknown.
    Partial(PartialReason),
}

impl Completeness {
    /// Whether absence may be concluded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// A partial verdict.
    #[must_use]
    pub fn partial(kind: PartialKind, detail: impl Into<String>) -> Self {
        Self::Partial(PartialReason::new(kind, detail))
    }
}

/// Why a read is partial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialReason {
    /// The kind of cause.
    pub kind: PartialKind,
    /// What happened, for people; from an untrusted system, so escaped wherever it is shown.
    pub detail: String,
}

impl PartialReason {
    /// A reason of `kind`.
    #[must_use]
    pub fn new(kind: PartialKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for PartialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.sentence())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// The kinds of causes that make a read partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PartialKind {
    /// The run was cancelled while reading.
    Cancelled,
    /// An id stands for two different objects, or changed its kind.
    Contradiction,
    /// A full read replaces an expired cursor; absence counts only from the next read on.
    CursorExpired,
    /// The system answered with an error.
    Failed,
    /// A configured limit was hit.
    Limit,
    /// The stream ended without a verdict.
    NoVerdict,
    /// A member is named that the read did not show.
    UnknownMember,
    /// The caller may not see all of it.
    Unreadable,
}

impl PartialKind {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Contradiction => "contradiction",
            Self::CursorExpired => "cursor_expired",
            Self::Failed => "failed",
            Self::Limit => "limit",
            Self::NoVerdict => "no_verdict",
            Self::UnknownMember => "unknown_member",
            Self::Unreadable => "unreadable",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Cancelled => "the read was cancelled",
            Self::Contradiction => "the directory contradicts itself",
            Self::CursorExpired => "the cursor expired and everything is read anew",
            Self::Failed => "the read failed",
            Self::Limit => "a limit was reached",
            Self::NoVerdict => "the read ended without saying that it was complete",
            Self::UnknownMember => "a member is named that was not shown",
            Self::Unreadable => "not all of it may be read",
        }
    }
}
