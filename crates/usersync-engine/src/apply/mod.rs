//! Carrying a plan out: durable intents, effects, confirmations, batch by batch.

mod confirm;
mod effects;
mod target;
mod window;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_connector::{CallContext, Precondition, Version};
use usersync_model::{ContainerRef, LedgerRow, OperationId, Origin, Subject};
use usersync_reconcile::{
    Action, Fingerprint, LedgerStep, Operation, OperationIds, Plan, RecordBase, Section,
};
use usersync_store::{Check, Encoded, Lease, LedgerKey, StateStore, StoreErrorKind, Transaction, Write};

use crate::error::{EngineError, Result};
use crate::event::RunControl;
use crate::ground::{Ground, RowBefore, Rows};
use crate::job::Job;
use crate::ports::Readers;
use crate::record::{Moment, Told, WrittenEffect, base_write, intent_write, subject_written};
use crate::recover::{Found, Recovery};
use crate::report::{OperationReport, Outcome};
use crate::state::{Effect, window_hours, window_key, window_keys};

pub(crate) use self::target::{Target, shows};

/// Carries one plan out.
pub(crate) struct Applier<'a> {
    pub(crate) readers: &'a Readers,
    pub(crate) store: &'a Arc<dyn StateStore>,
    pub(crate) target: Target,
    pub(crate) job: &'a Job,
    pub(crate) lease: Lease,
    pub(crate) control: &'a RunControl,
    pub(crate) plan: &'a Plan,
}

/// One operation on its way.
#[derive(Clone, Debug)]
struct Work<'a> {
    /// Its place among the operations of the plan.
    place: usize,
    id: OperationId,
    container: &'a ContainerRef,
    /// As it is written within values.
    container_written: Arc<Encoded>,
    subject: &'a Subject,
    subject_written: Encoded,
    action: &'a Action,
    effect: Effect,
    effect_written: Arc<WrittenEffect>,
    precondition: Precondition,
    /// The ledger row that the plan rests on.
    row: RowBefore,
    /// What the target shows of a record that is changed.
    shown: Option<Fingerprint>,
    approved: bool,
    /// Since when an earlier attempt may have had its effect; `None`: there was none.
    carried: Option<DateTime<Utc>>,
    /// The hour whose quota of removals it uses.
    quota: Option<i64>,
    /// Whether that is still to be taken.
    reserves: bool,
    reason: &'static str,
}

/// What the operations on one container share.
#[derive(Debug)]
struct Shared<'a> {
    ids: OperationIds,
    rows: Rows<'a>,
    /// The container as it is written within values.
    container: Arc<Encoded>,
}

/// What changes in the ledger only.
#[derive(Debug)]
struct RowChange {
    key: LedgerKey,
    before: RowBefore,
    after: Option<LedgerRow>,
    /// What is stored of a record beside its row.
    base: Option<Write>,
}

/// An operation that was attempted.
#[derive(Debug)]
struct Ended<'a> {
    work: Work<'a>,
    attempt: Attempt,
    acting: Arc<Acting>,
    /// Whether somebody else wrote its ledger row while it was under way.
    contested: bool,
}

/// In whose name operations are called for, and of which plan they are.
#[derive(Debug)]
struct Acting {
    context: CallContext,
    /// As they are written within values.
    actor: Encoded,
    plan: Encoded,
}

impl<'a> Ended<'a> {
    fn new(work: Work<'a>, attempt: Attempt, acting: &Arc<Acting>) -> Self {
        Self {
            work,
            attempt,
            acting: Arc::clone(acting),
            contested: false,
        }
    }

    /// What is only counted as ours from now on needs no call.
    fn adopted(work: Work<'a>, acting: &Arc<Acting>) -> Self {
        let attempt = Attempt::Done {
            changed: false,
            found: Found {
                ours: true,
                as_wished: true,
            },
        };
        Self::new(work, attempt, acting)
    }
}

/// How an attempt at one operation went.
#[derive(Clone, Debug)]
enum Attempt {
    /// It is there; `changed` tells whether this attempt made it.
    Done { changed: bool, found: Found },
    /// It is not, for sure.
    Not(Outcome),
    /// Nobody knows, for this reason.
    Unknown(Outcome),
}

impl Work<'_> {
    fn key(&self) -> LedgerKey {
        LedgerKey {
            container: self.container.clone(),
            subject: self.subject.clone(),
        }
    }

    /// What `then` makes of what is told of it in values.
    fn told<T>(&self, acting: &Acting, then: impl FnOnce(Told<'_>) -> T) -> T {
        let told = |id: &str| {
            then(Told {
                id,
                container: &self.container_written,
                subject: self.subject,
                subject_written: &self.subject_written,
                effect: &self.effect,
                effect_written: &self.effect_written,
                actor: &acting.actor,
                approved: self.approved,
                reason: self.reason,
                plan: &acting.plan,
            })
        };
        self.id.with_text(told)
    }

    /// The base of a record whose change was no change to the target: what it showed is how it spells what was written. Otherwise it
    /// would be written again and again.
    fn base_as_spelled(&self) -> Option<RecordBase> {
        let Effect::Change { agreed, .. } = &self.effect else {
            return None;
        };
        // What is to be compared again stays so.
        agreed.target?;
        Some(RecordBase {
            target: Some(self.shown?),
            ..agreed.clone()
        })
    }

    fn counts_in_window(&self) -> bool {
        self.effect.is_removal() && !self.approved
    }

    /// With the place in the plan.
    fn report(&self, outcome: Outcome) -> (usize, OperationReport) {
        let report = OperationReport {
            operation: self.id,
            container: self.container.clone(),
            subject: self.subject.clone(),
            action: self.effect.code(),
            outcome,
        };
        (self.place, report)
    }
}

impl<'a> Applier<'a> {
    /// Writes what changes in the ledger only. A row that changed meanwhile is left for the next run.
    pub(crate) async fn settle_ledger(&mut self, ground: &mut Ground) -> Result<()> {
        let batch = self.readers.options.batch.get();
        let mut chunk = Vec::new();
        for entry in ground.take_ceded() {
            let after = entry.row.clone().released(&self.job.id);
            chunk.push(RowChange {
                key: entry.key.clone(),
                before: Some(entry).into(),
                after,
                base: None,
            });
            if chunk.len() == batch {
                self.settle_rows(&mut chunk).await?;
            }
        }
        let plan = self.plan;
        for section in plan.sections() {
            for change in &section.ledger {
                let key = LedgerKey {
                    container: section.container.clone(),
                    subject: change.subject.clone(),
                };
                let before = ground.rows(&key.container).before(&key.subject, &self.job.id);
                let after = self.row_after_step(&change.step, before.row.clone());
                ground.set_row(&key.container, &key.subject, after.clone(), &self.job.id);
                let base = base_write(
                    &self.job.id,
                    &key.container,
                    &key.subject,
                    change.agreed.as_deref(),
                )?;
                chunk.push(RowChange {
                    key,
                    before,
                    after,
                    base,
                });
                if chunk.len() == batch {
                    self.settle_rows(&mut chunk).await?;
                }
            }
        }
        self.settle_rows(&mut chunk).await
    }

    /// Writes those rows of `chunk`, which is empty then, that are as before, in one transaction.
    async fn settle_rows(&mut self, chunk: &mut Vec<RowChange>) -> Result<()> {
        if !chunk.is_empty() {
            self.lease = self.kept(self.lease.clone()).await?;
        }
        while !chunk.is_empty() {
            let mut transaction = self.transaction();
            for change in &*chunk {
                transaction.check(change.before.check(change.key.clone()));
                transaction.write(Write::Ledger {
                    key: change.key.clone(),
                    row: change.after.clone(),
                });
                transaction.writes.extend(change.base.clone());
            }
            match self.commit(transaction).await? {
                None => chunk.clear(),
                Some(check) => drop(chunk.remove(check)),
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

    fn work(
        &self,
        place: usize,
        (section, operation): (&'a Section, &'a Operation),
        shared: &Shared<'_>,
        before: Option<&Work<'a>>,
        recovery: &Recovery,
    ) -> Result<Work<'a>> {
        let agreed = || operation.record_base().cloned().unwrap_or_default();
        let effect = match &operation.action {
            Action::Add(facets) => Effect::Add(facets.clone()),
            Action::Adopt => Effect::Adopt,
            Action::Change(to) => Effect::Change {
                to: to.clone(),
                agreed: agreed(),
            },
            Action::Create(_) => Effect::Create { agreed: agreed() },
            Action::Delete => Effect::Delete,
            Action::Remove => Effect::Remove,
            Action::Update { to, .. } => Effect::Update {
                to: to.clone(),
                agreed: operation.member_base().unwrap_or(to).clone(),
            },
        };
        let row = shared.rows.before(&operation.subject, &self.job.id);
        let begun = recovery
            .carried
            .get(&(section.container.clone(), operation.subject.clone()));
        let carried = begun.filter(|carried| carried.is_continued_by(&operation.action));
        let effect = match carried {
            // It may have been made as it was to be then. What is recorded says so, and the next plan compares with that.
            Some(carried) if effect.is_addition() => carried.effect.clone(),
            _ => effect,
        };
        let precondition = match (&effect, &operation.seen) {
            (Effect::Add(_) | Effect::Create { .. }, _) => Precondition::Absent,
            (_, Some(version)) => Precondition::Version(Version(version.clone())),
            (_, None) => Precondition::None,
        };
        let effect_written = match before {
            Some(before) if before.effect == effect => Arc::clone(&before.effect_written),
            _ => Arc::new(WrittenEffect::of(&effect)?),
        };
        Ok(Work {
            place,
            id: match carried {
                Some(carried) => carried.operation,
                None => shared.ids.of(operation),
            },
            container: &section.container,
            container_written: Arc::clone(&shared.container),
            subject: &operation.subject,
            subject_written: subject_written(&operation.subject),
            action: &operation.action,
            effect,
            effect_written,
            precondition,
            row,
            shown: match operation.action {
                // What an earlier attempt writes may come at any time, so that what was read says little of what is there.
                Action::Change(_) if begun.is_none() => shared.rows.shown(&operation.subject),
                _ => None,
            },
            approved: operation.approved,
            carried: carried.map(|carried| carried.since),
            quota: carried.and_then(|carried| carried.quota),
            reserves: false,
            reason: operation.reason.code(),
        })
    }

    /// Takes the quota of this hour for removals that have none within the window yet: what an earlier attempt took is not taken
    /// again.
    fn take_quota(&self, work: &mut [Work<'_>], now: DateTime<Utc>) {
        let Some(window) = self.job.policy.guards.window else {
            return;
        };
        let hours = window_hours(now, window.hours);
        for work in work.iter_mut().filter(|work| work.counts_in_window()) {
            work.reserves = !work.quota.is_some_and(|hour| hours.contains(&hour));
            if work.reserves {
                work.quota = Some(*hours.end());
            }
        }
    }

    /// Adds the intents, with the checks that the ledger is still what the plan rests on and, behind these, that the window has
    /// room.
    fn begin(
        &self,
        batch: &[Work<'_>],
        acting: &Acting,
        now: &Moment,
        transaction: &mut Transaction,
    ) -> Result<()> {
        for work in batch {
            transaction.check(work.row.check(work.key()));
        }
        let removals = batch.iter().filter(|work| work.reserves).count();
        if removals > 0 {
            self.reserve(removals, now.at, transaction);
        }
        for work in batch {
            if work.effect != Effect::Adopt {
                let carried = work.carried.map(|since| Encoded::of(&since)).transpose()?;
                let since = carried.as_ref().unwrap_or(&now.written);
                let row = work.row.as_of.filter(|_| work.effect.is_removal());
                let write = |told: Told<'_>| intent_write(&self.job.id, told, since, (work.quota, row));
                transaction.write(work.told(acting, write)?);
            }
        }
        Ok(())
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

    fn transaction(&self) -> Transaction {
        Transaction::new(self.job.tenant.clone()).under(self.lease.fence())
    }

    /// Commits; answers which check did not hold, if one did not.
    async fn commit(&self, transaction: Transaction) -> Result<Option<usize>> {
        commit(self.store, &self.job.id, transaction).await
    }

    /// The lease, renewed if half of it is over.
    async fn kept(&self, lease: Lease) -> Result<Lease> {
        let left = lease.expires.signed_duration_since(self.store.now().await?);
        let ttl = self.readers.options.lease;
        if left.to_std().unwrap_or_default() >= ttl / 2 {
            return Ok(lease);
        }
        let renewed = self.store.renew(&lease, ttl).await;
        renewed.map_err(EngineError::store(&self.job.id))
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
