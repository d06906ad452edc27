//! What is recorded of operations that ended.

use usersync_store::{Table, Transaction, Write};

use super::{Acting, Applier, Attempt, Ended, Work};
use crate::error::Result;
use crate::record::{Moment, audit, base_write, notification};
use crate::recover::{base_after, row_after};
use crate::report::Outcome;
use crate::state::{Effect, intent_key, window_key};

impl Applier<'_> {
    /// Adds ledger rows, audit, notifications, and the ends of the intents. Answers which operation each of the added checks is
    /// about.
    pub(super) fn confirm(
        &self,
        ended: &[Ended<'_>],
        now: &Moment,
        transaction: &mut Transaction,
    ) -> Result<Vec<usize>> {
        let mut checked = Vec::new();
        for (
            place,
            Ended {
                work,
                attempt,
                acting,
                contested,
            },
        ) in ended.iter().enumerate()
        {
            if let Attempt::Done { changed, found } = attempt {
                checked.push(place);
                transaction.check(work.row.check(work.key()));
                let row = row_after(&work.effect, work.row.row.clone(), &self.job.id, *found);
                // Whoever wrote the row while this went on may have put back what is removed: the next run sees whose it is.
                let may_be_back = *contested && work.effect.is_removal();
                let stays = may_be_back && row.is_none();
                if !stays {
                    transaction.write(Write::Ledger { key: work.key(), row });
                    if let Some(base) = base_after(&work.effect) {
                        let spelled = (!changed && !found.ours)
                            .then(|| work.base_as_spelled())
                            .flatten();
                        let base = spelled.as_ref().or(base);
                        let write = base_write(&self.job.id, work.container, work.subject, base)?;
                        transaction.writes.extend(write);
                    }
                }
            }
            self.conclude(work, attempt, acting, now, transaction)?;
            let had_effect = matches!(attempt, Attempt::Done { changed, found } if *changed || found.ours);
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
        Ok(checked)
    }

    /// What is written about one attempt beside the ledger.
    fn conclude(
        &self,
        work: &Work<'_>,
        attempt: &Attempt,
        acting: &Acting,
        now: &Moment,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let end = outcome(attempt.clone());
        work.told(acting, |told| {
            if !stays_open(work, attempt) && work.effect != Effect::Adopt {
                transaction.write(Write::Delete {
                    table: Table::Intent,
                    key: intent_key(&self.job.id, told.id),
                });
            }
            if !matches!(end, Outcome::NotStarted(_)) {
                transaction.write(audit(self.job, told, &end, now));
            }
            if end == Outcome::Applied
                && let Some(write) = notification(self.job, told)?
            {
                transaction.write(write);
            }
            Ok(())
        })
    }
}

/// An earlier attempt may still have its effect, so its intent stays until the target shows what became of it.
fn stays_open(work: &Work<'_>, attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Unknown(_)) || (work.carried.is_some() && matches!(attempt, Attempt::Not(_)))
}

pub(super) fn outcome(attempt: Attempt) -> Outcome {
    match attempt {
        Attempt::Done { changed, found } if changed || found.ours => Outcome::Applied,
        Attempt::Done { .. } => Outcome::AlreadySo,
        Attempt::Not(outcome) | Attempt::Unknown(outcome) => outcome,
    }
}
