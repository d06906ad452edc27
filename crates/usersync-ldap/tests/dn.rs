//! Distinguished names: the rules of RFC 4514 as a table, and properties against a structured oracle.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use usersync_ldap::{Dn, DnError};

#[test]
fn keys() {
    for (text, key) in [
        ("", ""),
        ("   ", ""),
        ("UID=jsmith,DC=example,DC=net", "uid=jsmith,dc=example,dc=net"),
        (
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            "cn=j. smith+ou=sales,dc=example,dc=net",
        ),
        (
            r#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#,
            r#"cn=james \"jim\" smith\, iii,dc=example,dc=net"#,
        ),
        (r"CN=Before\0dAfter,DC=example", "cn=before\rafter,dc=example"),
        ("1.3.6.1.4.1.1466.0=#04024869", "1.3.6.1.4.1.1466.0=#04024869"),
        ("CN=Lu\\C4\\8Di\\C4\\87", "cn=lučić"),
        (" cn = a b , dc = x ", "cn=a b,dc=x"),
        (r"cn=\ \20a\20 \ b\ ", "cn=a b"),
        ("cn=", "cn="),
        (r"cn=\20", "cn="),
        (
            "2.5.4.3=A,commonName=b,0.9.2342.19200300.100.1.25=c",
            "cn=a,cn=b,dc=c",
        ),
        ("cn=#0C0361C3A9", "cn=aé"),
        ("cn=#130141", "cn=a"),
        ("cn=#0C0541", "cn=#0c0541"),
        ("cn=#308000", "cn=#308000"),
        (r"cn=\#04", r"cn=\#04"),
        ("cn=a=b#c", "cn=a=b#c"),
        (r"cn=\00", r"cn=\00"),
        ("cn=ÄÖ", "cn=ÄÖ"),
    ] {
        let dn = Dn::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(dn.key(), key, "{text:?}");
        assert_eq!(dn.to_string(), text, "shown as written");
        assert_eq!(
            Dn::parse(dn.key()).unwrap().key(),
            key,
            "the key of the key of {text:?}"
        );
    }
}

#[test]
fn errors() {
    let deep = vec!["dc=x"; 257].join(",");
    let long = format!("cn={}", "x".repeat(16 << 10));
    for (text, error) in [
        ("cn", DnError::Type { at: 0 }),
        ("=x", DnError::Type { at: 0 }),
        ("cn=a,", DnError::Type { at: 5 }),
        (",cn=a", DnError::Type { at: 0 }),
        ("cn=a+", DnError::Type { at: 5 }),
        ("cn=a,,dc=b", DnError::Type { at: 5 }),
        ("c_n=a", DnError::Type { at: 0 }),
        ("1a=x", DnError::Type { at: 0 }),
        ("1..2=x", DnError::Type { at: 0 }),
        ("OID.2.5.4.3=x", DnError::Type { at: 0 }),
        (r"cn=a\", DnError::Escape { at: 4 }),
        (r"cn=\g0", DnError::Escape { at: 3 }),
        (r"cn=\é", DnError::Escape { at: 3 }),
        (r"cn=\4", DnError::Escape { at: 3 }),
        ("cn=\"a\"", DnError::Unescaped { at: 3 }),
        ("cn=a;dc=b", DnError::Unescaped { at: 4 }),
        ("cn=<a", DnError::Unescaped { at: 3 }),
        ("cn=a\0", DnError::Unescaped { at: 4 }),
        ("cn=#", DnError::Hex { at: 3 }),
        ("cn=#0", DnError::Hex { at: 3 }),
        ("cn=#0x", DnError::Hex { at: 3 }),
        (r"cn=x\ff", DnError::Utf8 { at: 3 }),
        (deep.as_str(), DnError::TooLong),
        (long.as_str(), DnError::TooLong),
    ] {
        assert_eq!(Dn::parse(text).unwrap_err(), error, "{text:.40?}");
    }
}

#[test]
fn parents() {
    let dn = Dn::parse(r"cn=Doe\, Jo\\,  OU=Bees \ ").unwrap();
    let unit = dn.parent().unwrap();
    assert_eq!(unit, Dn::parse("ou=bees").unwrap());
    assert_eq!(unit.to_string(), r"OU=Bees \ ");
    assert_eq!(Dn::parse(&unit.to_string()).unwrap(), unit);
    let root = unit.parent().unwrap();
    assert!(root.is_root());
    assert_eq!(root.parent(), None);
}

type Component = Vec<(String, String)>;

/// Names as structures: components of (type, value).
fn structure() -> impl Strategy<Value = Vec<Component>> {
    let kind =
        prop_oneof![Just("cn"), Just("ou"), Just("dc"), Just("x-y"), Just("1.2.3")].prop_map(str::to_owned);
    let value = "[abAB ,+\"\\\\<>;=#é\u{0}0-2]{0,6}";
    let component = prop::collection::vec((kind, value), 1..3);
    prop::collection::vec(component, 0..5)
}

/// Names so small that equal ones are frequent.
fn small() -> impl Strategy<Value = Vec<Component>> {
    let part = (Just("cn".to_owned()), "[aA ,]{0,2}");
    prop::collection::vec(prop::collection::vec(part, 1..3), 0..2)
}

/// What makes two structures the same name, in the plainest words.
fn meaning(structure: &[Component]) -> Vec<Vec<(String, Vec<String>)>> {
    structure
        .iter()
        .map(|component| {
            let mut component: Vec<_> = component
                .iter()
                .map(|(kind, value)| {
                    let words = value.split_ascii_whitespace();
                    (kind.clone(), words.map(str::to_ascii_lowercase).collect())
                })
                .collect();
            component.sort();
            component
        })
        .collect()
}

/// Writes a structure, choosing among the equivalent ways by `choices`.
fn render(structure: &[Component], choices: &[u8]) -> String {
    let mut next = choices.iter().copied().cycle();
    let mut choose = |n: u8| next.next().map_or(0, |choice| choice % n);
    let mut text = String::new();
    for (i, component) in structure.iter().enumerate() {
        text.push_str(["", ",", " , "][if i == 0 { 0 } else { 1 + usize::from(choose(2)) }]);
        for (j, (kind, value)) in component.iter().enumerate() {
            text.push_str(if j == 0 { "" } else { "+" });
            text.push_str(&if choose(2) == 0 {
                kind.to_ascii_uppercase()
            } else {
                kind.clone()
            });
            text.push_str(["=", " = "][usize::from(choose(2))]);
            for (at, c) in value.char_indices() {
                let special = "\"+,;<>\\".contains(c) || (c == '#' && value[..at].trim().is_empty());
                match choose(3) {
                    0 if special || c == ' ' || c == '=' || c == '#' => text.extend(['\\', c]),
                    1 if !special && c != '\0' => text.push(c),
                    _ => {
                        let mut utf8 = [0; 4];
                        for byte in c.encode_utf8(&mut utf8).bytes() {
                            text.push_str(&format!("\\{byte:02X}"));
                        }
                    }
                }
            }
        }
    }
    text
}

proptest! {
    #[test]
    fn the_way_of_writing_does_not_matter(
        name in structure(),
        choices in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let text = render(&name, &choices);
        let plain = render(&name, &[2]);
        let dn = Dn::parse(&text).unwrap();
        prop_assert_eq!(&dn, &Dn::parse(&plain).unwrap(), "{} and {}", text, plain);
        let again = Dn::parse(dn.key()).unwrap();
        prop_assert_eq!(again.key(), dn.key());
    }

    #[test]
    fn keys_are_equal_exactly_for_equal_meanings(a in small(), b in small()) {
        let same = meaning(&a) == meaning(&b);
        let (a, b) = (Dn::parse(&render(&a, &[2])).unwrap(), Dn::parse(&render(&b, &[2])).unwrap());
        prop_assert_eq!(a == b, same, "{} and {}", a, b);
    }

    #[test]
    fn swapped_case_and_more_spaces_keep_the_key(name in structure()) {
        let swapped: Vec<Component> = name
            .iter()
            .map(|c| c.iter().rev().map(|(k, v)| (k.clone(), v.to_ascii_uppercase().replace(' ', "   "))).collect())
            .collect();
        prop_assert_eq!(
            Dn::parse(&render(&name, &[2])).unwrap(),
            Dn::parse(&render(&swapped, &[2])).unwrap()
        );
    }

    #[test]
    fn the_parent_is_the_rest(name in structure(), choices in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut dn = Dn::parse(&render(&name, &choices)).unwrap();
        for depth in 1..=name.len() {
            dn = dn.parent().unwrap();
            prop_assert_eq!(&dn, &Dn::parse(&render(&name[depth..], &[2])).unwrap());
            prop_assert_eq!(&dn, &Dn::parse(&dn.to_string()).unwrap());
        }
        prop_assert_eq!(dn.parent(), None);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}|[a-c=,+\\\\#\"; 0-9]{0,40}") {
        if let Ok(dn) = Dn::parse(&text) {
            let mut above = Some(dn);
            while let Some(dn) = above {
                prop_assert_eq!(&dn, &Dn::parse(&dn.to_string()).unwrap());
                above = dn.parent();
            }
        }
    }
}

#[test]
fn the_generators_make_equal_and_unequal_names() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let names: Vec<_> = (0..200)
        .map(|_| small().new_tree(&mut runner).unwrap().current())
        .collect();
    let meanings: BTreeSet<_> = names.iter().map(|name| meaning(name)).collect();
    let texts: BTreeSet<_> = names.iter().collect();
    assert!(meanings.len() > 20, "{}", meanings.len());
    assert!(
        texts.len() > meanings.len() + 20,
        "some differ only in what means nothing"
    );
    assert!(names.len() > texts.len() + 20, "some are equal");
}
