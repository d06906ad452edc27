//! Users, groups and resources.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person or another holder of an account.
    User,
    /// Something that has members.
    Group(GroupKind),
    /// Something that can be booked.
    Resource(ResourceKind),
}

/// The kinds of groups that can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// A list of mail recipients.
    DistributionList(ListKind),
    /// Everyone of a mail domain.
    Domain,
    /// A unit of the organisation, with the units below it.
    OrgUnit,
    /// The holders of a role.
    Role,
    /// A group kept in the application itself; it may be a container too.
    ShareGroup,
    /// A group of the directory.
    UserGroup,
}

/// The kinds of distribution lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListKind {
    /// Its members are found by a query.
    Dynamic,
    /// Its members are rooms.
    Room,
    /// It grants access, too.
    Security,
    /// Its members are listed.
    Simple,
}

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A device or a vehicle.
    Equipment,
    /// Anything else that can be booked.
    Other,
    /// A room.
    Room,
}

impl PrincipalKind {
    /// Whether principals of this kind have members.
    #[must_use]
    pub fn is_group(self) -> bool {
        matches!(self, Self::Group(_))
    }

    /// The stable code of the kind.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group(GroupKind::DistributionList(ListKind::Dynamic)) => "dynamic_distribution_list",
            Self::Group(GroupKind::DistributionList(ListKind::Room)) => "room_list",
            Self::Group(GroupKind::DistributionList(ListKind::Security)) => "security_distribution_list",
            Self::Group(GroupKind::DistributionList(ListKind::Simple)) => "distribution_list",
            Self::Group(GroupKind::Domain) => "domain",
            Self::Group(GroupKind::OrgUnit) => "org_unit",
            Self::Group(GroupKind::Role) => "role",
            Self::Group(GroupKind::ShareGroup) => "share_group",
            Self::Group(GroupKind::UserGroup) => "user_group",
            Self::Resource(ResourceKind::Equipment) => "equipment",
            Self::Resource(ResourceKind::Other) => "other_resource",
            Self::Resource(ResourceKind::Room) => "room",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.code().split('_').enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

/// Whether a principal takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It takes part.
    #[default]
    Active,
    /// It is disabled, locked or expired.
    Inactive,
}

/// A principal as its directory shows it. Only the id identifies it; all else may change at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The immutable id.
    pub id: ObjectId,
    /// What it is.
    pub kind: PrincipalKind,
    /// The name shown to people.
    pub name: String,
    /// Whether it takes part.
    pub activity: Activity,
    /// Whether it is an administrator or otherwise protected from removal.
    pub privileged: bool,
}

impl Principal {
    /// An active, unprivileged principal.
    #[must_use]
    pub fn new(id: ObjectId, kind: PrincipalKind, name: impl Into<String>) -> Self {
        Self {
            id,
            kind,
            name: name.into(),
            activity: Activity::Active,
            privileged: false,
        }
    }

    /// The same principal with another activity.
    #[must_use]
    pub fn with_activity(mut self, activity: Activity) -> Self {
        self.activity = activity;
        self
    }

    /// The same principal, privileged or not.
    #[must_use]
    pub fn with_privileged(mut self, privileged: bool) -> Self {
        self.privileged = privileged;
        self
    }
}

/// One thing that a directory read tells, about the system that is read.
///
/// A full read is a sequence of `Upsert` and `Members`; an incremental one may hold all variants. Entries may
/// come in any order, repeated, and a group's members may be spread over any number of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryChange {
    /// The principal exists and looks like this.
    Upsert(Principal),
    /// The principal is gone, and with it its members, and its memberships in groups of its own system. Those of other systems
    /// go on naming it until they tell otherwise.
    Removed(ObjectId),
    /// `members`, principals of `system`, are direct members of `group`.
    Members {
        /// The group, of the system that is read.
        group: ObjectId,
        /// The system of the members; often the same.
        system: crate::id::SystemId,
        /// Direct members.
        members: Vec<ObjectId>,
    },
    /// `members`, principals of `system`, are no direct members of `group` any more.
    MembersRemoved {
        /// The group, of the system that is read.
        group: ObjectId,
        /// The system of the members.
        system: crate::id::SystemId,
        /// Former direct members.
        members: Vec<ObjectId>,
    },
    /// All direct members of `group` told so far are void; the current ones follow.
    MembersReset {
        /// The group, of the system that is read.
        group: ObjectId,
    },
}
