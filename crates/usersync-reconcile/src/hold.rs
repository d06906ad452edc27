//! Why an operation waits.

use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{PartialReason, PrincipalRef};

/// Why an operation waits, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldCause {
    /// Something present would become ours; that takes a person's word.
    Adoption,
    /// Nothing is desired in the container any more, though members of ours are there.
    ContainerEmptied {
        /// How many members of ours are there.
        present: u64,
    },
    /// Too many of the container's members would go.
    ContainerShrinks {
        /// How many would go.
        removals: u64,
        /// Of how many.
        present: u64,
        /// The share allowed.
        percent: u8,
    },
    /// An exclusion that may cover this principal was not read completely.
    IncompleteExclusion(PartialReason),
    /// A group or directory that this rests on was not read completely.
    IncompleteSource(PartialReason),
    /// The container was not read completely.
    IncompleteTarget(PartialReason),
    /// The mode, the policy or the source's filter changed since the last run.
    PolicyChanged,
    /// The principal is protected.
    Protected(Protection),
    /// Too much would go in this run.
    RunLimit {
        /// How many would go.
        removals: u64,
        /// How many may.
        limit: u64,
    },
    /// Somebody whom the source always shows was not shown.
    SentinelMissing(PrincipalRef),
    /// Another hold stops everything.
    Stopped,
    /// Something was not read completely, and the policy stops everything then.
    StoppedIncomplete,
    /// The selections of containers depend on each other through an exclusion, so that there is no answer.
    Undecidable,
    /// Too much would go within the window.
    WindowLimit {
        /// How many went before.
        used: u64,
        /// How many more would go.
        removals: u64,
        /// How many may.
        limit: u64,
    },
}

/// Why a principal is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// An administrator.
    Administrator,
    /// The last member with the role of owner.
    LastOwner,
    /// Named in the policy.
    Named,
    /// The container's owner.
    Owner,
}

impl HoldCause {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Adoption => "adoption",
            Self::ContainerEmptied { .. } => "container_emptied",
            Self::ContainerShrinks { .. } => "container_shrinks",
            Self::IncompleteExclusion(_) => "incomplete_exclusion",
            Self::IncompleteSource(_) => "incomplete_source",
            Self::IncompleteTarget(_) => "incomplete_target",
            Self::PolicyChanged => "policy_changed",
            Self::Protected(Protection::Administrator) => "protected_administrator",
            Self::Protected(Protection::LastOwner) => "protected_last_owner",
            Self::Protected(Protection::Named) => "protected_by_name",
            Self::Protected(Protection::Owner) => "protected_owner",
            Self::RunLimit { .. } => "run_limit",
            Self::SentinelMissing(_) => "sentinel_missing",
            Self::Stopped => "stopped",
            Self::StoppedIncomplete => "stopped_incomplete",
            Self::Undecidable => "undecidable",
            Self::WindowLimit { .. } => "window_limit",
        }
    }

    /// Whether something is not known, so that nobody can decide.
    #[must_use]
    pub fn is_incompleteness(&self) -> bool {
        matches!(
            self,
            Self::IncompleteExclusion(_)
                | Self::IncompleteSource(_)
                | Self::IncompleteTarget(_)
                | Self::StoppedIncomplete
                | Self::Undecidable
        )
    }

    /// Whether an approval lifts it. What is not known is not lifted by anybody.
    #[must_use]
    pub fn is_approvable(&self) -> bool {
        !self.is_incompleteness()
    }

    /// What somebody can do about it.
    #[must_use]
    pub fn next_action(&self) -> &'static str {
        match self {
            Self::Adoption => "approve the plan to manage what is already there",
            Self::ContainerEmptied { .. } => {
                "check the container's selection; approve if it is meant to be empty"
            }
            Self::ContainerShrinks { .. } | Self::RunLimit { .. } | Self::WindowLimit { .. } => {
                "check whether so many really left; approve if they did"
            }
            Self::IncompleteExclusion(_) | Self::IncompleteSource(_) => {
                "see why the directory was not read completely; the next complete read decides"
            }
            Self::IncompleteTarget(_) => {
                "see why the target was not read completely; the next complete read decides"
            }
            Self::PolicyChanged => {
                "check the plan against the new policy; approve, or let the next run decide"
            }
            Self::Protected(_) => "check whether this person is really to go; approve if so",
            Self::SentinelMissing(_) => {
                "check the directory and the connector's filter; approve only if the sentinel really left"
            }
            Self::Stopped => "see to the other holds first",
            Self::StoppedIncomplete => {
                "see why something was not read completely; the next complete read decides"
            }
            Self::Undecidable => "break the circle: let one container exclude something else",
        }
    }
}

impl fmt::Display for HoldCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adoption => f.write_str("it is there already and would become ours"),
            Self::ContainerEmptied { present } => {
                write!(
                    f,
                    "nobody is selected any more, and {present} of our members are there"
                )
            }
            Self::ContainerShrinks {
                removals,
                present,
                percent,
            } => {
                write!(
                    f,
                    "{removals} of {present} members would go, more than {percent} %"
                )
            }
            Self::IncompleteExclusion(reason) => write!(f, "an exclusion is not known completely: {reason}"),
            Self::IncompleteSource(reason) => write!(f, "the directory is not known completely: {reason}"),
            Self::IncompleteTarget(reason) => write!(f, "the container is not known completely: {reason}"),
            Self::PolicyChanged => f.write_str("the policy changed since the last run"),
            Self::Protected(Protection::Administrator) => f.write_str("an administrator"),
            Self::Protected(Protection::LastOwner) => f.write_str("the last owner of the container"),
            Self::Protected(Protection::Named) => f.write_str("protected by name"),
            Self::Protected(Protection::Owner) => f.write_str("the container's owner"),
            Self::RunLimit { removals, limit } => {
                write!(f, "{removals} members would go in this run, and {limit} may")
            }
            Self::SentinelMissing(principal) => write!(f, "{principal}, who is always there, was not shown"),
            Self::Stopped => f.write_str("another hold stops everything"),
            Self::StoppedIncomplete => {
                f.write_str("something is not known completely, which stops everything")
            }
            Self::Undecidable => f.write_str("selections depend on each other through an exclusion"),
            Self::WindowLimit {
                used,
                removals,
                limit,
            } => {
                write!(
                    f,
                    "{removals} more members would go after {used} lately, and {limit} may"
                )
            }
        }
    }
}
