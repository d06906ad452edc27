//! What a run stores of a pair of collections, under the lease of its link.

use std::time::Duration;

use usersync_connector::{Cursor, ItemChange};
use usersync_model::{JobId, ObjectId};
use usersync_reconcile::ItemPlan;
use usersync_store::{Check, Lease, Table, Transaction, Write};

use super::pair::{Draft, Pair};
use super::round::PairRun;
use super::settle::RowChange;
use super::state::{PairState, Row, STATE, Side};
use crate::apply::commit;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::links::link_key;
use crate::planning::later;

impl Engine {
    /// Renews a lease once half of it is over; answers how much of it is left.
    pub(super) async fn renew_in_time(&self, job: &JobId, lease: &mut Lease) -> Result<Duration> {
        let ttl = self.inner.preview.readers().options.lease;
        let left = lease.expires.signed_duration_since(self.inner.store.now().await?);
        let left = left.to_std().unwrap_or_default();
        if left >= ttl / 2 {
            return Ok(left);
        }
        let renewed = self.inner.store.renew(lease, ttl).await;
        *lease = renewed.map_err(EngineError::store(job))?;
        Ok(ttl)
    }
}

impl PairRun<'_> {
    /// Stores what changes in the rows alone: what agrees, what is gone on both sides, what moved or was only written otherwise.
    pub(super) async fn keep_rows(
        &mut self,
        pair: &mut Pair,
        plan: &ItemPlan,
        drafted: Vec<Row>,
    ) -> Result<()> {
        let agreed = plan.agreed.iter().filter_map(|uid| pair.row_now(uid));
        let same = pair.rows.known().values().filter_map(|row| {
            let now = pair.row_now(&row.uid)?;
            let says_the_same =
                now.first.outline == row.first.outline && now.second.outline == row.second.outline;
            (says_the_same && now != *row && !pair.alone.contains(&row.uid)).then_some(now)
        });
        let rows = agreed.chain(drafted).chain(same);
        let gone = plan.gone.iter().map(|uid| (uid.clone(), RowChange::Delete));
        let changes: Vec<(ObjectId, RowChange)> = gone
            .chain(rows.map(|row| (row.uid.clone(), RowChange::Put(Box::new(row)))))
            .collect();
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            self.keep_lease().await?;
            let mut transaction = self.transaction();
            for (uid, change) in changes.by_ref().take(self.batch()) {
                self.write_row(&mut transaction, &mut pair.rows, &uid, change)?;
            }
            self.write_count(&mut transaction, &pair.rows)?;
            self.commit(transaction).await?;
        }
        Ok(())
    }

    /// What is remembered of the pair, or is to be from now on. The first that is stored of a pair is its state, by which what is left
    /// of a removed link is found.
    pub(super) fn state(&self) -> PairState {
        self.state.clone().unwrap_or_else(|| PairState {
            rows: self.tells_changes().then_some(0),
            life: self.link_now.life,
            policy: Some(self.run.policy),
            ..PairState::default()
        })
    }

    /// Writes this state, unless it is what is stored.
    pub(super) fn write_state(&mut self, transaction: &mut Transaction, state: PairState) -> Result<()> {
        if self.state.as_ref() != Some(&state) {
            transaction.write(Write::Put {
                table: Table::Cursor,
                key: self.key.clone(),
                bytes: STATE.encode(&state)?,
            });
            self.state = Some(state);
        }
        Ok(())
    }

    /// Stores what is remembered once nothing is left to do: where the next reads continue, if nothing is left to see to, and by which
    /// policy what it removes was shown. Every item is what its row says now, or the cursors come before its last change.
    pub(super) async fn keep_state(&mut self, pair: Pair, is_settled: bool) -> Result<()> {
        let mut state = self.state();
        if pair.sees_all() && !self.run.request.control.is_cancelled() {
            state = self.shown(state);
        }
        if is_settled {
            state.written = std::mem::take(&mut self.written);
            state.first = pair.first.cursor;
            state.second = pair.second.cursor;
            for side in Side::BOTH {
                state.bound(side);
            }
        }
        self.put_state(state).await
    }

    /// Stores where the next reads continue, if these showed that nothing changed.
    pub(super) async fn keep_quiet(&mut self, cursors: [Option<Cursor>; 2]) -> Result<()> {
        let [first, second] = cursors;
        let state = PairState {
            first,
            second,
            ..self.shown(self.state())
        };
        self.put_state(state).await
    }

    /// Stores this state, if it is another one. Of a pair of which nothing is stored, the one that there is from now on is none.
    pub(super) async fn put_state(&mut self, state: PairState) -> Result<()> {
        let mut transaction = self.transaction();
        if state != self.state() {
            self.write_state(&mut transaction, state)?;
        }
        self.commit(transaction).await
    }

    /// Notes what is about to be written: a system that tells the difference between two times may tell nothing of it.
    pub(super) fn note_written(&mut self, state: &mut PairState, draft: &Draft) {
        let place = match &draft.change {
            ItemChange::Create(_) => None,
            ItemChange::Delete { href } | ItemChange::Update { href, .. } => Some(href.clone()),
        };
        self.written[draft.side as usize].insert(draft.uid.clone(), place.clone());
        state.written[draft.side as usize].insert(draft.uid.clone(), place);
        state.bound(draft.side);
    }

    /// That the link is still what it was when it was looked at last.
    pub(super) fn link_check(&self) -> Check {
        Check::Value {
            table: Table::Link,
            key: link_key(self.link.principal(), &self.link.account().system),
            revision: Some(self.link_now.revision),
        }
    }

    /// Looks at the link again: whether it is still to be worked on, and the one that it was.
    pub(super) async fn is_still_work(&mut self) -> Result<bool> {
        let now = self.run.now(self.link, self.kind).await?;
        let now = now.filter(|now| now.life == self.link_now.life);
        self.is_link_over = now.is_none();
        self.link_now = now.unwrap_or(self.link_now);
        Ok(!self.is_link_over)
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
        self.is_committed(transaction).await?;
        Ok(())
    }

    /// Commits; tells whether all checks held.
    pub(super) async fn is_committed(&self, transaction: Transaction) -> Result<bool> {
        let failed = commit(self.store(), &self.run.job.id, transaction).await?;
        Ok(failed.is_none())
    }

    /// Renews the lease once half of it is over. What is answered so late that it ran out since is asked for again.
    pub(super) async fn keep_lease(&mut self) -> Result<()> {
        loop {
            let asked = self.run.engine.inner.preview.readers().clock.now();
            let left = self.run.engine.renew_in_time(&self.run.job.id, self.lease);
            self.over = later(asked, left.await?);
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
