//! Finding groups and those who can be their members, by id.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::{Error, ErrorKind};
use usersync_model::{ObjectId, PartialKind, PartialReason};

use super::settings::{GroupSettings, MembersBy};
use super::{former, ids};
use crate::IdAttribute;
use crate::client::{
    Base, Control, FoundEntry, Item, LdapClient, PageLimits, Pages, RootDse, Search, Session, oid,
};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::sid::Sid;
use crate::url::Scope;

/// When an entry changed, its name among the rest.
pub(super) const CHANGED: &str = "modifyTimestamp";
/// How many ids one search looks for.
const IDS_AT_ONCE: usize = 50;
/// How many entries a page has: more than are looked for at once, so that one page does, and what any server grants.
const PAGE: u32 = 100;

/// What the server of a call can do.
#[derive(Clone, Debug)]
pub(super) struct Features {
    pub(super) active_directory: bool,
    pub(super) assertion: bool,
    pub(super) deref: bool,
    domain_scope: bool,
    contexts: Vec<Dn>,
}

/// A group that was found.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: ObjectId,
    pub(super) dn: Dn,
    /// Which entry to ask; with Active Directory by its GUID, so that a rename does not matter.
    pub(super) base: Base,
    pub(super) by: MembersBy,
    /// In Active Directory.
    pub(super) sid: Option<Sid>,
}

/// What became of the search for a group.
#[derive(Clone, Debug)]
pub(super) enum Sought {
    /// With all that was asked for.
    Group(Box<(Group, FoundEntry)>),
    Missing,
    /// It is not known whether there is one, which of several it is, or how it names its members.
    Unclear(PartialReason),
}

/// Somebody who can be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) dn: Dn,
    pub(super) logins: Vec<String>,
    /// When he changed, in seconds since 1970, if the server says so.
    pub(super) changed: Option<u64>,
    /// Whom Active Directory takes for a member although the group does not name him.
    pub(super) primary_group: Option<Sid>,
}

/// What became of the search for somebody.
#[derive(Clone, Debug)]
pub(super) enum SoughtPerson {
    Person(Box<Person>),
    Missing,
    Unclear(PartialReason),
}

impl Features {
    pub(super) async fn of(client: &LdapClient, session: &mut Session) -> Result<Self, Error> {
        Ok(Self::from(&*client.root_dse(session).await?))
    }

    /// The controls of every search: nothing of other naming contexts is wanted.
    pub(super) fn search_controls(&self) -> Vec<Control> {
        let scope = self
            .domain_scope
            .then(|| Control::new(oid::DOMAIN_SCOPE).critical());
        scope.into_iter().collect()
    }

    /// The naming context that `base` is in, or `base` itself where the server names none.
    pub(super) fn domain_of<'d>(&'d self, base: &'d Dn) -> &'d Dn {
        let above = self.contexts.iter().filter(|context| base.is_within(context));
        above.max_by_key(|context| context.key().len()).unwrap_or(base)
    }

    /// Whether the entry stands for one of another domain ([MS-ADTS] 6.1.1.4.10).
    pub(super) fn is_foreign(&self, dn: &Dn) -> bool {
        let parent = crate::dn::parent_key(dn.key());
        let context = parent.and_then(|parent| parent.strip_prefix("cn=foreignsecurityprincipals,"));
        self.active_directory
            && context.is_some_and(|context| self.contexts.iter().any(|known| known.key() == context))
    }
}

impl From<&RootDse> for Features {
    fn from(root_dse: &RootDse) -> Self {
        Self {
            active_directory: root_dse.is_active_directory(),
            assertion: root_dse.has_control(oid::ASSERTION),
            deref: root_dse.has_control(super::deref::OID),
            domain_scope: root_dse.has_control(oid::DOMAIN_SCOPE),
            contexts: root_dse.naming_contexts.clone(),
        }
    }
}

/// Looks for groups, and asks for `attributes` and `controls` besides what it takes to know them.
pub(super) async fn groups<'a>(
    session: &mut Session,
    features: &Features,
    settings: &'a GroupSettings,
    wanted: &[ObjectId],
    attributes: impl Iterator<Item = &'a str>,
    controls: Vec<Control>,
) -> Result<BTreeMap<ObjectId, Sought>, Error> {
    let mut names = BTreeSet::from([settings.group_id.name.as_str(), "objectClass"]);
    names.extend(attributes);
    if features.active_directory {
        names.extend(["objectGUID", "objectSid"]);
    }
    let place = (&settings.group_base, &settings.group_id);
    let (found, unseen) = by_ids(session, features, place, wanted, &names, controls).await?;
    let mut groups = BTreeMap::new();
    for (id, found) in found {
        let sought = match groups.remove(&id) {
            None => group(id.clone(), found, features, settings),
            Some(_) => Sought::Unclear(ambiguous(&id)),
        };
        groups.insert(id, sought);
    }
    for id in wanted {
        let missing = || unseen.clone().map_or(Sought::Missing, Sought::Unclear);
        groups.entry(id.clone()).or_insert_with(missing);
    }
    Ok(groups)
}

/// Looks for one group, and for its logins where it names its members by them.
pub(super) async fn group_for_change(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    wanted: &ObjectId,
) -> Result<Sought, Error> {
    let logins = settings.classes.iter().filter_map(|(_, by)| match by {
        MembersBy::Login(attribute) => Some(attribute.as_str()),
        MembersBy::Dn(_) => None,
    });
    let wanted = std::slice::from_ref(wanted);
    let mut found = groups(session, features, settings, wanted, logins, Vec::new()).await?;
    Ok(found.remove(&wanted[0]).unwrap_or(Sought::Missing))
}

/// Looks for those who can be members.
pub(super) async fn persons(
    session: &mut Session,
    features: &Features,
    settings: &GroupSettings,
    wanted: &[ObjectId],
) -> Result<BTreeMap<ObjectId, SoughtPerson>, Error> {
    let mut names = BTreeSet::from([
        settings.member_id.name.as_str(),
        settings.logins.as_str(),
        CHANGED,
    ]);
    if features.active_directory {
        names.extend(["objectSid", "primaryGroupID"]);
    }
    let place = (&settings.member_base, &settings.member_id);
    let (found, unseen) = by_ids(session, features, place, wanted, &names, Vec::new()).await?;
    let mut persons = BTreeMap::new();
    for (id, FoundEntry { entry, .. }) in found {
        let sought = match persons.remove(&id) {
            None => SoughtPerson::Person(Box::new(Person {
                dn: entry.dn().clone(),
                logins: entry.texts(&settings.logins).map(str::to_owned).collect(),
                changed: former::changed(&entry),
                primary_group: primary_group(&entry),
            })),
            Some(_) => SoughtPerson::Unclear(ambiguous(&id)),
        };
        persons.insert(id, sought);
    }
    for id in wanted {
        let missing = || {
            unseen
                .clone()
                .map_or(SoughtPerson::Missing, SoughtPerson::Unclear)
        };
        persons.entry(id.clone()).or_insert_with(missing);
    }
    Ok(persons)
}

/// The SID of the primary group of a user of Active Directory.
pub(super) fn primary_group(entry: &Entry) -> Option<Sid> {
    let rid = entry.texts("primaryGroupID").next()?.parse().ok()?;
    Some(sid(entry)?.with_rid(rid))
}

fn sid(entry: &Entry) -> Option<Sid> {
    Sid::from_bytes(entry.values("objectSid").next()?)
}

/// Everything that a search finds, and whether some of it is elsewhere.
pub(super) async fn everything(
    session: &mut Session,
    search: Search,
    at_most: usize,
) -> Result<(Vec<FoundEntry>, bool), Error> {
    let entries = at_most as u64;
    let limits = PageLimits {
        size: PAGE,
        entries,
        pages: entries.saturating_add(64),
    };
    let (mut found, mut elsewhere) = (Vec::new(), false);
    let mut pages = Pages::new(search, limits);
    while let Some(item) = pages.next(session).await? {
        match item {
            Item::Entry(entry) => found.push(entry),
            Item::Reference => elsewhere = true,
            Item::Intermediate { .. } => {}
        }
    }
    Ok((found, elsewhere))
}

/// Why what was not found may be there all the same.
pub(super) fn elsewhere() -> PartialReason {
    PartialReason::new(PartialKind::Unreadable, "a part of the tree is on another server")
}

/// A setting that no filter can be made of.
pub(super) fn unfit(error: FilterError) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        "no filter can be made of an id or of the settings",
    )
    .with_source(error)
}

/// The entries with these ids, and why those that are not among them may exist all the same. That nothing is found counts only
/// below a base that is shown.
async fn by_ids(
    session: &mut Session,
    features: &Features,
    (base, attribute): (&Dn, &IdAttribute),
    wanted: &[ObjectId],
    names: &BTreeSet<&str>,
    controls: Vec<Control>,
) -> Result<(Vec<(ObjectId, FoundEntry)>, Option<PartialReason>), Error> {
    let (mut all, mut referred, mut without_id) = (Vec::new(), false, None);
    for batch in wanted.chunks(IDS_AT_ONCE) {
        let filters: Vec<_> = batch
            .iter()
            .filter_map(|id| ids::filter(attribute, id).transpose())
            .collect::<Result<_, _>>()
            .map_err(unfit)?;
        if filters.is_empty() {
            continue;
        }
        let search = Search {
            base: Base::Dn(base.clone()),
            scope: Scope::Subtree,
            filter: Filter::any(filters).map_err(unfit)?,
            attributes: names.iter().map(|&name| name.to_owned()).collect(),
            controls: [features.search_controls(), controls.clone()].concat(),
        };
        let (found, elsewhere) = everything(session, search, 2 * IDS_AT_ONCE).await?;
        referred |= elsewhere;
        // The server may compare values by looser rules than ids are compared by.
        let batch: BTreeSet<_> = batch.iter().collect();
        for found in found {
            match ids::id_of(&found.entry, attribute) {
                Some(id) if batch.contains(&id) => all.push((id, found)),
                Some(_) => {}
                None => {
                    without_id.get_or_insert_with(|| no_single_id(found.entry.dn(), attribute));
                }
            }
        }
    }
    let known: BTreeSet<_> = all.iter().map(|(id, _)| id).collect();
    if wanted.iter().any(|id| !known.contains(id)) {
        session.expect(base).await?;
    }
    Ok((all, without_id.or_else(|| referred.then(elsewhere))))
}

/// Why it is not known which of those who were looked for an entry is.
fn no_single_id(dn: &Dn, attribute: &IdAttribute) -> PartialReason {
    let detail = format!(
        "`{dn}` was found by its id and shows none, or more than one; let the service account read `{name}`, or give it one value",
        name = attribute.name
    );
    PartialReason::new(PartialKind::Unreadable, detail)
}

fn group(id: ObjectId, found: FoundEntry, features: &Features, settings: &GroupSettings) -> Sought {
    let Some(by) = settings.members_by(found.entry.texts("objectClass")) else {
        let detail = format!(
            "{} is of no class that is known as one of groups; name its class with `with_class`",
            found.entry.dn()
        );
        return Sought::Unclear(PartialReason::new(PartialKind::Unreadable, detail));
    };
    let dn = found.entry.dn().clone();
    let guid = found
        .entry
        .values("objectGUID")
        .next()
        .filter(|_| features.active_directory);
    let base = match guid.and_then(|guid| guid.try_into().ok()) {
        Some(guid) => Base::Guid(guid),
        None => Base::Dn(dn.clone()),
    };
    let group = Group {
        id,
        dn,
        base,
        by: by.clone(),
        sid: sid(&found.entry).filter(|_| features.active_directory),
    };
    Sought::Group(Box::new((group, found)))
}

fn ambiguous(id: &ObjectId) -> PartialReason {
    PartialReason::new(
        PartialKind::Contradiction,
        format!("several entries have the id {id}; give each its own, or narrow the base"),
    )
}
