//! What becomes of links whose principals or accounts are gone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use usersync_connector::CallContext;
use usersync_model::{Completeness, Digest, DigestBuilder, ObjectId, PrincipalRef, SuspendCause};
use usersync_reconcile::Situation;
use usersync_store::Revision;

use super::draft::{Action, Draft};
use super::load::Seen;
use super::record::{Book, LinkEntry, LinkId};
use super::{AfterGrace, LinkOutcome, Links, after};
use crate::error::Result;

/// So many links may be suspended or removed at once in any case.
const AT_ONCE: usize = 10;

/// What [`Links::follow_departures`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DepartureReport {
    /// The links that changed, ascending by principal.
    pub outcomes: Vec<(PrincipalRef, Departed)>,
    /// Who waited and was let in by that.
    pub let_in: Vec<(PrincipalRef, LinkOutcome)>,
    /// What was held for it is more than may go at once: the principals, and the digest that an approval names. Nothing of it was
    /// done.
    pub held: Option<(Vec<PrincipalRef>, Digest)>,
    /// How much was seen of the principals.
    pub principals: Completeness,
    /// How much was seen of the accounts.
    pub accounts: Completeness,
}

/// What became of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Departed {
    /// It was missing for the grace period, and is removed.
    Removed,
    /// What was missing returned.
    Returned,
    /// Its principal or account is missing: it is suspended.
    Suspended,
}

impl Departed {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Returned => "returned",
            Self::Suspended => "suspended",
        }
    }
}

impl Links {
    /// Reads both sides and lets the links follow: a link whose principal or account a complete read does not show is suspended, and
    /// the time is noted; when what is missing returns, it is resumed; after the grace period it is removed or stays suspended, by
    /// [`LinkSettings::after_grace`](super::LinkSettings::after_grace). Nothing follows from what a partial read does not show.
    ///
    /// More suspensions and removals than the larger of 10 and
    /// [`LinkSettings::departure_percent`](super::LinkSettings::departure_percent) of the pair's links are held, all of them, until
    /// the call is made with the digest that was reported; and so are any at all while a system shows nobody, and those of
    /// administrators' links always. An approval is good for these departures only: once it was used, or a link of them has changed,
    /// there is another digest. Returns are never held.
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
        let people: BTreeSet<_> = principals.parties.iter().map(|party| &party.id).collect();
        let mailboxes: BTreeSet<_> = accounts.parties.iter().map(|party| &party.id).collect();
        let shows_nobody = people.is_empty() || mailboxes.is_empty();
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
            going.retain(|going| is_noted(&going.id));
            let kept = self.pair(&book).filter(|(_, entry)| entry.link.is_kept()).count();
            let share = kept * usize::from(self.settings.departure_percent.get()) / 100;
            let is_much = shows_nobody || going.len() > share.max(AT_ONCE);
            let (mut held, mut free): (Vec<_>, Vec<_>) = going
                .into_iter()
                .partition(|going| is_much || going.is_privileged);
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
                    None => draft.drop(going.id, Action::Remove),
                }
            }
            let mut let_in = Vec::new();
            let doubted = self.doubted(&book, &principals, &accounts);
            let (limits, _) = self
                .let_in(context, &book, &mut draft, &doubted, &mut let_in)
                .await?;
            if self.commit(context, &book, draft, limits.as_ref()).await? {
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
            });
        }
        going
    }
}

/// A link that is to be suspended or removed.
#[derive(Debug)]
struct Going {
    id: LinkId,
    /// Of the link as it is.
    revision: Revision,
    /// `None`: it is removed.
    after: Option<LinkEntry>,
    departed: Departed,
    is_privileged: bool,
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
