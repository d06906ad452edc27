//! Matching against its definition, pair by pair.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use usersync_model::{AddressKey, Value};
use usersync_reconcile::{Few, Gone, MatchRule, Situation, looks_like};

use crate::matching_world::{Card, World, attribute, number_rule, worlds};

#[test]
fn situations() {
    let p = |addresses: &[&str]| vec![Card::new("p1", addresses)];
    let a = |addresses: &[&str]| Card::new("a1", addresses);
    let mut disabled = a(&["anna@acme.example"]);
    disabled.active = false;
    let mut admin = a(&["anna@acme.example"]);
    admin.privileged = true;
    let mut no_mailbox = a(&["anna@acme.example"]);
    no_mailbox.told = Some("no mailbox".to_owned());
    let anna = ["Anna@ACME.example"];
    let linked = World::new(p(&anna), vec![a(&["anna@acme.example"])]).link("p1", "a1", &[]);
    let with = |change: fn(&mut World)| {
        let mut world = linked.clone();
        change(&mut world);
        world
    };
    for (world, want) in [
        (
            World::new(p(&anna), vec![a(&["anna@acme.example"])]),
            "matches a1 by primary address",
        ),
        (
            World::new(p(&anna), vec![a(&["berg@acme.example", "anna@acme.example"])]),
            "no account matches",
        ),
        (
            World::new(p(&["x@acme.example", "anna@acme.example"]), vec![a(&anna)]),
            "no account matches",
        ),
        (World::new(p(&anna), vec![]), "no account matches"),
        (World::new(p(&[]), vec![a(&[])]), "no account matches"),
        (
            World::new(p(&["nobody"]), vec![a(&["nobody"])]),
            "no account matches",
        ),
        (
            World::new(p(&anna), vec![a(&anna), Card::new("a2", &anna)]),
            "ambiguous by primary address: matches a1, a2",
        ),
        (
            World::new(
                p(&anna),
                vec![a(&anna), Card::new("a2", &["x@acme.example", anna[0]])],
            ),
            "ambiguous by primary address: matches a1, a2",
        ),
        (
            World::new(p(&anna), vec![disabled]),
            "not eligible: account a1: it is disabled",
        ),
        (
            World::new(p(&anna), vec![no_mailbox]),
            "not eligible: account a1: no mailbox",
        ),
        (
            World::new(p(&anna), vec![admin]),
            "disputed: account a1 is an administrator's",
        ),
        (linked.clone(), "linked with a1"),
        (
            with(|w| w.accounts.clear()),
            "linked with a1, but the account is gone",
        ),
        (
            with(|w| w.principals.clear()),
            "linked with a1, but the principal is gone",
        ),
        (
            with(|w| {
                w.principals.clear();
                w.accounts.clear();
            }),
            "linked with a1, but both are gone",
        ),
        (
            with(|w| {
                w.accounts.clear();
                w.complete.1 = false;
            }),
            "linked with a1",
        ),
        (
            with(|w| {
                w.principals.clear();
                w.complete.0 = false;
            }),
            "linked with a1",
        ),
        (
            with(|w| w.accounts[0].active = false),
            "linked with a1, but account a1: it is disabled",
        ),
    ] {
        assert_eq!(world.situation("p1").to_string(), want, "{world:?}");
    }
}

/// Only when every condition holds may a match be linked without a person.
#[test]
fn promise_20_a_link_by_itself_needs_every_condition() {
    let mut may = 0;
    for bits in 0..32_u8 {
        let bit = |n: u8| bits >> n & 1 == 1;
        let mut world = World::new(
            vec![Card::new("p1", &["anna@acme.example"])],
            vec![Card::new("a1", &["anna@acme.example"])],
        );
        world.vouched = (bit(0), bit(1));
        world.accounts[0].privileged = !bit(2);
        if !bit(3) {
            world.accounts.push(Card::new("a2", &["anna@acme.example"]));
        }
        if !bit(4) {
            world.principals.push(Card::new("p2", &["anna@acme.example"]));
        }
        let links = matches!(world.situation("p1"), Situation::Proposed { vouched: true, .. });
        assert_eq!(links, bits == 31, "{bits:05b}");
        may += u8::from(links);
    }
    assert_eq!(may, 1);
}

/// Somebody else under an address that is linked, or was: it is reused, taken over, or an alias.
#[test]
fn promise_20_another_id_with_a_linked_address_is_disputed() {
    let anna = ["anna@acme.example"];
    let base = World::new(vec![Card::new("p1", &anna)], vec![Card::new("a1", &anna)]).link("p1", "a1", &anna);
    // A new principal with the address: the account is linked.
    let mut world = base.clone();
    world.principals.push(Card::new("p2", &["ANNA@acme.example"]));
    assert_eq!(world.codes(), "p1 linked, p2 disputed");
    // The linked pair moved on to another address; the old one is given to somebody new on both sides.
    let mut world = base.clone();
    world.principals = vec![
        Card::new("p1", &["anna.berg@acme.example"]),
        Card::new("p2", &anna),
    ];
    world.accounts = vec![
        Card::new("a1", &["anna.berg@acme.example"]),
        Card::new("a2", &anna),
    ];
    assert_eq!(world.codes(), "p1 linked, p2 disputed");
    // The linked account is gone, and another id has its address.
    let mut world = base.clone();
    world.accounts = vec![Card::new("a2", &anna)];
    assert_eq!(world.codes(), "p1 vanished");
    world.principals.push(Card::new("p2", &anna));
    assert_eq!(world.codes(), "p1 vanished, p2 disputed");
    // Another account took the linked address as one more of its own.
    let mut world = base;
    world.principals.push(Card::new("p2", &["eve@acme.example"]));
    world
        .accounts
        .push(Card::new("a2", &["eve@acme.example", "anna@acme.example"]));
    assert_eq!(world.codes(), "p1 linked, p2 disputed");
}

#[test]
fn promise_21_more_than_one_candidate_is_ambiguous_whatever_the_order() {
    let anna = ["anna@acme.example"];
    let mut world = World::new(
        vec![
            Card::new("p1", &anna).with("number", "7"),
            Card::new("p2", &["x@acme.example"]).with("number", "7"),
        ],
        vec![Card::new("a1", &anna).with("employee", "7")],
    );
    // Two rules, two principals, one account.
    world.rules.push(number_rule(true));
    assert_eq!(world.codes(), "p1 ambiguous, p2 ambiguous");
    world.principals.reverse();
    assert_eq!(world.codes(), "p1 ambiguous, p2 ambiguous");
    // The first rule that gives candidates decides, even if it does not lead to a link.
    let mut world = World::new(
        vec![Card::new("p1", &anna).with("number", "7")],
        vec![
            Card::new("a1", &anna),
            Card::new("a2", &anna),
            Card::new("a3", &[]).with("employee", "7"),
        ],
    );
    world.rules.push(number_rule(true));
    assert_eq!(world.codes(), "p1 ambiguous");
    world.rules.reverse();
    assert_eq!(
        world.situation("p1").to_string(),
        "matches a3 by number = employee"
    );
}

/// Who is told in two ways holds what either way says, whoever else is told in two ways.
#[test]
fn contradictions_beside_one_another_hide_no_candidate() {
    let told_twice = |id: &str, one: &str, other: &str| [Card::new(id, &[one]), Card::new(id, &[other])];
    let mut principals = Vec::from(told_twice("p1", "a@acme.example", "b@acme.example"));
    principals.extend(told_twice("p2", "c@acme.example", "d@acme.example"));
    for address in [
        "a@acme.example",
        "b@acme.example",
        "c@acme.example",
        "d@acme.example",
    ] {
        let mut world = World::new(principals.clone(), vec![Card::new("a1", &[address])]);
        world.principals.push(Card::new("p3", &[address]));
        assert_eq!(world.situation("p3").code(), "ambiguous", "{address}");
        let mirrored = World::new(vec![Card::new("p1", &[address])], {
            let mut accounts = principals.clone();
            accounts.push(Card::new("p3", &[address]));
            accounts
        });
        assert_eq!(mirrored.situation("p1").code(), "ambiguous", "{address}");
    }
}

/// Who is told in two ways is one, and is not linked; whose id begins in the same way is another one.
#[test]
fn who_is_told_in_two_ways_is_one_and_is_not_linked() {
    let mut principals = vec![Card::new("b", &["b@acme.example"])];
    principals.extend(
        [1, 2, 3, 1].map(|n| Card::new(&format!("a-------------{n}"), &[&format!("a{n}@acme.example")])),
    );
    let mut world = World::new(principals, vec![Card::new("a1", &["a1@acme.example"])]);
    let others = "a-------------2 unmatched, a-------------3 unmatched, b unmatched";
    assert_eq!(world.codes(), format!("a-------------1 proposed, {others}"));
    world
        .principals
        .push(Card::new("a-------------1", &["a4@acme.example"]));
    assert_eq!(world.codes(), format!("a-------------1 not_eligible, {others}"));
}

/// Values that say nothing tell nobody from another.
#[test]
fn accounts_are_matched_by_attributes_that_say_something() {
    let number = |value: Option<Value>, name| {
        let mut card = Card::new("x1", &[]);
        card.attributes
            .extend(value.map(|value| (attribute(name), value)));
        card
    };
    let set = |values: &[&str]| Value::Set(values.iter().map(|&value| value.to_owned()).collect());
    for (principal, account, code) in [
        (
            Some(Value::Text("7".into())),
            Some(Value::Text("7".into())),
            "proposed",
        ),
        (
            Some(Value::Text("7".into())),
            Some(Value::Text("8".into())),
            "unmatched",
        ),
        (Some(Value::Text("7".into())), Some(set(&["6", "7"])), "proposed"),
        (
            Some(Value::Text(String::new())),
            Some(Value::Text(String::new())),
            "unmatched",
        ),
        (Some(set(&[""])), Some(Value::Text(String::new())), "unmatched"),
        (
            Some(Value::Bytes(vec![7])),
            Some(Value::Bytes(vec![7])),
            "proposed",
        ),
        (
            Some(Value::Bytes(vec![7])),
            Some(Value::Bytes(vec![8])),
            "unmatched",
        ),
        (
            Some(Value::Bytes(vec![])),
            Some(Value::Bytes(vec![])),
            "unmatched",
        ),
        (Some(Value::Integer(0)), Some(Value::Integer(0)), "proposed"),
        (
            Some(Value::Integer(7)),
            Some(Value::Text("7".into())),
            "unmatched",
        ),
        (Some(Value::Flag(true)), Some(Value::Flag(true)), "unmatched"),
        (None, None, "unmatched"),
    ] {
        let case = format!("{principal:?} {account:?}");
        let mut world = World::new(
            vec![number(principal, "number")],
            vec![number(account, "employee")],
        );
        world.rules = vec![number_rule(true)];
        assert_eq!(world.situation("x1").code(), code, "{case}");
    }
}

/// New names, new addresses, all at once and crosswise: who is linked stays linked with the same account.
#[test]
fn promise_19_a_new_address_unlinks_nobody() {
    let (a, b) = (["anna@acme.example"], ["bert@acme.example"]);
    let world = World::new(
        vec![Card::new("p1", &b), Card::new("p2", &a)],
        vec![Card::new("a1", &a), Card::new("a2", &["other@acme.example"])],
    )
    .link("p1", "a1", &a)
    .link("p2", "a2", &b);
    assert_eq!(world.codes(), "p1 linked, p2 linked");
    assert_eq!(world.situation("p1").to_string(), "linked with a1");
}

#[test]
fn looks_are_shown_and_decide_nothing() {
    let alike = [
        "anna@p\u{430}ypal.example",
        "\u{430}nna@paypal.example",
        "anna@paypa1.example",
        "anna@paypai.example",
    ];
    let anna = AddressKey::of("anna@paypal.example").expect("an address");
    for (n, address) in alike.iter().enumerate() {
        let key = AddressKey::of(address).expect("an address");
        // A Latin i is no l to anybody.
        assert_eq!(looks_like(&anna, &key), n != 3, "{address}");
        let world = World::new(
            vec![Card::new("p1", &["anna@paypal.example"])],
            vec![
                Card::new("a1", &["anna@paypal.example"]),
                Card::new("a2", &[address]),
            ],
        );
        let matched = &world.matching().principals[0];
        assert_eq!(matched.situation.code(), "proposed");
        assert_eq!(matched.look_alikes.shown.len(), usize::from(n != 3));
    }
}

/// Of candidates, rivals and look-alikes the first eight are named, and that there are more is told exactly when there are.
#[test]
fn the_first_eight_are_named_and_more_are_told_of() {
    let cards = |prefix: &str, count: usize, address: &str| -> Vec<Card> {
        (0..count)
            .map(|n| Card::new(&format!("{prefix}{n:02}"), &[address]))
            .collect()
    };
    let told = |few: &Few| (few.shown.len(), few.more);
    for count in Few::MOST - 1..=Few::MOST + 2 {
        let expected = (count.min(Few::MOST), count > Few::MOST);
        let mut world = World::new(
            cards("p", count + 1, "anna@paypal.example"),
            cards("a", count, "anna@paypal.example"),
        );
        let Situation::Ambiguous { accounts, rivals, .. } = world.situation("p00") else {
            panic!("{}", world.situation("p00"))
        };
        assert_eq!((told(&accounts), told(&rivals)), (expected, expected), "{count}");

        world.accounts = cards("a", count, "anna@paypa1.example");
        let alike = |world: &World| told(&world.matching().principals[0].look_alikes);
        assert_eq!(alike(&world), expected, "{count} look alike");
        // A principal's own account is no look-alike of it, whatever it looks like.
        world.accounts = cards("a", count + 1, "anna@paypa1.example");
        let world = world.link("p00", "a03", &[]);
        assert_eq!(alike(&world), expected, "{count} look alike, beside its own");
    }
}

/// Of those who hold something else of an account that holds very much, as many are named as of any other account.
#[test]
fn the_first_eight_are_named_beside_an_account_with_many_addresses() {
    let addresses: Vec<String> = (0..40).map(|n| format!("a{n}@acme.example")).collect();
    let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
    for count in Few::MOST - 1..=Few::MOST + 2 {
        let of_one = (0..count).map(|n| Card::new(&format!("p{n:02}"), &[all[0]]));
        let of_another = Card::new("q", &[all[1]]);
        let mut world = World::new(of_one.chain([of_another]).collect(), vec![Card::new("a1", &all)]);
        world.rules = vec![MatchRule::AnyAddress];
        let Situation::Ambiguous { rivals, .. } = world.situation("q") else {
            panic!("{}", world.situation("q"))
        };
        let told = (rivals.shown.len(), rivals.more);
        assert_eq!(told, (count.min(Few::MOST), count > Few::MOST), "{count}");
    }
}

/// A directory in which everybody has one address is matched in the time that it takes to read it.
#[test]
fn one_address_for_everybody_shows_few() {
    let many = |prefix: &str| -> Vec<Card> {
        (0..20_000)
            .map(|n| Card::new(&format!("{prefix}{n:05}"), &["info@acme.example"]))
            .collect()
    };
    let world = World::new(many("p"), many("a"));
    let matching = world.matching();
    assert_eq!(matching.principals.len(), 20_000);
    for matched in &matching.principals {
        let Situation::Ambiguous { accounts, rivals, .. } = &matched.situation else {
            panic!("{matched:?}")
        };
        assert_eq!((accounts.shown.len(), accounts.more), (Few::MOST, true));
        assert_eq!((rivals.shown.len(), rivals.more), (Few::MOST, true));
    }
}

/// One account that claims the addresses of everybody is matched in the time that it takes to read it.
#[test]
fn one_account_with_the_address_of_everybody_shows_few() {
    const MANY: usize = 60_000;
    let addresses: Vec<String> = (0..MANY).map(|n| format!("u{n}@acme.example")).collect();
    let person = |n: usize| Card::new(&format!("p{n:05}"), &[&addresses[n]]);
    let all: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut world = World::new((0..MANY).map(person).collect(), vec![Card::new("a1", &all)]);
    world.rules = vec![MatchRule::AnyAddress];
    let matching = world.matching();
    for (at, matched) in matching.principals.iter().enumerate() {
        let Situation::Ambiguous { rivals, .. } = &matched.situation else {
            panic!("{matched:?}")
        };
        let others = (0..MANY).filter(|other| *other != at).take(Few::MOST);
        let others: Vec<_> = others.map(|other| person(other).id).collect();
        assert_eq!((&rivals.shown, rivals.more), (&others, true), "{at}");
    }
}

/// So is one principal with very many addresses that all look like others.
#[test]
fn very_many_addresses_that_look_like_others_show_few() {
    const MANY: usize = 60_000;
    let addresses =
        |prefix: &str| -> Vec<String> { (0..MANY).map(|n| format!("{prefix}-{n}@acme.example")).collect() };
    let own = addresses("l");
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let accounts = addresses("1");
    let accounts = (0..)
        .zip(&accounts)
        .map(|(n, address)| Card::new(&format!("a{n:05}"), &[address]));
    let world = World::new(vec![Card::new("p1", &own)], accounts.collect());
    let matching = world.matching();
    let [matched] = &matching.principals[..] else {
        panic!("{matching:?}")
    };
    assert_eq!(matched.look_alikes.shown.len(), Few::MOST);
    assert!(matched.look_alikes.more);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn matching_is_what_its_definition_says(world in worlds()) {
        let matching = world.matching();
        let known: BTreeSet<_> = world.principals.iter().map(|p| &p.id).chain(world.links.iter().map(|(p, ..)| p)).collect();
        prop_assert!(matching.principals.iter().map(|m| &m.principal).eq(known));
        for p in &world.principals {
            let matched = matching.principals.iter().find(|m| m.principal == p.id).expect("everybody is there");
            prop_assert_eq!(&matched.situation, &world.oracle(p));
            let own = world.links.iter().find(|(linked, ..)| *linked == p.id).map(|(_, a, _)| a);
            let alike = world.accounts.iter().filter(|a| Some(&a.id) != own).filter(|a| {
                let keys = p.keys();
                a.keys().iter().any(|y| !keys.contains(y) && keys.iter().any(|x| looks_like(x, y)))
            });
            prop_assert!(matched.look_alikes.shown.iter().eq(alike.map(|a| &a.id)));
        }
        let wanted: BTreeSet<_> = world.principals.iter().flat_map(|p| world.accounts_of(p)).collect();
        let free = |a: &&Card| !wanted.contains(&a.id) && !world.links.iter().any(|(_, account, _)| *account == a.id);
        let unclaimed: Vec<_> = world.accounts.iter().filter(free).map(|a| a.id.clone()).collect();
        prop_assert_eq!(matching.unclaimed, if world.complete == (true, true) { unclaimed } else { Vec::new() });
    }

    /// Order and repetition change nothing, and no two principals are proposed one account.
    #[test]
    fn promise_21_proposals_are_one_to_one_whatever_the_order(world in worlds(), seed in any::<u64>()) {
        let matching = world.matching();
        let mut other = world.clone();
        other.principals.extend(world.principals.clone());
        other.accounts.extend(world.accounts.clone());
        let turn = |n: usize| usize::try_from(seed % (n as u64 + 1)).expect("small");
        let (p, a, l) = (turn(other.principals.len()), turn(other.accounts.len()), turn(other.links.len()));
        other.principals.rotate_left(p);
        other.accounts.rotate_left(a);
        other.links.rotate_left(l);
        other.accounts.reverse();
        prop_assert_eq!(&other.matching(), &matching);
        let mut taken: BTreeSet<_> = world.links.iter().map(|(_, account, _)| account).collect();
        for matched in &matching.principals {
            if let Situation::Proposed { account, .. } = &matched.situation {
                prop_assert!(taken.insert(account), "{} twice", account);
            }
        }
    }

    /// Whatever part of either read is missing: nothing is proposed, nobody vanishes on that side, nothing is called unmatched or
    /// unclaimed for what may be in the missing part.
    #[test]
    fn promise_09_nothing_is_concluded_from_the_missing_part(
        world in worlds(),
        keep in any::<u64>(),
        sides in 0..3_u8,
    ) {
        let mut cut = world;
        let mut at = 0;
        let mut kept = |_: &Card| {
            at += 1;
            keep >> (at % 64) & 1 == 1
        };
        cut.complete = (sides == 0, sides == 1);
        if !cut.complete.0 { cut.principals.retain(&mut kept) }
        if !cut.complete.1 { cut.accounts.retain(&mut kept) }
        let matching = cut.matching();
        prop_assert!(matching.unclaimed.is_empty());
        for matched in &matching.principals {
            match &matched.situation {
                Situation::Proposed { .. } => prop_assert!(false, "{:?}", matched),
                Situation::Unmatched => prop_assert!(cut.complete.1),
                Situation::Vanished { gone, .. } => {
                    let seen = match gone {
                        Gone::Account => cut.complete.1,
                        Gone::Principal => cut.complete.0,
                        Gone::Both => false,
                    };
                    prop_assert!(seen);
                }
                _ => {}
            }
        }
    }
}

/// The worlds that properties are checked in reach every situation, and every dispute.
#[test]
fn generated_worlds_reach_every_situation() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..2000 {
        let world = worlds().new_tree(&mut runner).expect("a world").current();
        for matched in world.matching().principals {
            seen.insert(matched.situation.code());
            if let Situation::Disputed(dispute) = &matched.situation {
                seen.insert(dispute.code());
            }
        }
    }
    let all = [
        "account_linked",
        "address_linked",
        "ambiguous",
        "disputed",
        "linked",
        "not_eligible",
        "privileged",
        "privileged_principal",
        "proposed",
        "unknown",
        "unmatched",
        "vanished",
    ];
    assert!(seen.into_iter().eq(all));
}

/// Whoever is told in two ways holds what either says: it may be the owner of both.
#[test]
fn promise_21_a_contradiction_hides_no_candidate() {
    let anna = "anna@acme.example";
    for other in ["aaa@acme.example", "zzz@acme.example"] {
        let twice = |id: &str| {
            vec![
                Card::new(id, &[other]).with("employee", "8"),
                Card::new(id, &[anna]).with("employee", "7"),
            ]
        };
        let mut accounts = twice("a1");
        accounts.push(Card::new("a2", &[anna]).with("employee", "7"));
        let mut world = World::new(vec![Card::new("p1", &[anna]).with("number", "7")], accounts);
        assert_eq!(world.situation("p1").code(), "ambiguous", "{other}: an account");
        world.rules = vec![number_rule(true)];
        assert_eq!(
            world.situation("p1").code(),
            "ambiguous",
            "{other}: by its number"
        );

        let mut people = twice("p2");
        people.push(Card::new("p1", &[anna]));
        let world = World::new(people, vec![Card::new("a1", &[anna])]);
        assert_eq!(world.situation("p1").code(), "ambiguous", "{other}: a principal");
    }
}

/// What is told first in either way is a primary address.
#[test]
fn promise_21_a_contradiction_hides_no_primary_address() {
    let anna = "anna@acme.example";
    for other in ["aaa@acme.example", "zzz@acme.example", "no address"] {
        let twice = |id: &str| vec![Card::new(id, &[other]), Card::new(id, &[anna, other])];
        let mut accounts = twice("a1");
        accounts.push(Card::new("a2", &[]).with("employee", "7"));
        let mut world = World::new(vec![Card::new("p1", &[anna]).with("number", "7")], accounts);
        world.rules = vec![MatchRule::PrimaryAddress, number_rule(true)];
        assert_eq!(
            world.situation("p1").to_string(),
            "not eligible: account a1: its system contradicts itself about it",
            "{other}"
        );

        let mut people = twice("p1");
        people.push(Card::new("p2", &["x@acme.example"]).with("number", "7"));
        let account = Card::new("a1", &[anna]).with("employee", "7");
        let mut world = World::new(people, vec![account]);
        world.rules = vec![MatchRule::PrimaryAddress, number_rule(true)];
        assert_eq!(
            world.situation("p2").to_string(),
            "ambiguous by number = employee: matches a1, as p1 does",
            "{other}"
        );
    }
}

/// An administrator is linked by a person only, whichever side is one.
#[test]
fn a_privileged_principal_is_disputed() {
    let mut person = Card::new("p1", &["anna@acme.example"]);
    person.privileged = true;
    let world = World::new(
        vec![person.clone()],
        vec![Card::new("a1", &["anna@acme.example"])],
    );
    assert_eq!(world.situation("p1").code(), "disputed");
    let world = World::new(vec![person], vec![Card::new("a1", &["other@acme.example"])]);
    assert_eq!(world.situation("p1").code(), "unmatched");
}
