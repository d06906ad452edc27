//! The calls to the target, and what their answers mean.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use usersync_connector::{Actor, Applied, CallContext, Error as ConnectorError, ErrorKind};
use usersync_model::{ContainerRef, ObjectId};

use super::target::Call;
use super::{Applier, Attempt, Work};
use crate::report::{NotStarted, Outcome};
use crate::state::Effect;

impl Applier<'_> {
    /// Calls the target, several calls at once, each for one container. Answers in the order of the batch.
    pub(super) async fn attempt(&self, batch: &[Work<'_>], actor: &Actor) -> Vec<Attempt> {
        let context = Arc::new(CallContext {
            tenant: self.job.tenant.clone(),
            job: self.job.id.clone(),
            actor: actor.clone(),
        });
        let mut attempts: Vec<Attempt> = vec![
            Attempt::Done {
                changed: false,
                ours: true
            };
            batch.len()
        ];
        let calls = self.calls(batch);
        let results = stream::iter(calls)
            .map(|(container, places, call)| {
                let target = self.target.clone();
                let context = Arc::clone(&context);
                let control = self.control.clone();
                async move {
                    if control.is_cancelled() {
                        return (places, None);
                    }
                    let answers = target.apply(&container, call, &context).await;
                    (places, Some(answers))
                }
            })
            .buffer_unordered(self.readers.options.concurrency.get())
            .collect::<Vec<_>>()
            .await;
        for (places, answers) in results {
            match answers {
                None => {
                    for place in places {
                        attempts[place] = Attempt::Not(Outcome::NotStarted(NotStarted::Cancelled));
                    }
                }
                Some(answers) => {
                    let mut answers = answers.into_iter();
                    for place in places {
                        let answer = answers.next().unwrap_or_else(|| Err(unanswered()));
                        attempts[place] = self.judge(&batch[place], answer, &context).await;
                    }
                }
            }
        }
        attempts
    }

    /// The batch as calls, with the places in it that each is about: operations of one container together, no more than the target takes at once.
    fn calls(&self, batch: &[Work<'_>]) -> Vec<(ObjectId, Vec<usize>, Call)> {
        let most = self.target.capabilities().max_batch.get();
        let mut calls: Vec<(&ContainerRef, Vec<usize>)> = Vec::new();
        let called = batch
            .iter()
            .enumerate()
            .filter(|(_, work)| work.effect != Effect::Adopt);
        for (place, work) in called {
            match calls.last_mut() {
                Some((container, call)) if *container == work.container && call.len() < most => {
                    call.push(place);
                }
                _ => calls.push((work.container, vec![place])),
            }
        }
        let call = |(container, places): (&ContainerRef, Vec<usize>)| {
            let call = self.target.call(places.iter().map(|place| &batch[*place]));
            (container.object.clone(), places, call)
        };
        calls.into_iter().map(call).collect()
    }

    /// What an answer means. Where it leaves the outcome open, the target is asked.
    async fn judge(
        &self,
        work: &Work<'_>,
        answer: std::result::Result<Applied, ConnectorError>,
        context: &CallContext,
    ) -> Attempt {
        let error = match answer {
            Ok(applied) => {
                return Attempt::Done {
                    changed: applied.changed,
                    ours: applied.changed || work.carried.is_some(),
                };
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
            match self.target.happened(work, context).await {
                Some(true) => {
                    let ours = unknown || work.carried.is_some();
                    return Attempt::Done { changed: ours, ours };
                }
                Some(false) if !unknown => return Attempt::Not(Outcome::Conflict),
                None if !unknown => return Attempt::Not(Outcome::Conflict),
                _ => return Attempt::Unknown,
            }
        }
        Attempt::Not(Outcome::Failed {
            kind: error.kind().code(),
            message: error.message().to_owned(),
            retry: error.retry(),
        })
    }
}

fn unanswered() -> ConnectorError {
    ConnectorError::new(
        ErrorKind::Unexpected,
        "the connector answered fewer results than it was given operations",
    )
    .with_unknown_outcome(true)
}
