//! What was doubtful in what a directory told.

use std::collections::BTreeSet;
use std::fmt;

use crate::id::PrincipalRef;

/// How many warnings are listed; the others are only counted.
pub const MAX_WARNINGS: usize = 100;

/// Something contradictory or doubtful in what a directory told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GraphWarning {
    /// One id was told with two different kinds, or a user or resource was told to have members. It is taken
    /// for neither, and its system for partial.
    Contradiction(PrincipalRef),
    /// One read showed an id twice with different contents. Taken: active rather than inactive, privileged
    /// rather than not, and the name that sorts first; so nobody loses anything over it.
    Differs(PrincipalRef),
    /// There were more memberships than can be held; those of this group that came last were left out, and the
    /// group counts as partial.
    TooManyMemberships(PrincipalRef),
}

impl GraphWarning {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Contradiction(_) => "contradiction",
            Self::Differs(_) => "differs",
            Self::TooManyMemberships(_) => "too_many_memberships",
        }
    }

    /// The principal that it is about.
    #[must_use]
    pub fn principal(&self) -> &PrincipalRef {
        match self {
            Self::Contradiction(principal)
            | Self::Differs(principal)
            | Self::TooManyMemberships(principal) => principal,
        }
    }
}

impl fmt::Display for GraphWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction(principal) => write!(
                f,
                "{principal} was told as two different things and is taken for neither; correct it in its system"
            ),
            Self::Differs(principal) => write!(
                f,
                "{principal} was shown twice with different contents; read again once its system is at rest"
            ),
            Self::TooManyMemberships(principal) => write!(
                f,
                "there are too many memberships, and some of {principal} were left out; read less at once"
            ),
        }
    }
}

/// The warnings of one graph: each once, the first [`MAX_WARNINGS`] in their order listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphWarnings {
    listed: BTreeSet<GraphWarning>,
    total: u64,
}

impl GraphWarnings {
    /// The warnings listed, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &GraphWarning> {
        self.listed.iter()
    }

    /// How many there are, listed or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(super) fn push(&mut self, warning: GraphWarning) {
        if self.listed.contains(&warning) {
            return;
        }
        self.total += 1;
        self.listed.insert(warning);
        if self.listed.len() > MAX_WARNINGS {
            self.listed.pop_last();
        }
    }
}
