//! Entries as accounts, without a server.

use proptest::prelude::*;
use usersync_connector::Secret;
use usersync_model::{Activity, AttributeName, PrincipalKind, ResourceKind, SystemId, Value};

use super::show::account;
use super::{LdapAccounts, addresses};
use crate::client::{LdapClient, LdapServer};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::read::LdapProfile;
use crate::records::ValueForm;
use crate::rules::{Seen, look};

fn entry(attributes: &[(&str, &str)]) -> Entry {
    let mut entry = Entry::new(Dn::parse("cn=Ada,dc=example,dc=org").unwrap());
    for (name, value) in attributes {
        entry.push(name, value.as_bytes());
    }
    entry
}

fn accounts() -> LdapAccounts {
    let server = LdapServer::new("ldap://directory.example.org")
        .unwrap()
        .with_password("cn=sync", Secret::new("canary"));
    let base = Dn::parse("dc=example,dc=org").unwrap();
    LdapAccounts::new(
        SystemId::new("ldap").unwrap(),
        LdapClient::new(server),
        LdapProfile::active_directory(base),
    )
}

#[test]
fn addresses_are_those_that_the_system_writes() {
    let plain = ["mail", "mailAlternateAddress"].map(str::to_owned);
    for (attributes, expected) in [
        (&[][..], &[][..]),
        (&[("mail", "Ada@Example.org")], &["Ada@Example.org"]),
        (
            &[
                ("mailAlternateAddress", "z@example.org"),
                ("mail", "b@example.org"),
                ("mail", "a@example.org"),
            ],
            &["a@example.org", "b@example.org", "z@example.org"],
        ),
        (
            &[
                ("mailAlternateAddress", "a@example.org"),
                ("mail", "a@example.org"),
            ],
            &["a@example.org"],
        ),
        (
            &[
                ("mail", "other@example.org"),
                ("proxyAddresses", "smtp:b@example.org"),
                ("proxyAddresses", "X500:/o=Example/cn=Ada"),
                ("proxyAddresses", "SMTP:z@example.org"),
                ("proxyAddresses", "sip:ada@example.org"),
                ("proxyAddresses", "Smtp:a@example.org"),
            ],
            &["z@example.org", "a@example.org", "b@example.org"],
        ),
        (
            &[
                ("mail", "z@example.org"),
                ("proxyAddresses", "smtp:a@example.org"),
                ("proxyAddresses", "smtp:z@example.org"),
            ],
            &["z@example.org", "a@example.org"],
        ),
        // None of them takes mail, so that the others count.
        (
            &[
                ("mail", "a@example.org"),
                ("proxyAddresses", "SMTP:"),
                ("proxyAddresses", "X500:/o=Example"),
            ],
            &["a@example.org"],
        ),
        (
            &[
                ("mail", ""),
                ("mail", "ada"),
                ("mail", "ada@"),
                ("mail", "a b@example.org"),
                ("mail", "a\n@example.org"),
            ],
            &[],
        ),
        (&[("mail", "Jörg@bücher.example")], &["Jörg@bücher.example"]),
    ] {
        assert_eq!(addresses(&entry(attributes), &plain), expected, "{attributes:?}");
    }
}

/// As many as one entry has room for.
#[test]
fn addresses_take_time_by_their_number() {
    let mut entry = entry(&[]);
    for number in 0..200_000 {
        for scheme in ["SMTP", "smtp"] {
            entry.push("proxyAddresses", format!("{scheme}:{number}@x").as_bytes());
        }
    }
    assert_eq!(addresses(&entry, &[]).len(), 200_000);
    let mut others = Entry::new(Dn::parse("cn=Ada").unwrap());
    for number in 0..200_000 {
        others.push("mail", format!("{number}@x").as_bytes());
        others.push("mailAlternateAddress", format!("{number}@y").as_bytes());
    }
    let plain = ["mail", "mailAlternateAddress"].map(str::to_owned);
    assert_eq!(addresses(&others, &plain).len(), 400_000);
}

#[test]
fn accounts_say_what_they_are() {
    let accounts = accounts().with_attribute(
        AttributeName::new("number").unwrap(),
        "employeeNumber",
        ValueForm::Text,
    );
    let user = ("objectClass", "user");
    let mail = ("mail", "ada@example.org");
    for (attributes, expected) in [
        (vec![user, mail], "user active eligible"),
        (vec![user], "user active (no mail address)"),
        (
            vec![user, mail, ("userAccountControl", "514")],
            "user inactive eligible",
        ),
        (
            vec![user, mail, ("msExchHideFromAddressLists", "TRUE")],
            "user active eligible",
        ),
        (
            vec![
                user,
                mail,
                ("msExchRecipientTypeDetails", "16"),
                ("userAccountControl", "514"),
            ],
            "room inactive eligible",
        ),
        (
            vec![user, mail, ("msExchRecipientTypeDetails", "32")],
            "equipment active eligible",
        ),
        (
            vec![user, mail, ("msExchRecipientTypeDetails", "8388608")],
            "user active (a mailbox of the mail system itself)",
        ),
        (
            vec![user, mail, ("msExchRecipientTypeDetails", "549755813888")],
            "user active (a mailbox of the mail system itself)",
        ),
    ] {
        let mut entry = entry(&attributes);
        entry.push("objectGUID", &[7; 16]);
        entry.push("employeeNumber", b"4711");
        let Seen::Principal { principal, .. } = look(&entry, &accounts.0.profile.rules) else {
            panic!("{attributes:?}");
        };
        let shown = account(&entry, principal, false, &accounts.0);
        let eligible = shown
            .ineligible
            .as_ref()
            .map_or_else(|| "eligible".to_owned(), |reason| format!("({reason})"));
        let activity = match shown.activity {
            Activity::Active => "active",
            Activity::Inactive => "inactive",
        };
        assert_eq!(
            format!("{} {activity} {eligible}", shown.kind),
            expected,
            "{attributes:?}"
        );
        assert!(!shown.privileged);
        let number = &shown.attributes[&AttributeName::new("number").unwrap()];
        assert_eq!(number, &Value::Text("4711".to_owned()));
        let resource = matches!(
            shown.kind,
            PrincipalKind::Resource(ResourceKind::Room | ResourceKind::Equipment)
        );
        assert_eq!(resource, expected.starts_with('r') || expected.starts_with('e'));
    }
}

#[test]
fn what_is_shown_of_it_holds_no_secret() {
    assert!(!format!("{:?}", accounts()).contains("canary"));
}

fn value() -> impl Strategy<Value = (&'static str, String)> {
    let attribute = prop::sample::select(vec![
        "mail",
        "proxyAddresses",
        "PROXYaddresses",
        "mailAlternateAddress",
        "cn",
    ]);
    let text = prop_oneof![
        "(smtp:|SMTP:|X500:|)[a-c]@(a|b)\\.example",
        "\\PC{0,12}",
        "[\\x00-\\x7f]{0,6}",
    ];
    (attribute, text)
}

proptest! {
    #[test]
    fn addresses_do_not_depend_on_the_order_of_values(
        (values, shuffled) in prop::collection::vec(value(), 0..12)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
    ) {
        let plain = ["mail".to_owned(), "mailAlternateAddress".to_owned()];
        let of = |values: &[(&str, String)]| {
            let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            addresses(&entry(&values), &plain)
        };
        let found = of(&values);
        prop_assert_eq!(&found, &of(&shuffled));
        // Each is written somewhere, and none is there twice.
        for (at, address) in found.iter().enumerate() {
            prop_assert!(values.iter().any(|(_, value)| value.ends_with(address.as_str())));
            prop_assert!(!found[..at].contains(address));
            prop_assert!(usersync_model::Address::parse(address).is_ok());
        }
    }
}
