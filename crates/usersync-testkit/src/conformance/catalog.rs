//! The contract of [`ContainerCatalog`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{CallContext, ContainerCatalog, Extent};
use usersync_model::{Container, ContainerKind, ContainerRef, PrincipalRef, Role, Selection, SystemId};

use super::read::follow;
use super::{Cannot, LeaveOut, Point, Violation, object, sample_context, suite};

/// Gives catalogs to check.
#[async_trait]
pub trait CatalogHarness: Send + Sync {
    /// A catalog of exactly these containers. What else the harness does is done to the catalog given last.
    async fn fresh(&self, containers: Vec<Container>) -> Arc<dyn ContainerCatalog>;

    /// The system of the containers that the checks make up.
    fn system(&self) -> SystemId {
        SystemId::new("target").expect("a literal without control characters is an id")
    }

    /// The kind of a container that the checks make up; as many kinds as the catalog knows.
    fn kind(&self, number: usize) -> ContainerKind {
        let kinds = [
            ContainerKind::Group,
            ContainerKind::Event,
            ContainerKind::MailingList,
        ];
        kinds[number % kinds.len()].clone()
    }

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Makes reads from now on leave something out; never asked for [`LeaveOut::MembersOf`].
    async fn leave_out(&self, _what: LeaveOut) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `ContainerCatalog`.
    ///
    /// Takes the name of the module, an expression for a [`CatalogHarness`](crate::conformance::catalog::CatalogHarness), which is evaluated
    /// for each test, and, if the catalog needs a runtime, an expression that is called with a check's future and runs it to
    /// its end.
    container_catalog_conformance, catalog, CatalogHarness, [
    point_01_every_container_is_shown_as_it_is,
    point_01_only_listed_containers_asked_for_are_shown,
    point_02_a_read_ends_with_one_complete_end,
    point_02_what_is_left_out_makes_the_read_partial,
]);

const fn point(number: u8) -> Point {
    Point("ContainerCatalog", number)
}

/// Point 1, with owners, roles and selections.
///
/// # Errors
/// The violation found.
pub async fn point_01_every_container_is_shown_as_it_is(harness: &dyn CatalogHarness) -> Checked {
    for count in [3, 2500] {
        let containers = sample(harness, count);
        let catalog = harness.fresh(containers.clone()).await;
        let done = format!("read a catalog of {count} containers");
        let seen = read(harness, &*catalog, &done, None).await?;
        let expected = containers
            .into_iter()
            .map(|container| (container.id.clone(), container))
            .collect();
        point(1).equal(done, &expected, &seen)?;
    }
    Ok(())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_only_listed_containers_asked_for_are_shown(harness: &dyn CatalogHarness) -> Checked {
    let containers = sample(harness, 5);
    let catalog = harness.fresh(containers.clone()).await;
    for (done, asked) in [
        (
            "asked for two containers, one of them twice",
            vec![id(harness, 3), id(harness, 1), id(harness, 3)],
        ),
        (
            "asked for a container that is listed and one that is not",
            vec![id(harness, 2), id(harness, 99)],
        ),
        ("asked for a container that is not listed", vec![id(harness, 99)]),
        ("asked for no container", Vec::new()),
    ] {
        let seen = read(harness, &*catalog, done, Some(asked.clone())).await?;
        let expected = containers
            .iter()
            .filter(|container| asked.contains(&container.id));
        let expected = expected
            .map(|container| (container.id.clone(), container.clone()))
            .collect();
        point(1).equal(done, &expected, &seen)?;
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_read_ends_with_one_complete_end(harness: &dyn CatalogHarness) -> Checked {
    for count in [0, 3] {
        let catalog = harness.fresh(sample(harness, count)).await;
        let done = format!("read a catalog of {count} containers, of which nothing is left out");
        let followed = follow(catalog.containers(None, &harness.context())).await;
        followed.complete(point(2), &done, Extent::Full)?;
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_what_is_left_out_makes_the_read_partial(harness: &dyn CatalogHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let catalog = harness.fresh(sample(harness, 3)).await;
        let done = format!("read a catalog that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            let followed = follow(catalog.containers(None, &harness.context())).await;
            followed.well_formed(point(2), &done)?;
            point(2).holds(followed.is_partial(), done, "a partial read", followed.end)?;
        }
    }
    Ok(())
}

fn id(harness: &dyn CatalogHarness, number: usize) -> ContainerRef {
    ContainerRef::new(harness.system(), object(&format!("container-{number:04}")))
}

fn sample(harness: &dyn CatalogHarness, count: usize) -> Vec<Container> {
    let who = |name: &str| PrincipalRef::new(harness.system(), object(name));
    let container = |number| {
        let selection = Selection::of([who("staff"), who(&format!("group-{number}"))]);
        let selection = match number % 4 {
            0 => selection,
            _ => selection.except([who("bob"), who(&format!("user-{number}"))]),
        };
        let name = format!("Container {number}");
        let container = Container::new(id(harness, number), harness.kind(number), name, selection);
        match number % 3 {
            0 => container,
            1 => container.with_owner(who("ada")),
            _ => container.with_role(Role::Manager),
        }
    };
    (0..count).map(container).collect()
}

async fn read(
    harness: &dyn CatalogHarness,
    catalog: &dyn ContainerCatalog,
    done: &str,
    only: Option<Vec<ContainerRef>>,
) -> Result<BTreeMap<ContainerRef, Container>, Violation> {
    let followed = follow(catalog.containers(only, &harness.context())).await;
    let (entries, _) = followed.complete(point(1), done, Extent::Full)?;
    Ok(entries
        .into_iter()
        .map(|container| (container.id.clone(), container))
        .collect())
}
