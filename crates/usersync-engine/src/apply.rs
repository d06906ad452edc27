//! Carrying a plan out: durable intents, effects, one transaction of confirmations, batch by batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use tracing::Instrument;
use usersync_connector::{
    Actor, Applied, CallContext, Error as ConnectorError, ErrorKind, MemberChange, MemberOperation,
    MembershipTarget, Precondition, Version,
};
use usersync_model::{ContainerRef, LedgerRow, OperationId, Origin, PrincipalRef, Subject};
use usersync_reconcile::{Action, LedgerStep, Operation, Plan, Section};
use usersync_store::{Check, Lease, LedgerKey, StateStore, StoreErrorKind, Table, Transaction, Write};

use crate::actor::container_actor;
use crate::error::{EngineError, Result};
use crate::event::{RunControl, RunEvent};
use crate::job::Job;
use crate::ports::Readers;
use crate::record::{audit, intent_write, notification};
use crate::recover::{Recovery, row_after};
use crate::report::{NotStarted, OperationReport, Outcome};
use crate::state::{Effect, Intent, intent_key, window_hours, window_key, window_keys};
use crate::survey::Survey;

/// Carries one plan out.
pub(crate) struct Applier<'a> {
    pub(crate) readers: &'a Readers,
    pub(crate) store: &'a Arc<dyn StateStore>,
    pub(crate) target: &'a Arc<dyn MembershipTarget>,
    pub(crate) job: &'a Job,
    pub(crate) lease: Lease,
    pub(crate) control: &'a RunControl,
    pub(crate) plan: &'a Plan,
}

/// One operation on its way.
#[derive(Clone, Debug)]
struct Work {
    id: OperationId,
    container: ContainerRef,
    principal: PrincipalRef,
    effect: Effect,
    precondition: Precondition,
    /// The ledger row that the plan rests on.
    row: Option<LedgerRow>,
    approved: bool,
    /// Whether an earlier attempt may have had its effect.
    carried: bool,
    /// The hour whose quota of removals it uses.
    quota: Option<i64>,
    /// Whether that is still to be taken.
    reserves: bool,
    reason: &'static str,
}

/// How an attempt at one operation went.
#[derive(Clone, Debug)]
enum Attempt {
    /// It is as wished; `ours` tells whether we made it so.
    Done { changed: bool, ours: bool },
    /// It is not, for sure.
    Not(Outcome),
    /// Nobody knows.
    Unknown,
}

impl Work {
    fn key(&self) -> LedgerKey {
        LedgerKey::member(self.container.clone(), self.principal.clone())
    }

    fn counts_in_window(&self) -> bool {
        self.effect == Effect::Remove && !self.approved
    }

    fn report(&self, outcome: Outcome) -> OperationReport {
        OperationReport {
            operation: self.id,
            container: self.container.clone(),
            principal: self.principal.clone(),
            action: self.effect.code(),
            outcome,
        }
    }
}

impl Applier<'_> {
    /// Writes what changes in the ledger only. A row that changed meanwhile is left for the next run.
    pub(crate) async fn settle_ledger(&mut self, survey: &mut Survey) -> Result<()> {
        let mut changes = Vec::new();
        for section in self.plan.sections() {
            let Some(place) = survey.place(&section.container) else {
                continue;
            };
            for change in &section.ledger {
                let Subject::Principal(principal) = &change.subject else {
                    continue;
                };
                let id = survey.sources.intern(principal);
                let before = survey.sights[place].row(id, &self.job.id);
                let after = self.row_after_step(&change.step, before.clone());
                survey.sights[place].set_row(id, after.clone(), &self.job.id);
                let key = LedgerKey::member(section.container.clone(), principal.clone());
                changes.push((key, before, after));
            }
        }
        for chunk in changes.chunks(self.readers.options.batch.get()) {
            self.keep_lease().await?;
            let mut chunk = chunk.to_vec();
            while !chunk.is_empty() {
                let mut transaction = self.transaction();
                for (key, before, after) in &chunk {
                    transaction.check(Check::Ledger {
                        key: key.clone(),
                        row: before.clone(),
                    });
                    transaction.write(Write::Ledger {
                        key: key.clone(),
                        row: after.clone(),
                    });
                }
                match self.commit(transaction).await? {
                    None => break,
                    Some(check) => drop(chunk.remove(check)),
                }
            }
        }
        Ok(())
    }

    fn row_after_step(&self, step: &LedgerStep, row: Option<LedgerRow>) -> Option<LedgerRow> {
        match step {
            LedgerStep::Agree(facets) => row.map(|row| row.with_facets(facets.clone())),
            LedgerStep::Claim(facets) => {
                let row = row.unwrap_or_else(|| LedgerRow::new(Origin::Foreign, []));
                Some(row.claimed(&self.job.id).with_facets(facets.clone()))
            }
            LedgerStep::Forget | LedgerStep::Release(_) => row.and_then(|row| row.released(&self.job.id)),
        }
    }

    /// Applies every operation of the plan; each gets exactly one report.
    pub(crate) async fn apply(
        &mut self,
        survey: &Survey,
        recovery: &Recovery,
    ) -> Result<Vec<OperationReport>> {
        let mut by_owner: BTreeMap<Option<&PrincipalRef>, Vec<&Section>> = BTreeMap::new();
        for section in self
            .plan
            .sections()
            .iter()
            .filter(|section| !section.operations.is_empty())
        {
            by_owner.entry(section.owner.as_ref()).or_default().push(section);
        }
        let total = self.plan.summary().operations();
        let mut reports = Vec::new();
        for (owner, sections) in by_owner {
            let work: Vec<Work> = sections
                .into_iter()
                .flat_map(|section| {
                    section
                        .operations
                        .iter()
                        .map(move |operation| (section, operation))
                })
                .filter_map(|(section, operation)| self.work(section, operation, survey, recovery))
                .collect();
            for batch in work.chunks(self.readers.options.batch.get()) {
                let span = tracing::info_span!("usersync.apply", operations = batch.len());
                reports.extend(self.apply_batch(owner, batch.to_vec()).instrument(span).await?);
                self.control.tell(RunEvent::Applied {
                    done: reports.len() as u64,
                    of: total,
                });
            }
        }
        Ok(reports)
    }

    fn work(
        &self,
        section: &Section,
        operation: &Operation,
        survey: &Survey,
        recovery: &Recovery,
    ) -> Option<Work> {
        let Subject::Principal(principal) = &operation.subject else {
            return None;
        };
        let effect = match &operation.action {
            Action::Add(facets) => Effect::Add(facets.clone()),
            Action::Adopt => Effect::Adopt,
            Action::Remove => Effect::Remove,
            Action::Update { to, .. } => Effect::Update {
                to: to.clone(),
                agreed: operation.member_base().unwrap_or(to).clone(),
            },
            Action::Change(_) | Action::Create(_) | Action::Delete => return None,
        };
        let place = survey.place(&section.container)?;
        let row = survey
            .graph()
            .find(principal)
            .and_then(|id| survey.sights[place].row(id, &self.job.id));
        let carried = recovery
            .carried
            .get(&(section.container.clone(), principal.clone()))
            .filter(|carried| carried.code == effect.code());
        let precondition = match (&effect, &operation.seen) {
            (Effect::Add(_), _) => Precondition::Absent,
            (_, Some(version)) => Precondition::Version(Version(version.clone())),
            (_, None) => Precondition::None,
        };
        Some(Work {
            id: match carried {
                Some(carried) => carried.operation,
                None => self.plan.envelope().operation_id(&section.container, operation),
            },
            container: section.container.clone(),
            principal: principal.clone(),
            effect,
            precondition,
            row,
            approved: operation.approved,
            carried: carried.is_some(),
            quota: carried.and_then(|carried| carried.quota),
            reserves: false,
            reason: operation.reason.code(),
        })
    }

    async fn apply_batch(
        &mut self,
        owner: Option<&PrincipalRef>,
        batch: Vec<Work>,
    ) -> Result<Vec<OperationReport>> {
        let not_started = |why| {
            Ok(batch
                .iter()
                .map(|work| work.report(Outcome::NotStarted(why)))
                .collect())
        };
        if self.control.is_cancelled() {
            return not_started(NotStarted::Cancelled);
        }
        let actor = match container_actor(self.readers, self.job, owner).await {
            Ok(Ok(actor)) => actor,
            Ok(Err(_)) => return not_started(NotStarted::NobodyActs),
            Err(EngineError::Connector(error)) => {
                tracing::warn!(name: "usersync.actor.unknown", kind = error.kind().code(), "nobody could tell who may act");
                return not_started(NotStarted::ActorUnknown);
            }
            Err(error) => return Err(error),
        };
        self.keep_lease().await?;
        let (batch, mut reports) = self.begin(batch, &actor).await?;
        let attempts = self.attempt(&batch, &actor).await;
        reports.extend(self.confirm(&batch, attempts, &actor).await?);
        Ok(reports)
    }

    /// Makes the intents durable, if the ledger is still what the plan rests on and the window has room. What is not begun is
    /// reported.
    async fn begin(&self, mut batch: Vec<Work>, actor: &Actor) -> Result<(Vec<Work>, Vec<OperationReport>)> {
        let mut reports = Vec::new();
        let now = self.readers.clock.now();
        if let Some(window) = self.job.policy.guards.window {
            let hours = window_hours(now, window.hours);
            for work in batch.iter_mut().filter(|work| work.counts_in_window()) {
                // What an earlier attempt took is not taken again.
                work.reserves = !work.quota.is_some_and(|hour| hours.contains(&hour));
                if work.reserves {
                    work.quota = Some(*hours.end());
                }
            }
        }
        loop {
            let mut transaction = self.transaction();
            for work in &batch {
                transaction.check(Check::Ledger {
                    key: work.key(),
                    row: work.row.clone(),
                });
            }
            let removals = batch.iter().filter(|work| work.reserves).count();
            if removals > 0 {
                self.reserve(removals, now, &mut transaction);
            }
            for work in &batch {
                if work.effect != Effect::Adopt {
                    transaction.write(intent_write(&self.job.id, &self.intent(work, actor))?);
                }
            }
            if transaction.writes.is_empty() {
                return Ok((batch, reports));
            }
            match self.commit(transaction).await? {
                None => return Ok((batch, reports)),
                Some(check) if check < batch.len() => {
                    reports.push(batch.remove(check).report(Outcome::Superseded));
                }
                Some(_) => {
                    let (over, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|work| work.reserves);
                    reports.extend(
                        over.iter()
                            .map(|w| w.report(Outcome::NotStarted(NotStarted::WindowLimit))),
                    );
                    batch = rest;
                }
            }
        }
    }

    fn intent(&self, work: &Work, actor: &Actor) -> Intent {
        Intent {
            operation: work.id,
            container: work.container.clone(),
            principal: work.principal.clone(),
            effect: work.effect.clone(),
            actor: actor.clone(),
            approved: work.approved,
            reason: work.reason.to_owned(),
            plan: self.plan.digest(),
            quota: work.quota,
        }
    }

    /// Takes removals out of the window's quota, together with the intents.
    fn reserve(&self, removals: usize, now: DateTime<Utc>, transaction: &mut Transaction) {
        let Some(window) = self.job.policy.guards.window else {
            return;
        };
        transaction.write(Write::Add {
            counter: window_key(&self.job.id, *window_hours(now, window.hours).end()),
            delta: i64::try_from(removals).unwrap_or(i64::MAX),
        });
        transaction.check(Check::AtMost {
            counters: window_keys(&self.job.id, now, window.hours),
            limit: window.share.allowance(self.plan.header().tally.removable),
        });
    }

    /// Calls the target, several calls at once, each for one container. Answers in the order of the batch.
    async fn attempt(&self, batch: &[Work], actor: &Actor) -> Vec<Attempt> {
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
                    ours: applied.changed || work.carried,
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
                    let ours = unknown || work.carried;
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

    /// One transaction: ledger rows, audit, notifications, and the ends of the intents.
    async fn confirm(
        &self,
        batch: &[Work],
        attempts: Vec<Attempt>,
        actor: &Actor,
    ) -> Result<Vec<OperationReport>> {
        let mut rows: Vec<Option<LedgerRow>> = batch.iter().map(|work| work.row.clone()).collect();
        loop {
            let mut transaction = self.transaction();
            let mut checked = Vec::new();
            for ((place, work), attempt) in batch.iter().enumerate().zip(&attempts) {
                if let Attempt::Done { ours, .. } = attempt {
                    checked.push(place);
                    transaction.check(Check::Ledger {
                        key: work.key(),
                        row: rows[place].clone(),
                    });
                    let row = row_after(&work.effect, rows[place].clone(), &self.job.id, *ours);
                    transaction.write(Write::Ledger { key: work.key(), row });
                }
                self.conclude(work, attempt, actor, &mut transaction)?;
                let had_effect = matches!(attempt, Attempt::Done { changed: true, .. });
                if let Some(hour) = work.quota
                    && !had_effect
                    && !stays_open(work, attempt)
                {
                    transaction.write(Write::Add {
                        counter: window_key(&self.job.id, hour),
                        delta: -1,
                    });
                }
            }
            match self.commit(transaction).await? {
                None => break,
                // Another job changed the row meanwhile: its claim stays, and ours is added to it or taken from it.
                Some(check) => {
                    let place = checked[check];
                    rows[place] = self
                        .store
                        .ledger_row(&self.job.tenant, &batch[place].key())
                        .await?;
                }
            }
        }
        Ok(batch
            .iter()
            .zip(attempts)
            .map(|(work, attempt)| work.report(outcome(attempt)))
            .collect())
    }

    /// What is written about one attempt beside the ledger.
    fn conclude(
        &self,
        work: &Work,
        attempt: &Attempt,
        actor: &Actor,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let end = outcome(attempt.clone());
        let intent = self.intent(work, actor);
        if !stays_open(work, attempt) && work.effect != Effect::Adopt {
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: intent_key(&self.job.id, &work.id),
            });
        }
        if !matches!(end, Outcome::NotStarted(_)) {
            transaction.write(audit(self.job, &intent, &end, self.readers.clock.now())?);
        }
        if end == Outcome::Applied
            && let Some(write) = notification(self.job, &intent)?
        {
            transaction.write(write);
        }
        Ok(())
    }

    fn transaction(&self) -> Transaction {
        Transaction::new(self.job.tenant.clone()).under(self.lease.fence())
    }

    /// Commits; answers which check did not hold, if one did not.
    async fn commit(&self, transaction: Transaction) -> Result<Option<usize>> {
        commit(self.store, &self.job.id, transaction).await
    }

    /// Renews the lease once half of it is over.
    async fn keep_lease(&mut self) -> Result<()> {
        let left = self.lease.expires.signed_duration_since(self.store.now().await?);
        let lease = self.readers.options.lease;
        if left.to_std().unwrap_or_default() < lease / 2 {
            self.lease = self
                .store
                .renew(&self.lease, lease)
                .await
                .map_err(EngineError::store(&self.job.id))?;
        }
        Ok(())
    }
}

/// Commits; answers which check did not hold, if one did not.
pub(crate) async fn commit(
    store: &Arc<dyn StateStore>,
    job: &usersync_model::JobId,
    transaction: Transaction,
) -> Result<Option<usize>> {
    match store.commit(transaction).await {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == StoreErrorKind::Conflict => match error.failed_check() {
            Some(check) => Ok(Some(check)),
            None => Err(EngineError::Store(error)),
        },
        Err(error) => Err(EngineError::store(job)(error)),
    }
}

/// An earlier attempt may still have its effect, so its intent stays until the target shows what became of it.
fn stays_open(work: &Work, attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Unknown) || (work.carried && matches!(attempt, Attempt::Not(_)))
}

fn outcome(attempt: Attempt) -> Outcome {
    match attempt {
        Attempt::Done { changed: true, .. } => Outcome::Applied,
        Attempt::Done {
            changed: false,
            ours: true,
        } => Outcome::Applied,
        Attempt::Done {
            changed: false,
            ours: false,
        } => Outcome::AlreadySo,
        Attempt::Not(outcome) => outcome,
        Attempt::Unknown => Outcome::Indeterminate,
    }
}

fn unanswered() -> ConnectorError {
    ConnectorError::new(
        ErrorKind::Unexpected,
        "the connector answered fewer results than it was given operations",
    )
    .with_unknown_outcome(true)
}
