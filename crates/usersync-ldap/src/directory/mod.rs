//! LDIF exports as directories: [`contents`] reads one through the index, [`connector`] offers the result as a
//! `Directory`.

mod connector;
mod contents;
mod profile;

pub use connector::LdifDirectory;
pub use contents::LdifContents;
pub use profile::LdifProfile;
