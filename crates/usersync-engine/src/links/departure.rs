//! What becomes of links and proposals whose principals or accounts are gone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use usersync_connector::CallContext;
use usersync_model::{Completeness, Digest, DigestBuilder, ObjectId, PrincipalRef, SuspendCause};
use usersync_reconcile::{Share, Situation};
use usersync_store::{Key, Revision};

use super::commit::Tries;
use super::draft::{Action, Draft, Quota};
use super::load::Seen;
use super::record::{Book, LinkEntry, LinkId};
use super::{AfterGrace, LinkOutcome, Links, after};
use crate::error::Result;
use crate::state::window_hours;

/// So many links may be suspended or removed at once in any case.
const AT_ONCE: u32 = 10;

/// What [`Links::follow_departures`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DepartureReport {
    /// The links and proposals that changed, ascending by principal.
    pub outcomes: Vec<(PrincipalRef, Departed)>,
    /// Who waited and was let in by that.
    pub let_in: Vec<(PrincipalRef, LinkOutcome)>,
    /// What was held for it is more than may go at once, or within the window: the principals, and the digest that an approval names.
    /// Nothing of it was done.
    pub held: Option<(Vec<PrincipalRef>, Digest)>,
    /// How much was seen of the principals.
    pub principals: Completeness,
    /// How much was seen of the accounts.
    pub accounts: Completeness,
}

/// What became of one link or proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Departed {
    /// It was missing for the grace period, and is removed.
    Removed,
    /// What was missing returned.
    Returned,
    /// Its principal or account is missing: it is suspended.
    Suspended,
    /// Its principal or account is missing before it was saved: the proposal is dropped, with its place in the waiting list.
    Unstaged,
}

impl Departed {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Returned => "returned",
            Self::Suspended => "suspended",
            Self::Unstaged => "unstaged",
        }
    }
}

impl Links {
    /// Reads both sides and lets the links follow: a link whose principal or account a complete read does not show is suspended, and
    /// the time is noted; when what is missing returns, it is resumed; after the grace period it is removed or stays suspended, by
    /// [`LinkSettings::after_grace`](super::LinkSettings::after_grace). A proposal whose principal or account is gone is dropped: its
    /// account is free, and who waits behind it moves up. Nothing follows from what a partial read does not show.
    ///
    /// More suspensions and removals than the larger of 10 and
    /// [`LinkSettings::departure_percent`](super::LinkSettings::departure_percent) of the pair's links, or than
    /// [`LinkSettings::departure_window`](super::LinkSettings::departure_window) leaves room for, are held, all of them, until the call
    /// is made with the digest that was reported; and so are any at all while a system shows nobody, and those of administrators' links
    /// always. A place in the waiting list counts as a link does; other proposals, which can be staged again, do not count, and wait
    /// only with what is held. What was approved takes no room in the window. An approval is good for these departures only: once it
    /// was used, or a link of them has changed, there is another digest. Returns are never held.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow_departures(
        &self,
        context: &CallContext,
        approved: Option<&Digest>,
    ) -> Result<DepartureReport> {
        // A link that was made or changed since says nothing about what was read before, nor the other way round.
        let noted = self.revisions(context).await?;
        let (principals, accounts) = self.read(context).await;
        let (people, mailboxes) = (principals.shown(), accounts.shown());
        let shows_nobody = people.is_empty() || mailboxes.is_empty();
        let mut tries = Tries::default();
        loop {
            let book = self.book(context).await?;
            let now = self.clock.now();
            let mut draft = Draft::default();
            let mut outcomes = BTreeMap::new();
            let is_noted = |id: &LinkId| {
                let now = book.links.get(id).map(|(_, revision)| revision);
                now.is_some() && now == noted.get(id)
            };
            for (id, entry) in self
                .pair(&book)
                .filter(|(id, entry)| entry.link.is_kept() && is_noted(id))
            {
                let mut entry = entry.clone();
                let mut returned = false;
                for (is_seen, cause) in [
                    (
                        people.contains(&id.principal.object),
                        SuspendCause::PrincipalVanished,
                    ),
                    (
                        mailboxes.contains(&entry.link.account().object),
                        SuspendCause::AccountVanished,
                    ),
                ] {
                    returned |= is_seen && entry.link.resume(cause) == Ok(true);
                }
                if returned {
                    let gone = [SuspendCause::AccountVanished, SuspendCause::PrincipalVanished];
                    // The grace period of what is missing still does not begin before what returned was gone.
                    let is_gone = gone.iter().any(|cause| entry.link.suspended_by().contains(cause));
                    entry.missing = is_gone.then_some(now);
                    draft.set(entry, Action::Resume);
                    outcomes.insert(id.principal.clone(), Departed::Returned);
                }
            }
            let mut going = self.going(&book, &draft, &principals, &accounts, now);
            going.extend(self.ending(&book, &principals, &accounts));
            going.retain(|going| is_noted(&going.id));
            going.sort_unstable_by(|one, other| one.id.cmp(&other.id));
            let kept = self.pair(&book).filter(|(_, entry)| entry.link.is_kept()).count() as u64;
            let at_once = Share {
                percent: self.settings.departure_percent.get(),
                floor: AT_ONCE,
            };
            let counted = going.iter().filter(|going| going.counts).count() as u64;
            let free = |going: &&Going| going.counts && !going.is_privileged;
            let taken = going.iter().filter(free).count() as u64;
            let quota = self.quota(context, kept, taken, now).await?;
            let is_much = shows_nobody
                || counted > at_once.allowance(kept)
                || quota.as_ref().is_some_and(Quota::is_exceeded);
            let (mut held, mut free): (Vec<_>, Vec<_>) = going
                .into_iter()
                .partition(|going| is_much || going.is_privileged);
            if !is_much {
                draft.quota = quota;
            }
            let digest = digest_of(context, &held);
            if approved == Some(&digest) {
                free.append(&mut held);
            }
            let who: Vec<_> = held.into_iter().map(|going| going.id.principal).collect();
            let held = (!who.is_empty()).then_some((who, digest));
            for going in free {
                outcomes.insert(going.id.principal.clone(), going.departed);
                match going.after {
                    Some(entry) => draft.set(entry, Action::Suspend),
                    None if going.departed == Departed::Unstaged => draft.drop(going.id, Action::Unstage),
                    None => draft.drop(going.id, Action::Remove),
                }
            }
            let mut let_in = Vec::new();
            let doubted = self.doubted(&book, &principals, &accounts);
            let (limits, _) = self
                .let_in(context, &book, &mut draft, &doubted, &mut let_in)
                .await?;
            if self
                .commit(context, &book, draft, limits.as_ref(), &mut tries)
                .await?
            {
                return Ok(DepartureReport {
                    outcomes: outcomes.into_iter().collect(),
                    let_in,
                    held,
                    principals: principals.verdict,
                    accounts: accounts.verdict,
                });
            }
        }
    }

    /// The links as they are now, by their revisions.
    async fn revisions(&self, context: &CallContext) -> Result<BTreeMap<LinkId, Revision>> {
        let book = self.book(context).await?;
        let links = book.links.into_iter();
        Ok(links.map(|(id, (_, revision))| (id, revision)).collect())
    }

    /// The links that are to be suspended, or removed.
    fn going(
        &self,
        book: &Book,
        returned: &Draft,
        principals: &Seen,
        accounts: &Seen,
        now: DateTime<Utc>,
    ) -> Vec<Going> {
        let privileged = |seen: &'_ Seen| -> BTreeSet<ObjectId> {
            let parties = seen.parties.iter().filter(|party| party.privileged);
            parties.map(|party| party.id.clone()).collect()
        };
        let (people, mailboxes) = (privileged(principals), privileged(accounts));
        let mut going = Vec::new();
        for matched in self.matching(book, principals, accounts).principals {
            let Situation::Vanished { gone, .. } = matched.situation else {
                continue;
            };
            let principal = PrincipalRef::new(self.principals.system().clone(), matched.principal);
            let id = self.id(&principal);
            let Some((before, revision)) = book.links.get(&id) else {
                continue;
            };
            let revision = *revision;
            let is_privileged = before.privileged
                || people.contains(&id.principal.object)
                || mailboxes.contains(&before.link.account().object);
            let returned = returned.changes.get(&id).and_then(|change| change.after.as_ref());
            let mut entry = returned.unwrap_or(before).clone();
            let mut is_new = false;
            // What was missing before, and is not seen to be missing now, may be back: then the time is not all of what is missing.
            let is_still = [SuspendCause::AccountVanished, SuspendCause::PrincipalVanished]
                .iter()
                .filter(|cause| entry.link.suspended_by().contains(cause))
                .all(|cause| causes(gone).contains(cause));
            for cause in causes(gone) {
                is_new |= entry.link.suspend(*cause) == Ok(true);
            }
            let since = *entry.missing.get_or_insert(now);
            let is_over = is_still && after(since, self.settings.grace) <= now;
            let (after, departed) = if is_over && self.settings.after_grace == AfterGrace::Remove {
                (None, Departed::Removed)
            } else if is_new {
                (Some(entry), Departed::Suspended)
            } else {
                continue;
            };
            going.push(Going {
                id,
                revision,
                after,
                departed,
                is_privileged,
                counts: true,
            });
        }
        going
    }

    /// The proposals whose principal or account is gone.
    fn ending(&self, book: &Book, principals: &Seen, accounts: &Seen) -> Vec<Going> {
        let (people, mailboxes) = (principals.shown(), accounts.shown());
        let is_gone = |seen: &Seen, shown: &BTreeSet<&ObjectId>, id: &ObjectId| {
            seen.verdict.is_complete() && !shown.contains(id)
        };
        self.pair(book)
            .filter(|(id, entry)| {
                let account = &entry.link.account().object;
                !entry.link.is_kept()
                    && (is_gone(principals, &people, &id.principal.object)
                        || is_gone(accounts, &mailboxes, account))
            })
            .filter_map(|(id, entry)| {
                let (_, revision) = book.links.get(id)?;
                Some(Going {
                    id: id.clone(),
                    revision: *revision,
                    after: None,
                    departed: Departed::Unstaged,
                    is_privileged: false,
                    counts: entry.waiting.is_some(),
                })
            })
            .collect()
    }

    /// What so many departures take of the window that ends now; `None` if there is no window, or nothing to take.
    async fn quota(
        &self,
        context: &CallContext,
        kept: u64,
        taken: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Quota>> {
        let Some(window) = self.settings.departure_window.filter(|_| taken > 0) else {
            return Ok(None);
        };
        let (principals, accounts) = (self.principals.system(), self.accounts.system());
        let counter = |hour: i64| {
            let hour = hour.to_string();
            Key::of(&["departures", principals.as_str(), accounts.as_str(), &hour])
        };
        let hours = window_hours(now, window.hours);
        let (first, this) = (*hours.start(), *hours.end());
        // With the next hour, which may have begun for somebody else: no lease keeps calls apart.
        let counters: Vec<_> = (first..=this + 1).map(counter).collect();
        let mut used = 0_u64;
        for counter in &counters {
            used = used.saturating_add(self.store.counter(&context.tenant, counter).await?);
        }
        Ok(Some(Quota {
            counter: counter(this),
            counters,
            limit: window.share.allowance(kept),
            used,
            taken,
        }))
    }
}

/// A link that is to be suspended or removed, or a proposal that is to be dropped.
#[derive(Debug)]
struct Going {
    id: LinkId,
    /// Of what is stored of it.
    revision: Revision,
    /// `None`: it is no more.
    after: Option<LinkEntry>,
    departed: Departed,
    is_privileged: bool,
    /// Whether the guards count it.
    counts: bool,
}

fn causes(gone: usersync_reconcile::Gone) -> &'static [SuspendCause] {
    use usersync_reconcile::Gone;
    match gone {
        Gone::Account => &[SuspendCause::AccountVanished],
        Gone::Both => &[SuspendCause::AccountVanished, SuspendCause::PrincipalVanished],
        Gone::Principal => &[SuspendCause::PrincipalVanished],
    }
}

/// Names exactly these departures, whatever the time: of the links as they are, so that it names none that come later.
fn digest_of(context: &CallContext, going: &[Going]) -> Digest {
    let start = DigestBuilder::new("usersync.departures/1").part(context.tenant.as_str().as_bytes());
    going
        .iter()
        .fold(start, |digest, going| {
            digest
                .part(going.id.key().as_str().as_bytes())
                .part(&going.revision.to_be_bytes())
                .part(going.departed.code().as_bytes())
        })
        .finish()
}
