//! Links between the principals of one system and the accounts of another: load, stage, save, remove.

mod check;
mod commit;
mod consent;
mod departure;
mod draft;
mod load;
mod random;
mod record;
mod report;
mod save;
mod stage;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use usersync_connector::wrap::ReadLimits;
use usersync_connector::{AccountDirectory, CallContext, Clock, EntitlementSource, TokenStore};
use usersync_license::{ResourcePlacement, SeatLimits};
use usersync_model::{
    DirectoryGraph, LinkOptions, PrincipalRef, Rank, ResolvePolicy, Scratch, Selection, SuspendCause,
};
use usersync_reconcile::{Guards, MatchRule, Window};
use usersync_store::StateStore;

pub use check::{LinkProblem, check_links};
pub use consent::{Consented, NotConsented};
pub use departure::{Departed, DepartureReport};
pub use load::Loaded;
pub use random::{OsRandom, RandomSource};
pub use record::{Asked, LinkAuditRecord, LinkEntry};
pub(crate) use record::{is_linked, moved_queue};
pub use report::{LinkOutcome, LinkReport};
pub use stage::ByHand;
pub use work::{LinkWork, link_lease};
pub(crate) use work::{is_work_of, lease_between, link_key, link_of, links_between};

use commit::Tries;
use draft::{Action, Draft};
use record::{Book, LinkId};

use crate::audit::{self, About};
use crate::error::Result;

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: [crate::fuzzing::StoredFormat; 5] = [
    crate::fuzzing::stored!(record::AUDIT, LinkAuditRecord),
    crate::fuzzing::stored!(record::CLAIM, LinkId),
    crate::fuzzing::stored!(record::CONSENT, LinkId),
    crate::fuzzing::stored!(record::LINK, LinkEntry),
    crate::fuzzing::stored!(record::QUEUE, DateTime<Utc>),
];

/// So many links are read one by one rather than with all others.
const SINGLY: usize = 64;

/// The links between the principals of one system and the accounts of another.
///
/// Both sides are read as accounts, since linking needs addresses. Proposals are staged in the store and have no effect until they
/// are saved. Each call that changes something is one transaction: what it reports is committed, all of it or nothing; when it fails
/// because the store is unavailable, it can be made again.
///
/// # Guarantees
/// - Per tenant and pair of systems, a principal has at most one link or proposal, and so has an account.
/// - Whoever has a saved link has a seat, shared by all the principal's links; seats are taken and given back in the transaction
///   that saves the first link and removes the last. A seat that the host took as well, through a
///   [`SeatRegister`](crate::SeatRegister), stays.
/// - Nothing is taken beyond the entitlement in force when it is taken.
/// - Each change of a saved link has one audit record and one notification.
#[derive(Clone, Debug)]
pub struct Links {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    principals: Arc<dyn AccountDirectory>,
    accounts: Arc<dyn AccountDirectory>,
    entitlements: Arc<dyn EntitlementSource>,
    tokens: Option<Arc<dyn TokenStore>>,
    random: Arc<dyn RandomSource>,
    rules: Vec<MatchRule>,
    settings: LinkSettings,
}

/// Figures of linking; every one has a sensible default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkSettings {
    /// What becomes of a link once its principal or account was missing for the grace period.
    pub after_grace: AfterGrace,
    /// How long an owner can consent after being asked.
    pub consent_lifetime: Duration,
    /// How many links of a pair may be suspended or removed by departures in one call without an approval: the larger of 10 and
    /// this share.
    pub departure_percent: NonZeroU8,
    /// How many links of a pair may be suspended or removed by departures within some hours, in however many calls, without an
    /// approval.
    pub departure_window: Option<Window>,
    /// How long a link whose principal or account is missing is suspended before `after_grace` says what becomes of it.
    pub grace: Duration,
    /// Whether owners must consent before their accounts are worked on; otherwise a service account may.
    pub needs_consent: bool,
    /// Where resources may sit.
    pub placement: ResourcePlacement,
    /// How long a proposal can be saved after it was staged.
    pub proposal_lifetime: Duration,
    /// How much one read of accounts may bring. What hits a limit is partial: nothing is proposed from it.
    pub read: ReadLimits,
}

/// What becomes of a link after the grace period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterGrace {
    /// It is removed, and its seat is free.
    Remove,
    /// It stays suspended until what is missing returns, or a person removes it.
    #[default]
    StaySuspended,
}

impl Default for LinkSettings {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            after_grace: AfterGrace::default(),
            consent_lifetime: Duration::from_secs(7 * DAY),
            departure_percent: NonZeroU8::new(20).expect("20 is not zero"),
            departure_window: Guards::default().window,
            grace: Duration::from_secs(30 * DAY),
            needs_consent: false,
            placement: ResourcePlacement::default(),
            proposal_lifetime: Duration::from_secs(7 * DAY),
            read: ReadLimits::default(),
        }
    }
}

/// Which principals a call is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Chosen {
    /// All that it can be about.
    #[default]
    All,
    /// These.
    Of(BTreeSet<PrincipalRef>),
}

impl Chosen {
    /// These principals.
    #[must_use]
    pub fn of(principals: impl IntoIterator<Item = PrincipalRef>) -> Self {
        Self::Of(principals.into_iter().collect())
    }

    /// Those whom `selection` stands for in `graph` for sure, groups being expanded. Whoever may be selected, as far as could be
    /// read, is not among them. O(V+E) of what is reached.
    #[must_use]
    pub fn resolve(graph: &DirectoryGraph, selection: &Selection, policy: &ResolvePolicy) -> Self {
        let resolved = graph.resolve(selection, policy, &mut Scratch::new());
        Self::of(resolved.certain.iter().map(|node| graph.principal_ref(*node)))
    }

    fn has(&self, principal: &PrincipalRef) -> bool {
        match self {
            Self::All => true,
            Self::Of(principals) => principals.contains(principal),
        }
    }
}

impl Links {
    /// Links of the principals that `principals` shows with the accounts that `accounts` shows, by primary address, with a service
    /// account for all.
    #[must_use]
    pub fn new(
        store: Arc<dyn StateStore>,
        clock: Arc<dyn Clock>,
        principals: Arc<dyn AccountDirectory>,
        accounts: Arc<dyn AccountDirectory>,
        entitlements: Arc<dyn EntitlementSource>,
    ) -> Self {
        Self {
            store,
            clock,
            principals,
            accounts,
            entitlements,
            tokens: None,
            random: Arc::new(OsRandom),
            rules: MatchRule::DEFAULT.to_vec(),
            settings: LinkSettings::default(),
        }
    }

    /// The same links by other rules, in their order.
    #[must_use]
    pub fn with_rules(mut self, rules: impl IntoIterator<Item = MatchRule>) -> Self {
        self.rules = rules.into_iter().collect();
        self
    }

    /// The same links with other figures.
    #[must_use]
    pub fn with_settings(mut self, settings: LinkSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The same links with a store of tokens, which owners' consent needs.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Arc<dyn TokenStore>) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The same links with another source of randomness than the operating system: for simulations.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn RandomSource>) -> Self {
        self.random = random;
        self
    }

    /// The links and proposals of the pair, ascending by principal.
    ///
    /// # Errors
    /// When the store fails, or holds a link that cannot be read.
    pub async fn list(&self, context: &CallContext) -> Result<Vec<LinkEntry>> {
        let book = self.book(context).await?;
        Ok(self.pair(&book).map(|(_, entry)| entry.clone()).collect())
    }

    /// Who did what to links of the tenant, of any pair, in the order of that.
    ///
    /// # Errors
    /// When the store fails, or holds a record that cannot be read.
    pub async fn audit(&self, context: &CallContext) -> Result<Vec<LinkAuditRecord>> {
        audit::load(self.store.as_ref(), &context.tenant, About::Link, record::AUDIT).await
    }

    /// Sets what is synchronized for these principals, of links and proposals.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn save_options(
        &self,
        context: &CallContext,
        options: &[(PrincipalRef, LinkOptions)],
    ) -> Result<LinkReport> {
        let wanted: BTreeMap<_, _> = options.iter().cloned().collect();
        let chosen = Chosen::of(wanted.keys().cloned());
        self.change(context, &chosen, |entry| {
            let options = wanted.get(entry.link.principal())?;
            entry.link.set_options(*options).ok()?.then_some(Action::Options)
        })
        .await
    }

    /// Has other workers do the work of these links. Whoever works on one now holds its [lease](link_lease), so that the others
    /// begin after that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_rank(&self, context: &CallContext, chosen: &Chosen, rank: Rank) -> Result<LinkReport> {
        self.change(context, chosen, |entry| {
            entry.link.set_rank(rank).ok()?.then_some(Action::Rank)
        })
        .await
    }

    /// Suspends these links until they are resumed. They keep their seats.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn suspend(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        self.change(context, chosen, |entry| {
            let new = entry.link.suspend(SuspendCause::ByHand).ok()?;
            new.then_some(Action::Suspend)
        })
        .await
    }

    /// Ends what [`suspend`](Self::suspend) began. What is gone or not authorized stays suspended by that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn resume(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        self.change(context, chosen, |entry| {
            let was = entry.link.resume(SuspendCause::ByHand).ok()?;
            was.then_some(Action::Resume)
        })
        .await
    }

    /// Changes single links, none of which begins or ends by that.
    async fn change(
        &self,
        context: &CallContext,
        chosen: &Chosen,
        mut edit: impl FnMut(&mut LinkEntry) -> Option<Action>,
    ) -> Result<LinkReport> {
        let mut tries = Tries::default();
        loop {
            let book = self.book_of(context, chosen).await?;
            let mut draft = Draft::default();
            let mut outcomes = self.without_link(&book, chosen);
            for (id, entry) in self.pair(&book).filter(|(id, _)| chosen.has(&id.principal)) {
                let mut after = entry.clone();
                let outcome = match edit(&mut after) {
                    Some(Action::Note) => {
                        draft.set(after, Action::Note);
                        LinkOutcome::Unchanged(entry.link.state())
                    }
                    Some(action) => {
                        let state = after.link.state();
                        draft.set(after, action);
                        LinkOutcome::Changed(state)
                    }
                    None => LinkOutcome::Unchanged(entry.link.state()),
                };
                outcomes.push((id.principal.clone(), outcome));
            }
            if self.commit(context, &book, draft, None, &mut tries).await? {
                return Ok(LinkReport::new(outcomes));
            }
        }
    }

    /// The chosen principals that have neither link nor proposal.
    fn without_link(&self, book: &Book, chosen: &Chosen) -> Vec<(PrincipalRef, LinkOutcome)> {
        let Chosen::Of(principals) = chosen else {
            return Vec::new();
        };
        let missing = |principal: &&PrincipalRef| book.entry(&self.id(principal)).is_none();
        let none = |principal: &PrincipalRef| (principal.clone(), LinkOutcome::NoLink);
        principals.iter().filter(missing).map(none).collect()
    }

    async fn book(&self, context: &CallContext) -> Result<Book> {
        Book::load(self.store.as_ref(), &context.tenant).await
    }

    /// As much of the book as is needed to change the chosen links, none of which begins or ends by that.
    async fn book_of(&self, context: &CallContext, chosen: &Chosen) -> Result<Book> {
        match chosen {
            Chosen::Of(principals) if principals.len() <= SINGLY => {
                // All at once: a future that holds a closure over references cannot be shown to be `Send`.
                let ids: Vec<_> = principals.iter().map(|principal| self.id(principal)).collect();
                Book::of(self.store.as_ref(), &context.tenant, ids).await
            }
            Chosen::All | Chosen::Of(_) => self.book(context).await,
        }
    }

    fn pair<'a>(&'a self, book: &'a Book) -> impl Iterator<Item = (&'a LinkId, &'a LinkEntry)> {
        book.pair(self.principals.system(), self.accounts.system())
    }

    fn id(&self, principal: &PrincipalRef) -> LinkId {
        LinkId {
            principal: principal.clone(),
            accounts: self.accounts.system().clone(),
        }
    }

    async fn limits(&self, context: &CallContext) -> Result<SeatLimits> {
        let entitlement = self.entitlements.entitlement(&context.tenant).await?;
        Ok(entitlement.limits(self.settings.placement))
    }
}

/// The time `span` after `at`; the last there is if that is beyond all times.
fn after(at: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span)
        .ok()
        .and_then(|span| at.checked_add_signed(span))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
