//! Complaints 2, 6, 7 and 8: people and groups that leave, return, and get other names.

use std::collections::BTreeMap;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{AfterGrace, ByHand, Chosen, LinkOutcome, RunEnd};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{GroupKind, PartialKind, Principal, PrincipalKind};
use usersync::reconcile::{Mode, Policy};
use usersync_tests::records::{RecordWorld, own};
use usersync_tests::{World, free_policy, group, user};

use crate::failures::byhand::mirror;
use crate::failures::office::{Office, account, address, codes, context, object, person};
use crate::failures::scene::people;
use crate::failures::telling::{holds, outcomes, plan, warnings};

const DAY: u64 = 24 * 3600;

/// glpi-project/glpi: 512 users disabled at once after errors of the directory. GitLab's documentation: the server is down, all
/// users are blocked, and the next sync does not unblock them. vmware-tanzu-labs/cf-mgmt: all roles removed.
#[test]
fn complaint_02_an_outage_disables_none_of_512_people_and_who_was_suspended_returns() {
    // By hand: disabled, since not found; never enabled, since somebody might have disabled them for a reason.
    let mut enabled = vec![true; 512];
    for found in [false, true] {
        enabled.iter_mut().for_each(|enabled| *enabled &= found);
    }
    assert_eq!(
        enabled.iter().filter(|enabled| **enabled).count(),
        0,
        "after the outage"
    );

    let office = Office::linked(512);
    for fault in [
        Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry: Retry::Later,
        },
        Fault::FailedAfter {
            shown: 40,
            kind: ErrorKind::TimedOut,
            retry: Retry::Later,
        },
        Fault::Partial {
            shown: 0,
            kind: PartialKind::Limit,
        },
        Fault::Truncated { shown: 511 },
    ] {
        office
            .faults
            .inject(FaultRule::new(fault.clone()).on(CallKind::Accounts));
        let report = office.follow(None);
        assert_eq!((report.outcomes.len(), report.held), (0, None), "{fault:?}");
        office.faults.heal();
    }
    assert_eq!(office.states(), "512 active");
    // Some are really not shown for a day, and come back by themselves.
    (0..10).for_each(|n| assert!(office.people.remove(&object(&format!("p{n}")))));
    assert_eq!(office.follow(None).outcomes.len(), 10);
    assert_eq!(office.states(), "502 active, 10 suspended");
    (0..10).for_each(|n| office.people.put(account(&format!("p{n}"), &address(n))));
    assert_eq!(office.follow(None).outcomes.len(), 10);
    assert_eq!(office.states(), "512 active");
}

/// goauthentik/authentik: leavers were never disabled. Asked for: disable first, delete some days later.
#[test]
fn complaint_06_a_leaver_is_suspended_at_once_and_removed_after_the_days_of_grace() {
    // By hand: whoever is found is written, and nobody looks at the others.
    let mut accounts = BTreeMap::from([("ada", "enabled"), ("bob", "enabled")]);
    accounts.extend([("bob", "enabled")]);
    assert_eq!(accounts["ada"], "enabled", "though she left");

    let mut office = Office::linked(3);
    office.settings.after_grace = AfterGrace::Remove;
    office.people.remove(&object("p0"));
    office.follow(None);
    assert_eq!(office.shown(), "p0-a0 suspended, p1-a1 active, p2-a2 active");
    office.clock.advance(office.settings.grace);
    office.follow(None);
    assert_eq!(office.shown(), "p1-a1 active, p2-a2 active");

    // Memberships: with a grace of thirty days, gone on the thirtieth; whoever is back before keeps them.
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job(
            "sync",
            Policy {
                grace_hours: Some(30 * 24),
                ..free_policy(Mode::Managed)
            },
        )
        .build();
    let _ = world.settle("sync");
    world.depart("ada");
    world.depart("bob");
    for day in 0..30 {
        let _ = world.run("sync");
        assert_eq!(world.members("team"), "ada bob cleo", "on day {day}");
        if day == 20 {
            world.join("staff", "bob");
        }
        world.advance(DAY);
    }
    let report = world.run("sync");
    assert_eq!(
        plan(&report).sections()[0].operations[0].reason.code(),
        "departed"
    );
    assert_eq!(
        (&*outcomes(&report), &*world.members("team")),
        ("1 remove applied", "bob cleo")
    );
}

/// awslabs/ssosync: a group that was deleted and made again is another one, and what hung on the old one is broken.
/// opencloud-eu/opencloud-compose: a rename forked a group, which was known by its name.
#[test]
fn complaint_07_a_new_name_is_the_same_group_and_a_new_group_of_the_old_name_is_another() {
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .job("sync", Policy::default())
        .build();
    let _ = world.settle("sync");
    let staff = world
        .directory
        .principal(&group("staff").object)
        .expect("it is there");
    let before = world.end();
    world.directory.put(Principal {
        name: "everybody".to_owned(),
        ..staff
    });

    // By hand: by its name, it is gone.
    let fork = world.fork();
    let by_name = fork
        .directory
        .principals()
        .into_iter()
        .find(|known| known.name == "staff");
    assert!(by_name.is_none());
    mirror(&fork, "team", &people(""));
    assert_eq!(fork.members("team"), "");

    assert_eq!(world.run("sync").end, RunEnd::InSync);
    assert_eq!(world.end(), before);

    // Deleted, and made again under the old name with the same people: nobody decides that this is the same but a person.
    world.directory.remove(&group("staff").object);
    let kind = PrincipalKind::Group(GroupKind::UserGroup);
    world
        .directory
        .put(Principal::new(group("staff-2").object, kind, "staff"));
    for who in ["ada", "bob", "cleo"] {
        world.join("staff-2", who);
    }
    let report = world.run("sync");
    assert_eq!(warnings(plan(&report)), "missing_pick");
    assert_eq!(
        holds(plan(&report)),
        "ada container_emptied, bob container_emptied, cleo container_emptied"
    );
    assert_eq!(world.end().target, before.target);
    world.select("team", "staff-2");
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    assert_eq!(world.end(), before, "no membership was touched");
}

/// grokability/snipe-it: a new name made a new user, and the assets stayed with the old one.
#[test]
fn complaint_08_a_new_name_and_a_new_address_are_no_new_person() {
    // By hand: by address.
    let mut assets = BTreeMap::from([(address(0), "laptop")]);
    assert_eq!(
        assets.remove("person0.married@acme.example"),
        None,
        "and the laptop is somebody else's"
    );

    let office = Office::linked(2);
    let married = |id: &str| account(id, "person0.married@acme.example");
    office.people.put(married("p0"));
    office.mail.put(married("a0"));
    assert_eq!(office.follow(None).outcomes.len(), 0);
    assert_eq!(codes(&office.stage()), "p0 linked, p1 linked");
    assert_eq!(office.shown(), "p0-a0 active, p1-a1 active");
}

/// microsoft/o365-moodle: even the id may become another one. Who that is, is not decided by an address.
#[test]
fn complaint_08_the_old_address_under_a_new_id_is_asked_about() {
    // By hand: by address, whoever has it.
    let known = BTreeMap::from([(address(0), "p0")]);
    assert_eq!(known.get(&address(0)), Some(&"p0"), "and p9 gets what is p0's");

    let office = Office::linked(2);
    office.people.remove(&object("p0"));
    office.people.put(account("p9", &address(0)));
    office.follow(None);
    let report = office.stage();
    assert_eq!(report.of(&person(9)).map(LinkOutcome::code), Some("unfit"));
    assert_eq!(office.shown(), "p0-a0 suspended, p1-a1 active");
    // A person who knows removes the old link, and makes the new one by hand.
    let chosen = Chosen::of([person(0)]);
    let links = office.links();
    block_on(links.remove(&context(), &chosen)).expect("it works");
    let pair = ByHand::new(object("p9"), object("a0"));
    block_on(links.stage_by_hand(&context(), &pair)).expect("it works");
    office.save();
    assert_eq!(office.shown(), "p1-a1 active, p9-a0 active");
}

/// A panel's contact lists: whoever was renamed got the list deleted and made again, and whatever had been changed there was lost.
#[test]
fn complaint_08_a_renamed_user_keeps_the_copies_and_what_is_their_own() {
    let world = RecordWorld::builder()
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    let _ = world.settle("share");
    world.put_by_hand("ada", own("c2", "general:name=Mine"));

    // By hand: by name, the old list is deleted and the new one begins with what is shared.
    let lists = BTreeMap::from([("ada", vec!["One", "Mine"])]);
    assert_eq!(
        lists.get("ada example").cloned().unwrap_or_else(|| vec!["One"]),
        ["One"]
    );

    for who in ["ada", "seller"] {
        let known = world.directory.principal(&user(who).object).expect("there");
        world.directory.put(Principal {
            name: format!("{who} example"),
            ..known
        });
    }
    world.calls.clear();
    assert_eq!(world.run("share").end, RunEnd::InSync);
    assert_eq!(world.calls.effects(), 0);
    assert_eq!(world.names("ada"), "c1=One c2=Mine");
}
