//! Promises about plans: what they say, and that they write nothing.

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::engine::{RunEnd, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::PrincipalRef;
use usersync::reconcile::{Action, Drift, Mode, Plan, Policy};
use usersync::store::Log;
use usersync_tests::edit::{cases, drift, edits, mode, world};
use usersync_tests::{Model, World, container, free_policy, job, user};

fn policy(mode: Mode, drift: Drift) -> Policy {
    Policy {
        drift,
        ..free_policy(mode)
    }
}

/// What a plan does at the target, by names.
fn operations(plan: &Plan) -> Vec<(String, String, &'static str)> {
    let sections = plan.sections().iter();
    let named = sections.flat_map(|section| {
        section.operations.iter().map(|operation| {
            (
                section.container.object.to_string(),
                operation.subject.to_string(),
                operation.action.code(),
            )
        })
    });
    named.collect()
}

fn named(model: &Model) -> Vec<(String, String, &'static str)> {
    let operations = model.operations.iter();
    operations
        .map(|((container, who), what)| (container.object.to_string(), who.to_string(), *what))
        .collect()
}

proptest! {
    #![proptest_config(cases(384))]

    #[test]
    fn promise_01_order_paging_and_duplicates_of_entries_do_not_matter(
        mode in mode(),
        before in edits(14),
        after in edits(10),
        seed in any::<u64>(),
        page in 1..4_usize,
    ) {
        let world = world().job("sync", free_policy(mode)).build();
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let want = world.plan("sync").to_json();
        for kind in [CallKind::Directory, CallKind::Containers, CallKind::Members] {
            world.faults.inject(FaultRule::new(Fault::Duplicated).on(kind));
            world.faults.inject(FaultRule::new(Fault::Reordered { seed }).on(kind));
        }
        let size = page.try_into().expect("pages are not empty");
        world.faults.inject(FaultRule::new(Fault::Paged { size }));
        let got = world.plan("sync").to_json();
        prop_assert!(world.faults.fired_in_all() > 3);
        prop_assert_eq!(got, want);
    }

    /// A run makes of target and ledger what the table says, by the operations that the table says.
    #[test]
    fn promise_02_a_run_reaches_what_is_desired(
        mode in mode(),
        drift in drift(),
        stages in proptest::collection::vec(edits(12), 1..4),
    ) {
        let world = world().job("sync", policy(mode, drift)).build();
        for stage in stages {
            world.edit(&stage);
            let model = Model::of(&world, "sync", mode, drift);
            let plan = world.plan("sync");
            prop_assert_eq!(plan.summary().held, 0);
            prop_assert_eq!(operations(&plan), named(&model));
            let report = world.run("sync");
            prop_assert!(report.is_ok(), "{:?}", report);
            prop_assert_eq!(world.present(), model.after);
            prop_assert_eq!(world.claims(), model.ledger);
        }
    }

    /// After a run the next plan is empty, and running it writes nothing.
    #[test]
    fn promise_03_the_next_run_writes_nothing(
        mode in mode(),
        drift in drift(),
        stages in proptest::collection::vec(edits(12), 1..4),
    ) {
        let world = world().job("sync", policy(mode, drift)).build();
        for stage in stages {
            world.edit(&stage);
            let _ = world.run("sync");
            prop_assert_eq!(operations(&world.plan("sync")), vec![]);
            let before = world.snapshot();
            world.calls.clear();
            let report = world.run("sync");
            prop_assert_eq!(report.end, RunEnd::InSync);
            let after = world.snapshot();
            prop_assert_eq!(world.calls.effects(), 0);
            prop_assert_eq!(after.target, before.target);
            prop_assert_eq!(after.store.ledger, before.store.ledger);
            prop_assert_eq!(after.store.logs, before.store.logs);
            prop_assert_eq!(after.delivered, before.delivered);
        }
    }

    #[test]
    fn promise_05_nothing_outside_the_managed_scope_changes_even_in_failed_runs(
        mode in mode(),
        drift in drift(),
        before in edits(14),
        after in edits(10),
        seed in any::<u64>(),
        only in proptest::option::of(0..3_u8),
    ) {
        let world = world().job("sync", policy(mode, drift)).build();
        world.target.add_by_hand(&container("unlisted").object, user("u0"));
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let model = Model::of(&world, "sync", mode, drift);
        let faults = [
            Fault::Conflict,
            Fault::Failed {
                kind: usersync::connector::ErrorKind::PermissionDenied,
                retry: usersync::connector::Retry::Never,
            },
            Fault::Timeout(Moment::Before),
            Fault::Timeout(Moment::After),
        ];
        for (salt, fault) in faults.into_iter().enumerate() {
            for kind in [CallKind::Add, CallKind::Remove, CallKind::Update] {
                let n = 4.try_into().expect("4 is not zero");
                world.faults.inject(FaultRule::new(fault.clone()).on(kind).one_in(n, seed ^ salt as u64));
            }
        }
        let request = match only {
            None => RunRequest::everything(),
            Some(n) => RunRequest::container(container(&format!("c{n}"))),
        };
        let rows = world.claims();
        let _ = world.try_run("sync", request).expect("failed operations are no failed run");
        for (container_id, present) in &model.present {
            let now = &world.present()[container_id];
            let changed: Vec<PrincipalRef> = now.symmetric_difference(present).cloned().collect();
            let is_listed = model.desired.contains_key(container_id);
            let is_asked = only.is_none_or(|n| container_id.object.as_str() == format!("c{n}"));
            prop_assert!(changed.is_empty() || (is_listed && is_asked));
            for who in changed {
                let in_base = model.base.contains(&(container_id.clone(), who.clone()));
                let desired = model.desired[container_id].contains(&who);
                prop_assert!(mode == Mode::Mirror || in_base || desired, "{} in {}", who, container_id);
            }
            if !(is_listed && is_asked) {
                let of = |rows: BTreeMap<_, _>| rows.into_iter().filter(|((id, _), _)| id == container_id).collect::<Vec<_>>();
                prop_assert_eq!(of(world.claims()), of(rows.clone()), "the ledger of {}", container_id);
            }
        }
    }

    #[test]
    fn promise_06_a_preview_writes_nothing_anywhere(
        mode in mode(),
        before in edits(14),
        after in edits(10),
        only in proptest::option::of(0..3_u8),
    ) {
        let world = world().with_changes().job("sync", free_policy(mode)).build();
        world.edit(&before);
        let _ = world.run("sync");
        world.edit(&after);
        let snapshot = world.snapshot();
        world.calls.clear();
        let scope = match only {
            None => Scope::Everything,
            Some(n) => Scope::container(container(&format!("c{n}"))),
        };
        let shown = world.planned("sync", &scope).plan().clone();
        let by_engine = block_on(world.engine().preview(&world.tenant, &job("sync"), &scope)).expect("a preview");
        prop_assert_eq!(by_engine.plan().digest(), shown.digest());
        prop_assert_eq!(world.snapshot(), snapshot);
        let writes = [CallKind::Acquire, CallKind::Commit, CallKind::Notify, CallKind::Release, CallKind::Renew];
        for call in world.calls.all() {
            prop_assert!(!call.kind.is_effect() && !writes.contains(&call.kind), "{}", call);
        }
        // And what it showed is what the run plans.
        let request = match only {
            None => RunRequest::everything(),
            Some(n) => RunRequest::container(container(&format!("c{n}"))),
        };
        let ran = world.try_run("sync", request).expect("a run").plan.expect("a plan");
        prop_assert_eq!(ran.digest(), shown.digest());
    }

    /// Two or three jobs with lists of their own fill the same containers, in any order of their runs.
    #[test]
    fn promise_08_no_job_removes_what_another_claims_or_what_is_not_ours(
        modes in proptest::collection::vec(mode(), 2..4),
        steps in proptest::collection::vec((0..3_usize, edits(6)), 1..9),
    ) {
        let mut builder = world();
        for (n, mode) in modes.iter().enumerate() {
            builder = builder.job(&format!("job{n}"), free_policy(*mode));
        }
        let world = builder.build();
        let catalogs: Vec<_> = modes.iter().map(|_| world.catalog.fork()).collect();
        let engines: Vec<_> = catalogs.iter().map(|catalog| world.engine_over(catalog, "one")).collect();
        for (n, stage) in steps {
            let n = n % modes.len();
            world.edit_over(&catalogs[n], &stage);
            let name = format!("job{n}");
            let model = Model::over(&world, &catalogs[n], &name, modes[n], Drift::Restore);
            let id = job(&name);
            let run = engines[n].run(&world.tenant, &id, RunRequest::everything());
            let report = block_on(run).expect("a run");
            prop_assert!(report.is_ok(), "{:?}", report);
            for operation in report.operations.iter().filter(|operation| operation.action == "remove") {
                let who = operation.subject.principal().expect("a membership");
                let key = (operation.container.clone(), who.clone());
                prop_assert!(model.present[&key.0].contains(&key.1));
                prop_assert!(!model.desired[&key.0].contains(&key.1));
                prop_assert!(!model.claimed_beside.contains(&key), "{:?} is claimed by another job", key);
                prop_assert!(modes[n] == Mode::Mirror || model.base.contains(&key), "{:?} is not ours", key);
            }
            prop_assert_eq!(world.present(), model.after);
            prop_assert_eq!(world.claims(), model.ledger);
        }
    }
}

/// A run that has nothing to do leaves no trace that anybody but the list of runs would show.
#[test]
fn promise_03_an_idle_run_writes_no_log() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build();
    world.save(&World::new_job("sync", free_policy(Mode::Managed)));
    let _ = world.settle("sync");
    let audit = world.log_len(Log::Audit);
    let _ = world.settle("sync");
    assert_eq!(world.log_len(Log::Audit), audit);
    assert_eq!(world.log_len(Log::Outbox), 0);
}

/// A plan survives storage, and nobody can change it there.
#[test]
fn a_plan_in_a_review_is_the_plan_that_is_run() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build();
    world.save(&World::new_job("sync", free_policy(Mode::Managed)));
    let json = world.plan("sync").to_json();
    let read = Plan::from_json(&json).expect("a plan");
    let is_add = |operation: &usersync::reconcile::Operation| matches!(operation.action, Action::Add(_));
    assert!(read.sections()[0].operations.iter().all(is_add));
    let report = world
        .try_run("sync", RunRequest::everything().exactly(read))
        .expect("a run");
    assert_eq!(report.end, RunEnd::Changed);
    assert!(Plan::from_json(&json.replace("hr\",\"object\":\"ada", "hr\",\"object\":\"eve")).is_err());
}
