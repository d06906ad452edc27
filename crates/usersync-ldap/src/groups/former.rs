//! Members whom a group names by a name that they had.
//!
//! Where somebody is renamed, the server puts the new name into his groups, but in the background: for a moment a group has none of his names,
//! and names somebody whom nobody is. Active Directory has links instead of names.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::{Error, ErrorKind, Result, Retry};
use usersync_model::ObjectId;

use super::find::{self, CHANGED, Features, Group, Person};
use super::members::{self, Membership, Names};
use super::settings::{GroupSettings, MembersBy};
use crate::changes::seconds;
use crate::client::{Base, Search, Session};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::read::seconds_now;
use crate::url::Scope;

/// How long ago, in seconds, somebody was renamed whose groups are mended for sure. The clocks of host and server need not agree.
const RECENT: u64 = 3600;

/// What there is to say of somebody whose name the group did not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// He has it among its members after all.
    Member,
    /// It names somebody whom nobody is, and he may be the one.
    Unknown,
}

/// Those of `persons` who may be members although the group did not have their names.
pub(super) async fn standings<'p>(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    group: &Group,
    persons: impl Iterator<Item = (&'p ObjectId, &'p Person)>,
) -> Result<BTreeMap<ObjectId, Standing>> {
    if features.active_directory || matches!(group.by, MembersBy::Login(_)) {
        return Ok(BTreeMap::new());
    }
    let mut recent = renamed_of_late(session, features, settings, persons).await?;
    if recent.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted = std::slice::from_ref(&group.id);
    let mut read = members::read(session, features, settings, wanted, &mut Names::default()).await?;
    let members = match read.remove(&group.id) {
        None | Some(Membership::Missing) => return Ok(BTreeMap::new()),
        Some(Membership::Members(members, partial)) => {
            if partial.is_none() {
                recent.retain(|id| members.contains(id));
            }
            members
        }
        Some(Membership::Unclear(_)) => BTreeSet::new(),
    };
    let standing = |id: ObjectId| {
        let standing = if members.contains(&id) {
            Standing::Member
        } else {
            Standing::Unknown
        };
        (id, standing)
    };
    Ok(recent.into_iter().map(standing).collect())
}

/// Why it is not known whether somebody is a member.
pub(super) fn in_doubt(group: &Dn) -> Error {
    let message = format!(
        "{group} names somebody whom nobody is, which may be another name of whoever this is about, since he or a unit above him \
         changed within the last hour, or since he left the base for members; try again once the server has mended that, or remove \
         the name from the group if nobody is meant. The service account should be able to read `{CHANGED}`, or everybody may have changed"
    );
    Error::new(ErrorKind::Conflict, message).with_retry(Retry::Later)
}

/// When an entry changed, in seconds since 1970.
pub(super) fn changed(entry: &Entry) -> Option<u64> {
    seconds(entry.texts(CHANGED).next()?)
}

/// Those whose names, or those of whatever is above them, changed not long ago, as far as anybody can tell.
async fn renamed_of_late<'p>(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    persons: impl Iterator<Item = (&'p ObjectId, &'p Person)>,
) -> Result<BTreeSet<ObjectId>> {
    let now = seconds_now();
    let is_recent = |changed: Option<u64>| changed.is_none_or(|changed| changed.saturating_add(RECENT) > now);
    let mut recent = BTreeSet::new();
    let mut units: BTreeMap<String, (Dn, Vec<&ObjectId>)> = BTreeMap::new();
    for (id, person) in persons {
        if is_recent(person.changed) {
            recent.insert(id.clone());
            continue;
        }
        let above = std::iter::successors(person.dn.parent(), Dn::parent);
        for unit in
            above.take_while(|unit| unit.is_within(&settings.member_base) && *unit != settings.member_base)
        {
            let (_, below) = units
                .entry(unit.key().to_owned())
                .or_insert_with(|| (unit, Vec::new()));
            below.push(id);
        }
    }
    let anything = Filter::present("objectClass").map_err(find::unfit)?;
    let searches = units.into_values().map(|(unit, below)| {
        let search = Search {
            base: Base::Dn(unit),
            scope: Scope::Base,
            filter: anything.clone(),
            attributes: vec![CHANGED.to_owned()],
            controls: features.search_controls(),
        };
        (below, search)
    });
    members::at_bases(session, searches, |below, found, _| {
        if is_recent(found.and_then(|found| changed(&found.entry))) {
            recent.extend(below.into_iter().cloned());
        }
    })
    .await?;
    Ok(recent)
}

#[cfg(test)]
mod tests;
