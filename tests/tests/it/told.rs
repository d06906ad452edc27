//! What people are told, beside what happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::Index;
use usersync::connector::{ErrorKind, News, Notification, Recipient, Retry, TargetCapabilities};
use usersync::engine::{Outcome, RunRequest};
use usersync::memory::{Fault, FaultRule, MemoryTarget, Moment};
use usersync::model::{ContainerRef, ObjectId, OperationId, PrincipalRef, Subject};
use usersync::reconcile::{Action, Plan};
use usersync::store::{Log, StoreErrorKind};
use usersync_tests::edit::{cases, edits, mode, world};
use usersync_tests::{
    LEASE, Presence, World, crash, eventful, every_capability, free_policy, job, least_capability, records,
};

/// How often somebody came to a container, or went.
type Counted = BTreeMap<(ContainerRef, PrincipalRef, &'static str), usize>;

/// Counts who came and who went between two looks at the target.
fn count(counted: &mut Counted, before: &Presence, after: &Presence) {
    for (id, now) in after {
        let was = &before[id];
        let came = now.difference(was).map(|who| (who, "add"));
        let went = was.difference(now).map(|who| (who, "remove"));
        for (who, what) in came.chain(went) {
            *counted.entry((id.clone(), who.clone(), what)).or_default() += 1;
        }
    }
}

fn told(world: &World) -> Counted {
    let mut counted = Counted::new();
    for notification in world.notifier.delivered() {
        let (Recipient::Principal(who), news) = (notification.recipient, notification.news) else {
            continue;
        };
        let (container, what) = match news {
            News::MemberAdded { container, .. } => (container, "add"),
            News::MemberRemoved { container } => (container, "remove"),
            _ => continue,
        };
        *counted.entry((container, who, what)).or_default() += 1;
    }
    counted
}

/// What a person did while a run was on its way: who was where before it, and behind it.
type Deed = Arc<Mutex<Option<(Presence, Presence)>>>;

/// At this call of a run, a person makes one of the additions that the run is about to make.
fn add_by_hand(world: &World, call: u64, which: Index) -> Deed {
    let deed = Deed::default();
    let (told, target, system) = (Arc::clone(&deed), world.target.clone(), world.target_system());
    let Some((place, who)) = addition(&world.plan("sync"), which) else {
        return deed;
    };
    let look = move |target: &MemoryTarget| -> Presence {
        let containers = target.snapshot().into_iter();
        let named = |id| ContainerRef::new(system.clone(), id);
        containers
            .map(|(id, members)| (named(id), members.into_keys().collect()))
            .collect()
    };
    let act = move || {
        let before = look(&target);
        target.add_by_hand(&place, who.clone());
        *told.lock().expect("nobody panics") = Some((before, look(&target)));
    };
    let call = world.faults.calls() + call;
    world
        .faults
        .inject(FaultRule::meanwhile(act).at_call(call).once());
    deed
}

/// One of the additions of a plan.
fn addition(plan: &Plan, which: Index) -> Option<(ObjectId, PrincipalRef)> {
    let mut additions = Vec::new();
    for section in plan.sections() {
        let adds = section
            .operations
            .iter()
            .filter(|operation| matches!(operation.action, Action::Add(_)));
        let who = adds.filter_map(|operation| operation.subject.principal().cloned());
        additions.extend(who.map(|who| (section.container.object.clone(), who)));
    }
    (!additions.is_empty()).then(|| additions.swap_remove(which.index(additions.len())))
}

/// What goes wrong in a stage.
#[derive(Clone, Debug)]
enum Trouble {
    /// One call in so many fails, is not answered, or is the last one of its process.
    Faults(u64, u64),
    /// A person makes one of the additions at a call.
    Person(u64, Index),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        2 => (4..30_u64, any::<u64>()).prop_map(|(often, seed)| Trouble::Faults(often, seed)),
        1 => (1..60_u64, any::<Index>()).prop_map(|(call, which)| Trouble::Person(call, which)),
    ]
}

fn every_fault() -> [Fault; 7] {
    [
        Fault::Conflict,
        Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry: Retry::Later,
        },
        Fault::Hang(Moment::Before),
        Fault::Hang(Moment::After),
        Fault::StoreFailed(StoreErrorKind::Unavailable),
        Fault::Timeout(Moment::Before),
        Fault::Timeout(Moment::After),
    ]
}

fn target() -> impl Strategy<Value = TargetCapabilities> {
    let without_key = TargetCapabilities {
        idempotency_key: false,
        ..every_capability()
    };
    prop_oneof![
        Just(every_capability()),
        Just(without_key),
        Just(least_capability())
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    /// Runs fail, lose answers and die at any call, or a person is faster. Whoever came to a container or went in one of them is
    /// told once, and it is on record once; nobody is told of anything else.
    #[test]
    fn promise_25_each_change_at_the_target_is_told_once_whatever_breaks(
        mode in mode(),
        target in target(),
        before in edits(10),
        stages in proptest::collection::vec((edits(6), trouble()), 1..4),
    ) {
        let mut world = world().capabilities(target).job("sync", free_policy(mode)).build();
        world.edit(&before);
        let mut happened = Counted::new();
        for (stage, trouble) in stages {
            world.edit(&stage);
            let present = world.present();
            let mut deed = Deed::default();
            match trouble {
                Trouble::Faults(often, seed) => {
                    let n = often.try_into().expect("not zero");
                    for (salt, fault) in every_fault().into_iter().enumerate() {
                        world.faults.inject(FaultRule::new(fault).one_in(n, seed ^ (salt as u64) << 24));
                    }
                }
                Trouble::Person(call, which) => deed = add_by_hand(&world, call, which),
            }
            for _ in 0..2 {
                let _ = crash(world.engine().run(&world.tenant, &job("sync"), RunRequest::everything()));
                world.clock.advance(LEASE * 2);
                world.restart();
            }
            world.faults.heal();
            let _ = world.settle("sync");
            match deed.lock().expect("nobody panics").take() {
                None => count(&mut happened, &present, &world.present()),
                Some((before, behind)) => {
                    count(&mut happened, &present, &before);
                    count(&mut happened, &behind, &world.present());
                }
            }
        }
        // What was refused waits for a while.
        world.clock.advance(LEASE * 60);
        let _ = world.run("sync");
        prop_assert_eq!(world.log_len(Log::Outbox), 0);
        prop_assert_eq!(told(&world), happened.clone());
        let audit = world.audit().into_iter();
        let applied: Vec<_> = audit.filter(|record| record.outcome == "applied").collect();
        let keys: BTreeSet<_> = applied.iter().map(|record| record.operation).collect();
        prop_assert_eq!(keys.len(), applied.len(), "an operation is on record as applied twice");
        let moves = applied.iter().filter(|record| record.action != "update").count();
        prop_assert_eq!(moves, happened.values().sum::<usize>());
        for notification in world.notifier.delivered() {
            if matches!(notification.recipient, Recipient::Principal(_)) {
                prop_assert!(keys.contains(&notification.key));
            }
        }
    }
}

/// An operation, or what was told of one: its id, what it did, where, and to whom or to what.
type Deeds = BTreeSet<(OperationId, &'static str, ContainerRef, Subject)>;

fn in_words(notification: &Notification) -> Option<(OperationId, &'static str, ContainerRef, Subject)> {
    let (action, place, record) = match &notification.news {
        News::MemberAdded { container, .. } => ("add", container, None),
        News::MemberRemoved { container } => ("remove", container, None),
        News::MemberUpdated { container, .. } => ("update", container, None),
        News::RecordChanged { collection, record } => ("change", collection, Some(record)),
        News::RecordCreated { collection, record } => ("create", collection, Some(record)),
        News::RecordDeleted { collection, record } => ("delete", collection, Some(record)),
        _ => return None,
    };
    let subject = match (&notification.recipient, record) {
        (Recipient::Principal(who), None) => Subject::Principal(who.clone()),
        (Recipient::Collection(collection), Some(record)) if collection == place => {
            Subject::Record(record.clone())
        }
        _ => return None,
    };
    Some((notification.key, action, place.clone(), subject))
}

/// Whom it concerns is told, be it a member, or whose collection it is.
#[test]
fn every_kind_of_effect_is_told_in_words_of_its_own() {
    let members = eventful(every_capability());
    let records = records::eventful(every_capability(), true);
    let seen = (
        members.notifier.delivered().len(),
        records.notifier.delivered().len(),
    );
    let reports = [members.run("sync"), records.run("share")];
    let news = [
        members.notifier.delivered().split_off(seen.0),
        records.notifier.delivered().split_off(seen.1),
    ];
    let mut actions = BTreeSet::new();
    for (report, news) in reports.into_iter().zip(news) {
        let applied = report
            .operations
            .into_iter()
            .filter(|operation| operation.outcome == Outcome::Applied);
        let applied: Deeds = applied
            .map(|one| (one.operation, one.action, one.container, one.subject))
            .collect();
        actions.extend(applied.iter().map(|(_, action, ..)| *action));
        let told: Deeds = news.iter().filter_map(in_words).collect();
        assert_eq!(told, applied);
    }
    let every = ["add", "change", "create", "delete", "remove", "update"];
    assert!(actions.iter().eq(&every), "{actions:?}");
}
