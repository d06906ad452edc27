//! One connection, bound and ready.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Mod, StdStream};
use tokio::io::{AsyncRead, AsyncWrite};
use usersync_connector::{Error, ErrorKind};

use super::code::Code;
use super::control::Control;
use super::guard::{self, Dialled, Fault, Shared};
use super::search::{Base, Found, FoundEntry, Item, Search};
use super::server::{Address, ClientLimits, Credentials, LdapServer, Security};
use super::traffic::Counters;
use crate::dn::Dn;
use crate::filter::Filter;
use crate::url::Scope;

/// Asks for no attributes (RFC 4511, section 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

/// One connection to a server, bound to as the server's description says.
pub(crate) struct Session {
    ldap: Ldap,
    shared: Arc<Shared>,
    silence: Duration,
    /// What drives the connection.
    runtime: tokio::runtime::Id,
    pub(super) idle_since: Instant,
}

/// A change of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add { attribute: String, values: Vec<Vec<u8>> },
    Delete { attribute: String, values: Vec<Vec<u8>> },
}

impl Session {
    /// Connects and binds. Nothing of the credentials is sent before TLS stands, where the server's description asks for it.
    pub(super) async fn open(server: &LdapServer, counters: &Arc<Counters>) -> Result<Self, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "LDAP needs tokio; poll the call from within a tokio runtime",
            ));
        }
        check_credentials(server)?;
        let open = async {
            let mut session = Self::connect(server, counters).await?;
            session.bind(&server.credentials).await?;
            Ok(session)
        };
        match tokio::time::timeout(server.limits.connect, open).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!(
                    "no connection within {} s; check the address, or raise the limit",
                    server.limits.connect.as_secs_f32()
                ),
            )
            .with_unknown_outcome(false)),
        }
    }

    async fn connect(server: &LdapServer, counters: &Arc<Counters>) -> Result<Self, Error> {
        let limits = server.limits;
        match guard::dial(server).await? {
            Dialled::Tcp(stream) => Self::over(stream, limits, counters).await,
            Dialled::Tls(stream) => Self::over(*stream, limits, counters).await,
            #[cfg(unix)]
            Dialled::Unix(stream) => Self::over(stream, limits, counters).await,
        }
    }

    /// A connection over a stream to the server, ready for a bind.
    pub(crate) async fn over<S>(
        stream: S,
        limits: ClientLimits,
        counters: &Arc<Counters>,
    ) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (ours, theirs) = inner_pair().await.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "no sockets are left in this process").with_source(error)
        })?;
        let shared = guard::start(stream, ours, limits, Arc::clone(counters));
        counters.connected();
        let (url, stream) = theirs;
        let settings = LdapConnSettings::new().set_std_stream(stream);
        let (connection, ldap) = LdapConnAsync::with_settings(settings, url)
            .await
            .map_err(|error| failure(error, &shared, None))?;
        tokio::spawn(connection.drive());
        Ok(Self {
            ldap,
            shared,
            silence: limits.silence,
            runtime: tokio::runtime::Handle::current().id(),
            idle_since: Instant::now(),
        })
    }

    async fn bind(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let silence = self.silence;
        let ldap = self.ldap.with_timeout(silence);
        let result = match credentials {
            Credentials::Anonymous => {
                self.ldap.timeout = None;
                return Ok(());
            }
            Credentials::External => ldap.sasl_external_bind().await,
            Credentials::Password { name, password } => ldap.simple_bind(name, password.expose()).await,
        };
        let result = result.map_err(|error| failure(error, &self.shared, Some(silence)))?;
        let code = Code::new(result.rc, &result.text);
        if code.is_success() {
            Ok(())
        } else {
            Err(code.error())
        }
    }

    /// Whether it is driven where this is called. Another runtime may be driven by nobody.
    pub(super) fn is_driven_here(&self) -> bool {
        tokio::runtime::Handle::try_current().is_ok_and(|here| here.id() == self.runtime)
    }

    /// Whether it can be used again.
    pub(super) fn is_open(&mut self) -> bool {
        !self.shared.has_ended() && !self.ldap.is_closed()
    }

    /// Begins a search, which fails when the server is silent for longer than the limit.
    pub(crate) async fn search(&mut self, search: &Search) -> Result<Found, Error> {
        Found::begin(
            &mut self.ldap,
            Arc::clone(&self.shared),
            search,
            Some(self.silence),
        )
        .await
    }

    /// The one entry that a search finds whose scope is its base.
    ///
    /// # Errors
    /// Those of the result code, and `InvalidData` when the server does not stop at one entry.
    pub(crate) async fn entry(&mut self, search: &Search) -> Result<Option<FoundEntry>, Error> {
        let mut found = self.search(search).await?;
        let mut entry = None;
        while let Some(item) = found.next().await? {
            match item {
                Item::Entry(found) if entry.is_none() => entry = Some(found),
                Item::Entry(_) | Item::Intermediate { .. } | Item::Reference => {
                    return Err(Error::new(
                        ErrorKind::InvalidData,
                        format!("the server answers more than what `{}` is", search.base),
                    ));
                }
            }
        }
        let (code, _) = found.end().await;
        if code.is_success() {
            Ok(entry)
        } else {
            Err(code.error())
        }
    }

    /// Fails unless the entry `base` is shown. That a search below it finds nothing does not say so: 389 Directory Server
    /// answers success to a search in pages whose base is gone or hidden.
    pub(crate) async fn expect(&mut self, base: &Dn) -> Result<(), Error> {
        let search = Search {
            base: Base::Dn(base.clone()),
            scope: Scope::Base,
            filter: Filter::present("objectClass").expect("`objectClass` is an attribute"),
            attributes: vec![NO_ATTRIBUTES.to_owned()],
            controls: Vec::new(),
        };
        match self.entry(&search).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("the base `{base}` is not shown; correct it, or let the service account read it"),
            )),
        }
    }

    /// Begins a search in which the server may be silent for any time.
    pub(crate) async fn search_and_stay(&mut self, search: &Search) -> Result<Found, Error> {
        Found::begin(&mut self.ldap, Arc::clone(&self.shared), search, None).await
    }

    /// Changes one entry, all or nothing (RFC 4511, section 4.6). An error says whether the change may have happened all the
    /// same; a code other than success says that it did not, as far as this server knows.
    pub(crate) async fn modify(
        &mut self,
        dn: &str,
        changes: Vec<Change>,
        controls: Vec<Control>,
    ) -> Result<Code, Error> {
        let changes: Vec<Mod<Vec<u8>>> = changes
            .into_iter()
            .map(|change| match change {
                Change::Add { attribute, values } => {
                    Mod::Add(attribute.into_bytes(), values.into_iter().collect::<HashSet<_>>())
                }
                Change::Delete { attribute, values } => {
                    Mod::Delete(attribute.into_bytes(), values.into_iter().collect::<HashSet<_>>())
                }
            })
            .collect();
        let controls: Vec<_> = controls.into_iter().map(Into::into).collect();
        let silence = self.silence;
        let result = self
            .ldap
            .with_timeout(silence)
            .with_controls(controls)
            .modify(dn, changes)
            .await;
        let result = result.map_err(|error| {
            let unsent = matches!(error, LdapError::OpSend { .. } | LdapError::AddNoValues);
            failure(error, &self.shared, Some(silence)).with_unknown_outcome(!unsent)
        })?;
        Ok(Code::new(result.rc, &result.text))
    }
}

fn check_credentials(server: &LdapServer) -> Result<(), Error> {
    let Credentials::Password { name, password } = &server.credentials else {
        return Ok(());
    };
    // A bind with a name and no password succeeds as nobody (RFC 4513, section 5.1.2).
    if name.is_empty() || password.expose().is_empty() {
        return Err(Error::new(
            ErrorKind::Unauthenticated,
            "name or password is empty, which would bind as nobody; give both, or neither",
        ));
    }
    let exposed = server.security == Security::Clear && matches!(server.address, Address::Tcp { .. });
    if exposed && !server.clear_passwords {
        return Err(Error::new(
            ErrorKind::Unauthenticated,
            "the password was not sent, since everybody on the way could read it; use TLS, or ask for `with_passwords_in_clear_text`",
        ));
    }
    Ok(())
}

/// What an error of the protocol client means, or rather what the guard knows of it.
pub(super) fn failure(error: LdapError, shared: &Shared, silence: Option<Duration>) -> Error {
    if let LdapError::Timeout { .. } = error {
        let seconds = silence.unwrap_or_default().as_secs_f32();
        return Error::new(
            ErrorKind::TimedOut,
            format!("the server was silent for {seconds} s"),
        );
    }
    let Some(fault) = shared.fault() else {
        return Error::new(ErrorKind::Unexpected, "the LDAP client failed").with_source(error);
    };
    let kind = match &*fault {
        Fault::Closed | Fault::Disconnected { .. } | Fault::Io(_) => ErrorKind::Unavailable,
        Fault::Malformed(_) | Fault::Unasked(_) => ErrorKind::InvalidData,
        Fault::Elements { .. } | Fault::MessageBytes { .. } => ErrorKind::LimitExceeded,
    };
    Error::new(kind, fault.to_string()).with_source(fault)
}

/// Two ends of a stream within this process: one for the guard, and one in the form that the protocol client takes.
#[cfg(unix)]
async fn inner_pair() -> std::io::Result<(tokio::net::UnixStream, (&'static str, StdStream))> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let ours = tokio::net::UnixStream::from_std(ours)?;
    Ok((ours, ("ldapi:///", StdStream::Unix(theirs))))
}

/// The same over the loopback device, which only this process may have connected to.
#[cfg(not(unix))]
async fn inner_pair() -> std::io::Result<(tokio::net::TcpStream, (&'static str, StdStream))> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let theirs = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
    loop {
        let (ours, peer) = listener.accept().await?;
        if peer == theirs.local_addr()? {
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            return Ok((ours, ("ldap://localhost", StdStream::Tcp(theirs.into_std()?))));
        }
    }
}
