//! The client of a server: connections, their limits, and what goes over them.

pub(crate) mod ber;
mod code;
mod control;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzed;
mod guard;
mod root_dse;
mod search;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod traffic;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use usersync_connector::Error;

pub(crate) use code::{Code, reason};
pub(crate) use control::{Control, oid};
pub(crate) use root_dse::RootDse;
pub(crate) use search::{Base, Found, FoundEntry, Item, PageLimits, Pages, Search};
pub use server::{ClientLimits, LdapServer, LdapServerError};
pub(crate) use session::{Change, Session};
use traffic::Counters;
pub use traffic::Traffic;

/// How long a connection is kept that nobody uses.
const KEEP_IDLE: Duration = Duration::from_secs(30);
/// How many of them are kept.
const KEEP: usize = 4;

/// A client of one server, shared by all connectors that work on it. Clones are cheap and share connections and counts.
///
/// Nothing is sent before the first call, and every call is to be polled within a tokio runtime. Several runtimes may share one
/// client: each opens connections of its own.
#[derive(Clone)]
pub struct LdapClient(Arc<Inner>);

struct Inner {
    server: LdapServer,
    counters: Arc<Counters>,
    idle: Mutex<Vec<Session>>,
    root_dse: Mutex<Option<Arc<RootDse>>>,
}

impl LdapClient {
    /// A client of `server`.
    #[must_use]
    pub fn new(server: LdapServer) -> Self {
        Self(Arc::new(Inner {
            server,
            counters: Arc::default(),
            idle: Mutex::default(),
            root_dse: Mutex::default(),
        }))
    }

    /// What went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.counters.traffic()
    }

    /// The server it was made for.
    #[must_use]
    pub fn server(&self) -> &LdapServer {
        &self.0.server
    }

    /// A connection that nobody else uses. Give it back with [`keep`](Self::keep) when all that was asked is answered; dropping it
    /// closes it.
    pub(crate) async fn session(&self) -> Result<Session, Error> {
        match self.take_idle() {
            Some(session) => Ok(session),
            None => Session::open(&self.0.server, &self.0.counters).await,
        }
    }

    /// Keeps a connection for whoever comes next.
    pub(crate) fn keep(&self, mut session: Session) {
        session.idle_since = Instant::now();
        let mut idle = self.idle();
        if idle.len() < KEEP && session.is_open() {
            idle.push(session);
        }
    }

    /// What the server says of itself, asked for once.
    pub(crate) async fn root_dse(&self, session: &mut Session) -> Result<Arc<RootDse>, Error> {
        let known = self.known_root_dse().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let root_dse = Arc::new(RootDse::read(session).await?);
        *self.known_root_dse() = Some(Arc::clone(&root_dse));
        Ok(root_dse)
    }

    fn known_root_dse(&self) -> std::sync::MutexGuard<'_, Option<Arc<RootDse>>> {
        self.0.root_dse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last one that was kept by this runtime.
    fn take_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        let at = idle.iter().rposition(Session::is_driven_here)?;
        Some(idle.remove(at))
    }

    /// The connections that are kept, without those that nobody would use any more.
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|session| session.idle_since.elapsed() < KEEP_IDLE && session.is_open());
        idle
    }
}

impl std::fmt::Debug for LdapClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LdapClient")
            .field("server", &self.0.server)
            .field("traffic", &self.traffic())
            .finish_non_exhaustive()
    }
}
