//! Fresh directories for the published suites, each below a base of its own.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use usersync_connector::Directory;
use usersync_ldap::{
    ChangeStrategy, ClassRule, Dn, EntryRules, IdAttribute, IdEncoding, LdapClient, LdapDirectory,
    LdapProfile, MemberSource,
};
use usersync_model::{DirectoryChange, GroupKind, ObjectId, Principal, PrincipalKind, SystemId};
use usersync_testkit::conformance::directory::DirectoryHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

use super::super::servers::{self, Kind, Server};
use super::{as_admin, system};

/// How changes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Best,
    Full,
    Poll,
}

/// Makes directories whose ids are those of the suite, in an attribute that the servers have on people and on groups.
pub(crate) struct Harness {
    server: &'static Server,
    way: Way,
    base: Mutex<String>,
    /// The group that names somebody who is not there.
    cut: Mutex<Option<ObjectId>>,
    _turn: Turn,
}

/// One suite at a time. While one that writes is not done, OpenLDAP keeps back from reads of changes what others wrote after it began,
/// and tells it with the next read. 389 Directory Server 2.3 may stand still for ever where one writes thousands of entries and
/// another one reads everything, each with a page of the database that the other waits for.
struct Turn;

static TAKEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

impl Turn {
    fn take() -> Self {
        let (taken, given_back) = &TAKEN;
        let turn = taken.lock().unwrap();
        *given_back.wait_while(turn, |taken| *taken).unwrap() = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (taken, given_back) = &TAKEN;
        *taken.lock().unwrap() = false;
        given_back.notify_one();
    }
}

impl Harness {
    pub(crate) fn new(kind: Kind, way: Way) -> Option<Self> {
        let server = match kind {
            Kind::Ds389 => servers::ds389(),
            Kind::OpenLdap => servers::openldap(),
            Kind::SambaAd => servers::samba_ad(),
        }?;
        Some(Self {
            server,
            way,
            base: Mutex::default(),
            cut: Mutex::default(),
            _turn: Turn::take(),
        })
    }

    pub(crate) fn server(&self) -> &'static Server {
        self.server
    }

    /// The base of the directory given last.
    pub(crate) fn base(&self) -> String {
        self.base.lock().unwrap().clone()
    }

    pub(crate) fn dn(&self, id: &ObjectId) -> String {
        format!("cn={id},{}", self.base())
    }

    fn is_ad(&self) -> bool {
        self.server.kind == Kind::SambaAd
    }

    fn id_attribute(&self) -> &'static str {
        if self.is_ad() { "info" } else { "businessCategory" }
    }

    pub(crate) fn rules(&self) -> EntryRules {
        let (mut rules, group, user) = match self.server.kind {
            Kind::Ds389 => (
                EntryRules::directory_server_389(),
                "groupOfNames",
                "inetOrgPerson",
            ),
            Kind::OpenLdap => (EntryRules::openldap(), "groupOfNames", "inetOrgPerson"),
            Kind::SambaAd => (EntryRules::active_directory(), "group", "user"),
        };
        rules.ids = vec![IdAttribute::new(self.id_attribute(), IdEncoding::Text)];
        let member = MemberSource::Dn("member".to_owned());
        rules.classes = vec![
            ClassRule::new(group, PrincipalKind::Group(GroupKind::UserGroup)).with_members(member),
            ClassRule::new(user, PrincipalKind::User),
        ];
        rules
    }

    pub(crate) fn profile(&self) -> LdapProfile {
        let mut profile = LdapProfile::new(Dn::parse(&self.base()).unwrap(), self.rules());
        profile.changes = match self.way {
            Way::Best => ChangeStrategy::Automatic,
            Way::Full => ChangeStrategy::Off,
            Way::Poll => ChangeStrategy::Poll,
        };
        profile
    }

    fn addition(&self, principal: &Principal) -> String {
        let (dn, id, name) = (self.dn(&principal.id), &principal.id, &principal.name);
        let attribute = self.id_attribute();
        let mut ldif =
            format!("dn: {dn}\nchangetype: add\ncn: {id}\n{attribute}: {id}\ndescription: {name}\n");
        // Unique in the domain, as Active Directory demands.
        let account = format!("{}{id}", self.base().split([',', '=']).nth(1).unwrap_or_default());
        match (principal.kind.is_group(), self.is_ad()) {
            (true, true) => writeln!(ldif, "objectClass: group\nsAMAccountName: {account}-g"),
            (false, true) => writeln!(ldif, "objectClass: user\nsAMAccountName: {account}"),
            // A member is demanded, and nobody is meant by the empty one.
            (true, false) => writeln!(ldif, "objectClass: groupOfNames\nmember:"),
            (false, false) => writeln!(ldif, "objectClass: inetOrgPerson\nsn: {id}"),
        }
        .unwrap();
        ldif
    }

    fn membership(&self, group: &ObjectId, members: &[ObjectId], how: &str) -> String {
        let mut ldif = format!("dn: {}\nchangetype: modify\n{how}: member\n", self.dn(group));
        for member in members {
            writeln!(ldif, "member: {}", self.dn(member)).unwrap();
        }
        ldif
    }

    fn removal(&self, id: &ObjectId) -> String {
        let dn = self.dn(id);
        let mut ldif = String::new();
        // What keeps references in order does so a little later, which the suite does not wait for.
        for group in self
            .server
            .search(&self.base(), &format!("(member={dn})"), &["1.1"])
        {
            write!(
                ldif,
                "dn: {}\nchangetype: modify\ndelete: member\nmember: {dn}\n\n",
                group.dn
            )
            .unwrap();
        }
        write!(ldif, "dn: {dn}\nchangetype: delete\n").unwrap();
        ldif
    }

    /// Somebody who is not there.
    fn nobody(&self, group: &ObjectId, how: &str) -> String {
        self.membership(group, &[ObjectId::new("nobody").unwrap()], how)
    }

    /// Writes past the service, which takes a minute or more for thousands of entries.
    fn load(&self, ldif: &str) {
        let file = self.server.dir.join(format!("{}.ldif", self.base()));
        fs::write(&file, ldif).unwrap();
        let database = self.server.dir.join("private/sam.ldb");
        let output = Command::new("ldbmodify")
            .arg("-H")
            .arg(database)
            .arg(file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn ldif(&self, change: &DirectoryChange) -> Result<String, Cannot> {
        Ok(match change {
            DirectoryChange::Upsert(principal) => {
                let dn = self.dn(&principal.id);
                if self.server.entry(&dn, &["1.1"]).is_some() {
                    format!(
                        "dn: {dn}\nchangetype: modify\nreplace: displayName\ndisplayName: {}\n",
                        principal.name
                    )
                } else {
                    self.addition(principal)
                }
            }
            DirectoryChange::Removed(id) => self.removal(id),
            DirectoryChange::Members { group, members, .. } => self.membership(group, members, "add"),
            DirectoryChange::MembersRemoved { group, members, .. } => {
                self.membership(group, members, "delete")
            }
            DirectoryChange::MembersReset { .. } => return Err(Cannot),
        })
    }
}

#[async_trait]
impl DirectoryHarness for Harness {
    fn system(&self) -> SystemId {
        system()
    }

    async fn fresh(&self, content: Vec<DirectoryChange>) -> Arc<dyn Directory> {
        *self.base.lock().unwrap() = self.server.fresh_base();
        let ldif: Vec<String> = content
            .iter()
            .map(|change| match change {
                DirectoryChange::Upsert(principal) => self.addition(principal),
                change => self.ldif(change).unwrap(),
            })
            .collect();
        if ldif.len() > 500 && self.is_ad() {
            self.load(&ldif.join("\n"));
        } else if !ldif.is_empty() {
            self.server.modify(&ldif.join("\n"));
        }
        let client = LdapClient::new(as_admin(self.server));
        Arc::new(LdapDirectory::new(system(), client, self.profile()))
    }

    async fn change(&self, change: DirectoryChange) -> Result<(), Cannot> {
        let ldif = self.ldif(&change)?;
        self.server.modify(&ldif);
        Ok(())
    }

    /// A group that names somebody whom the reader does not find may have members whom it may not see.
    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        match what {
            // Active Directory refuses such names.
            LeaveOut::MembersOf(group) if !self.is_ad() => {
                self.server.modify(&self.nobody(&group, "add"));
                *self.cut.lock().unwrap() = Some(group);
                Ok(())
            }
            _ => Err(Cannot),
        }
    }

    async fn heal(&self) -> Result<(), Cannot> {
        let cut = self.cut.lock().unwrap().take().ok_or(Cannot)?;
        self.server.modify(&self.nobody(&cut, "delete"));
        Ok(())
    }

    async fn another(&self) -> Result<Arc<dyn Directory>, Cannot> {
        let client = LdapClient::new(as_admin(self.server));
        Ok(Arc::new(LdapDirectory::new(system(), client, self.profile())))
    }
}
