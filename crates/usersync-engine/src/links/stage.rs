//! Staging: proposals that have no effect until they are saved.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use usersync_connector::{Account, CallContext};
use usersync_model::{AccountRef, Activity, AddressKey, Evidence, Link, ObjectId, PrincipalRef};
use usersync_reconcile::{Ineligible, IneligibleReason, Situation};

use super::commit::Tries;
use super::draft::{Action, Draft};
use super::load::Seen;
use super::record::{Book, LinkEntry, LinkId};
use super::report::{LinkOutcome, LinkReport};
use super::{Chosen, Links, after};
use crate::error::Result;

/// A pair that a person picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByHand {
    principal: ObjectId,
    account: ObjectId,
    privileged: bool,
}

impl ByHand {
    /// `principal` and `account` are one.
    #[must_use]
    pub fn new(principal: ObjectId, account: ObjectId) -> Self {
        Self {
            principal,
            account,
            privileged: false,
        }
    }

    /// Also if the account is an administrator's.
    #[must_use]
    pub fn even_if_privileged(mut self) -> Self {
        self.privileged = true;
        self
    }
}

impl Links {
    /// Stages the chosen principals that a rule matches with one account, and that account with nobody else, where what the rule
    /// goes by is vouched for. Whoever is staged already stays so, unless the proposal is too old. All others are reported with
    /// their situations.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stage(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        let (principals, accounts) = self.read(context).await;
        let (people, mailboxes) = (by_id(&principals.parties), by_id(&accounts.parties));
        let mut tries = Tries::default();
        loop {
            let book = self.book(context).await?;
            let claims = self.claims(&book);
            let now = self.clock.now();
            let mut draft = Draft::default();
            let mut outcomes = Vec::new();
            for matched in self.matching(&book, &principals, &accounts).principals {
                let principal = PrincipalRef::new(self.principals.system().clone(), matched.principal);
                if !chosen.has(&principal) {
                    continue;
                }
                let pair = match &matched.situation {
                    Situation::Proposed {
                        account,
                        rule,
                        vouched: true,
                    } => Some((account, rule.code().to_owned())),
                    _ => None,
                };
                let outcome = match pair {
                    Some((account, rule)) => {
                        let (Some(person), Some(mailbox)) =
                            (people.get(&principal.object), mailboxes.get(account))
                        else {
                            continue;
                        };
                        let addresses = addresses(person.account, mailbox.account);
                        let evidence = Evidence::Rule { rule, addresses };
                        let (person, mailbox) = (person.account, mailbox.account);
                        self.propose(&book, &claims, &mut draft, person, mailbox, evidence, now)
                    }
                    None => match book.entry(&self.id(&principal)) {
                        Some(entry) if entry.link.is_kept() => LinkOutcome::Linked(entry.link.state()),
                        Some(entry) if !self.is_stale(entry, now) => LinkOutcome::AlreadyStaged,
                        Some(_) | None => LinkOutcome::Unfit(matched.situation),
                    },
                };
                outcomes.push((principal, outcome));
            }
            if let Chosen::Of(wanted) = chosen {
                let known = LinkReport::new(outcomes.clone());
                let unseen = wanted.iter().filter(|principal| known.of(principal).is_none());
                outcomes.extend(unseen.map(|principal| (principal.clone(), LinkOutcome::NotSeen)));
            }
            if self.commit(context, &book, draft, None, &mut tries).await? {
                return Ok(LinkReport::new(outcomes).after([&principals, &accounts]));
            }
        }
    }

    /// Stages one pair that a person picked, whatever its situation: but nobody who is linked, nothing that cannot be linked, and an
    /// administrator's account or principal only if that is confirmed. It takes the place of an older proposal for the principal.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stage_by_hand(&self, context: &CallContext, pair: &ByHand) -> Result<LinkOutcome> {
        let (principals, accounts) = self.read(context).await;
        let (people, mailboxes) = (by_id(&principals.parties), by_id(&accounts.parties));
        let (Some(person), Some(mailbox)) = (people.get(&pair.principal), mailboxes.get(&pair.account))
        else {
            return Ok(LinkOutcome::NotSeen);
        };
        if let Some(outcome) = doubt_by_hand(Some(person), Some(mailbox), pair.privileged) {
            return Ok(outcome);
        }
        let (person, mailbox) = (person.account, mailbox.account);
        let mut tries = Tries::default();
        loop {
            let book = self.book(context).await?;
            let mut draft = Draft::default();
            let addresses = addresses(person, mailbox);
            let evidence = Evidence::ByHand { addresses };
            let outcome = self.propose(
                &book,
                &self.claims(&book),
                &mut draft,
                person,
                mailbox,
                evidence,
                self.clock.now(),
            );
            if self.commit(context, &book, draft, None, &mut tries).await? {
                return Ok(outcome);
            }
        }
    }

    /// Drops the proposals of the chosen principals. Links that are saved stay.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unstage(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        let mut tries = Tries::default();
        loop {
            let book = self.book_of(context, chosen).await?;
            let mut draft = Draft::default();
            let mut outcomes = self.without_link(&book, chosen);
            for (id, entry) in self.pair(&book).filter(|(id, _)| chosen.has(&id.principal)) {
                let outcome = if entry.link.is_kept() {
                    LinkOutcome::Linked(entry.link.state())
                } else {
                    draft.drop(id.clone(), Action::Unstage);
                    LinkOutcome::Unstaged
                };
                outcomes.push((id.principal.clone(), outcome));
            }
            if self.commit(context, &book, draft, None, &mut tries).await? {
                return Ok(LinkReport::new(outcomes));
            }
        }
    }

    /// Whether a proposal is too old to be saved. Who waits for a seat was saved in time.
    pub(super) fn is_stale(&self, entry: &LinkEntry, now: DateTime<Utc>) -> bool {
        entry.waiting.is_none() && after(entry.staged, self.settings.proposal_lifetime) <= now
    }

    /// The proposals that what is seen now contradicts, and what to tell of them. A read that was cut contradicts nothing by what it
    /// does not show.
    pub(super) fn doubted(
        &self,
        book: &Book,
        principals: &Seen,
        accounts: &Seen,
    ) -> BTreeMap<LinkId, LinkOutcome> {
        let is_proposal = |(_, entry): &(&LinkId, &LinkEntry)| !entry.link.is_kept();
        if !self.pair(book).any(|proposal| is_proposal(&proposal)) {
            return BTreeMap::new();
        }
        let (people, mailboxes) = (by_id(&principals.parties), by_id(&accounts.parties));
        let matched = self.matching(book, principals, accounts).principals;
        let doubt = |id: &LinkId, entry: &LinkEntry| {
            let account = &entry.link.account().object;
            let (person, mailbox) = (people.get(&id.principal.object), mailboxes.get(account));
            let is_gone = person.is_none() && principals.verdict.is_complete()
                || mailbox.is_none() && accounts.verdict.is_complete();
            if is_gone {
                return Some(LinkOutcome::NotSeen);
            }
            if person.is_some_and(|told| told.account.kind != entry.link.kind()) {
                return Some(LinkOutcome::ProposalExpired);
            }
            let by_rule = || {
                let at = matched
                    .binary_search_by(|other| other.principal.cmp(&id.principal.object))
                    .ok()?;
                match &matched[at].situation {
                    Situation::Proposed {
                        account: other,
                        vouched: true,
                        ..
                    }
                    | Situation::Unknown {
                        candidate: Some(other),
                    } if other == account => None,
                    // What does not match is no candidate; of what was not seen that cannot be said.
                    Situation::Unknown { candidate: None } if person.is_none() || mailbox.is_none() => None,
                    other => Some(LinkOutcome::Unfit(other.clone())),
                }
            };
            let is_by_rule = matches!(entry.link.evidence(), Evidence::Rule { .. });
            let unfit = is_by_rule.then(by_rule).flatten();
            // Where one of the two cannot be read, what the other one shows is said of it alone.
            unfit.or_else(|| doubt_by_hand(person, mailbox, entry.privileged))
        };
        self.pair(book)
            .filter(is_proposal)
            .filter_map(|(id, entry)| Some((id.clone(), doubt(id, entry)?)))
            .collect()
    }

    fn claims<'a>(&'a self, book: &'a Book) -> Claims<'a> {
        book.claims(self.principals.system(), self.accounts.system())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two sides, what is stored of them, and what becomes of it"
    )]
    fn propose(
        &self,
        book: &Book,
        claims: &Claims<'_>,
        draft: &mut Draft,
        person: &Account,
        mailbox: &Account,
        evidence: Evidence,
        now: DateTime<Utc>,
    ) -> LinkOutcome {
        let principal = PrincipalRef::new(self.principals.system().clone(), person.id.clone());
        let account = AccountRef::new(self.accounts.system().clone(), mailbox.id.clone());
        let id = self.id(&principal);
        let privileged = person.privileged || mailbox.privileged;
        let mut before = None;
        if let Some(entry) = book.entry(&id) {
            let is_by_rule = |evidence: &Evidence| matches!(evidence, Evidence::Rule { .. });
            let is_same = *entry.link.account() == account;
            if entry.link.is_kept() {
                return LinkOutcome::Linked(entry.link.state());
            }
            // A person says more than a rule does, and may have confirmed what was not known before.
            let says_more = is_by_rule(entry.link.evidence()) || privileged && !entry.privileged;
            let is_another = person.kind != entry.link.kind();
            let is_news = is_another || !is_by_rule(&evidence) && (!is_same || says_more);
            if !is_news && !self.is_stale(entry, now) {
                return LinkOutcome::AlreadyStaged;
            }
            before = Some(entry).filter(|_| is_same);
        }
        if claims
            .get(&account.object)
            .is_some_and(|other| **other != principal)
        {
            return LinkOutcome::AccountTaken;
        }
        let mut link = Link::propose(
            principal,
            person.kind,
            account,
            evidence,
            self.settings.needs_consent,
        );
        if let Some(entry) = before {
            // Of a pair that is proposed anew, what people set stays.
            let set = link.set_options(entry.link.options());
            set.and(link.set_rank(entry.link.rank()))
                .expect("a proposal takes options and a rank");
        }
        let entry = LinkEntry {
            link,
            staged: now,
            waiting: before.and_then(|entry| entry.waiting),
            missing: None,
            asked: None,
            followed: None,
            privileged,
            life: None,
        };
        draft.set(entry, Action::Stage);
        LinkOutcome::Staged
    }
}

/// Which account has which principal.
type Claims<'a> = BTreeMap<&'a ObjectId, &'a PrincipalRef>;

/// What is told of one party.
#[derive(Clone, Copy, Debug)]
struct Told<'a> {
    account: &'a Account,
    /// Told in two ways, neither is to be relied on.
    is_certain: bool,
}

fn by_id(parties: &[Account]) -> BTreeMap<&ObjectId, Told<'_>> {
    let mut told: BTreeMap<&ObjectId, Told<'_>> = BTreeMap::new();
    for account in parties {
        let first = told.entry(&account.id).or_insert(Told {
            account,
            is_certain: true,
        });
        first.is_certain &= first.account == account;
    }
    told
}

/// Why a person's pair cannot be linked, as far as the two are seen; `confirmed`: even if one is an administrator's.
fn doubt_by_hand(
    person: Option<&Told<'_>>,
    mailbox: Option<&Told<'_>>,
    confirmed: bool,
) -> Option<LinkOutcome> {
    if let Some(reason) = person.and_then(ineligible) {
        return Some(unfit(Ineligible::Principal(reason)));
    }
    if let Some(told) = mailbox
        && let Some(reason) = ineligible(told)
    {
        let account = told.account.id.clone();
        return Some(unfit(Ineligible::Account { account, reason }));
    }
    let is_privileged = |told: Option<&Told<'_>>| told.is_some_and(|told| told.account.privileged);
    let is_unconfirmed = !confirmed && (is_privileged(person) || is_privileged(mailbox));
    is_unconfirmed.then_some(LinkOutcome::ConfirmationNeeded)
}

/// The keys of all addresses of both.
fn addresses(person: &Account, mailbox: &Account) -> Vec<AddressKey> {
    let all = person.addresses.iter().chain(&mailbox.addresses);
    let mut keys: Vec<_> = all.filter_map(|address| AddressKey::of(address).ok()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn ineligible(told: &Told<'_>) -> Option<IneligibleReason> {
    let party = told.account;
    if !told.is_certain {
        Some(IneligibleReason::Contradictory)
    } else if party.kind.is_group() {
        Some(IneligibleReason::Group)
    } else if party.activity == Activity::Inactive {
        Some(IneligibleReason::Inactive)
    } else {
        party.ineligible.clone().map(IneligibleReason::Told)
    }
}

fn unfit(ineligible: Ineligible) -> LinkOutcome {
    LinkOutcome::Unfit(Situation::NotEligible(ineligible))
}
