//! Reads of changes: that end early, that tell differences, of several directories.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::executor::block_on;
use usersync::connector::{
    CallContext, Cursor, Directory, DirectoryCapabilities, MembershipRead, ReadEvent, ReadStream,
};
use usersync::engine::{Engine, RunControl, RunEnd, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryDirectory, MemoryTarget};
use usersync::model::{
    Container, ContainerKind, ContainerRef, DirectoryChange, GroupKind, PartialKind, PartialReason,
    Principal, PrincipalKind, PrincipalRef, ResourceKind, Selection, SystemId, UnknownMembers,
};
use usersync::reconcile::{Mode, Policy};
use usersync_tests::{
    NettingDirectory, World, all, container, every_capability, free_policy, group, job, user,
};

#[test]
fn promise_09_no_addition_rests_on_the_missing_part_of_a_read_of_changes() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .container("team", "")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.depart("bob");
    world.select("team", "staff");
    world
        .faults
        .inject(FaultRule::new(Fault::Truncated { shown: 0 }).on(CallKind::Directory));
    let _ = world.run("sync");
    assert_eq!(world.members("team"), "", "bob left before this run");
}

/// A run that is told to end while it reads changes has a graph that is neither as at the cursor of before nor as at another one. What was
/// undone before the next run is told by nobody.
#[test]
fn promise_14_a_read_of_changes_that_is_cut_short_is_not_gone_on_from() {
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let directory = NettingDirectory::over(&world.directory);
    let control = RunControl::new();
    let (cancel, armed) = (control.clone(), Arc::new(AtomicBool::new(false)));
    let is_armed = Arc::clone(&armed);
    let cancelling = directory.meanwhile(move || {
        if is_armed.load(Ordering::Relaxed) {
            cancel.cancel();
        }
    });
    let engine = world.engine_reading([Arc::new(cancelling) as Arc<dyn Directory>]);
    let run = |request| block_on(engine.run(&world.tenant, &job("sync"), request)).expect("a run");
    for _ in 0..2 {
        assert!(run(RunRequest::everything()).is_ok());
    }
    assert_eq!(world.members("team"), "ada bob cleo dan");
    world.depart("bob");
    for name in ["cleo", "dan"] {
        let renamed = Principal::new(user(name).object, PrincipalKind::User, "another name");
        world.directory.put(renamed);
    }
    armed.store(true, Ordering::Relaxed);
    let report = run(RunRequest::everything().controlled_by(control));
    assert_eq!(report.end, RunEnd::Cancelled);
    armed.store(false, Ordering::Relaxed);
    world.put_user("bob");
    world.join("staff", "bob");
    assert_eq!(run(RunRequest::everything()).end, RunEnd::InSync);
    assert_eq!(world.members("team"), "ada bob cleo dan");
}

/// A mailbox that is made a room under the same id is no contradiction for longer than until everything was read.
#[test]
fn a_principal_that_turns_into_something_else_holds_nobody_for_good() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    let room = PrincipalKind::Resource(ResourceKind::Room);
    world
        .directory
        .put(Principal::new(user("cleo").object, room, "Cleo's room"));
    let _ = world.run("sync");
    world.leave("staff", "bob");
    let fork = world.fork();
    let _ = fork.settle("sync");
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), fork.members("team"));
    assert!(!world.members("team").contains("bob"));
}

/// Who is away from the directory of people stays in the groups of another system, which names them: as a read of everything has it.
#[test]
fn promise_07_one_directory_ends_no_membership_that_another_one_tells() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .add_container(Container::new(
            container("team"),
            ContainerKind::Team,
            "team",
            Selection::of([PrincipalRef::parse("app", "crew").expect("an id")]),
        ))
        .build();
    let app = MemoryDirectory::new(SystemId::new("app").expect("an id")).with_changes();
    let crew = user("crew").object;
    app.put(Principal::new(
        crew.clone(),
        PrincipalKind::Group(GroupKind::UserGroup),
        "crew",
    ));
    for who in ["ada", "bob"] {
        app.add_member(&crew, &user(who));
    }
    let policy = Policy {
        grace_hours: Some(48),
        ..free_policy(Mode::Managed)
    };
    let mut job = World::new_job("sync", policy);
    job.sources.insert(app.system().clone());
    let engine = || {
        world.engine_reading([
            Arc::new(world.directory.clone()) as Arc<dyn Directory>,
            Arc::new(app.clone()),
        ])
    };
    let warm = engine();
    block_on(warm.save_job(&job)).expect("the job can be saved");
    let run = |engine: &Engine| {
        let run = engine.run(&world.tenant, &job.id, RunRequest::everything());
        block_on(run).expect("a run")
    };
    assert!(run(&warm).is_ok());
    assert_eq!(world.members("team"), "ada bob");
    world.depart("bob");
    let planned = |engine: &Engine| {
        let preview = engine.preview(&world.tenant, &job.id, &Scope::Everything);
        block_on(preview).expect("a preview").plan().digest()
    };
    let cold = planned(&engine());
    let away = run(&warm);
    assert_eq!(away.plan.expect("a plan").digest(), cold);
    world.put_user("bob");
    let back = run(&warm);
    assert!(back.operations.is_empty(), "{:?}", back.operations);
    assert_eq!(world.members("team"), "ada bob");
}

/// Who left is named by no container that the plan fills: a preview, which reads everything, warns of as much.
#[test]
fn promise_07_who_left_is_no_unknown_member_of_a_container() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .container("crew", "staff")
        .container("event", "@crew")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.depart("bob");
    let preview = world.plan("sync");
    let run = world.run("sync").plan.expect("a plan");
    assert_eq!(run.header().warnings, preview.header().warnings);
    assert_eq!(run.digest(), preview.digest());
}

/// The same of what a group of the directory names at the target: nobody reads that as a directory.
#[test]
fn promise_07_what_a_group_names_elsewhere_is_no_unknown_member() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let gone = container("gone").as_principal();
    world.directory.add_member(&group("staff").object, &gone);
    let _ = world.settle("sync");
    world.join("staff", "bob");
    let preview = world.plan("sync");
    let run = world.run("sync").plan.expect("a plan");
    assert_eq!(run.header().warnings, preview.header().warnings);
    assert_eq!(run.digest(), preview.digest());
}

/// A directory that keeps track of the groups that it shows in part, and may not show `hidden` at all from some time on.
#[derive(Debug)]
struct Tracking {
    inner: MemoryDirectory,
    hides: Arc<AtomicBool>,
}

impl Directory for Tracking {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            tracks_partial: true,
            ..self.inner.capabilities()
        }
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let hides = self.hides.load(Ordering::Relaxed);
        let named = move |event| match event {
            ReadEvent::End(mut end) if hides => {
                let reason = PartialReason::new(PartialKind::Unreadable, "no right to read it");
                end.partial.push((group("hidden").object, reason));
                ReadEvent::End(end)
            }
            event => event,
        };
        let events = self.inner.read(since, context);
        events.map(move |event| event.map(named)).boxed()
    }
}

/// That a group is partial is all that anybody told of it: those who are selected by it may be in it.
#[test]
fn promise_07_a_group_that_is_told_to_be_partial_and_nothing_else_is_a_group() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let hides = Arc::new(AtomicBool::new(false));
    let directory = Tracking {
        inner: world.directory.clone(),
        hides: Arc::clone(&hides),
    };
    let engine = world.engine_reading([Arc::new(directory) as Arc<dyn Directory>]);
    let sync = job("sync");
    let run = || {
        let run = engine.run(&world.tenant, &sync, RunRequest::everything());
        block_on(run).expect("a run")
    };
    for _ in 0..2 {
        assert!(run().is_ok());
    }
    hides.store(true, Ordering::Relaxed);
    world.select("team", "hidden");
    let preview = engine.preview(&world.tenant, &sync, &Scope::Everything);
    let cold = block_on(preview).expect("a preview").plan().digest();
    let report = run();
    assert_eq!(report.plan.expect("a plan").digest(), cold);
    assert_eq!(world.members("team"), "ada");
}

/// A target that the job had before is not one that it read: what a group names there may be anything.
#[test]
fn promise_07_the_target_of_before_is_not_known_any_more() {
    let other = |name| ContainerRef::parse("other", name).expect("an id");
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .add_container(Container::new(
            other("team"),
            ContainerKind::Team,
            "team",
            all("staff"),
        ))
        .container("zone", "")
        .build();
    let target = MemoryTarget::new(other("team").system, every_capability());
    target.create_container(other("team").object);
    let named = container("gone").as_principal();
    world.directory.add_member(&group("staff").object, &named);
    let engine = Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .target(Arc::new(world.target.clone()))
    .target(Arc::new(target.clone()))
    .build();
    let mut job = World::new_job("sync", free_policy(Mode::Managed));
    job.resolve.unknown_members = UnknownMembers::Ignore;
    let mut run = |system: &SystemId| {
        job.target = system.clone();
        block_on(engine.save_job(&job)).expect("the job can be saved");
        for _ in 0..3 {
            let run = engine.run(&world.tenant, &job.id, RunRequest::everything());
            block_on(run).expect("a run");
        }
    };
    run(target.system());
    run(&world.target_system());
    world.leave("staff", "ada");
    run(target.system());
    let members = target.members_of(&other("team").object).expect("the team");
    assert_eq!(
        members.len(),
        1,
        "who is in what the staff names there is not known"
    );
}
