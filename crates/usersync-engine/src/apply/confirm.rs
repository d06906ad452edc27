//! The transaction that records what became of a batch.

use std::collections::BTreeSet;

use usersync_connector::Actor;
use usersync_store::{Table, Transaction, Write};

use super::{Applier, Attempt, Work};
use crate::error::Result;
use crate::ground::RowBefore;
use crate::record::{audit, base_write, notification};
use crate::recover::{base_after, row_after};
use crate::report::{OperationReport, Outcome};
use crate::state::{Effect, intent_key, window_key};

impl Applier<'_> {
    /// One transaction: ledger rows, audit, notifications, and the ends of the intents.
    pub(super) async fn confirm(
        &self,
        batch: &[Work<'_>],
        attempts: Vec<Attempt>,
        actor: &Actor,
    ) -> Result<Vec<OperationReport>> {
        let mut rows: Vec<RowBefore> = batch.iter().map(|work| work.row.clone()).collect();
        let mut changed_by_others = BTreeSet::new();
        loop {
            let mut transaction = self.transaction();
            let mut checked = Vec::new();
            for ((place, work), attempt) in batch.iter().enumerate().zip(&attempts) {
                if let Attempt::Done { changed, ours } = attempt {
                    checked.push(place);
                    transaction.check(rows[place].check(work.key()));
                    let row = row_after(&work.effect, rows[place].row.clone(), &self.job.id, *ours);
                    // Whoever wrote the row while this went on may have put back what is removed: the next run sees whose it is.
                    let may_be_back = work.effect.is_removal() && changed_by_others.contains(&place);
                    let stays = may_be_back && row.is_none();
                    if !stays {
                        transaction.write(Write::Ledger { key: work.key(), row });
                        if let Some(base) = base_after(&work.effect) {
                            let spelled = (!changed && !ours).then(|| work.base_as_spelled()).flatten();
                            let base = spelled.as_ref().or(base);
                            let write = base_write(&self.job.id, work.container, work.subject, base)?;
                            transaction.writes.extend(write);
                        }
                    }
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
                    let key = batch[place].key();
                    rows[place] = self.store.ledger_row(&self.job.tenant, &key).await?.into();
                    changed_by_others.insert(place);
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
        work: &Work<'_>,
        attempt: &Attempt,
        actor: &Actor,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let end = outcome(attempt.clone());
        let now = self.readers.clock.now();
        let intent = self.intent(work, actor, now);
        if !stays_open(work, attempt) && work.effect != Effect::Adopt {
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: intent_key(&self.job.id, &work.id),
            });
        }
        if !matches!(end, Outcome::NotStarted(_)) {
            transaction.write(audit(self.job, &intent, &end, now)?);
        }
        if end == Outcome::Applied
            && let Some(write) = notification(self.job, &intent)?
        {
            transaction.write(write);
        }
        Ok(())
    }
}

/// An earlier attempt may still have its effect, so its intent stays until the target shows what became of it.
fn stays_open(work: &Work<'_>, attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Unknown) || (work.carried.is_some() && matches!(attempt, Attempt::Not(_)))
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
