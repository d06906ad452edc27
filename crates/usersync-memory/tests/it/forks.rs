//! Copies that go their own way.

use std::collections::BTreeMap;

use futures::executor::block_on;
use usersync_connector::{Directory, MembersEntry, MembershipRead, Reader, TargetCapabilities};
use usersync_license::{Entitlement, Quantities};
use usersync_memory::{
    CallKind, Fault, FaultRule, ManualClock, MemoryAccounts, MemoryActors, MemoryCatalog, MemoryEntitlement,
    MemoryNotifier, MemoryRecords, MemorySubscriptions, Recording,
};
use usersync_model::{
    Container, ContainerKind, ContainerRef, LedgerRow, Origin, Principal, PrincipalKind, Record, RecordKind,
    RecordRef, Selection, SubscriptionResource,
};
use usersync_store::{Key, LedgerKey, StateStore, Table, Transaction, Write};

use crate::support::{
    add, apply_one, context, directory, everything, names, object, principal, remove, store, system, target,
    tenant,
};

#[test]
fn a_targets_fork_goes_its_own_way() {
    let target = target(everything(), &["a"]);
    apply_one(&target, add("b")).unwrap();
    target.faults().inject(FaultRule::new(Fault::Conflict));
    target.call_record().set_recording(Recording::Last(1));
    let fork = target.fork();
    apply_one(&fork, remove("a")).unwrap();
    target.add_by_hand(&object("team"), principal("c"));
    assert_eq!(
        (names(&target), names(&fork)),
        ("a b c".to_owned(), "b".to_owned())
    );
    assert_eq!(fork.call_record().count(CallKind::Add), 0);
    assert_eq!(fork.faults().calls(), 1);
    // What had its effect before the fork has none after it.
    fork.remove_by_hand(&object("team"), &principal("b"));
    assert!(apply_one(&fork, add("b")).unwrap().changed);
    assert_eq!(names(&fork), "");
    assert_eq!(fork.calls().len(), 1, "recording is as bounded as before");
}

#[test]
fn a_directorys_fork_knows_the_cursors_given_before() {
    let directory = directory(2).with_changes();
    let cursor = |directory: &usersync_memory::MemoryDirectory, since| {
        block_on(Reader::new(directory.read(since, &context())).collect())
    };
    let (_, end) = cursor(&directory, None);
    let fork = directory.fork();
    fork.remove(&object("u0"));
    directory.put(Principal::new(object("u9"), PrincipalKind::User, "Nine"));
    let (changes, _) = cursor(&fork, end.cursor.clone());
    assert_eq!(changes.len(), 3, "u0 and its two memberships: {changes:?}");
    let (changes, _) = cursor(&directory, end.cursor);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(directory.members_of(&object("g")).len(), 2);
    assert_eq!(fork.members_of(&object("g")).len(), 1);
}

fn transaction(writes: impl IntoIterator<Item = Write>) -> Transaction {
    Transaction {
        writes: writes.into_iter().collect(),
        ..Transaction::new(tenant("acme"))
    }
}

fn row(container: &str, who: &str) -> Write {
    let container = ContainerRef::parse("share", container).unwrap();
    Write::Ledger {
        key: LedgerKey::member(container, principal(who)),
        row: Some(LedgerRow::new(Origin::Ours, [context().job])),
    }
}

#[test]
fn a_stores_fork_goes_its_own_way() {
    let (store, clock) = store();
    let put = |bytes: &[u8]| Write::Put {
        table: Table::Base,
        key: Key::of(&["k"]),
        bytes: bytes.to_vec(),
    };
    block_on(store.commit(transaction([put(b"old"), row("team", "a")]))).unwrap();
    let before = store.snapshot(&tenant("acme"));
    let fork = store.fork_with_clock(std::sync::Arc::new(clock.fork()));
    assert_eq!(fork.snapshot(&tenant("acme")), before);
    block_on(fork.commit(transaction([put(b"new"), row("team", "b"), row("club", "a")]))).unwrap();
    assert_eq!(store.snapshot(&tenant("acme")), before);
    assert_eq!(fork.snapshot(&tenant("acme")).ledger.len(), 3);
    // Leases taken before the fork are held in it, and end by its own clock.
    let name = usersync_store::LeaseName {
        tenant: tenant("acme"),
        key: Key::of(&["job"]),
    };
    let ttl = std::time::Duration::from_secs(60);
    let lease = block_on(store.acquire(&name, "first", ttl)).unwrap();
    let later = ManualClock::new(lease.expires);
    assert!(block_on(store.fork().acquire(&name, "second", ttl)).is_err());
    let late = store.fork_with_clock(std::sync::Arc::new(later));
    assert!(block_on(late.acquire(&name, "second", ttl)).unwrap().token > lease.token);
    assert!(block_on(store.renew(&lease, ttl)).is_ok());
}

#[test]
fn a_read_shows_what_was_there_when_it_was_asked_for() {
    let target = target(TargetCapabilities::default(), &["a", "b"]);
    let read = target.members(vec![object("team")], &context());
    target.remove_container(&object("team"));
    let (entries, _) = block_on(Reader::new(read).collect());
    assert!(matches!(&entries[..], [MembersEntry::Members { members, .. }] if members.len() == 2));
}

#[test]
fn what_the_host_provides_forks_too() {
    let id = ContainerRef::parse("share", "team").unwrap();
    let selection = || Selection::of([principal("a")]);
    let catalog = MemoryCatalog::new([Container::new(
        id.clone(),
        ContainerKind::Team,
        "Team",
        selection(),
    )]);
    let fork = catalog.fork();
    assert!(fork.select(&id, Selection::default()));
    assert_eq!(catalog.container(&id).unwrap().selection, selection());
    assert!(fork.container(&id).unwrap().selection.is_empty());
    assert!(fork.edit(&id, |container| container.id =
        ContainerRef::parse("share", "x").unwrap()));
    assert_eq!(fork.remove(&id).unwrap().id, id, "an edit cannot change the id");

    let records = MemoryRecords::new(system("mail"), everything());
    let record = Record {
        id: RecordRef::parse("hr", "1").unwrap(),
        kind: RecordKind::new("contact").unwrap(),
        facets: BTreeMap::new(),
    };
    let fork = records.fork();
    assert!(fork.put_by_hand(None, record.clone()));
    assert!(!fork.put_by_hand(None, record.clone()));
    assert_eq!(
        (records.records_of(None), fork.records_of(None)),
        (Some(vec![]), Some(vec![record]))
    );

    let entitlement = MemoryEntitlement::new();
    entitlement.fork().set(&tenant("acme"), Some(Entitlement::new(1)));
    let (subscriptions, acme) = (MemorySubscriptions::new(system("billing")), object("acme"));
    subscriptions.set(acme.clone(), Quantities::default());
    let seats = SubscriptionResource::new("seats").unwrap();
    subscriptions.fork().book_by_hand(acme.clone(), seats.clone(), 5);
    assert_eq!(subscriptions.booked_by(&acme).unwrap().of(&seats), 0);
    let accounts = MemoryAccounts::new(system("crm"));
    assert!(accounts.fork().snapshot().is_empty());
    let (actors, notifier) = (MemoryActors::new(), MemoryNotifier::new());
    actors.fork().set(
        &tenant("acme"),
        principal("a"),
        usersync_connector::ActorState::Active,
    );
    assert!(notifier.fork().delivered().is_empty());
    block_on(async {
        use usersync_connector::{ActorDirectory, ActorState, EntitlementSource};
        assert!(entitlement.entitlement(&tenant("acme")).await.is_err());
        let state = actors.state(&tenant("acme"), &principal("a")).await;
        assert_eq!(state.unwrap(), ActorState::Missing);
    });
}
