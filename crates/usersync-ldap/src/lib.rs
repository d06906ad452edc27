//! LDAP directories for usersync. With the feature `client` (default) it is bound to tokio.
//!
//! [`LdifDirectory`] offers an LDIF export (RFC 2849) as a directory of users, groups and resources; [`LdifReader`] and
//! [`Dn`] are what it is made of. Live servers are reached through an `LdapClient`.

#[cfg(feature = "client")]
mod accounts;
#[cfg(feature = "client")]
mod changes;
#[cfg(feature = "client")]
mod client;
mod directory;
mod dn;
mod entry;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "client")]
mod groups;
#[cfg_attr(not(test), expect(dead_code, reason = "for reads of live servers"))]
mod index;
mod ldif;
#[cfg(feature = "client")]
mod read;
#[cfg(feature = "client")]
mod records;
mod rules;
mod sid;
#[cfg_attr(
    not(any(test, feature = "client")),
    expect(dead_code, reason = "for dynamic groups")
)]
mod url;

#[cfg(feature = "client")]
pub use accounts::LdapAccounts;
#[cfg(feature = "client")]
pub use changes::ChangeStrategy;
#[cfg(feature = "client")]
pub use client::{ClientLimits, LdapClient, LdapServer, LdapServerError, Traffic};
pub use directory::{LdifContents, LdifDirectory, LdifProfile};
pub use dn::{Dn, DnError};
pub use filter::{Filter, FilterError};
#[cfg(feature = "client")]
pub use groups::{GroupSettings, LastMember, LdapGroups, MembersBy};
pub use index::DirectoryWarning;
pub use ldif::{LdifEntry, LdifError, LdifErrorKind, LdifLimits, LdifReader};
#[cfg(feature = "client")]
pub use read::{DirectoryContents, LdapDirectory, LdapProfile, ReadLimits};
#[cfg(feature = "client")]
pub use records::{FacetSource, LdapRecords, RecipientType, RecordProfile, ValueForm};
pub use rules::{ClassRule, EntryRules, IdAttribute, IdEncoding, MemberSource};
pub use url::Scope;
