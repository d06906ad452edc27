//! What is to be known of an export before it is read.

use crate::ldif::LdifLimits;
use crate::rules::EntryRules;

/// What the entries of an export mean, and what the file has to look like.
///
/// LDIF has no end mark: a file that was cut off between two lines looks whole. Give
/// [`expected_entries`](Self::expected_entries) or [`trailer`](Self::trailer) where the export can provide one
/// of them, so that such a file is partial.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LdifProfile {
    /// What its entries mean.
    pub rules: EntryRules,
    /// What the file may hold at most.
    pub limits: LdifLimits,
    /// How many entries the file has, principals or not. With fewer of them the read is partial.
    pub expected_entries: Option<u64>,
    /// The text of the comment with which the file must end, without `#` and the spaces around it. Without it
    /// the read is partial.
    pub trailer: Option<String>,
}
