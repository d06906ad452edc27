//! Small worlds of principals and accounts, and what matching is to say of them: by its definition, pair by pair.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{
    Activity, AddressKey, AttributeName, GroupKind, ObjectId, PrincipalKind, ResourceKind, Value,
};
use usersync_reconcile::{
    Dispute, Few, Gone, Ineligible, IneligibleReason, KnownLink, MatchRule, Matched, Matching, Party, Side,
    Situation, match_accounts,
};

/// A principal or an account that owns what it says.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) id: ObjectId,
    pub(crate) kind: PrincipalKind,
    pub(crate) active: bool,
    pub(crate) privileged: bool,
    pub(crate) told: Option<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) attributes: BTreeMap<AttributeName, Value>,
}

impl Card {
    pub(crate) fn new(id: &str, addresses: &[&str]) -> Self {
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

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes
            .insert(attribute(name), Value::Text(value.to_owned()));
        self
    }

    pub(crate) fn party(&self) -> Party<'_> {
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

    pub(crate) fn keys(&self) -> BTreeSet<AddressKey> {
        self.addresses
            .iter()
            .filter_map(|a| AddressKey::of(a).ok())
            .collect()
    }

    pub(crate) fn values(&self, name: &AttributeName) -> BTreeSet<String> {
        match self.attributes.get(name) {
            Some(Value::Text(text)) if !text.is_empty() => [text.clone()].into(),
            Some(Value::Set(texts)) => texts.iter().filter(|text| !text.is_empty()).cloned().collect(),
            _ => BTreeSet::new(),
        }
    }

    pub(crate) fn ineligible(&self) -> Option<IneligibleReason> {
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
pub(crate) struct World {
    pub(crate) principals: Vec<Card>,
    pub(crate) accounts: Vec<Card>,
    /// Principal, account, and the addresses stored with the link.
    pub(crate) links: Vec<(ObjectId, ObjectId, Vec<AddressKey>)>,
    pub(crate) rules: Vec<MatchRule>,
    pub(crate) complete: (bool, bool),
    pub(crate) vouched: (bool, bool),
}

impl World {
    pub(crate) fn new(principals: Vec<Card>, accounts: Vec<Card>) -> Self {
        Self {
            principals,
            accounts,
            links: Vec::new(),
            rules: MatchRule::DEFAULT.to_vec(),
            complete: (true, true),
            vouched: (true, true),
        }
    }

    pub(crate) fn link(mut self, principal: &str, account: &str, addresses: &[&str]) -> Self {
        let keys = addresses
            .iter()
            .map(|a| AddressKey::of(a).expect("an address"))
            .collect();
        self.links.push((object(principal), object(account), keys));
        self
    }

    pub(crate) fn matching(&self) -> Matching {
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

    pub(crate) fn situation(&self, principal: &str) -> Situation {
        let of = |matched: &Matched| matched.principal.as_str() == principal;
        let matching = self.matching();
        matching
            .principals
            .into_iter()
            .find(of)
            .expect("it is known")
            .situation
    }

    pub(crate) fn codes(&self) -> String {
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

    pub(crate) fn meets(&self, rule: &MatchRule, p: &Card, a: &Card) -> bool {
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

    pub(crate) fn rule_of(&self, p: &Card) -> Option<&MatchRule> {
        let is_linked = self.links.iter().any(|(linked, ..)| *linked == p.id);
        let decides = |rule: &&MatchRule| self.accounts.iter().any(|a| self.meets(rule, p, a));
        self.rules.iter().find(decides).filter(|_| !is_linked)
    }

    /// What decides for a principal: texts that holders on either side share.
    pub(crate) fn decisive(&self, p: &Card) -> BTreeSet<String> {
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

    pub(crate) fn held(&self, rule: &MatchRule, card: &Card, is_principal: bool) -> BTreeSet<String> {
        match rule {
            MatchRule::Attribute {
                principal, account, ..
            } => card.values(if is_principal { principal } else { account }),
            _ => card.keys().iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn accounts_of(&self, p: &Card) -> BTreeSet<ObjectId> {
        let Some(rule) = self.rule_of(p) else {
            return BTreeSet::new();
        };
        let decisive = self.decisive(p);
        let holds = |a: &&Card| !self.held(rule, a, false).is_disjoint(&decisive);
        self.accounts.iter().filter(holds).map(|a| a.id.clone()).collect()
    }

    pub(crate) fn addresses_of(
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

    pub(crate) fn linked_address(&self, card: &Card) -> Option<Dispute> {
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

    pub(crate) fn dispute_of(&self, a: &Card) -> Option<Dispute> {
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

    pub(crate) fn oracle(&self, p: &Card) -> Situation {
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
        if p.privileged {
            return Situation::Disputed(Dispute::PrivilegedPrincipal);
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

pub(crate) fn first(ids: &BTreeSet<ObjectId>) -> Few {
    Few {
        shown: ids.iter().take(Few::MOST).cloned().collect(),
        more: ids.len() > Few::MOST,
    }
}

pub(crate) fn object(id: &str) -> ObjectId {
    ObjectId::new(id).expect("an id")
}

pub(crate) fn attribute(name: &str) -> AttributeName {
    AttributeName::new(name).expect("a name")
}

pub(crate) fn number_rule(vouched: bool) -> MatchRule {
    MatchRule::Attribute {
        principal: attribute("number"),
        account: attribute("employee"),
        vouched,
    }
}

pub(crate) fn card(prefix: &'static str) -> impl Strategy<Value = Card> {
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

pub(crate) fn cards(prefix: &'static str) -> impl Strategy<Value = Vec<Card>> {
    prop::collection::vec(card(prefix), 0..6).prop_map(|cards| {
        let cards: BTreeMap<_, _> = cards.into_iter().map(|card| (card.id.clone(), card)).collect();
        cards.into_values().collect()
    })
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
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
