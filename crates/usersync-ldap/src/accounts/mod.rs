//! The users and resources of a directory as accounts that principals of another system are linked with.

mod address;
mod privileged;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::sync::Arc;

use usersync_connector::{
    AccountCapabilities, AccountDirectory, AccountEntry, CallContext, Cursor, Error, ReadStream, failed_read,
};
use usersync_model::{AttributeName, SystemId};

pub(crate) use address::{PROXIES, addresses};
pub(crate) use read::elsewhere;
pub(crate) use walk::{Cut, Lookups, Visit};

use crate::client::LdapClient;
use crate::read::{LdapProfile, produced};
use crate::records::ValueForm;

/// The users and resources (rooms, equipment) of a directory as accounts.
///
/// What an entry is, its id, its name and whether it is disabled follow from the rules of the [`LdapProfile`]. Its addresses are those of
/// `proxyAddresses` with the scheme `SMTP`, the one in capitals first; without any, those of `mail`, `mailAlternateAddress` and
/// `mailLocalAddress`, in this order. What is no address is left out. An account without any address is ineligible, and so is
/// the mailbox of a system. A disabled account is inactive, and one that is hidden from address lists is an account like any other.
///
/// Accounts are privileged by their `employeeType` and as members of groups, as the rules say. The members are read from
/// the groups, nested ones too, and not from `memberOf`, which servers keep in part or as anybody likes it. Where they cannot
/// be read to the end the read is partial, so that nobody is linked without a person's confirmation.
///
/// Reads are full, in pages, and need the right to search and read the entries with the attributes concerned: what the server
/// does not show to the service account is not there for anybody.
///
/// ```no_run
/// use usersync_connector::Secret;
/// use usersync_ldap::{Dn, LdapAccounts, LdapClient, LdapProfile, LdapServer};
/// use usersync_model::SystemId;
///
/// let server = LdapServer::new("ldaps://dc1.example.org")?
///     .with_password("sync@example.org", Secret::new(std::env::var("LDAP_PASSWORD")?));
/// let mut profile = LdapProfile::active_directory(Dn::parse("DC=example,DC=org")?);
/// profile.rules.privileged_groups = vec![Dn::parse("CN=Domain Admins,CN=Users,DC=example,DC=org")?];
/// let accounts = LdapAccounts::new(SystemId::new("ad")?, LdapClient::new(server), profile);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LdapAccounts(Arc<Settings>);

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) system: SystemId,
    pub(crate) client: LdapClient,
    pub(crate) profile: LdapProfile,
    pub(crate) addresses: Vec<String>,
    pub(crate) attributes: Vec<(AttributeName, String, ValueForm)>,
    verified: bool,
}

impl LdapAccounts {
    /// The accounts that `client`'s server has by `profile`. Nothing is asked before the first read.
    #[must_use]
    pub fn new(system: SystemId, client: LdapClient, profile: LdapProfile) -> Self {
        let addresses = ["mail", "mailAlternateAddress", "mailLocalAddress"];
        Self(Arc::new(Settings {
            system,
            client,
            profile,
            addresses: addresses.map(str::to_owned).into(),
            attributes: Vec::new(),
            verified: false,
        }))
    }

    /// The same accounts with the addresses in these attributes, the most important first, where `proxyAddresses` has none.
    #[must_use]
    pub fn with_addresses<A: Into<String>>(self, attributes: impl IntoIterator<Item = A>) -> Self {
        self.with(|settings| settings.addresses = attributes.into_iter().map(Into::into).collect())
    }

    /// The same accounts, which show the values of `attribute` as `name` for matching rules. What is not in `form` is not
    /// shown.
    #[must_use]
    pub fn with_attribute(self, name: AttributeName, attribute: impl Into<String>, form: ValueForm) -> Self {
        self.with(|settings| settings.attributes.push((name, attribute.into(), form)))
    }

    /// The same accounts, whose addresses are verified and which their holders cannot edit: links by address need no
    /// person's confirmation any more.
    ///
    /// No server says so of itself, and many let users edit their own `mail`. Whoever asks for this has looked at the access
    /// rules of the server.
    #[must_use]
    pub fn with_verified_addresses(self) -> Self {
        self.with(|settings| settings.verified = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl AccountDirectory for LdapAccounts {
    fn system(&self) -> &SystemId {
        &self.0.system
    }

    /// Full reads only.
    fn capabilities(&self) -> AccountCapabilities {
        AccountCapabilities {
            changes: false,
            vouches_for_addresses: self.0.verified,
        }
    }

    fn accounts(&self, since: Option<Cursor>, _context: &CallContext) -> ReadStream<AccountEntry> {
        const OPERATION: &str = "accounts";
        if since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.0.system, OPERATION));
        }
        let settings = Arc::clone(&self.0);
        produced(|events| async move {
            let read = read::read(&settings, events).await;
            read.map_err(|error| error.at(&settings.system, OPERATION))
        })
    }
}

impl fmt::Debug for LdapAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapAccounts")
            .field("system", &self.0.system)
            .field("client", &self.0.client)
            .field("base", &self.0.profile.base)
            .field("verified_addresses", &self.0.verified)
            .finish_non_exhaustive()
    }
}
