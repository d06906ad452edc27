//! Entries to principals and memberships.

use std::error::Error as _;
use std::io::BufRead;

use usersync_connector::CHUNK_ENTRIES;
use usersync_model::{
    Completeness, DirectoryChange, GroupKind, ObjectId, PartialKind, PartialReason, PrincipalKind, SystemId,
};

use super::gather::{Gathered, Node, Reference};
use super::names::Meaning;
use super::profile::LdifProfile;
use super::warning::LdifWarning;
use crate::dn::parent_key;
use crate::ldif::{LdifError, LdifErrorKind, LdifReader};

/// What an export says, with the verdict on it. Equal entries give equal contents, whatever their order; only
/// the lines in warnings follow the file.
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
    pub warnings: Vec<LdifWarning>,
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
    let mut gathered = Gathered::new(profile);
    let mut flaw = None;
    for entry in reader.by_ref() {
        match entry {
            Ok(entry) => gathered.add(&entry),
            Err(error) => flaw = Some(reason(&error)),
        }
        if cancelled() {
            flaw = Some(PartialReason::new(PartialKind::Cancelled, ""));
            break;
        }
    }
    let flaw = flaw.or_else(|| missing_end(profile, gathered.entries, reader.last_comment()));
    Assembly::new(gathered).finish(system, flaw)
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

/// The same nodes in the order of their ids, on which everything below works.
struct Assembly<'p> {
    gathered: Gathered<'p>,
    /// Where a node went, by its number in the order of the file.
    places: Vec<usize>,
    warnings: Vec<LdifWarning>,
    partial: Vec<(ObjectId, PartialReason)>,
    /// Group and member.
    edges: Vec<(usize, usize)>,
    contradiction: Option<String>,
    unreadable: Option<String>,
}

/// Whom a reference names.
enum Named {
    /// Nobody, on purpose.
    Nobody,
    /// An entry that is no principal.
    Other,
    Principal(usize),
    Unknown,
}

impl<'p> Assembly<'p> {
    fn new(mut gathered: Gathered<'p>) -> Self {
        let mut nodes: Vec<(usize, Node)> = std::mem::take(&mut gathered.nodes)
            .into_iter()
            .enumerate()
            .collect();
        nodes.sort_by(|(_, a), (_, b)| {
            let dn = |node: &Node| gathered.dns.text(node.dn);
            (&a.principal.id, dn(a)).cmp(&(&b.principal.id, dn(b)))
        });
        let mut places = vec![0; nodes.len()];
        for (place, (number, _)) in nodes.iter().enumerate() {
            places[*number] = place;
        }
        gathered.nodes = nodes.into_iter().map(|(_, node)| node).collect();
        Self {
            gathered,
            places,
            warnings: Vec::new(),
            partial: Vec::new(),
            edges: Vec::new(),
            contradiction: None,
            unreadable: None,
        }
    }

    fn finish(mut self, system: &SystemId, flaw: Option<PartialReason>) -> LdifContents {
        self.note_unreadable();
        self.note_duplicates();
        self.join_by_place();
        self.join_by_reference();
        self.edges.sort_unstable();
        self.edges.dedup();
        self.mark_privileged();
        let (contradiction, unreadable) = (self.contradiction.take(), self.unreadable.take());
        let reason = flaw
            .or_else(|| contradiction.map(|detail| PartialReason::new(PartialKind::Contradiction, detail)))
            .or_else(|| unreadable.map(|detail| PartialReason::new(PartialKind::Unreadable, detail)));
        LdifContents {
            changes: self.changes(system),
            verdict: reason.map_or(Completeness::Complete, Completeness::Partial),
            partial: self.partial,
            warnings: self.warnings,
            entries: self.gathered.entries,
        }
    }

    fn note_unreadable(&mut self) {
        let Gathered {
            missing_class,
            missing_id,
            ..
        } = &self.gathered;
        let found = [
            missing_class.map(|(count, first_line)| LdifWarning::MissingClass { count, first_line }),
            missing_id.map(|(count, first_line)| LdifWarning::MissingId { count, first_line }),
        ];
        for warning in found.into_iter().flatten() {
            self.unreadable.get_or_insert_with(|| warning.to_string());
            self.warnings.push(warning);
        }
    }

    fn note_duplicates(&mut self) {
        let Gathered {
            dns,
            duplicate_dns,
            nodes,
            ..
        } = &mut self.gathered;
        let mut found: Vec<&str> = duplicate_dns.iter().map(|&dn| dns.text(dn)).collect();
        found.sort_unstable();
        found.dedup();
        let twice = found
            .iter()
            .map(|&dn| LdifWarning::DuplicateDn { dn: dn.to_owned() });
        self.warnings.extend(twice);
        for same in nodes.chunk_by_mut(|a, b| a.principal.id == b.principal.id) {
            if same.len() > 1 {
                for node in &mut *same {
                    node.disputed = true;
                }
                self.warnings.push(LdifWarning::DuplicateId {
                    id: same[0].principal.id.clone(),
                    dns: same.iter().map(|node| dns.text(node.dn).to_owned()).collect(),
                });
            }
        }
        self.contradiction = self
            .warnings
            .iter()
            .find(|warning| {
                matches!(
                    warning,
                    LdifWarning::DuplicateDn { .. } | LdifWarning::DuplicateId { .. }
                )
            })
            .map(LdifWarning::to_string);
    }

    /// Joins users and units to the nearest unit above them.
    fn join_by_place(&mut self) {
        let Gathered { dns, nodes, .. } = &self.gathered;
        for (place, node) in nodes.iter().enumerate() {
            let belongs = matches!(
                node.principal.kind,
                PrincipalKind::User | PrincipalKind::Group(GroupKind::OrgUnit)
            );
            if !belongs || node.disputed {
                continue;
            }
            let mut key = dns.text(node.dn);
            while let Some(above) = parent_key(key) {
                key = above;
                match dns.find(key) {
                    Meaning::Principal(number) if nodes[self.places[number]].holds_below => {
                        let unit = self.places[number];
                        if !nodes[unit].disputed {
                            self.edges.push((unit, place));
                        }
                        break;
                    }
                    Meaning::Many => break,
                    Meaning::Other | Meaning::Principal(_) | Meaning::Unseen => {}
                }
            }
        }
    }

    fn join_by_reference(&mut self) {
        for (place, node) in self.gathered.nodes.iter().enumerate() {
            if node.disputed {
                continue;
            }
            let (mut skipped, mut unknown) = (Vec::new(), Vec::new());
            for &reference in &self.gathered.references[node.references.clone()] {
                match self.named(reference) {
                    Named::Nobody => {}
                    Named::Other => skipped.push(self.gathered.text(reference)),
                    Named::Principal(member) => self.edges.push((place, member)),
                    Named::Unknown => unknown.push(self.gathered.text(reference)),
                }
            }
            let id = &node.principal.id;
            let dn = || self.gathered.dns.text(node.dn).to_owned();
            if let Some((count, first)) = summary(skipped) {
                self.warnings.push(LdifWarning::SkippedMembers {
                    group: id.clone(),
                    dn: dn(),
                    count,
                    first,
                });
            }
            let unknown = summary(unknown).map(|(count, first)| LdifWarning::UnknownMembers {
                group: id.clone(),
                dn: dn(),
                count,
                first,
            });
            let cut = node.cut.then(|| LdifWarning::ValueRange {
                group: id.clone(),
                dn: dn(),
            });
            let flaws = [(PartialKind::Limit, cut), (PartialKind::UnknownMember, unknown)];
            let mut is_partial = false;
            for (kind, warning) in flaws {
                let Some(warning) = warning else { continue };
                if !std::mem::replace(&mut is_partial, true) {
                    let reason = PartialReason::new(kind, warning.to_string());
                    self.partial.push((id.clone(), reason));
                }
                self.warnings.push(warning);
            }
        }
    }

    fn named(&self, reference: Reference) -> Named {
        if self.gathered.text(reference).is_empty() {
            return Named::Nobody;
        }
        match self.gathered.meaning(reference) {
            Meaning::Other => Named::Other,
            Meaning::Principal(number) if !self.gathered.nodes[self.places[number]].disputed => {
                Named::Principal(self.places[number])
            }
            _ => Named::Unknown,
        }
    }

    /// Marks the users below the privileged groups.
    fn mark_privileged(&mut self) {
        let Gathered {
            dns, nodes, profile, ..
        } = &mut self.gathered;
        let mut reached = vec![false; nodes.len()];
        let mut open = Vec::new();
        for group in &profile.privileged_groups {
            match dns.find(group.key()) {
                Meaning::Principal(number) if !nodes[self.places[number]].disputed => {
                    open.push(self.places[number]);
                }
                _ => {
                    let warning = LdifWarning::MissingPrivilegedGroup {
                        dn: group.key().to_owned(),
                    };
                    self.unreadable.get_or_insert_with(|| warning.to_string());
                    self.warnings.push(warning);
                }
            }
        }
        while let Some(place) = open.pop() {
            if std::mem::replace(&mut reached[place], true) {
                continue;
            }
            if nodes[place].principal.kind == PrincipalKind::User {
                nodes[place].principal.privileged = true;
            }
            let from = self.edges.partition_point(|&(group, _)| group < place);
            let members = self.edges[from..]
                .iter()
                .take_while(|&&(group, _)| group == place);
            open.extend(members.map(|&(_, member)| member));
        }
    }

    fn changes(&mut self, system: &SystemId) -> Vec<DirectoryChange> {
        let nodes = &self.gathered.nodes;
        let id = |place: usize| nodes[place].principal.id.clone();
        let upserts = nodes
            .iter()
            .filter(|node| !node.disputed)
            .map(|node| DirectoryChange::Upsert(node.principal.clone()));
        let members = self
            .edges
            .chunk_by(|a, b| a.0 == b.0)
            .flat_map(|group| group.chunks(CHUNK_ENTRIES))
            .map(|edges| DirectoryChange::Members {
                group: id(edges[0].0),
                system: system.clone(),
                members: edges.iter().map(|&(_, member)| id(member)).collect(),
            });
        upserts.chain(members).collect()
    }
}

/// How many different texts there are, and the first of them.
fn summary(mut texts: Vec<&str>) -> Option<(u64, String)> {
    texts.sort_unstable();
    texts.dedup();
    let first = texts.first()?.to_string();
    Some((texts.len() as u64, first))
}
