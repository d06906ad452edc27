//! What is asked before anything is run: previews of records, and whether what the ledger says is still there.

use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{ReadOf, Scope};
use usersync::memory::{CallKind, Calls, Fault, FaultRule};
use usersync::model::SystemId;
use usersync::reconcile::Mode;
use usersync_tests::edit::{cases, mode, world};
use usersync_tests::records::RecordWorld;
use usersync_tests::records::edit::staff;
use usersync_tests::{World, edit, free_policy, job, records};

/// The calls that change anything, anywhere.
fn writes(calls: &Calls) -> Vec<String> {
    let writes = [
        CallKind::Acquire,
        CallKind::Commit,
        CallKind::Notify,
        CallKind::Release,
        CallKind::Renew,
    ];
    let made = calls.all().into_iter();
    made.filter(|call| call.kind.is_effect() || writes.contains(&call.kind))
        .map(|call| call.to_string())
        .collect()
}

proptest! {
    #![proptest_config(cases(128))]

    /// A preview by handles that cannot write and one by the engine show the same, and leave everything as it was; the run behind them
    /// does what they showed.
    #[test]
    fn promise_06_a_preview_of_records_writes_nothing_anywhere(
        before in records::edit::edits(10),
        after in records::edit::edits(8),
        changes in any::<bool>(),
    ) {
        let mut builder = RecordWorld::builder().staff(&staff()).job(RecordWorld::distribution("share", "staff"));
        if !changes {
            builder = builder.without_changes();
        }
        let world = builder.build();
        world.edit(&before);
        let _ = world.run("share");
        world.edit(&after);
        let everything = || {
            let store = world.store.snapshot(&world.tenant);
            (store, world.target.snapshot(), world.source.snapshot(), world.notifier.delivered())
        };
        let looked_at = everything();
        world.calls.clear();
        let shown = world.plan("share");
        let by_engine = block_on(world.engine().preview(&world.tenant, &job("share"), &Scope::Everything));
        prop_assert_eq!(by_engine.expect("a preview").plan().digest(), shown.digest());
        prop_assert_eq!(everything(), looked_at);
        prop_assert_eq!(writes(&world.calls), Vec::<String>::new());
        let ran = world.run("share").plan.expect("a plan");
        prop_assert_eq!(ran.digest(), shown.digest());
    }

    #[test]
    fn promise_06_to_verify_writes_nothing_anywhere(
        mode in mode(),
        before in edit::edits(14),
        after in edit::edits(8),
    ) {
        let world = world().job("sync", free_policy(mode)).build();
        world.edit(&before);
        let _ = world.run("sync");
        world.edit(&after);
        let looked_at = world.snapshot();
        world.calls.clear();
        block_on(world.engine().verify(&world.tenant, &job("sync"))).expect("it can be looked at");
        prop_assert_eq!(world.snapshot(), looked_at);
        prop_assert_eq!(writes(&world.calls), Vec::<String>::new());
    }
}

/// Which reads failed is told as by the run, of members and of records.
#[test]
fn a_preview_says_which_reads_failed() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    assert_eq!(world.planned("sync", &Scope::Everything).failed_reads(), []);
    let cases = [
        (
            CallKind::Directory,
            ReadOf::Source(SystemId::new("hr").expect("an id")),
        ),
        (
            CallKind::Members,
            ReadOf::Target(SystemId::new("share").expect("an id")),
        ),
    ];
    for (call, what) in cases {
        let (kind, retry) = (ErrorKind::RateLimited, Retry::After(Duration::from_secs(7)));
        world
            .faults
            .inject(FaultRule::new(Fault::Failed { kind, retry }).on(call));
        let shown = world.planned("sync", &Scope::Everything);
        let [failed] = shown.failed_reads() else {
            unreachable!("one read failed: {:?}", shown.failed_reads())
        };
        assert_eq!(
            (&failed.what, failed.kind, failed.retry),
            (&what, kind.code(), retry)
        );
        assert_eq!(shown.failed_reads(), world.run("sync").failed_reads);
        world.faults.heal();
    }
    let world = RecordWorld::builder()
        .staff(&staff())
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    assert_eq!(world.planned("share", &Scope::Everything).failed_reads(), []);
    let failing = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world
        .faults
        .inject(FaultRule::new(failing).on(CallKind::Directory));
    let shown = world.planned("share", &Scope::Everything);
    assert_eq!(shown.failed_reads().len(), 1);
    assert_eq!(shown.failed_reads(), world.run("share").failed_reads);
}
