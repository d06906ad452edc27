//! The adapters, held to the contracts of the traits that they implement.

mod directories;
mod targets;

use std::sync::mpsc;

use futures::executor::block_on;
use usersync_license::Entitlement;
use usersync_model::{
    Container, ContainerKind, ContainerRef, JobId, ObjectId, PrincipalRef, Selection, SystemId, TenantId,
};

use super::{EveryoneActive, FixedEntitlement, StaticContainers};
use crate::{
    Actor, ActorDirectory, ActorState, Authority, CallContext, ContainerCatalog, EntitlementSource, Reader,
};

fn system() -> SystemId {
    SystemId::new("crm").unwrap()
}

fn object(id: &str) -> ObjectId {
    ObjectId::new(id).unwrap()
}

fn person(id: &str) -> PrincipalRef {
    PrincipalRef::parse("ad", id).unwrap()
}

fn context() -> CallContext {
    CallContext {
        tenant: TenantId::new("acme").unwrap(),
        job: JobId::new("nightly").unwrap(),
        actor: Actor {
            principal: person("owner"),
            authority: Authority::JobOwner,
        },
    }
}

/// Tells when it is dropped.
struct Bell(mpsc::Sender<&'static str>);

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[test]
fn static_containers_show_all_or_those_asked_for() {
    let id = |object: &str| ContainerRef::parse("crm", object).unwrap();
    let container =
        |object, name: &str| Container::new(id(object), ContainerKind::Team, name, Selection::default());
    let catalog = StaticContainers::new([container("b", "old"), container("a", "A"), container("b", "new")]);
    let names = |only| {
        let (containers, end) = block_on(Reader::new(catalog.containers(only, &context())).collect());
        assert!(end.verdict.is_complete());
        containers
            .into_iter()
            .map(|container| container.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["A", "new"]);
    assert_eq!(names(Some(vec![id("b"), id("x"), id("b")])), ["new"]);
    assert_eq!(names(Some(Vec::new())), [] as [&str; 0]);
}

#[test]
fn what_a_host_need_not_ask_is_answered() {
    let tenant = context().tenant;
    let state = block_on(EveryoneActive.state(&tenant, &person("ghost"))).unwrap();
    assert_eq!(state, ActorState::Active);
    let entitlement = Entitlement::new(7);
    let answer = block_on(FixedEntitlement(entitlement).entitlement(&tenant)).unwrap();
    assert_eq!(answer, entitlement);
}
