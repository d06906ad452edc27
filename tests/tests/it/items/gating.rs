//! Which links and kinds are worked on.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ActorState, Authority};
use usersync::engine::{ByHand, Chosen, ItemRequest, Job, RunControl, RunEnd};
use usersync::memory::{CallKind, FaultRule, MemoryAccounts};
use usersync::model::{ItemKind, LinkOptions, Rank, RankSet};
use usersync::reconcile::{Mode, Policy};
use usersync::store::Table;
use usersync_tests::{job, tenant, user};

use crate::items::{
    EVERY, GENEROUS, Home, SIDES, Where, account, card, collection, context, lines, object, principal, system,
};

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:e\r\nSUMMARY:Meet\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const TASK: &str =
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTODO\r\nUID:t\r\nSUMMARY:Do\r\nEND:VTODO\r\nEND:VCALENDAR\r\n";

fn options(home: &Home, options: LinkOptions) {
    block_on(home.links().save_options(&context(), &[(principal(0), options)])).unwrap();
}

fn bases(home: &Home) -> usize {
    let snapshot = home.store.snapshot(&tenant());
    snapshot.values.get(&Table::Base).map_or(0, |values| values.len())
}

#[test]
fn an_option_that_is_off_leaves_its_kind_alone() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(Where::Crm, "e", EVENT);
        home.put(Where::Crm, "t", TASK);
        home.put(Where::Crm, "c", &card("c", &[("FN", "Ada")]));
        home.settle();
        assert_eq!(bases(&home), 3);
        options(
            &home,
            LinkOptions {
                diary: false,
                ..LinkOptions::default()
            },
        );
        home.put(Where::Crm, "e", &EVENT.replace("Meet", "Greet"));
        home.put(Where::Crm, "t", &TASK.replace("Do", "Done"));
        home.calls.clear();
        assert_eq!(lines(&home.run()), ["change t on mail (SUMMARY): done"]);
        // Nothing is read of it either: two kinds on two sides, twice at most.
        assert!(home.calls.count(CallKind::Items) <= 8);
        assert!(home.texts(Where::Mail, ItemKind::Diary)[0].contains("Meet"));
        assert_eq!(bases(&home), 3);
        options(&home, LinkOptions::default());
        assert_eq!(
            lines(&home.settle()),
            ["change e on mail (SUMMARY): done"],
            "{offers:?}"
        );
    }
}

#[test]
fn a_removed_link_leaves_both_sides_as_they_are() {
    for offers in EVERY {
        let home = Home::new(2, offers);
        for person in 0..2 {
            home.crm.put_by_hand(
                &collection(Where::Crm, person, ItemKind::Contact),
                object("c"),
                card("c", &[("FN", "Ada")]).as_bytes(),
            );
        }
        home.settle();
        assert_eq!(bases(&home), 2);
        block_on(home.links().remove(&context(), &Chosen::of([principal(0)]))).unwrap();
        home.edit(Where::Crm, "c", &[("TEL", "1")]);
        let before = (home.crm.snapshot(), home.mail.snapshot());
        let report = home.run();
        assert_eq!((report.forgotten, report.end), (1, RunEnd::InSync), "{offers:?}");
        assert_eq!((home.crm.snapshot(), home.mail.snapshot()), before);
        assert_eq!(bases(&home), 1);
        assert_eq!(home.run().forgotten, 0);
        // Linked anew, both sides meet as if for the first time.
        home.link(0, 0);
        home.settle();
        assert_eq!(home.cards(Where::Mail)["c"]["TEL"], "1");
    }
}

#[test]
fn only_active_links_of_the_ranks_are_worked_on() {
    let mut home = Home::new(1, GENEROUS);
    home.put(Where::Crm, "c", &card("c", &[("FN", "Ada")]));
    let chosen = Chosen::of([principal(0)]);
    block_on(home.links().set_rank(&context(), &chosen, Rank(3))).unwrap();
    home.items = home.items.clone().with_ranks(RankSet::of([Rank(0)]));
    assert_eq!(home.run().pairs.len(), 0);
    home.items = home.items.clone().with_ranks(RankSet::of([Rank(3)]));
    block_on(home.links().suspend(&context(), &chosen)).unwrap();
    assert_eq!(home.run().pairs.len(), 0);
    block_on(home.links().resume(&context(), &chosen)).unwrap();
    assert_eq!(lines(&home.run()), ["create c on mail: done"]);
}

/// A link with an account of a third system is none of the job's, and its account none of the second system.
#[test]
fn only_links_between_the_two_systems_are_worked_on() {
    let home = Home::new(1, GENEROUS);
    let before = home.settle().pairs.len();
    let other = MemoryAccounts::new(system("other")).with_vouched_addresses();
    other.put(account("b0"));
    let links = home.links_to(&other);
    let pair = ByHand::new(object("p0"), object("b0"));
    block_on(links.stage_by_hand(&context(), &pair)).unwrap();
    let chosen = Chosen::of([principal(0)]);
    let saved = block_on(links.save_added(&context(), &chosen)).unwrap();
    assert_eq!(saved.count("saved"), 1);
    let report = home.run();
    assert_eq!((report.pairs.len(), report.skipped.len()), (before, 0));
}

#[test]
fn promise_10_an_emptied_collection_waits_for_an_approval() {
    for offers in EVERY {
        let mut home = Home::new(1, offers);
        home.policy = Policy::default();
        for n in 0..3 {
            home.put(
                Where::Crm,
                &format!("{n}"),
                &card(&format!("{n}"), &[("FN", "Ada")]),
            );
        }
        home.settle();
        for n in 0..3 {
            home.remove(Where::Crm, &format!("{n}"));
        }
        let report = home.run();
        assert_eq!(report.end, RunEnd::Held);
        assert_eq!(home.cards(Where::Mail).len(), 3, "{offers:?}");
        let pair = report.pairs.iter().find(|pair| !pair.holds.is_empty()).unwrap();
        assert_eq!(pair.holds[0].cause.code(), "container_emptied");
        let approved = ItemRequest::new().approving(pair.held.unwrap());
        assert_eq!(home.run_as(&approved).operations().count(), 3);
        assert_eq!(home.cards(Where::Mail).len(), 0);
        home.is_still();
        assert_eq!(bases(&home), 0);
    }
}

/// What is new by now is no reason to let go what a guard held before.
#[test]
fn promise_10_what_a_guard_of_items_held_waits_although_there_is_more_by_now() {
    for offers in EVERY {
        let mut home = Home::new(1, offers);
        home.policy = Policy::default();
        for n in 0..8 {
            let uid = n.to_string();
            home.put(Where::Crm, &uid, &card(&uid, &[("FN", "Ada")]));
        }
        home.settle();
        for n in 0..8 {
            home.remove(Where::Crm, &n.to_string());
        }
        assert_eq!(home.run().end, RunEnd::Held);
        home.put(Where::Crm, "new", &card("new", &[("FN", "Bea")]));
        for _ in 0..2 {
            let report = home.run();
            let pair = report.pairs.iter().find(|pair| !pair.holds.is_empty()).unwrap();
            assert_eq!(pair.holds.len(), 8, "{offers:?}");
            assert_eq!(home.cards(Where::Mail).len(), 9, "{offers:?}");
        }
        // Who is back again waits no more, and the others do.
        home.put(Where::Crm, "0", &card("0", &[("FN", "Ada")]));
        let report = home.run();
        let pair = report.pairs.iter().find(|pair| !pair.holds.is_empty()).unwrap();
        assert_eq!(pair.holds.len(), 7, "{offers:?}");
        home.run_as(&ItemRequest::new().approving(pair.held.unwrap()));
        assert_eq!(home.cards(Where::Mail).len(), 2, "{offers:?}");
        home.is_still();
        // Nothing waits any more, so that the guard looks at what there is.
        home.remove(Where::Crm, "0");
        home.settle();
        assert_eq!(home.cards(Where::Mail).len(), 1, "{offers:?}");
    }
}

/// The rounds of a run see what the ones before them made.
#[test]
fn promise_10_what_a_run_of_items_adds_makes_no_room_for_what_it_holds() {
    for offers in EVERY {
        let mut home = Home::new(1, offers);
        home.policy = Policy::default();
        let uids = |from: usize, to: usize| (from..to).map(|n| format!("{n:03}"));
        for uid in uids(0, 40) {
            home.put(Where::Crm, &uid, &card(&uid, &[("FN", "Ada")]));
        }
        home.settle();
        for uid in uids(0, 24) {
            home.remove(Where::Crm, &uid);
        }
        for uid in uids(40, 80) {
            home.put(Where::Crm, &uid, &card(&uid, &[("FN", "Bea")]));
        }
        let report = home.run();
        assert_eq!(report.end, RunEnd::Held, "{offers:?}");
        assert_eq!(home.cards(Where::Mail).len(), 80, "{offers:?}");
    }
}

#[test]
fn promise_10_another_policy_lets_no_item_go_before_its_plan_was_shown() {
    for offers in EVERY {
        let mut home = Home::new(1, offers);
        for uid in ["1", "2", "3"] {
            home.put(Where::Crm, uid, &card(uid, &[("FN", "Ada")]));
        }
        home.settle();
        home.remove(Where::Crm, "1");
        home.policy.guards.emptied = true;
        let report = home.run();
        let causes: Vec<&str> = report
            .pairs
            .iter()
            .flat_map(|pair| &pair.holds)
            .map(|held| held.cause.code())
            .collect();
        assert_eq!(causes, ["policy_changed"], "{offers:?}");
        assert_eq!(home.cards(Where::Mail).len(), 3);
        home.settle();
        assert_eq!(home.cards(Where::Mail).len(), 2);
    }
}

/// Both sides are written to and taken from: there is no way to only add to one of them.
#[test]
fn items_are_kept_in_step_by_no_other_mode_than_managed() {
    for mode in [Mode::AddOnly, Mode::Mirror] {
        let mut home = Home::new(1, GENEROUS);
        home.put(Where::Crm, "1", &card("1", &[("FN", "Ada")]));
        home.settle();
        home.remove(Where::Crm, "1");
        home.policy.mode = mode;
        let (engine, adhoc) = (home.engine(), home.job());
        let ran = block_on(engine.run_items(&adhoc, &home.items, &ItemRequest::new()));
        assert_eq!(ran.map_err(|error| error.code()).err(), Some("mode_of_items"));
        let saved = Job::items(tenant(), job("items"), "Items", user("boss"), home.items.clone());
        let saved = block_on(engine.save_job(&saved.with_policy(home.policy.clone())));
        assert_eq!(saved.map_err(|error| error.code()), Err("mode_of_items"));
        assert_eq!(home.cards(Where::Mail).len(), 1);
    }
}

#[test]
fn a_run_can_be_ended_and_the_next_one_goes_on() {
    let home = Home::new(1, GENEROUS);
    home.put(Where::Crm, "c", &card("c", &[("FN", "Ada")]));
    let control = RunControl::new();
    control.cancel();
    let report = home.run_as(&ItemRequest::new().controlled_by(control));
    assert_eq!(report.end, RunEnd::Cancelled);
    assert_eq!(home.cards(Where::Mail).len(), 0);
    home.settle();
    assert_eq!(home.cards(Where::Mail).len(), 1);
}

#[test]
fn expired_cursors_lose_nothing() {
    let home = Home::new(1, GENEROUS);
    home.put(Where::Crm, "c", &card("c", &[("FN", "Ada")]));
    home.settle();
    home.is_still();
    home.put(Where::Crm, "d", &card("d", &[("FN", "Bob")]));
    home.remove(Where::Crm, "c");
    home.crm.expire_cursors();
    home.settle();
    for side in SIDES {
        assert_eq!(home.cards(side).into_keys().collect::<Vec<_>>(), ["d"]);
    }
    home.clock.advance(Duration::from_secs(1));
}

#[test]
fn promise_23_the_owners_removal_changes_the_actor_of_items_from_the_next_batch_on() {
    let home = Home::new(1, GENEROUS);
    home.actors.set(&tenant(), user("root"), ActorState::Active);
    for n in 0..6 {
        home.put(
            Where::Crm,
            &format!("c{n}"),
            &card(&format!("c{n}"), &[("FN", "Ada")]),
        );
    }
    let actors = home.actors.clone();
    let vanish = move || actors.set(&tenant(), user("boss"), ActorState::Missing);
    home.faults
        .inject(FaultRule::meanwhile(vanish).on(CallKind::Create).once());
    let report = home.run();
    assert_eq!((report.end, report.operations().count()), (RunEnd::Changed, 6));
    let audit = block_on(home.engine().audit(&tenant())).unwrap();
    let acted: Vec<Authority> = audit.iter().map(|record| record.actor.authority).collect();
    let (boss, root) = (Authority::JobOwner, Authority::Administrator);
    assert_eq!(acted, [boss, boss, boss, root, root, root]);
}
