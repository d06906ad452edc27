//! Systems whose containers have members.

use std::fmt;
use std::num::NonZeroUsize;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use usersync_model::{
    Container, ContainerRef, Member, MemberFacets, ObjectId, OperationId, PrincipalRef, SystemId,
};

use crate::context::CallContext;
use crate::error::Result;
use crate::read::ReadStream;

/// The state of one object at a target, as its ETag or revision says; opaque.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// What a target offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetCapabilities {
    /// It checks [`Precondition`]s atomically with the effect.
    pub conditional_write: bool,
    /// Two attempts with one operation id have one effect, also when the first was not answered.
    pub idempotency_key: bool,
    /// How many operations one call may hold.
    pub max_batch: NonZeroUsize,
    /// A single object can be read.
    pub point_read: bool,
    /// Roles and states of members are kept; otherwise every member is an active
    /// [`Role::Member`](usersync_model::Role::Member). For records: facets can be updated.
    pub updates: bool,
}

impl Default for TargetCapabilities {
    /// The least: one operation a call, nothing else.
    fn default() -> Self {
        Self {
            conditional_write: false,
            idempotency_key: false,
            max_batch: NonZeroUsize::MIN,
            point_read: false,
            updates: false,
        }
    }
}

/// A member as the target has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentMember {
    /// Who, with which facets.
    pub member: Member,
    /// Its version, where the target has conditional writes.
    pub version: Option<Version>,
}

/// One entry of a read of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersEntry {
    /// `container` has these members, perhaps among others; empty says that it exists.
    Members {
        /// The container.
        container: ObjectId,
        /// Some or all of its members.
        members: Vec<PresentMember>,
    },
    /// There is no such container.
    Missing {
        /// The container asked for.
        container: ObjectId,
    },
}

/// The reading half of a membership target.
///
/// # Behavior
/// 1. `members` shows every container asked for, however many, at least once, as `Members` or as `Missing`; a container that it
///    does not mention is partial. Containers not asked for are not shown.
/// 2. It ends as every read does: `Complete` only if nothing was left out; a container cut short is partial.
/// 3. With `point_read`, `member` tells whether one principal is a member, as of now; `None` is proof of absence, and so
///    is a missing container. Without, it fails with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
/// 4. Members that differ only in role or state are one member.
/// 5. Without `updates`, every member shown is an active [`Role::Member`](usersync_model::Role::Member).
#[async_trait]
pub trait MembershipRead: fmt::Debug + Send + Sync + 'static {
    /// The system that has the containers.
    fn system(&self) -> &SystemId;

    /// What it offers.
    fn capabilities(&self) -> TargetCapabilities;

    /// Reads the members of `containers`.
    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry>;

    /// Reads one membership.
    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>>;
}

/// What an operation requires of the object's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// It must not be there.
    Absent,
    /// Nothing.
    None,
    /// It must be there in exactly this version.
    Version(Version),
}

/// What is to become of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// Make it, with these facets.
    Add(MemberFacets),
    /// End it.
    Remove,
    /// Give it these facets.
    Update(MemberFacets),
}

/// One membership operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberOperation {
    /// Names the effect across attempts and restarts.
    pub id: OperationId,
    /// Whose membership.
    pub principal: PrincipalRef,
    /// What is to become of it.
    pub change: MemberChange,
    /// What must hold; targets without `conditional_write` ignore it.
    pub precondition: Precondition,
}

/// What an effect did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Whether anything changed; `false` when the wished state was there already.
    pub changed: bool,
    /// The version after the effect, where the target has one.
    pub version: Option<Version>,
}

impl Applied {
    /// Something changed.
    #[must_use]
    pub fn changed() -> Self {
        Self {
            changed: true,
            version: None,
        }
    }

    /// The wished state was there already.
    #[must_use]
    pub fn unchanged() -> Self {
        Self {
            changed: false,
            version: None,
        }
    }
}

/// A system whose containers' members are managed.
///
/// # Behavior
/// 1. `apply` answers one result per operation, in their order. One failing operation does not stop the others.
/// 2. Adding a member who is there, and removing one who is not, succeed with `changed: false`. So does removing from a
///    container that is gone; adding to one fails with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 3. A success is visible to the next read.
/// 4. A failure that is not [`outcome_unknown`](crate::Error::outcome_unknown) had no effect. Where a request may have arrived
///    and its answer did not, the outcome is unknown, whatever broke.
/// 5. With `conditional_write`, an operation whose precondition does not hold fails with
///    [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) and has no effect. Of several at the same time that require one version
///    and would change it, one succeeds.
/// 6. With `idempotency_key`, an operation id that had its effect has none again, whatever happened since, and answers what it
///    answered first. One that failed without an effect may still have it.
/// 7. Without `updates`, `Update`, and `Add` with other than the default facets, fail with
///    [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
/// 8. Updating somebody who is no member fails with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 9. A batch larger than `max_batch` fails whole with [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded).
/// 10. Other members and other containers are not touched.
#[async_trait]
pub trait MembershipTarget: MembershipRead {
    /// Applies operations to the members of one container.
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>>;
}

/// The host's list of containers, with their owners and selections.
///
/// # Behavior
/// 1. Without `only`, `containers` shows every container whose members the host wants synchronized; with it, those of them that
///    are listed there.
/// 2. It ends as every read does: `Complete` only if nothing was left out.
pub trait ContainerCatalog: fmt::Debug + Send + Sync + 'static {
    /// Reads containers.
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container>;
}
