//! The directory itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};
use usersync_connector::{
    CHUNK_ENTRIES, CallContext, Cursor, Directory, DirectoryCapabilities, Error, ErrorKind, Extent, ReadEnd,
    ReadStream,
};
use usersync_model::{Completeness, DirectoryChange, ObjectId, PartialKind, PartialReason, SystemId};

use super::held::Held;
use super::members::Finder;
use super::mending::Mending;
use super::profile::LdapProfile;
use super::stream::{Events, produced};
use crate::changes::{
    ChangeStrategy, Changes, Cookie, Delta, Known, RangeLimits, Spec, Strategy, complete_ranges,
};
use crate::client::{Base, FoundEntry, Item, LdapClient, Pages, RootDse, Search, Session, reason};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::index::{DirectoryWarning, EntryKey, Index, Members, Settled};
use crate::rules::EntryRules;

/// A live server as a directory of users, groups and resources.
///
/// Principals are identified by an attribute such as `entryUUID` or `objectGUID`, never by their DN: a rename or a move
/// keeps them. Only the attributes that the rules need are asked for, always in pages, long lists of members to their last
/// range; referrals are not followed. Whatever the server does not answer with success makes the read, or the group
/// concerned, partial.
///
/// Cursors are good while this connector, or a clone of it, lives: what they continue from is kept in memory.
///
/// ```no_run
/// # async fn read() -> Result<(), Box<dyn std::error::Error>> {
/// use usersync_connector::Secret;
/// use usersync_ldap::{Dn, LdapClient, LdapDirectory, LdapProfile, LdapServer};
/// use usersync_model::SystemId;
///
/// let server = LdapServer::new("ldaps://dc1.example.org")?
///     .with_password("sync@example.org", Secret::new(std::env::var("LDAP_PASSWORD")?));
/// let profile = LdapProfile::active_directory(Dn::parse("DC=example,DC=org")?);
/// let directory = LdapDirectory::new(SystemId::new("ad")?, LdapClient::new(server), profile);
/// for warning in directory.contents().await?.warnings {
///     println!("{}: {warning}", warning.code());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LdapDirectory(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) system: SystemId,
    pub(super) client: LdapClient,
    pub(super) profile: LdapProfile,
    pub(super) rules: Arc<EntryRules>,
    held: Held<Arc<State>>,
}

/// What a cursor continues from.
#[derive(Debug)]
struct State {
    index: Index,
    strategy: Strategy,
    cookie: Cookie,
    /// DNs of members that nothing was found at, so that they are not looked up again and again.
    missing: BTreeSet<String>,
    mending: Mending,
}

/// What a server says, with the verdict on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryContents {
    /// The principals by id, then the members by group and id.
    pub changes: Vec<DirectoryChange>,
    /// How much of the directory was seen.
    pub verdict: Completeness,
    /// The groups that are partial by themselves, by id.
    pub partial: Vec<(ObjectId, PartialReason)>,
    /// What could not be taken over as it stands.
    pub warnings: Vec<DirectoryWarning>,
    /// How many entries were read, principals or not.
    pub entries: usize,
}

impl LdapDirectory {
    /// The directory that `client`'s server has by `profile`. Nothing is asked before the first read.
    #[must_use]
    pub fn new(system: SystemId, client: LdapClient, profile: LdapProfile) -> Self {
        Self(Arc::new(Inner {
            system,
            client,
            rules: Arc::new(profile.rules.clone()),
            profile,
            held: Held::new(),
        }))
    }

    /// The client it reads with.
    #[must_use]
    pub fn client(&self) -> &LdapClient {
        &self.0.client
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Reads everything once, for people who want to see it and what is wrong with it.
    ///
    /// # Errors
    /// When the read cannot begin. Whatever goes wrong later makes the contents partial.
    pub async fn contents(&self) -> Result<DirectoryContents, Error> {
        let mut reading = Reading::begin(&self.0, None, self.0.deadline()).await?;
        let flaw = reading.everything(&mut None).await?;
        let settled = reading.settle(flaw.is_none()).await;
        let entries = reading.index.len();
        reading.end();
        Ok(DirectoryContents {
            changes: settled.changes,
            verdict: verdict(flaw.or(settled.flaw)),
            partial: settled.partial,
            warnings: settled.warnings,
            entries,
        })
    }

    /// Waits until the server says that something changed since `cursor`, so that a read from there is worth while. Only servers
    /// with [`ChangeStrategy::ContentSync`] say so.
    ///
    /// # Errors
    /// [`ErrorKind::CursorExpired`] as for a read; [`ErrorKind::Unsupported`] where the server does not say so; and
    /// whatever ends the connection.
    pub async fn changed(&self, cursor: &Cursor) -> Result<(), Error> {
        let state = self.0.held.find(cursor)?;
        let mut session = self.0.client.session().await?;
        let root_dse = self.0.client.root_dse(&mut session).await?;
        let changes = self.0.changes_by(state.strategy, &root_dse)?;
        changes.watch(session, &state.cookie).await
    }
}

impl Inner {
    fn changes_by(&self, strategy: Strategy, root_dse: &RootDse) -> Result<Changes, Error> {
        Changes::new(self.profile.spec(root_dse)?, strategy, root_dse)
    }

    fn too_long(&self) -> Error {
        let seconds = self.profile.limits.duration.as_secs();
        Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "the read lasted longer than {seconds} s; raise the limit if the directory is that large"
            ),
        )
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.profile.limits.duration
    }

    async fn full(self: Arc<Self>, mut events: Events<DirectoryChange>) -> Result<ReadEnd, Error> {
        let deadline = self.deadline();
        let root_dse = {
            let mut session = self.client.session().await?;
            let root_dse = self.client.root_dse(&mut session).await?;
            self.client.keep(session);
            root_dse
        };
        let begun = timeout_at(deadline, self.begin_changes(&root_dse)).await;
        let begun = begun.unwrap_or_else(|_| Err(self.too_long()))?;
        let mut reading = Reading::begin(&self, None, deadline).await?;
        let mut showing = Some(&mut events);
        let flaw = reading.everything(&mut showing).await?;
        let settled = reading.settle(flaw.is_none()).await;
        let end = ReadEnd {
            verdict: verdict(flaw.or(settled.flaw)),
            partial: settled.partial,
            cursor: None,
        };
        show(&mut events, settled.changes).await;
        let state = begun.map(|(strategy, cookie)| State {
            index: reading.index.clone(),
            strategy,
            cookie,
            missing: std::mem::take(&mut reading.missing),
            mending: std::mem::take(&mut reading.mending),
        });
        reading.end();
        Ok(self.ended(end, state))
    }

    /// Where reads of changes will continue after the full read that begins now; nowhere if the server tells nobody.
    async fn begin_changes(&self, root_dse: &RootDse) -> Result<Option<(Strategy, Cookie)>, Error> {
        let Some(strategy) = Strategy::choose(self.profile.changes, root_dse) else {
            return Ok(None);
        };
        let poll = (strategy != Strategy::Poll).then_some(Strategy::Poll);
        for strategy in [strategy].into_iter().chain(poll) {
            match self.begin_by(strategy, root_dse).await {
                // What the server offers is not always what it grants.
                Err(error)
                    if self.profile.changes == ChangeStrategy::Automatic
                        && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {}
                begun => return begun.map(Some),
            }
        }
        Ok(None)
    }

    async fn begin_by(&self, strategy: Strategy, root_dse: &RootDse) -> Result<(Strategy, Cookie), Error> {
        let changes = self.changes_by(strategy, root_dse)?;
        let mut session = self.client.session().await?;
        let cookie = changes.begin(&mut session, seconds_now()).await?;
        self.client.keep(session);
        Ok((strategy, cookie))
    }

    async fn changes(
        self: Arc<Self>,
        cursor: Cursor,
        mut events: Events<DirectoryChange>,
    ) -> Result<ReadEnd, Error> {
        let state = self.held.find(&cursor)?;
        let mut reading = Reading::begin(&self, Some(&state), self.deadline()).await?;
        let (cookie, changed) = reading.since(&state).await?;
        events.begin(Extent::Changes).await;
        // What a query finds may depend on attributes that are not read, and of which only some servers tell.
        let settled = reading
            .settle(changed || state.strategy != Strategy::ContentSync)
            .await;
        let end = ReadEnd {
            verdict: verdict(settled.flaw),
            partial: settled.partial,
            cursor: None,
        };
        show(&mut events, settled.changes).await;
        let state = State {
            index: reading.index.clone(),
            strategy: state.strategy,
            cookie,
            missing: std::mem::take(&mut reading.missing),
            mending: std::mem::take(&mut reading.mending),
        };
        reading.end();
        Ok(self.ended(end, Some(state)))
    }

    /// The end of a read, with a cursor if the read was complete and can be continued.
    fn ended(&self, end: ReadEnd, state: Option<State>) -> ReadEnd {
        let state = state.filter(|_| end.verdict.is_complete());
        let cursor = state.map(|state| self.held.keep(Arc::new(state)));
        end.with_cursor(cursor)
    }
}

/// Which members are looked for.
#[derive(Clone, Copy, Debug)]
enum Find {
    Queries,
    Unseen,
}

/// One read, full or of changes.
struct Reading<'d> {
    directory: &'d Inner,
    session: Session,
    root_dse: Arc<RootDse>,
    spec: Spec,
    index: Index,
    missing: BTreeSet<String>,
    mending: Mending,
    deadline: Instant,
}

impl<'d> Reading<'d> {
    async fn begin(directory: &'d Inner, state: Option<&State>, deadline: Instant) -> Result<Self, Error> {
        let mut session = directory.client.session().await?;
        let root_dse = directory.client.root_dse(&mut session).await?;
        let index = state.map_or_else(
            || Index::new(directory.system.clone(), Arc::clone(&directory.rules)),
            |state| state.index.clone(),
        );
        Ok(Self {
            directory,
            session,
            spec: directory.profile.spec(&root_dse)?,
            root_dse,
            index,
            missing: state.map(|state| state.missing.clone()).unwrap_or_default(),
            mending: state.map(|state| state.mending.clone()).unwrap_or_default(),
            deadline,
        })
    }

    /// Gives the connection back.
    fn end(self) {
        self.directory.client.keep(self.session);
    }

    /// Puts all there is into the index, and tells why it is not all. An error says that nothing was seen.
    async fn everything(
        &mut self,
        events: &mut Option<&mut Events<DirectoryChange>>,
    ) -> Result<Option<PartialReason>, Error> {
        let mut pages = Pages::new(self.search(), self.spec.page);
        let mut unfinished = BTreeMap::new();
        let mut base_seen = false;
        let (mut begun, mut page, mut new_in_page, mut seen_in_page) = (false, 0, 0, 0);
        let flaw = loop {
            let next = match timeout_at(self.deadline, pages.next(&mut self.session)).await {
                Ok(Err(error)) if !begun => return Err(error),
                Ok(Err(error)) => break Some(reason(&error)),
                Err(_) => break Some(reason(&self.directory.too_long())),
                Ok(Ok(next)) => next,
            };
            if !begun {
                if next.is_none() {
                    self.expect_base().await?;
                    base_seen = true;
                }
                begun = true;
                if let Some(events) = events {
                    events.begin(Extent::Full).await;
                }
            }
            if page != pages.pages() {
                if seen_in_page > 0 && new_in_page == 0 {
                    break Some(PartialReason::new(
                        PartialKind::Limit,
                        "the server repeats a page that it gave before",
                    ));
                }
                (page, new_in_page, seen_in_page) = (pages.pages(), 0, 0);
                if let Some(events) = events {
                    events.show(Vec::new()).await;
                }
            }
            match next {
                None => break None,
                Some(Item::Intermediate { .. }) => {}
                Some(Item::Reference) => break Some(elsewhere()),
                Some(Item::Entry(found)) => {
                    let key = match self.spec.key.key(&found.entry) {
                        Ok(key) => key,
                        Err(error) => break Some(reason(&error)),
                    };
                    seen_in_page += 1;
                    let before = unfinished
                        .get(&key)
                        .map(|found: &FoundEntry| found.entry.dn().key().to_owned())
                        .or_else(|| self.index.dn_of(&key));
                    match before {
                        None => new_in_page += 1,
                        Some(before) if before == found.entry.dn().key() => {}
                        Some(before) => break Some(contradiction(&before, found.entry.dn())),
                    }
                    base_seen |= *found.entry.dn() == self.spec.base;
                    if has_ranges(&found.entry) {
                        // Asked for once the connection is free again.
                        unfinished.insert(key, found);
                    } else {
                        self.index.upsert(key, &found.entry, Members::Given);
                    }
                }
            }
        };
        if flaw.is_some() {
            return Ok(flaw);
        }
        if !base_seen && let Err(error) = self.expect_base().await {
            return Ok(Some(reason(&error)));
        }
        for (key, found) in unfinished {
            let limits = RangeLimits {
                values: self.directory.profile.limits.values,
                controls: &[],
            };
            let read = complete_ranges(&mut self.session, found, limits);
            match timeout_at(self.deadline, read).await {
                Err(_) => return Ok(Some(reason(&self.directory.too_long()))),
                Ok(Err(error)) => return Ok(Some(reason(&error))),
                Ok(Ok((entry, partial))) => {
                    self.index.upsert(key.clone(), &entry, Members::Given);
                    if let Some(partial) = partial {
                        self.index.mark_partial(&key, partial);
                    }
                }
            }
        }
        Ok(None)
    }

    async fn expect_base(&mut self) -> Result<(), Error> {
        let expected = timeout_at(self.deadline, self.session.expect(&self.spec.base)).await;
        expected.unwrap_or_else(|_| Err(self.directory.too_long()))
    }

    /// What the index says now, once the members are found that are not named one by one, and those that were not
    /// shown are looked up. A failure is a flaw of what it says.
    async fn settle(&mut self, asked: bool) -> Settled {
        let mut flaw = None;
        if asked {
            flaw = self.find_members(Find::Queries).await.err();
        }
        let mut settled = self.index.settle();
        if asked && flaw.is_none() {
            flaw = self.find_members(Find::Unseen).await.err();
            let mut changes = std::mem::take(&mut settled.changes);
            settled = self.index.settle();
            changes.append(&mut settled.changes);
            settled.changes = changes;
        }
        // Where links are kept by the server itself, there is nothing to mend.
        if !self.directory.rules.silent_links {
            let limit = self.directory.profile.limits.look_ups;
            self.mending.follow(&self.index, limit);
        }
        settled.flaw = flaw.map(|error| reason(&error)).or(settled.flaw);
        settled
    }

    /// Puts what changed into the index, and tells where to continue, and whether there was anything.
    async fn since(&mut self, state: &State) -> Result<(Cookie, bool), Error> {
        let changes = self.directory.changes_by(state.strategy, &self.root_dse)?;
        let mut deltas = false;
        let index = &mut self.index;
        let mut apply = |delta: Delta| {
            deltas = true;
            apply(index, delta);
            Ok(())
        };
        let due = self.mending.due();
        let session = &mut self.session;
        let read = async {
            let cookie = changes
                .since(session, &state.cookie, seconds_now(), &state.index, &mut apply)
                .await?;
            if !due.is_empty() {
                changes.again(session, &due, &state.index, &mut apply).await?;
            }
            Ok(cookie)
        };
        let cookie = match timeout_at(self.deadline, read).await {
            Ok(read) => read?,
            Err(_) => return Err(self.directory.too_long()),
        };
        Ok((cookie, deltas))
    }

    async fn find_members(&mut self, find: Find) -> Result<(), Error> {
        let mut finder = Finder {
            session: &mut self.session,
            client: &self.directory.client,
            spec: &self.spec,
            profile: &self.directory.profile,
            rules: &self.directory.rules,
        };
        let work = async {
            match find {
                Find::Queries => finder.ask(&mut self.index).await,
                Find::Unseen => finder.look_up(&mut self.index, &mut self.missing).await,
            }
        };
        match timeout_at(self.deadline, work).await {
            Ok(found) => found,
            Err(_) => Err(self.directory.too_long()),
        }
    }

    fn search(&self) -> Search {
        Search {
            base: Base::Dn(self.spec.base.clone()),
            scope: self.spec.scope,
            filter: self.spec.filter.clone(),
            attributes: self.spec.attributes.clone(),
            controls: self.spec.controls.clone(),
        }
    }
}

impl Known for Index {
    fn contains(&self, key: &EntryKey) -> bool {
        self.contains(key)
    }

    fn below(&self, key: &EntryKey) -> Vec<EntryKey> {
        self.below(key)
    }

    fn dn(&self, key: &EntryKey) -> Option<String> {
        self.dn_of(key)
    }

    fn holders(&self, key: &EntryKey) -> Vec<EntryKey> {
        self.holders(key)
    }

    fn others(&self, keys: &BTreeSet<EntryKey>) -> Vec<EntryKey> {
        self.others(keys)
    }
}

fn apply(index: &mut Index, delta: Delta) {
    match delta {
        Delta::Entry { key, entry, missing } => {
            index.upsert(key.clone(), &entry, Members::Given);
            if let Some(reason) = missing {
                index.mark_partial(&key, reason);
            }
        }
        Delta::EntryWithoutMembers { key, entry } => index.upsert(key, &entry, Members::Kept),
        Delta::Gone { key } => index.remove(&key),
        Delta::Members {
            key,
            attribute,
            added,
            removed,
        } => index.change_members(&key, &attribute, &added, &removed),
        Delta::OnlyTheseRemain(keys) => index.retain(&keys),
    }
}

fn has_ranges(entry: &Entry) -> bool {
    entry.attributes().any(|(name, _)| {
        name.split(';').skip(1).any(|option| {
            option
                .get(..6)
                .is_some_and(|start| start.eq_ignore_ascii_case("range="))
        })
    })
}

/// Seconds since 1970 by the clock of the host, which is good enough for days.
fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs())
}

async fn show(events: &mut Events<DirectoryChange>, changes: Vec<DirectoryChange>) {
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        events.show(changes.by_ref().take(CHUNK_ENTRIES).collect()).await;
    }
}

fn verdict(flaw: Option<PartialReason>) -> Completeness {
    flaw.map_or(Completeness::Complete, Completeness::Partial)
}

/// An entry that was renamed while it was read is one, too; which of the two it is, the next read tells.
fn contradiction(one: &str, other: &Dn) -> PartialReason {
    PartialReason::new(
        PartialKind::Contradiction,
        format!(
            "`{one}` and `{other}` are one entry by their id; read again, or correct the id of one of them"
        ),
    )
}

fn elsewhere() -> PartialReason {
    PartialReason::new(
        PartialKind::Failed,
        "a part of the directory is at another server, where referrals are not followed to; read that one, too, or choose a base without it",
    )
}

impl Directory for LdapDirectory {
    fn system(&self) -> &SystemId {
        &self.0.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            changes: self.0.profile.changes != ChangeStrategy::Off,
        }
    }

    fn read(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<DirectoryChange> {
        let inner = Arc::clone(&self.0);
        produced(move |events| {
            let system = inner.system.clone();
            let read = match since {
                None => inner.full(events).boxed(),
                Some(_) if inner.profile.changes == ChangeStrategy::Off => {
                    std::future::ready(Err(Error::unsupported("reading changes"))).boxed()
                }
                Some(cursor) => inner.changes(cursor, events).boxed(),
            };
            read.map(move |end| end.map_err(|error| error.at(&system, "read")))
        })
    }
}
