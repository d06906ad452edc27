//! Which server, how it is reached, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use usersync_connector::Secret;

/// Why a server cannot be described so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LdapServerError {
    /// The address is not a URL of a server.
    #[error(
        "`{0}` is not the address of an LDAP server; write `ldaps://host`, `ldap://host:port` or `ldapi://%2Fpath%2Fto%2Fsocket`"
    )]
    Address(String),
    /// Certificates or keys cannot be read.
    #[error("{what}: {reason}; give it in PEM form")]
    Certificate {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no root certificates.
    #[error(
        "the system has no root certificates that can be read; give the directory's own with `with_certificate_authorities`"
    )]
    NoRoots,
}

/// An LDAP server and how to be its client. `Debug` shows no password and no key.
///
/// TLS is on and verified: `ldaps://` speaks it from the first byte, `ldap://` by StartTLS before anything else, and both
/// against the certificates of the system or those given. There is no way to leave the verification out.
///
/// ```
/// use usersync_connector::Secret;
/// use usersync_ldap::LdapServer;
///
/// let server = LdapServer::new("ldaps://directory.example.org")?
///     .with_password("cn=sync,dc=example,dc=org", Secret::new("correct horse"));
/// assert!(!format!("{server:?}").contains("horse"));
/// # Ok::<(), usersync_ldap::LdapServerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LdapServer {
    pub(crate) address: Address,
    pub(crate) security: Security,
    pub(crate) credentials: Credentials,
    pub(crate) clear_passwords: bool,
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) limits: ClientLimits,
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<Identity>>,
}

/// What a client of a server lets happen. Each limit that is hit ends the read as partial, or the call with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// How long a connection may take until it stands, with TLS and bind. By default 15 seconds.
    pub connect: Duration,
    /// How long the server may be silent in an operation. By default 60 seconds.
    pub silence: Duration,
    /// The largest message accepted, in bytes, with one value for each 16 of them; also how far the server may be ahead of the
    /// reader. By default 16 MiB.
    pub message_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(60),
            message_bytes: 16 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How what is said is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// Not at all, or by the system for a socket in the file system.
    Clear,
    StartTls,
    Tls,
}

#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    Anonymous,
    /// SASL EXTERNAL: who the system or the client certificate says we are (RFC 4422, appendix A).
    External,
    Password {
        name: String,
        password: Secret,
    },
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl LdapServer {
    /// The server at `url`: `ldaps://host[:636]`, `ldap://host[:389]`, which begins with StartTLS, or
    /// `ldapi://%2Fpath` for a socket in the file system. Anonymous, until a credential is given.
    ///
    /// # Errors
    /// [`LdapServerError::Address`] for anything else, a path, query or user name in the URL included.
    pub fn new(url: &str) -> Result<Self, LdapServerError> {
        let (address, security) = parse(url).ok_or_else(|| LdapServerError::Address(url.to_owned()))?;
        Ok(Self {
            address,
            security,
            credentials: Credentials::Anonymous,
            clear_passwords: false,
            server_name: None,
            limits: ClientLimits::default(),
            roots: None,
            identity: None,
        })
    }

    /// The same server, bound to as `name` with a password (simple bind, RFC 4513, section 5.1.3). A name is a DN, or what the
    /// server takes in its place; Active Directory takes `user@domain`.
    #[must_use]
    pub fn with_password(mut self, name: impl Into<String>, password: Secret) -> Self {
        self.credentials = Credentials::Password {
            name: name.into(),
            password,
        };
        self
    }

    /// The same server, bound to by SASL EXTERNAL: as the user of this process on `ldapi://`, as the holder of the client
    /// certificate over TLS.
    #[must_use]
    pub fn with_external_identity(mut self) -> Self {
        self.credentials = Credentials::External;
        self
    }

    /// The same server, which must show a certificate issued by one of these authorities instead of those of the system.
    ///
    /// # Errors
    /// [`LdapServerError::Certificate`] when `pem` holds none, or one that cannot be read.
    pub fn with_certificate_authorities(mut self, pem: &[u8]) -> Result<Self, LdapServerError> {
        let what = "certificate authorities";
        let mut roots = RootCertStore::empty();
        for certificate in certificates(what, pem)? {
            roots.add(certificate).map_err(|error| flaw(what, &error))?;
        }
        self.roots = Some(Arc::new(roots));
        Ok(self)
    }

    /// The same server, shown this certificate, with the chain above it, by us.
    ///
    /// # Errors
    /// [`LdapServerError::Certificate`] when one of the two cannot be read.
    pub fn with_client_certificate(
        mut self,
        chain_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Self, LdapServerError> {
        let chain = certificates("client certificate", chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| flaw("client key", &error))?;
        self.identity = Some(Arc::new(Identity { chain, key }));
        Ok(self)
    }

    /// The same server, whose certificate must be for `name` instead of the host of the URL.
    ///
    /// # Errors
    /// [`LdapServerError::Certificate`] when `name` is neither a DNS name nor an IP address.
    pub fn with_certificate_name(mut self, name: &str) -> Result<Self, LdapServerError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| flaw("certificate name", &error))?;
        self.server_name = Some(name);
        Ok(self)
    }

    /// The same server without TLS: everybody on the way can read and change what is said. No effect on `ldaps://`.
    #[must_use]
    pub fn without_tls(mut self) -> Self {
        if self.security == Security::StartTls {
            self.security = Security::Clear;
        }
        self
    }

    /// The same server, to which passwords are sent even where everybody on the way can read them.
    #[must_use]
    pub fn with_passwords_in_clear_text(mut self) -> Self {
        self.clear_passwords = true;
        self
    }

    /// The same server with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Host and port, or the path of the socket: for people and logs.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// The TLS side of the connection.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, LdapServerError> {
        let roots = match &self.roots {
            Some(roots) => Arc::clone(roots),
            None => Arc::new(system_roots()?),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| flaw("protocol versions", &error))?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(|error| flaw("client certificate", &error))?,
        };
        Ok(Arc::new(config))
    }
}

fn system_roots() -> Result<RootCertStore, LdapServerError> {
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that no verifier takes; what matters is that some are good.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(LdapServerError::NoRoots);
    }
    Ok(roots)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LdapServerError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| flaw(what, &error))?;
    if certificates.is_empty() {
        return Err(flaw(what, &"there is no certificate"));
    }
    Ok(certificates)
}

fn flaw(what: &'static str, reason: &dyn fmt::Display) -> LdapServerError {
    LdapServerError::Certificate {
        what,
        reason: reason.to_string(),
    }
}

fn parse(url: &str) -> Option<(Address, Security)> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) || rest.chars().any(char::is_whitespace) {
        return None;
    }
    let tcp = |default_port| {
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port)
            }
            None => match rest.find(':') {
                Some(colon) => rest.split_at(colon),
                None => (rest, ""),
            },
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|&port| port != 0)?,
            None if port.is_empty() => default_port,
            None => return None,
        };
        (!host.is_empty()).then(|| Address::Tcp {
            host: host.to_owned(),
            port,
        })
    };
    match scheme.to_ascii_lowercase().as_str() {
        "ldap" => Some((tcp(389)?, Security::StartTls)),
        "ldaps" => Some((tcp(636)?, Security::Tls)),
        "ldapi" => Some((Address::Unix(percent_decoded(rest)?.into()), Security::Clear)),
        _ => None,
    }
}

/// The text that `%` and two hexadecimal digits stand for (RFC 3986, section 2.1).
fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            octets.push(first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        octets.push(u8::try_from(digit(0)? << 4 | digit(1)?).ok()?);
        rest = behind;
    }
    String::from_utf8(octets).ok()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}
