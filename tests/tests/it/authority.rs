//! Promises about identities, actors, tenants and notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ActorState, Authority, ErrorKind, News, Notification, Recipient, Retry};
use usersync::engine::{NotStarted, Outcome, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Principal, PrincipalKind, TenantId};
use usersync::reconcile::Mode;
use usersync::store::Log;
use usersync_tests::edit::{cases, edits, mode, world};
use usersync_tests::{Model, World, container, free_policy, tenant, user};

proptest! {
    #![proptest_config(cases(128))]

    /// New names of users and groups, new owners' names, another order of the directory: nothing is done about them.
    #[test]
    fn promise_19_a_new_name_is_no_operation(
        mode in mode(),
        before in edits(16),
        names in proptest::collection::vec("[a-z]{1,6}", 12),
        with_changes in any::<bool>(),
    ) {
        let builder = world().job("sync", free_policy(mode));
        let world = if with_changes { builder.with_changes() } else { builder }.build();
        // Memberships that groups bring about, some through another group.
        for (group, member) in [("g0", "u0"), ("g0", "g1"), ("g1", "u1"), ("g1", "u2"), ("g2", "u3")] {
            world.join(group, member);
        }
        world.select("c0", "g0");
        world.select("c1", "g1 g2 -u2");
        world.edit(&before);
        let _ = world.settle("sync");
        let snapshot = world.end();
        for (known, name) in world.directory.principals().into_iter().zip(names.iter().cycle()) {
            world.directory.put(Principal { name: name.clone(), ..known });
        }
        world.calls.clear();
        let report = world.run("sync");
        prop_assert_eq!(report.end, RunEnd::InSync);
        prop_assert_eq!(world.calls.effects(), 0);
        prop_assert_eq!(world.end(), snapshot);
    }

    /// Two tenants whose ids are all the same, in one store, one directory and one target each, end as if alone.
    #[test]
    fn promise_24_tenants_with_equal_ids_end_as_if_alone(
        mode in mode(),
        first in proptest::collection::vec(edits(8), 1..4),
        second in proptest::collection::vec(edits(8), 1..4),
    ) {
        let build = |tenant: &TenantId| {
            let mut world = world().build();
            world.tenant = tenant.clone();
            world.actors.set(tenant, user("boss"), ActorState::Active);
            world
        };
        let save = |world: &World| {
            let mut job = World::new_job("sync", free_policy(mode));
            job.tenant = world.tenant.clone();
            world.save(&job);
        };
        let tenants = [tenant(), TenantId::new("umbrella").expect("an id")];
        let mut alone = Vec::new();
        let mut together: Vec<World> = Vec::new();
        for (id, stages) in tenants.iter().zip([&first, &second]) {
            let world = build(id);
            save(&world);
            for stage in stages {
                world.edit(stage);
                let _ = world.run("sync");
            }
            alone.push((world.end(), world.audit().len(), world.notifier.delivered()));
            let mut world = build(id);
            if let Some(other) = together.first() {
                world.store = other.store.clone();
                world.restart();
            }
            save(&world);
            together.push(world);
        }
        for n in 0..first.len().max(second.len()) {
            for (world, stages) in together.iter().zip([&first, &second]) {
                if let Some(stage) = stages.get(n) {
                    world.edit(stage);
                    let _ = world.run("sync");
                }
            }
        }
        for (world, (end, audit, delivered)) in together.iter().zip(alone) {
            prop_assert_eq!(world.end(), end);
            prop_assert_eq!(world.audit().len(), audit);
            // The lineage of a job, and so its operations' ids, is the tenant's.
            prop_assert_eq!(world.notifier.delivered(), delivered);
        }
    }

    /// One notification of every effect that was committed, whatever becomes of deliveries; equal keys come from one effect.
    #[test]
    fn promise_25_one_committed_effect_is_told_once(
        before in edits(10),
        stages in proptest::collection::vec((edits(6), any::<u64>()), 1..5),
    ) {
        let world = world().job("sync", free_policy(Mode::Managed)).build();
        world.edit(&before);
        let mut expected: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (stage, seed) in stages {
            world.edit(&stage);
            let model = Model::of(&world, "sync", Mode::Managed, usersync::reconcile::Drift::Restore);
            for ((id, who), what) in &model.operations {
                *expected.entry((format!("{who} {id}"), (*what).to_owned())).or_default() += 1;
            }
            let n = 3.try_into().expect("3 is not zero");
            let faults = [
                Fault::Failed { kind: ErrorKind::Unavailable, retry: Retry::Later },
                Fault::Timeout(Moment::After),
                Fault::Timeout(Moment::Before),
            ];
            for (salt, fault) in faults.into_iter().enumerate() {
                world.faults.inject(FaultRule::new(fault).on(CallKind::Notify).one_in(n, seed ^ (salt as u64) << 16));
            }
            let report = world.run("sync");
            prop_assert!(report.is_ok());
            // What was not delivered is in the outbox, keyed by its operation.
            let waiting = world.log_len(Log::Outbox);
            let delivered = world.notifier.delivered().len();
            let all: usize = expected.values().sum();
            prop_assert!(waiting + delivered >= all);
            world.faults.heal();
            world.clock.advance(Duration::from_secs(1));
        }
        // What was refused waits for a while.
        world.clock.advance(Duration::from_secs(3600));
        let _ = world.run("sync");
        prop_assert_eq!(world.log_len(Log::Outbox), 0);
        let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
        for notification in world.notifier.delivered() {
            let Recipient::Principal(who) = notification.recipient else { continue };
            let (id, what) = match notification.news {
                News::MemberAdded { container, .. } => (container, "add"),
                News::MemberRemoved { container } => (container, "remove"),
                _ => continue,
            };
            *told.entry((format!("{who} {id}"), what.to_owned())).or_default() += 1;
        }
        prop_assert_eq!(told, expected);
        let audit = world.audit();
        let keys: BTreeSet<_> = audit.iter().map(|record| record.operation).collect();
        prop_assert_eq!(keys.len(), audit.len());
        for notification in world.notifier.delivered() {
            prop_assert!(keys.contains(&notification.key));
        }
    }
}

/// Somebody who left and another with the same name are two: the new one comes, the old one goes.
#[test]
fn promise_19_another_object_id_is_another_person() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.depart("ada");
    world
        .directory
        .put(Principal::new(user("ada-2").object, PrincipalKind::User, "ada"));
    world.join("staff", "ada-2");
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada-2 bob");
}

/// A team whose owner is deleted while the run is on its way.
fn owned(administrator: bool) -> World {
    let mut builder = World::builder();
    if administrator {
        builder = builder.administrator("root");
    }
    builder
        .batch(2)
        .group("staff", "u1 u2 u3 u4 u5 u6")
        .owned("team", "eve", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

#[test]
fn promise_23_the_owners_removal_changes_the_actor_from_the_next_batch_on() {
    for state in [ActorState::Inactive, ActorState::Missing] {
        let world = owned(true);
        let actors = world.actors.clone();
        let vanish = move || actors.set(&tenant(), user("eve"), state);
        // While the third of six is added: in the second of three batches.
        world
            .faults
            .inject(FaultRule::meanwhile(vanish).on(CallKind::Add).after(2).once());
        let report = world.run("sync");
        assert_eq!(report.end, RunEnd::Changed);
        assert_eq!(world.members("team"), "u1 u2 u3 u4 u5 u6");
        let acted: Vec<_> = world
            .audit()
            .into_iter()
            .filter_map(|record| Some((record.subject.principal()?.object.to_string(), record.actor)))
            .collect();
        for (who, actor) in &acted {
            let expected = match who.as_str() {
                "u1" | "u2" | "u3" | "u4" => (user("eve"), Authority::ContainerOwner),
                _ => (user("root"), Authority::Administrator),
            };
            assert_eq!((actor.principal.clone(), actor.authority), expected, "{who}");
        }
        assert_eq!(acted.len(), 6);
        // It is told to the target and is the sender of the news.
        for call in world.calls.all().iter().filter(|call| call.kind.is_effect()) {
            let subject = call.subject.clone().expect("effects have a subject").to_string();
            let by = acted
                .iter()
                .find(|(who, _)| subject.ends_with(who.as_str()))
                .map(|(_, actor)| actor.clone());
            assert_eq!(call.actor, by);
        }
        for notification in world.notifier.delivered() {
            let Recipient::Principal(who) = &notification.recipient else {
                continue;
            };
            let by = acted
                .iter()
                .find(|(name, _)| *name == who.object.as_str())
                .map(|(_, actor)| actor.clone());
            assert_eq!(notification.sender, by);
        }
    }
}

/// The substitute acts for what the gone owner owned, and for nothing else.
#[test]
fn promise_23_a_substitute_acts_for_that_container_only() {
    let world = World::builder()
        .administrator("root")
        .group("staff", "ada bob")
        .owned("team", "eve", "staff")
        .owned("album", "fay", "staff")
        .container("poll", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world.actors.set(&world.tenant, user("eve"), ActorState::Missing);
    let _ = world.settle("sync");
    for record in world.audit() {
        let expected = match record.container.object.as_str() {
            "team" => (user("root"), Authority::Administrator),
            "album" => (user("fay"), Authority::ContainerOwner),
            _ => (user("boss"), Authority::JobOwner),
        };
        assert_eq!(
            (record.actor.principal, record.actor.authority),
            expected,
            "{}",
            record.container
        );
    }
}

/// Without an administrator the gone owner's operations are not begun; the others are.
#[test]
fn promise_23_without_an_administrator_nobody_acts_for_the_owner() {
    let world = owned(false);
    world.add_container_of_nobody();
    let actors = world.actors.clone();
    let vanish = move || actors.set(&tenant(), user("eve"), ActorState::Missing);
    world.faults.inject(
        FaultRule::meanwhile(vanish)
            .on(CallKind::Add)
            .container(container("team").object)
            .once(),
    );
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Failed);
    assert_eq!(
        report.count(|outcome| *outcome == Outcome::NotStarted(NotStarted::NobodyActs)),
        4
    );
    assert_eq!(world.members("team"), "u1 u2");
    assert_eq!(world.members("poll"), "u1");
    let told = |world: &World| {
        let delivered = world.notifier.delivered();
        let is_told = |told: &&Notification| match &told.news {
            News::JobPaused { reason } => reason == "not_started_nobody_acts",
            _ => false,
        };
        delivered.iter().filter(is_told).count()
    };
    assert_eq!(told(&world), 1, "the administrators can name somebody");
    let _ = world.run("sync");
    assert_eq!(told(&world), 1, "they know");
    world.actors.set(&world.tenant, user("eve"), ActorState::Active);
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "u1 u2 u3 u4 u5 u6");
    world.actors.set(&world.tenant, user("eve"), ActorState::Missing);
    world.leave("staff", "u1");
    for _ in 0..2 {
        let _ = world.run("sync");
        assert_eq!(told(&world), 2, "it is so anew");
    }
}

trait Poll {
    fn add_container_of_nobody(&self);
}

impl Poll for World {
    fn add_container_of_nobody(&self) {
        let kind = usersync::model::ContainerKind::Poll;
        let poll =
            usersync::model::Container::new(container("poll"), kind, "poll", usersync_tests::all("u1"));
        self.target.create_container(poll.id.object.clone());
        self.catalog.put(poll);
    }
}

/// Who the owner of a directory is cannot be told while it cannot be asked: nothing is begun in anybody's name.
#[test]
fn promise_23_an_owner_who_cannot_be_looked_up_is_not_replaced() {
    let world = owned(true);
    let unavailable = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(
        FaultRule::new(unavailable)
            .on(CallKind::State)
            .principal(user("eve"))
            .after(1),
    );
    let report = world.run("sync");
    assert_eq!(
        report.count(|outcome| *outcome == Outcome::NotStarted(NotStarted::ActorUnknown)),
        4
    );
    assert!(
        world
            .audit()
            .iter()
            .all(|record| record.actor.principal == user("eve"))
    );
    world.faults.heal();
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "u1 u2 u3 u4 u5 u6");
}

/// A job whose owner is gone pauses, and tells it once; when somebody may act again it goes on, and when nobody may, tells it anew.
#[test]
fn a_job_that_nobody_may_run_pauses_and_tells_it_once() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let paused = |world: &World| {
        let told = world.notifier.delivered();
        told.iter()
            .filter(|told| matches!(told.news, News::JobPaused { .. }))
            .count()
    };
    world
        .actors
        .set(&world.tenant, user("boss"), ActorState::Inactive);
    for _ in 0..3 {
        let report = world.run("sync");
        assert_eq!(report.end, RunEnd::Paused);
        assert!(report.plan.is_none());
        assert_eq!(paused(&world), 1);
    }
    assert_eq!(world.members("team"), "");
    let told = &world.notifier.delivered()[0];
    assert_eq!(
        (&told.recipient, &told.sender),
        (&Recipient::Administrators, &None)
    );

    world.actors.set(&world.tenant, user("boss"), ActorState::Active);
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "ada");
    for round in 2..4 {
        world.actors.set(&world.tenant, user("boss"), ActorState::Missing);
        assert_eq!(world.run("sync").end, RunEnd::Paused);
        assert_eq!(world.run("sync").end, RunEnd::Paused);
        assert_eq!(paused(&world), round, "it paused anew");
        world.actors.set(&world.tenant, user("boss"), ActorState::Active);
        // Nothing is to be done meanwhile: that it goes on is remembered all the same.
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    }
}

/// Administrators are told of what waits, once for each held set.
#[test]
fn what_waits_is_told_once() {
    let policy = usersync::reconcile::Policy::default();
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world.select("team", "");
    let held = |world: &World| {
        let told = world.notifier.delivered();
        told.iter()
            .filter(|told| matches!(told.news, News::OperationsHeld { .. }))
            .count()
    };
    for _ in 0..3 {
        assert_eq!(world.run("sync").end, RunEnd::Held);
        assert_eq!(held(&world), 1);
    }
}

/// What waited, and does not any more, and waits again is told again, under another key; what one container holds is told once, too,
/// however runs of it and of everything take turns.
#[test]
fn what_waits_again_is_told_again() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", usersync::reconcile::Policy::default())
        .build();
    let _ = world.settle("sync");
    let held = |world: &World| {
        let told = world.notifier.delivered().into_iter();
        let held = told.filter(|told| matches!(told.news, News::OperationsHeld { .. }));
        held.map(|told| told.key).collect::<Vec<_>>()
    };
    let run_of = |name: &str| {
        let request = RunRequest::container(container(name));
        world
            .try_run("sync", request)
            .expect("the run comes to a report")
            .end
    };
    for round in 0..3 {
        for name in ["team", "album"] {
            world.select(name, "");
        }
        for _ in 0..3 {
            assert_eq!(world.run("sync").end, RunEnd::Held);
            assert_eq!((run_of("team"), run_of("album")), (RunEnd::Held, RunEnd::Held));
        }
        let told = held(&world);
        assert_eq!(told.len(), 3 * (round + 1));
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
        for name in ["team", "album"] {
            world.select(name, "staff");
        }
        if round == 0 {
            assert_eq!(
                (run_of("team"), run_of("album")),
                (RunEnd::InSync, RunEnd::InSync)
            );
        }
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    }
    // Without a run of everything in between.
    for _ in 0..2 {
        world.select("team", "");
        assert_eq!((run_of("team"), run_of("team")), (RunEnd::Held, RunEnd::Held));
        world.select("team", "staff");
        assert_eq!(run_of("team"), RunEnd::InSync);
    }
    assert_eq!(held(&world).len(), 11);
    // A run of everything that holds the same, and no more, has no news.
    world.select("team", "");
    assert_eq!(
        (run_of("team"), world.run("sync").end),
        (RunEnd::Held, RunEnd::Held)
    );
    assert_eq!(held(&world).len(), 12);
}

/// A notifier that refuses some news does not fail the run; each recipient gets theirs in their order.
#[test]
fn a_failing_notifier_fails_no_run_and_keeps_everybodys_order() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let refuse = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world.faults.inject(
        FaultRule::new(refuse)
            .on(CallKind::Notify)
            .principal(user("ada"))
            .times(3),
    );
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    world.leave("staff", "ada");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    let of = |who: &str| {
        let told = world.notifier.delivered().into_iter();
        let theirs = told.filter(|told| told.recipient == Recipient::Principal(user(who)));
        theirs
            .map(|told| match told.news {
                News::MemberAdded { container, .. } => format!("+{}", container.object),
                News::MemberRemoved { container } => format!("-{}", container.object),
                news => format!("{news:?}"),
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!((&*of("ada"), &*of("bob")), ("", "+album +team"));
    // What was refused waits for a while.
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(600));
        block_on(world.engine().deliver(&world.tenant)).expect("the outbox can be read");
    }
    let _ = world.try_run("sync", RunRequest::everything());
    assert_eq!(
        (&*of("ada"), &*of("bob")),
        ("+album +team -album -team", "+album +team")
    );
}
