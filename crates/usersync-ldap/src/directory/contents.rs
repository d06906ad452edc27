//! An export from its first line to a verdict.

use std::error::Error as _;
use std::io::BufRead;
use std::sync::Arc;

use usersync_model::{Completeness, DirectoryChange, ObjectId, PartialKind, PartialReason, SystemId};

use super::profile::LdifProfile;
use crate::index::{DirectoryWarning, EntryKey, Index, Members};
use crate::ldif::{LdifError, LdifErrorKind, LdifReader};

/// What an export says, with the verdict on it. Equal entries give equal contents, whatever their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LdifContents {
    /// The principals by id, then the members by group and id.
    pub changes: Vec<DirectoryChange>,
    /// How much of the directory was seen.
    pub verdict: Completeness,
    /// The groups that are partial by themselves, by id.
    pub partial: Vec<(ObjectId, PartialReason)>,
    /// What could not be taken over as it stands.
    pub warnings: Vec<DirectoryWarning>,
    /// How many entries were read, principals or not.
    pub entries: u64,
}

/// Reads an export to its end, an error, or until `cancelled`. Time is that of sorting, space follows the names
/// and memberships.
pub(super) fn read(
    input: impl BufRead,
    system: &SystemId,
    profile: &LdifProfile,
    cancelled: impl Fn() -> bool,
) -> LdifContents {
    let mut reader = LdifReader::with_limits(input, profile.limits);
    let mut index = Index::new(system.clone(), Arc::new(profile.rules.clone()));
    let mut entries = 0_u64;
    let mut flaw = None;
    for entry in reader.by_ref() {
        match entry {
            Ok(entry) => {
                // Entries of a file are told apart by their places in it: each is there once.
                let key = EntryKey::new(&u128::from(entries).to_be_bytes());
                index.upsert(key, entry.entry(), Members::Given);
                entries += 1;
            }
            Err(error) => flaw = Some(reason(&error)),
        }
        if cancelled() {
            flaw = Some(PartialReason::new(PartialKind::Cancelled, ""));
            break;
        }
    }
    let flaw = flaw.or_else(|| missing_end(profile, entries, reader.last_comment()));
    let settled = index.settle();
    LdifContents {
        changes: settled.changes,
        verdict: flaw
            .or(settled.flaw)
            .map_or(Completeness::Complete, Completeness::Partial),
        partial: settled.partial,
        warnings: settled.warnings,
        entries,
    }
}

fn reason(error: &LdifError) -> PartialReason {
    let kind = match error.kind {
        _ if error.kind.is_limit() => PartialKind::Limit,
        LdifErrorKind::Truncated => PartialKind::NoVerdict,
        _ => PartialKind::Failed,
    };
    let cause = error.source().map(|cause| format!(": {cause}"));
    PartialReason::new(kind, format!("{error}{}", cause.unwrap_or_default()))
}

fn missing_end(profile: &LdifProfile, entries: u64, comment: Option<&[u8]>) -> Option<PartialReason> {
    if let Some(expected) = profile.expected_entries.filter(|&expected| entries < expected) {
        return Some(PartialReason::new(
            PartialKind::NoVerdict,
            format!("the file has {entries} of the {expected} entries expected"),
        ));
    }
    let trailer = profile.trailer.as_deref()?;
    let is_there = comment.is_some_and(|comment| comment.trim_ascii() == trailer.trim().as_bytes());
    (!is_there).then(|| {
        PartialReason::new(
            PartialKind::NoVerdict,
            format!("the file does not end with the comment `# {trailer}`"),
        )
    })
}
