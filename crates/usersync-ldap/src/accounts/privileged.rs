//! Who is privileged by a group.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::{Error, ErrorKind};
use usersync_model::{PartialKind, PartialReason, PrincipalKind};

use super::walk::{Lookups, Visit};
use crate::client::{Base, Search, reason};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::read::LdapProfile;
use crate::rules::{
    ClassRule, EntryRules, MemberSource, Role, Seen, look, number, numbers_of_group, query_base,
};
use crate::url::{LdapUrl, Scope};

/// How the members of the privileged groups, direct and nested, are told: by what an entry shows of itself.
#[derive(Debug, Default)]
pub(crate) struct Privileged {
    /// Keys of names.
    names: BTreeSet<String>,
    /// Those of them that are no groups, unless they are groups that are not shown.
    unseen: BTreeSet<String>,
    /// Units below which everybody is.
    units: Vec<Dn>,
    /// Folded logins and addresses by the attributes that hold them with the members.
    logins: BTreeSet<String>,
    addresses: BTreeSet<String>,
    /// Numbers of primary groups by where they are held.
    numbers: BTreeMap<MemberSource, BTreeSet<String>>,
    /// Keys of groups by the attribute of the members that names them.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// Why there may be others.
    pub(crate) flaw: Option<PartialReason>,
}

impl Privileged {
    /// Reads the groups that the profile's rules name, and those nested in them. What they do not show makes a flaw.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) async fn read(visit: &Visit, profile: &LdapProfile) -> Result<Self, Error> {
        let mut found = Self::default();
        if profile.rules.privileged_groups.is_empty() {
            return Ok(found);
        }
        let mut reading = Reading {
            visit,
            profile,
            attributes: profile.rules.attributes(),
            lookups: visit.lookups(Vec::new()),
            groups: BTreeSet::new(),
            by_address: BTreeMap::new(),
            found: &mut found,
            open: Vec::new(),
        };
        if let Err(error) = reading.everything().await {
            if error.kind() != ErrorKind::LimitExceeded {
                return Err(error);
            }
            found.flawed(reason(&error));
        }
        Ok(found)
    }

    /// Looks at members that were taken for users, and that the read did not show as such: they may be groups.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) async fn check(
        &mut self,
        shown: &BTreeSet<&str>,
        rules: &EntryRules,
        lookups: &mut Lookups,
    ) -> Result<(), Error> {
        let attributes = rules.attributes();
        for key in std::mem::take(&mut self.unseen) {
            if shown.contains(&*key) {
                continue;
            }
            let Ok(dn) = Dn::parse(&key) else { continue };
            let entry = lookups.entry(&dn, &attributes).await?;
            let is_known = entry.is_some_and(|entry| match look(&entry, rules) {
                Seen::Principal { principal, .. } => !principal.kind.is_group(),
                Seen::Foreign | Seen::Other => true,
                Seen::MissingClass | Seen::MissingId => false,
            });
            if !is_known {
                self.flawed(unknown(&dn));
            }
        }
        Ok(())
    }

    /// Whether the entry of a user or a resource is in one of the groups.
    pub(crate) fn holds(&self, entry: &Entry, rules: &EntryRules) -> bool {
        let key = entry.dn().key();
        let any_of = |attributes: &[String], known: &BTreeSet<String>| {
            !known.is_empty()
                && attributes
                    .iter()
                    .flat_map(|name| entry.texts(name))
                    .any(|text| known.contains(&folded(text)))
        };
        self.names.contains(key)
            || self.units.iter().any(|unit| entry.dn().is_within(unit))
            || any_of(&rules.logins, &self.logins)
            || any_of(&rules.addresses, &self.addresses)
            || self.numbers.iter().any(|(source, numbers)| {
                number(entry, source).is_some_and(|number| numbers.contains(&number))
            })
            || self.groups.iter().any(|(attribute, groups)| {
                entry
                    .texts(attribute)
                    .filter_map(|text| Dn::parse(text).ok())
                    .any(|dn| groups.contains(dn.key()))
            })
    }

    /// The first flaw is told.
    fn flawed(&mut self, reason: PartialReason) {
        self.flaw.get_or_insert(reason);
    }
}

struct Reading<'r> {
    visit: &'r Visit,
    profile: &'r LdapProfile,
    attributes: Vec<String>,
    lookups: Lookups,
    /// Keys of the names of all groups below the base.
    groups: BTreeSet<String>,
    /// Those of them that have addresses, by these, folded.
    by_address: BTreeMap<String, Vec<Dn>>,
    found: &'r mut Privileged,
    /// Members that are groups, or may be.
    open: Vec<Dn>,
}

impl Reading<'_> {
    async fn everything(&mut self) -> Result<(), Error> {
        self.read_groups().await?;
        for dn in &self.profile.rules.privileged_groups {
            let is_group = match self.lookups.entry(dn, &self.attributes).await? {
                Some(entry) => self.expand(&entry).await?,
                None => false,
            };
            if !is_group {
                self.found.flawed(PartialReason::new(
                    PartialKind::Unreadable,
                    format!("the privileged group `{dn}` is not shown; let the service account read it, or correct the rules"),
                ));
            }
        }
        while let Some(dn) = self.open.pop() {
            match self.lookups.entry(&dn, &self.attributes).await? {
                Some(entry) => drop(self.expand(&entry).await?),
                None => self.found.flawed(unknown(&dn)),
            }
        }
        self.lookups.end();
        Ok(())
    }

    /// Reads which entries are groups: of a group's members, only those have to be looked at.
    async fn read_groups(&mut self) -> Result<(), Error> {
        let of_groups = |rule: &&ClassRule| matches!(rule.role, Role::Principal(PrincipalKind::Group(_)));
        let classes = self.profile.rules.classes.iter().filter(of_groups);
        let filter = classes
            .map(|rule| Filter::equal("objectClass", &rule.class))
            .collect::<Result<Vec<_>, _>>()
            .and_then(Filter::any)
            .map_err(unfit)?;
        let addresses = &self.profile.rules.addresses;
        let mut search = names_of(self.profile.base.clone(), Scope::Subtree, filter);
        if !addresses.is_empty() {
            search.attributes.clone_from(addresses);
        }
        let mut walk = self.visit.walk(search);
        while let Some(found) = walk.next().await? {
            let entry = found.entry;
            self.groups.insert(entry.dn().key().to_owned());
            for address in addresses.iter().flat_map(|name| entry.texts(name)) {
                let groups = self.by_address.entry(folded(address)).or_default();
                groups.push(entry.dn().clone());
            }
        }
        Ok(())
    }

    /// Notes whom the entry names, if it is a group; whether it is one.
    async fn expand(&mut self, entry: &Entry) -> Result<bool, Error> {
        let rules = &self.profile.rules;
        let (principal, matching) = match look(entry, rules) {
            Seen::Principal { principal, rules } => (principal, rules),
            Seen::Foreign | Seen::Other => return Ok(false),
            Seen::MissingClass | Seen::MissingId => {
                let detail = format!(
                    "nobody can tell whether `{}`, a member of a privileged group, is a group, too; let the service account read its class and id",
                    entry.dn()
                );
                self.found
                    .flawed(PartialReason::new(PartialKind::Unreadable, detail));
                return Ok(true);
            }
        };
        if !principal.kind.is_group() {
            return Ok(false);
        }
        let sources: BTreeSet<&MemberSource> = matching.iter().flat_map(|rule| &rule.members).collect();
        for &source in &sources {
            self.members(entry, source).await?;
        }
        let listed = sources.iter().filter_map(|source| source.listed());
        if listed.clone().all(|name| entry.values(name).next().is_none()) {
            let demands_members = matching.iter().any(|rule| rule.demands_members);
            if demands_members || self.may_hide(entry.dn(), &sources).await? {
                self.found.flawed(PartialReason::new(
                    PartialKind::Unreadable,
                    format!(
                        "the privileged group `{}` shows no members, and not that it has none; let the service account read them",
                        entry.dn()
                    ),
                ));
            }
        }
        Ok(true)
    }

    /// Whether a group that lists no members may have some all the same: a filter on what may not be read is neither true nor
    /// false. Addresses are left out, since there are attributes for them that schemas do not have.
    async fn may_hide(&mut self, group: &Dn, sources: &BTreeSet<&MemberSource>) -> Result<bool, Error> {
        for source in sources {
            let (MemberSource::Dn(name) | MemberSource::Login(name)) = source else {
                continue;
            };
            let none = Filter::present(name).and_then(Filter::not).map_err(unfit)?;
            if !self.lookups.is_found(group, none).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn members(&mut self, entry: &Entry, source: &MemberSource) -> Result<(), Error> {
        match source {
            MemberSource::Address(name) => {
                for address in entry.texts(name).map(folded) {
                    // It may be that of a group.
                    for dn in self.by_address.get(&address).cloned().unwrap_or_default() {
                        self.note(dn);
                    }
                    self.found.addresses.insert(address);
                }
            }
            MemberSource::Below => self.found.units.push(entry.dn().clone()),
            MemberSource::Dn(name) => {
                let has_bits = name.eq_ignore_ascii_case("uniqueMember");
                for text in entry.texts(name) {
                    self.member(if has_bits { without_bits(text) } else { text });
                }
            }
            MemberSource::Login(name) => self.found.logins.extend(entry.texts(name).map(folded)),
            MemberSource::MemberOf(name) => {
                let groups = self.found.groups.entry(name.clone()).or_default();
                groups.insert(entry.dn().key().to_owned());
            }
            MemberSource::PrimaryGid | MemberSource::PrimaryRid => {
                if let Some(number) = numbers_of_group(entry, source) {
                    self.found
                        .numbers
                        .entry(source.clone())
                        .or_default()
                        .insert(number);
                }
            }
            MemberSource::Query(name) => {
                for text in entry.texts(name) {
                    self.query(entry, name, text).await?;
                }
            }
        }
        Ok(())
    }

    /// Notes a member by the text of its name. The root names nobody.
    fn member(&mut self, text: &str) {
        match Dn::parse(text) {
            Ok(dn) => self.note(dn),
            Err(error) => self.found.flawed(PartialReason::new(
                PartialKind::UnknownMember,
                format!("a member of a privileged group has a malformed name: {error}"),
            )),
        }
    }

    fn note(&mut self, dn: Dn) {
        let key = dn.key();
        if dn.is_root() || !self.found.names.insert(key.to_owned()) {
            return;
        }
        if self.groups.contains(key) || !dn.is_within(&self.profile.base) {
            self.open.push(dn);
        } else {
            self.found.unseen.insert(key.to_owned());
        }
    }

    async fn query(&mut self, entry: &Entry, attribute: &str, text: &str) -> Result<(), Error> {
        let Some(search) = search(entry, attribute, text) else {
            self.found.flawed(PartialReason::new(
                PartialKind::UnknownMember,
                format!(
                    "the query of the privileged group `{}` is not understood",
                    entry.dn()
                ),
            ));
            return Ok(());
        };
        let mut walk = self.visit.walk(search);
        loop {
            match walk.next().await {
                Ok(Some(found)) => self.note(found.entry.dn().clone()),
                Ok(None) => return Ok(()),
                // The base of the query is gone, so that it finds nobody.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn unfit(error: FilterError) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("the rules of the profile make no search: {error}"),
    )
}

fn unknown(dn: &Dn) -> PartialReason {
    PartialReason::new(
        PartialKind::UnknownMember,
        format!(
            "`{dn}` is a member of a privileged group and is not shown; let the service account read it, or end its membership"
        ),
    )
}

/// The search that a group with a query means.
fn search(entry: &Entry, attribute: &str, text: &str) -> Option<Search> {
    let (base, scope, filter) = match query_base(attribute) {
        Some(base) => {
            let base = Dn::parse(entry.texts(base).next()?).ok()?;
            (base, Scope::Subtree, Filter::parse(text).ok()?)
        }
        None => {
            let url = LdapUrl::parse(text).ok().filter(|url| url.server.is_none())?;
            (url.base, url.scope, url.filter)
        }
    };
    Some(names_of(base, scope, filter))
}

/// A search for nothing but names.
fn names_of(base: Dn, scope: Scope, filter: Filter) -> Search {
    Search {
        base: Base::Dn(base),
        scope,
        filter,
        // None (RFC 4511, section 4.5.1.8).
        attributes: vec!["1.1".to_owned()],
        controls: Vec::new(),
    }
}

/// The DN of a name with an optional unique identifier (RFC 4517, section 3.3.21).
fn without_bits(text: &str) -> &str {
    text.strip_suffix("'B")
        .and_then(|text| text.rsplit_once("#'"))
        .filter(|(_, bits)| bits.bytes().all(|b| matches!(b, b'0' | b'1')))
        .map_or(text, |(dn, _)| dn)
}

fn folded(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
