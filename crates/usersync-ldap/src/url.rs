//! Searches written as URLs (RFC 4516), as `memberURL` holds them.

/// How far below its base a search looks (RFC 4511, section 4.5.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The entry at the base alone.
    #[default]
    Base,
    /// The entries right below the base, without the base.
    One,
    /// The base and all entries below it.
    Subtree,
}
