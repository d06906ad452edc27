//! What a read showed, beside what OpenLDAP's own clients find.

use std::collections::{BTreeMap, BTreeSet};

use usersync_ldap::{DirectoryContents, DirectoryWarning, Dn};
use usersync_model::{Activity, ObjectId, Principal, PrincipalRef};
use usersync_testkit::generate::DirectoryState;

use super::super::servers::{Found, Kind, Server};
use super::system;

/// The seed as it was read, and as it is.
pub(crate) struct Seen {
    pub(crate) contents: DirectoryContents,
    pub(crate) state: DirectoryState,
    /// By DN, from the oracle.
    ids: BTreeMap<Dn, ObjectId>,
    base: String,
}

impl Seen {
    pub(crate) fn new(server: &Server, base: &str, contents: DirectoryContents) -> Self {
        let attribute = match server.kind {
            Kind::Ds389 => "nsUniqueId",
            Kind::OpenLdap => "entryUUID",
            Kind::SambaAd => "objectGUID",
        };
        let filter = "(|(objectClass=*)(objectClass=ldapSubEntry))";
        let found = server.search(base, filter, &[attribute]);
        let ids = found
            .iter()
            .map(|entry| (Dn::parse(&entry.dn).unwrap(), id(entry, attribute)))
            .collect();
        Self {
            state: DirectoryState::of(system(), contents.changes.clone()),
            contents,
            ids,
            base: base.to_owned(),
        }
    }

    /// The id of the entry with this DN, which is below the base.
    pub(crate) fn id(&self, below: &str) -> ObjectId {
        let dn = Dn::parse(&format!("{below},{}", self.base)).unwrap();
        self.ids
            .get(&dn)
            .unwrap_or_else(|| panic!("there is no {dn}"))
            .clone()
    }

    pub(crate) fn principal(&self, below: &str) -> &Principal {
        let id = self.id(below);
        self.state
            .principals()
            .get(&id)
            .unwrap_or_else(|| panic!("{below} was not shown"))
    }

    pub(crate) fn is_active(&self, below: &str) -> bool {
        self.principal(below).activity == Activity::Active
    }

    /// The direct members of a group.
    pub(crate) fn members(&self, below: &str) -> BTreeSet<ObjectId> {
        let members = self.state.members().get(&self.id(below));
        members
            .into_iter()
            .flatten()
            .map(|member| member.object.clone())
            .collect()
    }

    /// The direct members of a group that the oracle names by DN.
    pub(crate) fn ids<'a>(&self, below: impl IntoIterator<Item = &'a str>) -> BTreeSet<ObjectId> {
        below.into_iter().map(|below| self.id(below)).collect()
    }

    /// Everybody below a group: everything reachable, by plain repetition.
    pub(crate) fn everybody(&self, below: &str) -> BTreeSet<ObjectId> {
        let mut reached = BTreeSet::from([PrincipalRef::new(system(), self.id(below))]);
        loop {
            let known = reached.len();
            let more: Vec<PrincipalRef> = reached
                .iter()
                .filter_map(|group| self.state.members().get(&group.object))
                .flatten()
                .cloned()
                .collect();
            reached.extend(more);
            if reached.len() == known {
                break;
            }
        }
        let users = reached.into_iter().filter(|principal| {
            let principal = &self.state.principals()[&principal.object];
            principal.kind.code() == "user"
        });
        users.map(|principal| principal.object).collect()
    }

    /// How many members of a group were left out, since they are no principals.
    pub(crate) fn skipped(&self, below: &str) -> Option<usize> {
        let id = self.id(below);
        self.contents.warnings.iter().find_map(|warning| match warning {
            DirectoryWarning::SkippedMembers { group, count, .. } if *group == id => {
                usize::try_from(*count).ok()
            }
            _ => None,
        })
    }

    /// Why a group is partial, if it is.
    pub(crate) fn partial(&self, below: &str) -> Option<&'static str> {
        let id = self.id(below);
        let partial = self.contents.partial.iter().find(|(group, _)| *group == id);
        partial.map(|(_, reason)| reason.kind.code())
    }
}

fn id(entry: &Found, attribute: &str) -> ObjectId {
    let value = entry
        .values
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(attribute))
        .map(|(_, value)| value.clone())
        .unwrap_or_else(|| panic!("{} has no {attribute}", entry.dn));
    if attribute != "objectGUID" {
        return ObjectId::new(String::from_utf8(value).unwrap()).unwrap();
    }
    let hex = |range: &[usize]| {
        range
            .iter()
            .map(|&at| format!("{:02x}", value[at]))
            .collect::<String>()
    };
    let text = [
        hex(&[3, 2, 1, 0]),
        hex(&[5, 4]),
        hex(&[7, 6]),
        hex(&[8, 9]),
        hex(&[10, 11, 12, 13, 14, 15]),
    ];
    ObjectId::new(text.join("-")).unwrap()
}
