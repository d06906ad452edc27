//! Faults of effects and of other calls that are no reads.

use std::time::Duration;

use futures::FutureExt;
use futures::executor::block_on;
use usersync_connector::{
    Actor, ActorDirectory, ActorState, Authority, BookingChange, EntitlementSource, ErrorKind,
    MembershipTarget, News, Notification, Notifier, Recipient, Retry, SubscriptionAdmin,
};
use usersync_license::Entitlement;
use usersync_memory::{
    CallKind, Fault, FaultKind, FaultRule, MemoryActors, MemoryEntitlement, MemoryNotifier,
    MemorySubscriptions, Moment,
};
use usersync_model::{JobId, SubscriptionResource};

use crate::support::{
    add, apply_one, context, everything, names, object, operation_id, principal, remove, system, target,
    tenant,
};

#[test]
fn every_fault_of_an_effect_shows() {
    let later = Retry::Later;
    for (fault, want, members) in [
        (Fault::Conflict, "conflict Never known", "a"),
        (
            Fault::Failed {
                kind: ErrorKind::Unavailable,
                retry: later,
            },
            "unavailable Later known",
            "a",
        ),
        (
            Fault::RateLimited {
                after: Duration::from_secs(9),
            },
            "rate_limited After(9s) known",
            "a",
        ),
        (Fault::Timeout(Moment::Before), "timed_out Later unknown", "a"),
        (Fault::Timeout(Moment::After), "timed_out Later unknown", "a b"),
    ] {
        let target = target(everything(), &["a"]);
        target.faults().inject(FaultRule::new(fault.clone()));
        let error = apply_one(&target, add("b")).unwrap_err();
        let outcome = if error.outcome_unknown() {
            "unknown"
        } else {
            "known"
        };
        assert_eq!(
            format!("{} {:?} {outcome}", error.kind().code(), error.retry()),
            want
        );
        assert_eq!(names(&target), members, "{fault:?}");
        assert_eq!(target.faults().fired(fault.kind()), 1, "{fault:?}");
    }
}

#[test]
fn a_hanging_effect_happens_or_not() {
    for (moment, members) in [(Moment::Before, "a"), (Moment::After, "a b")] {
        let target = target(everything(), &["a"]);
        target
            .faults()
            .inject(FaultRule::new(Fault::Hang(moment)).principal(principal("b")));
        let operations = [add("b"), add("c")];
        // Given up, as by a time-out or a crash: what comes behind never happens.
        assert!(
            target
                .apply(&object("team"), &operations, &context())
                .now_or_never()
                .is_none()
        );
        assert_eq!(names(&target), members);
    }
}

#[test]
fn one_failing_operation_does_not_stop_the_others() {
    let target = target(everything(), &["a"]);
    target
        .faults()
        .inject(FaultRule::new(Fault::Conflict).principal(principal("b")));
    let operations = [add("b"), add("c"), remove("a")];
    let results = block_on(target.apply(&object("team"), &operations, &context()));
    let results: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(results, [false, true, true]);
    assert_eq!(names(&target), "c");
}

#[test]
fn an_answer_lost_is_given_again_under_the_same_key() {
    let target = target(everything(), &[]);
    target
        .faults()
        .inject(FaultRule::new(Fault::Timeout(Moment::After)).once());
    assert!(apply_one(&target, add("b")).is_err());
    let again = apply_one(&target, add("b")).unwrap();
    assert!(again.changed && again.version.is_some());
    // Also when a person ended it meanwhile: the operation had its effect.
    target.remove_by_hand(&object("team"), &principal("b"));
    assert_eq!(apply_one(&target, add("b")).unwrap(), again);
    assert_eq!(names(&target), "");
}

#[test]
fn a_notification_whose_answer_was_lost_is_delivered_once() {
    let notifier = MemoryNotifier::new();
    let notification = Notification {
        key: operation_id("news"),
        tenant: tenant("acme"),
        job: JobId::new("job").unwrap(),
        sender: Some(Actor {
            principal: principal("eve"),
            authority: Authority::JobOwner,
        }),
        recipient: Recipient::Administrators,
        news: News::JobPaused {
            reason: "no_actor".to_owned(),
        },
    };
    notifier
        .faults()
        .inject(FaultRule::new(Fault::Timeout(Moment::After)).once());
    assert!(block_on(notifier.notify(&notification)).is_err());
    assert!(block_on(notifier.notify(&notification)).is_ok());
    let elsewhere = Notification {
        tenant: tenant("other"),
        ..notification.clone()
    };
    assert!(block_on(notifier.notify(&elsewhere)).is_ok());
    assert_eq!(notifier.delivered(), [notification, elsewhere]);
    assert_eq!(notifier.call_record().count(CallKind::Notify), 3);
}

#[test]
fn who_cannot_tell_says_so() {
    let actors = MemoryActors::new();
    actors.set(&tenant("acme"), principal("eve"), ActorState::Active);
    let ask = |tenant_name| block_on(actors.state(&tenant(tenant_name), &principal("eve")));
    assert_eq!(ask("acme").unwrap(), ActorState::Active);
    assert_eq!(ask("other").unwrap(), ActorState::Missing);
    let retry = Retry::Later;
    actors.faults().inject(FaultRule::new(Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry,
    }));
    assert_eq!(ask("acme").unwrap_err().kind(), ErrorKind::Unavailable);

    let entitlement = MemoryEntitlement::new();
    let ask = || block_on(entitlement.entitlement(&tenant("acme")));
    assert_eq!(ask().unwrap_err().kind(), ErrorKind::NotFound);
    entitlement.set(&tenant("acme"), Some(Entitlement::new(0)));
    assert_eq!(ask().unwrap().users, 0);
    entitlement
        .faults()
        .inject(FaultRule::new(Fault::Timeout(Moment::Before)).once());
    assert_eq!(ask().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(entitlement.faults().fired(FaultKind::TimeoutBefore), 1);
    assert!(ask().is_ok());
}

/// A booking whose answer was lost happened, is tried again without harm, and is a call like any other.
#[test]
fn a_booking_whose_answer_was_lost_happened() {
    let subscriptions = MemorySubscriptions::new(system("billing"));
    let (acme, seats) = (object("acme"), SubscriptionResource::new("seats").unwrap());
    subscriptions.book_by_hand(acme.clone(), seats.clone(), 5);
    subscriptions.faults().inject(
        FaultRule::new(Fault::Timeout(Moment::After))
            .on(CallKind::Adjust)
            .once(),
    );
    let change = BookingChange {
        id: operation_id("more seats"),
        resource: seats.clone(),
        seen: 5,
        wanted: 8,
    };
    let context = context();
    let adjust = || block_on(subscriptions.adjust(&acme, &change, &context));
    assert!(adjust().unwrap_err().outcome_unknown());
    assert_eq!(subscriptions.booked_by(&acme).unwrap().of(&seats), 8);
    assert!(!adjust().unwrap().changed);
    let shown: Vec<_> = subscriptions.calls().iter().map(ToString::to_string).collect();
    assert!(
        shown.iter().all(|call| call.starts_with("adjust acme by ")),
        "{shown:?}"
    );
    assert_eq!(subscriptions.call_record().effects(), 2);
}
