//! Filters: the string form of RFC 4515 as tables, and properties against a structured oracle.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

use std::fmt::Write as _;

use proptest::prelude::*;
use usersync_ldap::{Filter, FilterError};

#[test]
fn texts() {
    for (text, canonical) in [
        ("(cn=a)", "(cn=a)"),
        ("cn=a", "(cn=a)"),
        (" \t\r\n(cn=a)\n", "(cn=a)"),
        ("(cn= a b )", "(cn= a b )"),
        ("(cn=)", "(cn=)"),
        ("(CN;lang-de=*)", "(CN;lang-de=*)"),
        ("(2.5.4.3=a)", "(2.5.4.3=a)"),
        ("(cn=*)", "(cn=*)"),
        ("(cn=***)", "(cn=*)"),
        ("(cn=a*b**c*)", "(cn=a*b*c*)"),
        ("(cn=*a)", "(cn=*a)"),
        ("(cn>=5)", "(cn>=5)"),
        ("(cn<=5)", "(cn<=5)"),
        ("(cn~=a)", "(cn~=a)"),
        ("(cn=a=b)", "(cn=a=b)"),
        ("(cn:=a)", "(cn:=a)"),
        ("(cn:DN:=a)", "(cn:dn:=a)"),
        ("(cn:dn:2.4.6:=a)", "(cn:dn:2.4.6:=a)"),
        ("(cn:caseExactMatch:=a)", "(cn:caseExactMatch:=a)"),
        ("(:2.4.6:=a)", "(:2.4.6:=a)"),
        ("(:dn:2.4.6:=a)", "(:dn:2.4.6:=a)"),
        ("(cn=\\2A\\28\\5c\\00)", "(cn=\\2a\\28\\5c\\00)"),
        ("(cn=\\61\\C4\\8d)", "(cn=a\\c4\\8d)"),
        ("(cn=Lučić\u{7f}\t)", "(cn=Lu\\c4\\8di\\c4\\87\\7f\\09)"),
        ("(cn={[\"<&|!>\"]},#;:+)", "(cn={[\"<&|!>\"]},#;:+)"),
        ("(&)", "(&)"),
        ("(|)", "(|)"),
        ("( & ( cn=a)\n\t(| ) )", "(&(cn=a)(|))"),
        ("(! (cn=a) )", "(!(cn=a))"),
        ("(!cn=a*)", "(!(cn=a*))"),
        ("( ! cn=a)", "(!(cn=a))"),
        ("(!(!(&)))", "(!(!(&)))"),
        // What Exchange writes for a dynamic distribution list, and what Active Directory's tools save as a query.
        (
            "(&(objectClass=user)(!(cn=SystemMailbox{*))(msExchRecipientTypeDetails:1.2.840.113556.1.4.803:=1))",
            "(&(objectClass=user)(!(cn=SystemMailbox{*))(msExchRecipientTypeDetails:1.2.840.113556.1.4.803:=1))",
        ),
        (
            "(&(!cn=SystemMailbox{*)(& (mailNickname=*) (| (&(objectCategory=person)(!(homeMDB=*))) )))",
            "(&(!(cn=SystemMailbox{*))(&(mailNickname=*)(|(&(objectCategory=person)(!(homeMDB=*))))))",
        ),
        (
            "(memberOf:1.2.840.113556.1.4.1941:=CN=Bees\\5c, all,DC=x)",
            "(memberOf:1.2.840.113556.1.4.1941:=CN=Bees\\5c, all,DC=x)",
        ),
        // The examples of RFC 4515, section 4.
        ("(!(cn=Tim Howes))", "(!(cn=Tim Howes))"),
        (
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
        ),
        ("(o=univ*of*mich*)", "(o=univ*of*mich*)"),
        ("(seeAlso=)", "(seeAlso=)"),
        (
            "(cn:caseExactMatch:=Fred Flintstone)",
            "(cn:caseExactMatch:=Fred Flintstone)",
        ),
        (
            "(sn:dn:2.4.6.8.10:=Barney Rubble)",
            "(sn:dn:2.4.6.8.10:=Barney Rubble)",
        ),
        ("(o:dn:=Ace Industry)", "(o:dn:=Ace Industry)"),
        ("(:DN:2.4.6.8.10:=Dino)", "(:dn:2.4.6.8.10:=Dino)"),
        (
            "(o=Parens R Us \\28for all your parenthetical needs\\29)",
            "(o=Parens R Us \\28for all your parenthetical needs\\29)",
        ),
        ("(filename=C:\\5cMyFile)", "(filename=C:\\5cMyFile)"),
        ("(bin=\\00\\00\\00\\04)", "(bin=\\00\\00\\00\\04)"),
        (
            "(1.3.6.1.4.1.1466.0=\\04\\02\\48\\69)",
            "(1.3.6.1.4.1.1466.0=\\04\\02Hi)",
        ),
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(filter.to_string(), canonical, "{text:?}");
        assert_eq!(filter.as_str(), canonical);
        assert_eq!(canonical.parse(), Ok(filter), "the text of {text:?}");
        #[cfg(feature = "client")]
        assert!(
            ldap3::parse_filter(canonical).is_ok(),
            "the protocol library reads {canonical}"
        );
    }
}

#[test]
fn errors() {
    use FilterError::{Attribute, Escape, Operator, Rule, Term, TooLarge, Trailing, Unclosed, Unescaped};
    let long = format!("(cn={})", "a".repeat(64 << 10));
    let grows = format!("(cn={})", "é".repeat(16 << 10));
    let deep = format!("{}(cn=a){}", "(!".repeat(32), ")".repeat(32));
    let deep_short = format!("{}cn=a{}", "(!".repeat(32), ")".repeat(32));
    let open = "(&".repeat(30_000);
    let many = format!("(&{})", "(|)".repeat(4096));
    for (text, error) in [
        ("", Term { at: 0 }),
        ("  ", Term { at: 0 }),
        (")", Term { at: 0 }),
        ("(", Attribute { at: 1 }),
        ("()", Attribute { at: 1 }),
        ("((cn=a))", Attribute { at: 1 }),
        ("(=a)", Attribute { at: 1 }),
        ("(c_n=a)", Operator { at: 2 }),
        ("(-cn=a)", Attribute { at: 1 }),
        ("(1.=a)", Attribute { at: 1 }),
        ("(2.05.4=a)", Attribute { at: 1 }),
        ("(cn;=a)", Attribute { at: 1 }),
        ("(cn;;x=a)", Attribute { at: 1 }),
        ("(cn.x=a)", Attribute { at: 1 }),
        ("(ü=a)", Attribute { at: 1 }),
        ("&(cn=a)", Attribute { at: 0 }),
        ("(&&(cn=a))", Term { at: 2 }),
        ("(!&(cn=a))", Attribute { at: 2 }),
        ("(cn)", Operator { at: 3 }),
        ("cn", Operator { at: 2 }),
        ("(cn =a)", Operator { at: 3 }),
        ("(cn>a)", Operator { at: 3 }),
        ("(cn==a", Unclosed { at: 0 }),
        ("(cn=a", Unclosed { at: 0 }),
        ("(|(cn=a)(!(cn=b)", Unclosed { at: 8 }),
        ("(&", Unclosed { at: 0 }),
        ("(!", Unclosed { at: 0 }),
        ("(!)", Term { at: 2 }),
        ("(!(cn=a)(cn=b))", Trailing { at: 8 }),
        ("(!cn=a(cn=b))", Unescaped { at: 6 }),
        ("(&(cn=a)x)", Term { at: 8 }),
        ("(cn=a)(cn=b)", Trailing { at: 6 }),
        ("(cn=a))", Trailing { at: 6 }),
        ("cn=a)", Trailing { at: 4 }),
        ("(cn=a) x", Trailing { at: 7 }),
        ("(cn=a(b)", Unescaped { at: 5 }),
        ("(cn=a\0)", Unescaped { at: 5 }),
        ("(cn>=a*)", Unescaped { at: 6 }),
        ("(cn:=*)", Unescaped { at: 5 }),
        ("(cn=\\)", Escape { at: 4 }),
        ("(cn=\\2)", Escape { at: 4 }),
        ("(cn=\\2g)", Escape { at: 4 }),
        ("(cn=\\", Escape { at: 4 }),
        ("(cn=\\*)", Escape { at: 4 }),
        ("(cn=\\é)", Escape { at: 4 }),
        ("(:=a)", Rule { at: 2 }),
        ("(:dn:=a)", Rule { at: 5 }),
        ("(cn::=a)", Rule { at: 4 }),
        ("(cn:dn:dn:=a)", Rule { at: 7 }),
        ("(cn:2.4.6:dn:=a)", Rule { at: 10 }),
        ("(cn:1.2:3.4:=a)", Rule { at: 8 }),
        ("(cn:dnMatch:=a)", Rule { at: 4 }),
        ("(cn:x=a)", Operator { at: 5 }),
        ("(cn:x", Operator { at: 5 }),
        (&long, TooLarge),
        (&grows, TooLarge),
        (&deep, TooLarge),
        (&deep_short, TooLarge),
        (&open, TooLarge),
        (&many, TooLarge),
    ] {
        match Filter::parse(text) {
            Ok(filter) => panic!("{text:.40?} is no filter, but was read as {filter}"),
            Err(found) => assert_eq!(found, error, "{text:.40?}: {found}"),
        }
    }
}

#[test]
fn errors_tell_what_to_do() {
    for (text, message) in [
        (
            "(cn=a",
            "the parenthesis at byte 0 is not closed; add `)`, or write `\\28` for one that belongs to a value",
        ),
        (
            "(cn=\\x)",
            "the backslash at byte 4 is not followed by two hexadecimal digits; write `\\5c` for a backslash",
        ),
        (
            "(cn=a)(cn=b)",
            "the filter ended before byte 6; put several filters into `(&…)` or `(|…)`",
        ),
    ] {
        assert_eq!(Filter::parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn built_filters() {
    for (filter, text) in [
        (Filter::present("mail"), "(mail=*)"),
        (Filter::equal("cn", "*"), "(cn=\\2a)"),
        (Filter::equal("cn", ""), "(cn=)"),
        (
            Filter::equal("objectGUID", [0x00, 0x41, 0xff]),
            "(objectGUID=\\00A\\ff)",
        ),
        (Filter::at_least("uSNChanged", "7"), "(uSNChanged>=7)"),
        (
            Filter::at_most("modifyTimestamp", "20260101000000Z"),
            "(modifyTimestamp<=20260101000000Z)",
        ),
        (Filter::approx("sn", "Maier"), "(sn~=Maier)"),
        (Filter::substring("cn", "Jo", &[], ""), "(cn=Jo*)"),
        (Filter::substring("cn", "", &["*"], ""), "(cn=*\\2a*)"),
        (Filter::substring("cn", "a", &["", "b", ""], "c"), "(cn=a*b*c)"),
        (Filter::substring("cn", "", &[""], ""), "(cn=*)"),
        (
            Filter::matches("userAccountControl", "1.2.840.113556.1.4.803", "2"),
            "(userAccountControl:1.2.840.113556.1.4.803:=2)",
        ),
        (Filter::all([]), "(&)"),
        (Filter::any([]), "(|)"),
        (
            Filter::all([Filter::present("a").unwrap(), Filter::present("b").unwrap()]),
            "(&(a=*)(b=*))",
        ),
        (
            Filter::not(Filter::any([Filter::present("a").unwrap()]).unwrap()),
            "(!(|(a=*)))",
        ),
    ] {
        assert_eq!(filter.unwrap().to_string(), text);
    }
    for attribute in [
        "",
        "a=b)(c",
        "cn;",
        "cn ",
        "(cn",
        "member;range=0-4",
        "ü",
        "cn\0",
        "cn:dn",
    ] {
        assert_eq!(
            Filter::present(attribute),
            Err(FilterError::Attribute { at: 0 }),
            "{attribute:?}"
        );
    }
    for rule in ["", "dn", "DNx", "1.2:=*)(cn", "a b", "1..2"] {
        assert_eq!(
            Filter::matches("cn", rule, "a"),
            Err(FilterError::Rule { at: 0 }),
            "{rule:?}"
        );
    }
}

#[test]
fn what_is_built_keeps_the_limits() {
    let mut filter = Filter::present("cn").unwrap();
    for _ in 1..32 {
        filter = Filter::not(filter).unwrap();
    }
    assert_eq!(
        Filter::parse(filter.as_str()),
        Ok(filter.clone()),
        "32 deep is allowed"
    );
    assert_eq!(Filter::not(filter.clone()), Err(FilterError::TooLarge));
    assert_eq!(Filter::all([filter.clone()]), Err(FilterError::TooLarge));
    assert_eq!(Filter::any([filter]), Err(FilterError::TooLarge));
    let term = Filter::present("cn").unwrap();
    let many = Filter::any(std::iter::repeat_n(term.clone(), 4095)).unwrap();
    assert_eq!(Filter::parse(many.as_str()), Ok(many), "4096 terms are allowed");
    assert_eq!(
        Filter::any(std::iter::repeat(term)),
        Err(FilterError::TooLarge),
        "an endless iterator ends"
    );
    assert!(Filter::equal("cn", "a".repeat((64 << 10) - 5)).is_ok());
    assert_eq!(
        Filter::equal("cn", "a".repeat((64 << 10) - 4)),
        Err(FilterError::TooLarge)
    );
    assert_eq!(
        Filter::equal("cn", "*".repeat(30_000)),
        Err(FilterError::TooLarge)
    );
}

/// A filter as a structure, independent of the code under test.
#[derive(Clone, Debug)]
enum Model {
    Compare(&'static str, &'static str, Vec<u8>),
    Combine(char, Vec<Self>),
    Substring(&'static str, Vec<Vec<u8>>),
}

impl Model {
    fn build(&self) -> Filter {
        match self {
            Self::Compare(attribute, operator, value) => match *operator {
                "=" => Filter::equal(attribute, value),
                ">=" => Filter::at_least(attribute, value),
                "<=" => Filter::at_most(attribute, value),
                "~=" => Filter::approx(attribute, value),
                _ => Filter::matches(attribute, operator.trim_matches([':', '=']), value),
            },
            Self::Substring(attribute, parts) => {
                let [initial, any @ .., end] = parts.as_slice() else {
                    panic!("a substring has two ends");
                };
                Filter::substring(attribute, initial, &any.iter().collect::<Vec<_>>(), end)
            }
            Self::Combine(operator, filters) => {
                let mut filters: Vec<_> = filters.iter().map(Self::build).collect();
                match operator {
                    '&' => Filter::all(filters),
                    '|' => Filter::any(filters),
                    _ => Filter::not(filters.remove(0)),
                }
            }
        }
        .unwrap()
    }

    /// Writes it, choosing among the equivalent ways by `choose`; 0 is the canonical one.
    fn render(&self, choose: &mut impl FnMut(u8) -> u8) -> String {
        let spaces = ["", " ", "\n\t"];
        let mut text = String::from("(");
        text += spaces[usize::from(choose(3))];
        match self {
            Self::Compare(attribute, operator, value) => {
                write!(text, "{attribute}{operator}{}", escape(value, choose)).unwrap();
            }
            Self::Substring(attribute, parts) => {
                let [initial, any @ .., end] = parts.as_slice() else {
                    panic!("a substring has two ends");
                };
                write!(text, "{attribute}={}*", escape(initial, choose)).unwrap();
                for part in any.iter().filter(|part| !part.is_empty()) {
                    write!(text, "{}*", escape(part, choose)).unwrap();
                    text += ["", "*"][usize::from(choose(2))];
                }
                text += &escape(end, choose);
            }
            Self::Combine(operator, filters) => {
                text.push(*operator);
                for filter in filters {
                    text += spaces[usize::from(choose(3))];
                    text += &filter.render(choose);
                }
                text += spaces[usize::from(choose(3))];
            }
        }
        text + ")"
    }
}

fn escape(value: &[u8], choose: &mut impl FnMut(u8) -> u8) -> String {
    let plain = |b: u8| (b' '..=b'~').contains(&b) && !b"()*\\".contains(&b);
    value
        .iter()
        .map(|&b| match choose(3) {
            0 | 1 if plain(b) => char::from(b).to_string(),
            0 => format!("\\{b:02x}"),
            _ => format!("\\{b:02X}"),
        })
        .collect()
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        "[a-c()*\\\\=&|! é\u{0}]{0,6}".prop_map(String::into_bytes),
    ]
}

fn model() -> impl Strategy<Value = Model> {
    let attribute =
        || prop::sample::select(&["cn", "objectClass", "2.5.4.3", "cn;lang-de;x", "dnQualifier"][..]);
    let operator = prop::sample::select(&["=", ">=", "<=", "~=", ":1.2.3:=", ":caseExactMatch:="][..]);
    let leaf = prop_oneof![
        (attribute(), operator, value())
            .prop_map(|(attribute, operator, value)| Model::Compare(attribute, operator, value)),
        (attribute(), prop::collection::vec(value(), 2..5))
            .prop_map(|(attribute, parts)| Model::Substring(attribute, parts)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            (
                prop::sample::select(&['&', '|'][..]),
                prop::collection::vec(inner.clone(), 0..4)
            )
                .prop_map(|(operator, filters)| Model::Combine(operator, filters)),
            inner.prop_map(|filter| Model::Combine('!', vec![filter])),
        ]
    })
}

proptest! {
    #[test]
    fn the_way_of_writing_does_not_matter(
        model in model(),
        choices in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let filter = model.build();
        let canonical = model.render(&mut |_| 0);
        prop_assert_eq!(filter.as_str(), &canonical);
        prop_assert_eq!(Filter::parse(&canonical), Ok(filter.clone()));
        let mut next = choices.iter().cycle();
        let text = model.render(&mut |n| next.next().map_or(0, |choice| choice % n));
        prop_assert_eq!(Filter::parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    #[cfg(feature = "client")]
    fn the_protocol_library_reads_what_is_sent(model in model()) {
        prop_assert!(ldap3::parse_filter(model.build().as_str()).is_ok(), "{}", model.build());
    }

    #[test]
    fn a_value_stays_one_value(value in prop_oneof![value(), Just(b")(uid=*".to_vec()), Just(b"*)(|(uid=*)".to_vec())]) {
        let escaped: String = value.iter().map(|b| format!("\\{b:02x}")).collect();
        let equal = Filter::equal("uid", &value).unwrap();
        prop_assert_eq!(equal.as_str().matches(['(', ')', '*']).count(), 2, "{}", equal);
        prop_assert_eq!(Filter::parse(&format!("(uid={escaped})")), Ok(equal.clone()));
        // All structure around it is that of the typed parts.
        let both = Filter::all([equal.clone(), Filter::present("a").unwrap()]).unwrap();
        prop_assert_eq!(both.to_string(), format!("(&{equal}(a=*))"));
        prop_assert_eq!(Filter::parse(both.as_str()), Ok(both));
    }

    #[test]
    fn no_attribute_breaks_out(attribute in "\\PC{0,12}|[a-c0-2.;:=()*&|!-]{0,8}") {
        if let Ok(filter) = Filter::equal(&attribute, "x") {
            prop_assert_eq!(filter.as_str(), format!("({attribute}=x)"));
            prop_assert_eq!(Filter::parse(filter.as_str()), Ok(filter));
        }
        if let Ok(filter) = Filter::matches("cn", &attribute, "x") {
            prop_assert_eq!(filter.as_str(), format!("(cn:{attribute}:=x)"));
            prop_assert_eq!(Filter::parse(filter.as_str()), Ok(filter));
        }
    }

    #[test]
    fn no_text_panics(text in prop_oneof![
        any::<String>(),
        "[(&|!) acn=<>~:*\\\\0-2.;\u{0}é]{0,40}",
        prop::collection::vec(prop::sample::select(&["(", ")", "&", "|", "!", "cn", "=", "*", ":dn", ":1.2", ":=", "\\2a", " "][..]), 0..24)
            .prop_map(|parts| parts.concat()),
    ]) {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(filter.as_str()), Ok(filter));
        }
    }

    #[test]
    fn a_filter_cut_short_is_none(model in model(), at in any::<prop::sample::Index>()) {
        let text = model.build().to_string();
        let cut = &text[..at.index(text.len())];
        prop_assert!(Filter::parse(cut).is_err(), "{}", cut);
    }
}

#[test]
fn the_generator_makes_all_kinds_of_filters() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<_> = (0..300)
        .map(|_| {
            model()
                .new_tree(&mut runner)
                .unwrap()
                .current()
                .build()
                .to_string()
        })
        .collect();
    for part in [
        "(&(", "(|(", "(!(", "(&)", "))))", "=*", "*\\", ">=", "~=", ":1.2.3:=", "\\2a", "\\ff",
    ] {
        let with = texts.iter().filter(|text| text.contains(part)).count();
        assert!(with > 2, "{with} with {part}");
    }
}
