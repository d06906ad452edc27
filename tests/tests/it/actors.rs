//! In whose name a run acts while people who may act come and go.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync::connector::{Actor, ActorState, Authority, Notification, Recipient};
use usersync::engine::{NotStarted, Outcome, RunRequest};
use usersync::memory::{Call, CallKind, FaultRule};
use usersync::model::OperationId;
use usersync::reconcile::Mode;
use usersync_tests::edit::cases;
use usersync_tests::{World, free_policy, tenant, user};

/// Who may act, and which of the containers is whose; the third is nobody's, and so the job's owner's.
const ACTORS: [&str; 4] = ["eve", "fay", "boss", "root"];
const CONTAINERS: [&str; 3] = ["album", "team", "poll"];

/// More calls than such a run makes before its last effect.
const RUN: u64 = 110;

/// From which call on somebody is in which state.
type Changes = BTreeMap<u64, (usize, ActorState)>;

fn changes() -> impl Strategy<Value = Changes> {
    let state = prop_oneof![
        3 => Just(ActorState::Inactive),
        3 => Just(ActorState::Missing),
        2 => Just(ActorState::Active),
    ];
    proptest::collection::btree_map(1..RUN, (0..ACTORS.len(), state), 0..6)
}

fn owned(batch: usize, has_administrator: bool) -> World {
    let mut builder = World::builder().batch(batch);
    if has_administrator {
        builder = builder.administrator("root");
    }
    builder
        .group("staff", "u1 u2 u3 u4 u5")
        .owned("album", "eve", "staff")
        .owned("team", "fay", "staff")
        .container("poll", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

/// Who acts for a container while these are active; `None`: nobody.
fn acting(container: &str, active: &BTreeSet<&str>) -> Option<Actor> {
    let (owner, authority) = match container {
        "album" => ("eve", Authority::ContainerOwner),
        "team" => ("fay", Authority::ContainerOwner),
        _ => ("boss", Authority::JobOwner),
    };
    let of = |name: &str, authority| Actor {
        principal: user(name),
        authority,
    };
    if active.contains(owner) {
        Some(of(owner, authority))
    } else {
        active
            .contains("root")
            .then(|| of("root", Authority::Administrator))
    }
}

/// Who acted for a container at some moment of these calls.
fn could_act(
    container: &str,
    calls: std::ops::RangeInclusive<u64>,
    first: &BTreeSet<&'static str>,
    changes: &Changes,
) -> BTreeSet<Option<Actor>> {
    let mut active = first.clone();
    let mut could = BTreeSet::new();
    for call in 0..=*calls.end() {
        if let Some((who, state)) = changes.get(&call) {
            match state {
                ActorState::Active => active.insert(ACTORS[*who]),
                _ => active.remove(ACTORS[*who]),
            };
        }
        if calls.contains(&call) {
            could.insert(acting(container, &active));
        }
    }
    could
}

/// The batch of a call begins with the commit of its intents, before which the actor is asked for, and after the commit before that.
fn batch_of(call: &Call, calls: &[Call]) -> std::ops::RangeInclusive<u64> {
    let mut commits = calls
        .iter()
        .filter(|other| other.kind == CallKind::Commit && other.number < call.number)
        .map(|other| other.number)
        .rev();
    let intents = commits.next().expect("intents come before effects");
    commits.next().map_or(0, |before| before + 1)..=intents
}

proptest! {
    #![proptest_config(cases(384))]

    /// Every effect is in the name of who could act when its batch began, in the call, in the audit and in the news alike; what nobody
    /// could act for is not begun.
    #[test]
    fn promise_23_whoever_may_act_when_a_batch_begins_acts_in_it(
        changes in changes(),
        batch in 1..5_usize,
        has_administrator in any::<bool>(),
    ) {
        let world = owned(batch, has_administrator);
        let mut first = BTreeSet::from(["eve", "fay", "boss"]);
        if has_administrator {
            first.insert("root");
        }
        let before = world.faults.calls();
        let changes: Changes = changes
            .into_iter()
            .filter(|(_, (who, _))| has_administrator || ACTORS[*who] != "root")
            .map(|(call, change)| (before + call, change))
            .collect();
        for (call, (who, state)) in &changes {
            let (actors, who, state) = (world.actors.clone(), user(ACTORS[*who]), *state);
            let change = move || actors.set(&tenant(), who.clone(), state);
            world.faults.inject(FaultRule::meanwhile(change).at_call(*call).once());
        }
        world.calls.clear();
        let report = world.try_run("sync", RunRequest::everything()).expect("who may act can be asked");
        let calls = world.calls.all();
        let mut acted: BTreeMap<OperationId, Actor> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.kind.is_effect()) {
            let container = call.containers[0].as_str();
            let could = could_act(container, batch_of(call, &calls), &first, &changes);
            prop_assert!(could.contains(&call.actor), "{} while {:?} could act", call, could);
            let by = call.actor.clone().expect("nobody acts for nobody");
            acted.insert(call.operation.expect("effects are operations"), by);
        }
        for operation in &report.operations {
            let is_begun = operation.outcome != Outcome::NotStarted(NotStarted::NobodyActs);
            prop_assert_eq!(acted.contains_key(&operation.operation), is_begun, "{:?}", operation);
            if !is_begun {
                let container = operation.container.object.as_str();
                let last = calls.last().map_or(0, |call| call.number);
                let could = could_act(container, 0..=last, &first, &changes);
                prop_assert!(could.contains(&None), "somebody could act for {} all the time", container);
            }
        }
        let audited: BTreeMap<_, _> = world.audit().into_iter().map(|record| (record.operation, record.actor)).collect();
        prop_assert_eq!(&audited, &acted);
        let is_news = |told: &Notification| matches!(told.recipient, Recipient::Principal(_));
        for told in world.notifier.delivered().iter().filter(|told| is_news(told)) {
            prop_assert_eq!(told.sender.as_ref(), acted.get(&told.key));
        }
    }
}

/// Changes fall on every batch of a run, and on what is before and behind it.
#[test]
fn effects_are_among_the_calls_at_which_people_come_and_go() {
    let world = owned(1, true);
    let before = world.faults.calls();
    world.calls.clear();
    let _ = world.run("sync");
    let calls = world.calls.all();
    let effects = calls.iter().filter(|call| call.kind.is_effect());
    let effects: Vec<u64> = effects.map(|call| call.number - before).collect();
    assert_eq!(effects.len(), 5 * CONTAINERS.len());
    assert!(
        effects.iter().all(|number| (2..RUN).contains(number)),
        "{effects:?}"
    );
}
