//! An entry with numbers for names.

use std::sync::Arc;

use usersync_model::{PartialKind, PartialReason, Principal, PrincipalKind};

use super::Members;
use super::names::{NameKind, Names, Rank};
use super::node::{EntryKey, Group, GroupQuery, Missing, Node};
use super::state::State;
use crate::dn::write_key;
use crate::entry::Entry;
use crate::rules::{self, ClassRule, EntryRules, MemberSource, Seen};

/// What an entry says.
pub(super) struct Reading {
    pub(super) node: Node,
    /// Sources and names.
    pub(super) refs: Vec<(u16, u32)>,
}

/// Reads an entry that has the number `known`, if it has one.
pub(super) fn read(
    state: &mut State,
    rules: &EntryRules,
    known: Option<u32>,
    key: EntryKey,
    entry: &Entry,
    members: Members,
) -> Reading {
    let dn = state.names.number(NameKind::Dn, entry.dn().key());
    let node = |rank, missing| Node {
        key: key.clone(),
        dn,
        rank,
        missing,
        principal: None,
        named_by_dn: false,
        names: Box::default(),
        group: None,
    };
    let without_refs = |node| Reading {
        node,
        refs: Vec::new(),
    };
    match rules::look(entry, rules) {
        Seen::Foreign => without_refs(node(Rank::Unclear, None)),
        Seen::MissingClass => without_refs(node(Rank::Unclear, Some(Missing::Class))),
        Seen::MissingId => without_refs(node(Rank::Unclear, Some(Missing::Id))),
        Seen::Other => without_refs(node(Rank::Other, None)),
        Seen::Principal {
            principal,
            rules: of_groups,
        } => {
            let mut refs = up_refs(state, entry, principal.kind);
            let group = principal
                .kind
                .is_group()
                .then(|| group(state, &of_groups, known, entry, members, &mut refs));
            let node = Node {
                named_by_dn: principal.name == entry.dn().to_string(),
                names: names(state, rules, entry, &principal, group.as_ref()),
                group: group.map(Arc::new),
                principal: Some(principal),
                ..node(Rank::Principal, None)
            };
            Reading { node, refs }
        }
    }
}

/// The name that `value` of `attribute` is, if it names a member in the source.
pub(super) fn listed(state: &mut State, source: u16, attribute: &str, value: &[u8]) -> Option<u32> {
    let State { sources, names, .. } = state;
    let source = sources.0.get(usize::from(source))?;
    if !source.listed()?.eq_ignore_ascii_case(attribute) {
        return None;
    }
    let text = String::from_utf8_lossy(value);
    Some(match source {
        MemberSource::Address(_) => names.number(NameKind::Address, &fold(&text)),
        MemberSource::Login(_) => names.number(NameKind::Login, &fold(&text)),
        _ if attribute.eq_ignore_ascii_case("uniqueMember") => dn(names, without_bits(&text)),
        _ => dn(names, &text),
    })
}

/// The groups that the entry itself names.
fn up_refs(state: &mut State, entry: &Entry, kind: PrincipalKind) -> Vec<(u16, u32)> {
    let State { sources, names, .. } = state;
    let mut refs = Vec::new();
    for (number, source) in (0..).zip(&sources.0) {
        match source {
            // Roles that are nested in others carry their names in the same attribute, the other way round.
            MemberSource::MemberOf(attribute) if !kind.is_group() => {
                refs.extend(entry.texts(attribute).map(|text| (number, dn(names, text))));
            }
            MemberSource::PrimaryGid | MemberSource::PrimaryRid if kind == PrincipalKind::User => {
                let text = rules::number(entry, source);
                refs.extend(text.map(|text| (number, names.number(number_kind(source), &text))));
            }
            _ => {}
        }
    }
    refs
}

fn group(
    state: &mut State,
    rules: &[&ClassRule],
    known: Option<u32>,
    entry: &Entry,
    members: Members,
    refs: &mut Vec<(u16, u32)>,
) -> Group {
    let named = rules.iter().flat_map(|rule| &rule.members);
    let mut sources: Vec<u16> = named.filter_map(|source| state.sources.number(source)).collect();
    sources.sort_unstable();
    sources.dedup();
    let old = known
        .and_then(|slot| state.node(slot)?.group.clone())
        .unwrap_or_default();

    let queries = queries(state, &sources, entry);
    let same = |query: &&GroupQuery| old.queries.contains(query) && !old.open.contains(&query.source);
    let open = queries
        .iter()
        .filter(|query| !same(query))
        .map(|query| query.source)
        .collect();
    let mut unfound = old.unfound.clone();
    unfound.retain(|source, _| {
        queries
            .iter()
            .any(|query| query.source == *source && same(&query))
    });
    let mut group = Group {
        open,
        queries,
        unfound,
        ..Group::default()
    };
    let is_listed = |source: u16| state.sources.0[usize::from(source)].listed().is_some();
    // What a query found stays until it is asked anew.
    let stays = |source: u16| {
        (members == Members::Kept && is_listed(source) && sources.contains(&source))
            || group.queries.iter().any(|query| query.source == source)
    };
    if let Some(slot) = known {
        let kept = state.refs_of(slot).filter(|other| stays(other.source));
        refs.extend(kept.map(|other| (other.source, other.name)));
    }
    match members {
        Members::Given => {
            let before = refs.len();
            group.cut = add_listed(state, &sources, entry, refs);
            if refs.len() == before && rules.iter().any(|rule| rule.demands_members) {
                let hidden = "the account that reads may not see them";
                group.unread = Some(PartialReason::new(PartialKind::Unreadable, hidden));
            }
        }
        Members::Kept => {
            group.cut = old.cut;
            group.unread.clone_from(&old.unread);
            let is_new = |&source: &u16| is_listed(source) && !old.sources.contains(&source);
            if group.unread.is_none() && sources.iter().any(is_new) {
                group.unread = Some(PartialReason::new(PartialKind::NoVerdict, "they were left out"));
            }
        }
    }
    group.sources = sources;
    group
}

/// Adds the members that a group lists, and answers whether the server returned only part of them.
fn add_listed(state: &mut State, sources: &[u16], entry: &Entry, refs: &mut Vec<(u16, u32)>) -> bool {
    let mut cut = false;
    if sources.is_empty() {
        return cut;
    }
    for (description, value) in entry.attributes() {
        let (attribute, options) = description.split_once(';').unwrap_or((description, ""));
        for &source in sources {
            let Some(name) = listed(state, source, attribute, value) else {
                continue;
            };
            refs.push((source, name));
            cut |= options
                .split(';')
                .any(|option| option.to_ascii_lowercase().starts_with("range="));
        }
    }
    cut
}

fn queries(state: &State, sources: &[u16], entry: &Entry) -> Vec<GroupQuery> {
    let query = |&source: &u16| {
        let MemberSource::Query(attribute) = &state.sources.0[usize::from(source)] else {
            return None;
        };
        let texts: Vec<String> = entry.texts(attribute).map(str::to_owned).collect();
        let base = rules::query_base(attribute).and_then(|base| entry.texts(base).next());
        (!texts.is_empty()).then(|| GroupQuery {
            source,
            texts,
            base: base.map(str::to_owned),
        })
    };
    sources.iter().filter_map(query).collect()
}

/// What the entry is called beside its DN, sorted.
fn names(
    state: &mut State,
    rules: &EntryRules,
    entry: &Entry,
    principal: &Principal,
    group: Option<&Group>,
) -> Box<[u32]> {
    let State { sources, names, .. } = state;
    let mut numbers = Vec::new();
    let mut add = |kind, attributes: &[String]| {
        let texts = attributes.iter().flat_map(|attribute| entry.texts(attribute));
        numbers.extend(texts.map(|text| names.number(kind, &fold(text))));
    };
    if principal.kind == PrincipalKind::User {
        add(NameKind::Login, &rules.logins);
    }
    add(NameKind::Address, &rules.addresses);
    for &source in group.map_or(&[][..], |group| &group.sources) {
        let source = &sources.0[usize::from(source)];
        let text = rules::numbers_of_group(entry, source);
        numbers.extend(text.map(|text| names.number(number_kind(source), &text)));
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_boxed_slice()
}

fn number_kind(source: &MemberSource) -> NameKind {
    match source {
        MemberSource::PrimaryRid => NameKind::Sid,
        _ => NameKind::Gid,
    }
}

fn dn(names: &mut Names, text: &str) -> u32 {
    let mut key = String::with_capacity(text.len());
    match write_key(text, &mut key) {
        Ok(()) => names.number(NameKind::Dn, &key),
        Err(_) => names.number(NameKind::NoDn, text),
    }
}

/// The text in lower-case ASCII and without the spaces around it.
fn fold(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

/// The DN of a name with an optional unique identifier (RFC 4517, section 3.3.21).
fn without_bits(text: &str) -> &str {
    text.strip_suffix("'B")
        .and_then(|text| text.rsplit_once("#'"))
        .filter(|(_, bits)| bits.bytes().all(|b| matches!(b, b'0' | b'1')))
        .map_or(text, |(dn, _)| dn)
}
