use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::StreamExt;
use usersync_connector::*;
use usersync_model::*;
use usersync_testkit::conformance::directory::{DirectoryHarness, checks};
use usersync_testkit::conformance::{Cannot, LeaveOut};
use usersync_testkit::generate::DirectoryState;

use super::*;

/// What a double offers, from least to most.
const NONE: u8 = 0;
const CHANGES: u8 = 1;
const TRACKS: u8 = 2;

#[test]
fn each_check_catches_its_double() {
    prove(
        ["Directory", "Directory"],
        &checks(),
        &[NONE, CHANGES, TRACKS],
        |offers, flaw| Box::new(Double::new(offers, flaw)) as Box<dyn DirectoryHarness>,
        &[
            (
                "leaves out empty groups",
                NONE,
                "point_01_a_full_read_begins_full_and_shows_everything",
            ),
            (
                "leaves out members that are groups",
                NONE,
                "point_01_a_full_read_begins_full_and_shows_everything",
            ),
            (
                "begins as a read of changes",
                NONE,
                "point_01_a_full_read_begins_full_and_shows_everything",
            ),
            (
                "shows 1500 members of a group",
                NONE,
                "point_01_groups_of_thousands_are_shown_whole",
            ),
            (
                "has one system of members",
                NONE,
                "point_01_members_of_two_systems_are_told_apart",
            ),
            ("ends twice", NONE, "point_02_a_read_ends_with_one_complete_end"),
            ("never ends", NONE, "point_02_a_read_ends_with_one_complete_end"),
            (
                "is always partial",
                NONE,
                "point_02_a_read_ends_with_one_complete_end",
            ),
            (
                "never ends when empty",
                NONE,
                "point_02_an_empty_directory_is_complete",
            ),
            (
                "is always complete",
                NONE,
                "point_03_what_is_left_out_makes_the_read_partial",
            ),
            (
                "is always complete",
                NONE,
                "point_03_members_left_out_make_their_group_partial",
            ),
            (
                "is always complete about changes",
                CHANGES,
                "point_03_changes_left_out_make_the_read_partial",
            ),
            (
                "ends when it cannot be reached",
                NONE,
                "point_03_a_failure_before_the_first_event_is_an_error",
            ),
            ("takes names for ids", NONE, "point_04_a_rename_keeps_the_id"),
            ("keeps old names", NONE, "point_04_a_rename_keeps_the_id"),
            ("shows less every time", NONE, "point_05_two_reads_show_the_same"),
            (
                "repeats the last change",
                CHANGES,
                "point_06_nothing_changed_nothing_shown",
            ),
            (
                "gives no cursor",
                CHANGES,
                "point_06_nothing_changed_nothing_shown",
            ),
            (
                "leaves out removals",
                CHANGES,
                "point_06_changes_show_everything_that_changed",
            ),
            (
                "leaves out the first change",
                CHANGES,
                "point_06_changes_show_everything_that_changed",
            ),
            (
                "shows of who came back that they came only",
                CHANGES,
                "point_06_changes_show_everything_that_changed",
            ),
            (
                "gives the cursor of its end",
                CHANGES,
                "point_06_what_changes_during_a_full_read_is_not_lost",
            ),
            (
                "takes any cursor",
                CHANGES,
                "point_07_unknown_cursors_have_expired",
            ),
            (
                "takes cursors that begin well",
                CHANGES,
                "point_07_unknown_cursors_have_expired",
            ),
            ("takes old cursors", CHANGES, "point_07_old_cursors_have_expired"),
            (
                "gives cursors unclaimed",
                NONE,
                "point_08_without_changes_there_are_no_cursors",
            ),
            (
                "takes cursors unclaimed",
                NONE,
                "point_08_without_changes_there_are_no_cursors",
            ),
            ("reads on when dropped", NONE, "point_09_a_dropped_read_stops"),
            (
                "is partial once one was dropped",
                NONE,
                "point_09_a_dropped_read_stops",
            ),
            (
                "names partial groups that changed",
                TRACKS,
                "point_10_partial_groups_are_named_until_they_are_whole",
            ),
            (
                "names groups that were partial",
                TRACKS,
                "point_10_partial_groups_are_named_until_they_are_whole",
            ),
            (
                "forgets what groups lacked",
                TRACKS,
                "point_10_partial_groups_are_named_until_they_are_whole",
            ),
            (
                "has another filter every time",
                NONE,
                "point_11_the_filter_is_the_same_for_the_same_configuration",
            ),
            (
                "has another filter in every connector",
                NONE,
                "point_11_the_filter_is_the_same_for_the_same_configuration",
            ),
        ],
    );
}

#[derive(Debug)]
struct Double {
    offers: u8,
    flaw: Flaw,
    last: Mutex<Option<Arc<Fake>>>,
}

impl Double {
    fn new(offers: u8, flaw: Flaw) -> Self {
        Self {
            offers,
            flaw,
            last: Mutex::new(None),
        }
    }

    fn last(&self) -> Arc<Fake> {
        Arc::clone(self.last.lock().unwrap().as_ref().unwrap())
    }
}

#[async_trait]
impl DirectoryHarness for Double {
    fn system(&self) -> SystemId {
        SystemId::new("fake").unwrap()
    }

    fn other_system(&self) -> Option<SystemId> {
        Some(SystemId::new("elsewhere").unwrap())
    }

    async fn fresh(&self, content: Vec<DirectoryChange>) -> Arc<dyn Directory> {
        let fake = Arc::new(Fake::new(self, content));
        *self.last.lock().unwrap() = Some(Arc::clone(&fake));
        fake
    }

    async fn change(&self, change: DirectoryChange) -> std::result::Result<(), Cannot> {
        let fake = self.last();
        if let (DirectoryChange::Upsert(principal), "keeps old names") = (&change, self.flaw)
            && fake
                .state
                .lock()
                .unwrap()
                .principals()
                .contains_key(&principal.id)
        {
            return Ok(());
        }
        fake.state.lock().unwrap().apply(change.clone());
        fake.told.lock().unwrap().push(change);
        Ok(())
    }

    async fn expire_cursors(&self) -> std::result::Result<(), Cannot> {
        self.last().first.store(1, Ordering::Relaxed);
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> std::result::Result<(), Cannot> {
        *self.last().left_out.lock().unwrap() = Some(what);
        Ok(())
    }

    async fn heal(&self) -> std::result::Result<(), Cannot> {
        *self.last().left_out.lock().unwrap() = None;
        Ok(())
    }

    async fn another(&self) -> std::result::Result<Arc<dyn Directory>, Cannot> {
        let content = self.last().everything();
        Ok(Arc::new(Fake::new(self, content)))
    }

    async fn open_reads(&self) -> std::result::Result<usize, Cannot> {
        Ok(self.last().open.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Fake {
    system: SystemId,
    offers: u8,
    flaw: Flaw,
    state: Mutex<DirectoryState>,
    told: Arc<Mutex<Vec<DirectoryChange>>>,
    /// What reads of changes left out so far, of which groups.
    lacking: Mutex<Vec<DirectoryChange>>,
    /// The oldest place that cursors may have.
    first: AtomicUsize,
    left_out: Mutex<Option<LeaveOut>>,
    open: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    reads: AtomicUsize,
    filters: AtomicUsize,
}

impl Fake {
    fn new(double: &Double, content: Vec<DirectoryChange>) -> Self {
        Self {
            system: double.system(),
            offers: double.offers,
            flaw: double.flaw,
            state: Mutex::new(DirectoryState::of(double.system(), content)),
            told: Arc::default(),
            lacking: Mutex::default(),
            first: AtomicUsize::new(0),
            left_out: Mutex::new(None),
            open: Arc::default(),
            dropped: Arc::default(),
            reads: AtomicUsize::new(0),
            filters: AtomicUsize::new(0),
        }
    }

    fn changes(&self) -> bool {
        self.offers >= CHANGES
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn everything(&self) -> Vec<DirectoryChange> {
        let state = self.state.lock().unwrap();
        let mut entries = state.full_read();
        if self.has("leaves out empty groups") {
            entries.retain(|entry| match entry {
                DirectoryChange::Upsert(p) => !p.kind.is_group() || state.members_of(&p.id).next().is_some(),
                _ => true,
            });
        }
        if self.has("shows less every time") {
            let reads = self.reads.fetch_add(1, Ordering::Relaxed);
            entries.truncate(entries.len().saturating_sub(reads));
        }
        for entry in &mut entries {
            match entry {
                DirectoryChange::Upsert(principal) if self.has("takes names for ids") => {
                    principal.id = ObjectId::new(&principal.name).unwrap();
                }
                DirectoryChange::Members { system, .. } if self.has("has one system of members") => {
                    *system = self.system.clone();
                }
                DirectoryChange::Members { members, .. } if self.has("shows 1500 members of a group") => {
                    members.truncate(1500);
                }
                DirectoryChange::Members { members, .. }
                    if self.has("leaves out members that are groups") =>
                {
                    members.retain(|member| !state.principals()[member].kind.is_group());
                }
                _ => {}
            }
        }
        entries
    }

    fn since(&self, cursor: &Cursor) -> Result<Vec<DirectoryChange>> {
        let told = self.told.lock().unwrap();
        let first = match self.has("takes old cursors") {
            true => 0,
            false => self.first.load(Ordering::Relaxed),
        };
        let text = std::str::from_utf8(cursor.as_bytes()).unwrap_or("");
        let place: Option<usize> = match self.flaw {
            "takes any cursor" => Some(text.parse().unwrap_or(0)),
            "takes cursors that begin well" => text.trim_end_matches('x').parse().ok(),
            _ => text.parse().ok(),
        };
        let place = place.filter(|place| (first..=told.len()).contains(place));
        let Some(place) = place else {
            return Err(Error::new(ErrorKind::CursorExpired, "read everything"));
        };
        let mut shown = told[place..].to_vec();
        match self.flaw {
            "repeats the last change" => {
                let last = told.last().cloned();
                shown.push(last.unwrap_or(DirectoryChange::MembersReset {
                    group: ObjectId::new("loop").unwrap(),
                }));
            }
            "leaves out removals" => shown.retain(|change| {
                !matches!(
                    change,
                    DirectoryChange::Removed(_) | DirectoryChange::MembersRemoved { .. }
                )
            }),
            "shows of who came back that they came only" => {
                let came = shown.iter().filter_map(|change| match change {
                    DirectoryChange::Upsert(principal) => Some(principal.id.clone()),
                    _ => None,
                });
                let came: Vec<_> = came.collect();
                shown.retain(|change| !matches!(change, DirectoryChange::Removed(id) if came.contains(id)));
            }
            "leaves out the first change" => drop(shown.drain(..1.min(shown.len()))),
            _ => {}
        }
        Ok(shown)
    }
}

impl Fake {
    /// With what earlier reads of changes left out where nothing is left out, and whether this one does.
    fn lacking(
        &self,
        extent: Extent,
        entries: Vec<DirectoryChange>,
        left_out: Option<&LeaveOut>,
    ) -> (Vec<DirectoryChange>, bool) {
        let mut lacking = self.lacking.lock().unwrap();
        match (extent, left_out) {
            (Extent::Changes, Some(LeaveOut::MembersOf(object))) => {
                let of = |entry: &&DirectoryChange| matches!(entry, DirectoryChange::Members { group, .. } if group == object);
                let before = lacking.len();
                lacking.extend(entries.iter().filter(of).cloned());
                let lacks = lacking.len() > before;
                (entries, lacks)
            }
            (Extent::Changes, None) if !self.has("forgets what groups lacked") => {
                let mut all = std::mem::take(&mut *lacking);
                all.extend(entries);
                (all, false)
            }
            _ => (entries, false),
        }
    }
}

impl Directory for Fake {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            changes: self.changes(),
            tracks_partial: self.offers == TRACKS,
        }
    }

    fn filter(&self) -> Option<Digest> {
        let filter = match self.flaw {
            "has another filter every time" => self.filters.fetch_add(1, Ordering::Relaxed),
            "has another filter in every connector" => std::ptr::from_ref(self).addr(),
            _ => 0,
        };
        Some(Digest::of("usersync-testkit", &filter.to_be_bytes()))
    }

    fn read(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<DirectoryChange> {
        let (extent, entries) = match since {
            None if self.has("begins as a read of changes") => (Extent::Changes, self.everything()),
            None => (Extent::Full, self.everything()),
            Some(_) if !self.changes() && !self.has("takes cursors unclaimed") => {
                return failed_read(Error::unsupported("reading changes"));
            }
            Some(since) => match self.since(&since) {
                Ok(changes) => (Extent::Changes, changes),
                Err(_) if !self.changes() => (Extent::Changes, Vec::new()),
                Err(error) => return failed_read(error),
            },
        };
        let mut end = ReadEnd::complete();
        if (self.changes() && !self.has("gives no cursor")) || self.has("gives cursors unclaimed") {
            end.cursor = Some(Cursor::new(self.told.lock().unwrap().len().to_string()));
        }
        let is_empty = entries.is_empty();
        let left_out = self.left_out.lock().unwrap().clone();
        let of = |entry: &DirectoryChange, object: &ObjectId| matches!(entry, DirectoryChange::Members { group, .. } if group == object);
        let (entries, lacks) = self.lacking(extent, entries, left_out.as_ref());
        let mut events = events(ReadEvent::Begin(extent), entries, end, left_out.as_ref(), of);
        let partial = || ReadEnd::partial(PartialReason::new(PartialKind::Failed, ""));
        match self.flaw {
            "ends twice" => events.push(Ok(ReadEvent::End(ReadEnd::complete()))),
            "never ends" => drop(events.pop()),
            "never ends when empty" if is_empty => drop(events.pop()),
            "is always partial" => events[2] = Ok(ReadEvent::End(partial())),
            _ if hides_partial(self.flaw, extent) => hide_partial(&mut events),
            "names partial groups that changed" if extent == Extent::Changes && !lacks => {
                if let Some(Ok(ReadEvent::End(end))) = events.last_mut() {
                    end.partial.clear();
                }
            }
            "names groups that were partial" if extent == Extent::Changes => {
                if let Some(Ok(ReadEvent::End(end))) = events.last_mut() {
                    let reason = PartialReason::new(PartialKind::Unreadable, "");
                    end.partial = vec![(ObjectId::new("staff").unwrap(), reason)];
                }
            }
            "ends when it cannot be reached" if events[0].is_err() => {
                events = vec![Ok(ReadEvent::Begin(extent)), Ok(ReadEvent::End(partial()))];
            }
            "is partial once one was dropped" if self.dropped.load(Ordering::Relaxed) > 0 => {
                events[2] = Ok(ReadEvent::End(partial()));
            }
            _ => {}
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let guard = Guard {
            open: Arc::clone(&self.open),
            dropped: Arc::clone(&self.dropped),
            reads_on: self.has("reads on when dropped"),
        };
        let mut stream = into_stream(events);
        if self.has("gives the cursor of its end") {
            let told = Arc::clone(&self.told);
            let now = move || Cursor::new(told.lock().unwrap().len().to_string());
            stream = with_cursor_of_its_end(stream, now);
        }
        stream
            .map(move |event| {
                let _held = &guard;
                event
            })
            .boxed()
    }
}

struct Guard {
    open: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    reads_on: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if !self.reads_on {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
