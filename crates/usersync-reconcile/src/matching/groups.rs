//! What is held by more than one, with its holders on both sides.

use std::collections::BTreeMap;
use std::ops::Range;

use super::look_alike::Look;
use super::texts::{Slot, Texts};

/// An address, or a value under a rule, that is held more than once or that looks like another. The numbers follow from the order
/// of the slots alone.
pub(super) type Group = u32;

/// What is held once and looks like nothing else.
const ALONE: Group = Group::MAX;

/// Who holds a slot, and whether it is the primary address of that party.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) party: u32,
    pub(super) is_primary: bool,
}

/// Groups with their holders.
#[derive(Debug)]
pub(super) struct Groups {
    /// Of each slot.
    group_of: Vec<Group>,
    spans: Vec<Span>,
    holders: Vec<u32>,
    /// Of the groups of addresses that look like others, where those are among `look_alikes`.
    alike: BTreeMap<Group, Range<usize>>,
    /// Groups of addresses of accounts that look alike, in the order of their addresses.
    look_alikes: Vec<Group>,
}

/// Where the holders of a group are: the principals, ascending, and then the accounts, ascending, each once.
#[derive(Clone, Copy, Debug)]
struct Span {
    principals: u32,
    accounts: u32,
    end: u32,
    /// Whether it is the primary address of an account.
    is_primary: bool,
}

impl Groups {
    /// The groups of `texts`, whose slots have these holders: those from `accounts` on are accounts. Slots beyond them have none.
    pub(super) fn new(texts: &Texts, holders: &[Holder], accounts: Slot) -> Self {
        let mut groups = Self {
            group_of: vec![ALONE; texts.next() as usize],
            spans: Vec::new(),
            holders: Vec::with_capacity(holders.len()),
            alike: BTreeMap::new(),
            look_alikes: Vec::new(),
        };
        let mut look = Look::default();
        texts.alike(|slots| {
            let first = texts.get(slots[0]);
            if slots[1..].iter().all(|slot| texts.get(*slot) == first) {
                groups.add(slots, holders, accounts);
                return;
            }
            slots.sort_unstable_by_key(|slot| (texts.get(*slot), *slot));
            let mut looks = Vec::new();
            for same in slots.chunk_by(|a, b| texts.get(*a) == texts.get(*b)) {
                let group = groups.add(same, holders, accounts);
                looks.extend(texts.address(same[0]).map(|key| (look.of(key).to_vec(), group)));
            }
            groups.note_looks(looks);
        });
        groups.in_order()
    }

    /// Numbers the groups in the order of their first slots: who asks for slots in order is answered from memory in order.
    fn in_order(self) -> Self {
        let mut numbers = vec![ALONE; self.spans.len()];
        let mut ordered = Self {
            group_of: self.group_of,
            spans: Vec::with_capacity(self.spans.len()),
            holders: Vec::with_capacity(self.holders.len()),
            alike: BTreeMap::new(),
            look_alikes: self.look_alikes,
        };
        for group in ordered.group_of.iter_mut().filter(|group| **group != ALONE) {
            let number = &mut numbers[*group as usize];
            if *number == ALONE {
                *number = ordered.spans.len() as Group;
                let span = self.spans[*group as usize];
                let holders = &self.holders[span.principals as usize..span.end as usize];
                let principals = ordered.holders.len() as u32;
                ordered.holders.extend_from_slice(holders);
                ordered.spans.push(Span {
                    principals,
                    accounts: principals + (span.accounts - span.principals),
                    end: ordered.holders.len() as u32,
                    is_primary: span.is_primary,
                });
            }
            *group = *number;
        }
        for group in &mut ordered.look_alikes {
            *group = numbers[*group as usize];
        }
        let alike = self.alike.into_iter();
        ordered.alike = alike
            .map(|(group, place)| (numbers[group as usize], place))
            .collect();
        ordered
    }

    fn add(&mut self, slots: &[Slot], holders: &[Holder], first_account: Slot) -> Group {
        let group = self.spans.len() as Group;
        let principals = self.holders.len();
        let mut accounts = None;
        let mut is_primary = false;
        for &slot in slots {
            self.group_of[slot as usize] = group;
            let Some(holder) = holders.get(slot as usize) else {
                continue;
            };
            if slot >= first_account {
                accounts.get_or_insert(self.holders.len());
                is_primary |= holder.is_primary;
            }
            if self.holders[accounts.unwrap_or(principals)..].last() != Some(&holder.party) {
                self.holders.push(holder.party);
            }
        }
        let end = self.holders.len();
        self.spans.push(Span {
            principals: principals as u32,
            accounts: accounts.unwrap_or(end) as u32,
            end: end as u32,
            is_primary,
        });
        group
    }

    /// Notes which addresses look alike, of those that may; their groups ascend as they do.
    fn note_looks(&mut self, mut looks: Vec<(Vec<u8>, Group)>) {
        looks.sort_unstable();
        for alike in looks.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
            let start = self.look_alikes.len();
            let groups = alike.iter().map(|(_, group)| *group);
            let of_accounts = groups.clone().filter(|group| !self.accounts(*group).is_empty());
            let of_accounts: Vec<Group> = of_accounts.collect();
            self.look_alikes.extend(of_accounts);
            let place = start..self.look_alikes.len();
            self.alike.extend(groups.map(|group| (group, place.clone())));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// How many holders all groups have.
    pub(super) fn holders(&self) -> usize {
        self.holders.len()
    }

    /// The group of a slot, unless it is alone.
    pub(super) fn of(&self, slot: Slot) -> Option<Group> {
        let group = self.group_of[slot as usize];
        (group != ALONE).then_some(group)
    }

    /// The principals that hold it, ascending.
    pub(super) fn principals(&self, group: Group) -> &[u32] {
        let span = self.spans[group as usize];
        &self.holders[span.principals as usize..span.accounts as usize]
    }

    /// Where its principals begin among all holders.
    pub(super) fn start(&self, group: Group) -> usize {
        self.spans[group as usize].principals as usize
    }

    /// The accounts that hold it, ascending.
    pub(super) fn accounts(&self, group: Group) -> &[u32] {
        let span = self.spans[group as usize];
        &self.holders[span.accounts as usize..span.end as usize]
    }

    /// Whether it is the primary address of an account.
    pub(super) fn is_primary(&self, group: Group) -> bool {
        self.spans[group as usize].is_primary
    }

    /// The addresses of accounts that look like this one, itself included, in their order.
    pub(super) fn look_alikes(&self, group: Group) -> &[Group] {
        let place = self.alike.get(&group).cloned();
        &self.look_alikes[place.unwrap_or_default()]
    }
}
