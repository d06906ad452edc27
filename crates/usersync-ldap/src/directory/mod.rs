//! LDIF exports as directories: [`profile`] says what entries mean, [`assembly`] makes principals and memberships of
//! them, [`connector`] offers the result as a `Directory`.

mod assembly;
mod connector;
mod entry;
mod gather;
mod names;
mod profile;
mod warning;

pub use assembly::LdifContents;
pub use connector::LdifDirectory;
pub use profile::{ClassRule, IdAttribute, IdEncoding, LdifProfile, MemberSource};
pub use warning::LdifWarning;
