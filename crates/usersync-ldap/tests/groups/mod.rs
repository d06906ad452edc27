//! Groups of a live server as containers, with the people of its seed as their members.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use usersync_connector::{
    Applied, Error, Extent, MemberChange, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    Precondition, ReadEnd, Reader,
};
use usersync_ldap::{Dn, GroupSettings, IdAttribute, IdEncoding, LastMember, LdapClient, LdapGroups};
use usersync_model::{Digest, Member, MemberFacets, ObjectId, OperationId, PrincipalRef, SystemId};
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut, sample_context};

use super::bound::bound;
use super::servers::{Found, Kind, Server};

/// How the groups of a test name their members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Group,
    GroupOfNames,
    GroupOfUniqueNames,
    PosixGroup,
}

/// Somebody who can be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) dn: String,
    pub(crate) id: String,
    pub(crate) login: String,
}

/// A unit of a server that one test has for itself.
pub(crate) struct World {
    pub(crate) server: &'static Server,
    pub(crate) way: Way,
    pub(crate) base: String,
    people: &'static [Person],
}

/// Runs a test's future on a runtime of its own.
pub(crate) fn on_tokio<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn object(text: &str) -> ObjectId {
    ObjectId::new(text).unwrap()
}

/// The id by which groups of tests are known, so that they can have the names that a test gives them.
pub(crate) fn name_as_id() -> IdAttribute {
    IdAttribute::new("description", IdEncoding::Text)
}

impl Way {
    fn class(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::GroupOfNames => "groupOfNames",
            Self::GroupOfUniqueNames => "groupOfUniqueNames",
            Self::PosixGroup => "posixGroup",
        }
    }

    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Group | Self::GroupOfNames => "member",
            Self::GroupOfUniqueNames => "uniqueMember",
            Self::PosixGroup => "memberUid",
        }
    }
}

impl World {
    pub(crate) fn new(server: &'static Server, way: Way) -> Self {
        Self {
            server,
            way,
            base: server.fresh_base(),
            people: people(server),
        }
    }

    pub(crate) fn person(&self, number: u32) -> &'static Person {
        &self.people[number as usize]
    }

    pub(crate) fn principal(&self, number: u32) -> PrincipalRef {
        PrincipalRef::parse("directory", &self.person(number).id).unwrap()
    }

    pub(crate) fn placeholder(&self) -> String {
        format!("cn=nobody,{}", self.server.suffix)
    }

    /// What names a member in the groups of this test.
    pub(crate) fn value(&self, number: u32) -> &'static str {
        let person = self.person(number);
        if self.way == Way::PosixGroup {
            &person.login
        } else {
            &person.dn
        }
    }

    pub(crate) fn dn(&self, group: &str) -> String {
        format!("cn={group},{}", self.base)
    }

    /// Makes a group.
    pub(crate) fn group(&self, name: &str, members: impl IntoIterator<Item = u32>) {
        let mut ldif = format!(
            "dn: {}\nchangetype: add\nobjectClass: {}\ncn: {name}\ndescription: {name}\n",
            self.dn(name),
            self.way.class()
        );
        if self.way == Way::PosixGroup {
            ldif.push_str("gidNumber: 70000\n");
        }
        let mut values: Vec<_> = members
            .into_iter()
            .map(|number| self.value(number).to_owned())
            .collect();
        if values.is_empty() && self.demands_a_member() {
            values.push(self.placeholder());
        }
        for value in values {
            writeln!(ldif, "{}: {value}", self.way.attribute()).unwrap();
        }
        self.server.modify(&ldif);
    }

    pub(crate) fn demands_a_member(&self) -> bool {
        self.server.kind == Kind::OpenLdap && self.way != Way::PosixGroup
    }

    /// Does what a person with a tool would do.
    pub(crate) fn by_hand(&self, group: &str, verb: &str, value: &str) -> Result<(), String> {
        let attribute = self.way.attribute();
        self.server.try_modify(&format!(
            "dn: {}\nchangetype: modify\n{verb}: {attribute}\n{attribute}: {value}\n",
            self.dn(group)
        ))
    }

    /// The values of a group as its administrator sees them.
    pub(crate) fn values(&self, group: &str) -> Vec<String> {
        let attribute = self.way.attribute();
        let found: Found = self.server.entry(&self.dn(group), &[attribute]).unwrap();
        found.texts(attribute)
    }

    /// The id that the server gave a group.
    pub(crate) fn own_id(&self, group: &str) -> String {
        let entry = self
            .server
            .entry(&self.dn(group), &[id_name(self.server)])
            .unwrap();
        id_text(self.server, &entry.values[0].1)
    }

    /// With groups known by the names that tests give them.
    pub(crate) fn settings(&self) -> GroupSettings {
        self.settings_of_own_ids().with_group_id(name_as_id())
    }

    pub(crate) fn settings_of_own_ids(&self) -> GroupSettings {
        let suffix = Dn::parse(&self.server.suffix).unwrap();
        let placeholder = Dn::parse(&self.placeholder()).unwrap();
        let settings = match self.server.kind {
            Kind::Ds389 => GroupSettings::directory_server_389(suffix),
            Kind::OpenLdap => GroupSettings::openldap(suffix),
            Kind::SambaAd => GroupSettings::active_directory(suffix),
        };
        settings
            .with_group_base(Dn::parse(&self.base).unwrap())
            .with_directory(SystemId::new("directory").unwrap())
            .with_last_member(LastMember::Placeholder(placeholder))
    }

    /// A connection as whoever may change members, and little else where the server can tell.
    pub(crate) fn client(&self) -> LdapClient {
        match self.server.kind {
            Kind::Ds389 | Kind::OpenLdap => self.client_of("writer"),
            // Its writer writes elsewhere.
            Kind::SambaAd => client(self.server, &self.server.admin_dn, &self.server.admin_password),
        }
    }

    /// A connection as one of the accounts of the server.
    pub(crate) fn client_of(&self, account: &str) -> LdapClient {
        match self.server.kind {
            Kind::Ds389 | Kind::OpenLdap => {
                let name = format!("cn={account},ou=services,{}", self.server.suffix);
                client(self.server, &name, account)
            }
            Kind::SambaAd => {
                let name = format!("CN={account},OU=Services,{}", self.server.suffix);
                client(self.server, &name, &self.server.admin_password)
            }
        }
    }

    pub(crate) fn groups(&self) -> LdapGroups {
        self.groups_with(self.client(), self.settings())
    }

    pub(crate) fn groups_with(&self, client: LdapClient, settings: GroupSettings) -> LdapGroups {
        LdapGroups::new(SystemId::new("groups").unwrap(), client, settings)
    }

    pub(crate) fn add(&self, number: u32) -> MemberOperation {
        operation(self.principal(number), MemberChange::Add(MemberFacets::default()))
    }

    pub(crate) fn remove(&self, number: u32) -> MemberOperation {
        operation(self.principal(number), MemberChange::Remove)
    }
}

pub(crate) fn operation(principal: PrincipalRef, change: MemberChange) -> MemberOperation {
    MemberOperation {
        id: OperationId::from_digest(&Digest::of(
            "usersync-ldap tests",
            principal.object.as_str().as_bytes(),
        )),
        principal,
        change,
        precondition: Precondition::None,
    }
}

fn client(server: &Server, name: &str, password: &str) -> LdapClient {
    LdapClient::new(bound(server, &server.ldaps, name, password))
}

pub(crate) async fn apply(
    groups: &LdapGroups,
    group: &str,
    operations: &[MemberOperation],
) -> Vec<Result<Applied, Error>> {
    groups.apply(&object(group), operations, &sample_context()).await
}

/// Whether each operation changed anything, all of which must succeed.
pub(crate) async fn changed(groups: &LdapGroups, group: &str, operations: &[MemberOperation]) -> Vec<bool> {
    let results = apply(groups, group, operations).await;
    results
        .into_iter()
        .map(|result| result.unwrap().changed)
        .collect()
}

/// The ids of members by group, none where it is missing, and how the read ended.
pub(crate) async fn read(
    groups: &LdapGroups,
    names: &[&str],
) -> (BTreeMap<String, Option<Vec<String>>>, ReadEnd) {
    let containers = names.iter().map(|name| object(name)).collect();
    let mut reader = Reader::new(groups.members(containers, &sample_context()));
    assert_eq!(reader.begin().await, Some(Extent::Full), "{:?}", reader.error());
    let mut seen: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    while let Some(chunk) = reader.next_chunk().await {
        for entry in chunk {
            match entry {
                MembersEntry::Members { container, members } => {
                    let all = seen
                        .entry(container.to_string())
                        .or_default()
                        .get_or_insert_default();
                    all.extend(
                        members
                            .into_iter()
                            .map(|present| present.member.principal.object.to_string()),
                    );
                }
                MembersEntry::Missing { container } => {
                    seen.insert(container.to_string(), None);
                }
            }
        }
    }
    assert!(reader.error().is_none(), "{:?}", reader.error());
    (seen, reader.finish())
}

/// The ids of the members of one group, whose read must be complete.
pub(crate) async fn members(groups: &LdapGroups, name: &str) -> Vec<String> {
    let (mut seen, end) = read(groups, &[name]).await;
    assert_eq!(end, ReadEnd::complete());
    let mut members = seen.remove(name).flatten().unwrap();
    members.sort();
    members
}

/// Those of the seed, those with odd names first. Their ids are read by OpenLDAP's client, and put together here.
pub(crate) fn people(server: &'static Server) -> &'static [Person] {
    static PEOPLE: Mutex<BTreeMap<u32, &'static OnceLock<Vec<Person>>>> = Mutex::new(BTreeMap::new());
    let people = *PEOPLE
        .lock()
        .unwrap()
        .entry(server.pid)
        .or_insert_with(|| Box::leak(Box::default()));
    people.get_or_init(|| {
        let id = id_name(server);
        let (login, filter) = match server.kind {
            Kind::Ds389 | Kind::OpenLdap => ("uid", "(objectClass=inetOrgPerson)"),
            Kind::SambaAd => ("cn", "(|(objectClass=user)(objectClass=contact))"),
        };
        let mut people: Vec<_> = server
            .search(&server.base, filter, &[id, login])
            .into_iter()
            .filter_map(|found| {
                let value = |wanted: &str| {
                    let named = |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case(wanted);
                    found.values.iter().find(named).map(|(_, value)| value.clone())
                };
                let (id, login) = (value(id)?, value(login)?);
                let id = id_text(server, &id);
                let login = String::from_utf8(login).unwrap();
                let dn = found.dn.clone();
                Some(Person { dn, id, login })
            })
            // Those who are in no group of the seed whose members are counted.
            .filter(|person| !person.dn.to_lowercase().contains("ou=hidden"))
            .collect();
        let is_usual = |person: &Person| !person.dn.to_lowercase().contains("ou=odd");
        people.sort_by_key(|person| (is_usual(person), person.dn.clone()));
        people
    })
}

fn id_name(server: &Server) -> &'static str {
    match server.kind {
        Kind::Ds389 => "nsUniqueId",
        Kind::OpenLdap => "entryUUID",
        Kind::SambaAd => "objectGUID",
    }
}

fn id_text(server: &Server, value: &[u8]) -> String {
    match server.kind {
        Kind::SambaAd => guid(value),
        Kind::Ds389 | Kind::OpenLdap => String::from_utf8(value.to_vec()).unwrap(),
    }
}

/// A GUID as people write it.
fn guid(bytes: &[u8]) -> String {
    let hex = |range: &[usize]| -> String { range.iter().map(|&at| format!("{:02x}", bytes[at])).collect() };
    format!(
        "{}-{}-{}-{}-{}",
        hex(&[3, 2, 1, 0]),
        hex(&[5, 4]),
        hex(&[7, 6]),
        hex(&[8, 9]),
        hex(&[10, 11, 12, 13, 14, 15])
    )
}

/// For the published suite.
pub(crate) struct Harness {
    server: &'static Server,
    way: Way,
    latest: Mutex<Option<Arc<World>>>,
}

impl Harness {
    pub(crate) fn new(server: &'static Server, way: Way) -> Self {
        Self {
            server,
            way,
            latest: Mutex::default(),
        }
    }

    fn latest(&self) -> Arc<World> {
        Arc::clone(self.latest.lock().unwrap().as_ref().unwrap())
    }

    fn number(&self, principal: &PrincipalRef) -> u32 {
        let people = people(self.server);
        let at = people
            .iter()
            .position(|person| person.id == principal.object.as_str());
        u32::try_from(at.unwrap()).unwrap()
    }
}

#[async_trait]
impl TargetHarness for Harness {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        let world = Arc::new(World::new(self.server, self.way));
        for (container, members) in containers {
            let numbers = members.iter().map(|member| self.number(&member.principal));
            world.group(container.as_str(), numbers.collect::<Vec<_>>());
        }
        let groups = world.groups();
        *self.latest.lock().unwrap() = Some(world);
        Arc::new(groups)
    }

    fn principal(&self, number: u32) -> PrincipalRef {
        PrincipalRef::parse("directory", &people(self.server)[number as usize].id).unwrap()
    }

    /// A group takes a call to the server.
    fn most_containers(&self) -> usize {
        100
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let world = self.latest();
        let value = world.value(self.number(principal));
        let verb = match facets {
            None => "delete",
            Some(facets) if facets == MemberFacets::default() => "add",
            Some(_) => return Err(Cannot),
        };
        world.by_hand(container.as_str(), verb, value).unwrap();
        Ok(())
    }

    /// Somebody is a member whom nobody can tell.
    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        let world = self.latest();
        let container = match what {
            LeaveOut::MembersOf(container) => container,
            LeaveOut::Something => object("team"),
            LeaveOut::Everything => return Err(Cannot),
        };
        let value = match (self.way, self.server.kind) {
            // A member of Active Directory is always an entry; this one is outside of the base for members.
            (_, Kind::SambaAd) => return Err(Cannot),
            (Way::PosixGroup, _) => "nobody-has-this-login".to_owned(),
            _ => format!("uid=gone,{}", self.server.base),
        };
        world.by_hand(container.as_str(), "add", &value).unwrap();
        Ok(())
    }
}
