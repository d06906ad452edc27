//! Saving proposals and removing links, with the seats that go with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use usersync_connector::CallContext;
use usersync_license::{Refusal, SeatHolder, SeatKind, SeatLimits, SeatPlan, SeatRequest, Seats, allocate};
use usersync_model::PrincipalRef;
use usersync_store::{StoreError, StoreErrorKind};

use super::commit::Tries;
use super::draft::{Action, Draft};
use super::record::{Book, LinkEntry, LinkId};
use super::report::{LinkOutcome, LinkReport};
use super::{Chosen, Links};
use crate::error::Result;

impl Links {
    /// Saves the proposals of the chosen principals: each takes a seat, unless its principal has one. Who gets none waits, behind
    /// those who have waited longer, and is let in by the next call that saves or removes links when there is a seat. One call is one
    /// transaction: those who are refused are reported, and all others are saved.
    ///
    /// Both sides are read again first: a proposal that what they show now contradicts is not saved, nor is who waits let in on it. What
    /// cannot be read contradicts nothing.
    ///
    /// # Errors
    /// When the entitlement cannot be told, or the store fails.
    pub async fn save_added(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        let (principals, accounts) = self.read(context).await;
        let mut tries = Tries::default();
        loop {
            let book = self.book(context).await?;
            let limits = self.limits(context).await?;
            let now = self.clock.now();
            let doubted = self.doubted(&book, &principals, &accounts);
            let mut outcomes = self.without_link(&book, chosen);
            let mut wanted = BTreeSet::new();
            for (id, entry) in self.pair(&book).filter(|(id, _)| chosen.has(&id.principal)) {
                if entry.link.is_kept() {
                    let linked = LinkOutcome::Linked(entry.link.state());
                    // Of all there are, only what is to be saved is of interest.
                    if *chosen != Chosen::All {
                        outcomes.push((id.principal.clone(), linked));
                    }
                } else if self.is_stale(entry, now) {
                    outcomes.push((id.principal.clone(), LinkOutcome::ProposalExpired));
                } else if let Some(doubt) = doubted.get(id) {
                    outcomes.push((id.principal.clone(), doubt.clone()));
                } else {
                    wanted.insert(id.clone());
                }
            }
            let mut draft = Draft::default();
            let mut seated = Vec::new();
            let candidates = candidates(&book, &draft, &wanted, &doubted);
            let plan = seat(&book, &mut draft, &candidates, &limits, now, &mut seated)?;
            // Of those who waited before, only who waits no longer is of interest.
            seated.retain(|(principal, outcome)| {
                wanted.contains(&self.id(principal)) || matches!(outcome, LinkOutcome::Saved(_))
            });
            outcomes.append(&mut seated);
            if self
                .commit(context, &book, draft, Some(&limits), &mut tries)
                .await?
            {
                return Ok(report(outcomes, &plan).after([&principals, &accounts]));
            }
        }
    }

    /// Ends the links of the chosen principals, and drops their proposals. Whoever has no link left gives the seat back, and in the
    /// same transaction it goes to who has waited longest, unless the entitlement cannot be told. An administrator's link, one that a
    /// person had to confirm, stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        self.remove_if(context, chosen, |entry| !entry.privileged).await
    }

    /// As [`remove`](Self::remove), also of administrators' links.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_even_if_privileged(
        &self,
        context: &CallContext,
        chosen: &Chosen,
    ) -> Result<LinkReport> {
        self.remove_if(context, chosen, |_| true).await
    }

    async fn remove_if(
        &self,
        context: &CallContext,
        chosen: &Chosen,
        may_end: fn(&LinkEntry) -> bool,
    ) -> Result<LinkReport> {
        let mut seen = None;
        let mut tries = Tries::default();
        loop {
            let book = self.book(context).await?;
            if seen.is_none() && self.pair(&book).any(|(_, entry)| entry.waiting.is_some()) {
                seen = Some(self.read(context).await);
            }
            let doubted = seen
                .as_ref()
                .map_or_else(BTreeMap::new, |(principals, accounts)| {
                    self.doubted(&book, principals, accounts)
                });
            let mut draft = Draft::default();
            let mut outcomes = self.without_link(&book, chosen);
            let (ending, staying): (Vec<_>, Vec<_>) = self
                .pair(&book)
                .filter(|(id, _)| chosen.has(&id.principal))
                .partition(|(_, entry)| !entry.link.is_kept() || may_end(entry));
            let chosen_ids: Vec<_> = ending
                .into_iter()
                .map(|(id, entry)| (id.clone(), entry.link.is_kept()))
                .collect();
            let stays = |(id, _): (&LinkId, _)| (id.principal.clone(), LinkOutcome::ConfirmationNeeded);
            outcomes.extend(staying.into_iter().map(stays));
            for (id, is_kept) in &chosen_ids {
                let action = if *is_kept { Action::Remove } else { Action::Unstage };
                draft.drop(id.clone(), action);
            }
            let (limits, plan) = self
                .let_in(context, &book, &mut draft, &doubted, &mut outcomes)
                .await?;
            let releases = draft.releases(&book);
            outcomes.extend(chosen_ids.into_iter().map(|(id, is_kept)| {
                let released = releases.contains(&id.principal);
                let outcome = match is_kept {
                    true => LinkOutcome::Removed { released },
                    false => LinkOutcome::Unstaged,
                };
                (id.principal, outcome)
            }));
            if self
                .commit(context, &book, draft, limits.as_ref(), &mut tries)
                .await?
            {
                let reads = seen
                    .iter()
                    .flat_map(|(principals, accounts)| [principals, accounts]);
                return Ok(report(outcomes, &plan).after(reads));
            }
        }
    }

    /// Gives seats to those who wait and are not `doubted`, as far as there are any once `draft` is committed.
    pub(super) async fn let_in(
        &self,
        context: &CallContext,
        book: &Book,
        draft: &mut Draft,
        doubted: &BTreeMap<LinkId, LinkOutcome>,
        outcomes: &mut Vec<(PrincipalRef, LinkOutcome)>,
    ) -> Result<(Option<SeatLimits>, SeatPlan)> {
        let is_waiting = book.links.values().any(|(entry, _)| entry.waiting.is_some());
        if !is_waiting {
            return Ok((None, SeatPlan::default()));
        }
        // Nobody's link stays because the entitlement cannot be told.
        let Ok(limits) = self.limits(context).await else {
            return Ok((None, SeatPlan::default()));
        };
        let now = self.clock.now();
        let mut told = Vec::new();
        let candidates = candidates(book, draft, &BTreeSet::new(), doubted);
        let plan = seat(book, draft, &candidates, &limits, now, &mut told)?;
        told.retain(|(_, outcome)| matches!(outcome, LinkOutcome::Saved(_)));
        outcomes.append(&mut told);
        Ok((Some(limits), plan))
    }

    /// Who waits for a seat, in the order in which they get one, and whether too many have one.
    ///
    /// # Errors
    /// When the entitlement cannot be told, or the store fails.
    pub async fn waiting(&self, context: &CallContext) -> Result<SeatPlan> {
        let book = self.book(context).await?;
        let limits = self.limits(context).await?;
        let now = self.clock.now();
        let candidates = candidates(&book, &Draft::default(), &BTreeSet::new(), &BTreeMap::new());
        let requests = requests(&candidates, now);
        Ok(allocate(&limits, &seats(&book)?, &[], &requests))
    }
}

/// Saves those of `candidates` who have or get a seat; notes who begins to wait.
fn seat(
    book: &Book,
    draft: &mut Draft,
    candidates: &[(&LinkId, &LinkEntry)],
    limits: &SeatLimits,
    now: DateTime<Utc>,
    outcomes: &mut Vec<(PrincipalRef, LinkOutcome)>,
) -> Result<SeatPlan> {
    let seats = seats(book)?;
    let releases: Vec<_> = draft.releases(book).into_iter().collect();
    let requests = requests(candidates, now);
    let plan = allocate(limits, &seats, &releases, &requests);
    let after = seats.after(&plan);
    let places: BTreeMap<_, _> = plan
        .waiting
        .iter()
        .map(|waiting| (&waiting.holder.principal, (waiting.place, waiting.reason)))
        .collect();
    let refused: BTreeMap<_, _> = plan
        .refused
        .iter()
        .map(|refused| (&refused.principal, refused.reason))
        .collect();
    for (id, entry) in candidates {
        let mut entry = (*entry).clone();
        let principal = id.principal.clone();
        let outcome = if let Some(reason) = refused.get(&principal) {
            LinkOutcome::Refused(*reason)
        } else if let Some((place, reason)) = places.get(&principal) {
            if entry.waiting.is_none() {
                entry.waiting = Some(now);
                draft.set(entry, Action::Wait);
            }
            LinkOutcome::Waiting {
                place: *place,
                reason: *reason,
            }
        } else if after.kind_of(&principal).is_some() && entry.link.save().is_ok() {
            entry.waiting = None;
            entry.life = book.links.get(id).map(|(_, revision)| *revision);
            let state = entry.link.state();
            draft.set(entry, Action::Save);
            LinkOutcome::Saved(state)
        } else {
            // A group: it has no seat, and is never proposed.
            LinkOutcome::Refused(Refusal::BothKinds)
        };
        outcomes.push((principal, outcome));
    }
    Ok(plan)
}

/// The proposals to be saved: those wanted, and those that wait, without those in doubt.
fn candidates<'a>(
    book: &'a Book,
    draft: &Draft,
    wanted: &BTreeSet<LinkId>,
    doubted: &BTreeMap<LinkId, LinkOutcome>,
) -> Vec<(&'a LinkId, &'a LinkEntry)> {
    book.links
        .iter()
        .map(|(id, (entry, _))| (id, entry))
        .filter(|(id, entry)| !entry.link.is_kept() && (entry.waiting.is_some() || wanted.contains(id)))
        .filter(|(id, _)| !draft.changes.contains_key(id) && !doubted.contains_key(id))
        .collect()
}

/// Whoever waits comes before who does not, whatever their workers' clocks say.
fn requests(
    candidates: &[(&LinkId, &LinkEntry)],
    now: DateTime<Utc>,
) -> Vec<SeatRequest<(bool, DateTime<Utc>)>> {
    let request = |(id, entry): &(&LinkId, &LinkEntry)| {
        let kind = SeatKind::of(entry.link.kind())?;
        let principal = id.principal.clone();
        Some(SeatRequest::new(
            SeatHolder { principal, kind },
            (entry.waiting.is_none(), entry.waiting.unwrap_or(now)),
        ))
    };
    candidates.iter().filter_map(request).collect()
}

fn seats(book: &Book) -> Result<Seats> {
    let holders = book.seats.values().map(|(seat, _)| seat.holder.clone());
    Ok(Seats::new(holders).map_err(|conflict| {
        StoreError::new(StoreErrorKind::Corrupt, "a seat is taken twice").with_source(conflict)
    })?)
}

fn report(outcomes: Vec<(PrincipalRef, LinkOutcome)>, plan: &SeatPlan) -> LinkReport {
    let mut report = LinkReport::new(outcomes);
    report.over_use = plan.over_use;
    report.missing = plan.missing;
    report
}
