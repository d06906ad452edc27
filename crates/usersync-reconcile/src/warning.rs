//! What somebody should see to.

use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{ContainerRef, PartialReason, PrincipalRef, SystemId};

/// Something about the inputs that a person should see to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// The directory tells two things that cannot both be true.
    Contradiction {
        /// About whom.
        principal: PrincipalRef,
        /// What.
        detail: String,
    },
    /// A container of the catalog does not exist at the target.
    MissingContainer(ContainerRef),
    /// A selection picks somebody whom no directory has.
    MissingPick {
        /// In which container.
        container: ContainerRef,
        /// Who was picked.
        principal: PrincipalRef,
    },
    /// The list of containers was read in part.
    PartialCatalog {
        /// Why.
        reason: PartialReason,
    },
    /// The records that a collection is filled from, or its own, were read in part.
    PartialCollection {
        /// Which collection of the target.
        collection: ContainerRef,
        /// Why.
        reason: PartialReason,
    },
    /// A group that a selection reaches was read in part, though its directory was not: somebody who belongs into the container may
    /// be missing there, and nobody who is there can be told to belong there no more.
    PartialSelection {
        /// Whose selection.
        container: ContainerRef,
        /// Why.
        reason: PartialReason,
    },
    /// A directory was read in part.
    PartialSource {
        /// Which system.
        system: SystemId,
        /// Why.
        reason: PartialReason,
    },
    /// A target was read in part.
    PartialTarget {
        /// Why.
        reason: PartialReason,
    },
    /// The ledger has claims in a container that the catalog does not list any more. They are left as they are.
    UnlistedContainer(ContainerRef),
    /// A group names members that its directory does not have.
    UnknownMembers {
        /// The group.
        group: PrincipalRef,
        /// How many.
        count: u64,
    },
}

impl Warning {
    /// Whether it says that something was read in part.
    #[must_use]
    pub fn is_partial_read(&self) -> bool {
        matches!(
            self,
            Self::PartialCatalog { .. }
                | Self::PartialCollection { .. }
                | Self::PartialSource { .. }
                | Self::PartialTarget { .. }
        )
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Contradiction { .. } => "contradiction",
            Self::MissingContainer(_) => "missing_container",
            Self::MissingPick { .. } => "missing_pick",
            Self::PartialCatalog { .. } => "partial_catalog",
            Self::PartialCollection { .. } => "partial_collection",
            Self::PartialSelection { .. } => "partial_selection",
            Self::PartialSource { .. } => "partial_source",
            Self::PartialTarget { .. } => "partial_target",
            Self::UnlistedContainer(_) => "unlisted_container",
            Self::UnknownMembers { .. } => "unknown_members",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction { principal, detail } => {
                write!(f, "{principal} is told in two ways: {detail}")
            }
            Self::MissingContainer(container) => write!(f, "{container} does not exist at the target"),
            Self::MissingPick { container, principal } => {
                write!(f, "{container} selects {principal}, whom no directory has")
            }
            Self::PartialCatalog { reason } => write!(f, "the list of containers was read in part: {reason}"),
            Self::PartialCollection { collection, reason } => {
                write!(f, "the records of {collection} were read in part: {reason}")
            }
            Self::PartialSelection { container, reason } => {
                write!(f, "not everybody whom {container} selects is known: {reason}")
            }
            Self::PartialSource { system, reason } => write!(f, "{system} was read in part: {reason}"),
            Self::PartialTarget { reason } => write!(f, "the target was read in part: {reason}"),
            Self::UnlistedContainer(container) => {
                write!(
                    f,
                    "{container} is not listed any more; its members are left as they are"
                )
            }
            Self::UnknownMembers { group, count } => {
                write!(
                    f,
                    "{group} names {count} members that its directory does not have"
                )
            }
        }
    }
}
