//! Continuing a read: what changed since.
//!
//! A read of everything is done by others, page by page. [`Changes::begin`] gives a [`Cookie`] before it, and
//! [`Changes::since`] says what changed after the cookie was made, so that nothing is missed between the two. There are
//! three ways to know: [`content_sync`] (RFC 4533), [`dir_sync`] (Active Directory) and [`poll`], by change numbers or time.

mod content_sync;
mod cookie;
mod dir_sync;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod keys;
mod poll;
mod ranges;
mod reread;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use usersync_connector::{Error, ErrorKind};
use usersync_model::PartialReason;

use crate::client::{Control, FoundEntry, Item, PageLimits, Pages, RootDse, Session, oid};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::index::EntryKey;
use crate::url::Scope;

pub(crate) use cookie::Cookie;
pub(crate) use keys::KeyAttribute;
pub(crate) use poll::clock::seconds;
pub(crate) use ranges::{RangeLimits, complete_ranges};
use tally::Tally;

/// What is read, always in the same words, since servers bind their cookies to them.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) base: Dn,
    pub(crate) scope: Scope,
    /// It should let through what other entries stand below: moves of whole subtrees are seen by their top only.
    pub(crate) filter: Filter,
    /// All attributes, those with members among them.
    pub(crate) attributes: Vec<String>,
    pub(crate) member_attributes: Vec<String>,
    /// What goes with every search in pages.
    pub(crate) controls: Vec<Control>,
    pub(crate) key: KeyAttribute,
    pub(crate) page: PageLimits,
    /// How many values an attribute may have.
    pub(crate) values: usize,
    /// How long polling goes on without a read of everything, which alone finds what was deleted.
    pub(crate) full_every: Duration,
}

/// How a connector knows what changed in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChangeStrategy {
    /// The best that the server says it offers.
    #[default]
    Automatic,
    /// Content synchronization (RFC 4533): OpenLDAP with the overlay `syncprov`, 389 Directory Server with its plugin.
    ContentSync,
    /// The DirSync control of Active Directory. The account needs the right "Replicating Directory Changes". A cursor that is
    /// older than two days leads to a full read, since the domain may not know deletions any more that are older.
    DirSync,
    /// Not at all: every read is a full one. Whoever is moved from one group to another while it goes on may be in neither of
    /// them, since nothing tells what changed meanwhile.
    Off,
    /// By change numbers (Active Directory) or by the time of the last modification. Deleted entries are noticed by a full
    /// read only, which takes place from time to time.
    Poll,
}

/// How changes are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    ContentSync,
    DirSync,
    Poll,
}

impl Strategy {
    /// What the host chose, or else the best for the server; none if there are to be no incremental reads.
    pub(crate) fn choose(chosen: ChangeStrategy, server: &RootDse) -> Option<Self> {
        match chosen {
            ChangeStrategy::Automatic => Some(Self::for_server(server)),
            ChangeStrategy::ContentSync => Some(Self::ContentSync),
            ChangeStrategy::DirSync => Some(Self::DirSync),
            ChangeStrategy::Off => None,
            ChangeStrategy::Poll => Some(Self::Poll),
        }
    }

    pub(crate) fn for_server(server: &RootDse) -> Self {
        if server.is_active_directory() && server.has_control(oid::DIRSYNC) {
            Self::DirSync
        } else if server.has_control(oid::SYNC_REQUEST) {
            Self::ContentSync
        } else {
            Self::Poll
        }
    }
}

/// One thing that is other than before. Applied in their order, they lead from what was known to what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delta {
    /// The entry looks like this now, with all its values but for those that the reason is about.
    Entry {
        key: EntryKey,
        entry: Entry,
        missing: Option<PartialReason>,
    },
    /// All but its members looks like this; members stay as known.
    EntryWithoutMembers {
        key: EntryKey,
        entry: Entry,
    },
    /// Values of a member attribute that came and went; DNs are those of today.
    Members {
        key: EntryKey,
        attribute: String,
        added: Vec<Vec<u8>>,
        removed: Vec<Vec<u8>>,
    },
    Gone {
        key: EntryKey,
    },
    /// Everything known before that is not among these is gone.
    OnlyTheseRemain(BTreeSet<EntryKey>),
}

/// Takes deltas, and may end the read.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(Delta) -> Result<(), Error> + Send);

/// What was known before a read.
pub(crate) trait Known: Send + Sync {
    fn contains(&self, key: &EntryKey) -> bool;

    /// All entries below this one, at any depth.
    fn below(&self, key: &EntryKey) -> Vec<EntryKey>;

    /// The canonical DN of an entry.
    fn dn(&self, key: &EntryKey) -> Option<String>;

    /// The groups that name this entry by its DN.
    fn holders(&self, key: &EntryKey) -> Vec<EntryKey>;

    /// Those that are not among `keys`.
    fn others(&self, keys: &BTreeSet<EntryKey>) -> Vec<EntryKey>;
}

/// A way to continue reads of one [`Spec`].
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    spec: Spec,
    way: Way,
    after_everything: bool,
}

#[derive(Clone, Debug)]
enum Way {
    ContentSync(content_sync::Dialect),
    /// With the root of the naming context.
    DirSync(Dn),
    PollTime,
    PollUsn,
}

impl Changes {
    /// # Errors
    /// `Unsupported` when what is read cannot be read incrementally in this way.
    pub(crate) fn new(spec: Spec, strategy: Strategy, server: &RootDse) -> Result<Self, Error> {
        let way = match strategy {
            Strategy::ContentSync => Way::ContentSync(content_sync::Dialect::of(server)),
            Strategy::DirSync => Way::DirSync(dir_sync::root(&spec, server)?),
            Strategy::Poll if server.is_active_directory() => Way::PollUsn,
            Strategy::Poll => Way::PollTime,
        };
        if matches!(way, Way::DirSync(_) | Way::PollUsn) {
            dir_sync::check_filter(&spec.filter)?;
        }
        Ok(Self {
            spec,
            way,
            after_everything: false,
        })
    }

    /// The same way right after everything was read, for what changed meanwhile: what is known may have been read in two
    /// places, and no read of everything is due.
    pub(crate) fn after_everything(mut self) -> Self {
        self.spec.full_every = Duration::MAX;
        self.after_everything = true;
        self
    }

    /// A cookie of the present state: made before a read of everything, it covers all that the read may miss. `now` is in
    /// seconds since 1970 and by the clock of the host.
    pub(crate) async fn begin(&self, session: &mut Session, now: u64) -> Result<Cookie, Error> {
        match &self.way {
            Way::ContentSync(dialect) => content_sync::begin(session, &self.spec, *dialect).await,
            Way::DirSync(root) => dir_sync::begin(session, &self.spec, root, now).await,
            Way::PollTime => poll::time::begin(session, &self.spec, now).await,
            Way::PollUsn => poll::usn::begin(session, now).await,
        }
    }

    /// Hands everything that changed since `cookie` to `sink`, and answers the cookie to go on from.
    ///
    /// # Errors
    /// `CursorExpired` when only a full read helps. Whatever the error, what `sink` was given is to be thrown away, and
    /// the old cookie stays good for another attempt.
    pub(crate) async fn since(
        &self,
        session: &mut Session,
        cookie: &Cookie,
        now: u64,
        known: &dyn Known,
        sink: Sink<'_>,
    ) -> Result<Cookie, Error> {
        // The overlays of OpenLDAP that mend references change groups without a trace.
        let groups_change_silently = matches!(
            self.way,
            Way::ContentSync(content_sync::Dialect::Standard) | Way::PollTime
        );
        let tally = Tally::new(known, sink, self.spec.page.entries, groups_change_silently)
            .with_torn(self.after_everything);
        match (&self.way, cookie) {
            (Way::ContentSync(dialect), Cookie::ContentSync(cookie)) => {
                content_sync::since(session, &self.spec, *dialect, cookie, tally).await
            }
            (Way::DirSync(root), Cookie::DirSync(cookie)) => {
                dir_sync::since(session, &self.spec, root, cookie, now, tally).await
            }
            (Way::PollTime, Cookie::Time(cookie)) => {
                poll::time::since(session, &self.spec, cookie, now, tally).await
            }
            (Way::PollUsn, Cookie::Usn(cookie)) => {
                poll::usn::since(session, &self.spec, cookie, now, tally).await
            }
            _ => Err(expired("changes are known in another way now")),
        }
    }

    /// Hands the entries `keys` to `sink` as they are now.
    pub(crate) async fn again(
        &self,
        session: &mut Session,
        keys: &[EntryKey],
        known: &dyn Known,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let mut tally = Tally::new(known, sink, self.spec.page.entries, false);
        reread::tell(session, &self.spec, keys, true, &mut tally).await?;
        Ok(())
    }

    /// Waits until the server says that something may have changed since `cookie`. The session is used up.
    ///
    /// # Errors
    /// `Unsupported` where the server cannot be waited for, and those of [`since`](Self::since).
    pub(crate) async fn watch(&self, session: Session, cookie: &Cookie) -> Result<(), Error> {
        match (&self.way, cookie) {
            (Way::ContentSync(dialect), Cookie::ContentSync(cookie)) => {
                content_sync::watch(session, &self.spec, *dialect, cookie).await
            }
            (Way::ContentSync(_), _) => Err(expired("changes are known in another way now")),
            _ => Err(Error::unsupported("waiting for changes of this directory")),
        }
    }
}

/// The next entry. What is at another server makes reads partial, which only a read of everything says.
async fn next_entry(pages: &mut Pages, session: &mut Session) -> Result<Option<FoundEntry>, Error> {
    loop {
        match pages.next(session).await? {
            None => return Ok(None),
            Some(Item::Entry(found)) => return Ok(Some(found)),
            Some(Item::Intermediate { .. }) => {}
            Some(Item::Reference) => return Err(elsewhere()),
        }
    }
}

fn elsewhere() -> Error {
    expired("a part of the directory is at another server")
}

/// Everything is to be read anew.
fn expired(why: &str) -> Error {
    Error::new(
        ErrorKind::CursorExpired,
        format!("{why}; everything is read anew"),
    )
}

/// The server sent something that cannot be.
fn wrong(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("the server's answer makes no sense: {what}"),
    )
}
