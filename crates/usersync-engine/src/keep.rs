//! Keeping the lease on a job while its run goes on.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{Either, poll_fn, select};
use usersync_connector::Clock;
use usersync_store::{Lease, StoreError, StoreErrorKind};

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::planning::later;

/// What came first.
enum First<T, U> {
    Beside(U),
    Ended(Result<T>),
    /// The lease may be over by now: the run has to wait until that is known.
    Over,
}

impl Engine {
    /// Drives `run`, and renews the lease each time a third of it is over. Whoever took it over meanwhile goes on alone: the run
    /// is dropped where it is, as if the process had died. So it is where the lease ran out and cannot be renewed.
    ///
    /// The lease lasts from the moment when it was `asked` for, or its renewal was: what was answered so late that it ran out since is
    /// renewed again.
    ///
    /// Polled again after the lease ran out, it lets the run go on only once the lease is renewed: calls to the target cannot
    /// be fenced, and somebody else may have it by then.
    pub(crate) async fn keep_lease_while<T>(
        &self,
        job: &Job,
        lease: &Lease,
        asked: DateTime<Utc>,
        run: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let readers = self.inner.preview.readers();
        let (clock, ttl) = (readers.clock.as_ref(), readers.options.lease);
        // A sleep has to be one, so that others get their turn.
        let third = (ttl / 3).max(Duration::from_millis(1));
        let mut run = pin!(run);
        let mut kept = asked;
        loop {
            let over = later(kept, ttl);
            // What was asked for may be answered so late that it ran out since: at the very end of it somebody else may have it.
            let mut is_over = clock.now() >= over
                || match beside(run.as_mut(), clock.sleep(third), clock, over).await {
                    First::Ended(report) => return report,
                    // One poll of the run may take longer than the lease.
                    First::Beside(()) => clock.now() >= over,
                    First::Over => true,
                };
            let asked = clock.now();
            let mut renewal = self.inner.store.renew(lease, ttl);
            let mut answer = None;
            if !is_over {
                match beside(run.as_mut(), renewal.as_mut(), clock, over).await {
                    First::Ended(report) => return report,
                    First::Beside(renewed) => answer = Some(renewed),
                    First::Over => is_over = true,
                }
            }
            let answer = match answer {
                Some(answer) => answer,
                // The store may answer nobody before the run lets go of it.
                None => match select(renewal, clock.sleep(third)).await {
                    Either::Left((renewed, _)) => renewed,
                    Either::Right(((), _)) => Err(unanswered()),
                },
            };
            match answer {
                Ok(_) => kept = asked,
                Err(error) if is_over || error.kind() == StoreErrorKind::Fenced => {
                    return Err(EngineError::store(&job.id)(error));
                }
                Err(error) => {
                    tracing::warn!(name: "usersync.lease.unrenewed", job = %job.id, %error, "the lease will be renewed later");
                }
            }
        }
    }
}

/// Drives `run` and `other`. The run goes first, but for the first time only before the lease is over.
async fn beside<T, U>(
    mut run: Pin<&mut impl Future<Output = Result<T>>>,
    other: impl Future<Output = U> + Unpin,
    clock: &dyn Clock,
    over: DateTime<Utc>,
) -> First<T, U> {
    let mut is_first = true;
    let run = poll_fn(|context| {
        if !std::mem::take(&mut is_first) && clock.now() >= over {
            return Poll::Ready(First::Over);
        }
        run.as_mut().poll(context).map(First::Ended)
    });
    match select(run, other).await {
        Either::Left((first, _)) => first,
        Either::Right((answer, _)) => First::Beside(answer),
    }
}

fn unanswered() -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "the lease ran out, and its renewal was not answered",
    )
}
