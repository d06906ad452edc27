//! Distinguished names: the rules of RFC 4514 as a table, and properties against a structured oracle.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;
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
        (r"CN=Before\0dAfter,DC=example", "cn=before after,dc=example"),
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
        (r"cn=\00", "cn="),
        (r"CN=Jo\0ACNF:0", "cn=jo cnf:0"),
        ("cn=ÄÖ", "cn=äö"),
        (r"uid=jo\CC\88rg", "uid=jörg"),
        ("cn=soft\u{ad}\u{200b}hyphen", "cn=softhyphen"),
        ("cn=\u{a0}a\u{3000}\u{2028}b\u{a0}", "cn=a b"),
        ("cn=ﬁ\u{ff0c}\u{ff1c}", r"cn=fi\,\<"),
        ("cn=\u{ff03}1", r"cn=\#1"),
        ("cn=¨", "cn=\\ \u{308}"),
        ("cn=ＡB，c+ou=Ⅷ", r"cn=ab\,c+ou=viii"),
        ("cn=𝐀ℂ", "cn=ac"),
        ("cn=İ", "cn=i\u{307}"),
        ("cn=Straße", "cn=straße"),
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
    let grows = format!("cn={}", "\u{fdfa}".repeat(4 << 10));
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
        ("2.5.04.3=x", DnError::Type { at: 0 }),
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
        // Short as written, but each character normalizes to eighteen.
        (grows.as_str(), DnError::TooLong),
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

#[test]
fn within() {
    for (name, ancestor, expected) in [
        ("cn=a,dc=x", "dc=x", true),
        ("cn=a,OU=b,dc=x", "ou=B , DC=X", true),
        ("dc=x", "dc=x", true),
        ("dc=x", "", true),
        ("", "", true),
        ("", "dc=x", false),
        ("dc=x", "cn=a,dc=x", false),
        ("cn=a,dc=xx", "dc=x", false),
        ("cn=adc=x", "dc=x", false),
        (r"uid=a\,dc=x,dc=y", "dc=y", true),
        (r"uid=a\,dc=x", "dc=x", false),
        (r"uid=a\2Cdc=x", "dc=x", false),
        (r"uid=a\\,dc=x", "dc=x", true),
        (r"uid=a\\\,dc=x", "dc=x", false),
        ("cn=a+dc=x", "dc=x", false),
        ("uid=jörg,ou=Büro,dc=x", "ou=BU\u{308}RO,dc=x", true),
    ] {
        let (name, ancestor) = (Dn::parse(name).unwrap(), Dn::parse(ancestor).unwrap());
        assert_eq!(name.is_within(&ancestor), expected, "{name} within {ancestor}");
    }
}

#[test]
fn children() {
    let base = Dn::parse("OU=Bees,dc=x").unwrap();
    for (value, text) in [
        ("a", "cn=a,OU=Bees,dc=x"),
        ("", "cn=,OU=Bees,dc=x"),
        (" ", r"cn=\ ,OU=Bees,dc=x"),
        ("  a  ", r"cn=\  a \ ,OU=Bees,dc=x"),
        ("#a#", r"cn=\#a#,OU=Bees,dc=x"),
        ("a\0", r"cn=a\00,OU=Bees,dc=x"),
        (
            r#"Doe, "Jo"+<x>;\=é"#,
            r#"cn=Doe\, \"Jo\"\+\<x\>\;\\=é,OU=Bees,dc=x"#,
        ),
    ] {
        let child = base.child("cn", value).unwrap();
        assert_eq!(child.to_string(), text, "{value:?}");
        assert_eq!(child.parent().as_ref(), Some(&base), "{value:?}");
    }
    assert_eq!(
        Dn::parse(" ").unwrap().child("2.5.4.3", "a").unwrap().to_string(),
        "2.5.4.3=a"
    );
    for attribute in ["", "cn=a,ou", "c n", "cn;lang-de", "1.", "-a", "ü"] {
        assert_eq!(
            base.child(attribute, "a"),
            Err(DnError::Type { at: 0 }),
            "{attribute:?}"
        );
    }
    assert_eq!(base.child("cn", &"x".repeat(16 << 10)), Err(DnError::TooLong));
}

type Component = Vec<(String, String)>;

/// What values are made of. Marks come with their letters: without, they would make characters of spaces.
const PIECES: &[&str] = &[
    "a", "b", "A", "B", "0", " ", ",", "+", "\"", "\\", "<", ">", ";", "=", "#", "\0", "\t", "é", "É",
    "e\u{301}", "E\u{301}", "Ω", "ω", "ς", "ß", "ẞ", "\u{2126}", "ﬁ", "Ⅷ", "\u{ad}", "\u{a0}", "\u{3000}",
    "，", "𝐀",
];

/// Names as structures: components of (type, value).
fn structure() -> impl Strategy<Value = Vec<Component>> {
    let kind =
        prop_oneof![Just("cn"), Just("ou"), Just("dc"), Just("x-y"), Just("1.2.3")].prop_map(str::to_owned);
    let value = prop::collection::vec(prop::sample::select(PIECES), 0..6).prop_map(|pieces| pieces.concat());
    let component = prop::collection::vec((kind, value), 1..3);
    prop::collection::vec(component, 0..5)
}

/// Names so small that equal ones are frequent.
fn small() -> impl Strategy<Value = Vec<Component>> {
    let value = prop::sample::select(
        &[
            "", "a", "A", " ", ",", "aA", " a", "a ,", "Ä", "ä", "A\u{308}", "\u{ad}a", "b", "B", "aäb",
        ][..],
    );
    let part = (Just("cn".to_owned()), value.prop_map(str::to_owned));
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
                    let visible: String = value.chars().filter(|c| !"\0\u{ad}".contains(*c)).collect();
                    let plain: String = lower(&visible).nfkc().collect();
                    let plain: String = lower(&plain).nfkc().collect();
                    (
                        kind.clone(),
                        plain.split_whitespace().map(str::to_owned).collect(),
                    )
                })
                .collect();
            component.sort();
            component
        })
        .collect()
}

fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Capitals for the letters that are capitals of nothing else.
fn upper(text: &str) -> String {
    let capital = |c: char| {
        let upper: String = c.to_uppercase().collect();
        if lower(&upper) == c.to_string() {
            upper
        } else {
            c.to_string()
        }
    };
    text.chars().map(capital).collect()
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
            .map(|c| c.iter().rev().map(|(k, v)| (k.clone(), upper(v).replace(' ', "   "))).collect())
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
    fn a_name_is_within_exactly_the_ends_of_it(a in structure(), b in structure(), cut in 0usize..5) {
        let name = Dn::parse(&render(&a, &[2])).unwrap();
        let end = &a[cut.min(a.len())..];
        prop_assert!(name.is_within(&Dn::parse(&render(end, &[0])).unwrap()), "{} within its end", name);
        let other = Dn::parse(&render(&b, &[1])).unwrap();
        let (a, b) = (meaning(&a), meaning(&b));
        prop_assert_eq!(name.is_within(&other), a.ends_with(&b), "{} within {}", name, other);
    }

    #[test]
    fn the_value_of_a_child_stays_one_value(
        base in structure(),
        value in prop_oneof![any::<String>(), prop::collection::vec(prop::sample::select(PIECES), 0..6).prop_map(|p| p.concat())],
    ) {
        let base = Dn::parse(&render(&base, &[2])).unwrap();
        let child = base.child("cn", &value).unwrap();
        prop_assert_eq!(child.parent(), Some(base.clone()));
        prop_assert!(child.is_within(&base) && !base.is_within(&child));
        // Fully escaped by other code, it is the same name.
        let escaped: String = value.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text = if base.is_root() { format!("cn={escaped}") } else { format!("cn={escaped},{base}") };
        prop_assert_eq!(child, Dn::parse(&text).unwrap());
    }

    #[test]
    fn keys_of_all_texts_are_their_own_keys(value in any::<String>()) {
        let dn = Dn::parse("").unwrap().child("cn", &value).unwrap();
        let again = Dn::parse(dn.key()).unwrap();
        prop_assert_eq!(again.key(), dn.key());
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
