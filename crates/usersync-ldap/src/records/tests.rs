//! Entries as records, without a server.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{
    AttributeName, Facet, FacetName, ObjectId, PartialKind, PartialReason, Record, RecordKind, SystemId,
    Value,
};

use super::ids::Ids;
use super::profile::{FacetSource, RecordProfile};
use super::recipient::RecipientType;
use super::show::{Seen, references, show};
use super::value::ValueForm;
use crate::accounts::Cut;
use crate::dn::Dn;
use crate::entry::Entry;

const GUID: [u8; 16] = [
    0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
];
const ID: &str = "00112233-4455-6677-8899-aabbccddeeff";

fn entry<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Entry {
    let mut entry = Entry::new(Dn::parse("CN=Ada,OU=People,DC=example,DC=org").unwrap());
    for (name, value) in attributes {
        entry.push(name, value);
    }
    entry
}

fn of_text(attributes: &[(&str, &str)]) -> Entry {
    entry(attributes.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn mailbox(attributes: &[(&str, &str)]) -> Entry {
    let mut entry = of_text(&[
        ("objectClass", "user"),
        ("mailNickname", "ada"),
        ("msExchRecipientTypeDetails", "1"),
    ]);
    entry.push("objectGUID", &GUID);
    for (name, value) in attributes {
        entry.push(name, value.as_bytes());
    }
    entry
}

/// Everybody is known whose name begins with `CN=Known`, by the digits in it.
fn known(text: &str) -> Option<ObjectId> {
    let name = text.strip_prefix("CN=Known")?;
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    ObjectId::new(format!("id-{digits}")).ok()
}

fn seen(entry: &Entry, cut: Option<&Cut>) -> Seen {
    let profile = RecordProfile::exchange();
    let ids = Ids::new(&profile.ids);
    show(entry, &SystemId::new("ad").unwrap(), &profile, &ids, cut, known)
}

fn record(entry: &Entry) -> (Record, Vec<String>) {
    match seen(entry, None) {
        Seen::Record { record, flaws } => (record, flaws.iter().map(ToString::to_string).collect()),
        other => panic!("{other:?}"),
    }
}

/// A facet as text: its attributes by name.
fn text(record: &Record, facet: &str) -> String {
    let Some(Facet { attributes }) = record.facets.get(&FacetName::new(facet).unwrap()) else {
        return "left out".to_owned();
    };
    let attributes = attributes.iter().map(|(name, value)| match value {
        Value::Bytes(bytes) => format!("{name}={} bytes", bytes.len()),
        Value::Flag(flag) => format!("{name}={flag}"),
        Value::Integer(number) => format!("{name}={number}"),
        Value::Set(texts) => format!(
            "{name}={{{}}}",
            texts.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
        Value::Text(text) => format!("{name}={text:?}"),
    });
    attributes.collect::<Vec<_>>().join(" ")
}

#[test]
fn recipients_are_what_exchange_takes_them_for() {
    let (user, group, contact) = (
        ("objectClass", "user"),
        ("objectClass", "group"),
        ("objectClass", "contact"),
    );
    let alias = ("mailNickname", "ada");
    let details = |number| ("msExchRecipientTypeDetails", number);
    for (attributes, expected) in [
        (vec![user], "-"),
        (vec![user, alias], "-"),
        (vec![user, details("1")], "-"),
        (vec![user, ("mailNickname", ""), details("1")], "-"),
        (vec![user, alias, details("1")], "user mailbox"),
        (vec![user, alias, details("2")], "linked mailbox"),
        (vec![user, alias, details("4")], "shared mailbox"),
        (vec![user, alias, details("8")], "legacy mailbox"),
        (vec![user, alias, details("16")], "room mailbox"),
        (vec![user, alias, details("32")], "equipment mailbox"),
        (vec![user, alias, details("128")], "mail user"),
        (vec![user, alias, details("2147483648")], "remote mailbox"),
        (vec![user, alias, details("34359738368")], "remote mailbox"),
        (vec![user, alias, details("8388608")], "-"),
        (vec![user, alias, details("536870912")], "-"),
        (vec![user, alias, details("549755813888")], "-"),
        (
            vec![user, alias, ("homeMDB", "CN=DB1,DC=example,DC=org")],
            "legacy mailbox",
        ),
        (
            vec![user, alias, ("targetAddress", "SMTP:ada@example.net")],
            "mail user",
        ),
        (
            vec![user, alias, details("0"), ("homeMDB", "CN=DB1,DC=example,DC=org")],
            "legacy mailbox",
        ),
        (vec![group], "-"),
        (vec![group, alias], "simple list"),
        (vec![group, alias, ("groupType", "8")], "simple list"),
        (vec![group, alias, ("groupType", "-2147483640")], "security list"),
        (
            vec![group, alias, details("512"), ("groupType", "-2147483646")],
            "security list",
        ),
        (vec![group, alias, details("256")], "simple list"),
        (vec![group, alias, details("1024")], "security list"),
        (vec![group, alias, details("268435456")], "room list"),
        (
            vec![("objectClass", "msExchDynamicDistributionList"), alias],
            "dynamic list",
        ),
        (
            vec![
                ("objectClass", "msExchDynamicDistributionList"),
                alias,
                details("2048"),
            ],
            "dynamic list",
        ),
        (vec![contact, alias], "contact"),
        (vec![contact, alias, details("64")], "contact"),
        (vec![contact, alias, details("nonsense")], "contact"),
        (vec![("objectClass", "publicFolder"), alias], "-"),
    ] {
        let found = RecipientType::of(&of_text(&attributes));
        let found = found.map_or("-".to_owned(), |recipient| recipient.to_string());
        assert_eq!(found, expected, "{attributes:?}");
    }
}

#[test]
fn a_mailbox_has_its_facets() {
    let entry = mailbox(&[
        ("displayName", "Ada Żółw"),
        ("givenName", "Ada"),
        ("msExchHideFromAddressLists", "TRUE"),
        ("proxyAddresses", "smtp:ada@old.example.org"),
        ("proxyAddresses", "SMTP:ada@example.org"),
        ("proxyAddresses", "X500:/o=Example/cn=ada"),
        ("altRecipient", "CN=Known7,DC=example,DC=org"),
        ("deliverAndRedirect", "FALSE"),
        ("delivContLength", "10240"),
        ("authOrig", "CN=Known2,DC=example,DC=org"),
        ("authOrig", "CN=Known1,DC=example,DC=org"),
        ("msExchGenericForwardingAddress", "smtp:ada@elsewhere.example"),
        ("publicDelegates", "CN=Known3,DC=example,DC=org"),
        ("homeMDB", "CN=DB\\, 01\\C4\\8D,CN=Databases,DC=example,DC=org"),
        ("mDBUseDefaults", "false"),
        ("mDBOverHardQuotaLimit", "2097152"),
        ("msExchArchiveName", "Archive"),
        ("extensionAttribute15", "fifteen"),
        ("msExchMailboxTemplateLink", "CN=Seven years,DC=example,DC=org"),
    ]);
    let (record, flaws) = record(&entry);
    assert!(flaws.is_empty(), "{flaws:?}");
    assert_eq!(record.id.to_string(), format!("ad:{ID}"));
    assert_eq!(record.kind.as_str(), "mailbox");
    for (facet, expected) in [
        (
            "addresses",
            r#"mail={ada@example.org, ada@old.example.org} other={X500:/o=Example/cn=ada} primary="ada@example.org""#,
        ),
        ("advanced", ""),
        ("archive", r#"name="Archive""#),
        ("custom", r#"15="fifteen""#),
        ("database", "name=\"DB, 01č\" quota_kb=2097152 use_defaults=false"),
        (
            "general",
            r#"alias="ada" first_name="Ada" hidden=true name="Ada Żółw" type="user""#,
        ),
        (
            "mail_flow",
            r#"accept_from={id-1, id-2} deliver_and_forward=false forward_address="ada@elsewhere.example" forward_to={id-7} receive_limit_kb=10240"#,
        ),
        ("permissions", "send_on_behalf={id-3}"),
        ("retention", r#"policy="Seven years""#),
        ("unified_messaging", ""),
        ("members", "left out"),
    ] {
        assert_eq!(text(&record, facet), expected, "{facet}");
    }
}

#[test]
fn lists_and_contacts_have_theirs() {
    let mut list = of_text(&[
        ("objectClass", "group"),
        ("mailNickname", "staff"),
        ("groupType", "8"),
        ("member", "CN=Known2,DC=example,DC=org"),
        ("member", "CN=Known1,DC=example,DC=org"),
        ("managedBy", "CN=Known9,DC=example,DC=org"),
        ("msExchCoManagedByLink", "CN=Known8,DC=example,DC=org"),
        ("reportToOriginator", "TRUE"),
    ]);
    list.push("objectGUID", &GUID);
    let (record_of_list, flaws) = record(&list);
    assert!(flaws.is_empty(), "{flaws:?}");
    assert_eq!(record_of_list.kind.as_str(), "list");
    assert_eq!(text(&record_of_list, "general"), r#"alias="staff" type="simple""#);
    assert_eq!(text(&record_of_list, "members"), "list={id-1, id-2}");
    assert_eq!(text(&record_of_list, "managers"), "deputies={id-8} list={id-9}");
    assert_eq!(text(&record_of_list, "mail_flow"), "report_to_sender=true");

    let mut contact = of_text(&[
        ("objectClass", "contact"),
        ("mailNickname", "mill"),
        ("targetAddress", "SMTP:mill@partner.example"),
        ("mAPIRecipient", "FALSE"),
    ]);
    contact.push("objectGUID", &GUID);
    let (record_of_contact, flaws) = record(&contact);
    assert!(flaws.is_empty(), "{flaws:?}");
    assert_eq!(record_of_contact.kind.as_str(), "contact");
    assert_eq!(
        text(&record_of_contact, "general"),
        r#"address="mill@partner.example" alias="mill" type="contact""#
    );
    assert_eq!(text(&record_of_contact, "mail_flow"), "mapi_recipient=false");

    let mut dynamic = of_text(&[
        ("objectClass", "msExchDynamicDistributionList"),
        ("mailNickname", "everybody"),
        ("msExchDynamicDLFilter", "(&(mailNickname=*)(objectClass=user))"),
        ("msExchDynamicDLBaseDN", "CN=Known4,DC=example,DC=org"),
    ]);
    dynamic.push("objectGUID", &GUID);
    assert_eq!(
        text(&record(&dynamic).0, "members"),
        r#"rule="(&(mailNickname=*)(objectClass=user))" rule_base={id-4}"#
    );
}

/// Each row: what is wrong with the entry, and the only facet that is not shown for it.
#[test]
fn promise_09_a_facet_that_was_not_read_whole_does_not_look_emptied() {
    for (attribute, value, facet) in [
        ("altRecipient", "CN=Stranger,DC=example,DC=org", "mail_flow"),
        ("altRecipient", "no name", "mail_flow"),
        ("delivContLength", "much", "mail_flow"),
        ("delivContLength", "99999999999999999999", "mail_flow"),
        ("deliverAndRedirect", "perhaps", "mail_flow"),
        ("publicDelegates", "CN=Stranger,DC=example,DC=org", "permissions"),
        ("homeMDB", "DB1", "database"),
        ("mDBUseDefaults", "", "database"),
        ("msExchHideFromAddressLists", "1", "general"),
    ] {
        let (whole, _) = record(&mailbox(&[]));
        let (record, flaws) = record(&mailbox(&[(attribute, value)]));
        assert_eq!(text(&record, facet), "left out", "{attribute}: {value}");
        let mut others = whole.facets.clone();
        others.remove(&FacetName::new(facet).unwrap());
        assert_eq!(record.facets, others, "{attribute}: {value}");
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        assert!(flaws[0].contains(facet), "{flaws:?}");
    }
    // Two values of which nobody knows the right one.
    let two = mailbox(&[("delivContLength", "1"), ("delivContLength", "2")]);
    assert_eq!(text(&record(&two).0, "mail_flow"), "left out");
    let mut not_text = mailbox(&[]);
    not_text.push("displayName", b"\xff");
    assert_eq!(text(&record(&not_text).0, "general"), "left out");
}

#[test]
fn promise_09_members_seen_in_part_are_not_shown() {
    let mut list = of_text(&[
        ("objectClass", "group"),
        ("mailNickname", "staff"),
        ("Member", "CN=Known1,DC=example,DC=org"),
    ]);
    list.push("objectGUID", &GUID);
    let cut = Cut {
        attributes: vec!["Member".to_owned()],
        reason: PartialReason::new(PartialKind::Failed, "the connection broke"),
    };
    let Seen::Record { record, flaws } = seen(&list, Some(&cut)) else {
        panic!();
    };
    assert_eq!(text(&record, "members"), "left out");
    assert_eq!(text(&record, "general"), r#"alias="staff" type="simple""#);
    assert_eq!(flaws.len(), 1);
    assert!(
        flaws[0].to_string().contains("the connection broke"),
        "{}",
        flaws[0]
    );
}

#[test]
fn what_is_no_record_is_not_shown() {
    assert_eq!(seen(&of_text(&[("objectClass", "user")]), None), Seen::Other);
    let mail_user = [
        ("objectClass", "user"),
        ("mailNickname", "ada"),
        ("targetAddress", "SMTP:ada@example.net"),
    ];
    assert_eq!(seen(&of_text(&mail_user), None), Seen::Other);
    let without_id = [("objectClass", "contact"), ("mailNickname", "ada")];
    assert_eq!(seen(&of_text(&without_id), None), Seen::MissingId);
}

#[test]
fn profiles_can_be_changed() {
    let kind = RecordKind::new("guest").unwrap();
    let (facet, attribute) = (
        FacetName::new("papers").unwrap(),
        AttributeName::new("visa").unwrap(),
    );
    let source = FacetSource::Attribute("employeeNumber".to_owned(), ValueForm::Text);
    let profile = RecordProfile::exchange()
        .with_kind(RecipientType::MailUser, kind.clone())
        .with(&kind, facet.clone(), attribute.clone(), source);
    assert!(profile.attributes().contains(&"employeeNumber".to_owned()));
    let ids = Ids::new(&profile.ids);
    let mut entry = of_text(&[
        ("objectClass", "user"),
        ("mailNickname", "ada"),
        ("targetAddress", "SMTP:ada@example.net"),
        ("employeeNumber", "4711"),
    ]);
    entry.push("objectGUID", &GUID);
    let system = SystemId::new("ad").unwrap();
    let Seen::Record { record, .. } = show(&entry, &system, &profile, &ids, None, known) else {
        panic!();
    };
    assert_eq!(record.kind, kind);
    assert_eq!(text(&record, "papers"), r#"visa="4711""#);

    let without = profile.clone().without(&kind, &facet, &attribute);
    assert!(!without.attributes().contains(&"employeeNumber".to_owned()));
    let mailbox = RecordKind::new("mailbox").unwrap();
    let smaller = profile.without_facet(&mailbox, &FacetName::new("retention").unwrap());
    assert!(!smaller.attributes().contains(&"msExchELCMailboxFlags".to_owned()));
    let none = RecordProfile::exchange().without_kind(RecipientType::Contact);
    assert!(!none.attributes().contains(&"mAPIRecipient".to_owned()));
}

/// What is asked for is what is read: every attribute in the tables once, none of another kind.
#[test]
fn every_attribute_of_the_tables_is_asked_for() {
    let profile = RecordProfile::exchange();
    let asked: BTreeSet<String> = profile
        .attributes()
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    assert_eq!(asked.len(), profile.attributes().len());
    for source in profile
        .facets
        .values()
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::values)
    {
        for attribute in source.attributes() {
            assert!(asked.contains(&attribute.to_ascii_lowercase()), "{attribute}");
        }
    }
}

#[test]
fn ids_are_asked_for_as_they_are_stored() {
    let profile = RecordProfile::exchange();
    let ids = Ids::new(&profile.ids);
    let filter = |id: &str| {
        let filter = ids.filter(&ObjectId::new(id).unwrap()).unwrap();
        filter.map(|filter| filter.to_string())
    };
    let bytes: String = GUID
        .iter()
        .map(|byte| {
            if byte.is_ascii_graphic() && !b"()*\\".contains(byte) {
                char::from(*byte).to_string()
            } else {
                format!("\\{byte:02x}")
            }
        })
        .collect();
    assert_eq!(filter(ID), Some(format!("(|(objectGUID={bytes}))")));
    for none in [
        "",
        "ada",
        "*",
        "00112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeef)",
    ] {
        if !none.is_empty() {
            assert_eq!(filter(none), None, "{none}");
        }
    }
    assert_eq!(
        ids.of_guid(&Dn::parse("CN=a").unwrap(), GUID).unwrap().as_str(),
        ID
    );
}

fn hostile() -> impl Strategy<Value = (String, Vec<u8>)> {
    let attributes = RecordProfile::exchange().attributes();
    let value = prop_oneof![
        "CN=(Known[0-9]|Stranger)(,DC=example|\\\\|,)?".prop_map(String::into_bytes),
        "(SMTP|smtp|X500|):?[a-c]?@?[a-c.]{0,6}".prop_map(String::into_bytes),
        "TRUE|FALSE|-?[0-9]{1,20}|1|8|16|<GUID=[0-9a-f]{0,8}>;CN=a".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    (prop::sample::select(attributes), value)
}

proptest! {
    #[test]
    fn records_do_not_depend_on_the_order_of_values(
        (values, shuffled) in prop::collection::vec(hostile(), 0..24)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
    ) {
        let of = |values: &[(String, Vec<u8>)]| {
            let mut entry = mailbox(&[]);
            for (name, value) in values.iter().filter(|(name, _)| !is_fixed(name)) {
                entry.push(name, value);
            }
            // Causes name the first value that is wrong.
            match seen(&entry, None) {
                Seen::Record { record, flaws } => {
                    let flaws: Vec<_> = flaws.into_iter().map(|flaw| (flaw.facet, flaw.attribute)).collect();
                    Some((record, flaws))
                }
                _ => None,
            }
        };
        let one = of(&values);
        prop_assert!(one.is_some());
        prop_assert_eq!(one, of(&shuffled));
    }

    /// Whatever the names of others are, what is shown as their ids is what they resolve to.
    #[test]
    fn references_are_shown_whole_or_not_at_all(names in prop::collection::btree_set("CN=(Known|Stranger)[0-9]", 0..6)) {
        let values: Vec<_> = names.iter().map(|name| ("authOrig", name.as_str())).collect();
        let entry = mailbox(&values);
        let told: BTreeSet<&str> = references(&entry, &PROFILE).collect();
        prop_assert_eq!(told, names.iter().map(String::as_str).collect::<BTreeSet<_>>());
        let (record, flaws) = record(&entry);
        let facet = record.facets.get(&FacetName::new("mail_flow").unwrap());
        let strangers = names.iter().filter(|name| name.starts_with("CN=Stranger")).count();
        prop_assert_eq!(facet.is_none(), strangers > 0);
        prop_assert_eq!(flaws.is_empty(), strangers == 0);
        if let Some(facet) = facet {
            let shown = facet.attributes.get(&AttributeName::new("accept_from").unwrap());
            let count = match shown {
                Some(Value::Set(ids)) => ids.len(),
                None => 0,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(count, names.len());
        }
    }
}

static PROFILE: std::sync::LazyLock<RecordProfile> = std::sync::LazyLock::new(RecordProfile::exchange);

fn is_fixed(name: &str) -> bool {
    [
        "mailNickname",
        "msExchRecipientTypeDetails",
        "objectClass",
        "objectGUID",
    ]
    .iter()
    .any(|fixed| fixed.eq_ignore_ascii_case(name))
}
