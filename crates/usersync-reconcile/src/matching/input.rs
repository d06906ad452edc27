//! What is matched: the two sides, the links there are, and the rules.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{Activity, AddressKey, AttributeName, ObjectId, PrincipalKind, Value};

use super::order::by_id;

/// By what a principal and an account are taken for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchRule {
    /// Any address of the principal is any address of the account.
    AnyAddress,
    /// An attribute of the principal has the value that an attribute of the account has: an employee number, say. Of a set, one
    /// common value is enough. Empty values and flags match nothing.
    Attribute {
        /// The attribute of the principal.
        principal: AttributeName,
        /// The attribute of the account.
        account: AttributeName,
        /// Whether the host vouches that neither's holder can edit it: the condition for linking by it without a person's
        /// confirmation.
        vouched: bool,
    },
    /// The first address of the principal is the first address of the account.
    PrimaryAddress,
}

impl MatchRule {
    /// The rule of those who name none: by primary address.
    pub const DEFAULT: [Self; 1] = [Self::PrimaryAddress];

    /// The stable code of the kind of rule.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AnyAddress => "any_address",
            Self::Attribute { .. } => "attribute",
            Self::PrimaryAddress => "primary_address",
        }
    }
}

impl fmt::Display for MatchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyAddress => f.write_str("any address"),
            Self::Attribute {
                principal, account, ..
            } if principal == account => write!(f, "{account}"),
            Self::Attribute {
                principal, account, ..
            } => write!(f, "{principal} = {account}"),
            Self::PrimaryAddress => f.write_str("primary address"),
        }
    }
}

/// A principal or an account, as its system shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party<'a> {
    /// The immutable id.
    pub id: &'a ObjectId,
    /// What it is.
    pub kind: PrincipalKind,
    /// Whether it takes part.
    pub activity: Activity,
    /// Whether it is an administrator's.
    pub privileged: bool,
    /// Why it cannot be linked, if its system says so.
    pub ineligible: Option<&'a str>,
    /// Addresses as they are written, the primary one first. What is no address matches nothing.
    pub addresses: &'a [String],
    /// Further attributes.
    pub attributes: &'a BTreeMap<AttributeName, Value>,
}

/// All that was seen of one system.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// Ascending by id, each once.
    pub(super) parties: Vec<Party<'a>>,
    /// What else is told under the id of the party at a place, ascending by that: it may be what is true.
    pub(super) versions: Vec<(usize, Party<'a>)>,
    /// Whether different things were told of the party at the same place.
    pub(super) contradictory: Vec<bool>,
    pub(super) complete: bool,
    pub(super) vouched: bool,
}

impl<'a> Side<'a> {
    /// These parties, in any order. One that is told in two ways cannot be linked, and holds what it is told to hold in either.
    /// O(n log n).
    ///
    /// `complete`: whether all there are were seen. `vouched`: whether addresses are verified, and cannot be edited by their
    /// holders.
    #[must_use]
    pub fn new(parties: impl IntoIterator<Item = Party<'a>>, complete: bool, vouched: bool) -> Self {
        let all: Vec<_> = parties.into_iter().collect();
        let mut side = Self {
            parties: Vec::with_capacity(all.len()),
            versions: Vec::new(),
            contradictory: Vec::with_capacity(all.len()),
            complete,
            vouched,
        };
        by_id(&all, |told| match told {
            [party] => side.add(*party),
            _ => side.add_told(told),
        });
        side
    }

    fn add(&mut self, party: Party<'a>) {
        self.parties.push(party);
        self.contradictory.push(false);
    }

    /// Adds parties in their order, some of which may be one.
    fn add_told(&mut self, told: &[Party<'a>]) {
        for (at, party) in told.iter().enumerate() {
            match told[..at].last() {
                Some(before) if before == party => {}
                Some(before) if before.id == party.id => {
                    let at = self.parties.len() - 1;
                    self.contradictory[at] = true;
                    self.versions.push((at, *party));
                }
                _ => self.add(*party),
            }
        }
    }

    /// All that is told of the party at a place: usually one thing.
    pub(super) fn told(&self, at: usize) -> impl Iterator<Item = &Party<'a>> + Clone {
        let from = self.versions.partition_point(|(other, _)| *other < at);
        let others = self.versions[from..]
            .iter()
            .take_while(move |(other, _)| *other == at);
        std::iter::once(&self.parties[at]).chain(others.map(|(_, party)| party))
    }

    pub(super) fn id(&self, at: u32) -> ObjectId {
        self.parties[at as usize].id.clone()
    }

    fn find(&self, id: &ObjectId) -> Option<u32> {
        let at = self.parties.binary_search_by(|party| party.id.cmp(id)).ok()?;
        Some(at as u32)
    }
}

/// A link that is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownLink<'a> {
    /// The principal.
    pub principal: &'a ObjectId,
    /// The account.
    pub account: &'a ObjectId,
    /// The addresses that both had when they were linked.
    pub addresses: &'a [AddressKey],
}

/// A known link, and who of it was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) known: KnownLink<'a>,
    pub(super) principal: Option<u32>,
    pub(super) account: Option<u32>,
}

impl<'a> Link<'a> {
    pub(super) fn new(known: KnownLink<'a>, principals: &Side<'_>, accounts: &Side<'_>) -> Self {
        Self {
            known,
            principal: principals.find(known.principal),
            account: accounts.find(known.account),
        }
    }
}
