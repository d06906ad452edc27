//! What the entries of an export say, one by one, before they are joined.

use std::ops::Range;

use usersync_model::{Principal, PrincipalKind};

use super::entry::{Seen, look};
use super::names::{Meaning, Names};
use super::profile::{LdifProfile, MemberSource};
use crate::dn::write_key;
use crate::ldif::LdifEntry;

/// All that is kept of the entries.
pub(super) struct Gathered<'p> {
    pub(super) profile: &'p LdifProfile,
    pub(super) entries: u64,
    pub(super) nodes: Vec<Node>,
    /// By canonical key. What is no DN is there as it is written, and never means anything.
    pub(super) dns: Names,
    logins: Names,
    addresses: Names,
    pub(super) references: Vec<Reference>,
    pub(super) duplicate_dns: Vec<usize>,
    /// How many entries show no object class, and the line of the first.
    pub(super) missing_class: Option<(u64, u64)>,
    /// How many principals have no id, and the line of the first.
    pub(super) missing_id: Option<(u64, u64)>,
    scratch: String,
}

/// A principal.
pub(super) struct Node {
    pub(super) principal: Principal,
    /// Its number in `dns`.
    pub(super) dn: usize,
    /// Whom it names, in `references`.
    pub(super) references: Range<usize>,
    /// Whether its members are below it.
    pub(super) holds_below: bool,
    /// Whether the server returned its members in part.
    pub(super) cut: bool,
    /// Whether another entry has the same id.
    pub(super) disputed: bool,
}

/// How a group names a member: the number of a name.
#[derive(Clone, Copy)]
pub(super) enum Reference {
    Address(usize),
    Dn(usize),
    Login(usize),
}

impl<'p> Gathered<'p> {
    pub(super) fn new(profile: &'p LdifProfile) -> Self {
        Self {
            profile,
            entries: 0,
            nodes: Vec::new(),
            dns: Names::default(),
            logins: Names::default(),
            addresses: Names::default(),
            references: Vec::new(),
            duplicate_dns: Vec::new(),
            missing_class: None,
            missing_id: None,
            scratch: String::new(),
        }
    }

    pub(super) fn add(&mut self, entry: &LdifEntry) {
        self.entries += 1;
        match look(entry, self.profile) {
            Seen::MissingClass => count(&mut self.missing_class, entry.line()),
            Seen::MissingId => count(&mut self.missing_id, entry.line()),
            Seen::Other => {
                self.claim_dn(entry, Meaning::Other);
            }
            Seen::Principal { principal, rules } => {
                let number = self.nodes.len();
                let dn = self.claim_dn(entry, Meaning::Principal(number));
                self.claim_names(entry, number, principal.kind);
                let mut sources: Vec<&MemberSource> = Vec::new();
                for source in rules.iter().flat_map(|rule| &rule.members) {
                    if !sources.contains(&source) {
                        sources.push(source);
                    }
                }
                let start = self.references.len();
                let cut = self.add_references(entry, &sources);
                self.nodes.push(Node {
                    principal,
                    dn,
                    references: start..self.references.len(),
                    holds_below: sources.contains(&&MemberSource::Below),
                    cut,
                    disputed: false,
                });
            }
        }
    }

    pub(super) fn meaning(&self, reference: Reference) -> Meaning {
        let (names, number) = self.name(reference);
        names.meaning(number)
    }

    pub(super) fn text(&self, reference: Reference) -> &str {
        let (names, number) = self.name(reference);
        names.text(number)
    }

    fn name(&self, reference: Reference) -> (&Names, usize) {
        match reference {
            Reference::Address(number) => (&self.addresses, number),
            Reference::Dn(number) => (&self.dns, number),
            Reference::Login(number) => (&self.logins, number),
        }
    }

    fn claim_dn(&mut self, entry: &LdifEntry, meaning: Meaning) -> usize {
        let dn = self.dns.number(entry.dn().key());
        if self.dns.claim(dn, meaning) {
            self.duplicate_dns.push(dn);
        }
        dn
    }

    fn claim_names(&mut self, entry: &LdifEntry, number: usize, kind: PrincipalKind) {
        let profile = self.profile;
        if kind == PrincipalKind::User {
            for text in profile.logins.iter().flat_map(|name| entry.texts(name)) {
                let login = self.logins.number(fold(text, &mut self.scratch));
                self.logins.claim(login, Meaning::Principal(number));
            }
        }
        for text in profile.addresses.iter().flat_map(|name| entry.texts(name)) {
            let address = self.addresses.number(fold(text, &mut self.scratch));
            self.addresses.claim(address, Meaning::Principal(number));
        }
    }

    /// Notes whom the group names, and answers whether the server returned only part of that.
    fn add_references(&mut self, entry: &LdifEntry, sources: &[&MemberSource]) -> bool {
        let mut cut = false;
        if sources.is_empty() {
            return cut;
        }
        for (description, value) in entry.attributes() {
            let (attribute, options) = description.split_once(';').unwrap_or((description, ""));
            for source in sources {
                let Some(reference) = self.reference(source, attribute, value) else {
                    continue;
                };
                self.references.push(reference);
                cut |= options
                    .split(';')
                    .any(|option| option.to_ascii_lowercase().starts_with("range="));
            }
        }
        cut
    }

    fn reference(&mut self, source: &MemberSource, attribute: &str, value: &[u8]) -> Option<Reference> {
        let (MemberSource::Address(name) | MemberSource::Dn(name) | MemberSource::Login(name)) = source
        else {
            return None;
        };
        if !name.eq_ignore_ascii_case(attribute) {
            return None;
        }
        let text = String::from_utf8_lossy(value);
        Some(match source {
            MemberSource::Address(_) => {
                Reference::Address(self.addresses.number(fold(&text, &mut self.scratch)))
            }
            MemberSource::Login(_) => Reference::Login(self.logins.number(fold(&text, &mut self.scratch))),
            _ => {
                let text = if attribute.eq_ignore_ascii_case("uniqueMember") {
                    without_bits(&text)
                } else {
                    &text
                };
                self.scratch.clear();
                Reference::Dn(match write_key(text, &mut self.scratch) {
                    Ok(()) => self.dns.number(&self.scratch),
                    Err(_) => self.dns.number(text),
                })
            }
        })
    }
}

fn count(counted: &mut Option<(u64, u64)>, line: u64) {
    counted.get_or_insert((0, line)).0 += 1;
}

/// The text in lower-case ASCII and without the spaces around it.
fn fold<'s>(text: &str, scratch: &'s mut String) -> &'s str {
    scratch.clear();
    scratch.push_str(text.trim());
    scratch.make_ascii_lowercase();
    scratch
}

/// The DN of a name with an optional unique identifier (RFC 4517, section 3.3.21).
fn without_bits(text: &str) -> &str {
    text.strip_suffix("'B")
        .and_then(|text| text.rsplit_once("#'"))
        .filter(|(_, bits)| bits.bytes().all(|b| matches!(b, b'0' | b'1')))
        .map_or(text, |(dn, _)| dn)
}
