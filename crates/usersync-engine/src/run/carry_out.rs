//! Doing what a plan says.

use std::collections::HashSet;

use usersync_connector::Actor;
use usersync_model::Digest;
use usersync_store::{Lease, LedgerKey, Table, Transaction, Write};

use crate::apply::{Applier, commit};
use crate::engine::{Engine, RunRequest};
use crate::error::Result;
use crate::grant::Grant;
use crate::job::{Job, Scope};
use crate::preview::Made;
use crate::record::{Moment, Recovered, audit, base_write, held, notification};
use crate::recover::{Recovery, base_after};
use crate::report::{OperationReport, Outcome, RunReport};
use crate::state::{DEPARTURE, Departure, JobState, approval_key, departure_key, intent_key, window_key};

impl Engine {
    /// Does what the plan says. Answers the policy of which the plan showed all that it removes.
    pub(super) async fn carry_out(
        &self,
        job: &Job,
        lease: &Lease,
        request: &RunRequest,
        actor: &Actor,
        made: &mut Made,
        report: &mut RunReport,
    ) -> Result<Option<Digest>> {
        let target = self.writer(job)?;
        report.recovered = self
            .confirm_recovered(job, lease, &made.recovery, request)
            .await?;
        let shown = self.open(job, lease, request, actor, made).await?;
        let mut applier = Applier {
            readers: self.inner.preview.readers(),
            store: &self.inner.store,
            target,
            job,
            lease: lease.clone(),
            control: &request.control,
            plan: &made.planned.plan,
        };
        applier.settle_ledger(&mut made.ground).await?;
        report.operations = applier.apply(&made.ground, &made.recovery).await?;
        let left = made
            .state
            .granted
            .as_ref()
            .map(|grant| left_of(grant, &report.operations));
        if let Some(left) = left
            && left != made.state.granted
        {
            let state = JobState {
                granted: left,
                ..made.state.clone()
            };
            let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
            transaction.write(state.write(job)?);
            commit(&self.inner.store, &job.id, transaction).await?;
            made.state = state;
        }
        Ok(shown)
    }

    /// Records the effects of earlier runs that the target shows.
    async fn confirm_recovered(
        &self,
        job: &Job,
        lease: &Lease,
        recovery: &Recovery,
        request: &RunRequest,
    ) -> Result<Vec<OperationReport>> {
        let now = Moment::of(self.inner.preview.readers().clock.now())?;
        let mut reports = Vec::new();
        for confirmed in &recovery.confirmed {
            if request.control.is_cancelled() {
                break;
            }
            let intent = &confirmed.intent;
            let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
            let key = LedgerKey {
                container: intent.container.clone(),
                subject: intent.subject.clone(),
            };
            transaction.check(confirmed.before.check(key.clone()));
            transaction.write(Write::Ledger {
                key,
                row: confirmed.after.clone(),
            });
            if let Some(base) = base_after(&intent.effect) {
                let write = base_write(&job.id, &intent.container, &intent.subject, base)?;
                transaction.writes.extend(write);
            }
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: intent_key(&job.id, &intent.operation.to_string()),
            });
            let recovered = Recovered::of(intent)?;
            transaction.write(audit(job, recovered.told(), &Outcome::Applied, &now));
            if let Some(write) = notification(job, recovered.told())? {
                transaction.write(write);
            }
            // A row that changed since it was read: the intent stays, and the next run looks again.
            let outcome = match commit(&self.inner.store, &job.id, transaction).await? {
                None => Outcome::Applied,
                Some(_) => Outcome::Superseded,
            };
            reports.push(OperationReport {
                operation: intent.operation,
                container: intent.container.clone(),
                subject: intent.subject.clone(),
                action: intent.effect.code(),
                outcome,
            });
        }
        Ok(reports)
    }

    /// The run's first commit: the serial rises, so that plans made before are stale; what the plan uses up is used up. A run
    /// that has nothing to write does not write this either. Answers the policy whose hold is over once the run comes to its report.
    async fn open(
        &self,
        job: &Job,
        lease: &Lease,
        request: &RunRequest,
        actor: &Actor,
        made: &mut Made,
    ) -> Result<Option<Digest>> {
        let plan = &made.planned.plan;
        let summary = plan.summary();
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        for departed in &made.planned.departures.begun {
            let departure = Departure {
                principal: departed.clone(),
                since: made.now,
            };
            transaction.write(Write::Put {
                table: Table::Departure,
                key: departure_key(&job.id, departed),
                bytes: DEPARTURE.encode(&departure)?,
            });
        }
        for back in &made.planned.departures.ended {
            transaction.write(Write::Delete {
                table: Table::Departure,
                key: departure_key(&job.id, back),
            });
        }
        if let Some(used) = made.planned.approval {
            transaction.write(Write::Delete {
                table: Table::Approval,
                key: approval_key(&job.id, &used),
            });
        }
        for obsolete in made.recovery.obsolete(plan) {
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: intent_key(&job.id, &obsolete.operation.to_string()),
            });
            if let Some(hour) = obsolete.quota {
                transaction.write(Write::Add {
                    counter: window_key(&job.id, hour),
                    delta: -1,
                });
            }
        }
        transaction.writes.extend(made.ground.marks(job, plan)?);
        let waits = plan.held_digest();
        let known = made.state.knowing(waits, &request.scope);
        if let Some(digest) = waits.filter(|digest| !made.state.is_known(digest)) {
            transaction.write(held(job, actor, summary.approvable, digest, known.serial)?);
        }
        // The plan that holds the removals of a new policy is one that shows them all, or all that somebody approved.
        let is_known = made.planned.is_complete || made.planned.approval.is_some();
        let shows_all = request.scope == Scope::Everything && is_known;
        let changes = summary.operations() > 0 || summary.ledger > 0 || made.ground.cedes();
        let current = plan.header().policy;
        let shown = shows_all.then_some(current);
        let is_other = made.state.policy.is_some_and(|before| before != current);
        let mixed = made.state.mixed || (changes && is_other);
        // Until another policy has shown what it removes, the one before it may come back.
        let holds = if (is_other || made.state.mixed) && shown.is_none() {
            &made.state.holds
        } else {
            &made.planned.holds
        };
        let same = made.state == known
            && made.state.mixed == mixed
            && shown.is_none_or(|policy| made.state.shown(policy).is_none())
            && made.state.paused.is_none()
            && made.state.holds == *holds
            && made.state.granted == made.planned.granted;
        if transaction.writes.is_empty() && !changes && same {
            return Ok(None);
        }
        transaction.write(self.begun(job, lease, request.trigger, &request.scope, made.now)?);
        let state = JobState {
            serial: made.state.serial + 1,
            // Whatever a first run saw of it all: another policy is another one than that.
            policy: made.state.policy.or(Some(current)),
            mixed,
            paused: None,
            holds: holds.clone(),
            granted: made.planned.granted.clone(),
            ..known
        };
        self.put_state(job, &state, made.revision, transaction).await?;
        made.state = state;
        Ok(shown)
    }
}

/// What of a grant is not done yet.
fn left_of(grant: &Grant, operations: &[OperationReport]) -> Option<Grant> {
    let done = operations.iter().filter(|operation| operation.outcome.is_ok());
    let done: HashSet<_> = done
        .map(|operation| (&operation.container, &operation.subject))
        .collect();
    grant.without(|container, subject| done.contains(&(container, subject)))
}
