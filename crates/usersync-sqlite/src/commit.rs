//! Transactions: every check comes before the first write, so that a refusal leaves nothing to undo.

use std::collections::BTreeMap;

use usersync_store::{Check, Key, LedgerEntry, StoreError, StoreErrorKind, Transaction, Write};

use crate::database::Database;
use crate::error::Result;
use crate::log::Appends;
use crate::names::Names;
use crate::{lease, ledger, log, values};

pub(crate) fn commit(db: &Database, names: &mut Names, transaction: &Transaction) -> Result<()> {
    if let Some(fence) = &transaction.fence {
        lease::check(db, names, fence)?;
        if fence.name.tenant != transaction.tenant {
            return Err(StoreError::new(StoreErrorKind::Fenced, "it is a lease of another tenant").into());
        }
    }
    let tenant = names.tenants.find(db, &transaction.tenant)?;
    let checks = Checks {
        db,
        tenant,
        writes: &transaction.writes,
        after: None,
    };
    checks.run(names, &transaction.checks)?;
    if transaction.writes.is_empty() {
        return Ok(());
    }
    let tenant = names.tenants.intern(db, &transaction.tenant)?;
    write(db, names, tenant, &transaction.writes)
}

/// The checks of a transaction, on the state before its writes.
struct Checks<'a> {
    db: &'a Database,
    /// None before the tenant's first write.
    tenant: Option<i64>,
    writes: &'a [Write],
    /// The counters that the writes touch, as they leave them.
    after: Option<BTreeMap<&'a Key, u64>>,
}

impl Checks<'_> {
    fn run(mut self, names: &mut Names, checks: &[Check]) -> Result<()> {
        for (index, check) in checks.iter().enumerate() {
            let refusal = match check {
                Check::AtMost { counters, limit } => {
                    let sum = self.sum_after(counters)?;
                    (sum > u128::from(*limit))
                        .then(|| format!("the counters {counters:?} would be {sum}, more than {limit}"))
                }
                Check::Ledger { key, row, as_of } => {
                    let present = match self.tenant {
                        Some(tenant) => ledger::row(self.db, names, tenant, key)?,
                        None => None,
                    };
                    let is_later = |entry: &LedgerEntry| as_of.is_some_and(|as_of| entry.revision > as_of);
                    let is_same = present.as_ref().map(|entry| &entry.row) == row.as_ref();
                    (!is_same || present.as_ref().is_some_and(is_later)).then(|| {
                        format!(
                            "the ledger row of {} in {} is another",
                            key.subject, key.container
                        )
                    })
                }
                Check::Value { table, key, revision } => {
                    let present = match self.tenant {
                        Some(tenant) => values::revision(self.db, tenant, *table, key)?,
                        None => None,
                    };
                    (present != *revision).then(|| {
                        format!(
                            "{} {key:?} is at revision {present:?}, not {revision:?}",
                            table.code()
                        )
                    })
                }
            };
            if let Some(message) = refusal {
                return Err(StoreError::conflict(index, message).into());
            }
        }
        Ok(())
    }

    fn sum_after(&mut self, counters: &[Key]) -> Result<u128> {
        if self.after.is_none() {
            let mut after = BTreeMap::new();
            for write in self.writes {
                if let Write::Add { counter, delta } = write {
                    let before = match after.get(counter) {
                        Some(value) => *value,
                        None => self.counter(counter)?,
                    };
                    after.insert(counter, before.saturating_add_signed(*delta));
                }
            }
            self.after = Some(after);
        }
        let mut sum = 0;
        for counter in counters {
            let touched = self.after.as_ref().and_then(|after| after.get(counter));
            sum += u128::from(match touched {
                Some(value) => *value,
                None => self.counter(counter)?,
            });
        }
        Ok(sum)
    }

    fn counter(&self, counter: &Key) -> Result<u64> {
        match self.tenant {
            Some(tenant) => values::counter(self.db, tenant, counter),
            None => Ok(0),
        }
    }
}

fn write(db: &Database, names: &mut Names, tenant: i64, writes: &[Write]) -> Result<()> {
    let is_revised = |write: &Write| matches!(write, Write::Put { .. } | Write::Ledger { row: Some(_), .. });
    let revises = writes.iter().any(is_revised);
    let mut revision = if revises {
        values::last_revision(db, tenant)?
    } else {
        0
    };
    let mut appends = Appends::new(db, tenant);
    for write in writes {
        match write {
            Write::Add { counter, delta } => values::add(db, tenant, counter, *delta)?,
            Write::Append { log, key, bytes } => appends.append(*log, key, bytes)?,
            Write::Delete { table, key } => values::delete(db, tenant, *table, key)?,
            Write::Deliver { log, sequence } => log::deliver(db, tenant, *log, *sequence)?,
            Write::Ledger { key, row: Some(row) } => {
                revision = revision.saturating_add(1);
                ledger::set(db, names, tenant, key, row, revision)?;
            }
            Write::Ledger { key, row: None } => ledger::remove(db, names, tenant, key)?,
            Write::Put { table, key, bytes } => {
                revision = revision.saturating_add(1);
                values::put(db, tenant, *table, key, bytes, revision)?;
            }
        }
    }
    appends.finish()?;
    if revises {
        values::set_last_revision(db, tenant, revision)?;
    }
    Ok(())
}
