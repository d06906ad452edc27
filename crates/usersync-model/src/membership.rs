//! One principal in one container.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{PrincipalRef, text_id};

text_id!(
    /// The host's own name for a role.
    RoleName,
    "role name"
);

/// What a member may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes part.
    #[default]
    Member,
    /// Manages the members, too.
    Manager,
    /// Owns the container.
    Owner,
    /// A role of the host's own.
    Other(RoleName),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Manager => "manager",
            Self::Owner => "owner",
            Self::Other(name) => name.as_str(),
        })
    }
}

/// How far a membership has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipState {
    /// In force.
    #[default]
    Active,
    /// Asked for or offered, not accepted yet; or declined, where the target keeps such a row.
    Pending,
}

impl fmt::Display for MembershipState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Pending => "pending",
        })
    }
}

/// The facets of a membership: its role and its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFacets {
    /// What the member may do.
    #[serde(default)]
    pub role: Role,
    /// How far the membership has come.
    #[serde(default)]
    pub state: MembershipState,
}

/// A member as a target shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Who it is.
    pub principal: PrincipalRef,
    /// With which role and state.
    pub facets: MemberFacets,
}

impl Member {
    /// An active member with [`Role::Member`].
    #[must_use]
    pub fn new(principal: PrincipalRef) -> Self {
        Self {
            principal,
            facets: MemberFacets::default(),
        }
    }
}
