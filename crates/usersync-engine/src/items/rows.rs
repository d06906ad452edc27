//! The rows of a pair of collections as far as a run looks at them, and how they are found by places.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use usersync_model::ObjectId;
use usersync_reconcile::ItemConflict;
use usersync_store::{Key, Table, Transaction, Write};

use super::read::{Begun, SideReader};
use super::round::PairRun;
use super::settle::RowChange;
use super::state::{ItemIntent, PairState, ROW, Row, Side, below, load_rows, place_key, places_key};
use crate::error::Result;

/// So many changes are looked up one by one in any case.
const FEW: u64 = 16;

/// Of the rows, one in so many may be looked up: beyond that, reading all of them costs less.
const SHARE: u64 = 8;

/// How many look-ups are under way at a time.
const AT_ONCE: usize = 4;

/// The rows that a run looks at: all, or only those that what was read can be about.
#[derive(Debug, Default)]
pub(super) struct Rows {
    known: BTreeMap<ObjectId, Row>,
    /// How many more are stored. Both sides are what these say.
    others: u64,
}

impl Rows {
    /// Those that are looked at.
    pub(super) fn known(&self) -> &BTreeMap<ObjectId, Row> {
        &self.known
    }

    /// How many are stored besides.
    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// How many are stored.
    fn count(&self) -> u64 {
        self.known.len() as u64 + self.others
    }

    /// Makes a change; answers of the row before.
    fn change(&mut self, uid: &ObjectId, row: Option<Row>) -> Option<Row> {
        match row {
            Some(row) => self.known.insert(uid.clone(), row),
            None => self.known.remove(uid),
        }
    }
}

impl PairRun<'_> {
    /// The rows that changes of both sides, and operations begun before, can be about: those of the UIDs that are told, and those
    /// that name a place that is told. `None` if all rows are to be read: where more than changes was read, where it takes more
    /// than that to tell what changes mean, where there are many, or where places are not stored.
    pub(super) async fn touched_rows(
        &self,
        readers: [&SideReader<'_>; 2],
        begun: [&Begun; 2],
        intents: &[ItemIntent],
    ) -> Result<Option<Rows>> {
        let count = self.state.as_ref().and_then(|state| state.rows);
        let (Some(count), [Some(first), Some(second)]) = (count, begun.map(Begun::changes)) else {
            return Ok(None);
        };
        let told = first.places().count() + second.places().count() + intents.len() + self.given_up.len();
        if told as u64 > FEW.max(count / SHARE) {
            return Ok(None);
        }
        let [here, there] = [first, second].map(|changes| changes.uids());
        // Whether there is a copy of what loses a conflict is told by all rows.
        if self.run.items.conflict == ItemConflict::KeepBoth && !here.is_disjoint(&there) {
            return Ok(None);
        }
        let mut uids: BTreeSet<ObjectId> = here.into_iter().chain(there).collect();
        uids.extend(intents.iter().map(|intent| intent.uid.clone()));
        uids.extend(self.given_up.iter().cloned());
        let at = |side| move |href| self.uids_at(side, href).boxed();
        let first_places = first.places().map(at(Side::First));
        let lookups: Vec<BoxFuture<'_, _>> = first_places
            .chain(second.places().map(at(Side::Second)))
            .collect();
        let found: Vec<Vec<ObjectId>> = stream::iter(lookups).buffered(AT_ONCE).try_collect().await?;
        uids.extend(found.into_iter().flatten());
        let lookups: Vec<BoxFuture<'_, _>> = uids.iter().map(|uid| self.row(uid).boxed()).collect();
        let found: Vec<Option<Row>> = stream::iter(lookups).buffered(AT_ONCE).try_collect().await?;
        let known: BTreeMap<ObjectId, Row> = found
            .into_iter()
            .flatten()
            .map(|row| (row.uid.clone(), row))
            .collect();
        let is_clear = readers.into_iter().zip(begun).all(|(reader, begun)| {
            let changes = begun.changes();
            changes.is_some_and(|changes| reader.is_clear(changes, &known))
        });
        let others = count.checked_sub(known.len() as u64).filter(|_| is_clear);
        Ok(others.map(|others| Rows { known, others }))
    }

    /// All rows. Stores their places if these are not stored, and changes may be read later.
    pub(super) async fn all_rows(&mut self) -> Result<Rows> {
        let known = load_rows(self.store().as_ref(), &self.run.job.tenant, &self.key).await?;
        let rows = Rows { known, others: 0 };
        if self.tells_changes()
            && self
                .state
                .as_ref()
                .is_some_and(|state| state.rows != Some(rows.count()))
        {
            self.put_places(&rows).await?;
        }
        Ok(rows)
    }

    /// Whether both systems can tell what changed.
    pub(super) fn tells_changes(&self) -> bool {
        Side::BOTH
            .into_iter()
            .all(|side| self.items(side).capabilities().changes)
    }

    fn stores_places(&self) -> bool {
        match &self.state {
            Some(state) => state.rows.is_some(),
            None => self.tells_changes(),
        }
    }

    /// Writes what becomes of a row, and what becomes of the places that it names.
    pub(super) fn write_row(
        &self,
        transaction: &mut Transaction,
        rows: &mut Rows,
        uid: &ObjectId,
        change: RowChange,
    ) -> Result<()> {
        let (table, key) = (Table::Base, below(&self.key, uid.as_str()));
        let new = match change {
            RowChange::Delete => None,
            RowChange::None => return Ok(()),
            RowChange::Put(row) => Some(*row),
        };
        transaction.write(match &new {
            None => Write::Delete { table, key },
            Some(row) => Write::Put {
                table,
                key,
                bytes: ROW.encode(row)?,
            },
        });
        let new_places: Vec<Key> = new.iter().flat_map(|row| self.places(row)).collect();
        let old = rows.change(uid, new);
        let old_places: Vec<Key> = old.iter().flat_map(|row| self.places(row)).collect();
        if self.stores_places() {
            let gone = old_places.iter().filter(|place| !new_places.contains(place));
            transaction.writes.extend(gone.map(|place| Write::Delete {
                table: Table::Place,
                key: place.clone(),
            }));
            let come = new_places.iter().filter(|place| !old_places.contains(place));
            transaction.writes.extend(come.map(place_write));
        }
        Ok(())
    }

    /// Writes how many rows there are by now, where that is other than before; of a new pair, all of its state.
    pub(super) fn write_count(&mut self, transaction: &mut Transaction, rows: &Rows) -> Result<()> {
        let state = self.state();
        self.write_counted(transaction, rows, state)
    }

    /// Writes this state, with how many rows there are by now.
    pub(super) fn write_counted(
        &mut self,
        transaction: &mut Transaction,
        rows: &Rows,
        mut state: PairState,
    ) -> Result<()> {
        state.rows = state.rows.map(|_| rows.count());
        self.write_state(transaction, state)
    }

    async fn put_places(&mut self, rows: &Rows) -> Result<()> {
        let places: Vec<Key> = rows.known.values().flat_map(|row| self.places(row)).collect();
        for batch in places.chunks(self.batch()) {
            self.keep_lease().await?;
            let mut transaction = self.transaction();
            transaction.writes = batch.iter().map(place_write).collect();
            self.commit(transaction).await?;
        }
        let mut state = self.state();
        state.rows = Some(rows.count());
        let mut transaction = self.transaction();
        self.write_state(&mut transaction, state)?;
        self.commit(transaction).await
    }

    /// The places that a row names.
    fn places(&self, row: &Row) -> [Key; 2] {
        Side::BOTH.map(|side| place_key(&self.key, side, &row.mark(side).href, &row.uid))
    }

    /// The UIDs of the rows that name a place.
    async fn uids_at(&self, side: Side, href: &ObjectId) -> Result<Vec<ObjectId>> {
        let prefix = places_key(&self.key, side, href);
        let mut chunks = self.store().values(&self.run.job.tenant, Table::Place, &prefix);
        let mut uids = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            let last = chunk.iter().filter_map(|(key, _)| key.parts().last());
            uids.extend(last.filter_map(|uid| ObjectId::new(uid).ok()));
        }
        Ok(uids)
    }

    async fn row(&self, uid: &ObjectId) -> Result<Option<Row>> {
        let key = below(&self.key, uid.as_str());
        let stored = self
            .store()
            .value(&self.run.job.tenant, Table::Base, &key)
            .await?;
        Ok(match stored {
            Some(stored) => Some(ROW.decode(&stored.bytes)?),
            None => None,
        })
    }
}

/// The key says it all.
fn place_write(place: &Key) -> Write {
    Write::Put {
        table: Table::Place,
        key: place.clone(),
        bytes: Vec::new(),
    }
}
