//! The window of what is under way: while some operations are called for, what became of those before them is recorded, and
//! those behind them become durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use tracing::Instrument;
use usersync_connector::CallContext;
use usersync_model::PrincipalRef;
use usersync_reconcile::{Operation, Section};
use usersync_store::{Encoded, Lease};

use super::confirm::outcome;
use super::{Acting, Applier, Ended, Shared, Work};
use crate::actor::container_actor;
use crate::error::{EngineError, Result};
use crate::event::RunEvent;
use crate::ground::Ground;
use crate::record::Moment;
use crate::recover::Recovery;
use crate::report::{NotStarted, OperationReport, Outcome};
use crate::state::Effect;

/// Operations of one owner's containers, whose intents are written together.
struct Batch<'a> {
    owner: Option<&'a PrincipalRef>,
    /// The place of the first one among the operations of the plan.
    first: usize,
    operations: Vec<(&'a Section, &'a Operation)>,
}

/// What one transaction of the journal came to.
struct Turn<'a> {
    lease: Lease,
    /// Whose intents are durable now, and in whose name they are called for.
    begun: Option<(Vec<Work<'a>>, Arc<Acting>)>,
    reports: Vec<(usize, OperationReport)>,
}

impl<'a> Applier<'a> {
    /// Applies every operation of the plan; each gets exactly one report, in the order in which they were to begin.
    ///
    /// The intents of the next batch become durable as soon as what is left of the one before keeps the target busy for one
    /// round of calls at most, so that the target need not wait for the store. What answers at once is waited for before that.
    pub(crate) async fn apply(&self, ground: &Ground, recovery: &Recovery) -> Result<Vec<OperationReport>> {
        let batch = self.readers.options.batch.get();
        let at_once = self.readers.options.concurrency.get();
        let of = self.plan.summary().operations();
        let mut waiting = self.batches();
        let mut lease = self.lease.clone();
        let mut ready = VecDeque::new();
        let mut calls = FuturesUnordered::new();
        let mut ended = Vec::new();
        let mut turn: Option<BoxFuture<'_, Result<Turn<'a>>>> = None;
        let mut reports = Vec::with_capacity(self.plan.summary().operations() as usize);
        let mut told = 0;
        loop {
            loop {
                let free = at_once.saturating_sub(calls.len()).min(ready.len());
                calls.extend(ready.drain(..free).map(|errand| self.attempt(errand)));
                match calls.next().now_or_never() {
                    Some(Some(answered)) => ended.extend(answered),
                    _ => break,
                }
            }
            if turn.is_none() {
                let is_over = ready.is_empty() && calls.is_empty();
                let next = if ready.len() <= at_once {
                    waiting.pop_front()
                } else {
                    None
                };
                let is_to_be_told = waiting.is_empty() && (is_over || ended.len() >= batch);
                if next.is_some() || is_to_be_told && !ended.is_empty() {
                    let operations = next.as_ref().map_or(0, |batch| batch.operations.len());
                    let span = tracing::info_span!("usersync.apply", operations);
                    let rests_on = (ground, recovery);
                    let ended = std::mem::replace(&mut ended, Vec::with_capacity(batch));
                    let write = self.write(lease.clone(), ended, next, rests_on);
                    turn = Some(write.instrument(span).boxed());
                } else if is_over {
                    break;
                }
            }
            let written = match turn.take() {
                None => {
                    ended.extend(calls.next().await.into_iter().flatten());
                    continue;
                }
                Some(under_way) if calls.is_empty() => under_way.await,
                Some(under_way) => match select(calls.next(), under_way).await {
                    Either::Left((answered, under_way)) => {
                        turn = Some(under_way);
                        ended.extend(answered.into_iter().flatten());
                        continue;
                    }
                    Either::Right((written, _)) => written,
                },
            };
            let written = match written {
                Ok(written) => written,
                Err(error) => {
                    // What is on its way arrives before the lease is given up: it cannot be called back.
                    while calls.next().await.is_some() {}
                    return Err(error);
                }
            };
            lease = written.lease;
            reports.extend(written.reports);
            if let Some((begun, acting)) = written.begun {
                let mut called = Vec::with_capacity(begun.len());
                for work in begun {
                    match work.effect {
                        Effect::Adopt => ended.push(Ended::adopted(work, &acting)),
                        _ => called.push(work),
                    }
                }
                ready.extend(self.errands(called, &acting));
            }
            if told < reports.len() {
                told = reports.len();
                let done = told as u64;
                self.control.tell(RunEvent::Applied { done, of });
            }
        }
        reports.sort_unstable_by_key(|(place, _)| *place);
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    fn batches(&self) -> VecDeque<Batch<'a>> {
        let mut by_owner: BTreeMap<Option<&PrincipalRef>, Vec<(&Section, &Operation)>> = BTreeMap::new();
        for section in self.plan.sections() {
            let operations = section.operations.iter().map(|operation| (section, operation));
            by_owner
                .entry(section.owner.as_ref())
                .or_default()
                .extend(operations);
        }
        let mut batches = VecDeque::new();
        let mut first = 0;
        for (owner, operations) in by_owner {
            for operations in operations.chunks(self.readers.options.batch.get()) {
                batches.push_back(Batch {
                    owner,
                    first,
                    operations: operations.to_vec(),
                });
                first += operations.len();
            }
        }
        batches
    }

    fn work_of(&self, batch: &Batch<'a>, ground: &Ground, recovery: &Recovery) -> Result<Vec<Work<'a>>> {
        let mut works = Vec::with_capacity(batch.operations.len());
        let by_section = batch
            .operations
            .chunk_by(|(one, _), (other, _)| std::ptr::eq(*one, *other));
        for operations in by_section {
            let container = &operations[0].0.container;
            let shared = Shared {
                rows: ground.rows(container),
                ids: self.plan.envelope().operation_ids(container),
                container: Arc::new(Encoded::of(container)?),
            };
            for operation in operations {
                let place = batch.first + works.len();
                let work = self.work(place, *operation, &shared, works.last(), recovery)?;
                works.push(work);
            }
        }
        Ok(works)
    }

    /// One transaction: what became of the operations that `ended`, and the intents of the `next` ones. What is not begun is
    /// reported.
    async fn write(
        &self,
        mut lease: Lease,
        mut ended: Vec<Ended<'a>>,
        next: Option<Batch<'a>>,
        (ground, recovery): (&Ground, &Recovery),
    ) -> Result<Turn<'a>> {
        let mut reports = Vec::new();
        let mut begun = None;
        if let Some(batch) = next {
            let owner = batch.owner;
            let batch = self.work_of(&batch, ground, recovery)?;
            match self.who_acts(owner).await? {
                Ok(context) => {
                    lease = self.kept(lease).await?;
                    begun = Some((batch, Arc::new(self.acting(context)?)));
                }
                Err(why) => reports.extend(batch.iter().map(|work| work.report(Outcome::NotStarted(why)))),
            }
        }
        let now = Moment::of(self.readers.clock.now())?;
        if let Some((batch, _)) = &mut begun {
            self.take_quota(batch, now.at);
            self.date_rows(batch).await?;
        }
        // As if they had been carried out in the order of the plan.
        ended.sort_unstable_by_key(|ended| ended.work.place);
        loop {
            let mut transaction = self.transaction();
            let begins = begun.as_ref().map_or(0, |(batch, _)| batch.len());
            // Of what ended a row, an end of the intent, an entry of the audit and a notification are written.
            transaction.writes.reserve(4 * ended.len() + begins);
            transaction.checks.reserve(ended.len() + begins);
            let checked = self.confirm(&ended, &now, &mut transaction)?;
            if let Some((batch, acting)) = &begun {
                self.begin(batch, acting, &now, &mut transaction)?;
            }
            if transaction.writes.is_empty() {
                break;
            }
            let Some(check) = self.commit(transaction).await? else {
                break;
            };
            if let Some(place) = checked.get(check) {
                // Another job changed the row meanwhile: its claim stays, and ours is added to it or taken from it.
                let Ended { work, contested, .. } = &mut ended[*place];
                work.row = self.store.ledger_row(&self.job.tenant, &work.key()).await?.into();
                *contested = true;
            } else if let Some((batch, _)) = &mut begun {
                reports.extend(refused(batch, check - checked.len()));
            }
        }
        let end = |ended: Ended<'_>| ended.work.report(outcome(ended.attempt));
        reports.extend(ended.into_iter().map(end));
        Ok(Turn {
            lease,
            begun,
            reports,
        })
    }

    /// Of rows that the run itself wrote it knows only what they say. Before somebody is taken out by one, it looks up to which
    /// write that is so: who is back by then, by another job, has another row.
    async fn date_rows(&self, batch: &mut [Work<'_>]) -> Result<()> {
        let is_undated = |work: &&mut Work<'_>| work.effect.is_removal() && work.row.as_of.is_none();
        for work in batch.iter_mut().filter(is_undated) {
            let found = self.store.ledger_row(&self.job.tenant, &work.key()).await?;
            let found = found.filter(|found| work.row.row.as_ref() == Some(&found.row));
            work.row.as_of = found.map(|found| found.revision);
        }
        Ok(())
    }

    fn acting(&self, context: CallContext) -> Result<Acting> {
        Ok(Acting {
            actor: Encoded::of(&context.actor)?,
            plan: Encoded::of(&self.plan.digest())?,
            context,
        })
    }

    /// In whose name a batch is begun, or why it is not.
    async fn who_acts(
        &self,
        owner: Option<&PrincipalRef>,
    ) -> Result<std::result::Result<CallContext, NotStarted>> {
        if self.control.is_cancelled() {
            return Ok(Err(NotStarted::Cancelled));
        }
        match container_actor(self.readers, self.job, owner).await {
            Ok(Ok(actor)) => Ok(Ok(CallContext {
                tenant: self.job.tenant.clone(),
                job: self.job.id.clone(),
                actor,
            })),
            Ok(Err(_)) => Ok(Err(NotStarted::NobodyActs)),
            Err(EngineError::Connector(error)) => {
                tracing::warn!(name: "usersync.actor.unknown", kind = error.kind().code(), "nobody could tell who may act");
                Ok(Err(NotStarted::ActorUnknown))
            }
            Err(error) => Err(error),
        }
    }
}

/// Takes out of `batch` what is not begun, since the check of this number did not hold.
fn refused(batch: &mut Vec<Work<'_>>, check: usize) -> Vec<(usize, OperationReport)> {
    if check < batch.len() {
        return vec![batch.remove(check).report(Outcome::Superseded)];
    }
    let (over, rest): (Vec<_>, Vec<_>) = std::mem::take(batch).into_iter().partition(|work| work.reserves);
    *batch = rest;
    let report = |work: &Work<'_>| work.report(Outcome::NotStarted(NotStarted::WindowLimit));
    over.iter().map(report).collect()
}
