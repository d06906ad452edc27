//! Which calls a rule meets.

use std::num::NonZeroU64;

use futures::FutureExt;
use futures::executor::block_on;
use usersync_connector::{
    ActorDirectory, ActorState, CallContext, MemberChange, MembershipRead, MembershipTarget,
};
use usersync_memory::{CallKind, Fault, FaultKind, FaultRule, Faults, MemoryActors, MemoryTarget, Moment};
use usersync_model::{MemberFacets, Subject};

use crate::support::{
    add, apply_one, context, everything, names, object, operation, principal, remove, system, target,
};

/// Ten additions under these rules: which of them failed, by number.
fn failed(rules: impl IntoIterator<Item = FaultRule>) -> Vec<u64> {
    let faults = Faults::new(rules);
    let target = target(everything(), &[]).with_faults(&faults);
    let failed = (1..=10).filter(|n| apply_one(&target, add(&format!("p{n}"))).is_err());
    let failed: Vec<_> = failed.collect();
    assert_eq!(faults.calls(), 10);
    assert_eq!(faults.fired_in_all(), failed.len() as u64);
    failed
}

#[test]
fn a_rule_meets_the_calls_it_names() {
    let rule = || FaultRule::new(Fault::Conflict);
    for (rules, want) in [
        (vec![], vec![]),
        (vec![rule()], (1..=10).collect()),
        (vec![rule().at_call(3)], vec![3]),
        (vec![rule().at_call(3), rule().at_call(7)], vec![3, 7]),
        (vec![rule().from_call(8)], vec![8, 9, 10]),
        (vec![rule().once()], vec![1]),
        (vec![rule().times(2).after(4)], vec![5, 6]),
        (vec![rule().times(0)], vec![]),
        (vec![rule().from_call(4).after(2).once()], vec![6]),
        (vec![rule().principal(principal("p6"))], vec![6]),
        (
            vec![
                rule()
                    .subject(Subject::Principal(principal("p6")))
                    .on(CallKind::Remove),
            ],
            vec![],
        ),
        (vec![rule().container(object("team")).at_call(2)], vec![2]),
        (vec![rule().container(object("other"))], vec![]),
        (vec![rule().system(system("share")).at_call(2)], vec![2]),
        (vec![rule().system(system("other"))], vec![]),
        (vec![rule().actor(principal("eve")).at_call(2)], vec![2]),
        (vec![rule().actor(principal("ada"))], vec![]),
        // Cannot be shown by an addition.
        (vec![FaultRule::new(Fault::Duplicated)], vec![]),
    ] {
        let shown = format!("{rules:?}");
        assert_eq!(failed(rules), want, "{shown}");
    }
}

#[test]
fn one_in_some_follows_from_the_seed() {
    let rule = |seed| FaultRule::new(Fault::Conflict).one_in(NonZeroU64::new(3).unwrap(), seed);
    let by_seed: Vec<_> = (0..50).map(|seed| failed([rule(seed)])).collect();
    assert_eq!(by_seed[7], failed([rule(7)]));
    let all: usize = by_seed.iter().map(Vec::len).sum();
    assert!(
        (100..=240).contains(&all),
        "{all} of 500, where a third was asked for"
    );
    assert_eq!(
        failed([FaultRule::new(Fault::Conflict).one_in(NonZeroU64::MIN, 9)]).len(),
        10
    );
}

#[test]
fn the_first_rule_that_fits_is_done_and_the_other_waits() {
    let faults = Faults::new([
        FaultRule::new(Fault::Conflict).once(),
        FaultRule::new(Fault::Timeout(Moment::Before)).once(),
    ]);
    let target = target(everything(), &[]).with_faults(&faults);
    let kinds: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|who| apply_one(&target, add(who)).map_or_else(|error| error.kind().code(), |_| "ok"))
        .collect();
    assert_eq!(kinds, ["conflict", "timed_out", "ok"]);
    assert_eq!(faults.fired(FaultKind::Conflict), 1);
    assert_eq!(faults.fired(FaultKind::TimeoutBefore), 1);
}

#[test]
fn healed_nothing_breaks_and_the_counters_stay() {
    let target = target(everything(), &[]);
    target.faults().inject(FaultRule::new(Fault::Conflict));
    assert!(apply_one(&target, add("a")).is_err());
    target.faults().heal();
    assert!(apply_one(&target, add("a")).is_ok());
    assert_eq!((target.faults().calls(), target.faults().fired_in_all()), (2, 1));
}

#[test]
fn somebody_else_acts_just_before_the_call() {
    let target = target(everything(), &["a", "b"]);
    let actors = MemoryActors::new();
    let person = target.clone();
    let boss = actors.clone();
    target.faults().inject(
        FaultRule::meanwhile(move || {
            person.remove_by_hand(&object("team"), &principal("a"));
            boss.set(&context().tenant, principal("eve"), ActorState::Inactive);
        })
        .on(CallKind::Remove)
        .once(),
    );
    assert!(!apply_one(&target, remove("a")).unwrap().changed);
    assert!(apply_one(&target, remove("b")).unwrap().changed);
    assert_eq!(target.faults().fired(FaultKind::Meanwhile), 1);
    let state = block_on(actors.state(&context().tenant, &principal("eve")));
    assert_eq!(state.unwrap(), ActorState::Inactive);
}

#[test]
fn what_happens_meanwhile_may_call_the_same_backend() {
    let target = target(everything(), &["a"]);
    let other = target.clone();
    target.faults().inject(
        FaultRule::meanwhile(move || {
            let results = other
                .apply(&object("team"), &[add("b")], &context())
                .now_or_never();
            assert!(results.unwrap()[0].is_ok());
        })
        .on(CallKind::Remove),
    );
    assert!(apply_one(&target, remove("a")).unwrap().changed);
    assert_eq!(names(&target), "b");
    let calls: Vec<_> = target
        .calls()
        .iter()
        .map(|call| (call.number, call.kind))
        .collect();
    assert_eq!(calls, [(2, CallKind::Add), (1, CallKind::Remove)]);
}

/// Two handles of one target: one has a broken line, the other has not.
#[test]
fn faults_are_the_handles_own() {
    let good = target(everything(), &[]);
    let bad = good
        .clone()
        .with_faults(&Faults::new([FaultRule::new(Fault::Conflict)]));
    assert!(apply_one(&bad, add("a")).is_err());
    assert!(apply_one(&good, add("b")).is_ok());
    assert_eq!(names(&bad), "b");
}

#[test]
fn a_batch_meets_rules_one_operation_at_a_time() {
    let target: MemoryTarget = target(everything(), &[]);
    target
        .faults()
        .inject(FaultRule::new(Fault::Timeout(Moment::After)).at_call(2));
    let facets = MemberFacets::default();
    let operations = ["a", "b", "c"].map(|who| operation(who, who, MemberChange::Add(facets.clone())));
    let context: CallContext = context();
    let results = block_on(target.apply(&object("team"), &operations, &context));
    assert_eq!(
        results.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
    let present = block_on(target.member(&object("team"), &principal("b"), &context));
    assert!(present.unwrap().is_some());
}
