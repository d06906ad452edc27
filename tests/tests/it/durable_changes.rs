//! Reading what changed, by processes that come and go over one file: each continues only from a graph that it still has.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{CallContext, Cursor, Directory, DirectoryCapabilities, ReadEvent, ReadStream};
use usersync::engine::{Engine, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryDirectory};
use usersync::model::{DirectoryChange, ObjectId, PartialKind, PartialReason, SystemId};
use usersync::reconcile::{Drift, Mode};
use usersync_tests::edit::{cases, edits};
use usersync_tests::{DurableStore, Model, World, WorldStore, free_policy, group, job};

/// A directory that notes of each read whether it was to continue from a cursor.
#[derive(Clone, Debug)]
struct Watched {
    inner: MemoryDirectory,
    continued: Arc<Mutex<Vec<bool>>>,
}

impl Watched {
    fn new(inner: &MemoryDirectory) -> Self {
        Self {
            inner: inner.clone(),
            continued: Arc::default(),
        }
    }

    /// The reads since the last look: `full` or `changes`.
    fn reads(&self) -> String {
        let reads = std::mem::take(&mut *self.continued.lock().expect("nobody panics"));
        let show = |continued| if continued { "changes" } else { "full" };
        reads.into_iter().map(show).collect::<Vec<_>>().join(" ")
    }
}

impl Directory for Watched {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.inner.capabilities()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let mut reads = self.continued.lock().expect("nobody panics");
        reads.push(since.is_some());
        self.inner.read(since, context)
    }
}

/// A directory that says of some groups that it cannot show all of them, in every read, and so keeps track of them.
#[derive(Clone, Debug)]
struct Veiled {
    watched: Watched,
    veiled: Arc<Mutex<BTreeSet<ObjectId>>>,
}

impl Directory for Veiled {
    fn system(&self) -> &SystemId {
        self.watched.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        let mut capabilities = self.watched.capabilities();
        capabilities.tracks_partial = true;
        capabilities
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let veiled = self.veiled.lock().expect("nobody panics").clone();
        let events = self.watched.read(since, context);
        events
            .map(move |event| match event {
                Ok(ReadEvent::End(mut end)) => {
                    let reason = || PartialReason::new(PartialKind::Unreadable, "veiled");
                    end.partial = veiled.iter().map(|group| (group.clone(), reason())).collect();
                    Ok(ReadEvent::End(end))
                }
                event => event,
            })
            .boxed()
    }
}

/// A process of its own.
fn process(world: &World<DurableStore>, directory: &Watched, name: &str) -> Engine {
    let mut store = world.store.clone();
    store.reopen();
    world.plain_engine(Arc::new(store), Arc::new(directory.clone()), name)
}

fn run(world: &World<DurableStore>, engine: &Engine) -> RunEnd {
    let id = job("sync");
    let run = engine.run(&world.tenant, &id, RunRequest::everything());
    block_on(run).expect("the run comes to a report").end
}

fn world() -> World<DurableStore> {
    World::builder()
        .with_changes()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build_over(DurableStore::in_file)
}

/// Whoever keeps track of partial groups is not read in full because of them. What depends on them is held, and nothing else is;
/// and once they are whole, what was held follows.
#[test]
fn promise_09_a_partial_group_that_is_kept_track_of_holds_its_own_and_leaves_reads_small() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .group("crew", "cyd dan")
        .container("team", "staff")
        .container("boat", "crew")
        .job("sync", free_policy(Mode::Managed))
        .build_over(DurableStore::in_file);
    let watched = Watched::new(&world.directory);
    let veiled = Arc::new(Mutex::new(BTreeSet::from([group("crew").object])));
    let directory = Veiled {
        watched: watched.clone(),
        veiled: Arc::clone(&veiled),
    };
    let engine = world.plain_engine(Arc::new(world.store.clone()), Arc::new(directory), "one");
    let members = || format!("{} | {}", world.members("team"), world.members("boat"));
    assert_eq!(run(&world, &engine), RunEnd::Changed);
    assert_eq!(
        (members().as_str(), watched.reads().as_str()),
        ("ada bob | cyd dan", "full")
    );
    world.leave("crew", "cyd");
    world.leave("staff", "ada");
    let _ = run(&world, &engine);
    assert_eq!(
        (members().as_str(), watched.reads().as_str()),
        ("bob | cyd dan", "changes")
    );
    world.join("crew", "eve");
    let _ = run(&world, &engine);
    assert_eq!(
        (members().as_str(), watched.reads().as_str()),
        ("bob | cyd dan eve", "changes")
    );
    veiled.lock().expect("nobody panics").clear();
    let _ = run(&world, &engine);
    assert_eq!(
        (members().as_str(), watched.reads().as_str()),
        ("bob | dan eve", "changes")
    );
    // And partial again, from a read of changes on.
    veiled
        .lock()
        .expect("nobody panics")
        .insert(group("staff").object);
    world.leave("staff", "bob");
    let _ = run(&world, &engine);
    assert_eq!(
        (members().as_str(), watched.reads().as_str()),
        ("bob | dan eve", "changes")
    );
}

/// The cursor is in the file, and the graph that it continues is gone with the process: everything is read, and who left meanwhile goes.
#[test]
fn a_new_process_reads_everything_and_removes_who_left() {
    let world = world();
    let directory = Watched::new(&world.directory);
    let engine = process(&world, &directory, "one");
    assert_eq!(run(&world, &engine), RunEnd::Changed);
    world.leave("staff", "ada");
    assert_eq!(run(&world, &engine), RunEnd::Changed);
    assert_eq!(directory.reads(), "full changes");
    drop(engine);
    world.leave("staff", "bob");
    world.join("staff", "dan");
    let engine = process(&world, &directory, "two");
    assert_eq!(run(&world, &engine), RunEnd::Changed);
    assert_eq!(
        (&*world.members("team"), &*directory.reads()),
        ("cleo dan", "full")
    );
    world.depart("cleo");
    assert_eq!(run(&world, &engine), RunEnd::Changed);
    assert_eq!((&*world.members("team"), &*directory.reads()), ("dan", "changes"));
}

/// A process that reads everything and is not shown everything removes nobody, though the file has a cursor that could be continued.
#[test]
fn promise_09_a_new_process_removes_nobody_by_a_read_in_part() {
    for shown in 0..6 {
        let mut world = world();
        let _ = world.settle("sync");
        world.leave("staff", "ada");
        let _ = world.settle("sync");
        world.restart();
        world.leave("staff", "bob");
        let cut = FaultRule::new(Fault::Truncated { shown }).on(CallKind::Directory);
        world.faults.inject(cut);
        let _ = world.run("sync");
        assert_eq!(world.members("team"), "bob cleo", "{shown} shown");
        // Nor does the one after it, which has no graph either.
        world.restart();
        let _ = world.run("sync");
        assert_eq!(world.members("team"), "bob cleo", "{shown} shown");
        world.faults.heal();
        world.restart();
        let _ = world.run("sync");
        assert_eq!(world.members("team"), "cleo", "{shown} shown");
    }
}

/// Two processes that take turns: the graph of each is older than the cursor in the file as soon as the other ran.
#[test]
fn a_process_does_not_continue_what_another_began() {
    let world = world();
    let directory = Watched::new(&world.directory);
    let [one, two] = ["one", "two"].map(|name| process(&world, &directory, name));
    let mut expected = vec!["ada", "bob", "cleo"];
    for (n, who) in ["dan", "eve", "fay", "gus"].into_iter().enumerate() {
        let (first, second) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        world.join("staff", who);
        expected.push(who);
        assert_eq!(run(&world, first), RunEnd::Changed);
        assert_eq!(world.members("team"), expected.join(" "));
        world.leave("staff", expected.remove(0));
        assert_eq!(run(&world, second), RunEnd::Changed);
        assert_eq!(world.members("team"), expected.join(" "));
        let reads = directory.reads();
        // Only who ran last, at the end of the round before, continues.
        assert_eq!(
            reads,
            if n == 0 { "full full" } else { "changes full" },
            "round {n}"
        );
        let _ = run(&world, second);
        assert_eq!(directory.reads(), "changes");
    }
}

proptest! {
    #![proptest_config(cases(32))]

    /// Whoever runs, however often, old or new: every run ends where the definitions say it has to.
    #[test]
    fn processes_that_take_turns_end_as_the_definitions_say(
        mode in usersync_tests::edit::mode(),
        before in edits(10),
        turns in proptest::collection::vec((edits(5), 0..3_usize, any::<bool>()), 1..12),
    ) {
        let world = usersync_tests::edit::world()
            .with_changes()
            .job("sync", free_policy(mode))
            .build_over(DurableStore::in_file);
        world.edit(&before);
        let directory = Watched::new(&world.directory);
        let mut engines: Vec<_> = ["one", "two", "three"].map(|name| process(&world, &directory, name)).into();
        for (edits, who, is_new) in turns {
            world.edit(&edits);
            if is_new {
                engines[who] = process(&world, &directory, "new");
            }
            let model = Model::of(&world, "sync", mode, Drift::Restore);
            let _ = run(&world, &engines[who]);
            prop_assert_eq!(world.present(), model.after);
            prop_assert_eq!(world.claims(), model.ledger);
            prop_assert!(!is_new || directory.reads() == "full");
            let _ = directory.reads();
        }
        world.store.assert_sound();
    }
}
