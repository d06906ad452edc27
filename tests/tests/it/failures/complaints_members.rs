//! Complaints 11, 14 and 15: what is compared, what is tried out, and what belongs to others.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Member, MembershipState, Origin, Role};
use usersync::reconcile::{Guards, Mode, Policy};
use usersync_tests::{World, all, container, facets, free_policy, job, user};

use crate::failures::byhand::mirror;
use crate::failures::office::{Office, account, codes};
use crate::failures::scene::people;
use crate::failures::telling::{holds, outcomes, plan};

/// adobe/user-sync.py, microsoft/o365-moodle: compared by case against a system that does not care:
/// updated for ever, skipped, or there twice.
#[test]
fn complaint_11_an_address_in_another_case_is_the_same_and_a_look_alike_is_not() {
    // By hand: text.
    let known = BTreeMap::from([("Ada@Acme.example", "a0")]);
    assert_eq!(
        known.get("ada@acme.example"),
        None,
        "and one more account is made, each time"
    );
    // By hand: whatever Unicode makes of it.
    assert_eq!(
        "mıke".to_uppercase(),
        "MIKE",
        "and somebody else gets the account"
    );

    for (person, mailbox, linked) in [
        ("ada@acme.example", "Ada@ACME.example", true),
        ("ada@bücher.example", "ADA@xn--bcher-kva.example", true),
        ("mike@acme.example", "mıke@acme.example", false),
        ("ada@acme.example", "a.da@acme.example", false),
        ("ada@acme.example", "ada+crm@acme.example", false),
    ] {
        let office = Office::new(9, 0);
        office.people.put(account("p0", person));
        office.mail.put(account("a0", mailbox));
        office.stage();
        office.save();
        assert_eq!(office.shown() == "p0-a0 active", linked, "{person} and {mailbox}");
        if linked {
            // Whichever way either side writes it from now on: nothing to do, and nobody twice.
            office.mail.put(account(
                "a0",
                &mailbox.replace("ADA", "Ada").replace("Ada", "aDa"),
            ));
            assert_eq!(codes(&office.stage()), "p0 linked");
            assert_eq!(office.follow(None).outcomes.len(), 0);
        }
    }
}

/// awslabs/ssosync: the dry run looked for users whom it "would create", and crashed. thorin/redmine_ldap_sync: it
/// wrote the groups.
#[test]
fn complaint_14_a_dry_run_counts_with_whom_it_would_add_and_writes_nothing() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("party", "@team")
        .job("sync", free_policy(Mode::Managed))
        .build();

    // By hand: the party's members are those whom the team has.
    let team: BTreeMap<&str, ()> = BTreeMap::new();
    assert_eq!(team.get("ada"), None, "which is nobody, or an error");

    let before = world.snapshot();
    world.calls.clear();
    let preview = world.plan("sync");
    assert_eq!(
        preview.summary().additions,
        4,
        "two to the team, and the same two to the party"
    );
    assert_eq!(
        (world.calls.effects(), world.calls.count(CallKind::Commit)),
        (0, 0)
    );
    assert_eq!(
        (world.calls.count(CallKind::Acquire), world.snapshot()),
        (0, before)
    );

    let report = world.run("sync");
    assert_eq!(
        plan(&report).digest(),
        preview.digest(),
        "what was shown is what was done"
    );
    assert_eq!(
        (world.members("team"), world.members("party")),
        ("ada bob".into(), "ada bob".into())
    );
}

/// goauthentik/authentik, metabase, gitlab-ce-ldap-sync: members of another source, or added by hand, were removed.
#[test]
fn complaint_15_members_of_another_source_and_of_a_person_stay() {
    let world = World::builder()
        .group("staff", "ada bob")
        .group("guests", "bob gil")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .job("other", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    // Another job's host lists the same team with the guests, and a person adds Pat.
    let others = world.catalog.fork();
    others.select(&container("team"), all("guests"));
    let other = world.engine_over(&others, "other");
    let id = job("other");
    let run = || {
        let run = other.run(&world.tenant, &id, RunRequest::everything());
        block_on(run).expect("the run comes to a report")
    };
    assert_eq!(outcomes(&run()), "1 add applied");
    world.add_by_hand("team", "pat");

    // By hand, and one source after the other: the last one wins.
    let fork = world.fork();
    mirror(&fork, "team", &people("ada bob"));
    assert_eq!(fork.members("team"), "ada bob");
    mirror(&fork, "team", &people("bob gil"));
    assert_eq!(fork.members("team"), "bob gil");

    for _ in 0..3 {
        assert_eq!(
            (world.run("sync").operations.len(), run().operations.len()),
            (0, 0)
        );
    }
    assert_eq!(world.members("team"), "ada bob gil pat");
    // Bob leaves the one, and stays for the other; then he leaves that, too. Pat has nothing to do with either.
    world.leave("staff", "bob");
    assert_eq!(world.run("sync").operations.len(), 0);
    assert_eq!(world.members("team"), "ada bob gil pat");
    world.leave("guests", "bob");
    assert_eq!(outcomes(&run()), "1 remove applied");
    assert_eq!(world.members("team"), "ada gil pat");
    assert_eq!(world.row("team", "gil").map(|row| row.origin), Some(Origin::Ours));
    assert_eq!(world.row("team", "pat"), None);
}

/// Adambean/gitlab-ce-ldap-sync: the last owner could not be removed, and the script ended there.
#[test]
fn complaint_15_the_last_owner_waits_and_nobody_else_does() {
    let guards = Guards {
        container: None,
        run: None,
        window: None,
        ..Guards::default()
    };
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("team", "staff")
        .job(
            "sync",
            Policy {
                guards,
                ..Policy::default()
            },
        )
        .build();
    let _ = world.settle("sync");
    let promote = |who| {
        let facets = facets(Role::Owner, MembershipState::Active);
        world.target.set_by_hand(
            &container("team").object,
            Member {
                principal: user(who),
                facets,
            },
        )
    };
    assert!(promote("ada"));
    for who in ["ada", "bob"] {
        world.leave("staff", who);
    }
    world.join("staff", "eve");

    // By hand: in their order, until one is refused.
    let leavers = people("ada bob").into_iter();
    assert_eq!(
        leavers.take_while(|who| *who != user("ada")).count(),
        0,
        "and so Bob stays"
    );

    let report = world.run("sync");
    assert_eq!(holds(plan(&report)), "ada protected_last_owner");
    assert_eq!(
        (&*outcomes(&report), report.end),
        ("1 add applied, 1 remove applied", RunEnd::Held)
    );
    assert_eq!(world.members("team"), "ada:owner cleo dan eve");
    // Another owner is named, and she can go.
    assert!(promote("cleo"));
    assert_eq!(outcomes(&world.run("sync")), "1 remove applied");
    assert_eq!(world.members("team"), "cleo:owner dan eve");
}

/// kubernetes/test-infra, SpiderOak/netkes: one bad user, and nobody else was served.
#[test]
fn complaint_15_one_bad_user_of_a_hundred_is_one_failure() {
    let names: Vec<String> = (0..100).map(|n| format!("u{n:02}")).collect();
    let world = World::builder()
        .batch(30)
        .group("staff", &names.join(" "))
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let bad = Fault::Failed {
        kind: ErrorKind::InvalidData,
        retry: Retry::Never,
    };
    let rule = FaultRule::new(bad).on(CallKind::Add);
    world.faults.inject(rule.clone().principal(user("u07")));

    // By hand: one after the other, with `?`.
    let arrived = names
        .iter()
        .map(|name| if name == "u07" { Err(()) } else { Ok(()) })
        .take_while(Result::is_ok);
    assert_eq!(arrived.count(), 7);

    let report = world.run("sync");
    assert_eq!(
        (&*outcomes(&report), report.end),
        ("99 add applied, 1 add failed", RunEnd::Failed)
    );
    let failed = report
        .operations
        .iter()
        .find(|one| !one.outcome.is_ok())
        .expect("one failed");
    assert_eq!(failed.subject.to_string(), "hr:u07");
    assert!(
        failed.outcome.to_string().starts_with("failed: invalid_data"),
        "{}",
        failed.outcome
    );
    // A tenth of them, again and again: whoever can arrive does.
    let tenth = NonZeroU64::new(10).expect("it is not zero");
    for seed in 0..5 {
        let world = world.fork();
        world.target.remove_container(&container("team").object);
        world.target.create_container(container("team").object);
        world.faults.inject(rule.clone().one_in(tenth, seed));
        let report = world.run("sync");
        let failed = report.count(|outcome| !outcome.is_ok());
        assert_eq!(world.members("team").split_whitespace().count(), 100 - failed);
        assert!((1..50).contains(&failed), "{failed} of seed {seed}");
    }
}
