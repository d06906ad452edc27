//! Which addresses are the same, and which only look it.

use proptest::prelude::*;
use usersync_model::{Address, AddressError, AddressKey};

fn key(text: &str) -> String {
    match AddressKey::of(text) {
        Ok(key) => key.as_str().to_owned(),
        Err(AddressError::Domain) => "domain!".to_owned(),
        Err(AddressError::Local) => "local!".to_owned(),
        Err(AddressError::NoAt) => "no at!".to_owned(),
        Err(_) => "other!".to_owned(),
    }
}

#[test]
fn keys_of_addresses() {
    for (text, want) in [
        ("anna@acme.example", "anna@acme.example"),
        ("Anna.BERG@ACME.Example", "anna.berg@acme.example"),
        // Dots and plus-tags are the mail system's affair.
        ("an.na@acme.example", "an.na@acme.example"),
        ("anna+crm@acme.example", "anna+crm@acme.example"),
        // The domain by IDNA, in either spelling.
        ("anna@B\u{dc}CHER.example", "anna@xn--bcher-kva.example"),
        ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
        ("anna@bu\u{308}cher.example", "anna@xn--bcher-kva.example"),
        ("anna@stra\u{df}e.example", "anna@xn--strae-oqa.example"),
        ("anna@strasse.example", "anna@strasse.example"),
        ("anna@acme\u{3002}example", "anna@acme.example"),
        // Case of other letters is not folded in the local part.
        ("J\u{d6}RG@acme.example", "j\u{d6}rg@acme.example"),
        ("j\u{f6}rg@acme.example", "j\u{f6}rg@acme.example"),
        ("jo\u{308}rg@acme.example", "jo\u{308}rg@acme.example"),
        ("mi\u{212a}e@acme.example", "mi\u{212a}e@acme.example"),
        ("m\u{131}ke@acme.example", "m\u{131}ke@acme.example"),
        ("\u{130}da@acme.example", "\u{130}da@acme.example"),
        ("\u{17f}am@acme.example", "\u{17f}am@acme.example"),
        ("o\u{fb00}ice@acme.example", "o\u{fb00}ice@acme.example"),
        ("stra\u{df}e@acme.example", "stra\u{df}e@acme.example"),
        ("\u{ff41}nna@acme.example", "\u{ff41}nna@acme.example"),
        // What becomes an @ or a dot under compatibility forms moves no split and makes no label.
        ("anna\u{ff20}evil.example", "no at!"),
        ("anna\u{fe6b}evil.example", "no at!"),
        (
            "anna\u{ff20}evil.example@acme.example",
            "anna\u{ff20}evil.example@acme.example",
        ),
        ("anna@evil.example\u{ff20}acme.example", "domain!"),
        ("anna@acme\u{2024}example", "domain!"),
        ("anna@acme\u{fe52}example", "domain!"),
        ("anna\u{2024}berg@acme.example", "anna\u{2024}berg@acme.example"),
        // The last @ splits; an earlier one is legal in quotes only.
        ("\"anna@home\"@acme.example", "\"anna@home\"@acme.example"),
        ("anna@home@acme.example", "local!"),
        // Quotes end where a mail system ends them: what follows would be somebody else's address to it.
        ("\"a\"@evil.example,\"b\"@acme.example", "local!"),
        ("\"anna\\\"@acme.example", "local!"),
        ("\"an\\\"na\"@acme.example", "\"an\\\"na\"@acme.example"),
        ("\"anna\\\\\"@acme.example", "\"anna\\\\\"@acme.example"),
        // Nothing is trimmed.
        (" anna@acme.example", "local!"),
        ("anna@acme.example ", "domain!"),
        ("anna @acme.example", "local!"),
        ("Anna <anna@acme.example>", "local!"),
        ("anna\r\nbcc:x@acme.example", "local!"),
        ("", "no at!"),
        ("@acme.example", "local!"),
        ("anna@", "domain!"),
        ("anna@acme..example", "domain!"),
        ("anna@acme.example.", "domain!"),
        ("anna@[192.0.2.1]", "domain!"),
        ("anna@ac_me.example", "domain!"),
        ("anna@xn--\u{fc}.example", "domain!"),
        ("anna@xn--a.example", "domain!"),
        // Stands for `xn--ü`, which is none.
        ("anna@xn--xn---3ra.example", "domain!"),
    ] {
        assert_eq!(key(text), want, "{text:?}");
    }
    assert_eq!(key(&format!("{}@acme.example", "a".repeat(65))), "local!");
    assert_eq!(
        key(&format!("{}@acme.example", "a".repeat(64))),
        format!("{}@acme.example", "a".repeat(64))
    );
    assert_eq!(key(&format!("a@{}example", "a.".repeat(2000))), "local!");
    // What is too long for an address is not looked at any further.
    assert_eq!(key(&"a".repeat(1024)), "no at!");
    assert_eq!(key(&"a".repeat(1025)), "local!");
    assert_eq!(key(&format!("a@{}.example", "a".repeat(64))), "domain!");
}

/// Upper-casing, lower-casing and compatibility forms each make people one who are not.
#[test]
fn people_that_other_ways_confuse_stay_apart() {
    for (one, other) in [
        ("mike@acme.example", "m\u{131}ke@acme.example"),
        ("mike@acme.example", "mi\u{212a}e@acme.example"),
        ("sam@acme.example", "\u{17f}am@acme.example"),
        ("office@acme.example", "o\u{fb03}ce@acme.example"),
        ("ida@acme.example", "\u{130}da@acme.example"),
        ("strasse@acme.example", "stra\u{df}e@acme.example"),
        ("anna@acme.example", "\u{ff41}nna@acme.example"),
        ("anna@acme.example", "an.na@acme.example"),
        ("anna@acme.example", "anna+x@acme.example"),
        ("anna@strasse.example", "anna@stra\u{df}e.example"),
        ("\u{e9}va@acme.example", "e\u{301}va@acme.example"),
    ] {
        assert_ne!(key(one), key(other), "{one} {other}");
    }
}

#[test]
fn a_key_reads_back_only_as_itself() {
    let key = AddressKey::of("Anna@B\u{fc}cher.example").expect("an address");
    let text = serde_json::to_string(&key).expect("text");
    assert_eq!(text, "\"anna@xn--bcher-kva.example\"");
    assert_eq!(serde_json::from_str::<AddressKey>(&text).expect("a key"), key);
    assert!(serde_json::from_str::<AddressKey>("\"Anna@acme.example\"").is_err());
    assert!(serde_json::from_str::<AddressKey>("\"anna\"").is_err());
    assert_eq!(key.to_unicode(), "anna@b\u{fc}cher.example");
    assert_eq!((key.local(), key.domain()), ("anna", "xn--bcher-kva.example"));
    assert_eq!(key.to_string(), "anna@xn--bcher-kva.example");
    assert_eq!(format!("{key:?}"), "AddressKey(\"anna@xn--bcher-kva.example\")");
    let written: Address = "Anna@B\u{fc}cher.example".parse().expect("an address");
    assert_eq!(
        (written.key(), written.to_string().as_str()),
        (&key, written.as_str())
    );
    assert_eq!(written.as_str(), "Anna@B\u{fc}cher.example");
}

/// Letters whose case and compatibility forms meet, and the signs that addresses are made of.
fn text() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(
        "aAbBkKiIsS.+-@\"1\u{212a}\u{131}\u{130}\u{17f}\u{df}\u{1e9e}\u{e9}\u{c9}\u{301}\u{ff20}\u{fe6b}\u{ff0e}\u{2024}\u{3002}\u{ff41}\u{200d}"
            .chars()
            .collect::<Vec<_>>(),
    );
    prop_oneof![
        prop::collection::vec(sign.clone(), 0..12).prop_map(|signs| signs.into_iter().collect()),
        (prop::collection::vec(sign, 1..5), 0..3_usize).prop_map(|(signs, domain)| {
            let local: String = signs.into_iter().collect();
            format!("{local}@{}", ["a.example", "A.Example", "k.example"][domain])
        }),
        any::<String>(),
    ]
}

/// The domain as a list of its labels in Unicode, or nothing: what makes two spellings one, by another way than the key goes.
fn labels(domain: &str) -> Option<String> {
    let (unicode, error) = idna::domain_to_unicode(domain);
    error.ok().map(|()| unicode)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn the_key_of_a_key_is_itself(text in text()) {
        if let Ok(key) = AddressKey::of(&text) {
            prop_assert_eq!(&AddressKey::of(key.as_str()).expect("a key is an address"), &key);
            let address = Address::parse(&text).expect("as before");
            prop_assert_eq!(address.as_str(), text);
        }
    }

    /// Equal keys: equal local parts but for ASCII case, and one domain by IDNA.
    #[test]
    fn equal_keys_differ_in_nothing_else(one in text(), other in text()) {
        let (Ok(a), Ok(b)) = (AddressKey::of(&one), AddressKey::of(&other)) else { return Ok(()) };
        let (l, d) = one.rsplit_once('@').expect("an @");
        let (m, e) = other.rsplit_once('@').expect("an @");
        let same = l.eq_ignore_ascii_case(m) && labels(d) == labels(e);
        prop_assert_eq!(a == b, same, "{:?} {:?}", one, other);
    }

    /// Another case of ASCII letters is the same address.
    #[test]
    fn ascii_case_does_not_matter(text in text(), flips in any::<u64>()) {
        let flipped: String = text
            .char_indices()
            .map(|(i, c)| match flips >> (i % 64) & 1 {
                0 => c.to_ascii_lowercase(),
                _ => c.to_ascii_uppercase(),
            })
            .collect();
        prop_assert_eq!(AddressKey::of(&text), AddressKey::of(&flipped));
    }
}
