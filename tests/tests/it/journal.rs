//! Operations that an earlier run began where its job is not at work any more: they come to an end, too.

use std::collections::BTreeMap;

use usersync::connector::News;
use usersync::engine::{Job, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Container, ContainerKind, JobId, Origin, Role};
use usersync::reconcile::{Mode, Policy, Share, Window};
use usersync_tests::records::{RecordWorld, contact, contact_id};
use usersync_tests::{World, all, container, every_capability, free_policy, least_capability, user};

/// What a run began and did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    Addition,
    Removal,
}

/// How the job came to be somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// It covers other kinds of containers.
    Narrowed,
    /// The catalog does not list the container any more.
    Unlisted,
}

/// No guard but a wide window, which counts.
fn policy() -> Policy {
    let share = Share {
        percent: 100,
        floor: 1000,
    };
    let mut policy = free_policy(Mode::Managed);
    policy.guards.window = Some(Window { hours: 24, share });
    policy
}

fn narrow() -> Job {
    World::new_job("sync", policy()).covering([ContainerKind::Group])
}

/// The answer to an operation on Ada in the party was lost before or after its effect, and the job is not at work there any more.
fn world(began: Began, moment: Moment, moved: Moved) -> World {
    let world = World::builder()
        .capabilities(least_capability())
        .group("staff", "ada bob")
        .job("sync", policy())
        .build();
    for (name, kind) in [("party", ContainerKind::Event), ("friends", ContainerKind::Group)] {
        let made = Container::new(container(name), kind, name, all("staff"));
        world.target.create_container(made.id.object.clone());
        world.catalog.put(made);
    }
    if began == Began::Removal {
        let _ = world.settle("sync");
        world.leave("staff", "ada");
    }
    let lost = FaultRule::new(Fault::Timeout(moment))
        .principal(user("ada"))
        .container(container("party").object);
    world.faults.inject(lost.times(2));
    let _ = world.run("sync");
    world.faults.heal();
    assert_eq!(world.end().intents.len(), 1, "the operation is open");
    match moved {
        Moved::Narrowed => world.save(&narrow()),
        Moved::Unlisted => drop(world.catalog.remove(&container("party"))),
    }
    world
}

/// How often somebody was told of something about Ada in the party.
fn told(world: &World) -> usize {
    let about = |text: &str| text.contains("party") && text.contains("ada");
    let delivered = world.notifier.delivered();
    delivered
        .iter()
        .filter(|notification| about(&format!("{notification:?}")))
        .count()
}

#[test]
fn promise_16_an_addition_where_the_job_is_no_more_is_still_ours() {
    for moved in [Moved::Narrowed, Moved::Unlisted] {
        let world = world(Began::Addition, Moment::After, moved);
        let report = world.run("sync");
        assert_eq!(report.recovered.len(), 1, "{moved:?}");
        assert_eq!(world.end().intents, BTreeMap::new(), "{moved:?}");
        let row = world.row("party", "ada").expect("the addition is on record");
        assert_eq!(row.origin, Origin::Ours, "{moved:?}");
        assert!(row.is_claimed_by(&JobId::new("sync").expect("an id")));
        assert_eq!(told(&world), 1, "{moved:?}");
        assert_eq!(
            world.members("party"),
            "ada bob",
            "nothing is done there any more"
        );
    }
}

#[test]
fn an_addition_that_never_came_is_given_up() {
    for moved in [Moved::Narrowed, Moved::Unlisted] {
        let world = world(Began::Addition, Moment::Before, moved);
        let _ = world.run("sync");
        assert_eq!(world.end().intents, BTreeMap::new(), "{moved:?}");
        assert_eq!(world.row("party", "ada"), None, "{moved:?}");
        assert_eq!(told(&world), 0, "{moved:?}");
        assert_eq!(world.members("party"), "bob", "nothing is done there any more");
    }
}

#[test]
fn a_removal_where_the_job_is_no_more_releases_what_is_gone_and_keeps_what_is_there() {
    for moved in [Moved::Narrowed, Moved::Unlisted] {
        let gone = world(Began::Removal, Moment::After, moved);
        let before = told(&gone);
        let _ = gone.run("sync");
        assert_eq!(gone.end().intents, BTreeMap::new(), "{moved:?}");
        assert_eq!(gone.row("party", "ada"), None, "{moved:?}");
        assert_eq!(told(&gone), before + 1, "{moved:?}");

        let kept = world(Began::Removal, Moment::Before, moved);
        let before = (told(&kept), kept.row("party", "ada"));
        let _ = kept.run("sync");
        assert_eq!(kept.end().intents, BTreeMap::new(), "{moved:?}");
        assert_eq!((told(&kept), kept.row("party", "ada")), before, "{moved:?}");
        assert_eq!(kept.members("party"), "ada bob", "{moved:?}");
    }
}

/// What nobody saw stays open, and a run of something else leaves it open.
#[test]
fn what_cannot_be_seen_stays_open() {
    let blind = world(Began::Addition, Moment::After, Moved::Narrowed);
    let unread = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Members);
    blind.faults.inject(unread);
    let _ = blind.run("sync");
    assert_eq!(blind.end().intents.len(), 1);
    blind.faults.heal();
    let _ = blind.run("sync");
    assert_eq!(blind.end().intents.len(), 0);

    let unlisted = world(Began::Addition, Moment::After, Moved::Unlisted);
    let cut = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Containers);
    unlisted.faults.inject(cut);
    let _ = unlisted.run("sync");
    assert_eq!(unlisted.end().intents.len(), 1, "it may still be the job's");
    unlisted.faults.heal();

    let friends = RunRequest::container(container("friends"));
    let _ = unlisted.try_run("sync", friends).expect("a report");
    assert_eq!(unlisted.end().intents.len(), 1, "the run is about something else");
    let _ = unlisted.run("sync");
    assert_eq!(unlisted.end().intents.len(), 0);
}

/// The answer to a new role was lost: the next run finds it, or gives it, and it is told once.
#[test]
fn promise_25_a_role_whose_answer_is_lost_is_told_once() {
    for moment in [Moment::Before, Moment::After] {
        let world = World::builder()
            .capabilities(least_capability())
            .group("staff", "ada")
            .container("team", "staff")
            .job("sync", policy())
            .build();
        let _ = world.settle("sync");
        let team = Container::new(container("team"), ContainerKind::Team, "team", all("staff"));
        world.catalog.put(team.with_role(Role::Manager));
        let lost = FaultRule::new(Fault::Timeout(moment)).on(CallKind::Update);
        world.faults.inject(lost.once());
        assert_eq!(world.run("sync").end, RunEnd::Failed, "{moment:?}");
        let report = world.run("sync");
        assert_eq!(report.end, RunEnd::Changed, "{moment:?}");
        let was_there = moment == Moment::After;
        assert_eq!(report.recovered.len(), usize::from(was_there), "{moment:?}");
        assert_eq!(report.operations.len(), usize::from(!was_there), "{moment:?}");
        assert_eq!(world.run("sync").end, RunEnd::InSync, "{moment:?}");
        assert_eq!(world.members("team"), "ada:manager", "{moment:?}");
        let delivered = world.notifier.delivered().into_iter();
        let updates = delivered.filter(|told| matches!(told.news, News::MemberUpdated { .. }));
        assert_eq!(updates.count(), 1, "{moment:?}");
    }
}

/// Where the target shows single members and records, what became of a lost operation is looked up by the same run.
#[test]
fn promise_16_a_lost_answer_is_looked_up_at_once_where_that_can_be_done() {
    let end = |moment| match moment {
        Moment::After => RunEnd::Changed,
        Moment::Before => RunEnd::Failed,
    };
    for moment in [Moment::After, Moment::Before] {
        for kind in [CallKind::Add, CallKind::Remove, CallKind::Update] {
            let world = World::builder()
                .group("staff", "ada")
                .container("team", "staff")
                .job("sync", policy())
                .build();
            let _ = world.settle("sync");
            let team = Container::new(container("team"), ContainerKind::Team, "team", all("staff"));
            match kind {
                CallKind::Add => world.join("staff", "bob"),
                CallKind::Remove => world.leave("staff", "ada"),
                _ => world.catalog.put(team.with_role(Role::Manager)),
            }
            let lost = FaultRule::new(Fault::Timeout(moment)).on(kind);
            world.faults.inject(lost);
            assert_eq!(world.run("sync").end, end(moment), "{kind} {moment:?}");
        }
        let world = RecordWorld::builder()
            .capabilities(every_capability())
            .staff("")
            .job(RecordWorld::import("import", "south>s"))
            .build();
        world.target.create_collection(container("s").object);
        for (kind, facets) in [
            (CallKind::Create, "general:name=Ada"),
            (CallKind::Update, "general:name=Ada Lovelace"),
        ] {
            let record = contact("south", facets);
            let source = container("south").object;
            world.source.put_by_hand(Some(&source), record);
            let fork = world.fork();
            let lost = FaultRule::new(Fault::Timeout(moment)).on(kind);
            fork.faults.inject(lost);
            assert_eq!(fork.run("import").end, end(moment), "{kind} {moment:?}");
            let _ = world.settle("import");
        }
    }
}

/// A removal that is given up gives its place in the window back.
#[test]
fn a_removal_that_is_given_up_uses_no_quota() {
    let counted = |world: &World| world.snapshot().store.counters.values().sum::<u64>();
    let kept = world(Began::Removal, Moment::Before, Moved::Narrowed);
    let before = counted(&kept);
    let _ = kept.run("sync");
    assert_eq!(counted(&kept) + 1, before);
}

#[test]
fn promise_16_a_record_made_in_an_organisation_off_the_list_is_still_ours() {
    for moment in [Moment::Before, Moment::After] {
        let world = RecordWorld::builder()
            .capabilities(least_capability())
            .staff("")
            .job(RecordWorld::import("import", "north>n south>s"))
            .build();
        for (from, to) in [("north", "n"), ("south", "s")] {
            world.target.create_collection(container(to).object);
            let record = contact(from, "general:name=Ada");
            world.source.put_by_hand(Some(&container(from).object), record);
        }
        let lost = FaultRule::new(Fault::Timeout(moment)).on(CallKind::Create);
        world.faults.inject(lost.container(container("s").object));
        let _ = world.run("import");
        world.faults.heal();
        assert_eq!(world.end().intents.len(), 1, "the operation is open");
        world.save(&RecordWorld::import("import", "north>n"));
        let _ = world.run("import");
        assert_eq!(world.end().intents.len(), 0, "{moment:?}");
        let row = world.row("s", &contact_id("south"));
        let origin = (moment == Moment::After).then_some(Origin::Ours);
        assert_eq!(row.map(|row| row.origin), origin, "{moment:?}");
        let has_base = world
            .end()
            .bases
            .keys()
            .any(|key| key.parts().any(|part| part == "south"));
        assert_eq!(
            has_base,
            moment == Moment::After,
            "what both agreed on goes with it"
        );
    }
}
