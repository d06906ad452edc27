//! Directory servers for examples: one's own, as the command line names it, or a throw-away one.

mod throw_away;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::Parser;
use usersync::connector::Secret;
use usersync::ldap::{Dn, GroupSettings, LdapProfile, LdapServer};

pub use throw_away::{Started, ThrowAway};

use crate::screen::Outcome;

/// The environment variable that may hold the password. Command lines are seen by everybody on a machine.
pub const PASSWORD: &str = "LDAP_PASSWORD";

/// What the options of [`ServerOptions`] are, for a help text.
pub const HELP: &str = "\
The server:
  --url URL           ldaps://host, ldap://host (with StartTLS) or ldapi://%2Fpath%2Fof%2Fsocket
  --profile WHICH     openldap, ad or 389
  --base DN           The entry below which everything is
  --ca FILE           The authorities that may have signed its certificate, as PEM [default: the system's]
  --bind NAME         The service account: a DN, or user@domain in Active Directory; its password comes from
                      the environment variable LDAP_PASSWORD, and never from the command line
  --password-file FILE  … or from the first line of this file
  --client-certificate FILE --client-key FILE
                      Who we are, as PEM, instead of --bind; neither is needed on ldapi://
";

/// What kind of server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// Microsoft's, or Samba's.
    ActiveDirectory,
    /// 389 Directory Server, or FreeIPA.
    DirectoryServer389,
    /// OpenLDAP, or another one with the usual schemas.
    OpenLdap,
}

/// A server, and where in it everything is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The server.
    pub server: LdapServer,
    /// What it is.
    pub kind: ServerKind,
    /// The entry below which everything is.
    pub base: Dn,
}

/// A server as a command line names it.
#[derive(Debug, Default)]
pub struct ServerOptions {
    url: Option<String>,
    kind: Option<ServerKind>,
    base: Option<Dn>,
    ca: Option<PathBuf>,
    bind: Option<String>,
    password_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

impl FromStr for ServerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "389" => Ok(Self::DirectoryServer389),
            "ad" => Ok(Self::ActiveDirectory),
            "openldap" => Ok(Self::OpenLdap),
            _ => Err("it is one of openldap, ad and 389".to_owned()),
        }
    }
}

impl Place {
    /// What is read of it, as its kind suggests.
    #[must_use]
    pub fn profile(&self) -> LdapProfile {
        let base = self.base.clone();
        match self.kind {
            ServerKind::ActiveDirectory => LdapProfile::active_directory(base),
            ServerKind::DirectoryServer389 => LdapProfile::directory_server_389(base),
            ServerKind::OpenLdap => LdapProfile::openldap(base),
        }
    }

    /// How its groups are managed, as its kind suggests.
    #[must_use]
    pub fn group_settings(&self) -> GroupSettings {
        let base = self.base.clone();
        match self.kind {
            ServerKind::ActiveDirectory => GroupSettings::active_directory(base),
            ServerKind::DirectoryServer389 => GroupSettings::directory_server_389(base),
            ServerKind::OpenLdap => GroupSettings::openldap(base),
        }
    }
}

impl ServerOptions {
    /// Takes the option `name` with its value, if it is one of these.
    ///
    /// # Errors
    /// When the value is missing or makes no sense.
    pub fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, lexopt::Error> {
        use lexopt::ValueExt;
        match name {
            "base" => {
                self.base = Some(
                    parser
                        .value()?
                        .parse_with(|text| Dn::parse(text).map_err(|error| error.to_string()))?,
                );
            }
            "bind" => self.bind = Some(parser.value()?.string()?),
            "ca" => self.ca = Some(parser.value()?.into()),
            "client-certificate" => self.client_certificate = Some(parser.value()?.into()),
            "client-key" => self.client_key = Some(parser.value()?.into()),
            "password-file" => self.password_file = Some(parser.value()?.into()),
            "profile" => self.kind = Some(parser.value()?.parse()?),
            "url" => self.url = Some(parser.value()?.string()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is wrong with these options together, if anything.
    ///
    /// # Errors
    /// With what to do about it.
    pub fn check(&self) -> Result<(), String> {
        for (option, is_given) in [
            ("--url URL", self.url.is_some()),
            ("--profile WHICH", self.kind.is_some()),
            ("--base DN", self.base.is_some()),
        ] {
            if !is_given {
                return Err(format!("{option} is missing"));
            }
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return Err("--client-certificate and --client-key go together".to_owned());
        }
        if self.bind.is_some() && self.client_certificate.is_some() {
            return Err("--bind and --client-certificate exclude each other".to_owned());
        }
        if self.bind.is_none() && self.password_file.is_some() {
            return Err("--password-file is for --bind, which is missing".to_owned());
        }
        Ok(())
    }

    /// The server, with the password and the certificates read.
    ///
    /// # Errors
    /// When an option is missing, or a file cannot be read.
    pub fn open(self) -> Outcome<Place> {
        self.check()?;
        let (Some(url), Some(kind), Some(base)) = (self.url, self.kind, self.base) else {
            return Err("--url, --profile and --base are needed".into());
        };
        let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut server = LdapServer::new(&url)?;
        if let Some(ca) = &self.ca {
            server = server.with_certificate_authorities(&read(ca)?)?;
        }
        if let Some(name) = self.bind {
            let password = match &self.password_file {
                Some(path) => {
                    first_line(String::from_utf8(read(path)?).map_err(|_| "the password is no text")?)
                }
                None => env::var(PASSWORD).map_err(|_| {
                    format!("--bind needs a password: set {PASSWORD}, or give --password-file FILE")
                })?,
            };
            server = server.with_password(name, Secret::new(password));
        } else if let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) {
            server = server
                .with_client_certificate(&read(certificate)?, &read(key)?)?
                .with_external_identity();
        } else if url.starts_with("ldapi:") {
            server = server.with_external_identity();
        }
        Ok(Place { server, kind, base })
    }
}

fn first_line(text: String) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
