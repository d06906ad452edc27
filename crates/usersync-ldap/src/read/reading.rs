//! One read: from the server into the index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use usersync_connector::{Error, ErrorKind, Extent};
use usersync_model::{Digest, DirectoryChange, PartialKind, PartialReason};

use super::directory::{Inner, State, seconds_now};
use super::members::Finder;
use super::mending::Mending;
use super::roles;
use super::stream::Events;
use crate::changes::{Changes, Cookie, Delta, Known, RangeLimits, Spec, Strategy, complete_ranges};
use crate::client::{Base, FoundEntry, Item, Pages, RootDse, Search, Session, reason};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::index::{EntryKey, Index, Members, Settled};

/// Which members are looked for.
#[derive(Clone, Copy, Debug)]
enum Find {
    Queries,
    Unseen,
}

/// One read, full or of changes.
pub(super) struct Reading<'d> {
    directory: &'d Inner,
    session: Session,
    pub(super) root_dse: Arc<RootDse>,
    spec: Spec,
    pub(super) index: Index,
    pub(super) missing: BTreeSet<String>,
    pub(super) mending: Mending,
    /// As they were before this read, or the one that it continues.
    roles: Option<Digest>,
    deadline: Instant,
}

impl<'d> Reading<'d> {
    pub(super) async fn begin(
        directory: &'d Inner,
        mut session: Session,
        state: Option<&State>,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let root_dse = directory.client.root_dse(&mut session).await?;
        let spec = directory.profile.spec(&root_dse)?;
        let roles = match state {
            Some(state) => state.roles,
            None => roles::defined(&mut session, &spec, &directory.rules).await?,
        };
        let index = state.map_or_else(
            || Index::new(directory.system.clone(), Arc::clone(&directory.rules)),
            |state| state.index.clone(),
        );
        Ok(Self {
            directory,
            session,
            spec,
            root_dse,
            index,
            missing: state.map(|state| state.missing.clone()).unwrap_or_default(),
            mending: state.map(|state| state.mending.clone()).unwrap_or_default(),
            roles,
            deadline,
        })
    }

    /// What a cursor continues from that goes on at `cookie`.
    pub(super) fn state(&mut self, strategy: Strategy, cookie: Cookie) -> State {
        State {
            index: self.index.clone(),
            strategy,
            cookie,
            missing: std::mem::take(&mut self.missing),
            mending: std::mem::take(&mut self.mending),
            roles: self.roles,
        }
    }

    /// Gives the connection back.
    pub(super) fn end(self) {
        self.directory.client.keep(self.session);
    }

    /// Puts all there is into the index, and tells why it is not all. An error says that nothing was seen.
    pub(super) async fn everything(
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
    pub(super) async fn settle(&mut self, asked: bool) -> Settled {
        let mut flaw = None;
        if asked {
            flaw = self.find_members(Find::Queries).await.err();
        }
        let mut settled = self.index.settle();
        if asked && flaw.is_none() {
            flaw = self.find_members(Find::Unseen).await.err();
            settled.go_on(self.index.settle());
        }
        let limit = self.directory.profile.limits.look_ups;
        self.mending.follow(&self.index, limit);
        settled.flaw = flaw.map(|error| reason(&error)).or(settled.flaw);
        settled
    }

    /// Puts what changed since `cookie` into the index, as of the last settlement, and these groups as they are now. Tells where
    /// to continue, and whether there was anything.
    pub(super) async fn since(
        &mut self,
        changes: &Changes,
        cookie: &Cookie,
        again: &[EntryKey],
    ) -> Result<(Cookie, bool), Error> {
        let known = self.index.clone();
        let mut deltas = false;
        let index = &mut self.index;
        let mut apply = |delta: Delta| {
            deltas = true;
            apply(index, delta);
            Ok(())
        };
        let session = &mut self.session;
        let read = async {
            let cookie = changes
                .since(session, cookie, seconds_now(), &known, &mut apply)
                .await?;
            if !again.is_empty() {
                changes.again(session, again, &known, &mut apply).await?;
            }
            let roles = roles::defined(session, &self.spec, &self.directory.rules).await?;
            if roles != self.roles {
                return Err(Error::new(
                    ErrorKind::CursorExpired,
                    "a role changed, and not a word of who has it; everything is read anew",
                ));
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
