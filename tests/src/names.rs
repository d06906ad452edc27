//! Names of invented things, and policies and capabilities that tests share.

use std::num::NonZeroUsize;
use std::time::Duration;

use usersync::connector::TargetCapabilities;
use usersync::model::{
    ContainerRef, JobId, MemberFacets, MembershipState, PrincipalRef, Role, Selection, TenantId,
};
use usersync::reconcile::{Guards, Mode, Policy};

/// How long a lease lasts in worlds.
pub const LEASE: Duration = Duration::from_secs(120);

/// More runs than any world needs to settle.
pub const AUTO_APPLY: usize = 8;

/// The tenant of worlds that have one.
#[must_use]
pub fn tenant() -> TenantId {
    TenantId::new("acme").expect("an id")
}

/// A job by its name.
#[must_use]
pub fn job(name: &str) -> JobId {
    JobId::new(name).expect("an id")
}

/// A user of the directory `hr`.
#[must_use]
pub fn user(name: &str) -> PrincipalRef {
    PrincipalRef::parse("hr", name).expect("an id")
}

/// A group of the directory `hr`.
#[must_use]
pub fn group(name: &str) -> PrincipalRef {
    user(name)
}

/// A container of the target `share`.
#[must_use]
pub fn container(name: &str) -> ContainerRef {
    ContainerRef::parse("share", name).expect("an id")
}

/// A selection of principals of `hr`, separated by blanks: `staff -ada` is staff without Ada, and `@team` is the container
/// `team`.
#[must_use]
pub fn all(picks: &str) -> Selection {
    let refer = |pick: &str| match pick.strip_prefix('@') {
        Some(name) => container(name).as_principal(),
        None => user(pick),
    };
    let (exclude, include): (Vec<_>, Vec<_>) =
        picks.split_whitespace().partition(|pick| pick.starts_with('-'));
    Selection::of(include.into_iter().map(refer)).except(exclude.into_iter().map(|pick| refer(&pick[1..])))
}

/// A role and a state.
#[must_use]
pub fn facets(role: Role, state: MembershipState) -> MemberFacets {
    MemberFacets { role, state }
}

/// A policy of `mode` without any guard, for tests of everything else.
#[must_use]
pub fn free_policy(mode: Mode) -> Policy {
    let guards = Guards {
        container: None,
        emptied: false,
        run: None,
        window: None,
        privileged: false,
        ..Guards::default()
    };
    Policy {
        guards,
        ..Policy::new(mode)
    }
}

/// A target that offers everything.
#[must_use]
pub fn every_capability() -> TargetCapabilities {
    TargetCapabilities {
        conditional_write: true,
        idempotency_key: true,
        max_batch: NonZeroUsize::new(2).expect("2 is not zero"),
        point_read: true,
        updates: true,
    }
}

/// A target that offers nothing but roles and states.
#[must_use]
pub fn least_capability() -> TargetCapabilities {
    TargetCapabilities {
        updates: true,
        ..TargetCapabilities::default()
    }
}
