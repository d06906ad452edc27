//! Notifications that were given up, and what people do with them.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, News, Recipient, Retry};
use usersync::engine::DeadLetter;
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::OperationId;
use usersync::reconcile::Mode;
use usersync::store::Log;
use usersync_tests::{World, free_policy, job, user};

/// A world where both notifications to Ada were given up.
fn world() -> World {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let (kind, retry) = (ErrorKind::InvalidData, Retry::Never);
    let refuse = FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Notify);
    world.faults.inject(refuse.principal(user("ada")));
    let _ = world.run("sync");
    for _ in 0..100 {
        if world.log_len(Log::Outbox) == 0 {
            break;
        }
        world.clock.advance(Duration::from_secs(5 * 3600));
        assert_eq!(deliver(&world), 0);
    }
    world.faults.heal();
    world
}

fn deliver(world: &World) -> usize {
    block_on(world.engine().deliver(&world.tenant)).expect("the outbox can be read")
}

fn letters(world: &World) -> Vec<DeadLetter> {
    block_on(world.engine().dead_letters(&world.tenant)).expect("the store works")
}

fn discard(world: &World, key: &OperationId) -> bool {
    let discard = world
        .engine()
        .discard(&world.tenant, key, user("boss"), "she left");
    block_on(discard).expect("the store works")
}

fn requeue(world: &World, key: &OperationId) -> bool {
    block_on(world.engine().requeue(&world.tenant, key)).expect("the store works")
}

/// What Ada was told.
fn told(world: &World) -> Vec<News> {
    let delivered = world.notifier.delivered().into_iter();
    let hers = delivered.filter(|told| told.recipient == Recipient::Principal(user("ada")));
    hers.map(|told| told.news).collect()
}

#[test]
fn a_discarded_letter_is_gone_and_on_record() {
    let world = world();
    let keys: Vec<OperationId> = letters(&world)
        .iter()
        .map(|letter| letter.notification.key)
        .collect();
    assert_eq!(keys.len(), 2);
    assert!(discard(&world, &keys[0]));
    assert_eq!(letters(&world).len(), 1);
    // At the same moment: each has a record of its own.
    assert!(discard(&world, &keys[1]));
    assert!(letters(&world).is_empty());
    for key in &keys {
        assert!(!discard(&world, key), "it is gone");
        assert!(!requeue(&world, key), "it is gone");
    }
    world.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(deliver(&world), 0);
    assert!(told(&world).is_empty());
    let records = block_on(world.engine().job_audit(&world.tenant)).expect("the log can be read");
    let now = usersync::connector::Clock::now(&world.clock) - chrono::TimeDelta::hours(24);
    let mut discarded: Vec<OperationId> = Vec::new();
    for record in records {
        assert_eq!((&record.job, &*record.action), (&job("sync"), "discarded"));
        assert_eq!(
            (&record.by, &*record.why, record.at),
            (&user("boss"), "she left", now)
        );
        discarded.extend(record.notification);
    }
    assert_eq!(discarded, keys);
    // Records of operations are read as before.
    assert_eq!(world.audit().len(), 4);
}

#[test]
fn a_letter_is_either_discarded_or_put_back() {
    let world = world();
    let letters = letters(&world);
    let [first, second] = [&letters[0], &letters[1]].map(|letter| letter.notification.key);
    assert!(requeue(&world, &first));
    assert!(!discard(&world, &first), "it waits in the outbox");
    assert!(discard(&world, &second));
    assert_eq!(deliver(&world), 1);
    assert_eq!(told(&world), [letters[0].notification.news.clone()]);
}

/// One that is refused and not given up yet is no dead letter, and other tenants have none of this key.
#[test]
fn only_a_dead_letter_of_the_tenant_is_discarded() {
    let world = world();
    let key = letters(&world)[0].notification.key;
    let other = usersync::model::TenantId::new("other").expect("an id");
    let theirs = world.engine().discard(&other, &key, user("boss"), "");
    assert!(!block_on(theirs).expect("the store works"));
    assert!(requeue(&world, &key));
    let (kind, retry) = (ErrorKind::InvalidData, Retry::Never);
    world
        .faults
        .inject(FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Notify));
    assert_eq!(deliver(&world), 0);
    assert!(!discard(&world, &key), "it is tried again");
    world.faults.heal();
    world.clock.advance(Duration::from_secs(5 * 3600));
    assert_eq!(deliver(&world), 1);
    assert_eq!(letters(&world).len(), 1);
}
