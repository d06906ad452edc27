//! The calls to the target, and what their answers mean.

use std::sync::Arc;

use usersync_connector::{Applied, CallContext, Error as ConnectorError, ErrorKind};

use super::target::Happened;
use super::{Acting, Applier, Attempt, Ended, Work};
use crate::answers::counted;
use crate::recover::Found;
use crate::report::{NotStarted, Outcome, is_out_of_order};

/// Operations of one container that go to the target in one call.
#[derive(Debug)]
pub(super) struct Errand<'a> {
    work: Vec<Work<'a>>,
    acting: Arc<Acting>,
}

impl<'a> Applier<'a> {
    /// Operations of one container together, no more than the target takes at once.
    pub(super) fn errands(&self, batch: Vec<Work<'a>>, acting: &Arc<Acting>) -> Vec<Errand<'a>> {
        let most = self.target.capabilities().max_batch.get();
        let mut errands: Vec<Errand<'a>> = Vec::new();
        for work in batch {
            match errands.last_mut() {
                Some(errand) if errand.work[0].container == work.container && errand.work.len() < most => {
                    errand.work.push(work);
                }
                _ => errands.push(Errand {
                    work: vec![work],
                    acting: Arc::clone(acting),
                }),
            }
        }
        errands
    }

    /// Calls the target, unless the run was told to end, and finds out what became of each operation.
    pub(super) async fn attempt(&self, errand: Errand<'a>) -> Vec<Ended<'a>> {
        let Errand { work, acting } = errand;
        let context = &acting.context;
        let Some(first) = work.first().filter(|_| !self.control.is_cancelled()) else {
            let attempt = Attempt::Not(Outcome::NotStarted(NotStarted::Cancelled));
            let end = |work| Ended::new(work, attempt.clone(), &acting);
            return work.into_iter().map(end).collect();
        };
        let call = self.target.call(work.iter());
        let answers = self.target.apply(&first.container.object, call, context).await;
        let answers = counted(answers, work.len());
        let mut ended = Vec::with_capacity(work.len());
        let mut may_ask = self.target.capabilities().point_read;
        for (mut work, answer) in work.into_iter().zip(answers) {
            if answer.is_err() {
                // Somebody may have changed it since it was read: that says nothing of how the target spells what is there now.
                work.shown = None;
            }
            let attempt = self.judge(&work, answer, context, &mut may_ask).await;
            ended.push(Ended::new(work, attempt, &acting));
        }
        ended
    }

    /// What an answer means. Where it leaves the outcome open, the target is asked while it `may_ask`: a target that is out of order
    /// is asked once for each call, and not for each operation.
    async fn judge(
        &self,
        work: &Work<'_>,
        answer: std::result::Result<Applied, ConnectorError>,
        context: &CallContext,
        may_ask: &mut bool,
    ) -> Attempt {
        let error = match answer {
            Ok(applied) => {
                let changed = applied.changed;
                let found = Found {
                    ours: changed || work.carried.is_some(),
                    as_wished: changed,
                };
                return Attempt::Done { changed, found };
            }
            Err(error) => error,
        };
        tracing::warn!(
            name: "usersync.operation.failed",
            operation = %work.id,
            kind = error.kind().code(),
            outcome_unknown = error.outcome_unknown(),
            "an operation failed"
        );
        let unknown = error.outcome_unknown();
        if unknown || matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) {
            let mut happened = None;
            if *may_ask {
                match self.target.happened(work, context).await {
                    Ok(seen) => happened = seen,
                    Err(error) => *may_ask = !is_out_of_order(error.kind()),
                }
            }
            return match happened {
                Some(happened @ (Happened::AsWished | Happened::Otherwise)) => {
                    let ours = unknown || work.carried.is_some();
                    let as_wished = matches!(happened, Happened::AsWished);
                    let found = Found { ours, as_wished };
                    Attempt::Done { changed: ours, found }
                }
                Some(Happened::Not) | None if unknown => Attempt::Unknown(Outcome::left_open_by(&error)),
                Some(Happened::Not) | None => Attempt::Not(Outcome::Conflict),
            };
        }
        Attempt::Not(Outcome::Failed {
            kind: error.kind().code(),
            message: error.message().to_owned(),
            retry: error.retry(),
        })
    }
}
