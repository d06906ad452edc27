//! Diaries, tasks and contacts in memory.

mod rewrite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{
    Applied, CallContext, Clock, Cursor, Error, ErrorKind, Item, ItemCapabilities, ItemChange,
    ItemCollection, ItemEntry, ItemOperation, ItemRead, ItemStore, ReadStream, Result, TargetCapabilities,
};
use usersync_model::{Digest, ObjectId, OperationId, RecordRef, SystemId};

use self::rewrite::uid_of;
use crate::call::{CallKind, CallSite, SubjectRef};
use crate::feed::{Feed, fed};
use crate::shared::{entries, lock};
use crate::sync::Mutex;
use crate::tap::{Read, Tap, tapped};
use crate::target::check_batch;
use crate::version::{Versions, expect_precondition};

pub use self::rewrite::Rewriting;

/// Diaries, tasks and contacts in memory, as texts. Clones share them; tests keep one to edit it by hand.
///
/// It offers what its capabilities say, and nothing else, a change feed only with [`with_changes`](Self::with_changes), and times
/// only with [`with_clock`](Self::with_clock). What is stored through [`ItemStore`] it rewrites as
/// [`with_rewriting`](Self::with_rewriting) says; what is put by hand stays as it is.
#[derive(Clone, Debug)]
pub struct MemoryItems {
    system: SystemId,
    capabilities: TargetCapabilities,
    rewriting: Arc<Rewriting>,
    clock: Option<Arc<dyn Clock>>,
    state: Arc<Mutex<State>>,
    tap: Tap,
}

#[derive(Clone, Debug)]
struct State {
    collections: BTreeMap<ItemCollection, Collection>,
    versions: Versions,
    /// How many items were made, for their places.
    made: u64,
    /// What operations answered that had their effect.
    answers: Arc<BTreeMap<OperationId, Applied>>,
    feed: Feed<(ItemCollection, ObjectId)>,
}

#[derive(Clone, Debug, Default)]
struct Collection {
    /// By their places.
    items: Arc<BTreeMap<ObjectId, Arc<Kept>>>,
    /// The places by the UIDs that are there.
    places: Arc<BTreeMap<String, BTreeSet<ObjectId>>>,
}

impl Collection {
    fn insert(&mut self, href: ObjectId, kept: Arc<Kept>) {
        self.remove(&href);
        if let Some(uid) = &kept.uid {
            let places = Arc::make_mut(&mut self.places);
            places.entry(uid.clone()).or_default().insert(href.clone());
        }
        Arc::make_mut(&mut self.items).insert(href, kept);
    }

    fn remove(&mut self, href: &ObjectId) {
        if !self.items.contains_key(href) {
            return;
        }
        let kept = Arc::make_mut(&mut self.items).remove(href);
        if let Some(uid) = kept.as_ref().and_then(|kept| kept.uid.as_ref()) {
            let places = Arc::make_mut(&mut self.places);
            if let Some(of_uid) = places.get_mut(uid) {
                of_uid.remove(href);
                if of_uid.is_empty() {
                    places.remove(uid);
                }
            }
        }
    }

    /// What has this UID, and where; of several, what is at the first place.
    fn find(&self, uid: &str) -> Option<(&ObjectId, &Kept)> {
        let href = self.places.get(uid)?.first()?;
        Some((href, self.items.get(href)?))
    }
}

#[derive(Clone, Debug)]
struct Kept {
    uid: Option<String>,
    content: Arc<[u8]>,
    version: u64,
    changed: Option<DateTime<Utc>>,
}

tapped!(MemoryItems);
fed!(MemoryItems);

impl MemoryItems {
    /// A system without collections.
    #[must_use]
    pub fn new(system: SystemId, capabilities: TargetCapabilities) -> Self {
        Self {
            system,
            capabilities,
            rewriting: Arc::default(),
            clock: None,
            state: Arc::new(Mutex::new(State {
                collections: BTreeMap::new(),
                versions: Versions::default(),
                made: 0,
                answers: Arc::default(),
                feed: Feed::new(),
            })),
            tap: Tap::default(),
        }
    }

    /// This handle, which rewrites what is stored through it.
    #[must_use]
    pub fn with_rewriting(mut self, rewriting: Rewriting) -> Self {
        self.rewriting = Arc::new(rewriting);
        self
    }

    /// This handle, which tells when items changed, by this clock.
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
            rewriting: Arc::clone(&self.rewriting),
            clock: self.clock.clone(),
            state: Arc::new(Mutex::new(lock(&self.state).clone())),
            tap: self.tap.fork(),
        }
    }

    /// Makes a collection; tells whether there was none.
    pub fn create_collection(&self, collection: ItemCollection) -> bool {
        let mut state = lock(&self.state);
        let missing = !state.collections.contains_key(&collection);
        if missing {
            state.collections.insert(collection, Collection::default());
        }
        missing
    }

    /// Makes or replaces what is at a place, as a person would, whatever it says; makes the collection, too, if it is missing.
    /// Tells whether anything changed.
    pub fn put_by_hand(&self, collection: &ItemCollection, href: ObjectId, content: &[u8]) -> bool {
        let mut state = lock(&self.state);
        let changed = state
            .kept(collection, &href)
            .is_none_or(|kept| *kept.content != *content);
        if changed {
            state.set(collection, href, content.into(), self.now_by_clock());
        }
        changed
    }

    /// Ends what is at a place, as a person would; tells whether it was there.
    pub fn remove_by_hand(&self, collection: &ItemCollection, href: &ObjectId) -> bool {
        lock(&self.state).remove(collection, href)
    }

    /// Moves what is at a place to another one; tells whether it was there. Its version stays.
    pub fn move_by_hand(&self, collection: &ItemCollection, from: &ObjectId, to: ObjectId) -> bool {
        let mut state = lock(&self.state);
        let Some(kept) = state.kept(collection, from).map(Arc::clone) else {
            return false;
        };
        state.remove(collection, from);
        state.feed.touch(|| (collection.clone(), to.clone()));
        let items = state.collections.entry(collection.clone()).or_default();
        items.insert(to, kept);
        true
    }

    /// The texts of a collection by their places; `None` if it is missing. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn texts_of(&self, collection: &ItemCollection) -> Option<BTreeMap<ObjectId, Arc<[u8]>>> {
        let state = lock(&self.state);
        let items = state.collections.get(collection)?.items.iter();
        Some(
            items
                .map(|(href, kept)| (href.clone(), Arc::clone(&kept.content)))
                .collect(),
        )
    }

    /// Everything, to compare. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ItemCollection, BTreeMap<ObjectId, Arc<[u8]>>> {
        let collections: Vec<_> = lock(&self.state).collections.keys().cloned().collect();
        let texts = |collection: ItemCollection| {
            let texts = self.texts_of(&collection)?;
            Some((collection, texts))
        };
        collections.into_iter().filter_map(texts).collect()
    }

    fn now_by_clock(&self) -> Option<DateTime<Utc>> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    fn shown(capabilities: TargetCapabilities, href: &ObjectId, kept: &Kept) -> Item {
        Item {
            href: href.clone(),
            version: capabilities
                .conditional_write
                .then(|| Versions::shown(kept.version)),
            changed: kept.changed,
            content: Arc::clone(&kept.content),
        }
    }

    fn site<'a>(
        &'a self,
        kind: CallKind,
        collection: &'a ItemCollection,
        context: &'a CallContext,
    ) -> CallSite<'a> {
        CallSite::new(kind)
            .on(&self.system)
            .context(context)
            .containers(std::slice::from_ref(&collection.account))
    }

    fn apply_one(&self, collection: &ItemCollection, operation: &ItemOperation) -> Result<Applied> {
        let mut state = lock(&self.state);
        if self.capabilities.idempotency_key
            && let Some(answer) = state.answers.get(&operation.id)
        {
            return Ok(answer.clone());
        }
        let (changed, version) = self.effect(&mut state, collection, operation)?;
        let applied = Applied {
            changed,
            version: version
                .filter(|_| self.capabilities.conditional_write)
                .map(Versions::shown),
        };
        if self.capabilities.idempotency_key {
            Arc::make_mut(&mut state.answers).insert(operation.id, applied.clone());
        }
        Ok(applied)
    }

    /// Whether it changed something, and the version that it left.
    fn effect(
        &self,
        state: &mut State,
        collection: &ItemCollection,
        operation: &ItemOperation,
    ) -> Result<(bool, Option<u64>)> {
        let uid = operation.uid.as_str();
        let there = |state: &State, href| match state.kept(collection, href) {
            Some(kept) if kept.uid.as_deref() == Some(uid) => Some(Arc::clone(kept)),
            _ => None,
        };
        let expect = |kept: Option<&Kept>| match self.capabilities.conditional_write {
            true => expect_precondition(&operation.precondition, kept.map(|kept| kept.version)),
            false => Ok(()),
        };
        let says_so = |content: &[u8]| match uid_of(content) {
            Some(said) if said == uid => Ok(()),
            _ => Err(Error::new(
                ErrorKind::InvalidData,
                format!("the text does not have the UID {uid}"),
            )),
        };
        match &operation.change {
            ItemChange::Create(content) => {
                says_so(content)?;
                let items = state.collections.get(collection);
                let items = items.ok_or_else(|| no_collection(collection))?;
                if items.find(uid).is_some() {
                    let message = format!("there is an item {uid}; read it and update it");
                    return Err(Error::new(ErrorKind::AlreadyExists, message));
                }
                expect(None)?;
                state.made += 1;
                let href = ObjectId::new(format!("made-{}", state.made)).expect("digits make an id");
                Ok((true, Some(self.store(state, collection, href, content))))
            }
            ItemChange::Delete { href } => match there(state, href) {
                None => Ok((false, None)),
                Some(kept) => {
                    expect(Some(&kept))?;
                    Ok((state.remove(collection, href), None))
                }
            },
            ItemChange::Update { href, content } => {
                says_so(content)?;
                let kept = there(state, href).ok_or_else(|| {
                    Error::new(
                        ErrorKind::NotFound,
                        format!("no item {uid} at {href}; read it again"),
                    )
                })?;
                expect(Some(&kept))?;
                if *kept.content == **content {
                    return Ok((false, Some(kept.version)));
                }
                Ok((true, Some(self.store(state, collection, href.clone(), content))))
            }
        }
    }

    fn store(&self, state: &mut State, collection: &ItemCollection, href: ObjectId, content: &[u8]) -> u64 {
        let number = state.versions.following();
        let content = self.rewriting.rewrite(content, number);
        state.set(collection, href, content.into(), self.now_by_clock())
    }
}

fn no_collection(collection: &ItemCollection) -> Error {
    let ItemCollection { account, kind } = collection;
    Error::new(ErrorKind::NotFound, format!("{account} has no {kind} collection"))
}

/// What binds a cursor.
fn scope(collection: &ItemCollection) -> ObjectId {
    let digest = Digest::of(collection.kind.code(), collection.account.as_str().as_bytes());
    ObjectId::new(digest.to_string()).expect("a digest is a short text of digits")
}

#[async_trait]
impl ItemRead for MemoryItems {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> ItemCapabilities {
        ItemCapabilities {
            changes: lock(&self.state).feed.enabled,
            target: self.capabilities,
        }
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        context: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let site = self.site(CallKind::Items, collection, context);
        self.tap.read(site, || {
            let capabilities = self.capabilities;
            let state = lock(&self.state);
            let items = state.collections.get(collection);
            let items = items.map(|collection| Arc::clone(&collection.items));
            let items = items.ok_or_else(|| no_collection(collection))?;
            let scope = scope(collection);
            let upsert =
                move |href: &ObjectId, kept: &Kept| ItemEntry::Upsert(Self::shown(capabilities, href, kept));
            let read = match since {
                None => Read::full(entries(items).map(move |(href, kept)| upsert(&href, &kept))),
                Some(since) => {
                    let touched = state.feed.since(&since, &context.tenant, Some(&scope))?;
                    let collection = collection.clone();
                    let touched = touched
                        .into_iter()
                        .filter(move |(touched, _)| *touched == collection);
                    Read::changes(touched.map(move |(_, href)| match items.get(&href) {
                        Some(kept) => upsert(&href, kept),
                        None => ItemEntry::Removed(href),
                    }))
                }
            };
            Ok(read.with_cursor(state.feed.cursor(&context.tenant, Some(&scope))))
        })
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        context: &CallContext,
    ) -> Result<Option<Item>> {
        let record = RecordRef::new(self.system.clone(), uid.clone());
        let site = self
            .site(CallKind::Item, collection, context)
            .subject(SubjectRef::Record(&record));
        self.tap
            .call(site, || {
                if !self.capabilities.point_read {
                    return Err(Error::unsupported("reading one item").at(&self.system, "item"));
                }
                let state = lock(&self.state);
                let items = state.collections.get(collection);
                let found = items.and_then(|items| items.find(uid.as_str()));
                Ok(found.map(|(href, kept)| Self::shown(self.capabilities, href, kept)))
            })
            .await
    }

    async fn now(&self, context: &CallContext) -> Result<Option<DateTime<Utc>>> {
        let site = CallSite::new(CallKind::ItemClock)
            .on(&self.system)
            .context(context);
        self.tap.call(site, || Ok(self.now_by_clock())).await
    }
}

#[async_trait]
impl ItemStore for MemoryItems {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let mut results = Vec::with_capacity(operations.len());
        for (position, operation) in operations.iter().enumerate() {
            let kind = match &operation.change {
                ItemChange::Create(_) => CallKind::Create,
                ItemChange::Delete { .. } => CallKind::Delete,
                ItemChange::Update { .. } => CallKind::Update,
            };
            let record = RecordRef::new(self.system.clone(), operation.uid.clone());
            let site = self
                .site(kind, collection, context)
                .subject(SubjectRef::Record(&record))
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

impl State {
    fn kept(&self, collection: &ItemCollection, href: &ObjectId) -> Option<&Arc<Kept>> {
        self.collections.get(collection)?.items.get(href)
    }

    fn set(
        &mut self,
        collection: &ItemCollection,
        href: ObjectId,
        content: Arc<[u8]>,
        changed: Option<DateTime<Utc>>,
    ) -> u64 {
        let version = self.versions.next();
        self.feed.touch(|| (collection.clone(), href.clone()));
        let items = self.collections.entry(collection.clone()).or_default();
        let kept = Kept {
            uid: uid_of(&content),
            content,
            version,
            changed,
        };
        items.insert(href, Arc::new(kept));
        version
    }

    fn remove(&mut self, collection: &ItemCollection, href: &ObjectId) -> bool {
        if self.kept(collection, href).is_none() {
            return false;
        }
        self.feed.touch(|| (collection.clone(), href.clone()));
        if let Some(items) = self.collections.get_mut(collection) {
            items.remove(href);
        }
        true
    }
}
