//! The calls to the target, and what their answers mean.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use usersync_connector::{
    Actor, Applied, CallContext, Error as ConnectorError, ErrorKind, MemberChange, MemberOperation,
};
use usersync_model::ContainerRef;

use super::{Applier, Attempt, Work};
use crate::report::{NotStarted, Outcome};
use crate::state::Effect;

impl Applier<'_> {
    /// Calls the target, several calls at once, each for one container. Answers in the order of the batch.
    pub(super) async fn attempt(&self, batch: &[Work], actor: &Actor) -> Vec<Attempt> {
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
            .map(|(container, call)| {
                let target = Arc::clone(self.target);
                let context = Arc::clone(&context);
                let control = self.control.clone();
                async move {
                    let places: Vec<usize> = call.iter().map(|(place, _)| *place).collect();
                    let operations: Vec<MemberOperation> =
                        call.into_iter().map(|(_, operation)| operation).collect();
                    if control.is_cancelled() {
                        return (places, None);
                    }
                    (
                        places,
                        Some(target.apply(&container.object, &operations, &context).await),
                    )
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

    /// The batch as calls: operations of one container together, no more than the target takes at once.
    fn calls(&self, batch: &[Work]) -> Vec<(ContainerRef, Vec<(usize, MemberOperation)>)> {
        let most = self.target.capabilities().max_batch.get();
        let mut calls: Vec<(ContainerRef, Vec<(usize, MemberOperation)>)> = Vec::new();
        for (place, work) in batch.iter().enumerate() {
            let change = match &work.effect {
                Effect::Add(facets) => MemberChange::Add(facets.clone()),
                Effect::Adopt => continue,
                Effect::Remove => MemberChange::Remove,
                Effect::Update { to, .. } => MemberChange::Update(to.clone()),
            };
            let operation = MemberOperation {
                id: work.id,
                principal: work.principal.clone(),
                change,
                precondition: work.precondition.clone(),
            };
            match calls.last_mut() {
                Some((container, call)) if *container == work.container && call.len() < most => {
                    call.push((place, operation));
                }
                _ => calls.push((work.container.clone(), vec![(place, operation)])),
            }
        }
        calls
    }

    /// What an answer means. Where it leaves the outcome open, the target is asked.
    async fn judge(
        &self,
        work: &Work,
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
            match self.happened(work, context).await {
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

    /// Whether the target is as the operation wants it; `None` if it cannot tell.
    async fn happened(&self, work: &Work, context: &CallContext) -> Option<bool> {
        if !self.target.capabilities().point_read {
            return None;
        }
        let found = self
            .target
            .member(&work.container.object, &work.principal, context)
            .await
            .ok()?;
        Some(match (&work.effect, found) {
            (Effect::Add(_) | Effect::Adopt, found) => found.is_some(),
            (Effect::Remove, found) => found.is_none(),
            (Effect::Update { to, .. }, Some(found)) => found.member.facets == *to,
            (Effect::Update { .. }, None) => false,
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
