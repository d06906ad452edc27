//! Who holds what: addresses and attribute values as dense numbers, with their holders on both sides.

use std::collections::HashMap;

use usersync_model::{AddressKey, AttributeName, Value};

use super::input::{KnownLink, MatchRule, Party, Side};

/// An address, or a value under a rule.
pub(super) type Group = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Held<'a> {
    Address(&'a AddressKey),
    Bytes(usize, &'a [u8]),
    Integer(usize, i64),
    Text(usize, &'a str),
}

/// Numbers in the order of what is held, so that they depend on nothing else.
type Numbers<'a> = HashMap<Held<'a>, Group>;

/// What one party holds, under each way of matching.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    pub(super) primary: Option<Group>,
    /// Ascending, each once.
    pub(super) addresses: Vec<Group>,
    /// By the place of the rule; empty for rules by address.
    pub(super) values: Vec<Vec<Group>>,
}

impl Holdings {
    pub(super) fn all(&self) -> impl Iterator<Item = Group> + '_ {
        let values = self.values.iter().flatten();
        self.addresses.iter().chain(values).copied()
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) principals: Vec<Holdings>,
    pub(super) accounts: Vec<Holdings>,
    /// Of each group, the principals that hold it, ascending.
    pub(super) held_by_principals: Vec<Vec<u32>>,
    /// Of each group, the accounts that hold it, ascending.
    pub(super) held_by_accounts: Vec<Vec<u32>>,
    /// Of each group, whether it is the primary address of an account.
    pub(super) is_primary: Vec<bool>,
    /// Of each group, the first link it belongs to.
    pub(super) linked: Vec<Option<u32>>,
}

impl Index {
    pub(super) fn new(
        principals: &Side<'_>,
        accounts: &Side<'_>,
        principal_keys: &[Vec<Option<AddressKey>>],
        account_keys: &[Vec<Option<AddressKey>>],
        links: &[KnownLink<'_>],
        rules: &[MatchRule],
    ) -> Self {
        let mut held: Vec<Held<'_>> = links
            .iter()
            .flat_map(|link| link.addresses.iter().map(Held::Address))
            .collect();
        collect(&mut held, principals, principal_keys, rules, true);
        collect(&mut held, accounts, account_keys, rules, false);
        held.sort_unstable();
        held.dedup();
        let groups = held.len();
        let held: Numbers<'_> = held.into_iter().zip(0..).collect();

        let mut index = Self {
            principals: holdings(&held, principals, principal_keys, rules, true),
            accounts: holdings(&held, accounts, account_keys, rules, false),
            held_by_principals: vec![Vec::new(); groups],
            held_by_accounts: vec![Vec::new(); groups],
            is_primary: vec![false; groups],
            linked: vec![None; groups],
        };
        for (at, holder) in (0..).zip(&index.principals) {
            holder
                .all()
                .for_each(|group| index.held_by_principals[group as usize].push(at));
        }
        for (at, holder) in (0..).zip(&index.accounts) {
            holder
                .all()
                .for_each(|group| index.held_by_accounts[group as usize].push(at));
            if let Some(primary) = holder.primary {
                index.is_primary[primary as usize] = true;
            }
        }
        for (at, link) in (0..).zip(links) {
            let principal = principals.find(link.principal).map(|p| &index.principals[p]);
            let account = accounts.find(link.account).map(|a| &index.accounts[a]);
            let now = [principal, account]
                .into_iter()
                .flatten()
                .flat_map(|side| &side.addresses);
            let then = link
                .addresses
                .iter()
                .filter_map(|key| held.get(&Held::Address(key)));
            for &group in now.chain(then) {
                index.linked[group as usize].get_or_insert(at);
            }
        }
        index
    }
}

fn collect<'a>(
    held: &mut Vec<Held<'a>>,
    side: &Side<'a>,
    keys: &'a [Vec<Option<AddressKey>>],
    rules: &[MatchRule],
    is_principal: bool,
) {
    for (at, keys) in keys.iter().enumerate() {
        held.extend(keys.iter().flatten().map(Held::Address));
        for (place, name) in attributes(rules, is_principal) {
            for party in side.told(at) {
                values(party, name, place, |value| held.push(value));
            }
        }
    }
}

fn holdings(
    held: &Numbers<'_>,
    side: &Side<'_>,
    keys: &[Vec<Option<AddressKey>>],
    rules: &[MatchRule],
    is_principal: bool,
) -> Vec<Holdings> {
    let of = |(at, keys): (usize, &Vec<Option<AddressKey>>)| {
        let address = |key: &Option<AddressKey>| held.get(&Held::Address(key.as_ref()?)).copied();
        let mut addresses: Vec<Group> = keys.iter().filter_map(address).collect();
        let primary = keys
            .first()
            .and_then(Option::as_ref)
            .and(addresses.first().copied());
        addresses.sort_unstable();
        addresses.dedup();
        let mut by_rule = vec![Vec::new(); rules.len()];
        for (place, name) in attributes(rules, is_principal) {
            for party in side.told(at) {
                values(party, name, place, |value| {
                    by_rule[place].extend(held.get(&value).copied())
                });
            }
            by_rule[place].sort_unstable();
            by_rule[place].dedup();
        }
        Holdings {
            primary,
            addresses,
            values: by_rule,
        }
    };
    keys.iter().enumerate().map(of).collect()
}

fn attributes(rules: &[MatchRule], is_principal: bool) -> impl Iterator<Item = (usize, &AttributeName)> {
    rules
        .iter()
        .enumerate()
        .filter_map(move |(place, rule)| match rule {
            MatchRule::Attribute {
                principal, account, ..
            } => Some((place, if is_principal { principal } else { account })),
            MatchRule::AnyAddress | MatchRule::PrimaryAddress => None,
        })
}

/// The values of an attribute that can tell one party from another.
fn values<'a>(party: &Party<'a>, name: &AttributeName, place: usize, mut each: impl FnMut(Held<'a>)) {
    match party.attributes.get(name) {
        Some(Value::Bytes(bytes)) if !bytes.is_empty() => each(Held::Bytes(place, bytes)),
        Some(Value::Integer(number)) => each(Held::Integer(place, *number)),
        Some(Value::Set(texts)) => texts
            .iter()
            .filter(|text| !text.is_empty())
            .for_each(|text| each(Held::Text(place, text))),
        Some(Value::Text(text)) if !text.is_empty() => each(Held::Text(place, text)),
        Some(Value::Bytes(_) | Value::Flag(_) | Value::Text(_)) | None => {}
    }
}
