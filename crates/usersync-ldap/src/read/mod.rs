//! A live server as a directory: full reads, and reads of what changed.

mod directory;
#[cfg(test)]
mod failures;
mod find;
mod held;
mod members;
mod mending;
mod moment;
mod profile;
mod reading;
mod roles;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;

pub(crate) use directory::seconds_now;
pub use directory::{DirectoryContents, LdapDirectory};
pub use profile::{LdapProfile, ReadLimits};
pub(crate) use stream::{Events, produced};
