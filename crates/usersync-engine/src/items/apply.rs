//! Carrying operations on items out: durable intents, effects, one transaction of what became of them.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use usersync_connector::{
    Applied, CallContext, Error as ConnectorError, ErrorKind, ItemCollection, ItemOperation, ItemStore,
    Precondition,
};
use usersync_model::{ContainerRef, Digest, DigestBuilder, ObjectId, OperationId, RecordRef, Subject};
use usersync_store::{Key, Log, Table, Write};

use super::call_context;
use super::pair::Draft;
use super::read::{Sight, understand};
use super::report::ItemOperationReport;
use super::round::PairRun;
use super::rows::Rows;
use super::settle::{RowChange, Settled, settle};
use super::state::{Answered, Effect, INTENT, ItemIntent, Side, below};
use crate::actor::job_actor;
use crate::answers::counted;
use crate::error::{EngineError, Result};
use crate::report::{NotStarted, Outcome, is_out_of_order};
use crate::state::{AUDIT, AuditRecord};

/// One operation on its way.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) draft: Draft,
    plan: Digest,
}

impl Work {
    pub(super) fn new(draft: Draft, plan: Digest) -> Self {
        Self { draft, plan }
    }
}

/// How an attempt at one operation went.
enum Attempt {
    /// It is as wished, and this becomes of the row.
    Done(Outcome, RowChange),
    /// It is as wished; what the system made of it is not seen yet.
    Pending(Outcome, Answered),
    /// It is not, for sure.
    Not(Outcome),
    /// Nobody knows, for this reason.
    Unknown(Outcome),
}

impl PairRun<'_> {
    /// Carries out operations on one side; tells whether one had its effect, and whether it is still to be seen what a system
    /// made of one.
    pub(super) async fn apply_batch(
        &mut self,
        rows: &mut Rows,
        side: Side,
        batch: Vec<Work>,
    ) -> Result<(bool, bool)> {
        if self.run.request.control.is_cancelled() {
            self.not_started(batch, NotStarted::Cancelled);
            return Ok((false, false));
        }
        if self.is_link_over {
            self.not_started(batch, NotStarted::LinkEnded);
            return Ok((false, false));
        }
        let readers = self.run.engine.inner.preview.readers();
        let actor = match job_actor(readers, self.run.job).await {
            Ok(Ok(actor)) => actor,
            Ok(Err(_)) => {
                self.not_started(batch, NotStarted::NobodyActs);
                return Ok((false, false));
            }
            Err(EngineError::Connector(error)) => {
                tracing::warn!(name: "usersync.actor.unknown", kind = error.kind().code(), "nobody could tell who may act");
                self.not_started(batch, NotStarted::ActorUnknown);
                return Ok((false, false));
            }
            Err(error) => return Err(error),
        };
        self.keep_lease().await?;
        let context = call_context(self.run.job, &actor);
        let Some(intents) = self.begin(&batch, &context).await? else {
            self.not_started(batch, NotStarted::LinkEnded);
            return Ok((false, false));
        };
        if self.is_lease_over() {
            self.keep_lease().await?;
        }
        let attempts = self.attempt(side, &batch, &intents, &context).await;
        self.confirm(rows, batch, intents, attempts).await
    }

    fn not_started(&mut self, batch: Vec<Work>, why: NotStarted) {
        for Work { draft, .. } in batch {
            self.given_up.insert(draft.uid.clone());
            let operation = self.operation_id(draft.side, &draft.uid, draft.effect.code());
            let report = self.report_of(&draft, operation, Outcome::NotStarted(why));
            self.report.operations.push(report);
        }
    }

    /// Makes the intents durable, if the link is still to be worked on. An operation that an earlier attempt began in vain keeps its id.
    async fn begin(&mut self, batch: &[Work], context: &CallContext) -> Result<Option<Vec<ItemIntent>>> {
        let mut transaction = self.transaction();
        let mut intents = Vec::with_capacity(batch.len());
        for Work { draft, plan } in batch {
            let carried = self.carried.remove(&(draft.side, draft.uid.clone()));
            let carried = carried.filter(|(effect, _)| *effect == draft.effect);
            let operation = match carried {
                Some((_, operation)) => operation,
                None => self.operation_id(draft.side, &draft.uid, draft.effect.code()),
            };
            let intent = ItemIntent {
                operation,
                carried: carried.is_some(),
                is_recent: true,
                side: draft.side,
                uid: draft.uid.clone(),
                effect: draft.effect.clone(),
                seen: match &draft.precondition {
                    Precondition::Version(version) => Some(version.clone()),
                    _ => None,
                },
                source: draft.source.clone(),
                actor: context.actor.clone(),
                approved: draft.approved,
                reason: draft.reason.to_owned(),
                plan: *plan,
                answered: None,
            };
            transaction.write(self.intent_write(&intent)?);
            intents.push(intent);
        }
        let before = self.state.clone();
        let mut state = self.state();
        state.serial += 1;
        for Work { draft, .. } in batch {
            self.note_written(&mut state, draft);
        }
        self.write_state(&mut transaction, state)?;
        loop {
            let mut checked = transaction.clone();
            checked.check(self.link_check());
            if self.is_committed(checked).await? {
                return Ok(Some(intents));
            }
            if !self.is_still_work().await? {
                self.state = before;
                return Ok(None);
            }
        }
    }

    /// Calls the system, several calls at once. Answers in the order of the batch.
    async fn attempt(
        &self,
        side: Side,
        batch: &[Work],
        intents: &[ItemIntent],
        context: &CallContext,
    ) -> Vec<Attempt> {
        let store = self.items(side);
        let collection = &self.collections[side as usize];
        let most = store.capabilities().target.max_batch.get();
        let operations: Vec<ItemOperation> = batch
            .iter()
            .zip(intents)
            .map(|(work, intent)| ItemOperation {
                id: intent.operation,
                uid: intent.uid.clone(),
                change: work.draft.change.clone(),
                precondition: work.draft.precondition.clone(),
            })
            .collect();
        let concurrency = self.run.engine.inner.preview.readers().options.concurrency;
        let calls: Vec<BoxFuture<'_, Vec<Attempt>>> = operations
            .chunks(most)
            .zip(intents.chunks(most))
            .map(|(call, intents)| self.call(store, collection, call, intents, context).boxed())
            .collect();
        let attempts: Vec<Vec<Attempt>> = stream::iter(calls).buffered(concurrency.get()).collect().await;
        attempts.into_iter().flatten().collect()
    }

    async fn call(
        &self,
        store: &Arc<dyn ItemStore>,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        intents: &[ItemIntent],
        context: &CallContext,
    ) -> Vec<Attempt> {
        if self.run.request.control.is_cancelled() {
            let not = |_| Attempt::Not(Outcome::NotStarted(NotStarted::Cancelled));
            return intents.iter().map(not).collect();
        }
        if self.is_lease_over() {
            // As if the process had died before it: the next run finds the intents.
            let dropped = |_| {
                Attempt::Unknown(Outcome::Indeterminate {
                    kind: "lease_lost",
                    message: "the lease ran out before the call".to_owned(),
                })
            };
            return intents.iter().map(dropped).collect();
        }
        let answers = store.apply(collection, operations, context).await;
        let answers = counted(answers, operations.len());
        let mut attempts = Vec::with_capacity(operations.len());
        let mut may_ask = store.capabilities().target.point_read;
        for (intent, answer) in intents.iter().zip(answers) {
            attempts.push(self.judge(intent, answer, context, &mut may_ask).await);
        }
        attempts
    }

    /// What an answer means; what the system made of it, or where the answer leaves open whether it had its effect, is read back.
    async fn judge(
        &self,
        intent: &ItemIntent,
        answer: std::result::Result<Applied, ConnectorError>,
        context: &CallContext,
        may_ask: &mut bool,
    ) -> Attempt {
        let error = match answer {
            Ok(applied) => {
                let outcome = if applied.changed {
                    Outcome::Applied
                } else {
                    Outcome::AlreadySo
                };
                let answered = Answered {
                    version: applied.version,
                };
                let deletes = intent.effect == Effect::Delete;
                // A system that remembers ids may have answered what it answered then, although the item was made anew since.
                if deletes && !intent.carried {
                    return Attempt::Done(outcome, RowChange::Delete);
                }
                let intent = ItemIntent {
                    answered: Some(answered.clone()),
                    ..intent.clone()
                };
                let seen = self.look(&intent, context, may_ask).await;
                return match seen.map(|seen| settle(&intent, seen.as_ref())) {
                    Some(Settled::Done(change)) => Attempt::Done(outcome, change),
                    // Nothing is to be learned of a copy.
                    None if intent.source.is_none() && !deletes => Attempt::Done(outcome, RowChange::None),
                    Some(Settled::Not) | None => Attempt::Pending(outcome, answered),
                };
            }
            Err(error) => error,
        };
        let unknown = error.outcome_unknown();
        tracing::warn!(
            name: "usersync.operation.failed",
            operation = %intent.operation,
            kind = error.kind().code(),
            outcome_unknown = unknown,
            "an operation failed"
        );
        if unknown {
            let seen = self.look(intent, context, may_ask).await;
            return match seen.map(|seen| settle(intent, seen.as_ref())) {
                Some(Settled::Done(change)) => Attempt::Done(Outcome::Applied, change),
                Some(Settled::Not) | None => Attempt::Unknown(Outcome::left_open_by(&error)),
            };
        }
        Attempt::Not(match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::NotFound => Outcome::Conflict,
            kind => Outcome::Failed {
                kind: kind.code(),
                message: error.message().to_owned(),
                retry: error.retry(),
            },
        })
    }

    /// What the system shows of an item now; `None` if it cannot tell. A system that is out of order is not asked again.
    async fn look(
        &self,
        intent: &ItemIntent,
        context: &CallContext,
        may_ask: &mut bool,
    ) -> Option<Option<Sight>> {
        if !*may_ask {
            return None;
        }
        let store = self.items(intent.side);
        let collection = &self.collections[intent.side as usize];
        let found = match store.find(collection, &intent.uid, context).await {
            Ok(found) => found,
            Err(error) => {
                *may_ask = !is_out_of_order(error.kind());
                return None;
            }
        };
        let Some(item) = found else {
            return Some(None);
        };
        let (_, outline) = understand(&item, None, intent.side, self.kind).ok()?;
        Some(Some(Sight {
            href: item.href,
            version: item.version,
            changed: item.changed,
            outline,
            content: None,
        }))
    }

    /// One transaction: rows, audit, and the ends of the intents.
    async fn confirm(
        &mut self,
        rows: &mut Rows,
        batch: Vec<Work>,
        intents: Vec<ItemIntent>,
        attempts: Vec<Attempt>,
    ) -> Result<(bool, bool)> {
        let now = self.now();
        let mut transaction = self.transaction();
        let (mut any, mut pending) = (false, false);
        let mut state = self.state();
        for ((work, intent), attempt) in batch.iter().zip(intents).zip(attempts) {
            let operation = intent.operation;
            let end = Write::Delete {
                table: Table::Intent,
                key: below(&self.key, &operation.to_string()),
            };
            let outcome = match attempt {
                Attempt::Done(outcome, change) => {
                    any = true;
                    state.is_done(&intent);
                    self.write_row(&mut transaction, rows, &intent.uid, change)?;
                    transaction.write(end);
                    transaction.write(self.audit(&intent, &outcome, now)?);
                    outcome
                }
                Attempt::Pending(outcome, answered) => {
                    (any, pending) = (true, true);
                    self.answered.insert(operation);
                    state.is_done(&intent);
                    transaction.write(self.audit(&intent, &outcome, now)?);
                    let intent = ItemIntent {
                        answered: Some(answered),
                        ..intent
                    };
                    transaction.write(self.intent_write(&intent)?);
                    outcome
                }
                Attempt::Not(outcome) => {
                    self.given_up.insert(intent.uid.clone());
                    transaction.write(end);
                    transaction.write(self.audit(&intent, &outcome, now)?);
                    outcome
                }
                Attempt::Unknown(outcome) => {
                    self.given_up.insert(intent.uid.clone());
                    outcome
                }
            };
            let report = self.report_of(&work.draft, operation, outcome);
            self.report.operations.push(report);
        }
        self.write_counted(&mut transaction, rows, state)?;
        self.commit(transaction).await?;
        Ok((any, pending))
    }

    fn report_of(&self, draft: &Draft, operation: OperationId, outcome: Outcome) -> ItemOperationReport {
        ItemOperationReport {
            operation,
            system: self.items(draft.side).system().clone(),
            uid: draft.uid.clone(),
            label: draft.label.clone(),
            action: draft.effect.code(),
            changes: draft.changes.clone(),
            outcome,
        }
    }

    pub(super) fn operation_report(
        &self,
        intent: &ItemIntent,
        label: String,
        outcome: Outcome,
    ) -> ItemOperationReport {
        ItemOperationReport {
            operation: intent.operation,
            system: self.items(intent.side).system().clone(),
            uid: intent.uid.clone(),
            label,
            action: intent.effect.code(),
            changes: String::new(),
            outcome,
        }
    }

    /// The id of an operation of the next batch: never that of another one, nor of the same one at another time. Serials begin anew
    /// where a link was removed and is made again, tokens do not.
    pub(super) fn operation_id(&self, side: Side, uid: &ObjectId, action: &str) -> OperationId {
        let serial = self.state().serial + 1;
        let digest = DigestBuilder::new("usersync.item-operation/2")
            .part(self.run.job.tenant.as_str().as_bytes())
            .part(self.key.as_str().as_bytes())
            .part(&self.lease.token.0.to_be_bytes())
            .part(&serial.to_be_bytes())
            .part(&[side as u8])
            .part(uid.as_str().as_bytes())
            .part(action.as_bytes())
            .finish();
        OperationId::from_digest(&digest)
    }

    fn intent_write(&self, intent: &ItemIntent) -> Result<Write> {
        Ok(Write::Put {
            table: Table::Intent,
            key: below(&self.key, &intent.operation.to_string()),
            bytes: INTENT.encode(intent)?,
        })
    }

    pub(super) fn audit(
        &self,
        intent: &ItemIntent,
        outcome: &Outcome,
        at: chrono::DateTime<chrono::Utc>,
    ) -> Result<Write> {
        let system = self.items(intent.side).system();
        let collection = &self.collections[intent.side as usize];
        let record = AuditRecord {
            job: self.run.job.id.clone(),
            operation: intent.operation,
            container: ContainerRef::new(system.clone(), collection.account.clone()),
            subject: Subject::Record(RecordRef::new(system.clone(), intent.uid.clone())),
            action: format!("{}_{}", intent.effect.code(), self.kind.code()),
            reason: intent.reason.clone(),
            outcome: outcome.code().to_owned(),
            actor: intent.actor.clone(),
            approved: intent.approved,
            plan: intent.plan,
            at,
        };
        let moment = at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string();
        let key = Key::of(&[&intent.operation.to_string(), &moment, outcome.code()]);
        Ok(Write::Append {
            log: Log::Audit,
            key,
            bytes: AUDIT.encode(&record)?,
        })
    }
}
