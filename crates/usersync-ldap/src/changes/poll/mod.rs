//! Asking what was modified since the last time. What was deleted, or moved elsewhere, does not answer: so cookies expire,
//! and everything is read from time to time.

pub(super) mod clock;
pub(super) mod time;
pub(super) mod usn;

use std::collections::BTreeSet;

use usersync_connector::{Error, ErrorKind};

use super::reread::{attributes, tell_entry};
use super::tally::Tally;
use super::{Spec, expired, next_entry, ranges};
use crate::client::{Base, FoundEntry, Pages, Search, Session};
use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::index::EntryKey;

/// Tells the entries that `modified` chooses: those that are what is read as they are, the others as gone. Calls `each`
/// for all of them.
async fn tell(
    session: &mut Session,
    spec: &Spec,
    modified: Result<Filter, FilterError>,
    attribute: &str,
    tally: &mut Tally<'_>,
    mut each: impl FnMut(&Entry) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let modified = modified.map_err(too_long)?;
    let with = |filter: Filter, attributes: Vec<String>| Search {
        base: Base::Dn(spec.base.clone()),
        scope: spec.scope,
        filter,
        attributes,
        controls: spec.controls.clone(),
    };
    // First, so that what changes meanwhile is not taken for gone: it is there in the second.
    let mut rest: BTreeSet<EntryKey> = BTreeSet::new();
    let search = with(
        modified.clone(),
        vec![spec.key.name().to_owned(), attribute.to_owned()],
    );
    let mut pages = Pages::new(search, spec.page);
    while let Some(found) = next_entry(&mut pages, session).await? {
        each(&found.entry)?;
        rest.insert(spec.key.key(&found.entry)?);
    }
    if rest.is_empty() {
        return Ok(());
    }
    let filter = Filter::all([spec.filter.clone(), modified]).map_err(too_long)?;
    let mut pages = Pages::new(with(filter, attributes(spec, true)), spec.page);
    let mut cut: Vec<(EntryKey, FoundEntry)> = Vec::new();
    while let Some(found) = next_entry(&mut pages, session).await? {
        let key = spec.key.key(&found.entry)?;
        rest.remove(&key);
        // One connection shows one page at a time.
        if found
            .entry
            .attributes()
            .all(|(name, _)| ranges::split(name).is_ok_and(|(_, range)| range.is_none()))
        {
            tally.entry(key, found.entry, None)?;
        } else {
            cut.push((key, found));
        }
    }
    for (key, found) in cut {
        tell_entry(session, spec, key, found, true, tally).await?;
    }
    for key in rest {
        tally.gone(key)?;
    }
    Ok(())
}

/// # Errors
/// `CursorExpired` once everything is to be read again.
fn check_age(spec: &Spec, full: u64, now: u64) -> Result<(), Error> {
    // A clock that went back tells nothing.
    match now.checked_sub(full) {
        Some(age) if age < spec.full_every.as_secs() => Ok(()),
        _ => Err(expired("polling does not show what was deleted")),
    }
}

fn too_long(error: FilterError) -> Error {
    Error::new(ErrorKind::Unsupported, "the filter is too long to be continued").with_source(error)
}
