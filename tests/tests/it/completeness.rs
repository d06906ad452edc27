//! Promises about reads that show a part: nothing rests on what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{
    Applied, CallContext, ErrorKind, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, Retry, TargetCapabilities,
};
use usersync::engine::{Engine, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryTarget};
use usersync::model::{
    Container, ContainerKind, MemberFacets, ObjectId, PartialKind, PrincipalRef, SystemId, UnknownMembers,
};
use usersync::reconcile::{Action, LedgerStep, Mode, Plan, Policy, Warning};
use usersync_tests::edit::{cases, drift, edits, mode, world};
use usersync_tests::{End, World, all, container, every_capability, free_policy, job};

/// Everything that a plan would do, to the target or to the ledger.
///
/// A container that selects another one follows what the plan leaves there, and so whom a hold keeps there: what is added for
/// that reason, where the other is included, is no deed of its own, and nothing is, where the other is excluded.
fn deeds(plan: &Plan, nesting: u8) -> BTreeSet<String> {
    let mut deeds = BTreeSet::new();
    for section in plan.sections() {
        let follows = match (nesting, section.container.object.as_str()) {
            (1 | 3, "c1") | (3, "c2") => 1,
            (2, "c1") | (4.., _) => 2,
            _ => 0,
        };
        for operation in &section.operations {
            if follows == 0 || (follows == 1 && operation.action == Action::Remove) {
                deeds.insert(format!(
                    "{} {} {:?}",
                    section.container, operation.subject, operation.action
                ));
            }
        }
        for change in &section.ledger {
            if follows == 0 || (follows == 1 && !matches!(change.step, LedgerStep::Claim(_))) {
                deeds.insert(format!(
                    "{} {} {:?}",
                    section.container, change.subject, change.step
                ));
            }
        }
    }
    deeds
}

/// Every way in which a read of at most `size` entries can stop early.
fn truncations(size: usize) -> impl Iterator<Item = Fault> {
    (0..=size).flat_map(|shown| {
        [
            Fault::Truncated { shown },
            Fault::FailedAfter {
                shown,
                kind: ErrorKind::Unavailable,
                retry: Retry::Later,
            },
            Fault::Partial {
                shown,
                kind: PartialKind::Limit,
            },
        ]
    })
}

/// Every way in which one group or container can be shown in part.
fn short_groups(objects: &[ObjectId], members: usize) -> impl Iterator<Item = Fault> {
    objects.iter().flat_map(move |object| {
        (0..members).map(|shown| Fault::PartialOf {
            object: object.clone(),
            shown,
            kind: PartialKind::Unreadable,
        })
    })
}

/// What is planned from a part of what there is, is planned from all of it, too: so it rests on nothing that is missing.
fn check_every_truncation(world: &World, scope: &Scope, nesting: u8) -> Result<(), TestCaseError> {
    let complete = deeds(world.planned("sync", scope).plan(), nesting);
    let groups: Vec<_> = world
        .directory
        .principals()
        .into_iter()
        .map(|principal| principal.id)
        .collect();
    let containers: Vec<_> = world.target.snapshot().into_keys().collect();
    let entries = groups.len()
        + groups
            .iter()
            .map(|id| world.directory.members_of(id).len())
            .sum::<usize>();
    let present = containers.len()
        + world
            .target
            .snapshot()
            .values()
            .map(|members| members.len())
            .sum::<usize>();
    let faults = truncations(entries)
        .chain(short_groups(&groups, 3))
        .map(|fault| (CallKind::Directory, fault))
        .chain(truncations(containers.len()).map(|fault| (CallKind::Containers, fault)))
        .chain(
            truncations(present)
                .chain(short_groups(&containers, 4))
                .map(|fault| (CallKind::Members, fault)),
        );
    for (kind, fault) in faults {
        world.faults.heal();
        world.faults.inject(FaultRule::new(fault.clone()).on(kind));
        let partial = world.planned("sync", scope).plan().clone();
        let hasty: Vec<_> = deeds(&partial, nesting).difference(&complete).cloned().collect();
        prop_assert_eq!(&hasty, &Vec::<String>::new(), "{} with {:?}", kind, fault);
    }
    world.faults.heal();
    Ok(())
}

/// A job that takes members whom nobody knows for stale names, or for something that was not shown.
fn save_job(world: &World, policy: Policy, ignores_unknown: bool) {
    let mut job = World::new_job("sync", policy);
    if ignores_unknown {
        job.resolve.unknown_members = UnknownMembers::Ignore;
    }
    world.save(&job);
}

/// Where the selections of the three containers lead to each other, and around in a circle.
fn nest(world: &World, nesting: u8) {
    let pick = |from: &str, picks: &str| {
        let at = container(from);
        let mut selection = world.catalog.container(&at).expect("a container").selection;
        let more = all(picks);
        selection.include.extend(more.include);
        selection.exclude.extend(more.exclude);
        world.catalog.select(&at, selection);
    };
    match nesting {
        0 => {}
        1 => pick("c1", "@c0"),
        2 => pick("c1", "-@c0"),
        3 => {
            pick("c1", "@c0");
            pick("c2", "@c1");
        }
        4 => {
            pick("c0", "@c1");
            pick("c1", "@c0");
            pick("c2", "-@c1");
        }
        _ => {
            pick("c0", "@c1");
            pick("c1", "-@c0");
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn promise_09_nothing_rests_on_the_missing_part_of_a_read(
        mode in mode(),
        drift in drift(),
        before in edits(16),
        after in edits(10),
        nesting in 0..6_u8,
        point_read in any::<bool>(),
        only in proptest::option::of(0..3_u8),
        ignores_unknown in any::<bool>(),
    ) {
        let capabilities = TargetCapabilities { point_read, ..every_capability() };
        let world = world().capabilities(capabilities).build();
        save_job(&world, Policy { drift, ..free_policy(mode) }, ignores_unknown);
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        nest(&world, nesting);
        let scope = match only {
            None => Scope::Everything,
            Some(n) => Scope::container(container(&format!("c{n}"))),
        };
        check_every_truncation(&world, &scope, nesting)?;
    }

    /// The same where a run follows the change feed; and the run after it, which sees everything, ends as if nothing had been missing.
    #[test]
    fn promise_09_nothing_rests_on_the_missing_part_of_a_read_of_changes(
        mode in mode(),
        before in edits(16),
        after in edits(8),
        nesting in 0..6_u8,
        ignores_unknown in any::<bool>(),
    ) {
        let base = world().with_changes().build();
        save_job(&base, free_policy(mode), ignores_unknown);
        base.edit(&before);
        let begin = || {
            let world = base.fork();
            let _ = world.settle("sync");
            world.edit(&after);
            nest(&world, nesting);
            world
        };
        let sample = begin();
        let complete = deeds(&sample.plan("sync"), nesting);
        let _ = sample.settle("sync");
        for fault in truncations(2 * after.len()) {
            let world = begin();
            world.faults.inject(FaultRule::new(fault.clone()).on(CallKind::Directory));
            let report = world.run("sync");
            let partial = deeds(&report.plan.expect("a plan"), nesting);
            let hasty: Vec<_> = partial.difference(&complete).cloned().collect();
            prop_assert_eq!(&hasty, &Vec::<String>::new(), "with {:?}", fault);
            world.faults.heal();
            let _ = world.settle("sync");
            if nesting < 4 && (nesting == 0 || ignores_unknown) {
                // Who is taken out where a hold keeps him in what is excluded, and comes back, has the role that a person gave him no more.
                let compared = |mut end: End| {
                    let facets = end.target.values_mut().flat_map(BTreeMap::values_mut);
                    facets.filter(|_| nesting == 2).for_each(|facets| *facets = MemberFacets::default());
                    end
                };
                prop_assert_eq!(compared(world.end()), compared(sample.end()), "after {:?}", fault);
            }
        }
    }
}

/// Where one container alone is planned, those that it selects are looked at, too; what of them is not shown, is not taken for
/// empty.
#[test]
fn promise_09_a_selected_container_that_is_not_shown_is_not_empty() {
    let hidden = |kind| Fault::PartialOf {
        object: container("team").object,
        shown: 0,
        kind,
    };
    for fault in [hidden(PartialKind::Unreadable), Fault::Truncated { shown: 0 }] {
        let world = World::builder()
            .group("staff", "ada bob")
            .container("team", "staff")
            .container("rest", "ada bob cleo -@team")
            .container("same", "@team")
            .group("everyone", "ada bob cleo")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let _ = world.settle("sync");
        assert_eq!(
            (&*world.members("rest"), &*world.members("same")),
            ("cleo", "ada bob")
        );
        // The first read is that of the container itself, the second that of those that it selects.
        for name in ["rest", "same"] {
            let fork = world.fork();
            fork.faults
                .inject(FaultRule::new(fault.clone()).on(CallKind::Members).after(1));
            let report = fork
                .try_run("sync", RunRequest::container(container(name)))
                .expect("a run");
            assert!(
                report.operations.is_empty(),
                "{name} with {fault:?}: {:?}",
                report.operations
            );
        }
    }
}

/// A container that the target lost is not filled, and does not make anything else go.
#[test]
fn a_missing_container_is_reported_and_left() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.catalog.put(Container::new(
        container("lost"),
        ContainerKind::Team,
        "lost",
        all("staff"),
    ));
    let report = world.run("sync");
    assert!(report.operations.is_empty());
    let plan = report.plan.expect("a plan");
    let warnings = &plan.header().warnings;
    assert!(matches!(&warnings[..], [Warning::MissingContainer(id)] if *id == container("lost")));
}

/// A target that forgets to speak of one container, and claims to have told everything.
#[derive(Debug)]
struct Forgetful {
    inner: MemoryTarget,
    forgets: ObjectId,
}

#[async_trait::async_trait]
impl MembershipRead for Forgetful {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            point_read: false,
            ..self.inner.capabilities()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let asked = containers.into_iter().filter(|id| *id != self.forgets).collect();
        self.inner.members(asked, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        who: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        self.inner.member(container, who, context).await
    }
}

#[async_trait::async_trait]
impl MembershipTarget for Forgetful {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        self.inner.apply(container, operations, context).await
    }
}

/// A container that the target does not mention is not known, however complete the read claims to be.
#[test]
fn promise_09_a_container_that_is_not_mentioned_is_not_empty() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("same", "@team")
        .container("rest", "ada bob cleo -@team")
        .group("everyone", "ada bob cleo")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "bob");
    world.join("staff", "dan");
    let before = world.end();
    let target = Forgetful {
        inner: world.target.clone(),
        forgets: container("team").object,
    };
    let engine = Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .target(Arc::new(target))
    .build();
    for scope in [None, Some("same"), Some("rest"), Some("team")] {
        let request = match scope {
            None => RunRequest::everything(),
            Some(name) => RunRequest::container(container(name)),
        };
        let report = block_on(engine.run(&world.tenant, &job("sync"), request)).expect("a run");
        assert!(report.operations.is_empty(), "{scope:?}: {:?}", report.operations);
        assert_eq!(world.end(), before, "{scope:?}");
    }
}
