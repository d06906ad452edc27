use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::*;
use usersync_model::*;
use usersync_testkit::conformance::item::{ItemHarness, checks};
use usersync_testkit::conformance::{Cannot, LeaveOut};

use super::*;

#[test]
fn each_check_catches_its_double() {
    const ALL: bool = true;
    const LEAST: bool = false;
    prove(
        ["ItemRead", "ItemStore"],
        &checks(),
        &[LEAST, ALL],
        |all, flaw| {
            let state = Arc::new(Mutex::new(State::default()));
            Box::new(Double { all, flaw, state }) as Box<dyn ItemHarness>
        },
        &[
            (
                "leaves out the last item",
                LEAST,
                "read_point_01_every_item_is_shown",
            ),
            (
                "reads every collection",
                LEAST,
                "read_point_01_every_item_is_shown",
            ),
            (
                "is always complete",
                LEAST,
                "read_point_01_what_is_left_out_makes_the_read_partial",
            ),
            (
                "is always complete about changes",
                ALL,
                "read_point_01_changes_left_out_make_the_read_partial",
            ),
            (
                "takes missing collections for empty",
                LEAST,
                "read_point_01_a_missing_collection_is_not_found",
            ),
            (
                "shows everything as changed",
                ALL,
                "read_point_02_nothing_changed_nothing_shown",
            ),
            (
                "leaves out removals",
                ALL,
                "read_point_02_changes_show_everything_that_changed",
            ),
            (
                "shows removals last",
                ALL,
                "read_point_02_changes_show_everything_that_changed",
            ),
            (
                "gives the cursor of its end",
                ALL,
                "read_point_02_what_changes_during_a_full_read_is_not_lost",
            ),
            (
                "forgets what moved",
                ALL,
                "read_point_02_an_item_that_moved_is_told_by_its_new_place",
            ),
            (
                "takes any cursor",
                ALL,
                "read_point_02_unknown_cursors_have_expired",
            ),
            (
                "takes any cursor",
                ALL,
                "read_point_02_cursors_of_another_collection_have_expired",
            ),
            ("takes old cursors", ALL, "read_point_02_old_cursors_have_expired"),
            (
                "gives cursors unclaimed",
                LEAST,
                "read_point_02_without_changes_there_are_no_cursors",
            ),
            ("looks everywhere", ALL, "read_point_03_a_point_read_is_as_of_now"),
            (
                "offers point reads unclaimed",
                LEAST,
                "read_point_03_without_the_capability_it_is_refused",
            ),
            (
                "shortens names",
                LEAST,
                "read_point_04_content_says_what_was_written",
            ),
            (
                "answers in another order",
                ALL,
                "point_01_one_result_per_operation_in_their_order",
            ),
            (
                "stops at a failure",
                ALL,
                "point_01_one_result_per_operation_in_their_order",
            ),
            ("makes twins", LEAST, "point_02_one_uid_is_one_item"),
            (
                "creates over what is there",
                LEAST,
                "point_02_one_uid_is_one_item",
            ),
            (
                "fails to delete what is gone",
                LEAST,
                "point_03_deleting_nothing_succeeds_unchanged",
            ),
            (
                "makes what it updates",
                LEAST,
                "point_03_updating_nothing_is_not_found",
            ),
            (
                "deletes nothing",
                LEAST,
                "point_04_a_success_is_visible_to_the_next_read",
            ),
            (
                "answers old versions",
                ALL,
                "point_04_the_version_answered_is_the_one_shown",
            ),
            (
                "keeps versions for ever",
                ALL,
                "point_04_the_version_answered_is_the_one_shown",
            ),
            (
                "takes lost answers for failures",
                LEAST,
                "point_05_a_lost_answer_is_an_unknown_outcome",
            ),
            (
                "checks before others come in",
                ALL,
                "point_06_of_many_that_require_one_version_one_succeeds",
            ),
            (
                "remembers creations only",
                ALL,
                "point_07_updates_and_deletions_have_their_effect_once",
            ),
            (
                "remembers no deletions",
                ALL,
                "point_07_updates_and_deletions_have_their_effect_once",
            ),
            (
                "ignores preconditions",
                ALL,
                "point_06_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "checks preconditions unclaimed",
                LEAST,
                "point_06_without_conditional_writes_preconditions_are_ignored",
            ),
            (
                "forgets operation ids",
                ALL,
                "point_07_an_operation_id_has_its_effect_once",
            ),
            ("takes any batch", LEAST, "point_08_a_batch_too_large_fails_whole"),
            (
                "deletes everywhere",
                LEAST,
                "point_09_other_items_and_collections_are_not_touched",
            ),
        ],
    );
}

#[derive(Debug, Default)]
struct State {
    collections: Vec<ItemCollection>,
    items: Vec<Kept>,
    /// Which places were touched, in order.
    touched: Vec<(ItemCollection, ObjectId)>,
    /// The places that were emptied, whatever is there by now.
    emptied: Vec<ObjectId>,
    answers: Vec<(OperationId, Applied)>,
    oldest: usize,
    writes: u64,
    left_out: Option<LeaveOut>,
    loses: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    collection: ItemCollection,
    href: ObjectId,
    uid: String,
    content: Vec<u8>,
    version: u64,
}

#[derive(Clone, Debug)]
struct Double {
    all: bool,
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

fn uid_in(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("UID:"));
    line.unwrap().to_owned()
}

impl State {
    fn place(&self, collection: &ItemCollection, uid: &str) -> Option<usize> {
        self.items
            .iter()
            .position(|kept| kept.collection == *collection && kept.uid == uid)
    }

    fn set(
        &mut self,
        collection: &ItemCollection,
        href: ObjectId,
        content: &[u8],
        version: Option<u64>,
    ) -> u64 {
        self.writes += 1;
        let version = version.unwrap_or(self.writes);
        self.items
            .retain(|kept| kept.collection != *collection || kept.href != href);
        self.touched.push((collection.clone(), href.clone()));
        self.items.push(Kept {
            collection: collection.clone(),
            href,
            uid: uid_in(content),
            content: content.to_vec(),
            version,
        });
        version
    }
}

impl Double {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn shown(&self, kept: &Kept) -> Item {
        let mut content = kept.content.clone();
        if self.has("shortens names") {
            content = String::from_utf8_lossy(&content)
                .replace("FN:Contact", "FN:C.")
                .into_bytes();
        }
        Item {
            href: kept.href.clone(),
            version: self.all.then(|| Version(kept.version.to_string())),
            changed: None,
            content: content.into(),
        }
    }

    fn one(&self, collection: &ItemCollection, operation: &ItemOperation) -> Result<Applied> {
        let mut state = self.state.lock().unwrap();
        let known = state.answers.iter().find(|(id, _)| *id == operation.id);
        if self.all
            && !self.has("forgets operation ids")
            && let Some((_, answer)) = known
        {
            return Ok(answer.clone());
        }
        let uid = operation.uid.as_str();
        let at = state.place(collection, uid);
        let here = |state: &State, href: &ObjectId| {
            at.filter(|at| state.items[*at].href == *href)
                .map(|at| state.items[at].clone())
        };
        let checks =
            (self.all && !self.has("ignores preconditions")) || self.has("checks preconditions unclaimed");
        let expect = |kept: &Kept| match checks {
            true => expect(kept, operation),
            false => Ok(()),
        };
        let (changed, version) = match &operation.change {
            ItemChange::Create(content) => {
                if at.is_some() && !self.has("makes twins") && !self.has("creates over what is there") {
                    return Err(Error::new(ErrorKind::AlreadyExists, "there"));
                }
                let number = state.writes;
                let href = match at.filter(|_| self.has("creates over what is there")) {
                    Some(at) => state.items[at].href.clone(),
                    None => ObjectId::new(format!("made-{number}")).unwrap(),
                };
                (true, Some(state.set(collection, href, content, None)))
            }
            ItemChange::Update { href, content } => match here(&state, href) {
                None if self.has("makes what it updates") => {
                    (true, Some(state.set(collection, href.clone(), content, None)))
                }
                None => return Err(Error::new(ErrorKind::NotFound, "gone")),
                Some(kept) => {
                    expect(&kept)?;
                    let same = self.has("keeps versions for ever").then_some(kept.version);
                    let new = state.set(collection, href.clone(), content, same);
                    (
                        true,
                        Some(if self.has("answers old versions") {
                            kept.version
                        } else {
                            new
                        }),
                    )
                }
            },
            ItemChange::Delete { href } => match here(&state, href) {
                None if self.has("fails to delete what is gone") => {
                    return Err(Error::new(ErrorKind::NotFound, "gone"));
                }
                None => (false, None),
                Some(kept) => {
                    expect(&kept)?;
                    if self.has("deletes everywhere") {
                        state.items.retain(|kept| kept.uid != uid);
                    } else if !self.has("deletes nothing") {
                        state.items.remove(at.unwrap());
                    }
                    state.touched.push((collection.clone(), href.clone()));
                    (true, None)
                }
            },
        };
        let applied = Applied {
            changed,
            version: version
                .filter(|_| self.all)
                .map(|version| Version(version.to_string())),
        };
        let is_kept = !matches!(
            (&operation.change, self.flaw),
            (
                ItemChange::Delete { .. },
                "remembers creations only" | "remembers no deletions"
            ) | (ItemChange::Update { .. }, "remembers creations only")
        );
        if is_kept {
            state.answers.push((operation.id, applied.clone()));
        }
        match std::mem::take(&mut state.loses) {
            true => lost(self.flaw),
            false => Ok(applied),
        }
    }
}

fn expect(kept: &Kept, operation: &ItemOperation) -> Result<()> {
    match &operation.precondition {
        Precondition::Version(version) if version.0 != kept.version.to_string() => {
            Err(Error::new(ErrorKind::Conflict, "changed"))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl ItemRead for Double {
    fn system(&self) -> &SystemId {
        static SYSTEM: std::sync::OnceLock<SystemId> = std::sync::OnceLock::new();
        SYSTEM.get_or_init(|| SystemId::new("double").unwrap())
    }

    fn capabilities(&self) -> ItemCapabilities {
        ItemCapabilities {
            changes: self.all,
            target: TargetCapabilities {
                conditional_write: self.all,
                idempotency_key: self.all,
                max_batch: NonZeroUsize::new(if self.all { 5 } else { 1 }).unwrap(),
                point_read: self.all,
                updates: true,
            },
        }
    }

    fn items(
        &self,
        collection: &ItemCollection,
        since: Option<Cursor>,
        _: &CallContext,
    ) -> ReadStream<ItemEntry> {
        let state = self.state.lock().unwrap();
        if !state.collections.contains(collection) && !self.has("takes missing collections for empty") {
            return failed_read(Error::new(ErrorKind::NotFound, "no collection"));
        }
        if since.is_some() && !self.all {
            return failed_read(Error::unsupported("reading changes"));
        }
        let mut items: Vec<&Kept> = state
            .items
            .iter()
            .filter(|kept| kept.collection == *collection || self.has("reads every collection"))
            .collect();
        if self.has("leaves out the last item") {
            items.pop();
        }
        let binding = format!("double {} ", collection.account);
        let place = state.touched.len();
        let cursor = (self.all || self.has("gives cursors unclaimed"))
            .then(|| Cursor::new(format!("{binding}{place}")));
        let mut entries = Vec::new();
        let extent = match &since {
            None => {
                entries.extend(items.iter().map(|kept| ItemEntry::Upsert(self.shown(kept))));
                Extent::Full
            }
            Some(since) => {
                let text = String::from_utf8_lossy(since.as_bytes()).into_owned();
                let place = text.strip_prefix(&binding).and_then(|place| place.parse().ok());
                let place = place.filter(|place| *place >= state.oldest || self.has("takes old cursors"));
                let place = place.or(self.has("takes any cursor").then_some(0));
                let Some(place) = place else {
                    return failed_read(Error::new(ErrorKind::CursorExpired, "unknown"));
                };
                let place = if self.has("shows everything as changed") {
                    0
                } else {
                    place
                };
                let touched = state.touched.iter().skip(place);
                for (_, href) in touched.filter(|(touched, _)| touched == collection) {
                    match items.iter().find(|kept| kept.href == *href) {
                        Some(kept) => entries.push(ItemEntry::Upsert(self.shown(kept))),
                        None if self.has("leaves out removals") => {}
                        None => entries.push(ItemEntry::Removed(href.clone())),
                    }
                }
                if self.has("shows removals last") {
                    entries.extend(state.emptied.iter().cloned().map(ItemEntry::Removed));
                }
                Extent::Changes
            }
        };
        let end = match &state.left_out {
            Some(what) => {
                let shown = if *what == LeaveOut::Everything { 0 } else { 1 };
                entries.truncate(shown);
                match hides_partial(self.flaw, extent) {
                    true => ReadEnd::complete().with_cursor(cursor),
                    false => ReadEnd::partial(PartialReason::new(PartialKind::Limit, "test")),
                }
            }
            None => ReadEnd::complete().with_cursor(cursor),
        };
        let stream = read_stream(extent, entries, end);
        if !self.has("gives the cursor of its end") {
            return stream;
        }
        let state = Arc::clone(&self.state);
        with_cursor_of_its_end(stream, move || {
            let place = state.lock().unwrap().touched.len();
            Cursor::new(format!("{binding}{place}"))
        })
    }

    async fn find(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        _: &CallContext,
    ) -> Result<Option<Item>> {
        if !self.all && !self.has("offers point reads unclaimed") {
            return Err(Error::unsupported("reading one item"));
        }
        let state = self.state.lock().unwrap();
        let found = state.items.iter().find(|kept| {
            kept.uid == uid.as_str() && (kept.collection == *collection || self.has("looks everywhere"))
        });
        Ok(found.map(|kept| self.shown(kept)))
    }

    async fn now(&self, _: &CallContext) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }
}

#[async_trait]
impl ItemStore for Double {
    async fn apply(
        &self,
        collection: &ItemCollection,
        operations: &[ItemOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        let most = self.capabilities().target.max_batch.get();
        if operations.len() > most && !self.has("takes any batch") {
            let error = |_| Err(Error::new(ErrorKind::LimitExceeded, "too many"));
            return operations.iter().map(error).collect();
        }
        let mut results = Vec::new();
        for operation in operations {
            let mut operation = operation.clone();
            let mut seen = Ok(());
            if self.has("checks before others come in") {
                let kept = {
                    let state = self.state.lock().unwrap();
                    let at = state.place(collection, operation.uid.as_str());
                    at.map(|at| state.items[at].clone())
                };
                seen = kept.map_or(Ok(()), |kept| expect(&kept, &operation));
                operation.precondition = Precondition::None;
                let_others_come_in().await;
            }
            let result = match seen {
                Ok(()) => self.one(collection, &operation),
                Err(error) => Err(error),
            };
            let stops = result.is_err() && self.has("stops at a failure");
            results.push(result);
            if stops {
                break;
            }
        }
        while results.len() < operations.len() {
            results.push(Err(Error::new(ErrorKind::Unexpected, "not begun")));
        }
        if self.has("answers in another order") {
            results.rotate_left(1);
        }
        results
    }
}

#[async_trait]
impl ItemHarness for Double {
    async fn fresh(&self, collections: Vec<(ItemCollection, Vec<Vec<u8>>)>) -> Arc<dyn ItemStore> {
        let mut state = self.state.lock().unwrap();
        *state = State::default();
        for (collection, texts) in collections {
            state.collections.push(collection.clone());
            for (number, text) in texts.iter().enumerate() {
                let href = ObjectId::new(format!("{number}.vcf")).unwrap();
                state.set(&collection, href, text, None);
            }
        }
        Arc::new(self.clone())
    }

    async fn change(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        text: Option<Vec<u8>>,
    ) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        let at = state.place(collection, uid.as_str());
        let href = at.map(|at| state.items[at].href.clone());
        let href = href.unwrap_or_else(|| ObjectId::new(format!("{uid}.vcf")).unwrap());
        match text {
            Some(text) => drop(state.set(collection, href, &text, None)),
            None => {
                state
                    .items
                    .retain(|kept| kept.collection != *collection || kept.href != href);
                state.emptied.push(href.clone());
                state.touched.push((collection.clone(), href));
            }
        }
        Ok(())
    }

    async fn lose_next_answer(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().loses = true;
        Ok(())
    }

    async fn relocate(&self, collection: &ItemCollection, uid: &ObjectId) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        let at = state.place(collection, uid.as_str()).ok_or(Cannot)?;
        let old = state.items[at].href.clone();
        let new = ObjectId::new("moved.vcf").unwrap();
        state.items[at].href = new.clone();
        if !self.has("forgets what moved") {
            state.touched.push((collection.clone(), old));
            state.touched.push((collection.clone(), new));
        }
        Ok(())
    }

    async fn expire_cursors(&self) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        state.oldest = state.touched.len() + 1;
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().left_out = Some(what);
        Ok(())
    }
}
