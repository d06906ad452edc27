//! What is asked before anything is run: previews of records, and whether what the ledger says is still there.

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::engine::Scope;
use usersync::memory::{CallKind, Calls};
use usersync_tests::edit::{cases, mode, world};
use usersync_tests::records::RecordWorld;
use usersync_tests::records::edit::staff;
use usersync_tests::{edit, free_policy, job, records};

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
