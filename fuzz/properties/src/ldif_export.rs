//! LDIF exports as directories, by the rules of every server.

use std::collections::BTreeMap;

use usersync::model::{Completeness, DirectoryChange, SystemId};
use usersync_ldap::{EntryRules, LdifContents, LdifDirectory, LdifProfile, LdifReader};

use crate::is_fit_to_show;

/// An export: its first byte chooses the rules.
pub fn ldif_export(data: &[u8]) {
    let Some((&rules, file)) = data.split_first() else {
        return;
    };
    let rules = match rules % 4 {
        0 => EntryRules::default(),
        1 => EntryRules::active_directory(),
        2 => EntryRules::directory_server_389(),
        _ => EntryRules::openldap(),
    };
    let contents = read(file, &rules);
    assert_eq!(contents, read(file, &rules), "read again");
    holds_together(&contents, file);
    for warning in &contents.warnings {
        is_fit_to_show(warning);
    }
    for (_, reason) in &contents.partial {
        is_fit_to_show(reason);
    }
    if let Completeness::Partial(reason) = &contents.verdict {
        is_fit_to_show(reason);
    }
    if let Some(turned) = turned(file) {
        assert_eq!(read(&turned, &rules), contents, "in another order");
    }
}

fn read(file: &[u8], rules: &EntryRules) -> LdifContents {
    let mut profile = LdifProfile::default();
    profile.rules = rules.clone();
    let system = SystemId::new("s").expect("short");
    let directory = LdifDirectory::from_bytes(system, file).with_profile(profile);
    directory.contents().expect("bytes can always be read")
}

/// Principals come before who names them, each once and in order; what is no group has no members.
fn holds_together(contents: &LdifContents, file: &[u8]) {
    let mut principals = BTreeMap::new();
    let mut members: Vec<(&str, &str)> = Vec::new();
    for change in &contents.changes {
        match change {
            DirectoryChange::Upsert(principal) => {
                assert!(members.is_empty(), "principals come first");
                let is_greater = principals
                    .keys()
                    .next_back()
                    .is_none_or(|last| *last < principal.id.as_str());
                assert!(is_greater, "principals are in order");
                principals.insert(principal.id.as_str(), principal.kind);
            }
            DirectoryChange::Members {
                group,
                members: named,
                ..
            } => {
                let is_group = principals.get(group.as_str()).is_some_and(|kind| kind.is_group());
                assert!(is_group, "{group} has members and is no group");
                members.extend(named.iter().map(|member| (group.as_str(), member.as_str())));
            }
            other => panic!("an export shows {other:?}"),
        }
    }
    assert!(
        members.is_sorted_by(|a, b| a < b),
        "members are in order, each once"
    );
    assert!(members.iter().all(|(_, member)| principals.contains_key(member)));
    assert!(contents.partial.is_sorted_by(|a, b| a.0 < b.0));
    assert!(principals.len() as u64 <= contents.entries);
    let read = LdifReader::new(file).take_while(Result::is_ok).count();
    assert_eq!(contents.entries, read as u64);
    let is_whole = LdifReader::new(file).all(|entry| entry.is_ok());
    assert!(is_whole || !contents.verdict.is_complete());
}

/// The file with its entries in the opposite order, if it has no flaw and no folds, comments or version.
fn turned(file: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(file).ok()?;
    if text.contains("\n ") || text.contains('#') || text.contains('\r') || !text.starts_with("dn:") {
        return None;
    }
    if LdifReader::new(file).any(|entry| entry.is_err()) {
        return None;
    }
    let mut entries: Vec<&str> = text.trim_end_matches('\n').split("\n\n").collect();
    entries.reverse();
    let turned: String = entries
        .iter()
        .map(|entry| format!("{}\n\n", entry.trim_matches('\n')))
        .collect();
    Some(turned.into_bytes())
}
