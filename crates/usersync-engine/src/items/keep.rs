//! What a run stores of a pair of collections, under the lease of its link.

use usersync_connector::Cursor;
use usersync_model::ObjectId;
use usersync_reconcile::ItemPlan;
use usersync_store::{Table, Transaction, Write};

use super::pair::Pair;
use super::round::PairRun;
use super::settle::RowChange;
use super::state::{PairState, ROW, Row, STATE, below};
use crate::apply::commit;
use crate::error::{EngineError, Result};
use crate::planning::later;

impl PairRun<'_> {
    /// Stores what changes in the rows alone: what agrees, what is gone on both sides, what moved or was only written otherwise.
    pub(super) async fn keep_rows(&mut self, pair: &Pair, plan: &ItemPlan, drafted: Vec<Row>) -> Result<()> {
        let mut changes: Vec<(&ObjectId, RowChange)> = Vec::new();
        let agreed: Vec<Row> = plan.agreed.iter().filter_map(|uid| pair.row_now(uid)).collect();
        let same = pair.rows.values().filter_map(|row| {
            let now = pair.row_now(&row.uid)?;
            let says_the_same =
                now.first.outline == row.first.outline && now.second.outline == row.second.outline;
            (says_the_same && now != *row && !pair.alone.contains(&row.uid)).then_some(now)
        });
        let rows: Vec<Row> = agreed.into_iter().chain(drafted).chain(same).collect();
        changes.extend(plan.gone.iter().map(|uid| (uid, RowChange::Delete)));
        changes.extend(
            rows.iter()
                .map(|row| (&row.uid, RowChange::Put(Box::new(row.clone())))),
        );
        for chunk in changes.chunks(self.batch()) {
            self.keep_lease().await?;
            let mut transaction = self.transaction();
            for (uid, change) in chunk {
                transaction.writes.extend(self.row_write(uid, change)?);
            }
            self.put_new_state(&mut transaction)?;
            self.commit(transaction).await?;
        }
        Ok(())
    }

    /// The first that is stored of a pair is its state, by which what is left of a removed link is found.
    pub(super) fn put_new_state(&mut self, transaction: &mut Transaction) -> Result<()> {
        if self.state.is_none() {
            let state = PairState::default();
            transaction.write(self.state_write(&state)?);
            self.state = Some(state);
        }
        Ok(())
    }

    pub(super) fn state_write(&self, state: &PairState) -> Result<Write> {
        Ok(Write::Put {
            table: Table::Cursor,
            key: self.key.clone(),
            bytes: STATE.encode(state)?,
        })
    }

    pub(super) fn row_write(&self, uid: &ObjectId, change: &RowChange) -> Result<Option<Write>> {
        let key = below(&self.key, uid.as_str());
        let table = Table::Base;
        Ok(match change {
            RowChange::Delete => Some(Write::Delete { table, key }),
            RowChange::None => None,
            RowChange::Put(row) => Some(Write::Put {
                table,
                key,
                bytes: ROW.encode(row.as_ref())?,
            }),
        })
    }

    /// Stores where the next reads continue. Every item is what its row says now, or these cursors come before its last change.
    pub(super) async fn keep_cursors(&mut self, pair: Pair) -> Result<()> {
        self.put_cursors([pair.first.cursor, pair.second.cursor]).await
    }

    pub(super) async fn put_cursors(&mut self, cursors: [Option<Cursor>; 2]) -> Result<()> {
        let [first, second] = cursors;
        let old = self.state.clone().unwrap_or_default();
        let state = PairState {
            serial: old.serial,
            first,
            second,
        };
        if state != old {
            let mut transaction = self.transaction();
            transaction.write(self.state_write(&state)?);
            self.commit(transaction).await?;
            self.state = Some(state);
        }
        Ok(())
    }

    pub(super) fn transaction(&self) -> Transaction {
        Transaction::new(self.run.job.tenant.clone()).under(self.lease.fence())
    }

    /// Commits, unless there is nothing to commit.
    pub(super) async fn commit(&self, transaction: Transaction) -> Result<()> {
        if transaction.writes.is_empty() {
            return Ok(());
        }
        // There are no checks but the fence.
        commit(self.store(), &self.run.job.id, transaction).await?;
        Ok(())
    }

    /// Renews the lease once half of it is over. What is answered so late that it ran out since is asked for again.
    pub(super) async fn keep_lease(&mut self) -> Result<()> {
        let ttl = self.run.engine.inner.preview.readers().options.lease;
        loop {
            let asked = self.run.engine.inner.preview.readers().clock.now();
            let left = self
                .lease
                .expires
                .signed_duration_since(self.store().now().await?);
            let mut left = left.to_std().unwrap_or_default();
            if left < ttl / 2 {
                let renewed = self.store().renew(self.lease, ttl).await;
                *self.lease = renewed.map_err(EngineError::store(&self.run.job.id))?;
                left = ttl;
            }
            self.over = later(asked, left);
            if !self.is_lease_over() {
                return Ok(());
            }
        }
    }

    /// Whether the lease ran out as far as is known: somebody else may be at the link, and calls to its systems cannot be fenced.
    pub(super) fn is_lease_over(&self) -> bool {
        self.run.engine.inner.preview.readers().clock.now() >= self.over
    }
}
