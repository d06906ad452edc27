//! Records of Exchange on live servers: a domain controller whose schema has what Exchange adds, and OpenLDAP with a part of it.
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
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bound::bound;
use servers::{Kind, Server};
use usersync_connector::{
    Applied, CallContext, Error, ErrorKind, PresentRecord, ReadEnd, ReadStream, Reader, RecordCapabilities,
    RecordEntry, RecordOperation, RecordRead, RecordRequest, RecordTarget, Result,
};
use usersync_ldap::{
    Dn, FacetSource, IdAttribute, IdEncoding, LdapClient, LdapRecords, ReadLimits, RecipientType,
    RecordProfile, ValueForm,
};
use usersync_model::{
    AttributeName, Completeness, Facet, FacetName, ObjectId, PartialKind, Record, RecordKind, RecordRef,
    SystemId, Value,
};
use usersync_testkit::conformance::record::{self as suite, RecordHarness};
use usersync_testkit::conformance::{Cannot, LeaveOut, sample_context};

/// The points of the reading half: nothing is written here.
#[test]
fn openldap_conforms() {
    let Some(server) = openldap() else { return };
    conforms(server, &[]);
}

/// Domain controllers take their time to make entries.
#[test]
fn samba_ad_conforms() {
    let Some(server) = servers::samba_ad() else { return };
    conforms(server, &["read_point_01_thousands_of_records_are_shown"]);
}

fn conforms(server: &'static Server, but: &[&str]) {
    let checks = suite::checks();
    let of_reads = checks.iter().filter(|check| check.name.starts_with("read_"));
    let mut made = 0;
    for check in of_reads.filter(|check| !but.contains(&check.name)) {
        let harness = Harness::new(server);
        if let Err(violation) = run(check.run(&harness)) {
            panic!("{}: {violation}", check.name);
        }
        made += 1;
    }
    assert!(made >= 12, "{made}");
}

#[test]
fn exchange_is_read_as_it_is_kept() {
    let Some(server) = servers::samba_ad() else { return };
    let base = server.fresh_base();
    let at = |name: &str| format!("CN={name},{base}");
    let mut ldif = String::new();
    for (name, alias, details) in [
        ("Ada Żółw", "ada", "1"),
        ("Oven Room", "oven", "16"),
        ("Discovery", "disc", "536870912"),
    ] {
        let attributes = [
            ("objectClass", "user"),
            ("displayName", name),
            ("mailNickname", alias),
            ("msExchRecipientTypeDetails", details),
            ("proxyAddresses", &format!("SMTP:{alias}@example.test")),
            ("proxyAddresses", &format!("smtp:{alias}@old.example.test")),
        ];
        entry(&mut ldif, &at(name), &attributes);
    }
    let contact = [
        ("objectClass", "contact"),
        ("displayName", "Flour Mill"),
        ("mailNickname", "mill"),
        ("targetAddress", "SMTP:mill@partner.test"),
    ];
    entry(&mut ldif, &at("Flour Mill"), &contact);
    // Mail of the contact's goes to the mailbox, too, and the contact is in the list.
    write!(
        ldif,
        "dn:: {}\nchangetype: modify\nadd: altRecipient\naltRecipient:: {}\n-\nadd: deliverAndRedirect\ndeliverAndRedirect: TRUE\n\n",
        STANDARD.encode(at("Ada Żółw")),
        STANDARD.encode(at("Flour Mill")),
    )
    .unwrap();
    let list = [
        ("objectClass", "group"),
        ("mailNickname", "early"),
        ("groupType", "8"),
        ("managedBy", &*at("Ada Żółw")),
        ("member", &*at("Ada Żółw")),
        ("member", &*at("Flour Mill")),
        ("publicDelegates", &*at("Ada Żółw")),
    ];
    entry(&mut ldif, &at("Early Shift"), &list);
    let dynamic = [
        ("objectClass", "msExchDynamicDistributionList"),
        ("mailNickname", "everybody"),
        ("msExchDynamicDLFilter", "(objectClass=user)"),
        ("msExchDynamicDLBaseDN", &*base),
    ];
    entry(&mut ldif, &at("Everybody"), &dynamic);
    server.modify(&ldif);

    let client = client(server, &admin(server));
    let records = LdapRecords::new(system(), client.clone(), Dn::parse(&base).unwrap());
    let (shown, end) = read(&records);
    assert_eq!(end, ReadEnd::complete());
    let ids: BTreeMap<&str, &str> = shown
        .values()
        .map(|record| (text(record, "general", "alias"), record.id.object.as_str()))
        .collect();
    assert_eq!(
        ids.keys().copied().collect::<Vec<_>>(),
        ["ada", "early", "everybody", "mill", "oven"]
    );
    let of = |alias: &str| {
        shown
            .values()
            .find(|record| text(record, "general", "alias") == alias)
            .unwrap()
    };
    for (alias, kind, recipient) in [
        ("ada", "mailbox", "user"),
        ("oven", "mailbox", "room"),
        ("early", "list", "simple"),
        ("everybody", "list", "dynamic"),
        ("mill", "contact", "contact"),
    ] {
        assert_eq!(
            (of(alias).kind.as_str(), text(of(alias), "general", "type")),
            (kind, recipient)
        );
    }
    assert_eq!(text(of("ada"), "general", "name"), "Ada Żółw");
    assert_eq!(text(of("ada"), "addresses", "primary"), "ada@example.test");
    assert_eq!(
        set(of("ada"), "addresses", "mail"),
        ["ada@example.test", "ada@old.example.test"]
    );
    assert_eq!(set(of("ada"), "mail_flow", "forward_to"), [ids["mill"]]);
    assert_eq!(text(of("mill"), "general", "address"), "mill@partner.test");
    let mut members = [ids["ada"], ids["mill"]];
    members.sort_unstable();
    assert_eq!(set(of("early"), "members", "list"), members);
    assert_eq!(set(of("early"), "managers", "list"), [ids["ada"]]);
    assert_eq!(set(of("early"), "permissions", "send_on_behalf"), [ids["ada"]]);
    assert_eq!(text(of("everybody"), "members", "rule"), "(objectClass=user)");
    assert_eq!(set(of("everybody"), "members", "rule_base").len(), 1);
    // Names hold the ids, so that nothing is looked up.
    assert!(client.traffic().searches <= 3, "{:?}", client.traffic());

    // Another name and another place are the same record, and whoever refers to it does so as before.
    let unit = format!("OU=moved,{base}");
    let mut ldif = String::new();
    entry(&mut ldif, &unit, &[("objectClass", "organizationalUnit")]);
    write!(
        ldif,
        "dn:: {}\nchangetype: modrdn\nnewrdn: CN=Zed\ndeleteoldrdn: 1\nnewsuperior: {unit}\n",
        STANDARD.encode(at("Ada Żółw")),
    )
    .unwrap();
    server.modify(&ldif);
    let (moved, end) = read(&records);
    assert_eq!(end, ReadEnd::complete());
    assert_eq!(moved, shown);
}

#[test]
fn long_lists_of_members_are_read_to_their_end() {
    let Some(server) = servers::samba_ad() else { return };
    let base = server.fresh_base();
    let people = server.search(
        &format!("OU=People,{}", server.base),
        "(sAMAccountName=u*)",
        &["objectGUID"],
    );
    assert!(people.len() > 1_500, "{}", people.len());
    let mut attributes = vec![
        ("objectClass", "group"),
        ("mailNickname", "all"),
        ("groupType", "8"),
    ];
    attributes.extend(people.iter().map(|person| ("member", person.dn.as_str())));
    let mut ldif = String::new();
    entry(&mut ldif, &format!("CN=all,{base}"), &attributes);
    server.modify(&ldif);

    let records = LdapRecords::new(
        system(),
        client(server, &account(server, "plain")),
        Dn::parse(&base).unwrap(),
    );
    let (shown, end) = read(&records);
    assert_eq!(end, ReadEnd::complete());
    let all = shown.values().next().unwrap();
    assert_eq!(set(all, "members", "list").len(), people.len());

    // With less room, the members are not known, and all else is.
    let limits = {
        let mut limits = ReadLimits::default();
        limits.values = 1_600;
        limits
    };
    let (cut, end) = read(&records.clone().with_limits(limits));
    assert_eq!(partial(&end), Some(PartialKind::Unreadable), "{end:?}");
    let cut = cut.values().next().unwrap();
    let mut expected = all.clone();
    expected.facets.remove(&facet("members"));
    assert_eq!(*cut, expected);
}

#[test]
fn organisations_are_collections_of_their_own() {
    let Some(server) = openldap() else { return };
    let base = server.fresh_base();
    let mut ldif = String::new();
    for organisation in ["one", "two"] {
        let unit = format!("ou={organisation},{base}");
        entry(&mut ldif, &unit, &[("objectClass", "organizationalUnit")]);
        contact(&mut ldif, &unit, organisation, &[]);
    }
    server.modify(&ldif);
    let id = |text: &str| ObjectId::new(text).unwrap();
    let dn = |text: &str| Dn::parse(text).unwrap();
    let records = LdapRecords::new(system(), client(server, &admin(server)), dn(&base))
        .with_profile(profile())
        .with_organisation(id("org-1"), dn(&format!("ou=one,{base}")))
        .with_organisation(id("org-3"), dn(&format!("ou=three,{base}")));
    let count = |collection: Option<&str>| {
        let (records, end) = read_from(&records, collection.map(id));
        assert_eq!(end, ReadEnd::complete());
        records.len()
    };
    assert_eq!((count(None), count(Some("org-1"))), (2, 1));
    for missing in ["org-2", "org-3"] {
        let request = RecordRequest {
            collection: Some(id(missing)),
            since: None,
        };
        let error = run(async {
            let mut reader = Reader::new(records.records(request, &sample_context()));
            assert_eq!(reader.begin().await, None);
            reader.take_error().unwrap()
        });
        assert_eq!(error.kind(), ErrorKind::NotFound, "{missing}: {error}");
    }
    let one = |collection: &str, record: &str| {
        let id = RecordRef::parse("directory", record).unwrap();
        let collection = ObjectId::new(collection).unwrap();
        run(async { records.record(Some(&collection), &id, &sample_context()).await })
    };
    assert!(one("org-1", "one").unwrap().is_some());
    assert!(one("org-1", "two").unwrap().is_none());
    assert_eq!(one("org-3", "one").unwrap_err().kind(), ErrorKind::NotFound);
}

/// OpenLDAP keeps names of entries that are gone.
#[test]
fn promise_09_who_is_named_and_not_shown_is_not_left_out_of_a_facet() {
    let Some(server) = openldap() else { return };
    let base = server.fresh_base();
    let elsewhere = server.fresh_base();
    let mut ldif = String::new();
    contact(&mut ldif, &elsewhere, "far", &[]);
    contact(
        &mut ldif,
        &base,
        "ada",
        &[
            ("authOrig", &format!("uid=far,{elsewhere}")),
            ("authOrig", &format!("uid=bob,{base}")),
        ],
    );
    contact(&mut ldif, &base, "bob", &[("delivContLength", "10")]);
    server.modify(&ldif);
    let kind = RecordKind::new("contact").unwrap();
    let name = |text: &str| AttributeName::new(text).unwrap();
    let profile = profile()
        .with(
            &kind,
            facet("flow"),
            name("from"),
            FacetSource::References("authOrig".to_owned()),
        )
        .with(
            &kind,
            facet("flow"),
            name("limit"),
            FacetSource::Attribute("delivContLength".to_owned(), ValueForm::Integer),
        );
    let records = LdapRecords::new(
        system(),
        client(server, &admin(server)),
        Dn::parse(&base).unwrap(),
    )
    .with_profile(profile);
    let (shown, end) = read(&records);
    assert_eq!(end, ReadEnd::complete());
    let id = |text: &str| RecordRef::parse("directory", text).unwrap();
    assert_eq!(set(&shown[&id("ada")], "flow", "from"), ["bob", "far"]);

    server.modify(&format!("dn: uid=far,{elsewhere}\nchangetype: delete\n"));
    let (after, end) = read(&records);
    assert_eq!(partial(&end), Some(PartialKind::Unreadable), "{end:?}");
    let mut expected = shown.clone();
    expected
        .get_mut(&id("ada"))
        .unwrap()
        .facets
        .remove(&facet("flow"));
    assert_eq!(after, expected);
    let one = run(async { records.record(None, &id("ada"), &sample_context()).await });
    assert_eq!(one.unwrap_err().kind(), ErrorKind::InvalidData);
    let other = run(async { records.record(None, &id("bob"), &sample_context()).await });
    assert_eq!(other.unwrap().unwrap().record, shown[&id("bob")]);
}

#[test]
fn a_limited_account_sees_a_part_and_says_so() {
    let Some(server) = openldap() else { return };
    let base = server.fresh_base();
    let mut ldif = String::new();
    for number in 0..120 {
        contact(&mut ldif, &base, &format!("c{number}"), &[]);
    }
    server.modify(&ldif);
    let records = LdapRecords::new(
        system(),
        client(server, &account(server, "limited")),
        Dn::parse(&base).unwrap(),
    )
    .with_profile(profile());
    let (shown, end) = read(&records);
    assert_eq!(shown.len(), 100);
    assert_eq!(partial(&end), Some(PartialKind::Limit), "{end:?}");
}

/// Records below a base of their own, with the ids of the suite in an attribute.
struct Harness {
    server: &'static Server,
    base: Mutex<String>,
    ids: Mutex<BTreeSet<ObjectId>>,
}

impl Harness {
    fn new(server: &'static Server) -> Self {
        Self {
            server,
            base: Mutex::default(),
            ids: Mutex::default(),
        }
    }

    fn dn(&self, id: &ObjectId) -> String {
        let base = self.base.lock().unwrap();
        match self.server.kind {
            Kind::SambaAd => format!("CN={id},{base}"),
            Kind::Ds389 | Kind::OpenLdap => format!("uid={id},{base}"),
        }
    }

    fn write(&self, ldif: &mut String, record: &Record) {
        let id = record.id.object.as_str();
        let proxies: Vec<_> = set(record, "addresses", "mail")
            .into_iter()
            .map(|mail| format!("smtp:{mail}"))
            .collect();
        let mut attributes = vec![
            ("objectClass", "contact"),
            ("mailNickname", id),
            ("displayName", text(record, "general", "name")),
        ];
        attributes.extend(proxies.iter().map(|proxy| ("proxyAddresses", proxy.as_str())));
        match self.server.kind {
            Kind::SambaAd => attributes.push(("employeeID", id)),
            Kind::Ds389 | Kind::OpenLdap => attributes.extend([
                ("objectClass", "mailRecipient"),
                ("employeeNumber", id),
                ("uid", id),
                ("cn", id),
                ("sn", id),
            ]),
        }
        entry(ldif, &self.dn(&record.id.object), &attributes);
    }

    fn end(&self, ldif: &mut String, id: &ObjectId) {
        if self.ids.lock().unwrap().remove(id) {
            write!(ldif, "dn: {}\nchangetype: delete\n\n", self.dn(id)).unwrap();
        }
    }
}

#[async_trait]
impl RecordHarness for Harness {
    async fn fresh(&self, collections: Vec<(Option<ObjectId>, Vec<Record>)>) -> Arc<dyn RecordTarget> {
        let [(None, records)] = &*collections else {
            panic!("there is one collection: {collections:?}")
        };
        *self.base.lock().unwrap() = self.server.fresh_base();
        let mut ldif = String::new();
        for record in records {
            self.write(&mut ldif, record);
        }
        if !ldif.is_empty() {
            self.server.modify(&ldif);
        }
        *self.ids.lock().unwrap() = records.iter().map(|record| record.id.object.clone()).collect();
        let reader = match self.server.kind {
            // It may see a hundred entries, which are all there are until something is left out.
            Kind::OpenLdap if records.len() < 50 => account(self.server, "limited"),
            _ => account(self.server, "sync"),
        };
        let profile = match self.server.kind {
            Kind::SambaAd => profile().with_ids([IdAttribute::new("employeeID", IdEncoding::Text)]),
            Kind::Ds389 | Kind::OpenLdap => profile(),
        };
        let mut limits = ReadLimits::default();
        limits.page = 200;
        let base = Dn::parse(&self.base.lock().unwrap()).unwrap();
        let records = LdapRecords::new(system(), client(self.server, &reader), base);
        Arc::new(ReadOnly(records.with_profile(profile).with_limits(limits)))
    }

    fn collections(&self) -> Vec<Option<ObjectId>> {
        vec![None]
    }

    async fn change(
        &self,
        _: Option<&ObjectId>,
        id: &RecordRef,
        record: Option<Record>,
    ) -> Result<(), Cannot> {
        let mut ldif = String::new();
        self.end(&mut ldif, &id.object);
        if let Some(record) = record {
            self.write(&mut ldif, &record);
            self.ids.lock().unwrap().insert(id.object.clone());
        }
        self.server.modify(&ldif);
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        let mut ldif = String::new();
        match what {
            LeaveOut::Everything => {
                let ids = self.ids.lock().unwrap().clone();
                for id in ids {
                    self.end(&mut ldif, &id);
                }
                write!(ldif, "dn: {}\nchangetype: delete\n", self.base.lock().unwrap()).unwrap();
            }
            LeaveOut::Something if self.server.kind == Kind::OpenLdap => {
                let base = self.base.lock().unwrap().clone();
                for number in 0..120 {
                    contact(&mut ldif, &base, &format!("more-{number}"), &[]);
                }
            }
            _ => return Err(Cannot),
        }
        self.server.modify(&ldif);
        Ok(())
    }
}

/// The suite takes targets; its checks of reads write nothing.
#[derive(Debug)]
struct ReadOnly(LdapRecords);

#[async_trait]
impl RecordRead for ReadOnly {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> RecordCapabilities {
        self.0.capabilities()
    }

    fn records(&self, request: RecordRequest, context: &CallContext) -> ReadStream<RecordEntry> {
        self.0.records(request, context)
    }

    async fn record(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        context: &CallContext,
    ) -> Result<Option<PresentRecord>> {
        self.0.record(collection, id, context).await
    }
}

#[async_trait]
impl RecordTarget for ReadOnly {
    async fn apply(
        &self,
        _: Option<&ObjectId>,
        operations: &[RecordOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        operations
            .iter()
            .map(|_| Err(Error::unsupported("writing")))
            .collect()
    }
}

/// The OpenLDAP server of this process that knows what Exchange adds.
fn openldap() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers/exchange.schema");
    let start = || servers::start(Kind::OpenLdap, &["--users", "0", "--schema", schema]);
    SERVER.get_or_init(start).as_ref()
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn read(records: &LdapRecords) -> (BTreeMap<RecordRef, Record>, ReadEnd) {
    read_from(records, None)
}

fn read_from(records: &LdapRecords, collection: Option<ObjectId>) -> (BTreeMap<RecordRef, Record>, ReadEnd) {
    let request = RecordRequest {
        collection,
        since: None,
    };
    let (entries, end) = run(Reader::new(records.records(request, &sample_context())).collect());
    let mut shown = BTreeMap::new();
    for entry in entries {
        match entry {
            RecordEntry::Upsert(present) => shown.insert(present.record.id.clone(), present.record),
            RecordEntry::Removed(id) => panic!("{id} was removed in a full read"),
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

fn value<'r>(record: &'r Record, name: &str, attribute: &str) -> Option<&'r Value> {
    let Facet { attributes } = record.facets.get(&facet(name))?;
    attributes.get(&AttributeName::new(attribute).unwrap())
}

fn text<'r>(record: &'r Record, facet: &str, attribute: &str) -> &'r str {
    match value(record, facet, attribute) {
        Some(Value::Text(text)) => text,
        other => panic!("{facet}.{attribute} of {record:?} is {other:?}"),
    }
}

fn set<'r>(record: &'r Record, facet: &str, attribute: &str) -> Vec<&'r str> {
    match value(record, facet, attribute) {
        Some(Value::Set(texts)) => texts.iter().map(String::as_str).collect(),
        other => panic!("{facet}.{attribute} of {record:?} is {other:?}"),
    }
}

fn facet(name: &str) -> FacetName {
    FacetName::new(name).unwrap()
}

fn system() -> SystemId {
    SystemId::new("directory").unwrap()
}

/// Contacts with what those of the suite have, and ids that tests can choose.
fn profile() -> RecordProfile {
    let kind = RecordKind::new("contact").unwrap();
    let name = |text: &str| AttributeName::new(text).unwrap();
    let display = FacetSource::Attribute("displayName".to_owned(), ValueForm::Text);
    RecordProfile::new(IdAttribute::new("employeeNumber", IdEncoding::Text))
        .with_kind(RecipientType::Contact, kind.clone())
        .with(&kind, facet("general"), name("name"), display)
        .with(&kind, facet("addresses"), name("mail"), FacetSource::Addresses)
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

fn contact(ldif: &mut String, base: &str, id: &str, more: &[(&str, &str)]) {
    let mut attributes = vec![
        ("objectClass", "contact"),
        ("objectClass", "mailRecipient"),
        ("mailNickname", id),
        ("employeeNumber", id),
        ("uid", id),
        ("cn", id),
        ("sn", id),
    ];
    attributes.extend(more);
    entry(ldif, &format!("uid={id},{base}"), &attributes);
}

/// Appends the addition of an entry.
fn entry(ldif: &mut String, dn: &str, attributes: &[(&str, &str)]) {
    write!(ldif, "dn:: {}\nchangetype: add\n", STANDARD.encode(dn)).unwrap();
    for (name, value) in attributes {
        writeln!(ldif, "{name}:: {}", STANDARD.encode(value)).unwrap();
    }
    ldif.push('\n');
}
