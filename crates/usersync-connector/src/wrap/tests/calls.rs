use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use proptest::prelude::*;
use usersync_model::{Digest, MemberFacets, ObjectId, OperationId, PrincipalRef, SystemId};

use super::{context, system};
use crate::test_clock::TestClock;
use crate::wrap::{RateLimit, RetryPolicy, Wrap};
use crate::{
    Applied, CallContext, Clock, Error, ErrorKind, MemberChange, MemberOperation, MembersEntry,
    MembershipRead, MembershipTarget, Precondition, PresentMember, ReadStream, Result, Retry,
    TargetCapabilities,
};

/// What one attempt of one operation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// Try again after so many milliseconds.
    After(u64),
    Later,
    Never,
    /// Worth trying again, but perhaps it had its effect.
    Unknown,
}

impl Outcome {
    fn answer(self) -> Result<Applied> {
        let error = Error::new(ErrorKind::Unavailable, "busy").with_unknown_outcome(false);
        match self {
            Self::Ok => Ok(Applied::changed()),
            Self::After(ms) => Err(error.with_retry(Retry::After(Duration::from_millis(ms)))),
            Self::Later => Err(error),
            Self::Never => Err(error.with_retry(Retry::Never)),
            Self::Unknown => Err(error.with_unknown_outcome(true)),
        }
    }

    fn of(answer: &Result<Applied>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(error) if error.outcome_unknown() => Self::Unknown,
            Err(error) => match error.retry() {
                Retry::After(pause) => Self::After(pause.as_millis().try_into().unwrap()),
                Retry::Later => Self::Later,
                Retry::Never => Self::Never,
            },
        }
    }

    fn repeatable(self) -> bool {
        matches!(self, Self::After(_) | Self::Later)
    }
}

/// Answers each operation by its own script, the last outcome over and over.
#[derive(Debug)]
struct Target {
    system: SystemId,
    clock: Arc<TestClock>,
    takes: Duration,
    scripts: Vec<Vec<Outcome>>,
    /// When each call was made, and with which operations.
    calls: Mutex<Vec<(Duration, Vec<usize>)>>,
    attempts: Mutex<BTreeMap<usize, usize>>,
}

impl Target {
    fn new(clock: &Arc<TestClock>, scripts: Vec<Vec<Outcome>>) -> Self {
        Self {
            system: system(),
            clock: Arc::clone(clock),
            takes: Duration::ZERO,
            scripts,
            calls: Mutex::default(),
            attempts: Mutex::default(),
        }
    }
}

#[async_trait]
impl MembershipRead for Target {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities::default()
    }

    fn members(&self, _: Vec<ObjectId>, _: &CallContext) -> ReadStream<MembersEntry> {
        futures::stream::empty().boxed()
    }

    async fn member(&self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<Option<PresentMember>> {
        let operations = operations(1);
        let answers = self
            .apply(&ObjectId::new("c").unwrap(), &operations, &context())
            .await;
        answers.into_iter().next().unwrap().map(|_| None)
    }
}

#[async_trait]
impl MembershipTarget for Target {
    async fn apply(
        &self,
        _: &ObjectId,
        operations: &[MemberOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        let indices: Vec<usize> = operations
            .iter()
            .map(|operation| operation.principal.object.as_str().parse().unwrap())
            .collect();
        let call = (self.clock.elapsed(), indices.clone());
        self.calls.lock().unwrap().push(call);
        self.clock.sleep(self.takes).await;
        let mut attempts = self.attempts.lock().unwrap();
        let answer = |index: usize| {
            let attempt = attempts.entry(index).or_default();
            let script = &self.scripts[index];
            *attempt += 1;
            script[(*attempt - 1).min(script.len() - 1)].answer()
        };
        indices.into_iter().map(answer).collect()
    }
}

fn operations(count: usize) -> Vec<MemberOperation> {
    let operation = |i: usize| MemberOperation {
        id: OperationId::from_digest(&Digest::of("test", &i.to_be_bytes())),
        principal: PrincipalRef::parse("ad", &i.to_string()).unwrap(),
        change: MemberChange::Add(MemberFacets::default()),
        precondition: Precondition::None,
    };
    (0..count).map(operation).collect()
}

fn apply(wrap: &Wrap, target: &Arc<Target>) -> Vec<Result<Applied>> {
    let wrapped = wrap.wrap(Arc::clone(target));
    let operations = operations(target.scripts.len());
    let container = ObjectId::new("c").unwrap();
    target
        .clock
        .run(wrapped.apply(&container, &operations, &context()))
}

fn generous(attempts: u32) -> RetryPolicy {
    RetryPolicy {
        attempts: NonZeroU32::new(attempts).unwrap(),
        budget_floor: 1000,
        ..RetryPolicy::default()
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        2 => Just(Outcome::Ok),
        3 => (0_u64..5000).prop_map(Outcome::After),
        3 => Just(Outcome::Later),
        1 => Just(Outcome::Never),
        1 => Just(Outcome::Unknown),
    ]
}

proptest! {
    /// Each operation goes through its script up to the first outcome that must not be repeated, or until its
    /// attempts are used up, whatever becomes of the others.
    #[test]
    fn each_operation_is_repeated_exactly_as_far_as_it_may_be(
        attempts in 1_u32..6,
        scripts in prop::collection::vec(prop::collection::vec(outcome(), 1..7), 0..8),
    ) {
        let clock = TestClock::new();
        let target = Arc::new(Target::new(&clock, scripts.clone()));
        let wrap = Wrap::new(Arc::clone(&clock) as _).retry(generous(attempts));
        let answers = apply(&wrap, &target);

        let outcomes: Vec<Outcome> = answers.iter().map(Outcome::of).collect();
        let calls = target.calls.lock().unwrap().clone();
        prop_assert_eq!(outcomes.len(), scripts.len());
        for (i, script) in scripts.iter().enumerate() {
            let endless = script.iter().chain(std::iter::repeat(script.last().unwrap()));
            let mut walked: Vec<Outcome> = Vec::new();
            for &outcome in endless.take(attempts as usize) {
                walked.push(outcome);
                if !outcome.repeatable() {
                    break;
                }
            }
            prop_assert_eq!(outcomes[i], *walked.last().unwrap());
            let made = calls.iter().filter(|(_, indices)| indices.contains(&i)).count();
            prop_assert_eq!(made, walked.len());
        }
        for (n, pair) in calls.windows(2).enumerate() {
            let repeated = pair[1].1.iter().map(|&i| scripts[i][n.min(scripts[i].len() - 1)]);
            let wishes: Vec<Option<u64>> = repeated
                .map(|outcome| match outcome { Outcome::After(ms) => Some(ms), _ => None })
                .collect();
            let asked = Duration::from_millis(wishes.iter().flatten().copied().max().unwrap_or(0));
            let drawn = Duration::from_millis(200 << n).min(Duration::from_secs(20));
            let pause = pair[1].0 - pair[0].0;
            prop_assert!(pause >= asked);
            if wishes.iter().all(Option::is_some) {
                prop_assert_eq!(pause, asked, "a wish is met to the millisecond");
            } else {
                prop_assert!(pause <= asked.max(drawn));
            }
        }
    }

    /// However calls fail, there are never more attempts than calls, their share of retries, and the floor.
    #[test]
    fn an_outage_costs_no_more_than_the_budget(calls in 1_u32..40, floor in 0_u32..6, percent in 0_u32..100) {
        let clock = TestClock::new();
        let target = Arc::new(Target::new(&clock, vec![vec![Outcome::Later]]));
        let wrap = Wrap::new(Arc::clone(&clock) as _).retry(RetryPolicy {
            budget_floor: floor,
            budget_percent: percent,
            ..RetryPolicy::default()
        });
        for _ in 0..calls {
            apply(&wrap, &target);
        }
        let made = u32::try_from(target.calls.lock().unwrap().len()).unwrap();
        prop_assert!(made <= calls + floor + calls * percent / 100);
        prop_assert!(made >= calls + floor.min(3), "the floor is there to be used: {made}");
    }
}

#[test]
fn a_timeout_leaves_an_effect_unknown_and_unrepeated_but_a_read_is_repeated() {
    let clock = TestClock::new();
    let mut target = Target::new(&clock, vec![vec![Outcome::Ok]]);
    target.takes = Duration::from_secs(10);
    let target = Arc::new(target);
    let wrap = Wrap::new(Arc::clone(&clock) as _)
        .retry(generous(3))
        .timeout(Duration::from_secs(2));

    let answers = apply(&wrap, &target);
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.outcome_unknown());
    assert_eq!(error.to_string(), "timed_out: no answer within 2s (apply on crm)");
    assert_eq!(clock.elapsed(), Duration::from_secs(2));
    assert_eq!(target.calls.lock().unwrap().len(), 1);

    let wrapped = wrap.wrap(Arc::clone(&target) as Arc<dyn MembershipTarget>);
    let (container, principal) = (
        ObjectId::new("c").unwrap(),
        PrincipalRef::parse("ad", "0").unwrap(),
    );
    let error = clock
        .run(wrapped.member(&container, &principal, &context()))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome_unknown()),
        (ErrorKind::TimedOut, false)
    );
    assert_eq!(target.calls.lock().unwrap().len(), 1 + 3);
}

#[test]
fn an_answer_just_in_time_counts() {
    let clock = TestClock::new();
    let mut target = Target::new(&clock, vec![vec![Outcome::Ok]]);
    target.takes = Duration::from_millis(1999);
    let wrap = Wrap::new(Arc::clone(&clock) as _).timeout(Duration::from_secs(2));
    assert_eq!(
        apply(&wrap, &Arc::new(target)).remove(0).unwrap(),
        Applied::changed()
    );
}

#[test]
fn every_attempt_waits_for_its_turn_outside_its_timeout() {
    let clock = TestClock::new();
    let target = Arc::new(Target::new(&clock, vec![vec![Outcome::After(0), Outcome::Ok]]));
    let wrap = Wrap::new(Arc::clone(&clock) as _)
        .retry(generous(2))
        .rate_limit(RateLimit::new(NonZeroU32::MIN, Duration::from_secs(10)))
        .timeout(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(Outcome::of(&apply(&wrap, &target)[0]), Outcome::Ok);
    }
    let made: Vec<u64> = target
        .calls
        .lock()
        .unwrap()
        .iter()
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!(made, [0, 10, 20]);
}

mockall::mock! {
    #[derive(Debug)]
    Sloppy {}

    #[async_trait]
    impl MembershipRead for Sloppy {
        fn system(&self) -> &SystemId;
        fn capabilities(&self) -> TargetCapabilities;
        fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry>;
        async fn member(
            &self,
            container: &ObjectId,
            principal: &PrincipalRef,
            context: &CallContext,
        ) -> Result<Option<PresentMember>>;
    }

    #[async_trait]
    impl MembershipTarget for Sloppy {
        async fn apply(
            &self,
            container: &ObjectId,
            operations: &[MemberOperation],
            context: &CallContext,
        ) -> Vec<Result<Applied>>;
    }
}

#[test]
fn answers_that_cannot_be_told_apart_are_unknown() {
    for answered in [0, 1, 3] {
        let mut sloppy = MockSloppy::new();
        sloppy.expect_system().return_const(system());
        sloppy
            .expect_apply()
            .times(1)
            .returning(move |_, _, _| (0..answered).map(|_| Ok(Applied::changed())).collect());
        let clock = TestClock::new();
        let wrapped = Wrap::new(Arc::clone(&clock) as _)
            .retry(generous(5))
            .wrap(Arc::new(sloppy));
        let container = ObjectId::new("c").unwrap();
        let answers = clock.run(wrapped.apply(&container, &operations(2), &context()));
        assert_eq!(answers.len(), 2);
        for answer in answers {
            assert!(answer.unwrap_err().outcome_unknown(), "{answered} answers");
        }
    }
}
