//! The words of `usersync` as types: identities, principals, selections, containers, memberships, records, the
//! verdict on a read, and the directory graph with its closure.
//!
//! This crate does no I/O, reads no clock, draws no randomness and puts nothing in hash order into an output.

mod address;
mod completeness;
mod container;
mod digest;
mod graph;
mod id;
mod item;
mod ledger;
mod link;
mod membership;
mod order;
mod principal;
mod record;
mod selection;
mod subscription;
mod visible;

pub use address::{Address, AddressError, AddressKey};
pub use completeness::{Completeness, PartialKind, PartialReason};
pub use container::{Container, ContainerKind, KindName};
pub use digest::{Digest, DigestBuilder, OperationId};
pub use graph::{
    Absence, Affected, DirectoryGraph, Elsewhere, Explanation, GraphBuilder, GraphWarning, GraphWarnings,
    Impact, Inactive, LiveSelections, MAX_PATHS, MAX_WARNINGS, Node, NodeId, Path, ResolvePolicy, Resolved,
    Rest, Scratch, SelectionId, Standing, Step, UnknownMembers,
};
pub use id::{
    AccountRef, ContainerRef, IdError, JobId, MAX_ID_BYTES, ObjectId, PrincipalRef, RecordRef, SystemId,
    TenantId,
};
pub use item::ItemKind;
pub use ledger::{LedgerRow, Origin, Subject};
pub use link::{
    Authorization, Evidence, InvalidTransition, Link, LinkOptions, LinkState, Rank, RankSet, SuspendCause,
};
pub use membership::{Member, MemberFacets, MembershipState, Role, RoleName};
pub use principal::{Activity, DirectoryChange, GroupKind, ListKind, Principal, PrincipalKind, ResourceKind};
pub use record::{AttributeName, Facet, FacetName, Record, RecordKind, Value};
pub use selection::Selection;
pub use subscription::SubscriptionResource;
pub use visible::visible;
