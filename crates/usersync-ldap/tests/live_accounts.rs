//! Accounts of live servers.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bound::bound;
use servers::{Kind, Server};
use usersync_connector::{Account, AccountDirectory, AccountEntry, ErrorKind, ReadEnd, Reader};
use usersync_ldap::{
    Dn, IdAttribute, IdEncoding, LdapAccounts, LdapClient, LdapProfile, LdapServer, ValueForm,
};
use usersync_model::{
    Activity, AttributeName, Completeness, ObjectId, PartialKind, PrincipalKind, ResourceKind, SystemId,
    Value,
};
use usersync_testkit::account_directory_conformance;
use usersync_testkit::conformance::account::{self as suite, AccountHarness};
use usersync_testkit::conformance::{Cannot, LeaveOut, sample_context};

account_directory_conformance!(
    openldap,
    match servers::openldap() {
        Some(server) => Harness::new(server),
        None => return,
    },
    run
);

/// Domain controllers take their time to make entries; that thousands of accounts are shown is a test of its own.
#[test]
fn samba_ad_conforms() {
    let Some(server) = servers::samba_ad() else { return };
    conforms(server, &["point_01_thousands_of_accounts_are_shown"]);
}

#[test]
fn directory_server_389_conforms() {
    let Some(server) = servers::ds389() else { return };
    conforms(server, &[]);
}

fn conforms(server: &'static Server, but: &[&str]) {
    for check in suite::checks() {
        if but.contains(&check.name) {
            continue;
        }
        let harness = Harness::new(server);
        if let Err(violation) = run(check.run(&harness)) {
            panic!("{}: {violation}", check.name);
        }
    }
}

#[test]
fn openldap_shows_all_of_the_seed_in_pages() {
    let Some(server) = servers::openldap() else { return };
    let client = client(server, &admin(server));
    let accounts = LdapAccounts::new(system(), client.clone(), profile(server, &server.base));
    let (shown, end) = read(&accounts);
    assert_eq!(end, ReadEnd::complete());
    // Oracle: the server's own client.
    let found = server.search(
        &server.base,
        "(|(objectClass=inetOrgPerson)(objectClass=room))",
        &["1.1"],
    );
    assert_eq!(shown.len(), found.len());
    assert!(shown.len() > 2_000, "{}", shown.len());
    let traffic = client.traffic();
    assert!(traffic.searches >= 10, "{traffic:?}");
    assert!(traffic.entries <= shown.len() as u64 + 1, "{traffic:?}");

    let by_mail = |mail: &str| {
        let mut found = shown
            .values()
            .filter(|account| account.addresses.first().is_some_and(|first| first == mail));
        found.next().unwrap_or_else(|| panic!("nobody has {mail}"))
    };
    assert_eq!(by_mail("u00003@example.test").activity, Activity::Inactive);
    assert_eq!(by_mail("u00004@example.test").activity, Activity::Active);
    assert!(shown.values().any(|account| account.name == "Smíth, J++"));
    assert!(
        shown
            .values()
            .any(|account| account.kind == PrincipalKind::Resource(ResourceKind::Room))
    );
    let without: Vec<_> = shown
        .values()
        .filter(|account| account.addresses.is_empty())
        .collect();
    assert!(!without.is_empty());
    assert!(without.iter().all(|account| account.ineligible.is_some()));
    assert!(shown.values().all(|account| !account.privileged));
}

#[test]
fn samba_ad_shows_all_of_the_seed_in_pages() {
    let Some(server) = servers::samba_ad() else { return };
    let client = client(server, &account(server, "plain"));
    let accounts = LdapAccounts::new(system(), client.clone(), profile(server, &server.base));
    let (shown, end) = read(&accounts);
    assert_eq!(end, ReadEnd::complete());
    let found = server.search(
        &server.base,
        "(&(objectClass=user)(!(objectClass=computer)))",
        &["objectGUID"],
    );
    assert_eq!(shown.len(), found.len());
    assert!(shown.len() > 2_000, "{}", shown.len());
    assert!(client.traffic().searches >= 5, "{:?}", client.traffic());

    let of_name = |name: &str| shown.values().find(|account| account.name == name).unwrap();
    assert_eq!(of_name("User 00003").activity, Activity::Inactive);
    assert_eq!(of_name("山田").ineligible.as_deref(), Some("no mail address"));
    let room = of_name("Blue room");
    assert_eq!(room.kind, PrincipalKind::Resource(ResourceKind::Room));
    assert_eq!(room.activity, Activity::Inactive);
    assert_eq!(room.addresses, ["blue-room@ad.test", "blue-room@old.ad.test"]);
    assert_eq!(
        of_name("Projector").kind,
        PrincipalKind::Resource(ResourceKind::Equipment)
    );
    assert_eq!(of_name("Front desk").kind, PrincipalKind::User);
    // Mixed-endian, as everybody else writes it.
    let projector = &of_name("Projector").id;
    let filter = format!("(objectGUID={projector})");
    let found = server.search(&server.base, &filter, &["cn"]);
    assert_eq!(found.len(), 1, "{filter}");
    assert_eq!(found[0].texts("cn"), ["Projector"]);
}

#[test]
fn a_limited_account_sees_a_part_and_says_so() {
    let Some(server) = servers::openldap() else { return };
    let mut profile = profile(server, &server.base);
    profile.limits.page = 50;
    let accounts = LdapAccounts::new(system(), client(server, &account(server, "limited")), profile);
    let (shown, end) = read(&accounts);
    assert_eq!(shown.len(), 100);
    assert_eq!(partial(&end), Some(PartialKind::Limit), "{end:?}");
}

#[test]
fn our_own_limits_make_a_read_partial() {
    let Some(server) = servers::openldap() else { return };
    let mut profile = profile(server, &server.base);
    profile.limits.page = 100;
    profile.limits.entries = 150;
    let accounts = LdapAccounts::new(system(), client(server, &admin(server)), profile);
    let (shown, end) = read(&accounts);
    assert_eq!(shown.len(), 150);
    assert_eq!(partial(&end), Some(PartialKind::Limit), "{end:?}");
}

#[test]
fn a_base_that_is_not_there_is_an_error() {
    let Some(server) = servers::openldap() else { return };
    let base = format!("ou=nowhere,{}", server.base);
    let accounts = LdapAccounts::new(system(), client(server, &admin(server)), profile(server, &base));
    let error = run(async {
        let mut reader = Reader::new(accounts.accounts(None, &sample_context()));
        assert_eq!(reader.begin().await, None);
        reader.take_error().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(error.system(), Some(&system()));
}

/// Each row: the groups that the rules name, and the logins of who is privileged by them.
#[test]
fn openldap_tells_who_is_privileged_by_a_group() {
    let Some(server) = servers::openldap() else { return };
    let base = server.fresh_base();
    let mut ldif = String::new();
    for login in ["ada", "bob", "cyd", "dan", "eve"] {
        let number = login.as_bytes()[0];
        entry(
            &mut ldif,
            &format!("uid={login},{base}"),
            &[
                ("objectClass", "inetOrgPerson"),
                ("objectClass", "posixAccount"),
                ("cn", login),
                ("sn", login),
                ("uid", login),
                ("mail", &format!("{login}@example.test")),
                ("uidNumber", &number.to_string()),
                ("gidNumber", if login == "eve" { "4242" } else { "100" }),
                ("homeDirectory", "/"),
                ("employeeType", if login == "dan" { "Director" } else { "staff" }),
            ],
        );
    }
    let person = |login: &str| format!("uid={login},{base}");
    let group = |name: &str| format!("cn={name},{base}");
    for (name, members) in [
        ("inner", vec![person("ada"), group("outer")]),
        ("outer", vec![group("inner"), person("bob")]),
        ("dangling", vec![person("cyd"), person("nobody")]),
    ] {
        let mut attributes = vec![("objectClass", "groupOfNames"), ("cn", name)];
        attributes.extend(members.iter().map(|member| ("member", member.as_str())));
        entry(&mut ldif, &group(name), &attributes);
    }
    let posix = [
        ("objectClass", "posixGroup"),
        ("cn", "posix"),
        ("gidNumber", "4242"),
        ("memberUid", "cyd"),
    ];
    entry(&mut ldif, &group("posix"), &posix);
    let url = format!("ldap:///{base}??sub?(uid=d*)");
    let query = [
        ("objectClass", "groupOfURLs"),
        ("cn", "query"),
        ("memberURL", &*url),
    ];
    entry(&mut ldif, &group("query"), &query);
    server.modify(&ldif);

    for (groups, expected, is_complete) in [
        (&[][..], "", true),
        (&["outer"], "ada bob", true),
        (&["inner"], "ada bob", true),
        (&["posix"], "cyd eve", true),
        (&["query"], "dan", true),
        (&["outer", "posix"], "ada bob cyd eve", true),
        // Whoever is not shown may be a group of administrators.
        (&["dangling"], "cyd", false),
        (&["missing", "posix"], "cyd eve", false),
    ] {
        let mut profile = profile(server, &base);
        profile.rules.privileged_groups = groups
            .iter()
            .map(|name| Dn::parse(&group(name)).unwrap())
            .collect();
        let accounts = LdapAccounts::new(system(), client(server, &admin(server)), profile);
        let (shown, end) = read(&accounts);
        let privileged: BTreeSet<_> = shown
            .values()
            .filter(|account| account.privileged)
            .map(|a| &*a.name)
            .collect();
        let privileged: Vec<_> = privileged.into_iter().collect();
        assert_eq!(privileged.join(" "), expected, "{groups:?}");
        assert_eq!(end.verdict.is_complete(), is_complete, "{groups:?}: {end:?}");
        assert_eq!(shown.len(), 5);
    }

    let mut profile = profile(server, &base);
    profile.rules.privileged_employee_types = vec!["director".to_owned()];
    let accounts = LdapAccounts::new(system(), client(server, &admin(server)), profile);
    let (shown, _) = read(&accounts);
    let privileged: Vec<_> = shown
        .values()
        .filter(|account| account.privileged)
        .map(|a| &*a.name)
        .collect();
    assert_eq!(privileged, ["dan"]);
}

/// All users are in `cn=top` by three levels of groups. Nobody is looked up one by one.
#[test]
fn nested_groups_cost_as_many_reads_as_there_are_groups() {
    for server in [servers::openldap(), servers::samba_ad()].into_iter().flatten() {
        let client = client(server, &admin(server));
        let mut profile = profile(server, &server.base);
        let top = format!("cn=top,ou=groups,{}", server.base);
        profile.rules.privileged_groups = vec![Dn::parse(&top).unwrap()];
        let (shown, end) = read(&LdapAccounts::new(system(), client.clone(), profile));
        assert_eq!(end, ReadEnd::complete(), "{}", server.kind);
        let privileged = shown.values().filter(|account| account.privileged).count();
        assert_eq!(privileged, server.users, "{}", server.kind);
        let (groups, traffic) = (1 + 10 + server.users / 20, client.traffic());
        assert!(
            traffic.searches < groups as u64 + 40,
            "{}: {traffic:?}",
            server.kind
        );
    }
}

/// On Active Directory a group does not name those whose primary group it is, and shows many members in ranges.
#[test]
fn samba_ad_tells_who_is_privileged_by_a_group() {
    let Some(server) = servers::samba_ad() else { return };
    for (group, expected) in [
        ("primary", 3),
        ("everyone", server.users),
        ("cycb", 1),
        ("local", 2),
    ] {
        let mut profile = profile(server, &server.base);
        let dn = format!("CN={group},OU=Groups,{}", server.base);
        profile.rules.privileged_groups = vec![Dn::parse(&dn).unwrap()];
        let (shown, end) = read(&LdapAccounts::new(
            system(),
            client(server, &admin(server)),
            profile,
        ));
        assert_eq!(end, ReadEnd::complete(), "{group}");
        let privileged = shown.values().filter(|account| account.privileged).count();
        assert_eq!(privileged, expected, "{group}");
    }
}

/// Each row: what the service account is called, and why it cannot tell who is privileged.
#[test]
fn a_group_that_hides_its_members_makes_nobody_privileged_for_sure() {
    for server in [servers::openldap(), servers::ds389()].into_iter().flatten() {
        for (reader, flaw) in [("sync", None), ("restricted", Some(PartialKind::Unreadable))] {
            let mut profile = profile(server, &server.base);
            let veiled = format!("cn=veiled,ou=groups,{}", server.base);
            profile.rules.privileged_groups = vec![Dn::parse(&veiled).unwrap()];
            let accounts = LdapAccounts::new(system(), client(server, &account(server, reader)), profile);
            let (shown, end) = read(&accounts);
            let privileged = shown.values().filter(|account| account.privileged).count();
            let expected = if flaw.is_none() { 3 } else { 0 };
            assert_eq!(
                (privileged, partial(&end)),
                (expected, flaw),
                "{}: {end:?}",
                server.kind
            );
        }
    }
}

#[test]
fn an_empty_group_makes_nobody_privileged() {
    let Some(server) = servers::ds389() else { return };
    let base = server.fresh_base();
    let mut ldif = String::new();
    entry(
        &mut ldif,
        &format!("cn=empty,{base}"),
        &[("objectClass", "groupOfNames"), ("cn", "empty")],
    );
    let person = [
        ("objectClass", "inetOrgPerson"),
        ("uid", "ada"),
        ("cn", "Ada"),
        ("sn", "Ada"),
    ];
    entry(&mut ldif, &format!("uid=ada,{base}"), &person);
    server.modify(&ldif);
    let mut profile = profile(server, &base);
    profile.rules.privileged_groups = vec![Dn::parse(&format!("cn=empty,{base}")).unwrap()];
    let accounts = LdapAccounts::new(system(), client(server, &account(server, "sync")), profile);
    let (shown, end) = read(&accounts);
    assert_eq!((shown.len(), partial(&end)), (1, None), "{end:?}");
}

#[test]
fn ids_that_two_entries_have_make_a_read_partial() {
    let Some(server) = servers::openldap() else { return };
    let base = server.fresh_base();
    let mut ldif = String::new();
    for (login, number) in [("ada", "1"), ("bob", "1"), ("cyd", "2")] {
        person(server, &mut ldif, &base, login, login, number);
    }
    server.modify(&ldif);
    let accounts = LdapAccounts::new(system(), client(server, &admin(server)), numbered(server, &base));
    let (_, end) = read(&accounts);
    assert_eq!(partial(&end), Some(PartialKind::Contradiction), "{end:?}");

    let without = format!("dn: uid=bob,{base}\nchangetype: modify\ndelete: employeeNumber\n");
    server.modify(&without);
    let (shown, end) = read(&accounts);
    assert_eq!(shown.len(), 2);
    assert_eq!(partial(&end), Some(PartialKind::Unreadable), "{end:?}");
}

#[test]
fn attributes_are_shown_in_their_form() {
    let Some(server) = servers::openldap() else { return };
    let base = server.fresh_base();
    let mut ldif = String::new();
    person(server, &mut ldif, &base, "ada", "Ada", "0042");
    server.modify(&ldif);
    let name = |text: &str| AttributeName::new(text).unwrap();
    let accounts = LdapAccounts::new(system(), client(server, &admin(server)), numbered(server, &base))
        .with_attribute(name("number"), "employeeNumber", ValueForm::Integer)
        .with_attribute(name("text"), "EMPLOYEENUMBER", ValueForm::Text)
        .with_attribute(name("logins"), "uid", ValueForm::Texts)
        .with_attribute(name("wrong"), "uid", ValueForm::Integer)
        .with_attribute(name("missing"), "title", ValueForm::Text);
    let (shown, _) = read(&accounts);
    let ada = shown.values().next().unwrap();
    let expected = BTreeMap::from([
        (name("logins"), Value::Set(BTreeSet::from(["ada".to_owned()]))),
        (name("number"), Value::Integer(42)),
        (name("text"), Value::Text("0042".to_owned())),
    ]);
    assert_eq!(ada.attributes, expected);
}

#[test]
fn addresses_are_vouched_for_only_by_those_who_say_so() {
    let server = LdapServer::new("ldap://127.0.0.1").unwrap();
    let profile = LdapProfile::openldap(Dn::parse("dc=test").unwrap());
    let accounts = LdapAccounts::new(system(), LdapClient::new(server), profile);
    assert!(!accounts.capabilities().vouches_for_addresses);
    assert!(
        accounts
            .with_verified_addresses()
            .capabilities()
            .vouches_for_addresses
    );
}

/// Accounts below a base of their own, with the ids of the suite in an attribute.
struct Harness {
    server: &'static Server,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    base: String,
    ids: BTreeSet<ObjectId>,
}

impl Harness {
    fn new(server: &'static Server) -> Self {
        let given = Mutex::default();
        Self { server, given }
    }

    fn dn(&self, id: &ObjectId, base: &str) -> String {
        match self.server.kind {
            Kind::SambaAd => format!("CN={id},{base}"),
            Kind::Ds389 | Kind::OpenLdap => format!("uid={id},{base}"),
        }
    }

    fn write(&self, ldif: &mut String, base: &str, account: &Account) {
        let [mail] = &*account.addresses else {
            panic!("the suite has accounts with one address: {account:?}")
        };
        let id = account.id.as_str();
        let mut attributes = vec![
            ("displayName", &*account.name),
            ("mail", mail),
            ("employeeNumber", id),
        ];
        match self.server.kind {
            Kind::SambaAd => {
                attributes.extend([("objectClass", "user"), ("userAccountControl", "544")]);
            }
            Kind::Ds389 | Kind::OpenLdap => {
                attributes.extend([
                    ("objectClass", "inetOrgPerson"),
                    ("cn", id),
                    ("sn", id),
                    ("uid", id),
                ]);
            }
        }
        entry(ldif, &self.dn(&account.id, base), &attributes);
    }

    fn delete(&self, given: &mut Given, id: &ObjectId) {
        let dn = self.dn(id, &given.base);
        self.server.modify(&format!("dn: {dn}\nchangetype: delete\n"));
        given.ids.remove(id);
    }
}

#[async_trait]
impl AccountHarness for Harness {
    fn system(&self) -> SystemId {
        system()
    }

    async fn fresh(&self, accounts: Vec<Account>) -> Arc<dyn AccountDirectory> {
        let base = self.server.fresh_base();
        let mut ldif = String::new();
        for account in &accounts {
            self.write(&mut ldif, &base, account);
        }
        self.server.modify(&ldif);
        // It may see a hundred entries, which are all there are until something is left out.
        let reader = match self.server.kind {
            Kind::OpenLdap if accounts.len() < 50 => account(self.server, "limited"),
            _ => account(self.server, "sync"),
        };
        let mut profile = numbered(self.server, &base);
        profile.limits.page = 50;
        let ids = accounts.into_iter().map(|account| account.id).collect();
        *self.given.lock().unwrap() = Given { base, ids };
        Arc::new(LdapAccounts::new(system(), client(self.server, &reader), profile))
    }

    async fn change(&self, change: AccountEntry) -> Result<(), Cannot> {
        let mut given = self.given.lock().unwrap();
        match change {
            AccountEntry::Removed(id) => self.delete(&mut given, &id),
            AccountEntry::Upsert(account) if given.ids.contains(&account.id) => {
                let mut ldif = format!("dn: {}\nchangetype: modify\n", self.dn(&account.id, &given.base));
                for (name, value) in [("displayName", &account.name), ("mail", &account.addresses[0])] {
                    write!(ldif, "replace: {name}\n{name}:: {}\n-\n", STANDARD.encode(value)).unwrap();
                }
                self.server.modify(&ldif);
            }
            AccountEntry::Upsert(account) => {
                let mut ldif = String::new();
                self.write(&mut ldif, &given.base, &account);
                self.server.modify(&ldif);
                given.ids.insert(account.id);
            }
        }
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        let mut given = self.given.lock().unwrap();
        match what {
            LeaveOut::Everything => {
                for id in given.ids.clone() {
                    self.delete(&mut given, &id);
                }
                self.server
                    .modify(&format!("dn: {}\nchangetype: delete\n", given.base));
                Ok(())
            }
            LeaveOut::Something if self.server.kind == Kind::OpenLdap => {
                let mut ldif = String::new();
                for number in 0..120 {
                    let id = format!("more-{number}");
                    person(self.server, &mut ldif, &given.base, &id, &id, &id);
                }
                self.server.modify(&ldif);
                Ok(())
            }
            _ => Err(Cannot),
        }
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn read(accounts: &LdapAccounts) -> (BTreeMap<ObjectId, Account>, ReadEnd) {
    let (entries, end) = run(Reader::new(accounts.accounts(None, &sample_context())).collect());
    let mut shown = BTreeMap::new();
    for entry in entries {
        match entry {
            AccountEntry::Upsert(account) => shown.insert(account.id.clone(), account),
            AccountEntry::Removed(id) => panic!("{id} was removed in a full read"),
        };
    }
    (shown, end)
}

fn partial(end: &ReadEnd) -> Option<PartialKind> {
    match &end.verdict {
        Completeness::Complete => None,
        Completeness::Partial(reason) => Some(reason.kind),
    }
}

fn system() -> SystemId {
    SystemId::new("directory").unwrap()
}

/// The rules that fit the server.
fn profile(server: &Server, base: &str) -> LdapProfile {
    let base = Dn::parse(base).unwrap();
    let mut profile = match server.kind {
        Kind::Ds389 => LdapProfile::directory_server_389(base),
        Kind::OpenLdap => LdapProfile::openldap(base),
        Kind::SambaAd => LdapProfile::active_directory(base),
    };
    profile.limits.page = 200;
    profile
}

/// The same with ids that tests can choose.
fn numbered(server: &Server, base: &str) -> LdapProfile {
    let mut profile = profile(server, base);
    profile.rules.ids = vec![IdAttribute::new("employeeNumber", IdEncoding::Text)];
    profile
}

fn admin(server: &Server) -> (String, String) {
    (server.admin_dn.clone(), server.admin_password.clone())
}

/// One of the accounts that the seed has for services.
fn account(server: &Server, name: &str) -> (String, String) {
    let password = match server.kind {
        Kind::SambaAd => server.admin_password.clone(),
        Kind::Ds389 | Kind::OpenLdap => name.to_owned(),
    };
    (format!("cn={name},ou=services,{}", server.suffix), password)
}

fn client(server: &Server, (name, password): &(String, String)) -> LdapClient {
    LdapClient::new(bound(server, &server.uri, name, password))
}

fn person(server: &Server, ldif: &mut String, base: &str, login: &str, name: &str, number: &str) {
    assert_eq!(server.kind, Kind::OpenLdap);
    let attributes = [
        ("objectClass", "inetOrgPerson"),
        ("uid", login),
        ("cn", name),
        ("sn", name),
        ("employeeNumber", number),
        ("mail", &format!("{login}@example.test")),
    ];
    entry(ldif, &format!("uid={login},{base}"), &attributes);
}

/// Appends the addition of an entry.
fn entry(ldif: &mut String, dn: &str, attributes: &[(&str, &str)]) {
    write!(ldif, "dn:: {}\nchangetype: add\n", STANDARD.encode(dn)).unwrap();
    for (name, value) in attributes {
        writeln!(ldif, "{name}:: {}", STANDARD.encode(value)).unwrap();
    }
    ldif.push('\n');
}
