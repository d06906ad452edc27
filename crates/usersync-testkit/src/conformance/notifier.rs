//! The contract of [`Notifier`].

use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{News, Notification, Notifier, Recipient};
use usersync_model::{Digest, OperationId};

use super::{Cannot, Point, Violation, sample_context, suite};

/// Gives notifiers to check.
#[async_trait]
pub trait NotifierHarness: Send + Sync {
    /// A notifier that has delivered nothing. What else the harness does is done to the notifier given last.
    async fn fresh(&self) -> Arc<dyn Notifier>;

    /// All that was delivered to people so far, or is sure to be, in any order.
    async fn delivered(&self) -> Vec<OperationId>;

    /// Breaks what delivers, so that nothing can be handed over from now on.
    async fn break_delivery(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Mends what delivers.
    async fn mend_delivery(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Ends the notifier's process as a crash would, and starts it again.
    async fn restart(&self) -> Result<Arc<dyn Notifier>, Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `Notifier`.
    ///
    /// Takes the name of the module, an expression for a [`NotifierHarness`](crate::conformance::notifier::NotifierHarness), which is
    /// evaluated for each test, and, if the notifier needs a runtime, an expression that is called with a check's future and
    /// runs it to its end.
    notifier_conformance, notifier, NotifierHarness, [
    point_01_a_success_is_delivered,
    point_01_a_success_is_delivered_although_delivery_was_broken,
    point_01_a_success_outlives_a_restart,
    point_02_the_same_key_is_delivered_once,
    point_02_different_keys_are_delivered_each,
]);

const fn point(number: u8) -> Point {
    Point("Notifier", number)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_success_is_delivered(harness: &dyn NotifierHarness) -> Checked {
    let notifier = harness.fresh().await;
    let sent = news(1);
    let done = "notified";
    point(1).succeeds(done, notifier.notify(&sent).await)?;
    point(1).equal(
        format!("{done}; delivered"),
        &vec![sent.key],
        &harness.delivered().await,
    )
}

/// Point 1: with delivery broken `notify` fails, or keeps the news until it is mended.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_success_is_delivered_although_delivery_was_broken(
    harness: &dyn NotifierHarness,
) -> Checked {
    let notifier = harness.fresh().await;
    if harness.break_delivery().await.is_err() {
        return Ok(());
    }
    let sent = news(1);
    let result = notifier.notify(&sent).await;
    let mended = harness.mend_delivery().await.is_ok();
    if result.is_ok() {
        let delivered = harness.delivered().await;
        let done = match mended {
            true => "notified successfully while delivery was broken, and mended it",
            false => "notified successfully while delivery is broken for good",
        };
        point(1).holds(
            delivered.contains(&sent.key),
            done,
            "the news among what is delivered",
            delivered,
        )?;
    }
    if mended {
        let done = "notified again after delivery was mended";
        point(1).succeeds(done, notifier.notify(&sent).await)?;
        point(1).equal(
            format!("{done}; delivered"),
            &vec![sent.key],
            &harness.delivered().await,
        )?;
    }
    Ok(())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_success_outlives_a_restart(harness: &dyn NotifierHarness) -> Checked {
    let notifier = harness.fresh().await;
    let sent = news(1);
    point(1).succeeds("notified", notifier.notify(&sent).await)?;
    if harness.restart().await.is_err() {
        return Ok(());
    }
    let done = "notified, and restarted the notifier; delivered";
    point(1).equal(done, &vec![sent.key], &harness.delivered().await)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_the_same_key_is_delivered_once(harness: &dyn NotifierHarness) -> Checked {
    let notifier = harness.fresh().await;
    let sent = news(1);
    for done in ["notified", "notified again", "notified once more"] {
        point(2).succeeds(done, notifier.notify(&sent).await)?;
    }
    let done = "notified three times with one key; delivered";
    point(2).equal(done, &vec![sent.key], &harness.delivered().await)?;
    if let Ok(notifier) = harness.restart().await {
        let done = "notified with the same key after a restart";
        point(2).succeeds(done, notifier.notify(&sent).await)?;
        point(2).equal(
            format!("{done}; delivered"),
            &vec![sent.key],
            &harness.delivered().await,
        )?;
    }
    Ok(())
}

/// Point 2: what tells them apart is the key, not the text.
///
/// # Errors
/// The violation found.
pub async fn point_02_different_keys_are_delivered_each(harness: &dyn NotifierHarness) -> Checked {
    let notifier = harness.fresh().await;
    let mut sent: Vec<_> = (1..=3).map(|number| news(number).key).collect();
    let done = "notified the same news under three keys";
    for number in 1..=3 {
        point(2).succeeds(done, notifier.notify(&news(number)).await)?;
    }
    let mut seen = harness.delivered().await;
    sent.sort();
    seen.sort();
    point(2).equal(format!("{done}; delivered"), &sent, &seen)
}

fn news(number: u32) -> Notification {
    let context = sample_context();
    Notification {
        key: OperationId::from_digest(&Digest::of("usersync-testkit", &number.to_be_bytes())),
        tenant: context.tenant,
        job: context.job,
        sender: Some(context.actor),
        recipient: Recipient::Administrators,
        news: News::JobPaused {
            reason: "conformance".to_owned(),
        },
    }
}
