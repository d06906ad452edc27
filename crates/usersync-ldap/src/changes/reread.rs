//! Reads entries by their keys: those that changed, as they are now.

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};

use super::tally::{HAS_SUBORDINATES, Tally};
use super::{KeyAttribute, RangeLimits, Spec, complete_ranges, expired, next_entry};
use crate::client::{Base, FoundEntry, Pages, Search, Session};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::index::EntryKey;

/// How many entries one search asks for.
const BATCH: usize = 64;

/// Tells what became of the entries `keys`: as they are, with or without members, or gone if they are not what
/// is read any more. Answers those that are there.
pub(super) async fn tell(
    session: &mut Session,
    spec: &Spec,
    keys: &[EntryKey],
    with_members: bool,
    tally: &mut Tally<'_>,
) -> Result<BTreeSet<EntryKey>, Error> {
    let attributes = attributes(spec, with_members);
    let mut there = BTreeSet::new();
    for batch in keys.chunks(BATCH) {
        let search = Search {
            base: Base::Dn(spec.base.clone()),
            scope: spec.scope,
            filter: one_of(spec, batch)?,
            attributes: attributes.clone(),
            controls: spec.controls.clone(),
        };
        let mut pages = Pages::new(search, spec.page);
        let mut found: Vec<(EntryKey, FoundEntry)> = Vec::new();
        while let Some(entry) = next_entry(&mut pages, session).await? {
            let key = spec.key.key(&entry.entry)?;
            // An entry moved meanwhile can show up twice.
            if batch.contains(&key) && there.insert(key.clone()) {
                found.push((key, entry));
            }
        }
        // Where a base that is hidden finds nothing, that nothing is found says little.
        if spec.key == KeyAttribute::NsUniqueId && found.len() < batch.len() {
            session.expect(&spec.base).await?;
        }
        for (key, entry) in found {
            tell_entry(session, spec, key, entry, with_members, tally).await?;
        }
        for key in batch.iter().filter(|key| !there.contains(key)) {
            tally.gone(key.clone())?;
        }
    }
    Ok(there)
}

/// Tells the groups that name one of these, as far as they were not told.
pub(super) async fn tell_groups_of(
    session: &mut Session,
    spec: &Spec,
    members: &[Dn],
    tally: &mut Tally<'_>,
) -> Result<(), Error> {
    if spec.member_attributes.is_empty() {
        return Ok(());
    }
    for batch in members.chunks(BATCH) {
        let names = |dn: &Dn| {
            let name = dn.to_string();
            let attributes = spec.member_attributes.iter();
            attributes
                .map(|attribute| Filter::equal(attribute, &name))
                .collect::<Vec<_>>()
        };
        let named: Result<Vec<Filter>, _> = batch.iter().flat_map(names).collect();
        let filter = named
            .and_then(Filter::any)
            .and_then(|named| Filter::all([spec.filter.clone(), named]));
        let search = Search {
            base: Base::Dn(spec.base.clone()),
            scope: spec.scope,
            filter: filter.map_err(|_| expired("very long names came"))?,
            attributes: attributes(spec, true),
            controls: spec.controls.clone(),
        };
        let mut pages = Pages::new(search, spec.page);
        let mut groups = Vec::new();
        while let Some(found) = next_entry(&mut pages, session).await? {
            let key = spec.key.key(&found.entry)?;
            if !tally.is_told(&key) {
                groups.push((key, found));
            }
        }
        for (key, found) in groups {
            tell_entry(session, spec, key, found, true, tally).await?;
        }
    }
    Ok(())
}

pub(super) async fn tell_entry(
    session: &mut Session,
    spec: &Spec,
    key: EntryKey,
    entry: FoundEntry,
    with_members: bool,
    tally: &mut Tally<'_>,
) -> Result<(), Error> {
    let limits = RangeLimits {
        values: spec.values,
        controls: &[],
    };
    let (entry, missing) = complete_ranges(session, entry, limits).await?;
    match missing {
        _ if with_members => tally.entry(key, entry, missing),
        // Of an attribute that says who a person is, half does not do.
        Some(reason) => Err(Error::new(ErrorKind::InvalidData, reason.to_string())),
        None => tally.entry_without_members(key, entry),
    }
}

/// All attributes to ask for.
pub(super) fn attributes(spec: &Spec, with_members: bool) -> Vec<String> {
    let is_member = |name: &String| {
        spec.member_attributes
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
    };
    let mut attributes: Vec<String> = spec
        .attributes
        .iter()
        .filter(|name| with_members || !is_member(name))
        .cloned()
        .collect();
    for own in [spec.key.name(), HAS_SUBORDINATES] {
        if !attributes.iter().any(|name| name.eq_ignore_ascii_case(own)) {
            attributes.push(own.to_owned());
        }
    }
    attributes
}

fn one_of(spec: &Spec, keys: &[EntryKey]) -> Result<Filter, Error> {
    let keys: Result<Vec<_>, _> = keys.iter().map(|key| spec.key.filter(key)).collect();
    keys.and_then(Filter::any)
        .and_then(|keys| Filter::all([spec.filter.clone(), keys]))
        .map_err(|error| {
            Error::new(ErrorKind::Unsupported, "the filter is too long to be continued").with_source(error)
        })
}
