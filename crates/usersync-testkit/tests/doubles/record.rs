use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use usersync_connector::*;
use usersync_model::*;
use usersync_testkit::conformance::record::{RecordHarness, checks};
use usersync_testkit::conformance::{Cannot, LeaveOut};

use super::*;

#[test]
fn each_check_catches_its_double() {
    const ALL: bool = true;
    const LEAST: bool = false;
    prove(
        ["RecordRead", "RecordTarget"],
        &checks(),
        &[LEAST, ALL],
        |all, flaw| {
            let state = Arc::new(Mutex::new(State::default()));
            Box::new(Double { all, flaw, state }) as Box<dyn RecordHarness>
        },
        &[
            (
                "leaves out the last record",
                LEAST,
                "read_point_01_every_record_is_shown",
            ),
            (
                "reads every collection",
                LEAST,
                "read_point_01_every_record_is_shown",
            ),
            (
                "shows 1000 records",
                LEAST,
                "read_point_01_thousands_of_records_are_shown",
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
                "shows changes of every collection",
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
                "takes any cursor",
                ALL,
                "read_point_02_unknown_cursors_have_expired",
            ),
            (
                "takes cursors of other collections",
                ALL,
                "read_point_02_cursors_of_another_collection_have_expired",
            ),
            ("takes old cursors", ALL, "read_point_02_old_cursors_have_expired"),
            (
                "gives cursors unclaimed",
                LEAST,
                "read_point_02_without_changes_there_are_no_cursors",
            ),
            (
                "remembers point reads",
                ALL,
                "read_point_03_a_point_read_is_as_of_now",
            ),
            ("looks everywhere", ALL, "read_point_03_a_point_read_is_as_of_now"),
            (
                "offers point reads unclaimed",
                LEAST,
                "read_point_03_without_the_capability_it_is_refused",
            ),
            (
                "counts its reads",
                LEAST,
                "read_point_04_two_reads_show_equal_records",
            ),
            (
                "has another filter every time",
                LEAST,
                "read_point_05_the_filter_is_the_same_for_the_same_configuration",
            ),
            (
                "has another filter in every connector",
                LEAST,
                "read_point_05_the_filter_is_the_same_for_the_same_configuration",
            ),
            (
                "answers in another order",
                ALL,
                "point_01_one_result_per_operation_in_their_order",
            ),
            (
                "stops at a failure",
                ALL,
                "point_01_a_failing_operation_stops_no_other",
            ),
            (
                "changes what it creates again",
                ALL,
                "point_02_creating_an_equal_record_succeeds_unchanged",
            ),
            (
                "creates over what is there",
                ALL,
                "point_02_creating_over_another_record_already_exists",
            ),
            (
                "takes any record for equal",
                ALL,
                "point_02_creating_over_another_record_already_exists",
            ),
            (
                "fails to delete what is gone",
                LEAST,
                "point_02_deleting_an_absent_record_succeeds_unchanged",
            ),
            (
                "fails to delete from nowhere",
                LEAST,
                "point_02_deleting_from_a_missing_collection_succeeds_unchanged",
            ),
            (
                "makes missing collections",
                LEAST,
                "point_02_creating_in_a_missing_collection_is_not_found",
            ),
            (
                "creates nothing",
                LEAST,
                "point_03_a_success_is_visible_to_the_next_read",
            ),
            (
                "deletes nothing",
                LEAST,
                "point_03_a_success_is_visible_to_the_next_read",
            ),
            (
                "fails after the effect",
                LEAST,
                "point_04_a_known_failure_had_no_effect",
            ),
            (
                "takes lost answers for failures",
                LEAST,
                "point_04_a_lost_answer_is_an_unknown_outcome",
            ),
            (
                "repeats what was lost",
                LEAST,
                "point_04_a_lost_answer_is_an_unknown_outcome",
            ),
            ("shows no versions", ALL, "point_05_versions_are_shown"),
            (
                "ignores preconditions",
                ALL,
                "point_05_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "ignores that something is absent",
                ALL,
                "point_05_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "keeps versions for ever",
                ALL,
                "point_05_a_precondition_that_does_not_hold_is_a_conflict",
            ),
            (
                "answers old versions",
                ALL,
                "point_05_a_precondition_that_holds_lets_the_effect_happen",
            ),
            (
                "checks before others come in",
                ALL,
                "point_05_of_many_that_require_one_state_one_succeeds",
            ),
            (
                "checks preconditions unclaimed",
                LEAST,
                "point_05_without_conditional_writes_preconditions_are_ignored",
            ),
            (
                "forgets operation ids",
                ALL,
                "point_06_an_operation_id_has_its_effect_once",
            ),
            (
                "answers repetitions as unchanged",
                ALL,
                "point_06_an_operation_id_has_its_effect_once",
            ),
            (
                "checks preconditions of repetitions",
                ALL,
                "point_06_an_operation_id_has_its_effect_once",
            ),
            (
                "remembers creations only",
                ALL,
                "point_06_deletions_and_updates_have_their_effect_once",
            ),
            (
                "remembers no updates",
                ALL,
                "point_06_deletions_and_updates_have_their_effect_once",
            ),
            (
                "remembers failures",
                ALL,
                "point_06_what_failed_may_succeed_under_the_same_operation_id",
            ),
            (
                "replaces all facets",
                ALL,
                "point_07_an_update_leaves_other_facets_as_they_are",
            ),
            (
                "always changes what it updates",
                ALL,
                "point_07_an_update_leaves_other_facets_as_they_are",
            ),
            (
                "updates unclaimed",
                LEAST,
                "point_07_without_updates_updates_are_refused",
            ),
            (
                "makes what it updates",
                ALL,
                "point_08_updating_a_missing_record_is_not_found",
            ),
            ("takes any batch", LEAST, "point_09_a_batch_too_large_fails_whole"),
            (
                "takes as much as it may of a batch",
                LEAST,
                "point_09_a_batch_too_large_fails_whole",
            ),
            (
                "refuses full batches",
                ALL,
                "point_09_the_largest_batch_is_accepted",
            ),
            (
                "deletes everywhere",
                LEAST,
                "point_10_other_records_and_collections_are_not_touched",
            ),
        ],
    );
}

type Collection = Option<ObjectId>;

#[derive(Clone, Debug)]
struct Double {
    all: bool,
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    collections: BTreeMap<Collection, BTreeMap<RecordRef, (Record, u64)>>,
    answers: BTreeMap<OperationId, Applied>,
    failures: BTreeMap<OperationId, ErrorKind>,
    loses: bool,
    told: Vec<(Collection, RecordEntry)>,
    first: usize,
    versions: u64,
    reads: u32,
    filters: u32,
    left_out: Option<LeaveOut>,
    refuses: bool,
    remembered: BTreeMap<(Collection, RecordRef), Option<PresentRecord>>,
}

impl State {
    fn set(&mut self, collection: &Collection, record: Record, flaw: Flaw) -> u64 {
        if flaw != "keeps versions for ever" {
            self.versions += 1;
        }
        let present = PresentRecord {
            record: record.clone(),
            version: None,
            changed: None,
        };
        self.told.push((collection.clone(), RecordEntry::Upsert(present)));
        let records = self.collections.entry(collection.clone()).or_default();
        records.insert(record.id.clone(), (record, self.versions));
        self.versions
    }

    fn remove(&mut self, collection: &Collection, id: &RecordRef) {
        self.told
            .push((collection.clone(), RecordEntry::Removed(id.clone())));
        self.collections.entry(collection.clone()).or_default().remove(id);
    }
}

#[async_trait]
impl RecordHarness for Double {
    async fn fresh(&self, collections: Vec<(Collection, Vec<Record>)>) -> Arc<dyn RecordTarget> {
        let mut state = State::default();
        for (collection, records) in collections {
            state.collections.entry(collection.clone()).or_default();
            for record in records {
                state.set(&collection, record, self.flaw);
            }
        }
        *self.state.lock().unwrap() = state;
        Arc::new(Fake {
            system: SystemId::new("fake").unwrap(),
            double: self.clone(),
        })
    }

    async fn change(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        record: Option<Record>,
    ) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        match record {
            Some(record) => drop(state.set(&collection.cloned(), record, self.flaw)),
            None => state.remove(&collection.cloned(), id),
        }
        Ok(())
    }

    async fn another(&self) -> std::result::Result<Arc<dyn RecordTarget>, Cannot> {
        if self.flaw == "has another filter in every connector" {
            self.state.lock().unwrap().filters += 1;
        }
        Ok(Arc::new(Fake {
            system: SystemId::new("fake").unwrap(),
            double: self.clone(),
        }))
    }

    async fn expire_cursors(&self) -> std::result::Result<(), Cannot> {
        let mut state = self.state.lock().unwrap();
        state.first = state.told.len() + 1;
        Ok(())
    }

    async fn lose_next_answer(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().loses = true;
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().left_out = Some(what);
        Ok(())
    }

    async fn refuse_writes(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().refuses = true;
        Ok(())
    }
}

#[derive(Debug)]
struct Fake {
    system: SystemId,
    double: Double,
}

impl Fake {
    fn present(&self, (record, version): &(Record, u64)) -> PresentRecord {
        let shows_version = self.double.all && self.double.flaw != "shows no versions";
        PresentRecord {
            record: record.clone(),
            version: shows_version.then(|| Version(version.to_string())),
            changed: None,
        }
    }

    fn since(&self, state: &State, collection: &Collection, cursor: &Cursor) -> Option<Vec<RecordEntry>> {
        let flaw = self.double.flaw;
        let text = std::str::from_utf8(cursor.as_bytes()).unwrap();
        let (name, place) = text.split_once('/').unwrap_or(("", ""));
        let own = name == format!("{collection:?}") || flaw == "takes cursors of other collections";
        let first = if flaw == "takes old cursors" {
            0
        } else {
            state.first
        };
        let place: Option<usize> = place.parse().ok().filter(|place| own && *place >= first);
        let place = match (place, flaw) {
            (None, "takes any cursor") => 0,
            (place, _) => place?,
        };
        let of = |name: &Collection| name == collection || flaw == "shows changes of every collection";
        let told = state.told[place..].iter().filter(|(name, _)| of(name));
        let told = told.map(|(_, entry)| entry.clone());
        let mut told: Vec<_> = told.collect();
        let is_removal = |entry: &RecordEntry| matches!(entry, RecordEntry::Removed(_));
        match flaw {
            "leaves out removals" => told.retain(|entry| !is_removal(entry)),
            "shows removals last" => told.sort_by_key(is_removal),
            _ => {}
        }
        Some(told)
    }

    /// Whether what an operation requires is so.
    fn holds(&self, state: &State, collection: &Collection, operation: &RecordOperation) -> bool {
        let (all, flaw) = (self.double.all, self.double.flaw);
        let checks = (all && flaw != "ignores preconditions") || flaw == "checks preconditions unclaimed";
        let records = state.collections.get(collection);
        let present = records.and_then(|records| records.get(&operation.record));
        match &operation.precondition {
            _ if !checks => true,
            Precondition::Absent => present.is_none() || flaw == "ignores that something is absent",
            Precondition::None => true,
            Precondition::Version(version) => present.is_some_and(|(_, v)| v.to_string() == version.0),
        }
    }

    fn one(
        &self,
        state: &mut State,
        collection: &Collection,
        operation: &RecordOperation,
    ) -> Result<Applied> {
        let result = self.effect(state, collection, operation);
        if let Err(error) = &result {
            state.failures.insert(operation.id, error.kind());
        }
        result
    }

    fn effect(
        &self,
        state: &mut State,
        collection: &Collection,
        operation: &RecordOperation,
    ) -> Result<Applied> {
        let (all, flaw) = (self.double.all, self.double.flaw);
        let holds = self.holds(state, collection, operation);
        if let Some(kind) = state.failures.get(&operation.id)
            && flaw == "remembers failures"
        {
            return Err(Error::new(*kind, "as before"));
        }
        if let Some(answer) = state.answers.get(&operation.id)
            && all
            && flaw != "forgets operation ids"
        {
            return match flaw {
                "answers repetitions as unchanged" => Ok(Applied::unchanged()),
                "checks preconditions of repetitions" if !holds => {
                    Err(Error::new(ErrorKind::Conflict, "changed meanwhile"))
                }
                _ => Ok(answer.clone()),
            };
        }
        if state.refuses && flaw != "fails after the effect" {
            return Err(Error::new(ErrorKind::PermissionDenied, "read only"));
        }
        if flaw == "makes missing collections" {
            state.collections.entry(collection.clone()).or_default();
        }
        let Some(records) = state.collections.get(collection) else {
            return match operation.change {
                RecordChange::Delete if flaw != "fails to delete from nowhere" => Ok(Applied::unchanged()),
                _ => Err(Error::new(ErrorKind::NotFound, "no such collection")),
            };
        };
        let present = records.get(&operation.record).cloned();
        if !holds {
            return Err(Error::new(ErrorKind::Conflict, "changed meanwhile"));
        }
        let wished = match (&operation.change, present) {
            (RecordChange::Create(record), Some((there, _))) => {
                let equal = *record == there || flaw == "takes any record for equal";
                match flaw {
                    "changes what it creates again" if equal => return Ok(Applied::changed()),
                    "creates over what is there" => Some(record.clone()),
                    _ if equal => return Ok(Applied::unchanged()),
                    _ => return Err(Error::new(ErrorKind::AlreadyExists, "another record is there")),
                }
            }
            (RecordChange::Create(record), None) => Some(record.clone()),
            (RecordChange::Delete, None) if flaw == "fails to delete what is gone" => {
                return Err(Error::new(ErrorKind::NotFound, "no such record"));
            }
            (RecordChange::Delete, None) => return Ok(Applied::unchanged()),
            (RecordChange::Delete, Some(_)) => None,
            (RecordChange::Update(_), _) if !all && flaw != "updates unclaimed" => {
                return Err(Error::unsupported("updating records"));
            }
            (RecordChange::Update(facets), None) if flaw == "makes what it updates" => Some(Record {
                id: operation.record.clone(),
                kind: RecordKind::new("contact").unwrap(),
                facets: facets.clone(),
            }),
            (RecordChange::Update(_), None) => return Err(Error::new(ErrorKind::NotFound, "no such record")),
            (RecordChange::Update(facets), Some((there, _))) => {
                let mut updated = there.clone();
                if flaw == "replaces all facets" {
                    updated.facets.clear();
                }
                updated.facets.extend(facets.clone());
                if updated == there && flaw != "always changes what it updates" {
                    return Ok(Applied::unchanged());
                }
                Some(updated)
            }
        };
        let applied = match wished {
            _ if flaw == "creates nothing" && wished.is_some() => Applied::changed(),
            _ if flaw == "deletes nothing" && wished.is_none() => Applied::changed(),
            Some(record) => {
                let version = state.set(collection, record, flaw);
                let told = if flaw == "answers old versions" {
                    version - 1
                } else {
                    version
                };
                Applied {
                    changed: true,
                    version: all.then(|| Version(told.to_string())),
                }
            }
            None => {
                let names: Vec<_> = state.collections.keys().cloned().collect();
                for name in names {
                    if name == *collection || flaw == "deletes everywhere" {
                        state.remove(&name, &operation.record);
                    }
                }
                Applied::changed()
            }
        };
        if state.refuses {
            return Err(Error::new(ErrorKind::PermissionDenied, "read only"));
        }
        let is_kept = !matches!(
            (&operation.change, flaw),
            (RecordChange::Delete, "remembers creations only")
                | (
                    RecordChange::Update(_),
                    "remembers creations only" | "remembers no updates"
                )
        );
        if is_kept {
            state.answers.insert(operation.id, applied.clone());
        }
        Ok(applied)
    }
}

#[async_trait]
impl RecordRead for Fake {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> RecordCapabilities {
        let target = match self.double.all {
            true => TargetCapabilities {
                conditional_write: true,
                idempotency_key: true,
                max_batch: NonZeroUsize::new(10).unwrap(),
                point_read: true,
                updates: true,
            },
            false => TargetCapabilities::default(),
        };
        RecordCapabilities {
            changes: self.double.all,
            target,
        }
    }

    fn filter(&self) -> Option<Digest> {
        let mut state = self.double.state.lock().unwrap();
        if self.double.flaw == "has another filter every time" {
            state.filters += 1;
        }
        Some(Digest::of("usersync-testkit", &state.filters.to_be_bytes()))
    }

    fn records(&self, request: RecordRequest, _context: &CallContext) -> ReadStream<RecordEntry> {
        let (mut state, flaw) = (self.double.state.lock().unwrap(), self.double.flaw);
        state.reads += 1;
        if !state.collections.contains_key(&request.collection)
            && flaw != "takes missing collections for empty"
        {
            return failed_read(Error::new(ErrorKind::NotFound, "no such collection"));
        }
        let of = |name: &Collection| *name == request.collection || flaw == "reads every collection";
        let kept = state
            .collections
            .iter()
            .filter(|(name, _)| of(name))
            .flat_map(|(_, records)| records.values());
        let mut all: Vec<_> = kept.map(|kept| self.present(kept)).collect();
        match flaw {
            "leaves out the last record" => drop(all.pop()),
            "shows 1000 records" => all.truncate(1000),
            "counts its reads" => {
                let count = AttributeName::new("reads").unwrap();
                for present in &mut all {
                    let facet = present.record.facets.values_mut().next().unwrap();
                    facet
                        .attributes
                        .insert(count.clone(), Value::Integer(state.reads.into()));
                }
            }
            _ => {}
        }
        let all = all.into_iter().map(RecordEntry::Upsert).collect();
        let (extent, entries) = match &request.since {
            None => (Extent::Full, all),
            Some(_) if !self.double.all => return failed_read(Error::unsupported("reading changes")),
            Some(cursor) => match self.since(&state, &request.collection, cursor) {
                Some(_) if flaw == "shows everything as changed" => (Extent::Changes, all),
                Some(changes) => (Extent::Changes, changes),
                None => return failed_read(Error::new(ErrorKind::CursorExpired, "read everything")),
            },
        };
        let mut end = ReadEnd::complete();
        if self.double.all || flaw == "gives cursors unclaimed" {
            end.cursor = Some(Cursor::new(format!(
                "{:?}/{}",
                request.collection,
                state.told.len()
            )));
        }
        let mut events = events(
            ReadEvent::Begin(extent),
            entries,
            end,
            state.left_out.as_ref(),
            |_, _| false,
        );
        if hides_partial(flaw, extent) {
            hide_partial(&mut events);
        }
        let stream = into_stream(events);
        if flaw != "gives the cursor of its end" {
            return stream;
        }
        let (double, collection) = (self.double.clone(), request.collection);
        with_cursor_of_its_end(stream, move || {
            let place = double.state.lock().unwrap().told.len();
            Cursor::new(format!("{collection:?}/{place}"))
        })
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        _context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        let (mut state, flaw) = (self.double.state.lock().unwrap(), self.double.flaw);
        if !self.double.all && flaw != "offers point reads unclaimed" {
            return Err(Error::unsupported("reading one record"));
        }
        let key = (collection.cloned(), id.clone());
        if let Some(remembered) = state.remembered.get(&key)
            && flaw == "remembers point reads"
        {
            return Ok(remembered.clone());
        }
        let looks_at = |name: &Collection| *name == key.0 || flaw == "looks everywhere";
        let found = state.collections.iter().filter(|(name, _)| looks_at(name));
        let found = found
            .filter_map(|(_, records)| records.get(id))
            .map(|kept| self.present(kept))
            .next();
        state.remembered.insert(key, found.clone());
        Ok(found)
    }
}

#[async_trait]
impl RecordTarget for Fake {
    async fn apply(
        &self,
        collection: Option<&ObjectId>,
        operations: &[RecordOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let (flaw, collection) = (self.double.flaw, collection.cloned());
        let mut operations = operations.to_vec();
        let mut refused = vec![false; operations.len()];
        if flaw == "checks before others come in" {
            for (operation, refused) in operations.iter_mut().zip(&mut refused) {
                let state = self.double.state.lock().unwrap();
                *refused = !self.holds(&state, &collection, operation);
                operation.precondition = Precondition::None;
            }
            let_others_come_in().await;
        }
        let mut state = self.double.state.lock().unwrap();
        let most = self.capabilities().target.max_batch.get();
        let too_large = || Err(Error::new(ErrorKind::LimitExceeded, "too many"));
        match flaw {
            "takes any batch" | "takes as much as it may of a batch" => {}
            "refuses full batches" if operations.len() > 9 => {
                return operations.iter().map(|_| too_large()).collect();
            }
            _ if operations.len() > most => return operations.iter().map(|_| too_large()).collect(),
            _ => {}
        }
        let mut results: Vec<Result<Applied>> = Vec::new();
        for (n, operation) in operations.iter().enumerate() {
            if flaw == "takes as much as it may of a batch" && n >= most {
                results.push(too_large());
                continue;
            }
            if flaw == "stops at a failure" && results.iter().any(Result::is_err) {
                results.push(Err(Error::new(ErrorKind::Unexpected, "stopped")));
                continue;
            }
            results.push(match refused[n] {
                true => Err(Error::new(ErrorKind::Conflict, "changed meanwhile")),
                false => self.one(&mut state, &collection, operation),
            });
        }
        if std::mem::take(&mut state.loses) {
            let again = |(operation, _): (&RecordOperation, Result<Applied>)| match flaw {
                "repeats what was lost" => self.one(&mut state, &collection, operation),
                _ => lost(flaw),
            };
            results = operations.iter().zip(results).map(again).collect();
        }
        if flaw == "answers in another order" && results.len() > 1 {
            results.rotate_left(1);
        }
        results
    }
}
