//! Looking at one collection of the target, and at nothing where nothing can have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use usersync_connector::{CallContext, RecordRead, Retry};
use usersync_model::{
    Container, Digest, DigestBuilder, LedgerRow, ObjectId, PartialReason, PrincipalRef, RecordRef, Subject,
    TenantId,
};
use usersync_reconcile::{Fingerprinter, RecordBase, RecordRules, SourceRecord, Tally};
use usersync_store::{Revision, StateRead, Table};

use super::read::{Shown, changes, read};
use super::served::{AgreedState, Served};
use crate::error::Result;
use crate::ground::RowBefore;
use crate::ports::Bounds;
use crate::state::{BASE, Intent, bases_key};

/// A collection of the target that a run covers.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) collection: Container,
    /// Whose it is, where it is somebody's.
    pub(super) principal: Option<PrincipalRef>,
    pub(super) wish: Wish,
    pub(super) served: Option<Served>,
    /// What an earlier run began there.
    pub(super) intents: Vec<Intent>,
    /// The collection that it alone is filled from.
    pub(super) from: Option<ObjectId>,
}

/// What is to be in a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The source's records.
    Desired,
    /// The source's records, unless it is no destination any more.
    Doubtful(PartialReason),
    /// Nothing of the job's: it is no destination any more.
    Leaving,
}

/// The records of a source, ready to be planned often.
#[derive(Debug)]
pub(super) struct SourceState {
    pub(super) records: Vec<SourceRecord>,
    pub(super) rest: Option<PartialReason>,
    /// Identifies them, where they are all there are.
    pub(super) digest: Option<Digest>,
}

/// What is found out about a collection.
#[derive(Debug)]
pub(super) enum Look {
    /// Something may have changed.
    Read(Box<Seen>),
    /// All is as it was when nothing was to be done.
    Same(Tally),
}

/// A collection that was read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) source: Arc<SourceState>,
    /// How the read of a source of its own failed, if it did.
    pub(super) source_failed: Option<(&'static str, Retry)>,
    pub(super) target: Shown,
    pub(super) rows: Rows,
    pub(super) bases: BTreeMap<RecordRef, RecordBase>,
}

/// The ledger rows of a collection, as they were at one moment.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) of: BTreeMap<RecordRef, LedgerRow>,
    /// The highest revision among them: what is written from then on has a higher one.
    newest: Revision,
    /// Of which records the run writes the rows before it comes to what rests on them.
    written: BTreeSet<RecordRef>,
}

impl Rows {
    /// The row of a record, and up to which write it is known.
    pub(super) fn before(&self, record: &RecordRef) -> RowBefore {
        RowBefore {
            row: self.of.get(record).cloned(),
            as_of: (!self.written.contains(record)).then_some(self.newest),
        }
    }

    /// Replaces the row of a record by what the run makes of it.
    pub(super) fn set(&mut self, record: &RecordRef, row: Option<LedgerRow>) {
        self.written.insert(record.clone());
        match row {
            Some(row) => self.of.insert(record.clone(), row),
            None => self.of.remove(record),
        };
    }
}

/// Looks at collections.
#[derive(Debug)]
pub(super) struct Looker {
    pub(super) state: Arc<dyn StateRead>,
    pub(super) from: Arc<dyn RecordRead>,
    pub(super) target: Arc<dyn RecordRead>,
    pub(super) rules: RecordRules,
    pub(super) policy: Digest,
    pub(super) context: CallContext,
    pub(super) bounds: Bounds,
    /// The source that all collections share.
    pub(super) shared: Option<Arc<SourceState>>,
    /// Whether every collection is read, whatever is known of it.
    pub(super) thorough: bool,
}

impl SourceState {
    pub(super) fn new(shown: Shown, rules: &RecordRules) -> Self {
        let fingerprinter = Fingerprinter::new(rules);
        let records: Vec<SourceRecord> = shown
            .records
            .into_iter()
            .map(|present| SourceRecord {
                changed: present.changed,
                ..SourceRecord::prepared(present.record, &fingerprinter)
            })
            .collect();
        let mut digest = DigestBuilder::new("usersync.source-state/1");
        for source in &records {
            let id = &source.record.id;
            let fingerprint = source.fingerprint.map(|fingerprint| fingerprint.to_string());
            digest = digest
                .part(id.system.as_str().as_bytes())
                .part(id.object.as_str().as_bytes())
                .part(fingerprint.unwrap_or_default().as_bytes());
        }
        Self {
            digest: shown.rest.is_none().then(|| digest.finish()),
            records,
            rest: shown.rest,
        }
    }

    /// No records: none at all, or none that are known.
    pub(super) fn none(rest: Option<PartialReason>) -> Self {
        Self {
            records: Vec::new(),
            rest,
            digest: None,
        }
    }
}

impl Looker {
    /// What there is to know of a collection; at the cost of one read of changes where nothing can have changed.
    pub(super) async fn look(self: Arc<Self>, item: Item) -> Result<(Item, Look)> {
        let mut source_failed = None;
        let source = match (&item.wish, &item.from, &self.shared) {
            (Wish::Doubtful(reason), _, _) => Arc::new(SourceState::none(Some(reason.clone()))),
            (Wish::Desired, Some(from), _) => {
                let shown = read(&self.bounds, &self.from, from, &self.context).await;
                source_failed = shown.failed;
                Arc::new(SourceState::new(shown, &self.rules))
            }
            (Wish::Desired, None, Some(shared)) => Arc::clone(shared),
            (Wish::Leaving, _, _) | (Wish::Desired, None, None) => Arc::new(SourceState::none(None)),
        };
        let object = &item.collection.id.object;
        if let Some(agreed) = self.agreed(&item, &source) {
            let tally = agreed.tally;
            let since = agreed.cursor.clone();
            let changes = changes(&self.bounds, &self.target, object, since, &self.context).await;
            if changes.is_some_and(|changes| changes.entries.is_empty()) {
                return Ok((item, Look::Same(tally)));
            }
        }
        // The ledger first: what another job does from here on changes rows, and these are checked before anything is
        // written.
        let rows = self.rows(&item.collection).await?;
        let bases = self.bases(&item.collection).await?;
        let target = read(&self.bounds, &self.target, object, &self.context).await;
        let seen = Seen {
            source,
            source_failed,
            target,
            rows,
            bases,
        };
        Ok((item, Look::Read(Box::new(seen))))
    }

    /// What was agreed on, if source and policy are still the same and nothing else asks for a look.
    fn agreed<'i>(&self, item: &'i Item, source: &SourceState) -> Option<&'i AgreedState> {
        if self.thorough || item.wish != Wish::Desired || !item.intents.is_empty() {
            return None;
        }
        let agreed = item.served.as_ref()?.agreed.as_ref()?;
        let is_same = Some(agreed.source) == source.digest && agreed.policy == self.policy;
        (is_same && self.target.capabilities().changes).then_some(agreed)
    }

    async fn rows(&self, collection: &Container) -> Result<Rows> {
        let only = vec![collection.id.clone()];
        let mut chunks = self.state.ledger(self.tenant(), Some(only));
        let mut rows = Rows::default();
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                if let Subject::Record(record) = entry.key.subject {
                    rows.newest = rows.newest.max(entry.revision);
                    rows.of.insert(record, entry.row);
                }
            }
        }
        Ok(rows)
    }

    async fn bases(&self, collection: &Container) -> Result<BTreeMap<RecordRef, RecordBase>> {
        let prefix = bases_key(&self.context.job, &collection.id);
        let mut chunks = self.state.values(self.tenant(), Table::Base, &prefix);
        let mut bases = BTreeMap::new();
        while let Some(chunk) = chunks.try_next().await? {
            for (key, stored) in chunk {
                let mut parts = key.parts().skip(3);
                if let (Some(system), Some(object)) = (parts.next(), parts.next())
                    && let Ok(record) = RecordRef::parse(system, object)
                {
                    bases.insert(record, BASE.decode(&stored.bytes)?);
                }
            }
        }
        Ok(bases)
    }

    fn tenant(&self) -> &TenantId {
        &self.context.tenant
    }
}
