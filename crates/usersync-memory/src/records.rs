//! Records in memory, as a source and as a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{
    Applied, CallContext, Clock, Cursor, Error, ErrorKind, PresentRecord, ReadStream, RecordCapabilities,
    RecordChange, RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget, Result,
    TargetCapabilities,
};
use usersync_model::{ObjectId, OperationId, Record, RecordRef, SystemId, TenantId};

use crate::call::{CallKind, CallSite, SubjectRef};
use crate::feed::{Feed, fed};
use crate::shared::{entries, lock};
use crate::sync::Mutex;
use crate::tap::{Read, Tap, tapped};
use crate::target::check_batch;
use crate::version::{Versions, expect_precondition};

/// Records in memory: a system that is read, written, or both. Clones share it; tests keep one to edit it by hand.
///
/// The collection without a name is always there; others are made first. It offers what its capabilities say, and nothing
/// else, and a change feed only with [`with_changes`](Self::with_changes).
#[derive(Clone, Debug)]
pub struct MemoryRecords {
    system: SystemId,
    capabilities: TargetCapabilities,
    clock: Option<Arc<dyn Clock>>,
    state: Arc<Mutex<State>>,
    tap: Tap,
}

#[derive(Clone, Debug)]
struct State {
    collections: BTreeMap<Option<ObjectId>, Arc<Collection>>,
    versions: Versions,
    /// What operations answered that had their effect.
    answers: Arc<BTreeMap<OperationId, Applied>>,
    feed: Feeds,
}

/// The change feeds of all collections, each with places of its own: what goes on in one does not lengthen another.
#[derive(Clone, Debug)]
struct Feeds {
    enabled: bool,
    /// The feed of a collection that was never touched.
    blank: Feed<RecordRef>,
    touched: BTreeMap<Option<ObjectId>, Feed<RecordRef>>,
}

type Collection = BTreeMap<RecordRef, Arc<Kept>>;

#[derive(Clone, Debug)]
struct Kept {
    record: Record,
    version: u64,
    changed: Option<DateTime<Utc>>,
}

tapped!(MemoryRecords);
fed!(MemoryRecords);

impl MemoryRecords {
    /// A system without records.
    #[must_use]
    pub fn new(system: SystemId, capabilities: TargetCapabilities) -> Self {
        Self {
            system,
            capabilities,
            clock: None,
            state: Arc::new(Mutex::new(State {
                collections: BTreeMap::from([(None, Arc::default())]),
                versions: Versions::default(),
                answers: Arc::default(),
                feed: Feeds::new(),
            })),
            tap: Tap::default(),
        }
    }

    /// This handle, which tells when records changed, by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A system of its own with the same content, without faults and with an empty record of calls. It knows the cursors
    /// that were given before and the operations that had their effect. The two share what neither of them has changed
    /// since.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            system: self.system.clone(),
            capabilities: self.capabilities,
            clock: self.clock.clone(),
            state: Arc::new(Mutex::new(lock(&self.state).clone())),
            tap: self.tap.fork(),
        }
    }

    /// Makes a collection; tells whether there was none.
    pub fn create_collection(&self, collection: ObjectId) -> bool {
        let mut state = lock(&self.state);
        let missing = !state.collections.contains_key(&Some(collection.clone()));
        if missing {
            state.collections.insert(Some(collection), Arc::default());
        }
        missing
    }

    /// Ends a collection and its records; tells whether it was there.
    pub fn remove_collection(&self, collection: &ObjectId) -> bool {
        let mut state = lock(&self.state);
        let collection = Some(collection.clone());
        let removed = state.collections.remove(&collection);
        for id in removed.iter().flat_map(|removed| removed.keys()) {
            state.feed.touch(&collection, id);
        }
        removed.is_some()
    }

    /// Makes or replaces a record, as a person would; makes the collection, too, if it is missing. Tells whether anything
    /// changed.
    pub fn put_by_hand(&self, collection: Option<&ObjectId>, record: Record) -> bool {
        let mut state = lock(&self.state);
        let changed = state
            .kept(collection, &record.id)
            .is_none_or(|kept| kept.record != record);
        if changed {
            state.set(collection, record, self.now());
        }
        changed
    }

    /// Ends a record, as a person would; tells whether it was there.
    pub fn remove_by_hand(&self, collection: Option<&ObjectId>, id: &RecordRef) -> bool {
        lock(&self.state).remove(collection, id)
    }

    /// The records of a collection as they are now, by id; `None` if it is missing. Not a call: neither numbered nor
    /// recorded.
    #[must_use]
    pub fn records_of(&self, collection: Option<&ObjectId>) -> Option<Vec<Record>> {
        let state = lock(&self.state);
        let records = state.collections.get(&collection.cloned())?.values();
        Some(records.map(|kept| kept.record.clone()).collect())
    }

    /// Everything, to compare. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<Option<ObjectId>, BTreeMap<RecordRef, Record>> {
        let collections = lock(&self.state).collections.clone();
        let plain = |(id, kept): (&RecordRef, &Arc<Kept>)| (id.clone(), kept.record.clone());
        collections
            .iter()
            .map(|(collection, records)| (collection.clone(), records.iter().map(plain).collect()))
            .collect()
    }

    fn shown(capabilities: TargetCapabilities, kept: &Kept) -> PresentRecord {
        PresentRecord {
            record: kept.record.clone(),
            version: capabilities
                .conditional_write
                .then(|| Versions::shown(kept.version)),
            changed: kept.changed,
        }
    }

    fn now(&self) -> Option<DateTime<Utc>> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    fn apply_one(&self, collection: Option<&ObjectId>, operation: &RecordOperation) -> Result<Applied> {
        let capabilities = self.capabilities;
        let mut state = lock(&self.state);
        if capabilities.idempotency_key
            && let Some(answer) = state.answers.get(&operation.id)
        {
            return Ok(answer.clone());
        }
        let applied = state.apply(capabilities, collection, operation, self.now())?;
        if capabilities.idempotency_key {
            Arc::make_mut(&mut state.answers).insert(operation.id, applied.clone());
        }
        Ok(applied)
    }
}

fn no_collection(collection: Option<&ObjectId>) -> Error {
    let name = collection.map_or("without a name", ObjectId::as_str);
    Error::new(ErrorKind::NotFound, format!("no collection {name}"))
}

#[async_trait]
impl RecordRead for MemoryRecords {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> RecordCapabilities {
        RecordCapabilities {
            changes: lock(&self.state).feed.enabled,
            target: self.capabilities,
        }
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        let RecordRequest { collection, since } = request;
        let site = CallSite::new(CallKind::Records)
            .on(&self.system)
            .context(context)
            .containers(collection.as_slice());
        self.tap.read(site, || {
            let capabilities = self.capabilities;
            let state = lock(&self.state);
            let records = state.collections.get(&collection).map(Arc::clone);
            let records = records.ok_or_else(|| no_collection(collection.as_ref()))?;
            let upsert = move |kept: &Kept| RecordEntry::Upsert(Self::shown(capabilities, kept));
            let read = match since {
                None => Read::full(entries(records).map(move |(_, kept)| upsert(&kept))),
                Some(since) => {
                    let touched = state.feed.since(&since, &context.tenant, &collection)?;
                    Read::changes(touched.into_iter().map(move |id| match records.get(&id) {
                        Some(kept) => upsert(kept),
                        None => RecordEntry::Removed(id),
                    }))
                }
            };
            Ok(read.with_cursor(state.feed.cursor(&context.tenant, &collection)))
        })
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let site = CallSite::new(CallKind::Record)
            .on(&self.system)
            .context(context)
            .containers(collection.map_or(&[], std::slice::from_ref))
            .subject(SubjectRef::Record(id));
        self.tap
            .call(site, || {
                if !self.capabilities.point_read {
                    return Err(Error::unsupported("reading one record").at(&self.system, "record"));
                }
                let state = lock(&self.state);
                let kept = state.kept(collection, id);
                Ok(kept.map(|kept| Self::shown(self.capabilities, kept)))
            })
            .await
    }
}

#[async_trait]
impl RecordTarget for MemoryRecords {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let mut results = Vec::with_capacity(operations.len());
        for (position, operation) in operations.iter().enumerate() {
            let kind = match &operation.change {
                RecordChange::Create(_) => CallKind::Create,
                RecordChange::Delete => CallKind::Delete,
                RecordChange::Update(_) => CallKind::Update,
            };
            let site = CallSite::new(kind)
                .on(&self.system)
                .context(context)
                .containers(collection.map_or(&[], std::slice::from_ref))
                .subject(SubjectRef::Record(&operation.record))
                .operation(operation.id, position);
            let act = || {
                check_batch(self.capabilities, operations.len())
                    .and_then(|()| self.apply_one(collection, operation))
                    .map_err(|error| error.at(&self.system, kind.code()))
            };
            results.push(self.tap.call(site, act).await);
        }
        results
    }
}

impl Feeds {
    fn new() -> Self {
        let mut blank = Feed::new();
        blank.enabled = true;
        Self {
            enabled: false,
            blank,
            touched: BTreeMap::new(),
        }
    }

    fn of(&self, collection: &Option<ObjectId>) -> &Feed<RecordRef> {
        self.touched.get(collection).unwrap_or(&self.blank)
    }

    fn touch(&mut self, collection: &Option<ObjectId>, id: &RecordRef) {
        if self.enabled {
            let blank = &self.blank;
            self.touched
                .entry(collection.clone())
                .or_insert_with(|| blank.clone())
                .touch(|| id.clone());
        }
    }

    fn since(
        &self,
        cursor: &Cursor,
        tenant: &TenantId,
        collection: &Option<ObjectId>,
    ) -> Result<BTreeSet<RecordRef>> {
        if !self.enabled {
            return Err(Error::unsupported("reading changes"));
        }
        self.of(collection).since(cursor, tenant, collection.as_ref())
    }

    fn cursor(&self, tenant: &TenantId, collection: &Option<ObjectId>) -> Option<Cursor> {
        let cursor = self.of(collection).cursor(tenant, collection.as_ref());
        cursor.filter(|_| self.enabled)
    }

    fn set_instance(&mut self, instance: u64) {
        self.each(|feed| feed.set_instance(instance));
    }

    fn expire(&mut self) {
        self.each(Feed::expire);
    }

    fn each(&mut self, change: impl Fn(&mut Feed<RecordRef>)) {
        change(&mut self.blank);
        self.touched.values_mut().for_each(change);
    }
}

impl State {
    fn kept(&self, collection: Option<&ObjectId>, id: &RecordRef) -> Option<&Arc<Kept>> {
        self.collections.get(&collection.cloned())?.get(id)
    }

    fn set(&mut self, collection: Option<&ObjectId>, record: Record, now: Option<DateTime<Utc>>) -> u64 {
        let version = self.versions.next();
        self.feed.touch(&collection.cloned(), &record.id);
        let records = self.collections.entry(collection.cloned()).or_default();
        let kept = Kept {
            version,
            changed: now,
            record,
        };
        Arc::make_mut(records).insert(kept.record.id.clone(), Arc::new(kept));
        version
    }

    fn remove(&mut self, collection: Option<&ObjectId>, id: &RecordRef) -> bool {
        if self.kept(collection, id).is_none() {
            return false;
        }
        self.feed.touch(&collection.cloned(), id);
        let records = self.collections.get_mut(&collection.cloned());
        records.is_some_and(|records| Arc::make_mut(records).remove(id).is_some())
    }

    fn apply(
        &mut self,
        capabilities: TargetCapabilities,
        collection: Option<&ObjectId>,
        operation: &RecordOperation,
        now: Option<DateTime<Utc>>,
    ) -> Result<Applied> {
        let RecordOperation {
            record: id,
            change,
            precondition,
            ..
        } = operation;
        match change {
            RecordChange::Update(_) if !capabilities.updates => {
                return Err(Error::unsupported("updating a record"));
            }
            RecordChange::Create(record) if record.id != *id => {
                return Err(Error::new(
                    ErrorKind::InvalidData,
                    format!("the operation is about {id}, but its record is {}", record.id),
                ));
            }
            _ => {}
        }
        if *change != RecordChange::Delete && !self.collections.contains_key(&collection.cloned()) {
            return Err(no_collection(collection));
        }
        let kept = self.kept(collection, id);
        let version = kept.map(|kept| kept.version);
        if capabilities.conditional_write {
            expect_precondition(precondition, version)?;
        }
        let (changed, version) = match (change, kept) {
            (RecordChange::Create(record), None) => (true, Some(self.set(collection, record.clone(), now))),
            (RecordChange::Create(record), Some(kept)) if kept.record == *record => (false, version),
            (RecordChange::Create(_), Some(_)) => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("{id} is there with other facets; read it and update it"),
                ));
            }
            (RecordChange::Delete, None) => (false, None),
            (RecordChange::Delete, Some(_)) => (self.remove(collection, id), None),
            (RecordChange::Update(_), None) => {
                return Err(Error::new(ErrorKind::NotFound, format!("no record {id}")));
            }
            (RecordChange::Update(facets), Some(kept)) => {
                let mut record = kept.record.clone();
                record
                    .facets
                    .extend(facets.iter().map(|(name, facet)| (name.clone(), facet.clone())));
                if record == kept.record {
                    (false, version)
                } else {
                    (true, Some(self.set(collection, record, now)))
                }
            }
        };
        Ok(Applied {
            changed,
            version: version
                .filter(|_| capabilities.conditional_write)
                .map(Versions::shown),
        })
    }
}
