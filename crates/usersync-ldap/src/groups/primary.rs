//! Members whom Active Directory has by their primary group.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::Error;
use usersync_model::{PartialKind, PartialReason};

use super::find::{self, Features, Group};
use super::ids;
use super::members::{Named, Unknown, by_guid};
use super::settings::GroupSettings;
use crate::client::{Base, FoundEntry, Search, Session};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::sid::Sid;
use crate::url::Scope;

/// Those who are members although their groups do not name them.
pub(super) struct Primary {
    pub(super) members: BTreeMap<Sid, Vec<Named>>,
    /// Why there may be others.
    pub(super) unseen: Option<PartialReason>,
}

/// Whose primary group each of the groups is, where there is such a thing. They are of the domain of the group.
pub(super) async fn members(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    groups: &[Group],
) -> Result<Primary, Error> {
    let mut members: BTreeMap<Sid, Vec<Named>> = groups
        .iter()
        .filter_map(|group| Some((group.sid.clone()?, Vec::new())))
        .collect();
    if members.is_empty() {
        let unseen = None;
        return Ok(Primary { members, unseen });
    }
    let rids: BTreeSet<_> = members.keys().map(Sid::rid).collect();
    let filters: Result<Vec<_>, _> = rids
        .into_iter()
        .map(|rid| Filter::equal("primaryGroupID", rid.to_string()))
        .collect();
    let search = Search {
        base: Base::Dn(features.domain_of(&settings.group_base).clone()),
        scope: Scope::Subtree,
        filter: Filter::any(filters.map_err(find::unfit)?).map_err(find::unfit)?,
        attributes: [settings.member_id.name.as_str(), "objectSid", "primaryGroupID"]
            .map(str::to_owned)
            .to_vec(),
        controls: features.search_controls(),
    };
    let (found, elsewhere) = find::everything(session, search, settings.max_members).await?;
    let mut unseen = elsewhere.then(find::elsewhere);
    for FoundEntry { entry, .. } in found {
        let Some(sid) = find::primary_group(&entry) else {
            unseen.get_or_insert_with(|| no_sid(entry.dn()));
            continue;
        };
        let Some(group) = members.get_mut(&sid) else {
            continue;
        };
        let unknown = |why| Named::Unknown(entry.dn().to_string(), why);
        group.push(match ids::id_of(&entry, &settings.member_id) {
            Some(id) if by_guid(settings) || entry.dn().is_within(&settings.member_base) => Named::Known(id),
            Some(_) => unknown(Unknown::Outside),
            None => unknown(Unknown::Hidden),
        });
    }
    Ok(Primary { members, unseen })
}

fn no_sid(dn: &Dn) -> PartialReason {
    let detail = format!(
        "`{dn}` does not show which domain its primary group is of; let the service account read its SID"
    );
    PartialReason::new(PartialKind::Unreadable, detail)
}
