//! Notifications: at least once, in order for each recipient, whatever becomes of deliveries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ErrorKind, News, Recipient, Retry};
use usersync::engine::{Engine, Options, RunEnd};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::reconcile::Mode;
use usersync::store::{Key, Log, Table, Transaction, Write};
use usersync_tests::edit::cases;
use usersync_tests::yielding::Workers;
use usersync_tests::{Crash, LEASE, World, crash, free_policy, job, user};

const HOUR: u64 = 3600;

fn world() -> World {
    World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

fn refuse(kind: ErrorKind, retry: Retry) -> FaultRule {
    FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Notify)
}

fn deliver(world: &World) -> usize {
    block_on(world.engine().deliver(&world.tenant)).expect("the outbox can be read")
}

/// What a user was told, in order.
fn told(world: &World, who: &str) -> String {
    let delivered = world.notifier.delivered().into_iter();
    let theirs = delivered.filter(|told| told.recipient == Recipient::Principal(user(who)));
    let show = |news| match news {
        News::MemberAdded { container, .. } => format!("+{}", container.object),
        News::MemberRemoved { container } => format!("-{}", container.object),
        news => format!("{news:?}"),
    };
    theirs.map(|told| show(told.news)).collect::<Vec<_>>().join(" ")
}

/// Refused again and again, a notification is given up, in sight; what comes after it goes on, and it can come again.
#[test]
fn what_is_refused_too_often_becomes_a_dead_letter() {
    let mut world = world();
    world
        .faults
        .inject(refuse(ErrorKind::InvalidData, Retry::Never).principal(user("ada")));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(
        (&*told(&world, "ada"), &*told(&world, "bob")),
        ("", "+album +team")
    );
    let next = || block_on(world.engine().next_delivery(&world.tenant)).expect("the outbox can be read");
    let now = || usersync::connector::Clock::now(&world.clock);
    let mut pauses = Vec::new();
    while world.log_len(Log::Outbox) == 2 {
        let pause = next().expect("something waits") - now();
        pauses.push(pause.num_seconds());
        world.clock.set(next().expect("something waits"));
        assert_eq!(deliver(&world), 0);
    }
    assert_eq!(pauses.len(), 11, "{pauses:?}");
    assert!(
        pauses
            .windows(2)
            .all(|two| two[0] < two[1] || two[1] > 4 * 3600 * 7 / 8 - 1),
        "{pauses:?}"
    );
    // The second one has its own turns, after the first was given up.
    assert_eq!(world.log_len(Log::Outbox), 1);
    world.faults.heal();
    world.restart();
    world.clock.advance(Duration::from_secs(5 * HOUR));
    assert_eq!(deliver(&world), 1);
    assert_eq!(told(&world, "ada"), "+team");

    let letters = block_on(world.engine().dead_letters(&world.tenant)).expect("the store works");
    let [letter] = &letters[..] else {
        unreachable!("one was given up: {letters:?}")
    };
    assert_eq!((letter.failures, &*letter.error), (12, "invalid_data"));
    let requeue = || {
        block_on(world.engine().requeue(&world.tenant, &letter.notification.key)).expect("the store works")
    };
    assert!(requeue());
    assert!(!requeue());
    assert_eq!(deliver(&world), 1);
    assert_eq!(told(&world, "ada"), "+team +album");
    assert!(
        block_on(world.engine().dead_letters(&world.tenant))
            .expect("the store works")
            .is_empty()
    );
    assert_eq!(
        block_on(world.engine().next_delivery(&world.tenant)).expect("the outbox can be read"),
        None
    );
}

#[test]
fn a_notifier_says_when_to_come_back() {
    let world = world();
    world.faults.inject(refuse(
        ErrorKind::RateLimited,
        Retry::After(Duration::from_secs(7 * HOUR)),
    ));
    let _ = world.run("sync");
    world.faults.heal();
    world.clock.advance(Duration::from_secs(7 * HOUR - 1));
    assert_eq!(deliver(&world), 0);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(deliver(&world), 6);
}

/// As a broken clock or a slip of units says it.
#[test]
fn a_notifier_cannot_put_off_for_years() {
    let world = world();
    let ages = Duration::from_secs(1_000_000 * HOUR);
    world
        .faults
        .inject(refuse(ErrorKind::RateLimited, Retry::After(ages)));
    let _ = world.run("sync");
    world.faults.heal();
    world.clock.advance(Duration::from_secs(24 * HOUR - 1));
    assert_eq!(deliver(&world), 0);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(deliver(&world), 6);
}

fn write(world: &World, writes: Vec<Write>) {
    let mut transaction = Transaction::new(world.tenant.clone());
    transaction.writes = writes;
    block_on(usersync::store::StateStore::commit(&world.store, transaction)).expect("the store works");
}

/// A newer program, or a hand, wrote an entry and what is known of refusals in a way that this one does not read: both stay, and
/// are told of, and everything else goes on.
#[test]
fn what_cannot_be_read_holds_up_nothing_else() {
    let mut world = world();
    world
        .faults
        .inject(refuse(ErrorKind::InvalidData, Retry::Never).principal(user("ada")));
    let next =
        |world: &World| block_on(world.engine().next_delivery(&world.tenant)).expect("the store works");
    let strange = Key::of(&["strange"]);
    let (log, bytes) = (Log::Outbox, b"from the future".to_vec());
    write(
        &world,
        vec![
            Write::Append {
                log,
                key: strange.clone(),
                bytes: bytes.clone(),
            },
            Write::Put {
                table: Table::Delivery,
                key: strange.clone(),
                bytes: bytes.clone(),
            },
        ],
    );
    assert_eq!(next(&world), None);
    let _ = world.run("sync");
    assert_eq!(
        (&*told(&world, "ada"), &*told(&world, "bob")),
        ("", "+album +team")
    );
    let pause = next(&world).expect("Ada waits") - usersync::connector::Clock::now(&world.clock);
    assert!(pause > chrono::TimeDelta::zero());
    let letters = block_on(world.engine().dead_letters(&world.tenant)).expect("the store works");
    assert_eq!(letters, []);
    // What is known of Ada's refusals cannot be read any more either: she is asked anew, and not at once again and again.
    let refusals = world
        .store
        .snapshot(&world.tenant)
        .values
        .remove(&Table::Delivery);
    for (key, _) in refusals
        .expect("Ada's is there")
        .into_iter()
        .filter(|(key, _)| *key != strange)
    {
        write(
            &world,
            vec![Write::Put {
                table: Table::Delivery,
                key,
                bytes: bytes.clone(),
            }],
        );
    }
    let try_now = |world: &World| block_on(world.engine().deliver(&world.tenant));
    assert!(next(&world).is_some_and(|next| next <= usersync::connector::Clock::now(&world.clock)));
    let unreadable = try_now(&world).expect_err("an entry cannot be read");
    assert_eq!(unreadable.code(), "store");
    assert!(next(&world).is_some_and(|next| next > usersync::connector::Clock::now(&world.clock)));
    world.faults.heal();
    world.clock.advance(Duration::from_secs(HOUR));
    world.restart();
    assert!(try_now(&world).is_err());
    assert_eq!(told(&world, "ada"), "+album +team");
    assert_eq!((world.log_len(Log::Outbox), next(&world)), (1, None));
}

/// The process comes back with a clock that is days behind: what waits does not wait for that long.
#[test]
fn a_clock_that_was_set_back_puts_nothing_off() {
    let mut world = world();
    world.faults.inject(refuse(ErrorKind::InvalidData, Retry::Never));
    let _ = world.run("sync");
    world.faults.heal();
    world.set_back(Duration::from_secs(72 * HOUR));
    let next = block_on(world.engine().next_delivery(&world.tenant)).expect("the outbox can be read");
    assert!(next.is_some_and(|next| next <= usersync::connector::Clock::now(&world.clock)));
    assert_eq!(deliver(&world), 6);
}

/// A notifier that does not answer holds up nobody for longer than the limit, and is asked no more than a few times.
#[test]
fn a_notifier_that_hangs_holds_up_no_run() {
    let world = world();
    world.clock.set_auto(true);
    world
        .faults
        .inject(FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Notify));
    let before = usersync::connector::Clock::now(&world.clock);
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Changed);
    // The run was over before: only its caller waited, 30 seconds for each of three recipients.
    assert_eq!(report.finished, before);
    assert!(usersync::connector::Clock::now(&world.clock) - before <= chrono::TimeDelta::seconds(90));
    world.faults.heal();
    world.clock.advance(Duration::from_secs(HOUR));
    assert_eq!(deliver(&world), 6);
}

/// When the notifier is out of order, not everybody in a long outbox is tried, but the next time others are.
#[test]
fn an_outage_is_noticed() {
    let people: Vec<String> = (0..50).map(|n| format!("p{n:02}")).collect();
    let world = World::builder()
        .group("staff", &people.join(" "))
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world.faults.inject(refuse(ErrorKind::Unavailable, Retry::Later));
    let _ = world.run("sync");
    assert_eq!(world.calls.count(CallKind::Notify), 16);
    assert_eq!(deliver(&world), 0);
    assert_eq!(world.calls.count(CallKind::Notify), 32);
    world.faults.heal();
    assert_eq!(deliver(&world), 18);
    world.clock.advance(Duration::from_secs(HOUR));
    assert_eq!(deliver(&world), 32);
}

/// Two workers never deliver at once; the second has nothing to do.
#[test]
fn one_worker_delivers() {
    let world = world();
    let other = world.new_engine("two");
    world.faults.inject(
        FaultRule::new(Fault::Hang(Moment::Before))
            .on(CallKind::Notify)
            .once(),
    );
    let (id, request) = (job("sync"), usersync::engine::RunRequest::everything());
    let mut workers = Workers::default();
    let run = workers.add(world.engine().run(&world.tenant, &id, request));
    assert!(!workers.step(run));
    assert_eq!(
        block_on(other.deliver(&world.tenant)).expect("the outbox can be read"),
        0
    );
    drop(workers);
    world.clock.advance(LEASE * 2);
    assert_eq!(
        block_on(other.deliver(&world.tenant)).expect("the outbox can be read"),
        6
    );
}

/// However long a host lets a notification take: nobody else begins to deliver meanwhile.
#[test]
fn a_notification_takes_no_longer_than_the_lease_allows() {
    let world = world();
    world.faults.inject(refuse(ErrorKind::Unavailable, Retry::Later));
    let _ = world.run("sync");
    world.faults.heal();
    world.clock.advance(Duration::from_secs(HOUR));
    let hang = FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Notify);
    world.faults.inject(hang.once());
    let mut options = Options::default();
    (options.lease, options.notify) = (LEASE, LEASE * 5);
    let patient = Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone().with_faults(&world.faults)),
    )
    .options(options)
    .build();
    let mut workers = Workers::default();
    let slow = workers.add(patient.deliver(&world.tenant));
    assert!(!workers.step(slow));
    world.clock.advance(LEASE / 4);
    assert!(workers.step(slow));
    assert_eq!(deliver(&world), 0);
    world.clock.advance(Duration::from_secs(HOUR));
    assert_eq!(deliver(&world), 2);
}

proptest! {
    #![proptest_config(cases(96))]

    /// Whatever fails, however often the process dies: everything is told at least once, with equal keys for equal news, and
    /// first deliveries are in the order of the outbox for each recipient.
    #[test]
    fn everything_is_told_in_order(
        seed in any::<u64>(),
        one_in in 2..6_u64,
        moves in proptest::collection::vec((0..3_usize, any::<bool>()), 1..12),
        kills in proptest::collection::vec(proptest::option::of(1..80_u64), 12),
    ) {
        let mut world = world();
        let people = ["ada", "bob", "cleo"];
        let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut inside = [false; 3];
        for (step, (person, there)) in std::iter::once((9, true)).chain(moves).enumerate() {
            for (n, who) in people.iter().enumerate() {
                let wanted = if n == person { there } else if step == 0 { true } else { inside[n] };
                if wanted != inside[n] {
                    inside[n] = wanted;
                    let sign = if wanted { '+' } else { '-' };
                    expected.entry(who).or_default().extend(["album", "team"].map(|name| format!("{sign}{name}")));
                    if step > 0 && wanted { world.join("staff", who); } else if step > 0 { world.leave("staff", who); }
                }
            }
            let faults = [
                Fault::Failed { kind: ErrorKind::Unavailable, retry: Retry::Later },
                Fault::Timeout(Moment::After),
                Fault::Timeout(Moment::Before),
            ];
            for (salt, fault) in faults.into_iter().enumerate() {
                let n = one_in.try_into().expect("not zero");
                world.faults.inject(FaultRule::new(fault).on(CallKind::Notify).one_in(n, seed ^ (salt as u64) << 16 ^ step as u64));
            }
            if let Some(call) = kills[step % kills.len()] {
                let call = world.faults.calls() + call;
                world.faults.inject(FaultRule::new(Fault::Hang(Moment::After)).at_call(call));
                let run = crash(world.engine().run(&world.tenant, &job("sync"), usersync::engine::RunRequest::everything()));
                world.faults.heal();
                if matches!(run, Crash::Stopped) {
                    world.clock.advance(LEASE * 2);
                    world.restart();
                }
            }
            let _ = world.settle("sync");
            world.faults.heal();
            world.clock.advance(Duration::from_secs(30));
        }
        for _ in 0..200 {
            if world.log_len(Log::Outbox) == 0 { break; }
            world.clock.advance(Duration::from_secs(HOUR));
            let _ = deliver(&world);
        }
        prop_assert_eq!(world.log_len(Log::Outbox), 0);
        prop_assert!(block_on(world.engine().dead_letters(&world.tenant)).expect("the store works").is_empty());
        let keys: BTreeSet<_> = world.notifier.delivered().iter().map(|told| told.key).collect();
        prop_assert_eq!(keys.len(), world.notifier.delivered().len());
        for who in people {
            // Within one run the containers may come in any order.
            let pairs = |list: &[String]| list.chunks(2).map(|pair| pair.iter().cloned().collect::<BTreeSet<_>>()).collect::<Vec<_>>();
            let list: Vec<String> = told(&world, who).split_whitespace().map(str::to_owned).collect();
            prop_assert_eq!(pairs(&list), pairs(&expected.remove(who).unwrap_or_default()), "{}", who);
        }
    }
}
