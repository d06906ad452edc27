//! Matching principals with accounts.

mod index;
mod input;
mod look_alike;
mod situation;

use usersync_model::{Activity, AddressKey, ObjectId};

pub use input::{KnownLink, MatchRule, Party, Side};
pub use look_alike::looks_like;
pub use situation::{Dispute, Few, Gone, Ineligible, IneligibleReason, Matched, Matching, Situation};

use index::{Group, Holdings, Index};
use look_alike::Looks;

/// Gives every principal that was seen or is linked exactly one situation.
///
/// # Guarantees
/// - Links follow ids alone: whoever is linked is linked or vanished, whatever became of names and addresses.
/// - Rules are tried in their order; the first that gives candidates decides. It is proposed only what is the only candidate both
///   ways. Everybody who shares what decided counts as a candidate: by any of the addresses, disabled or not.
/// - What belongs, or belonged when it was linked, to a link of others is disputed, and so is what is an administrator's, on either
///   side. Dispute goes before ambiguity.
/// - From a partial read of either side follows no proposal, since it may hide another candidate, and from one of the accounts no
///   absence of candidates; from partial reads nobody vanishes.
/// - The result does not depend on the order or repetition of anything but of `rules`.
///
/// O(n log n) for n addresses and attribute values on both sides.
#[must_use]
pub fn match_accounts(
    principals: &Side<'_>,
    accounts: &Side<'_>,
    links: &[KnownLink<'_>],
    rules: &[MatchRule],
) -> Matching {
    let mut links = links.to_vec();
    links.sort_unstable();
    links.dedup_by(|b, a| a.principal == b.principal);
    let principal_keys = address_keys(principals);
    let account_keys = address_keys(accounts);
    let index = Index::new(
        principals,
        accounts,
        &principal_keys,
        &account_keys,
        &links,
        rules,
    );
    let matcher = Matcher::new(principals, accounts, &links, rules, index);
    let looks = Looks::new(&principal_keys, &account_keys);
    matcher.run(&looks)
}

struct Matcher<'a> {
    principals: &'a Side<'a>,
    accounts: &'a Side<'a>,
    links: &'a [KnownLink<'a>],
    rules: &'a [MatchRule],
    index: Index,
    /// Of each principal, its link.
    link_of: Vec<Option<u32>>,
    /// Of each principal without a link, the rule that decides, and what it decides by.
    decided: Vec<Option<(usize, Vec<Group>)>>,
    /// Of each group, the principals that it decides for, ascending.
    deciders: Vec<Vec<u32>>,
    /// Of each account, why nobody is linked with it by a rule.
    disputes: Vec<Option<Dispute>>,
    /// Of each group, the first of its accounts that is disputed.
    first_disputed: Vec<Option<u32>>,
}

impl<'a> Matcher<'a> {
    fn new(
        principals: &'a Side<'a>,
        accounts: &'a Side<'a>,
        links: &'a [KnownLink<'a>],
        rules: &'a [MatchRule],
        index: Index,
    ) -> Self {
        let mut link_of = vec![None; principals.parties.len()];
        let mut link_of_account = vec![None; accounts.parties.len()];
        for (at, link) in (0_u32..).zip(links) {
            if let Some(principal) = principals.find(link.principal) {
                link_of[principal] = Some(at);
            }
            if let Some(account) = accounts.find(link.account) {
                link_of_account[account].get_or_insert(at);
            }
        }
        let mut deciders = vec![Vec::new(); index.linked.len()];
        let mut decided = Vec::with_capacity(link_of.len());
        for (at, holdings) in (0..).zip(&index.principals) {
            let decision = match link_of[at as usize] {
                Some(_) => None,
                None => decide(rules, holdings, &index),
            };
            for group in decision.iter().flat_map(|(_, groups)| groups) {
                deciders[*group as usize].push(at);
            }
            decided.push(decision);
        }
        let dispute = |(at, party): (usize, &input::Party<'_>)| {
            let account = || party.id.clone();
            let linked = |link: u32| links[link as usize];
            if let Some(link) = link_of_account[at].map(linked) {
                return Some(Dispute::AccountLinked {
                    account: account(),
                    principal: link.principal.clone(),
                });
            }
            let addresses = &index.accounts[at].addresses;
            if let Some(link) = addresses.iter().find_map(|group| index.linked[*group as usize]) {
                return Some(address_linked(linked(link)));
            }
            let is_privileged = accounts.told(at).any(|party| party.privileged);
            is_privileged.then(|| Dispute::Privileged { account: account() })
        };
        let disputes: Vec<_> = accounts.parties.iter().enumerate().map(dispute).collect();
        let is_disputed = |account: &&u32| disputes[**account as usize].is_some();
        let first_disputed = index
            .held_by_accounts
            .iter()
            .map(|holders| holders.iter().find(is_disputed).copied())
            .collect();
        Self {
            principals,
            accounts,
            links,
            rules,
            index,
            link_of,
            decided,
            deciders,
            disputes,
            first_disputed,
        }
    }

    fn run(&self, looks: &Looks<'_>) -> Matching {
        let mut matched = Vec::with_capacity(self.principals.parties.len());
        for (at, party) in self.principals.parties.iter().enumerate() {
            let own = self.link_of[at].and_then(|link| self.accounts.find(self.links[link as usize].account));
            let mut alike = looks.of(at, Few::MOST + 2);
            alike.sort_unstable();
            alike.dedup();
            let (alike, more) = few([alike.as_slice()], own.and_then(number));
            matched.push(Matched {
                principal: party.id.clone(),
                situation: self.situation(at),
                look_alikes: names(self.accounts, &alike, more),
            });
        }
        for link in self.links {
            if self.principals.find(link.principal).is_none() {
                matched.push(Matched {
                    principal: link.principal.clone(),
                    situation: self.linked(None, *link),
                    look_alikes: Few::default(),
                });
            }
        }
        matched.sort_unstable_by(|a, b| a.principal.cmp(&b.principal));
        Matching {
            principals: matched,
            unclaimed: self.unclaimed(),
        }
    }

    fn situation(&self, at: usize) -> Situation {
        if let Some(link) = self.link_of[at] {
            return self.linked(Some(at), self.links[link as usize]);
        }
        if let Some(reason) = ineligible(self.principals, at) {
            return Situation::NotEligible(Ineligible::Principal(reason));
        }
        let holdings = &self.index.principals[at];
        if let Some(link) = holdings
            .addresses
            .iter()
            .find_map(|group| self.index.linked[*group as usize])
        {
            return Situation::Disputed(address_linked(self.links[link as usize]));
        }
        let Some((rule, groups)) = &self.decided[at] else {
            return match self.accounts.complete {
                true => Situation::Unmatched,
                false => Situation::Unknown { candidate: None },
            };
        };
        let disputed = groups
            .iter()
            .filter_map(|group| self.first_disputed[*group as usize])
            .min();
        if let Some(dispute) = disputed.and_then(|account| self.disputes[account as usize].clone()) {
            return Situation::Disputed(dispute);
        }
        if self.principals.told(at).any(|party| party.privileged) {
            return Situation::Disputed(Dispute::PrivilegedPrincipal);
        }
        self.candidates(at, &self.rules[*rule], groups)
    }

    /// Of a principal whose candidates nobody else has a claim to.
    fn candidates(&self, at: usize, rule: &MatchRule, groups: &[Group]) -> Situation {
        let held = |group: &Group| self.index.held_by_accounts[*group as usize].as_slice();
        let (candidates, more) = few(groups.iter().map(held), None);
        let shared = groups
            .iter()
            .map(|group| self.index.held_by_principals[*group as usize].as_slice());
        let found = |rivals: (Vec<u32>, bool)| Situation::Ambiguous {
            rule: rule.clone(),
            accounts: names(self.accounts, &candidates, more),
            rivals: names(self.principals, &rivals.0, rivals.1),
        };
        let [account] = candidates[..] else {
            return found(few(shared, number(at)));
        };
        let account = account as usize;
        // Others may have come to the same account by another rule.
        let others = self.index.accounts[account]
            .all()
            .map(|group| self.deciders[group as usize].as_slice());
        let others: Vec<_> = others.collect();
        let rivals = few(shared.chain(others), number(at));
        if !rivals.0.is_empty() {
            return found(rivals);
        }
        let id = self.accounts.parties[account].id.clone();
        if !(self.principals.complete && self.accounts.complete) {
            return Situation::Unknown { candidate: Some(id) };
        }
        if let Some(reason) = ineligible(self.accounts, account) {
            return Situation::NotEligible(Ineligible::Account { account: id, reason });
        }
        let vouched = match rule {
            MatchRule::AnyAddress | MatchRule::PrimaryAddress => {
                self.principals.vouched && self.accounts.vouched
            }
            MatchRule::Attribute { vouched, .. } => *vouched,
        };
        Situation::Proposed {
            account: id,
            rule: rule.clone(),
            vouched,
        }
    }

    fn linked(&self, principal: Option<usize>, link: KnownLink<'_>) -> Situation {
        let account = self.accounts.find(link.account);
        let principal_gone = principal.is_none() && self.principals.complete;
        let account_gone = account.is_none() && self.accounts.complete;
        let gone = match (principal_gone, account_gone) {
            (false, false) => None,
            (false, true) => Some(Gone::Account),
            (true, false) => Some(Gone::Principal),
            (true, true) => Some(Gone::Both),
        };
        let id = link.account.clone();
        if let Some(gone) = gone {
            return Situation::Vanished { account: id, gone };
        }
        let of_account = account.and_then(|at| ineligible(self.accounts, at));
        let of_principal = principal.and_then(|at| ineligible(self.principals, at));
        let trouble = match (of_account, of_principal) {
            (Some(reason), _) => Some(Ineligible::Account {
                account: id.clone(),
                reason,
            }),
            (None, reason) => reason.map(Ineligible::Principal),
        };
        Situation::Linked { account: id, trouble }
    }

    fn unclaimed(&self) -> Vec<ObjectId> {
        if !(self.principals.complete && self.accounts.complete) {
            return Vec::new();
        }
        let is_linked = |dispute: &Option<Dispute>| matches!(dispute, Some(Dispute::AccountLinked { .. }));
        let is_wanted = |at: usize| {
            let mut groups = self.index.accounts[at].all();
            groups.any(|group| !self.deciders[group as usize].is_empty())
        };
        let accounts = self.accounts.parties.iter().enumerate();
        accounts
            .filter(|(at, _)| !is_linked(&self.disputes[*at]) && !is_wanted(*at))
            .map(|(_, party)| party.id.clone())
            .collect()
    }
}

/// The first rule under which some account holds what the principal holds, and what that is.
fn decide(rules: &[MatchRule], holdings: &Holdings, index: &Index) -> Option<(usize, Vec<Group>)> {
    let is_held = |group: &Group| !index.held_by_accounts[*group as usize].is_empty();
    rules.iter().enumerate().find_map(|(place, rule)| {
        let groups: Vec<Group> = match rule {
            MatchRule::AnyAddress => holdings.addresses.iter().copied().filter(is_held).collect(),
            MatchRule::Attribute { .. } => holdings.values[place].iter().copied().filter(is_held).collect(),
            MatchRule::PrimaryAddress => holdings
                .primary
                .into_iter()
                .filter(|group| index.is_primary[*group as usize])
                .collect(),
        };
        (!groups.is_empty()).then_some((place, groups))
    })
}

fn ineligible(side: &Side<'_>, at: usize) -> Option<IneligibleReason> {
    let party = &side.parties[at];
    if side.contradictory[at] {
        Some(IneligibleReason::Contradictory)
    } else if party.kind.is_group() {
        Some(IneligibleReason::Group)
    } else if party.activity == Activity::Inactive {
        Some(IneligibleReason::Inactive)
    } else {
        party
            .ineligible
            .map(|reason| IneligibleReason::Told(reason.to_owned()))
    }
}

fn address_linked(link: KnownLink<'_>) -> Dispute {
    Dispute::AddressLinked {
        principal: link.principal.clone(),
        account: link.account.clone(),
    }
}

fn address_keys(side: &Side<'_>) -> Vec<Vec<Option<AddressKey>>> {
    let key = |address: &String| AddressKey::of(address).ok();
    let keys = |at| side.told(at).flat_map(|party| party.addresses).map(key).collect();
    (0..side.parties.len()).map(keys).collect()
}

/// The first of what ascending lists hold, and whether there are more. O(1) for each list.
fn few<'l>(lists: impl IntoIterator<Item = &'l [u32]>, except: Option<u32>) -> (Vec<u32>, bool) {
    let first = lists.into_iter().flat_map(|list| {
        list.iter()
            .copied()
            .filter(|one| Some(*one) != except)
            .take(Few::MOST + 1)
    });
    let mut first: Vec<u32> = first.collect();
    first.sort_unstable();
    first.dedup();
    let more = first.len() > Few::MOST;
    first.truncate(Few::MOST);
    (first, more)
}

fn names(side: &Side<'_>, places: &[u32], more: bool) -> Few {
    let name = |at: &u32| side.parties[*at as usize].id.clone();
    Few {
        shown: places.iter().map(name).collect(),
        more,
    }
}

fn number(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}
