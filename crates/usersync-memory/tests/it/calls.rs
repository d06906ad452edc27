//! What was called, in order.

use futures::executor::block_on;
use usersync_connector::{MembershipRead, MembershipTarget};
use usersync_memory::{CallKind, Calls, Faults, Recording};
use usersync_model::{ContainerRef, Subject};
use usersync_store::{LedgerKey, StateRead, Transaction};

use usersync_connector::{ContainerCatalog, Directory};
use usersync_memory::MemoryCatalog;
use usersync_store::StateStore;

use crate::support::{
    add, apply_one, context, directory, everything, object, operation_id, principal, remove, store, system,
    target, tenant,
};

#[test]
fn one_record_shows_the_order_among_backends() {
    let (calls, faults) = (Calls::default(), Faults::default());
    let directory = directory(1).with_calls(&calls).with_faults(&faults);
    let catalog = MemoryCatalog::new([]).with_calls(&calls).with_faults(&faults);
    let target = target(everything(), &[]).with_calls(&calls).with_faults(&faults);
    let store = store().0.with_calls(&calls).with_faults(&faults);
    let team = ContainerRef::parse("share", "team").unwrap();
    let key = LedgerKey::member(team.clone(), principal("ada"));
    block_on(async {
        drop(directory.read(None, &context()));
        drop(catalog.containers(Some(vec![team]), &context()));
        drop(target.members(vec![object("club"), object("team")], &context()));
        store.ledger_row(&tenant("acme"), &key).await.unwrap();
        target
            .apply(&object("team"), &[add("ada"), remove("bob")], &context())
            .await;
        target
            .member(&object("team"), &principal("ada"), &context())
            .await
            .unwrap();
        store.commit(Transaction::new(tenant("acme"))).await.unwrap();
    });
    let lines: Vec<_> = calls
        .all()
        .iter()
        .map(|call| format!("{} {call}", call.number))
        .collect();
    assert_eq!(
        lines,
        [
            "1 directory by job owner hr:eve",
            "2 containers team by job owner hr:eve",
            "3 members club team by job owner hr:eve",
            "4 ledger_row team hr:ada",
            "5 add team hr:ada by job owner hr:eve",
            "6 remove team hr:bob by job owner hr:eve",
            "7 member team hr:ada by job owner hr:eve",
            "8 commit",
        ]
    );
    assert_eq!(calls.effects(), 2);
}

#[test]
fn a_call_says_for_whom_and_which_operation() {
    let target = target(everything(), &[]);
    block_on(target.apply(&object("team"), &[add("ada"), add("bob")], &context()));
    let calls = target.calls();
    let last = &calls[1];
    assert_eq!(last.operation, Some(operation_id("add bob")));
    assert_eq!(last.actor, Some(context().actor));
    assert_eq!(last.job, Some(context().job));
    assert_eq!(last.tenant, Some(tenant("acme")));
    assert_eq!(last.system, Some(system("share")));
    assert_eq!(last.subject, Some(Subject::Principal(principal("bob"))));
    assert_eq!(calls.iter().map(|call| call.position).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn recording_has_bounds_and_counting_has_none() {
    for (recording, want) in [
        (Recording::All, vec![1, 2, 3, 4, 5]),
        (Recording::Last(2), vec![4, 5]),
        (Recording::Last(0), vec![]),
        (Recording::Off, vec![]),
    ] {
        let target = target(everything(), &[]).with_calls(&Calls::new(recording));
        for who in ["a", "b", "c", "d", "e"] {
            apply_one(&target, add(who)).unwrap();
        }
        let numbers: Vec<_> = target.calls().iter().map(|call| call.number).collect();
        assert_eq!(numbers, want, "{recording:?}");
        assert_eq!(target.call_record().count(CallKind::Add), 5);
        assert_eq!(target.call_record().effects(), 5);
        target.call_record().set_recording(Recording::Last(1));
        assert_eq!(target.calls().len(), want.len().min(1));
        target.call_record().clear();
        assert_eq!((target.calls().len(), target.call_record().effects()), (0, 0));
    }
}

#[test]
fn looking_is_not_calling() {
    let target = target(everything(), &["a"]);
    let (store, _) = store();
    drop((
        target.snapshot(),
        target.members_of(&object("team")),
        store.snapshot(&tenant("acme")),
    ));
    assert_eq!((target.calls().len(), target.faults().calls()), (0, 0));
    assert_eq!((store.calls().len(), store.faults().calls()), (0, 0));
}
