//! From the values of groups to the ids of their members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use usersync_connector::{Error, ErrorKind};
use usersync_model::{ObjectId, PartialKind, PartialReason};

use super::find::{self, Features, Group, Sought};
use super::presence::{at_group, back_link};
use super::primary;
use super::settings::{GroupSettings, MembersBy};
use super::{deref, ids};
use crate::IdEncoding;
use crate::changes::{RangeLimits, complete_ranges};
use crate::client::ber::{self, INTEGER, SEQUENCE};
use crate::client::{Base, Code, Control, Found, FoundEntry, Item, Search, Session, oid};
use crate::dn::Dn;
use crate::dn::extended::extended_dn;
use crate::filter::Filter;
use crate::url::Scope;

/// How many look-ups are under way at once. OpenLDAP ends a connection on which 100 wait.
const LOOKUPS_AT_ONCE: usize = 64;
/// How many logins one search looks for.
const LOGINS_AT_ONCE: usize = 50;
/// How many names of members are kept for the groups that come later in the same read.
const KEPT_NAMES: usize = 100_000;
/// What the SID of every account and group of a domain begins with.
const OF_A_DOMAIN: &str = "S-1-5-21-";
const NO_SUCH_OBJECT: u32 = 32;
const INSUFFICIENT_ACCESS: u32 = 50;

/// What is known of the members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// These, and perhaps others, if there is a reason.
    Members(BTreeSet<ObjectId>, Option<PartialReason>),
    /// There is no such group.
    Missing,
    /// Not even whether there is one.
    Unclear(PartialReason),
}

/// Whom the names that were looked up in one read stand for.
#[derive(Debug, Default)]
pub(super) struct Names {
    dns: BTreeMap<String, Meaning>,
    logins: BTreeMap<String, Meaning>,
}

/// Whom a name stands for; or why that is not known.
type Meaning = Result<ObjectId, Unknown>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unknown {
    Ambiguous,
    Failed(String),
    Foreign,
    Hidden,
    Malformed,
    Nobody,
    Outside,
}

/// A member as a value of the group names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Dn(Dn),
    Known(ObjectId),
    Login(String),
    /// Nobody in particular.
    Nobody,
    Unknown(String, Unknown),
}

/// Reads the members of groups.
pub(super) async fn read(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    wanted: &[ObjectId],
    names: &mut Names,
) -> Result<BTreeMap<ObjectId, Membership>, Error> {
    let attributes = settings.classes.iter().map(|(_, by)| by.attribute());
    let controls = value_controls(features, settings);
    let found = find::groups(session, features, settings, wanted, attributes, controls.clone()).await?;
    let mut read = BTreeMap::new();
    let mut found_groups = Vec::new();
    for (id, sought) in found {
        match sought {
            Sought::Group(group) => found_groups.push(*group),
            Sought::Missing => {
                read.insert(id, Membership::Missing);
            }
            Sought::Unclear(reason) => {
                read.insert(id, Membership::Unclear(reason));
            }
        }
    }
    let mut groups = Vec::with_capacity(found_groups.len());
    let mut named = Vec::with_capacity(found_groups.len());
    for (group, found) in found_groups {
        note_shown(&found, settings, names);
        let limits = RangeLimits {
            values: settings.max_members,
            controls: &controls,
        };
        let (entry, cut) = complete_ranges(session, found, limits).await?;
        let values = entry.values(group.by.attribute());
        let mut members: Vec<_> = values
            .map(|value| name(value, &group.by, features, settings))
            .collect();
        let too_many = (members.len() > settings.max_members).then(|| {
            members.truncate(settings.max_members);
            let detail = format!(
                "{} has more than {} members; raise the limit if they are real",
                group.dn,
                members.len()
            );
            PartialReason::new(PartialKind::Limit, detail)
        });
        named.push((members, too_many.or(cut)));
        groups.push(group);
    }
    look_up_dns(session, features, settings, unknown_dns(&named, names), names).await?;
    look_up_logins(session, features, settings, unknown_logins(&named, names), names).await?;
    let empty = groups
        .iter()
        .zip(&named)
        .filter(|(_, (members, _))| members.is_empty());
    let hidden = hidden(session, features, settings, empty.map(|(group, _)| group)).await?;
    let primary = primary::members(session, features, settings, &groups).await?;
    for (group, (mut members, partial)) in groups.into_iter().zip(named) {
        let hidden = hidden.contains(&group.id).then(|| {
            let detail = format!(
                "{} shows no {}, and not that it has none",
                group.dn,
                group.by.attribute()
            );
            PartialReason::new(PartialKind::Unreadable, detail)
        });
        let mut unseen = None;
        if let Some(of_group) = group.sid.as_ref().and_then(|sid| primary.members.get(sid)) {
            members.extend_from_slice(of_group);
            unseen.clone_from(&primary.unseen);
        }
        let (ids, unknown) = resolved(&members, names);
        let partial = partial.or(hidden).or(unknown).or(unseen);
        read.insert(group.id, Membership::Members(ids, partial));
    }
    if names.dns.len() + names.logins.len() > KEPT_NAMES {
        *names = Names::default();
    }
    Ok(read)
}

/// How a login is compared: as directories are read, too.
pub(super) fn folded(login: &str) -> String {
    login.trim().to_ascii_lowercase()
}

/// Makes searches that find one entry at most, a bounded number at a time, and gives what came of each to `settle`. One that finds
/// more fails, or it might never end.
pub(super) async fn at_bases<K>(
    session: &mut Session,
    searches: impl Iterator<Item = (K, Search)>,
    mut settle: impl FnMut(K, Option<FoundEntry>, Code),
) -> Result<(), Error> {
    let mut open: VecDeque<(K, Found)> = VecDeque::with_capacity(LOOKUPS_AT_ONCE);
    let mut searches = searches.fuse();
    loop {
        while open.len() < LOOKUPS_AT_ONCE
            && let Some((key, search)) = searches.next()
        {
            open.push_back((key, session.search(&search).await?));
        }
        let Some((key, mut found)) = open.pop_front() else {
            return Ok(());
        };
        let mut entry = None;
        while let Some(item) = found.next().await? {
            if let Item::Entry(found) = item
                && entry.replace(found).is_some()
            {
                let message = "the server shows more entries than the one that was asked for";
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
        }
        let (code, _) = found.end().await;
        settle(key, entry, code);
    }
}

/// What lets values bring ids with them.
fn value_controls(features: &Features, settings: &GroupSettings) -> Vec<Control> {
    if features.active_directory {
        let mut flag = Vec::new();
        ber::push_number(&mut flag, INTEGER, 0);
        let mut value = Vec::new();
        ber::push(&mut value, SEQUENCE, &flag);
        return vec![Control::new(oid::EXTENDED_DN).critical().with_value(value)];
    }
    let attributes: BTreeSet<_> = settings
        .classes
        .iter()
        .filter_map(|(_, by)| match by {
            // Its syntax is not that of a DN everywhere, and then the whole search is refused.
            MembersBy::Dn(attribute) if !attribute.eq_ignore_ascii_case("uniqueMember") => {
                Some(attribute.as_str())
            }
            _ => None,
        })
        .collect();
    if features.deref && !attributes.is_empty() {
        vec![deref::request(attributes.into_iter(), &settings.member_id.name)]
    } else {
        Vec::new()
    }
}

/// Notes whom the server told without being asked again. What it did not tell is looked up.
fn note_shown(found: &FoundEntry, settings: &GroupSettings, names: &mut Names) {
    let shown = found
        .control(deref::OID)
        .and_then(|control| deref::answer(control).ok());
    for entry in shown.into_iter().flatten() {
        if let Some(id) = ids::id_of(&entry, &settings.member_id)
            && entry.dn().is_within(&settings.member_base)
        {
            names.dns.insert(entry.dn().key().to_owned(), Ok(id));
        }
    }
}

fn name(value: &[u8], by: &MembersBy, features: &Features, settings: &GroupSettings) -> Named {
    let unknown = |why| Named::Unknown(String::from_utf8_lossy(value).into_owned(), why);
    let Ok(text) = std::str::from_utf8(value) else {
        return unknown(Unknown::Malformed);
    };
    if let MembersBy::Login(_) = by {
        return Named::Login(folded(text));
    }
    if text.trim().is_empty() {
        return Named::Nobody;
    }
    let (dn, guid, sid) = match extended_dn(text) {
        Some(name) => (name.dn, name.guid, name.sid),
        None => return unknown(Unknown::Malformed),
    };
    if settings.is_nobody(&dn) {
        return Named::Nobody;
    }
    let unknown = |why| Named::Unknown(dn.to_string(), why);
    let is_foreign = features.is_foreign(&dn);
    if is_foreign && sid.is_some_and(|sid| !sid.to_string().starts_with(OF_A_DOMAIN)) {
        return Named::Nobody;
    }
    if let Some(id) = guid.filter(|_| by_guid(settings)).and_then(ids::id_of_guid) {
        return Named::Known(id);
    }
    if is_foreign {
        unknown(Unknown::Foreign)
    } else if dn.is_within(&settings.member_base) {
        Named::Dn(dn)
    } else {
        unknown(Unknown::Outside)
    }
}

/// Whether an id that comes with the value tells whoever it is from everybody else, wherever the entry is.
pub(super) fn by_guid(settings: &GroupSettings) -> bool {
    settings.member_id.encoding == IdEncoding::Guid
        && settings.member_id.name.eq_ignore_ascii_case("objectGUID")
}

fn unknown_dns(named: &[(Vec<Named>, Option<PartialReason>)], names: &Names) -> BTreeMap<String, Dn> {
    let members = named.iter().flat_map(|(members, _)| members);
    members
        .filter_map(|member| match member {
            Named::Dn(dn) if !names.dns.contains_key(dn.key()) => Some((dn.key().to_owned(), dn.clone())),
            _ => None,
        })
        .collect()
}

fn unknown_logins(named: &[(Vec<Named>, Option<PartialReason>)], names: &Names) -> Vec<String> {
    let members = named.iter().flat_map(|(members, _)| members);
    let logins: BTreeSet<_> = members
        .filter_map(|member| match member {
            Named::Login(login) if !names.logins.contains_key(login) => Some(login),
            _ => None,
        })
        .collect();
    logins.into_iter().cloned().collect()
}

async fn look_up_dns(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    dns: BTreeMap<String, Dn>,
    names: &mut Names,
) -> Result<(), Error> {
    let anything = Filter::present("objectClass").map_err(find::unfit)?;
    let searches = dns.into_iter().map(|(key, dn)| {
        let search = Search {
            base: Base::Dn(dn),
            scope: Scope::Base,
            filter: anything.clone(),
            attributes: vec![settings.member_id.name.clone()],
            controls: features.search_controls(),
        };
        (key, search)
    });
    at_bases(session, searches, |key, found, code| {
        let meaning = match found {
            _ if code.number == NO_SUCH_OBJECT => Err(Unknown::Nobody),
            _ if code.number == INSUFFICIENT_ACCESS => Err(Unknown::Hidden),
            _ if !code.is_success() => Err(Unknown::Failed(code.to_string())),
            Some(found) => ids::id_of(&found.entry, &settings.member_id).ok_or(Unknown::Hidden),
            None => Err(Unknown::Hidden),
        };
        names.dns.insert(key, meaning);
    })
    .await
}

async fn look_up_logins(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    logins: Vec<String>,
    names: &mut Names,
) -> Result<(), Error> {
    for wanted in logins.chunks(LOGINS_AT_ONCE) {
        let filters: Result<Vec<_>, _> = wanted
            .iter()
            .map(|login| Filter::equal(&settings.logins, login))
            .collect();
        let search = Search {
            base: Base::Dn(settings.member_base.clone()),
            scope: Scope::Subtree,
            filter: Filter::any(filters.map_err(find::unfit)?).map_err(find::unfit)?,
            attributes: vec![settings.member_id.name.clone(), settings.logins.clone()],
            controls: features.search_controls(),
        };
        let (found, elsewhere) = find::everything(session, search, settings.max_members).await?;
        for FoundEntry { entry, .. } in found {
            let id = ids::id_of(&entry, &settings.member_id).ok_or(Unknown::Hidden);
            for login in entry.texts(&settings.logins) {
                note_login(&mut names.logins, folded(login), &id);
            }
        }
        let nobody = if elsewhere {
            Unknown::Hidden
        } else {
            Unknown::Nobody
        };
        for login in wanted {
            let nobody = || Err(nobody.clone());
            names.logins.entry(login.clone()).or_insert_with(nobody);
        }
    }
    Ok(())
}

fn note_login(logins: &mut BTreeMap<String, Meaning>, login: String, id: &Meaning) {
    let known = logins.entry(login).or_insert_with(|| id.clone());
    if known != id {
        *known = Err(Unknown::Ambiguous);
    }
}

/// The groups that show no member, and not that they have none: rights may hide it.
async fn hidden<'g>(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    groups: impl Iterator<Item = &'g Group>,
) -> Result<BTreeSet<ObjectId>, Error> {
    let mut searches = Vec::new();
    for group in groups {
        let any = Filter::present(group.by.attribute()).map_err(find::unfit)?;
        let none = at_group(group, features, Filter::not(any).map_err(find::unfit)?);
        searches.push(((group, true), none));
        if features.active_directory {
            // Samba takes what may not be read for absent; the other end of the links may be readable.
            let mut links = at_group(group, features, back_link(group)?);
            links.base = Base::Dn(settings.member_base.clone());
            links.scope = Scope::Subtree;
            links.controls.push(Control::page(1, &[]));
            searches.push(((group, false), links));
        }
    }
    let mut hidden = BTreeSet::new();
    at_bases(session, searches.into_iter(), |(group, wanted), found, code| {
        if !code.is_success() || found.is_some() != wanted {
            hidden.insert(group.id.clone());
        }
    })
    .await?;
    Ok(hidden)
}

/// The ids of members, and why there may be more.
fn resolved(members: &[Named], names: &Names) -> (BTreeSet<ObjectId>, Option<PartialReason>) {
    let (mut ids, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    let nobody = || Err(Unknown::Nobody);
    for member in members {
        let (name, meaning) = match member {
            Named::Nobody => continue,
            Named::Known(id) => (String::new(), Ok(id.clone())),
            Named::Dn(dn) => (
                dn.to_string(),
                names.dns.get(dn.key()).cloned().unwrap_or_else(nobody),
            ),
            Named::Login(login) => (
                login.clone(),
                names.logins.get(login).cloned().unwrap_or_else(nobody),
            ),
            Named::Unknown(name, why) => (name.clone(), Err(why.clone())),
        };
        match meaning {
            Ok(id) => {
                ids.insert(id);
            }
            Err(why) => {
                unknown.insert((why, name));
            }
        }
    }
    let count = unknown.len();
    let reason = unknown.pop_first().map(|(why, name)| {
        let (kind, text) = why.told();
        let others = if count > 1 {
            format!(", and {} others are unknown, too", count - 1)
        } else {
            String::new()
        };
        PartialReason::new(kind, format!("`{name}` {text}{others}"))
    });
    (ids, reason)
}

impl Unknown {
    fn told(&self) -> (PartialKind, String) {
        let (kind, text) = match self {
            Self::Ambiguous => (PartialKind::Contradiction, "stands for more than one entry"),
            Self::Failed(code) => {
                return (PartialKind::Failed, format!("could not be looked up: {code}"));
            }
            Self::Foreign => (PartialKind::UnknownMember, "is of another domain"),
            Self::Hidden => (
                PartialKind::Unreadable,
                "shows no single id; let the service account read it",
            ),
            Self::Malformed => (PartialKind::UnknownMember, "is no name"),
            Self::Nobody => (
                PartialKind::UnknownMember,
                "names no entry that can be seen; if it is gone, remove it from the group",
            ),
            Self::Outside => (PartialKind::UnknownMember, "is outside of the base for members"),
        };
        (kind, text.to_owned())
    }
}
