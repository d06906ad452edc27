//! Who holds what: addresses and attribute values, with those who hold the same.

use std::ops::Range;

use usersync_model::{AttributeName, Value};

use super::ahead::{BLOCK, fetch};
use super::groups::{Group, Groups, Holder};
use super::input::{Link, MatchRule, Party, Side};
use super::texts::{Slot, Texts};

/// How many different addresses that look alike are looked through for one address: an attacker can make any number.
const MOST_ADDRESSES: usize = 64;

/// What the parties of one side hold, in slots: each its addresses, and its values under each rule by attribute.
#[derive(Debug)]
struct Held {
    first: Slot,
    /// Where each list of each party ends.
    ends: Vec<Slot>,
    /// How many lists a party has.
    lists: usize,
    /// How many of the addresses of a party are primary, where that is not one; ascending. They come first.
    primaries: Vec<(u32, Slot)>,
}

#[derive(Debug)]
pub(super) struct Index<'a> {
    rules: &'a [MatchRule],
    texts: Texts,
    principals: Held,
    accounts: Held,
    groups: Groups,
    /// Of each group, the first link it belongs to; empty where there are no links.
    linked: Vec<Option<u32>>,
    /// Of each group, how many principals it decides for.
    decided: Vec<u32>,
    /// Which: in the places of the holders of the group.
    deciders: Vec<u32>,
}

impl<'a> Index<'a> {
    pub(super) fn new(
        principals: &Side<'_>,
        accounts: &Side<'_>,
        links: &[Link<'_>],
        rules: &'a [MatchRule],
    ) -> Self {
        let mut texts = Texts::default();
        let mut holders = Vec::new();
        let principals = Held::new(principals, rules, true, &mut texts, &mut holders);
        let accounts = Held::new(accounts, rules, false, &mut texts, &mut holders);
        let mut then = texts.next();
        for key in links.iter().flat_map(|link| link.known.addresses) {
            texts.add_key(key);
        }
        let groups = Groups::new(&texts, &holders, accounts.first);
        let mut index = Self {
            rules,
            texts,
            principals,
            accounts,
            linked: vec![None; if links.is_empty() { 0 } else { groups.len() }],
            decided: vec![0; groups.len()],
            deciders: vec![0; groups.holders()],
            groups,
        };
        for (at, link) in (0..).zip(links) {
            let principal = link
                .principal
                .map(|principal| index.principals.addresses(principal));
            let account = link.account.map(|account| index.accounts.addresses(account));
            let until = then + link.known.addresses.len() as Slot;
            for slot in [principal, account, Some(then..until)]
                .into_iter()
                .flatten()
                .flatten()
            {
                if let Some(group) = index.groups.of(slot) {
                    index.linked[group as usize].get_or_insert(at);
                }
            }
            then = until;
        }
        index
    }

    /// Finds the first rule under which some account holds what the principal holds, and notes for whom that decides. Asked of
    /// principals in their order.
    pub(super) fn decide(&mut self, principal: u32) -> Option<u32> {
        let mut places = (0..).take(self.rules.len());
        let place = places.find(|place| self.decisive(principal, *place).next().is_some())?;
        for slot in self.slots(principal, place) {
            if let Some(group) = self.deciding(slot, place) {
                let start = self.groups.start(group);
                let count = &mut self.decided[group as usize];
                let so_far = start + *count as usize;
                if self.deciders[start..so_far].last() != Some(&principal) {
                    self.deciders[so_far] = principal;
                    *count += 1;
                }
            }
        }
        Some(place)
    }

    /// What a principal and some account hold that the rule at `place` goes by.
    pub(super) fn decisive(&self, principal: u32, place: u32) -> impl Iterator<Item = Group> + Clone + '_ {
        let slots = self.slots(principal, place);
        slots.filter_map(move |slot| self.deciding(slot, place))
    }

    fn deciding(&self, slot: Slot, place: u32) -> Option<Group> {
        self.groups
            .of(slot)
            .filter(|group| match self.rules[place as usize] {
                MatchRule::AnyAddress | MatchRule::Attribute { .. } => {
                    !self.groups.accounts(*group).is_empty()
                }
                MatchRule::PrimaryAddress => self.groups.is_primary(*group),
            })
    }

    /// What a principal holds that the rule at `place` looks at.
    fn slots(&self, principal: u32, place: u32) -> Range<Slot> {
        match self.rules[place as usize] {
            MatchRule::AnyAddress => self.principals.addresses(principal),
            MatchRule::Attribute { .. } => {
                let list = attributes(&self.rules[..=place as usize], true).count();
                self.principals.lists(principal, list..list + 1)
            }
            MatchRule::PrimaryAddress => self.principals.primary(principal),
        }
    }

    /// The principals that a group decides for, ascending.
    pub(super) fn deciders(&self, group: Group) -> &[u32] {
        let start = self.groups.start(group);
        &self.deciders[start..start + self.decided[group as usize] as usize]
    }

    /// The principals that hold what a group stands for, ascending.
    pub(super) fn principals(&self, group: Group) -> &[u32] {
        self.groups.principals(group)
    }

    /// The accounts that hold it, ascending.
    pub(super) fn accounts(&self, group: Group) -> &[u32] {
        self.groups.accounts(group)
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// What an account holds in common with others.
    pub(super) fn of_account(&self, account: u32) -> impl Iterator<Item = Group> + Clone + '_ {
        let slots = self.accounts.lists(account, 0..self.accounts.lists);
        slots.filter_map(|slot| self.groups.of(slot))
    }

    /// The accounts that hold more than `most` addresses and values, ascending.
    pub(super) fn large_accounts(&self, most: usize) -> impl Iterator<Item = u32> + '_ {
        let accounts = 0..(self.accounts.ends.len() / self.accounts.lists) as u32;
        accounts.filter(move |account| self.accounts.lists(*account, 0..self.accounts.lists).len() > most)
    }

    /// The first link that an address of a principal belongs to.
    pub(super) fn link_of_principal(&self, principal: u32) -> Option<u32> {
        self.link_of(self.principals.addresses(principal))
    }

    /// The first link that an address of an account belongs to.
    pub(super) fn link_of_account(&self, account: u32) -> Option<u32> {
        self.link_of(self.accounts.addresses(account))
    }

    /// The link of the first address that has one, in the order of the addresses.
    fn link_of(&self, addresses: Range<Slot>) -> Option<u32> {
        let linked = |slot| self.linked.get(self.groups.of(slot)? as usize).copied().flatten();
        let links = addresses.filter_map(|slot| Some((self.texts.get(slot), linked(slot)?)));
        links.min().map(|(_, link)| link)
    }

    /// Accounts with an address that looks like one of this principal's and is none of them: of each such address the first few.
    pub(super) fn look_alikes(&self, principal: u32, few: usize) -> Vec<u32> {
        let own = || {
            self.principals
                .addresses(principal)
                .filter_map(|slot| self.groups.of(slot))
        };
        let alike = own().flat_map(|group| self.groups.look_alikes(group).iter().take(MOST_ADDRESSES));
        let mut alike = alike.peekable();
        if alike.peek().is_none() {
            return Vec::new();
        }
        let mut owned: Vec<Group> = own().collect();
        owned.sort_unstable();
        let others = alike.filter(|group| owned.binary_search(group).is_err());
        others
            .flat_map(|group| self.accounts(*group).iter().take(few).copied())
            .collect()
    }
}

impl Held {
    fn new(
        side: &Side<'_>,
        rules: &[MatchRule],
        is_principal: bool,
        texts: &mut Texts,
        holders: &mut Vec<Holder>,
    ) -> Self {
        let attributes: Vec<_> = attributes(rules, is_principal).collect();
        let lists = 1 + attributes.len();
        let mut held = Self {
            first: texts.next(),
            ends: Vec::with_capacity(side.parties.len() * lists),
            lists,
            primaries: Vec::new(),
        };
        for at in 0..side.parties.len() {
            if at.is_multiple_of(BLOCK) {
                let block = side.parties[at..].iter().take(BLOCK);
                fetch(block.filter_map(|party| party.addresses.first()?.bytes().last()));
            }
            let first = texts.next();
            let primaries = held.add(side, at, &attributes, texts);
            let party = at as u32;
            if primaries != 1 {
                held.primaries.push((party, primaries));
            }
            let holder = |slot| Holder {
                party,
                is_primary: slot - first < primaries,
            };
            holders.extend((first..texts.next()).map(holder));
        }
        held
    }

    /// Adds what a party holds; answers how many primary addresses that are: what is told first in each way it is told.
    fn add(
        &mut self,
        side: &Side<'_>,
        at: usize,
        attributes: &[(u32, &AttributeName)],
        texts: &mut Texts,
    ) -> Slot {
        let told = side.told(at);
        let mut primaries = 0;
        for address in told.clone().filter_map(|told| told.addresses.first()) {
            primaries += Slot::from(texts.add_address(address));
        }
        for address in told.flat_map(|told| told.addresses.iter().skip(1)) {
            texts.add_address(address);
        }
        self.ends.push(texts.next());
        for (rule, name) in attributes {
            side.told(at)
                .for_each(|told| add_values(told, name, *rule, texts));
            self.ends.push(texts.next());
        }
        primaries
    }

    /// What a party holds in some of its lists, which follow one another.
    fn lists(&self, party: u32, lists: Range<usize>) -> Range<Slot> {
        let first = party as usize * self.lists;
        let start = match first + lists.start {
            0 => self.first,
            list => self.ends[list - 1],
        };
        start..self.ends[first + lists.end - 1]
    }

    fn addresses(&self, party: u32) -> Range<Slot> {
        self.lists(party, 0..1)
    }

    fn primary(&self, party: u32) -> Range<Slot> {
        let start = self.addresses(party).start;
        let primaries = self.primaries.binary_search_by_key(&party, |(party, _)| *party);
        start..start + primaries.map_or(1, |at| self.primaries[at].1)
    }
}

/// The rules by attribute, by number, with what they look at on one side.
fn attributes(rules: &[MatchRule], is_principal: bool) -> impl Iterator<Item = (u32, &AttributeName)> {
    (0..).zip(rules).filter_map(move |(place, rule)| match rule {
        MatchRule::Attribute {
            principal, account, ..
        } => Some((place, if is_principal { principal } else { account })),
        MatchRule::AnyAddress | MatchRule::PrimaryAddress => None,
    })
}

/// The values of an attribute that can tell one party from another.
fn add_values(party: &Party<'_>, name: &AttributeName, rule: u32, texts: &mut Texts) {
    match party.attributes.get(name) {
        Some(Value::Bytes(bytes)) if !bytes.is_empty() => {
            texts.add_value(rule, 'b', bytes.iter().map(|byte| char::from(*byte)));
        }
        Some(Value::Integer(number)) => texts.add_value(rule, 'i', number.to_string().chars()),
        Some(Value::Set(values)) => values
            .iter()
            .filter(|value| !value.is_empty())
            .for_each(|value| texts.add_value(rule, 't', value.chars())),
        Some(Value::Text(text)) if !text.is_empty() => texts.add_value(rule, 't', text.chars()),
        Some(Value::Bytes(_) | Value::Flag(_) | Value::Text(_)) | None => {}
    }
}
