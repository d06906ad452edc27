//! Matching principals with accounts.

mod ahead;
mod groups;
mod index;
mod input;
mod look_alike;
mod order;
mod situation;
mod texts;

use std::collections::BTreeMap;

use usersync_model::{Activity, ObjectId};

pub use input::{KnownLink, MatchRule, Party, Side};
pub use look_alike::looks_like;
pub use situation::{Dispute, Few, Gone, Ineligible, IneligibleReason, Matched, Matching, Situation};

use ahead::{BLOCK, fetch};
use index::Index;
use input::Link;

/// What an account of more addresses and values than this is wanted for is looked up once, and not for each who wants it.
const LOOKED_THROUGH: usize = 16;

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
    let links: Vec<_> = links
        .into_iter()
        .map(|known| Link::new(known, principals, accounts))
        .collect();
    Matcher::new(principals, accounts, &links, rules).run()
}

struct Matcher<'a> {
    principals: &'a Side<'a>,
    accounts: &'a Side<'a>,
    links: &'a [Link<'a>],
    rules: &'a [MatchRule],
    index: Index<'a>,
    /// Of each principal, its link.
    link_of: Vec<Option<u32>>,
    /// Of each principal without a link, the place of the rule that decides.
    decided: Vec<Option<u32>>,
    /// Of each account, why nobody is linked with it by a rule.
    claims: Vec<Option<Claim>>,
    /// Of each group, the first of its accounts that is claimed; empty where none is.
    first_claimed: Vec<Option<u32>>,
    /// Of each account that holds much, the first principals that something it holds decides for: one more than are shown beside one
    /// of them.
    wanted_by: BTreeMap<u32, Vec<u32>>,
}

/// Why an account is not free.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// By the link at this place.
    AccountLinked(u32),
    /// By the link at this place, to an address of it.
    AddressLinked(u32),
    Privileged,
}

impl<'a> Matcher<'a> {
    fn new(
        principals: &'a Side<'a>,
        accounts: &'a Side<'a>,
        links: &'a [Link<'a>],
        rules: &'a [MatchRule],
    ) -> Self {
        let mut index = Index::new(principals, accounts, links, rules);
        let mut link_of = vec![None; principals.parties.len()];
        let mut link_of_account = vec![None; accounts.parties.len()];
        for (at, link) in (0..).zip(links) {
            if let Some(principal) = link.principal {
                link_of[principal as usize] = Some(at);
            }
            if let Some(account) = link.account {
                link_of_account[account as usize].get_or_insert(at);
            }
        }
        let decided = (0..).zip(&link_of).map(|(at, link)| match link {
            Some(_) => None,
            None => index.decide(at),
        });
        let decided = decided.collect();
        let claim = |(at, link): (u32, Option<u32>)| {
            let is_privileged = || accounts.told(at as usize).any(|party| party.privileged);
            link.map(Claim::AccountLinked)
                .or_else(|| index.link_of_account(at).map(Claim::AddressLinked))
                .or_else(|| is_privileged().then_some(Claim::Privileged))
        };
        let claims: Vec<_> = (0..).zip(link_of_account).map(claim).collect();
        let is_any_claimed = claims.iter().any(Option::is_some);
        let mut first_claimed = vec![None; if is_any_claimed { index.len() } else { 0 }];
        for (at, _) in (0..).zip(&claims).filter(|(_, claim)| claim.is_some()) {
            for group in index.of_account(at) {
                first_claimed[group as usize].get_or_insert(at);
            }
        }
        let wanted_by = |account| (account, first_deciders(&index, account));
        Self {
            principals,
            accounts,
            links,
            rules,
            wanted_by: index.large_accounts(LOOKED_THROUGH).map(wanted_by).collect(),
            index,
            link_of,
            decided,
            claims,
            first_claimed,
        }
    }

    fn run(&self) -> Matching {
        let mut matched = Vec::with_capacity(self.principals.parties.len());
        for (at, party) in (0..).zip(&self.principals.parties) {
            if (at as usize).is_multiple_of(BLOCK) {
                self.fetch_names(at);
            }
            matched.push(Matched {
                principal: party.id.clone(),
                situation: self.situation(at),
                look_alikes: self.look_alikes(at),
            });
        }
        let unseen = self.links.iter().filter(|link| link.principal.is_none());
        matched.extend(unseen.map(|link| Matched {
            principal: link.known.principal.clone(),
            situation: self.linked(None, *link),
            look_alikes: Few::default(),
        }));
        if matched.len() > self.principals.parties.len() {
            matched.sort_unstable_by(|a, b| a.principal.cmp(&b.principal));
        }
        Matching {
            principals: matched,
            unclaimed: self.unclaimed(),
        }
    }

    /// Reads ahead the names that a block of principals is told with: to share one is to write beside it.
    fn fetch_names(&self, from: u32) {
        let principals = &self.principals.parties[from as usize..];
        let names = (from..).zip(principals).take(BLOCK).flat_map(|(at, principal)| {
            let account = self.decided[at as usize].and_then(|place| {
                let group = self.index.decisive(at, place).next()?;
                let account = *self.index.accounts(group).first()?;
                Some(self.accounts.parties[account as usize].id)
            });
            [Some(principal.id), account]
        });
        fetch(names.flatten().filter_map(|id| id.as_str().bytes().next()));
    }

    fn look_alikes(&self, at: u32) -> Few {
        let mut alike = self.index.look_alikes(at, Few::MOST + 2);
        if alike.is_empty() {
            return Few::default();
        }
        alike.sort_unstable();
        alike.dedup();
        let own = self.link_of[at as usize].and_then(|link| self.links[link as usize].account);
        few(self.accounts, [alike.as_slice()].into_iter(), own)
    }

    fn situation(&self, at: u32) -> Situation {
        if let Some(link) = self.link_of[at as usize] {
            return self.linked(Some(at), self.links[link as usize]);
        }
        if let Some(reason) = ineligible(self.principals, at) {
            return Situation::NotEligible(Ineligible::Principal(reason));
        }
        if let Some(link) = self.index.link_of_principal(at) {
            return Situation::Disputed(self.address_linked(link));
        }
        let Some(place) = self.decided[at as usize] else {
            return match self.accounts.complete {
                true => Situation::Unmatched,
                false => Situation::Unknown { candidate: None },
            };
        };
        let groups = self.index.decisive(at, place);
        let claimed = groups
            .filter_map(|group| *self.first_claimed.get(group as usize)?)
            .min();
        if let Some(dispute) = claimed.and_then(|account| self.dispute(account)) {
            return Situation::Disputed(dispute);
        }
        if self.principals.told(at as usize).any(|party| party.privileged) {
            return Situation::Disputed(Dispute::PrivilegedPrincipal);
        }
        self.candidates(at, place)
    }

    /// Of a principal whose candidates nobody else has a claim to.
    fn candidates(&self, at: u32, place: u32) -> Situation {
        let groups = self.index.decisive(at, place);
        let candidates = groups.clone().map(|group| self.index.accounts(group));
        let shared = groups.map(|group| self.index.principals(group));
        let rule = &self.rules[place as usize];
        let Some(account) = only(candidates.clone()) else {
            return self.ambiguous(rule, candidates, shared, at);
        };
        // Others may have come to the same account by another rule.
        let known = self.wanted_by.get(&account);
        let groups = known.is_none().then(|| self.index.of_account(account));
        let others = groups.into_iter().flatten();
        let others = others.map(|group| self.index.deciders(group));
        let rivals = shared.chain(others).chain(known.map(Vec::as_slice));
        if only(rivals.clone()) != Some(at) {
            return self.ambiguous(rule, candidates, rivals, at);
        }
        let id = self.accounts.id(account);
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

    fn ambiguous<'l>(
        &self,
        rule: &MatchRule,
        accounts: impl Iterator<Item = &'l [u32]>,
        principals: impl Iterator<Item = &'l [u32]>,
        at: u32,
    ) -> Situation {
        Situation::Ambiguous {
            rule: rule.clone(),
            accounts: few(self.accounts, accounts, None),
            rivals: few(self.principals, principals, Some(at)),
        }
    }

    fn linked(&self, principal: Option<u32>, link: Link<'_>) -> Situation {
        let principal_gone = principal.is_none() && self.principals.complete;
        let account_gone = link.account.is_none() && self.accounts.complete;
        let gone = match (principal_gone, account_gone) {
            (false, false) => None,
            (false, true) => Some(Gone::Account),
            (true, false) => Some(Gone::Principal),
            (true, true) => Some(Gone::Both),
        };
        let id = link.known.account.clone();
        if let Some(gone) = gone {
            return Situation::Vanished { account: id, gone };
        }
        let of_account = link.account.and_then(|at| ineligible(self.accounts, at));
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

    fn dispute(&self, account: u32) -> Option<Dispute> {
        let id = self.accounts.id(account);
        self.claims[account as usize].map(|claim| match claim {
            Claim::AccountLinked(link) => Dispute::AccountLinked {
                account: id,
                principal: self.links[link as usize].known.principal.clone(),
            },
            Claim::AddressLinked(link) => self.address_linked(link),
            Claim::Privileged => Dispute::Privileged { account: id },
        })
    }

    fn address_linked(&self, link: u32) -> Dispute {
        let known = self.links[link as usize].known;
        Dispute::AddressLinked {
            principal: known.principal.clone(),
            account: known.account.clone(),
        }
    }

    fn unclaimed(&self) -> Vec<ObjectId> {
        if !(self.principals.complete && self.accounts.complete) {
            return Vec::new();
        }
        let is_linked = |claim: &Option<Claim>| matches!(claim, Some(Claim::AccountLinked(_)));
        let is_wanted = |at: u32| {
            let mut groups = self.index.of_account(at);
            groups.any(|group| !self.index.deciders(group).is_empty())
        };
        let free = (0..)
            .zip(&self.claims)
            .filter(|(at, claim)| !is_linked(claim) && !is_wanted(*at));
        free.map(|(at, _)| self.accounts.id(at)).collect()
    }
}

fn ineligible(side: &Side<'_>, at: u32) -> Option<IneligibleReason> {
    let party = &side.parties[at as usize];
    if side.contradictory[at as usize] {
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

/// The first of those that something an account holds decides for, ascending.
fn first_deciders(index: &Index<'_>, account: u32) -> Vec<u32> {
    let groups = index.of_account(account);
    let deciders = groups.flat_map(|group| index.deciders(group).iter().take(Few::MOST + 2));
    let mut first: Vec<u32> = deciders.copied().collect();
    first.sort_unstable();
    first.dedup();
    first.truncate(Few::MOST + 2);
    first
}

/// What ascending lists hold, if that is one and the same. O(1) for each list.
fn only<'l>(lists: impl Iterator<Item = &'l [u32]>) -> Option<u32> {
    let mut found = lists.flat_map(|list| list.iter().take(2));
    let first = found.next()?;
    found.all(|other| other == first).then_some(*first)
}

/// The names of the first of what ascending lists hold. O(1) for each list.
fn few<'l>(side: &Side<'_>, lists: impl Iterator<Item = &'l [u32]>, except: Option<u32>) -> Few {
    let first = lists.flat_map(|list| {
        list.iter()
            .copied()
            .filter(|one| Some(*one) != except)
            .take(Few::MOST + 1)
    });
    let mut first: Vec<u32> = first.collect();
    first.sort_unstable();
    first.dedup();
    Few {
        shown: first.iter().take(Few::MOST).map(|at| side.id(*at)).collect(),
        more: first.len() > Few::MOST,
    }
}
