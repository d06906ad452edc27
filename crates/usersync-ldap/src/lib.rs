//! LDAP directories for usersync: reads LDIF exports (RFC 2849).
//!
//! [`LdifDirectory`] offers an export as a directory of users, groups and resources; [`LdifReader`] and [`Dn`] are
//! what it is made of. Nothing here opens a network connection.

mod directory;
mod dn;
mod entry;
mod filter;
mod ldif;
#[cfg_attr(not(test), expect(dead_code, reason = "for reads of Active Directory"))]
mod sid;
#[cfg_attr(not(test), expect(dead_code, reason = "for dynamic groups"))]
mod url;

pub use directory::{
    ClassRule, IdAttribute, IdEncoding, LdifContents, LdifDirectory, LdifProfile, LdifWarning, MemberSource,
};
pub use dn::{Dn, DnError};
pub use filter::{Filter, FilterError};
pub use ldif::{LdifEntry, LdifError, LdifErrorKind, LdifLimits, LdifReader};
pub use url::Scope;
