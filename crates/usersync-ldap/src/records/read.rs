//! Reading records.

use std::collections::BTreeMap;

use usersync_connector::{
    CHUNK_ENTRIES, Error, ErrorKind, Extent, PresentRecord, ReadEnd, RecordEntry, Result,
};
use usersync_model::{Completeness, PartialKind, PartialReason, Record, RecordRef};

use super::Settings;
use super::resolve::Names;
use super::show::{Seen, references, show};
use crate::accounts::{Lookups, Visit, elsewhere};
use crate::client::{Base, Control, FoundEntry, Search, oid, reason};
use crate::dn::Dn;
use crate::filter::{Filter, FilterError};
use crate::read::Events;
use crate::url::Scope;

/// Reads the records at and below `base`. What goes wrong until the first entry is an error.
pub(super) async fn all(settings: &Settings, base: &Dn, mut events: Events<RecordEntry>) -> Result<ReadEnd> {
    let visit = Visit::begin(&settings.client, settings.limits).await?;
    let mut reading = Reading {
        sight: Sight::new(settings, &visit),
        shown: BTreeMap::new(),
        flaws: Flaws::default(),
    };
    reading.sight.read_names(&visit, base).await?;
    let mut walk = visit.walk(settings.search(&visit, base, None)?);
    let mut next = walk.next().await.map(Some)?;
    if let Some(None) = next {
        reading.sight.lookups.expect(base).await?;
    }
    events.begin(Extent::Full).await;
    let mut records = Vec::new();
    loop {
        let found = match next.take() {
            Some(found) => Ok(found),
            None => walk.next().await,
        };
        let record = match found {
            Ok(Some(found)) => reading.look_at(found).await,
            Ok(None) => break,
            Err(error) => Err(error),
        };
        match record {
            Ok(record) => records.extend(record.map(|record| RecordEntry::Upsert(present(record)))),
            Err(error) => {
                reading.flaws.ended = Some(reason(&error));
                break;
            }
        }
        if records.len() == CHUNK_ENTRIES {
            events.show(std::mem::take(&mut records)).await;
        }
    }
    events.show(records).await;
    reading.sight.lookups.end();
    let flaw = reading.flaws.first().or_else(|| elsewhere(walk.references()));
    Ok(ReadEnd {
        verdict: flaw.map_or(Completeness::Complete, Completeness::Partial),
        partial: Vec::new(),
        cursor: None,
        retry: None,
    })
}

/// Reads one record at or below `base`. None is the server's word that there is none.
pub(super) async fn one(settings: &Settings, base: &Dn, id: &RecordRef) -> Result<Option<PresentRecord>> {
    let filter = settings.ids.filter(&id.object).map_err(no_search)?;
    let (true, Some(filter)) = (id.system == settings.system, filter) else {
        return Ok(None);
    };
    let visit = Visit::begin(&settings.client, settings.limits).await?;
    let mut walk = visit.walk(settings.search(&visit, base, Some(filter))?);
    let mut sight = Sight::new(settings, &visit);
    let mut found: Option<Record> = None;
    while let Some(next) = walk.next().await? {
        let (seen, dn) = sight.see(next).await?;
        let (record, flaws) = match seen {
            Seen::Record { record, flaws } if record.id == *id => (record, flaws),
            _ => continue,
        };
        let flaw = match flaws.first() {
            Some(flaw) => Some(format!("the record `{dn}` cannot be read whole: {flaw}")),
            None if found.is_some() => Some(format!(
                "two entries have the id {id}, one of them is `{dn}`; name another id attribute"
            )),
            None => None,
        };
        if let Some(flaw) = flaw {
            return Err(Error::new(ErrorKind::InvalidData, flaw));
        }
        found = Some(record);
    }
    if found.is_none() {
        sight.lookups.expect(base).await?;
    }
    sight.lookups.end();
    match (found, elsewhere(walk.references())) {
        (None, Some(reason)) => Err(Error::new(ErrorKind::Unavailable, reason.to_string())),
        (found, _) => Ok(found.map(present)),
    }
}

impl Settings {
    /// The search for all recipients, or for those that `of_id` chooses, too.
    fn search(&self, visit: &Visit, base: &Dn, of_id: Option<Filter>) -> Result<Search> {
        let alias = Filter::present("mailNickname");
        let filter = match of_id {
            None => alias,
            Some(of_id) => alias.and_then(|alias| Filter::all([of_id, alias])),
        };
        Ok(Search {
            base: Base::Dn(base.clone()),
            scope: Scope::Subtree,
            filter: filter.map_err(no_search)?,
            attributes: self.profile.attributes(),
            controls: self.controls(visit),
        })
    }

    /// Whether the server writes the ids of entries before their names, if it is asked to.
    fn names_hold_ids(&self, visit: &Visit) -> bool {
        self.ids.are_guids() && visit.root_dse.has_control(oid::EXTENDED_DN)
    }

    fn controls(&self, visit: &Visit) -> Vec<Control> {
        let extended = self
            .names_hold_ids(visit)
            .then(|| Control::new(oid::EXTENDED_DN).critical());
        extended.into_iter().collect()
    }
}

/// What it takes to see an entry as a record.
struct Sight<'s> {
    settings: &'s Settings,
    names: Names,
    lookups: Lookups,
}

impl<'s> Sight<'s> {
    fn new(settings: &'s Settings, visit: &Visit) -> Self {
        Self {
            settings,
            names: Names::new(settings.ids.clone()),
            lookups: visit.lookups(settings.controls(visit)),
        }
    }

    /// Reads the names and ids of all recipients first, where names do not hold ids: most of what they refer to is among them.
    async fn read_names(&mut self, visit: &Visit, base: &Dn) -> Result<()> {
        if self.settings.names_hold_ids(visit) {
            return Ok(());
        }
        let mut search = self.settings.search(visit, base, None)?;
        search.attributes = self.settings.ids.attributes();
        let mut walk = visit.walk(search);
        loop {
            match walk.next().await {
                Ok(Some(found)) => self.names.note(&found.entry),
                Ok(None) => return Ok(()),
                // The read itself meets the same limit, and tells.
                Err(error) if error.kind() == ErrorKind::LimitExceeded => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The record that an entry is, and its name.
    async fn see(&mut self, found: FoundEntry) -> Result<(Seen, String)> {
        let Settings {
            system, profile, ids, ..
        } = self.settings;
        let (entry, cut) = self.lookups.whole(found).await?;
        for text in references(&entry, profile) {
            match self.names.look_up(text, &mut self.lookups).await {
                // Whoever is not looked up stays unknown, and the record says so.
                Err(error) if error.kind() == ErrorKind::LimitExceeded => break,
                done => done?,
            }
        }
        let seen = show(&entry, system, profile, ids, cut.as_ref(), |text| {
            self.names.id(text)
        });
        Ok((seen, entry.dn().to_string()))
    }
}

/// A read of all records under way.
struct Reading<'s> {
    sight: Sight<'s>,
    /// What was shown, by id, and where it is.
    shown: BTreeMap<RecordRef, Box<str>>,
    flaws: Flaws,
}

impl Reading<'_> {
    async fn look_at(&mut self, found: FoundEntry) -> Result<Option<Record>> {
        let (seen, dn) = self.sight.see(found).await?;
        let (record, left_out) = match seen {
            Seen::Other => return Ok(None),
            Seen::MissingId => {
                self.flaws.without_id.get_or_insert((0, dn)).0 += 1;
                return Ok(None);
            }
            Seen::Record { record, flaws } => (record, flaws),
        };
        for flaw in &left_out {
            let first = || (0, format!("of `{dn}`: {flaw}"));
            self.flaws.left_out.get_or_insert_with(first).0 += 1;
        }
        let known = self
            .shown
            .entry(record.id.clone())
            .or_insert_with(|| dn.clone().into());
        if **known != *dn {
            self.flaws.contradiction.get_or_insert_with(|| {
                format!(
                    "`{known}` and `{dn}` have the id {}; name another id attribute, or read again if one was just renamed",
                    record.id.object
                )
            });
        }
        Ok(Some(record))
    }
}

/// What makes a read partial.
#[derive(Default)]
struct Flaws {
    ended: Option<PartialReason>,
    contradiction: Option<String>,
    /// How many recipients have no id, and the first of them.
    without_id: Option<(u64, String)>,
    /// How many facets were left out, and the first of them.
    left_out: Option<(u64, String)>,
}

impl Flaws {
    /// The gravest.
    fn first(&self) -> Option<PartialReason> {
        let contradiction = self.contradiction.clone();
        let contradiction =
            contradiction.map(|detail| PartialReason::new(PartialKind::Contradiction, detail));
        let without_id = self.without_id.as_ref().map(|(count, first)| {
            PartialReason::new(
                PartialKind::Unreadable,
                format!("{count} recipients have no usable id, the first is `{first}`; let the service account read the id attribute, or name another"),
            )
        });
        let left_out = self.left_out.as_ref().map(|(count, first)| {
            PartialReason::new(
                PartialKind::Unreadable,
                format!("{count} facets were left out, the first {first}"),
            )
        });
        self.ended.clone().or(contradiction).or(without_id).or(left_out)
    }
}

fn present(record: Record) -> PresentRecord {
    PresentRecord {
        record,
        version: None,
        changed: None,
    }
}

fn no_search(error: FilterError) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("the profile makes no search: {error}"),
    )
}
