//! Matching against its definition, pair by pair.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{
    Activity, AddressKey, AttributeName, GroupKind, ObjectId, PrincipalKind, ResourceKind, Value,
};
use usersync_reconcile::{
    Dispute, Few, Gone, Ineligible, IneligibleReason, KnownLink, MatchRule, Matched, Matching, Party, Side,
    Situation, looks_like, match_accounts,
};

/// A principal or an account that owns what it says.
#[derive(Clone, Debug)]
struct Card {
    id: ObjectId,
    kind: PrincipalKind,
    active: bool,
    privileged: bool,
    told: Option<String>,
    addresses: Vec<String>,
    attributes: BTreeMap<AttributeName, Value>,
}

impl Card {
    fn new(id: &str, addresses: &[&str]) -> Self {
        Self {
            id: object(id),
            kind: PrincipalKind::User,
            active: true,
            privileged: false,
            told: None,
            addresses: addresses.iter().map(|&a| a.to_owned()).collect(),
            attributes: BTreeMap::new(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes
            .insert(attribute(name), Value::Text(value.to_owned()));
        self
    }

    fn party(&self) -> Party<'_> {
        Party {
            id: &self.id,
            kind: self.kind,
            activity: if self.active {
                Activity::Active
            } else {
                Activity::Inactive
            },
            privileged: self.privileged,
            ineligible: self.told.as_deref(),
            addresses: &self.addresses,
            attributes: &self.attributes,
        }
    }

    fn keys(&self) -> BTreeSet<AddressKey> {
        self.addresses
            .iter()
            .filter_map(|a| AddressKey::of(a).ok())
            .collect()
    }

    fn values(&self, name: &AttributeName) -> BTreeSet<String> {
        match self.attributes.get(name) {
            Some(Value::Text(text)) if !text.is_empty() => [text.clone()].into(),
            Some(Value::Set(texts)) => texts.iter().filter(|text| !text.is_empty()).cloned().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn ineligible(&self) -> Option<IneligibleReason> {
        if self.kind.is_group() {
            Some(IneligibleReason::Group)
        } else if !self.active {
            Some(IneligibleReason::Inactive)
        } else {
            self.told.clone().map(IneligibleReason::Told)
        }
    }
}

#[derive(Clone, Debug)]
struct World {
    principals: Vec<Card>,
    accounts: Vec<Card>,
    /// Principal, account, and the addresses stored with the link.
    links: Vec<(ObjectId, ObjectId, Vec<AddressKey>)>,
    rules: Vec<MatchRule>,
    complete: (bool, bool),
    vouched: (bool, bool),
}

impl World {
    fn new(principals: Vec<Card>, accounts: Vec<Card>) -> Self {
        Self {
            principals,
            accounts,
            links: Vec::new(),
            rules: MatchRule::DEFAULT.to_vec(),
            complete: (true, true),
            vouched: (true, true),
        }
    }

    fn link(mut self, principal: &str, account: &str, addresses: &[&str]) -> Self {
        let keys = addresses
            .iter()
            .map(|a| AddressKey::of(a).expect("an address"))
            .collect();
        self.links.push((object(principal), object(account), keys));
        self
    }

    fn matching(&self) -> Matching {
        let links: Vec<_> = self
            .links
            .iter()
            .map(|(principal, account, addresses)| KnownLink {
                principal,
                account,
                addresses,
            })
            .collect();
        match_accounts(
            &Side::new(
                self.principals.iter().map(Card::party),
                self.complete.0,
                self.vouched.0,
            ),
            &Side::new(
                self.accounts.iter().map(Card::party),
                self.complete.1,
                self.vouched.1,
            ),
            &links,
            &self.rules,
        )
    }

    fn situation(&self, principal: &str) -> Situation {
        let of = |matched: &Matched| matched.principal.as_str() == principal;
        let matching = self.matching();
        matching
            .principals
            .into_iter()
            .find(of)
            .expect("it is known")
            .situation
    }

    fn codes(&self) -> String {
        let matching = self.matching();
        let code = |m: &Matched| format!("{} {}", m.principal, m.situation.code());
        matching
            .principals
            .iter()
            .map(code)
            .collect::<Vec<_>>()
            .join(", ")
    }

    // The definition, pair by pair.

    fn meets(&self, rule: &MatchRule, p: &Card, a: &Card) -> bool {
        match rule {
            MatchRule::AnyAddress => !p.keys().is_disjoint(&a.keys()),
            MatchRule::Attribute {
                principal, account, ..
            } => !p.values(principal).is_disjoint(&a.values(account)),
            MatchRule::PrimaryAddress => {
                let first = |card: &Card| AddressKey::of(card.addresses.first()?).ok();
                first(p).is_some() && first(p) == first(a)
            }
        }
    }

    fn rule_of(&self, p: &Card) -> Option<&MatchRule> {
        let is_linked = self.links.iter().any(|(linked, ..)| *linked == p.id);
        let decides = |rule: &&MatchRule| self.accounts.iter().any(|a| self.meets(rule, p, a));
        self.rules.iter().find(decides).filter(|_| !is_linked)
    }

    /// What decides for a principal: texts that holders on either side share.
    fn decisive(&self, p: &Card) -> BTreeSet<String> {
        let Some(rule) = self.rule_of(p) else {
            return BTreeSet::new();
        };
        let seen = |text: &String| {
            self.accounts
                .iter()
                .any(|a| self.held(rule, a, false).contains(text))
        };
        match rule {
            MatchRule::PrimaryAddress => AddressKey::of(&p.addresses[0])
                .map(|k| k.to_string())
                .into_iter()
                .collect(),
            _ => self.held(rule, p, true).into_iter().filter(seen).collect(),
        }
    }

    fn held(&self, rule: &MatchRule, card: &Card, is_principal: bool) -> BTreeSet<String> {
        match rule {
            MatchRule::Attribute {
                principal, account, ..
            } => card.values(if is_principal { principal } else { account }),
            _ => card.keys().iter().map(ToString::to_string).collect(),
        }
    }

    fn accounts_of(&self, p: &Card) -> BTreeSet<ObjectId> {
        let Some(rule) = self.rule_of(p) else {
            return BTreeSet::new();
        };
        let decisive = self.decisive(p);
        let holds = |a: &&Card| !self.held(rule, a, false).is_disjoint(&decisive);
        self.accounts.iter().filter(holds).map(|a| a.id.clone()).collect()
    }

    fn addresses_of(
        &self,
        (principal, account, then): &(ObjectId, ObjectId, Vec<AddressKey>),
    ) -> BTreeSet<AddressKey> {
        let p = self.principals.iter().filter(|p| p.id == *principal);
        let a = self.accounts.iter().filter(|a| a.id == *account);
        p.chain(a)
            .flat_map(Card::keys)
            .chain(then.iter().cloned())
            .collect()
    }

    fn linked_address(&self, card: &Card) -> Option<Dispute> {
        // The first link of the first address.
        let mut links = self.links.clone();
        links.sort();
        card.keys().iter().find_map(|key| {
            let (principal, account, _) = links.iter().find(|link| self.addresses_of(link).contains(key))?;
            Some(Dispute::AddressLinked {
                principal: principal.clone(),
                account: account.clone(),
            })
        })
    }

    fn dispute_of(&self, a: &Card) -> Option<Dispute> {
        if let Some((principal, ..)) = self.links.iter().find(|(_, account, _)| *account == a.id) {
            return Some(Dispute::AccountLinked {
                account: a.id.clone(),
                principal: principal.clone(),
            });
        }
        let privileged = a.privileged.then(|| Dispute::Privileged {
            account: a.id.clone(),
        });
        self.linked_address(a).or(privileged)
    }

    fn oracle(&self, p: &Card) -> Situation {
        let account = |id: &ObjectId| self.accounts.iter().find(|a| a.id == *id);
        if let Some((_, linked, _)) = self.links.iter().find(|(linked, ..)| *linked == p.id) {
            let a = account(linked);
            if a.is_none() && self.complete.1 {
                return Situation::Vanished {
                    account: linked.clone(),
                    gone: Gone::Account,
                };
            }
            let of_account = a.and_then(Card::ineligible);
            let of_account = of_account.map(|reason| Ineligible::Account {
                account: linked.clone(),
                reason,
            });
            let trouble = of_account.or_else(|| p.ineligible().map(Ineligible::Principal));
            return Situation::Linked {
                account: linked.clone(),
                trouble,
            };
        }
        if let Some(reason) = p.ineligible() {
            return Situation::NotEligible(Ineligible::Principal(reason));
        }
        if let Some(dispute) = self.linked_address(p) {
            return Situation::Disputed(dispute);
        }
        let candidates = self.accounts_of(p);
        let Some(rule) = self.rule_of(p).cloned() else {
            return if self.complete.1 {
                Situation::Unmatched
            } else {
                Situation::Unknown { candidate: None }
            };
        };
        if let Some(dispute) = candidates
            .iter()
            .filter_map(account)
            .find_map(|a| self.dispute_of(a))
        {
            return Situation::Disputed(dispute);
        }
        let decisive = self.decisive(p);
        let others = || self.principals.iter().filter(|other| other.id != p.id);
        let mut rivals: BTreeSet<_> = others()
            .filter(|other| !self.held(&rule, other, true).is_disjoint(&decisive))
            .map(|other| other.id.clone())
            .collect();
        if candidates.len() == 1 {
            let came = others().filter(|other| !self.accounts_of(other).is_disjoint(&candidates));
            rivals.extend(came.map(|other| other.id.clone()));
        }
        if candidates.len() > 1 || !rivals.is_empty() {
            return Situation::Ambiguous {
                rule,
                accounts: first(&candidates),
                rivals: first(&rivals),
            };
        }
        let id = candidates.into_iter().next().expect("there is one");
        if self.complete != (true, true) {
            return Situation::Unknown { candidate: Some(id) };
        }
        if let Some(reason) = account(&id).and_then(Card::ineligible) {
            return Situation::NotEligible(Ineligible::Account { account: id, reason });
        }
        let vouched = match rule {
            MatchRule::Attribute { vouched, .. } => vouched,
            _ => self.vouched == (true, true),
        };
        Situation::Proposed {
            account: id,
            rule,
            vouched,
        }
    }
}

fn first(ids: &BTreeSet<ObjectId>) -> Few {
    Few {
        shown: ids.iter().take(Few::MOST).cloned().collect(),
        more: ids.len() > Few::MOST,
    }
}

fn object(id: &str) -> ObjectId {
    ObjectId::new(id).expect("an id")
}

fn attribute(name: &str) -> AttributeName {
    AttributeName::new(name).expect("a name")
}

fn number_rule(vouched: bool) -> MatchRule {
    MatchRule::Attribute {
        principal: attribute("number"),
        account: attribute("employee"),
        vouched,
    }
}

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

fn card(prefix: &'static str) -> impl Strategy<Value = Card> {
    let address = prop::sample::select(vec![
        "a@x.example",
        "A@X.example",
        "b@x.example",
        "\u{430}@x.example",
        "c@x.example",
        "d@x.example",
        "nothing",
        "e@x.example",
    ]);
    let number = prop::sample::select(vec!["", "1", "2", "3"]);
    (
        0..6_u8,
        prop::collection::vec(address, 0..3),
        prop::option::of(prop::collection::btree_set(number.prop_map(str::to_owned), 0..2)),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        0..12_u8,
    )
        .prop_map(move |(id, addresses, numbers, active, privileged, other)| {
            let mut card = Card::new(&format!("{prefix}{id}"), &addresses);
            card.active = active;
            card.privileged = privileged;
            match other {
                0 => card.kind = PrincipalKind::Group(GroupKind::Role),
                1 => card.kind = PrincipalKind::Resource(ResourceKind::Room),
                2 => card.told = Some("no mailbox".to_owned()),
                _ => {}
            }
            let name = if prefix == "p" { "number" } else { "employee" };
            if let Some(numbers) = numbers {
                card.attributes.insert(attribute(name), Value::Set(numbers));
            }
            card
        })
}

fn cards(prefix: &'static str) -> impl Strategy<Value = Vec<Card>> {
    prop::collection::vec(card(prefix), 0..6).prop_map(|cards| {
        let cards: BTreeMap<_, _> = cards.into_iter().map(|card| (card.id.clone(), card)).collect();
        cards.into_values().collect()
    })
}

fn worlds() -> impl Strategy<Value = World> {
    let rules = prop::sample::subsequence(
        vec![
            MatchRule::PrimaryAddress,
            number_rule(true),
            MatchRule::AnyAddress,
        ],
        0..=3,
    )
    .prop_shuffle();
    let links = prop::collection::btree_map(0..6_u8, (0..6_u8, any::<bool>()), 0..3);
    (cards("p"), cards("a"), links, rules, any::<[bool; 4]>()).prop_map(
        |(principals, accounts, links, rules, bits)| {
            let mut taken = BTreeSet::new();
            let links = links
                .into_iter()
                .filter(|(_, (account, _))| taken.insert(*account))
                .map(|(principal, (account, then))| {
                    let then = then.then(|| AddressKey::of("e@x.example").expect("an address"));
                    (
                        object(&format!("p{principal}")),
                        object(&format!("a{account}")),
                        then.into_iter().collect(),
                    )
                })
                .collect();
            World {
                principals,
                accounts,
                links,
                rules,
                complete: (bits[0], bits[1]),
                vouched: (bits[2], bits[3]),
            }
        },
    )
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
