//! The LDIF reader: physical lines to logical lines ([`lexer`]), logical lines to entries ([`reader`]).

mod entry;
mod error;
mod lexer;
mod reader;

pub use entry::LdifEntry;
pub use error::{LdifError, LdifErrorKind};
pub use reader::{LdifLimits, LdifReader};
