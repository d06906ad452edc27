//! Jobs that copy a group of contacts to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::News;
use usersync::engine::{Engine, JobKind, PausedBy, RunEnd, RunRequest, Scope, Trigger};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryCatalog, MemoryRecords};
use usersync::model::{ContainerRef, Origin, PartialKind, Principal, PrincipalKind, SystemId};
use usersync::store::Table;
use usersync_tests::edit::cases;
use usersync_tests::records::edit::{edits, staff};
use usersync_tests::records::{RecordWorld, contact, contact_id, contents, distributed, own};
use usersync_tests::{all, container, every_capability, user};

/// Two contacts, three destinations.
fn world() -> RecordWorld {
    let world = RecordWorld::builder()
        .staff("ada bob cleo")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One;addresses:mail={one@example.com}");
    world.put_contact("c2", "general:name=Two");
    world
}

#[test]
fn everybody_gets_a_copy_of_every_contact() {
    let world = world();
    let report = world.run("share");
    assert_eq!(report.end, RunEnd::Changed);
    assert_eq!(report.operations.len(), 6);
    for who in ["ada", "bob", "cleo"] {
        assert_eq!(world.names(who), "c1=One c2=Two");
    }
}

/// What is imported into a panel and copied from there to everybody takes one round of all jobs, whatever they are called.
#[test]
fn what_is_imported_first_is_copied_in_the_same_round() {
    let world = RecordWorld::builder().staff("ada bob").build();
    let panel = SystemId::new("panel").expect("an id");
    let mut copies = RecordWorld::distribution("a", "staff");
    let JobKind::Records(records) = &mut copies.kind else {
        unreachable!("it copies records")
    };
    records.from = panel.clone();
    let mut import = RecordWorld::import("import", "sales>sales");
    import.target = panel.clone();
    world.put_contact("c1", "general:name=One");
    let panel = MemoryRecords::new(panel, every_capability());
    panel.create_collection(container("sales").object);
    let engine = Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(MemoryCatalog::default()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .record_source(Arc::new(world.source.clone()))
    .record_target(Arc::new(panel))
    .record_target(Arc::new(world.target.clone()))
    .build();
    for job in [&copies, &import] {
        block_on(engine.save_job(job)).expect("jobs can be saved");
    }
    let ran = block_on(engine.run_all(&world.tenant, Trigger::Manual)).expect("jobs can be read");
    let ends: Vec<_> = ran
        .into_iter()
        .map(|(job, report)| (job.to_string(), report.expect("the run comes to a report").end))
        .collect();
    let changed = |name: &str| (name.to_owned(), RunEnd::Changed);
    assert_eq!(ends, ["import", "a"].map(changed));
    for who in ["ada", "bob"] {
        assert_eq!(world.names(who), "c1=One");
    }
    let agenda = block_on(engine.agenda(&world.tenant)).expect("jobs can be read");
    let reads: Vec<String> = agenda
        .iter()
        .map(|entry| {
            entry
                .sources
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(reads, ["book", "hr panel"]);
}

/// After one run, the next one reads the source once, asks each destination for changes, and reads nothing of the ledger.
#[test]
fn a_run_without_changes_costs_one_read_of_the_source_and_nothing_per_contact() {
    let world = world();
    assert_eq!(world.run("share").end, RunEnd::Changed);
    let before = world.store.snapshot(&world.tenant);
    world.calls.clear();
    assert_eq!(world.run("share").end, RunEnd::InSync);
    assert_eq!(world.calls.effects(), 0);
    assert_eq!(world.calls.count(CallKind::Ledger), 0, "no ledger row is read");
    assert_eq!(
        world.calls.count(CallKind::Records),
        1 + 3,
        "the source, and the changes of each destination"
    );
    let mut after = world.store.snapshot(&world.tenant);
    after
        .values
        .insert(Table::Run, before.values[&Table::Run].clone());
    assert_eq!(
        after.values, before.values,
        "nothing but how the run went is written"
    );
    assert_eq!(after.ledger, before.ledger);
}

#[test]
fn what_people_do_to_copies_is_undone_and_told_as_such() {
    let world = world();
    let _ = world.run("share");
    world.put_by_hand(
        "ada",
        contact("c1", "general:name=Mine;addresses:mail={one@example.com}"),
    );
    world.drop_by_hand("bob", &contact_id("c2"));
    world.put_contact("c2", "general:name=Two Two");
    assert_eq!(
        RecordWorld::told(&world.plan("share")),
        [
            "change overwritten book:c1@ada",
            "change changed book:c2@ada",
            "create restored book:c2@bob",
            "change changed book:c2@cleo"
        ]
    );
    assert_eq!(world.run("share").end, RunEnd::Changed);
    for who in ["ada", "bob", "cleo"] {
        assert_eq!(world.names(who), "c1=One c2=Two Two");
    }
    assert_eq!(world.run("share").end, RunEnd::InSync);
}

/// A record of the destination's own stays, whatever it is called.
#[test]
fn what_is_ones_own_is_never_touched() {
    let world = world();
    world.put_by_hand(
        "ada",
        own("c1", "general:name=One;addresses:mail={one@example.com}"),
    );
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=One c2=Two c1=One");
    world.drop_contact("c1");
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c2=Two c1=One");
    world.leave("staff", "ada");
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=One");
}

/// Who leaves the destinations loses the copies; with the last one, that waits for a person.
#[test]
fn who_leaves_loses_the_copies() {
    let world = world();
    world.save(&RecordWorld::guarded(RecordWorld::distribution("share", "staff")));
    let _ = world.settle("share");
    let _ = world.settle("share");
    world.leave("staff", "bob");
    let report = world.run("share");
    assert_eq!((report.end, report.operations.len()), (RunEnd::Changed, 2));
    assert_eq!(world.names("bob"), "");
    for who in ["ada", "cleo"] {
        world.leave("staff", who);
    }
    let report = world.settle("share");
    assert_eq!(report.end, RunEnd::Held);
    assert_eq!(world.names("ada"), "c1=One c2=Two");
    let plan = report.plan.expect("a plan");
    assert!(
        plan.sections()
            .iter()
            .flat_map(|section| &section.holds)
            .all(|hold| hold.cause.code() == "container_emptied")
    );
    world.approve("share", plan.held_digest().expect("something waits"));
    assert_eq!(world.run("share").end, RunEnd::Changed);
    assert_eq!(world.names("ada"), "");
    assert_eq!(world.settle("share").end, RunEnd::InSync);
}

/// Nothing hangs on names: not the source user's, not the group's, not the destination's.
#[test]
fn promise_19_renames_write_nothing() {
    let world = world();
    let _ = world.settle("share");
    for who in ["ada", "seller"] {
        world.directory.put(Principal::new(
            user(who).object,
            PrincipalKind::User,
            "Somebody New",
        ));
    }
    world.calls.clear();
    assert_eq!(world.run("share").end, RunEnd::InSync);
    assert_eq!(world.calls.effects(), 0);
    // Another address of the contact is a change of it.
    world.put_contact("c1", "general:name=One;addresses:mail={new@example.com}");
    let plan = world.plan("share");
    assert_eq!(plan.summary().updates, 3);
    assert_eq!(plan.summary().operations(), 3);
}

/// When the group or its user is gone, the job stops and says so once; copies stay, and come to life when it is back.
#[test]
fn a_source_that_is_gone_pauses_the_job() {
    for user_goes in [true, false] {
        let world = world();
        let _ = world.settle("share");
        let before = contents(&world);
        if user_goes {
            world.directory.remove(&user("seller").object);
        } else {
            world.source.remove_collection(&container("sales").object);
        }
        for _ in 0..2 {
            let report = world.run("share");
            assert_eq!(
                (report.end, report.paused),
                (RunEnd::Paused, Some(PausedBy::SourceGone))
            );
        }
        assert_eq!(contents(&world), before);
        let told = world.notifier.delivered();
        let paused = told.iter().filter(
            |told| matches!(&told.news, News::JobPaused { reason } if reason == PausedBy::SourceGone.code()),
        );
        assert_eq!(paused.count(), 1);
        world.put_user("seller");
        world.put_contact("c1", "general:name=New");
        let _ = world.settle("share");
        assert!(world.names("ada").starts_with("c1=New"));
    }
}

/// The selection is resolved anew at each run, and the source user is no destination.
#[test]
fn destinations_follow_the_selection() {
    let world = world();
    world.target.create_collection(user("seller").object);
    world.save(&RecordWorld::distribution("share", "staff seller -bob"));
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=One c2=Two");
    assert_eq!(world.names("bob"), "");
    assert_eq!(world.names("seller"), "");
    world.target.create_collection(user("dan").object);
    world.join("staff", "dan");
    let _ = world.settle("share");
    assert_eq!(world.names("dan"), "c1=One c2=Two");
    let preview = world.planned("share", &Scope::Everything);
    let why = preview
        .explain(&container("dan"), &user("dan"))
        .expect("an answer");
    assert!(why.selected.is_some());
    let why = preview
        .explain(&container("bob"), &user("bob"))
        .expect("an answer");
    assert!(why.selected.is_none() && !why.absent.is_empty());
    assert_eq!(
        why.to_string(),
        "gets no copies\nnot selected: excluded: bob (user)",
        "of a copy"
    );
    // Whose they are is no destination, although selected.
    let seller = preview
        .explain(&container("seller"), &user("seller"))
        .expect("an answer");
    assert_eq!((seller.selected.is_some(), &seller.absent[..]), (false, &[][..]));
    assert_eq!(
        seller.to_string(),
        "gets no copies: what is copied is the principal's own"
    );
    let elsewhere = ContainerRef::parse("elsewhere", "dan").expect("an id");
    assert_eq!(preview.explain(&elsewhere, &user("dan")), None);
}

/// A mailbox that is gone for now is told of, and filled when it is back.
#[test]
fn a_destination_without_a_collection_is_told_of() {
    let world = world();
    world.target.remove_collection(&container("bob").object);
    let report = world.run("share");
    assert_eq!(report.operations.len(), 4);
    let plan = report.plan.expect("a plan");
    assert_eq!(plan.header().warnings[0].code(), "missing_container");
    world.target.create_collection(container("bob").object);
    let _ = world.settle("share");
    assert_eq!(world.names("bob"), "c1=One c2=Two");
}

#[test]
fn one_destination_can_be_run_alone_and_exactly_as_reviewed() {
    let world = world();
    let report = world
        .try_run("share", RunRequest::container(container("bob")))
        .expect("a report");
    assert_eq!(report.operations.len(), 2);
    assert_eq!(
        (world.names("ada").as_str(), world.names("bob").as_str()),
        ("", "c1=One c2=Two")
    );
    let plan = world.plan("share");
    let report = world
        .try_run("share", RunRequest::everything().exactly(plan.clone()))
        .expect("it is current");
    assert_eq!(report.plan.expect("a plan").digest(), plan.digest());
    assert!(
        world
            .try_run("share", RunRequest::everything().exactly(plan))
            .is_err(),
        "used"
    );
}

/// Two jobs of the same contacts: what one still wants, the other does not take away.
#[test]
fn two_jobs_share_their_copies() {
    let world = world();
    world.save(&RecordWorld::distribution("more", "ada bob"));
    let _ = world.settle("share");
    let _ = world.settle("more");
    world.leave("staff", "ada");
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=One c2=Two");
    let row = world.row("ada", &contact_id("c1")).expect("a row");
    assert_eq!((row.origin, row.claims().len()), (Origin::Ours, 1));
    world.save(&RecordWorld::distribution("more", "bob"));
    let _ = world.settle("more");
    assert_eq!(world.names("ada"), "");
}

/// A directory or a source read in part takes nothing from anybody.
#[test]
fn promise_09_what_is_read_in_part_takes_nothing() {
    for (kind, shown) in [
        (CallKind::Directory, 0),
        (CallKind::Directory, 2),
        (CallKind::Records, 0),
        (CallKind::Records, 1),
    ] {
        let world = world();
        let _ = world.settle("share");
        let before = contents(&world);
        world.faults.inject(
            FaultRule::new(Fault::Partial {
                shown,
                kind: PartialKind::Unreadable,
            })
            .on(kind),
        );
        for _ in 0..2 {
            let report = world.run("share");
            assert!(report.operations.is_empty(), "{kind:?} {shown}: {report}");
        }
        assert_eq!(contents(&world), before, "{kind:?} {shown}");
        world.faults.heal();
        assert_eq!(world.settle("share").end, RunEnd::InSync);
    }
}

proptest! {
    #![proptest_config(cases(96))]

    /// Whatever people do, the copies end as the model says, the next run has nothing to do, and what is remembered of
    /// destinations tells nothing else than reading everything.
    #[test]
    fn promise_02_copies_are_as_the_model_says(rounds in proptest::collection::vec(edits(8), 1..4), changes in any::<bool>()) {
        let mut builder = RecordWorld::builder().staff(&staff()).job(RecordWorld::distribution("share", "staff -u3 u3"));
        if !changes {
            builder = builder.without_changes();
        }
        let world = builder.build();
        let to = all("staff -u3 u3");
        for round in rounds {
            world.edit(&round);
            let expected = distributed(&world, "share", &to);
            let plan = world.plan("share");
            let thorough = world.fork();
            thorough.target.expire_cursors();
            prop_assert_eq!(plan.digest(), thorough.plan("share").digest(), "a quick look sees the same");
            let report = world.run("share");
            prop_assert!(report.is_ok(), "{}", report);
            let nothing: BTreeMap<_, _> = BTreeMap::new();
            for (collection, records) in contents(&world) {
                prop_assert_eq!(&records, expected.get(&collection).unwrap_or(&nothing), "{}", collection);
            }
            let again = world.plan("share");
            prop_assert_eq!(again.summary().operations(), 0, "{:?}", RecordWorld::told(&again));
        }
    }
}
