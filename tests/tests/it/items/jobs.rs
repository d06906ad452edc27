//! Items as a saved job: with a schedule, approvals and a history, as every other job.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ActorState, ErrorKind, Retry};
use usersync::engine::{Engine, EngineError, Job, PausedBy, RunEnd, RunReport, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::Policy;
use usersync_tests::{Crash, LEASE, crash, job, tenant, user};

use crate::items::{EVERY, GENEROUS, Home, Where, card};

fn saved(home: &Home) -> Engine {
    let engine = home.engine();
    let job = Job::items(tenant(), job("items"), "Items", user("boss"), home.items.clone())
        .with_policy(home.policy.clone());
    block_on(engine.save_job(&job)).unwrap();
    engine
}

fn run(engine: &Engine) -> RunReport {
    block_on(engine.run(&tenant(), &job("items"), RunRequest::everything())).unwrap()
}

#[test]
fn a_job_of_items_runs_by_itself_and_is_in_the_history() {
    let home = Home::new(1, GENEROUS);
    let engine = saved(&home);
    home.put(Where::Crm, "c", &card("c", &[("FN", "Ada")]));
    let ends = |engine: &Engine| {
        let ran = block_on(engine.run_due(&tenant())).unwrap();
        ran.into_iter()
            .map(|(_, report)| report.unwrap().end)
            .collect::<Vec<_>>()
    };
    home.clock.advance(Duration::from_secs(5 * 3600));
    assert_eq!(ends(&engine), [RunEnd::Changed]);
    assert_eq!(home.cards(Where::Mail).len(), 1);
    home.clock.advance(Duration::from_secs(5 * 3600));
    assert_eq!(ends(&engine), [RunEnd::InSync]);
    assert_eq!(ends(&engine), []);
    let history = block_on(engine.history(&tenant(), &job("items"), None, 10)).unwrap();
    assert_eq!(history.len(), 2);
    let list = block_on(engine.job_list(&tenant())).unwrap();
    assert_eq!(list[0].job.name, "Items");
    let audit = block_on(engine.audit(&tenant())).unwrap();
    assert_eq!(audit.len(), 1, "links and items share the log of audits");
}

/// Both of its systems are read, and what changes in one of them is for the other.
#[test]
fn a_job_of_items_follows_what_changes_in_either_system() {
    let home = Home::new(1, GENEROUS);
    let engine = saved(&home);
    for (system, follows) in [
        (&home.items.first, true),
        (&home.items.second, true),
        (&user("ada").system, false),
    ] {
        let noted = block_on(engine.changed(&tenant(), system)).unwrap();
        assert_eq!(noted.contains(&job("items")), follows, "{system}");
    }
}

/// A job of items has no plan: its last run of everything tells all that the list says, however many there were before.
#[test]
fn the_list_looks_at_the_newest_runs_of_a_job_of_items_only() {
    let home = Home::new(1, GENEROUS);
    let engine = saved(&home);
    let cost = || {
        home.calls.clear();
        let list = block_on(engine.job_list(&tenant())).unwrap();
        assert!(list[0].last.is_some());
        assert_eq!(list[0].held, None);
        home.calls.all().len()
    };
    let _ = run(&engine);
    let first = cost();
    for _ in 0..40 {
        let _ = run(&engine);
    }
    assert_eq!(cost(), first);
}

#[test]
fn a_job_of_items_reports_where_it_did_what_and_pauses_if_nobody_may_act() {
    let home = Home::new(1, GENEROUS);
    let engine = saved(&home);
    home.put(Where::Crm, "c", &card("c", &[("FN", "Ada")]));
    home.put(Where::Mail, "m", &card("m", &[("FN", "Bea")]));
    let report = run(&engine);
    assert_eq!(report.paused, None);
    let mut places: Vec<String> = report
        .operations
        .iter()
        .map(|operation| format!("{} in {}", operation.subject, operation.container))
        .collect();
    places.sort();
    assert_eq!(places, ["crm:m in crm:p0", "mail:c in mail:a0"]);
    home.actors.set(&tenant(), user("boss"), ActorState::Inactive);
    let report = run(&engine);
    assert_eq!(
        (report.end, report.paused),
        (RunEnd::Paused, Some(PausedBy::NobodyActs))
    );
}

#[test]
fn promise_12_an_approval_of_held_items_lets_go_once() {
    let mut home = Home::new(1, GENEROUS);
    home.policy = Policy::default();
    let engine = saved(&home);
    for round in 0..2 {
        for n in 0..3 {
            home.put(
                Where::Crm,
                &format!("c{n}"),
                &card(&format!("c{n}"), &[("FN", "Ada")]),
            );
        }
        assert_eq!(run(&engine).end, RunEnd::Changed, "round {round}");
        assert_eq!(home.cards(Where::Mail).len(), 3);
        for n in 0..3 {
            home.remove(Where::Crm, &format!("c{n}"));
        }
        let report = run(&engine);
        assert_eq!(report.end, RunEnd::Held, "round {round}");
        assert_eq!(home.cards(Where::Mail).len(), 3);
        let held = report
            .items
            .unwrap()
            .pairs
            .iter()
            .find_map(|pair| pair.held)
            .unwrap();
        block_on(engine.approve(
            &tenant(),
            &job("items"),
            held,
            user("boss"),
            Duration::from_secs(3600),
        ))
        .unwrap();
        let report = run(&engine);
        assert_eq!(
            (report.end, report.operations.len()),
            (RunEnd::Changed, 3),
            "round {round}"
        );
        assert_eq!(home.cards(Where::Mail).len(), 0);
    }
}

/// Three items on both sides; they go from one, and somebody approves that they go from the other, where the guard holds them.
fn approved(home: &Home) -> Engine {
    let engine = saved(home);
    let uids = ["1", "2", "3"];
    for uid in uids {
        home.put(Where::Crm, uid, &card(uid, &[("FN", "Ada")]));
    }
    run(&engine);
    run(&engine);
    for uid in uids {
        home.remove(Where::Crm, uid);
    }
    let report = run(&engine);
    let pairs = report.items.unwrap().pairs;
    let held = pairs.iter().find_map(|pair| pair.held).unwrap();
    let hours = Duration::from_secs(24 * 3600);
    block_on(engine.approve(&tenant(), &job("items"), held, user("boss"), hours)).unwrap();
    engine
}

#[test]
fn promise_12_an_approval_of_items_lets_go_once_whenever_the_run_is_killed() {
    for offers in EVERY {
        let mut world = Home::new(1, offers);
        world.policy = Policy::default();
        approved(&world);
        let mut stopped = 0;
        for commit in 0.. {
            let home = world.fork();
            let engine = home.engine();
            let rule = FaultRule::new(Fault::Hang(Moment::After)).on(CallKind::Commit);
            home.faults.inject(rule.after(commit).once());
            let (tenant, job) = (tenant(), job("items"));
            let ended = crash(engine.run(&tenant, &job, RunRequest::everything()));
            let is_over = matches!(ended, Crash::Ended(_));
            stopped += u32::from(!is_over);
            drop(ended);
            home.faults.heal();
            home.clock.advance(LEASE * 2);
            run(&engine);
            assert_eq!(home.cards(Where::Mail).len(), 0, "{offers:?}, commit {commit}");
            for uid in ["1", "2", "3"] {
                home.put(Where::Crm, uid, &card(uid, &[("FN", "Ada")]));
            }
            run(&engine);
            for uid in ["1", "2", "3"] {
                home.remove(Where::Crm, uid);
            }
            assert_eq!(run(&engine).end, RunEnd::Held, "{offers:?}, commit {commit}");
            assert_eq!(home.cards(Where::Mail).len(), 3, "{offers:?}, commit {commit}");
            if is_over {
                break;
            }
        }
        assert!(stopped > 3, "{stopped}");
    }
}

/// Where what was let go fails, it needs no second approval.
#[test]
fn what_an_approval_let_go_goes_once_it_can() {
    for offers in EVERY {
        let mut home = Home::new(1, offers);
        home.policy = Policy::default();
        let engine = approved(&home);
        let fault = Fault::Failed {
            kind: ErrorKind::PermissionDenied,
            retry: Retry::Never,
        };
        home.faults.inject(FaultRule::new(fault).on(CallKind::Delete));
        assert_eq!(run(&engine).end, RunEnd::Failed);
        assert_eq!(home.cards(Where::Mail).len(), 3, "{offers:?}");
        home.faults.heal();
        assert_eq!(run(&engine).end, RunEnd::Changed, "{offers:?}");
        assert_eq!(home.cards(Where::Mail).len(), 0, "{offers:?}");
    }
}

/// What another policy removes is in a report before it goes, whatever became of the runs before that.
#[test]
fn a_killed_run_has_shown_nobody_which_items_another_policy_removes() {
    for offers in EVERY {
        let mut world = Home::new(1, offers);
        for uid in ["1", "2", "3"] {
            world.put(Where::Crm, uid, &card(uid, &[("FN", "Ada")]));
        }
        let engine = saved(&world);
        run(&engine);
        run(&engine);
        world.policy.guards.emptied = true;
        saved(&world);
        world.remove(Where::Crm, "1");
        let mut stopped = 0;
        for commit in 0.. {
            let home = world.fork();
            let engine = home.engine();
            let rule = FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Commit);
            home.faults.inject(rule.after(commit).once());
            let (tenant, job) = (tenant(), job("items"));
            let ended = crash(engine.run(&tenant, &job, RunRequest::everything()));
            let is_over = matches!(ended, Crash::Ended(_));
            drop(ended);
            home.faults.heal();
            home.clock.advance(LEASE * 2);
            if !is_over {
                stopped += 1;
                assert_eq!(run(&engine).end, RunEnd::Held, "{offers:?}, commit {commit}");
            }
            assert_eq!(home.cards(Where::Mail).len(), 3, "{offers:?}, commit {commit}");
            assert_eq!(run(&engine).end, RunEnd::Changed, "{offers:?}, commit {commit}");
            assert_eq!(home.cards(Where::Mail).len(), 2, "{offers:?}, commit {commit}");
            if is_over {
                break;
            }
        }
        assert!(stopped > 1, "{stopped}");
    }
}

#[test]
fn there_is_no_plan_before_the_run() {
    let home = Home::new(1, GENEROUS);
    let engine = saved(&home);
    let preview = block_on(engine.preview(&tenant(), &job("items"), &Scope::Everything));
    assert!(matches!(preview, Err(EngineError::NoPlan(_))), "{preview:?}");
    let adopting = RunRequest::everything().adopting();
    let run = block_on(engine.run(&tenant(), &job("items"), adopting));
    assert!(matches!(run, Err(EngineError::NoPlan(_))), "{run:?}");
    assert!(
        block_on(engine.verify(&tenant(), &job("items")))
            .unwrap()
            .is_consistent()
    );
}
