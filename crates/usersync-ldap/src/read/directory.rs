//! The directory itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};
use usersync_connector::{
    CHUNK_ENTRIES, CallContext, Cursor, Directory, DirectoryCapabilities, Error, ErrorKind, Extent, ReadEnd,
    ReadStream,
};
use usersync_model::{
    Completeness, Digest, DigestBuilder, DirectoryChange, ObjectId, PartialReason, SystemId,
};

use super::held::Held;
use super::mending::Mending;
use super::profile::LdapProfile;
use super::reading::Reading;
use super::stream::{Events, produced};
use crate::changes::{ChangeStrategy, Changes, Cookie, Strategy};
use crate::client::{LdapClient, RootDse, Session, reason};
use crate::index::{DirectoryWarning, Index, Settled};
use crate::rules::EntryRules;

/// A live server as a directory of users, groups and resources.
///
/// Principals are identified by an attribute such as `entryUUID` or `objectGUID`, never by their DN: a rename or a move
/// keeps them. Only the attributes that the rules need are asked for, always in pages, long lists of members to their last
/// range; referrals are not followed. Whatever the server does not answer with success makes the read, or the group
/// concerned, partial.
///
/// A read is of one moment: once it is through, the server is asked what changed meanwhile, until that makes no difference. In a
/// directory that never rests, groups that lost members in the end are partial until the next read.
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
pub(super) struct State {
    pub(super) index: Index,
    pub(super) strategy: Strategy,
    pub(super) cookie: Cookie,
    /// DNs of members that nothing was found at, so that they are not looked up again and again.
    pub(super) missing: BTreeSet<String>,
    pub(super) mending: Mending,
    /// What roles were when everything was read.
    pub(super) roles: Option<Digest>,
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
        let deadline = self.0.profile.limits.deadline();
        let session = self.0.client.session().await?;
        let mut reading = Reading::begin(&self.0, session, None, deadline).await?;
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
    pub(super) fn changes_by(&self, strategy: Strategy, root_dse: &RootDse) -> Result<Changes, Error> {
        Changes::new(self.profile.spec(root_dse)?, strategy, root_dse)
    }

    pub(super) fn too_long(&self) -> Error {
        let seconds = self.profile.limits.duration.as_secs();
        Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "the read lasted longer than {seconds} s; raise the limit if the directory is that large"
            ),
        )
    }

    async fn full(self: Arc<Self>, mut events: Events<DirectoryChange>) -> Result<ReadEnd, Error> {
        let deadline = self.profile.limits.deadline();
        let mut before = None;
        loop {
            let (mut reading, mut settled, from) = self.everything(&mut events, deadline).await?;
            let mut next = None;
            if let Some((strategy, cookie)) = from.filter(|_| settled.flaw.is_none()) {
                let changes = self.changes_by(strategy, &reading.root_dse)?.after_everything();
                match reading.follow(&changes, (strategy, cookie), &mut settled).await {
                    Ok(cookie) => next = Some((strategy, cookie)),
                    Err(error) if error.kind() != ErrorKind::CursorExpired => {
                        settled.flaw = Some(reason(&error));
                    }
                    // Where the server cannot tell, it is all of one moment if it is so twice.
                    Err(_) if before.as_ref() == Some(&settled) => {}
                    Err(_) if before.is_none() => {
                        before = Some(settled);
                        continue;
                    }
                    Err(error) => settled.flaw = Some(reason(&error)),
                }
            }
            let end = ReadEnd {
                verdict: verdict(settled.flaw),
                partial: settled.partial,
                cursor: None,
                retry: None,
            };
            show(&mut events, settled.changes).await;
            let state = next.map(|(strategy, cookie)| reading.state(strategy, cookie));
            reading.end();
            return Ok(self.ended(end, state, None));
        }
    }

    /// Reads all there is, and tells where reads of changes continue, if anywhere.
    async fn everything<'d>(
        &'d self,
        events: &mut Events<DirectoryChange>,
        deadline: Instant,
    ) -> Result<(Reading<'d>, Settled, Option<(Strategy, Cookie)>), Error> {
        let mut session = self.client.session().await?;
        let root_dse = self.client.root_dse(&mut session).await?;
        let begun = timeout_at(deadline, self.begin_changes(&mut session, &root_dse)).await;
        let begun = begun.unwrap_or_else(|_| Err(self.too_long()))?;
        // By the same connection: another may lead to another server.
        let mut reading = Reading::begin(self, session, None, deadline).await?;
        let flaw = reading.everything(&mut Some(events)).await?;
        let mut settled = reading.settle(flaw.is_none()).await;
        settled.flaw = flaw.or(settled.flaw);
        Ok((reading, settled, begun))
    }

    /// Where reads of changes will continue after the full read that begins now; nowhere if the server tells nobody.
    async fn begin_changes(
        &self,
        session: &mut Session,
        root_dse: &RootDse,
    ) -> Result<Option<(Strategy, Cookie)>, Error> {
        let Some(strategy) = Strategy::choose(self.profile.changes, root_dse) else {
            return Ok(None);
        };
        let poll = (strategy != Strategy::Poll).then_some(Strategy::Poll);
        for strategy in [strategy].into_iter().chain(poll) {
            match self.begin_by(strategy, session, root_dse).await {
                // What the server offers is not always what it grants.
                Err(error)
                    if self.profile.changes == ChangeStrategy::Automatic
                        && matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) =>
                {
                    // A search may not have come to its end on this one.
                    *session = self.client.session().await?;
                }
                begun => return begun.map(Some),
            }
        }
        Ok(None)
    }

    async fn begin_by(
        &self,
        strategy: Strategy,
        session: &mut Session,
        root_dse: &RootDse,
    ) -> Result<(Strategy, Cookie), Error> {
        let changes = self.changes_by(strategy, root_dse)?;
        let cookie = changes.begin(session, seconds_now()).await?;
        Ok((strategy, cookie))
    }

    async fn changes(
        self: Arc<Self>,
        cursor: Cursor,
        mut events: Events<DirectoryChange>,
    ) -> Result<ReadEnd, Error> {
        let state = self.held.find(&cursor)?;
        if state.index.is_overgrown() {
            return Err(Error::new(
                ErrorKind::CursorExpired,
                "much has changed since everything was read; read everything",
            ));
        }
        let deadline = self.profile.limits.deadline();
        let session = self.client.session().await?;
        let mut reading = Reading::begin(&self, session, Some(&state), deadline).await?;
        let changes = self.changes_by(state.strategy, &reading.root_dse)?;
        let again = reading.mending.due();
        let (mut cookie, changed) = reading.since(&changes, &state.cookie, &again).await?;
        // What a query finds may depend on attributes that are not read, and of which only some servers tell.
        let mut settled = reading
            .settle(changed || state.strategy != Strategy::ContentSync)
            .await;
        if settled.flaw.is_none() && !settled.changes.is_empty() {
            let from = (state.strategy, cookie);
            cookie = reading.follow(&changes, from, &mut settled).await?;
        }
        events.begin(Extent::Changes).await;
        let end = ReadEnd {
            verdict: verdict(settled.flaw),
            partial: settled.partial,
            cursor: None,
            retry: None,
        };
        show(&mut events, settled.changes).await;
        let state = reading.state(state.strategy, cookie);
        reading.end();
        Ok(self.ended(end, Some(state), Some(&cursor)))
    }

    /// The end of a read, with a cursor if the read was complete and can be continued.
    fn ended(&self, end: ReadEnd, state: Option<State>, since: Option<&Cursor>) -> ReadEnd {
        let state = state.filter(|_| end.verdict.is_complete());
        let cursor = state.map(|state| {
            let weight = state.index.weight();
            self.held.keep(Arc::new(state), since, weight)
        });
        end.with_cursor(cursor)
    }
}

/// Seconds since 1970 by the clock of the host, which is good enough for days.
pub(crate) fn seconds_now() -> u64 {
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

impl Directory for LdapDirectory {
    fn system(&self) -> &SystemId {
        &self.0.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            changes: self.0.profile.changes != ChangeStrategy::Off,
            tracks_partial: true,
        }
    }

    /// The base, the filter and the rules.
    fn filter(&self) -> Option<Digest> {
        let LdapProfile {
            base, rules, filter, ..
        } = &self.0.profile;
        let filter = filter.as_ref().map(ToString::to_string).unwrap_or_default();
        let digest = DigestBuilder::new("usersync.ldap-filter/1")
            .part(base.to_string().as_bytes())
            .part(filter.as_bytes())
            .part(rules.digest().as_bytes());
        Some(digest.finish())
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
