//! The directory exports that the acts read, as directories.

use std::collections::{BTreeMap, BTreeSet};

use usersync::connector::Directory;
use usersync::connector::adapt::DirectoryFn;
use usersync::ldap::{Dn, LdifContents, LdifDirectory, LdifProfile};
use usersync::model::{
    Activity, DirectoryChange, GraphBuilder, GroupKind, ListKind, ObjectId, PrincipalKind, PrincipalRef,
    ResolvePolicy, Scratch, Selection, SystemId,
};

use crate::Outcome;

pub(crate) const JANUARY: &[u8] = include_bytes!("../data/org-2026-01.ldif");
pub(crate) const FEBRUARY: &[u8] = include_bytes!("../data/org-2026-02.ldif");

/// An export as a directory. The exports end with a comment, so that one that was cut off is noticed.
pub(crate) fn directory(system: &SystemId, export: &[u8]) -> Outcome<LdifDirectory> {
    let mut profile = LdifProfile::default();
    profile.trailer = Some("end of export".to_owned());
    let administrators = "cn=Directory Administrators,cn=Roles,dc=example,dc=org";
    profile.rules.privileged_groups = vec![Dn::parse(administrators)?];
    Ok(LdifDirectory::from_bytes(system.clone(), export).with_profile(profile))
}

/// The same directory with the accounts of everyone of `units` locked.
pub(crate) fn locked(
    export: &LdifDirectory,
    contents: LdifContents,
    units: impl IntoIterator<Item = PrincipalRef>,
) -> DirectoryFn {
    let system = export.system();
    let mut graph = GraphBuilder::new();
    for change in &contents.changes {
        graph.add(system, change.clone());
    }
    graph.end(system, contents.verdict, contents.partial);
    let graph = graph.finish();
    let everyone = graph.resolve(
        &Selection::of(units),
        &ResolvePolicy::default(),
        &mut Scratch::new(),
    );
    let locked: BTreeSet<ObjectId> = everyone
        .certain
        .into_iter()
        .map(|node| graph.principal_ref(node).object)
        .collect();
    let lock = |change| match change {
        DirectoryChange::Upsert(principal) if locked.contains(&principal.id) => {
            DirectoryChange::Upsert(principal.with_activity(Activity::Inactive))
        }
        other => other,
    };
    let changes: Vec<_> = contents.changes.into_iter().map(lock).collect();
    let entries = DirectoryFn::new(system.clone(), move |_context| {
        let changes = changes.clone();
        async { Ok(changes) }
    });
    match export.filter() {
        Some(filter) => entries.with_filter(filter),
        None => entries,
    }
}

/// Finds principals by what people call them, as a dialogue for picking them does; and tells what they are called.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    ids: BTreeMap<(PrincipalKind, String), PrincipalRef>,
    names: BTreeMap<PrincipalRef, String>,
}

impl AddressBook {
    /// Whoever an export shows.
    pub(crate) fn of(system: &SystemId, contents: &LdifContents) -> Self {
        let mut book = Self::default();
        for change in &contents.changes {
            if let DirectoryChange::Upsert(principal) = change {
                let id = PrincipalRef::new(system.clone(), principal.id.clone());
                book.names.insert(id.clone(), principal.name.clone());
                book.ids.insert((principal.kind, principal.name.clone()), id);
            }
        }
        book
    }

    pub(crate) fn count(&self, which: impl Fn(PrincipalKind) -> bool) -> usize {
        self.ids.keys().filter(|(kind, _)| which(*kind)).count()
    }

    pub(crate) fn name<'a>(&'a self, who: &'a PrincipalRef) -> &'a str {
        self.names.get(who).map_or(who.object.as_str(), String::as_str)
    }

    pub(crate) fn person(&self, name: &str) -> Outcome<PrincipalRef> {
        self.find(PrincipalKind::User, name)
    }

    pub(crate) fn group(&self, name: &str) -> Outcome<PrincipalRef> {
        self.find(PrincipalKind::Group(GroupKind::UserGroup), name)
    }

    pub(crate) fn list(&self, name: &str) -> Outcome<PrincipalRef> {
        let kind = GroupKind::DistributionList(ListKind::Simple);
        self.find(PrincipalKind::Group(kind), name)
    }

    pub(crate) fn role(&self, name: &str) -> Outcome<PrincipalRef> {
        self.find(PrincipalKind::Group(GroupKind::Role), name)
    }

    pub(crate) fn unit(&self, name: &str) -> Outcome<PrincipalRef> {
        self.find(PrincipalKind::Group(GroupKind::OrgUnit), name)
    }

    fn find(&self, kind: PrincipalKind, name: &str) -> Outcome<PrincipalRef> {
        let id = self.ids.get(&(kind, name.to_owned()));
        id.cloned()
            .ok_or_else(|| format!("the directory has no {kind} {name}").into())
    }
}
