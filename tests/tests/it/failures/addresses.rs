//! Addresses that are not the same, and were taken for it.

use futures::executor::block_on;
use usersync::engine::Chosen;

use crate::failures::mailboxes::{Office, codes, holder, object};

/// One person and one mailbox, with these addresses.
fn pair(person: &str, mailbox: &str) -> Office {
    let office = Office::new();
    office.people.put(holder("mike", person));
    office.mail.put(holder("box", mailbox));
    office
}

/// Whether the mailbox is shown as one whose address looks like the person's.
fn is_flagged(office: &Office) -> bool {
    let loaded = block_on(office.links().load(&Office::context(), &Chosen::All)).expect("both can be read");
    loaded.matching.principals[0].look_alikes.shown == [object("box")]
}

/// When two addresses are taken for one.
type Same = fn(&str, &str) -> bool;

fn upper(one: &str, other: &str) -> bool {
    one.to_uppercase() == other.to_uppercase()
}

fn lower(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Letters that become ASCII letters in another case. Whoever has a mailbox under the second address would get what is sent to the
/// first: a new password, say. People are shown which of them look alike (the long s looks like an f).
#[test]
fn f17_letters_that_another_case_makes_equal_are_different() {
    let vectors: [(_, _, Same, _); 5] = [
        ("mike@acme.example", "mıke@acme.example", upper, true),
        ("sam@acme.example", "ſam@acme.example", upper, false),
        ("kim@acme.example", "\u{212a}im@acme.example", lower, true),
        ("officer@acme.example", "o\u{fb03}cer@acme.example", upper, true),
        ("strasse@acme.example", "straße@acme.example", upper, false),
    ];
    for (person, mailbox, same, looks_alike) in vectors {
        let office = pair(person, mailbox);
        assert_eq!(office.naively(same), "mike-box", "{mailbox}");
        assert_eq!(codes(&office.stage()), "mike unfit", "{mailbox}");
        assert_eq!(codes(&office.save()), "", "{mailbox}");
        assert_eq!(is_flagged(&office), looks_alike, "{mailbox}");
    }
    // What is the same address is found to be, in whatever spelling.
    for (person, mailbox) in [
        ("Mike@ACME.example", "mIKE@acme.Example"),
        ("mike@BÜCHER.example", "mike@xn--bcher-kva.example"),
    ] {
        assert_eq!(codes(&pair(person, mailbox).stage()), "mike staged", "{mailbox}");
    }
}

/// Characters that a compatibility form makes an `@` or a dot: they move no boundary, wherever they are.
#[test]
fn f17_no_character_becomes_an_at_sign_or_a_dot() {
    for (person, mailbox) in [
        ("mike@acme.example", "mike\u{ff20}acme.example"),
        ("mike@acme.example", "mike\u{fe6b}acme.example"),
        ("mike@acme.example", "mike@acme\u{2024}example"),
        ("mike@acme.example", "mike@acme\u{fe52}example"),
        ("mike.m@acme.example", "mike\u{ff0e}m@acme.example"),
    ] {
        assert_eq!(codes(&pair(person, mailbox).stage()), "mike unfit", "{mailbox:?}");
    }
}

/// Some mail systems ignore dots, and what is behind a plus; others do not, and only they know.
#[test]
fn f18_dots_and_tags_tell_people_apart() {
    let folded = |address: &str| {
        let (local, domain) = address.split_once('@').expect("an address");
        let local = local.split('+').next().unwrap_or_default().replace('.', "");
        format!("{local}@{domain}").to_lowercase()
    };
    for (person, mailbox) in [
        ("mike.berg@acme.example", "mikeberg@acme.example"),
        ("mike@acme.example", "mike+admin@acme.example"),
        ("mike+one@acme.example", "mike+two@acme.example"),
        ("mikeberg@acme.example", "m.i.k.e.b.e.r.g+x@acme.example"),
    ] {
        let office = pair(person, mailbox);
        assert_eq!(
            office.naively(|one, other| folded(one) == folded(other)),
            "mike-box"
        );
        assert_eq!(codes(&office.stage()), "mike unfit", "{mailbox}");
    }
}
