//! How much one read may bring.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use usersync_model::{
    Container, DirectoryChange, ObjectId, PartialKind, PartialReason, PrincipalRef, Record, Selection, Value,
};

use crate::account::AccountEntry;
use crate::item::ItemEntry;
use crate::membership::MembersEntry;
use crate::read::ReadEnd;
use crate::record::RecordEntry;

/// How much one read may bring before it is cut short.
///
/// Hitting `members_per_group` makes that group or container partial; hitting any other limit ends the read as
/// [`PartialKind::Limit`]. What was shown up to there stands. A read whose groups were cut carries no cursor:
/// continuing from there would never show their missing members.
///
/// A field set to its type's maximum ([`Duration::MAX`]) limits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Entries: principals, accounts, records, containers and single memberships. An entry that came again
    /// counts again. Default: 50 million.
    pub entries: u64,
    /// Members shown of one group or container; a member shown again counts again. Default: 2 million.
    pub members_per_group: u64,
    /// Bytes of all ids, texts and values, with a fixed share for each entry: about what keeping the read in
    /// memory takes, not what came over the wire. Default: 8 GiB.
    pub bytes: u64,
    /// Chunks, empty ones included; about the pages of the system. Default: 1 million.
    pub chunks: u64,
    /// Time from the first poll to the end, with pauses and repeated beginnings. Default: 1 hour.
    pub wall_time: Duration,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            entries: 50_000_000,
            members_per_group: 2_000_000,
            bytes: 8 << 30,
            chunks: 1_000_000,
            wall_time: Duration::from_secs(3600),
        }
    }
}

/// An entry of a read, which limits know how to count. Sealed.
pub trait Measured: Measure {}

impl<T: Measure> Measured for T {}

/// What limits have to know of an entry.
pub trait Measure {
    /// How many entries it counts for.
    fn entries(&self) -> u64 {
        1
    }

    /// The text and values in it; [`Meter`] adds the size of the entry itself.
    fn bytes(&self) -> usize;

    /// The group whose members it shows.
    fn members(&mut self) -> Option<Shown<'_>> {
        None
    }
}

/// Members that an entry shows of a group.
pub enum Shown<'a> {
    /// Some of its members.
    Members(&'a ObjectId, &'a mut dyn Truncate),
    /// What was shown of the group is void.
    Reset(&'a ObjectId),
}

/// A list that can be cut.
pub trait Truncate {
    /// How long it is.
    fn len(&self) -> usize;
    /// Cuts it.
    fn truncate(&mut self, len: usize);
}

impl<T> Truncate for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }
}

/// Counts one read against its limits.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: ReadLimits,
    entries: u64,
    bytes: u64,
    chunks: u64,
    members: HashMap<ObjectId, u64>,
    cut: BTreeMap<ObjectId, PartialReason>,
}

impl Meter {
    pub(crate) fn new(limits: ReadLimits) -> Self {
        Self {
            limits,
            entries: 0,
            bytes: 0,
            chunks: 0,
            members: HashMap::new(),
            cut: BTreeMap::new(),
        }
    }

    /// What of `chunk` is within the limits, and why the read is over if something is not.
    pub(crate) fn admit<T: Measure>(&mut self, mut chunk: Vec<T>) -> (Vec<T>, Option<PartialReason>) {
        self.chunks += 1;
        if self.chunks > self.limits.chunks {
            return (Vec::new(), Some(exceeded("chunks", self.limits.chunks)));
        }
        let mut stop = None;
        chunk.retain_mut(|entry| {
            if stop.is_some() || !self.cut_members(entry) {
                return false;
            }
            stop = self.count(entry);
            stop.is_none()
        });
        (chunk, stop)
    }

    /// `end`, with the groups that were cut. What the system itself says about a group stays.
    pub(crate) fn finish(mut self, mut end: ReadEnd) -> ReadEnd {
        if !self.cut.is_empty() {
            end.cursor = None;
            for (group, _) in &end.partial {
                self.cut.remove(group);
            }
            end.partial.extend(self.cut);
        }
        end
    }

    /// Takes from `entry` the members beyond the limit; `false` if none are left.
    fn cut_members<T: Measure>(&mut self, entry: &mut T) -> bool {
        let limit = self.limits.members_per_group;
        if limit == u64::MAX {
            return true;
        }
        let (group, members) = match entry.members() {
            None => return true,
            Some(Shown::Reset(group)) => {
                self.members.remove(group);
                return true;
            }
            Some(Shown::Members(group, members)) => (group, members),
        };
        let shown = match self.members.get_mut(group) {
            Some(shown) => shown,
            None => self.members.entry(group.clone()).or_default(),
        };
        let left = limit - *shown;
        let count = members.len() as u64;
        if count <= left {
            *shown += count;
            return true;
        }
        *shown = limit;
        members.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        if !self.cut.contains_key(group) {
            self.cut
                .insert(group.clone(), exceeded("members_per_group", limit));
        }
        left > 0
    }

    fn count<T: Measure>(&mut self, entry: &T) -> Option<PartialReason> {
        self.entries = self.entries.saturating_add(entry.entries());
        if self.entries > self.limits.entries {
            return Some(exceeded("entries", self.limits.entries));
        }
        self.bytes = self.bytes.saturating_add((size_of::<T>() + entry.bytes()) as u64);
        (self.bytes > self.limits.bytes).then(|| exceeded("bytes", self.limits.bytes))
    }
}

pub(crate) fn out_of_time(limit: Duration) -> PartialReason {
    PartialReason::new(
        PartialKind::Limit,
        format!("not finished within {limit:?}; raise `ReadLimits::wall_time` if so long a read is expected"),
    )
}

/// `field` is the name of the limit in [`ReadLimits`].
fn exceeded(field: &str, limit: u64) -> PartialReason {
    let what = if field == "members_per_group" {
        "members"
    } else {
        field
    };
    PartialReason::new(
        PartialKind::Limit,
        format!("more than {limit} {what}; raise `ReadLimits::{field}` if so many are expected"),
    )
}

impl Measure for DirectoryChange {
    fn entries(&self) -> u64 {
        match self {
            Self::Upsert(_) | Self::Removed(_) | Self::MembersReset { .. } => 1,
            Self::Members { members, .. } | Self::MembersRemoved { members, .. } => {
                (members.len() as u64).max(1)
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Upsert(principal) => principal.id.as_str().len() + principal.name.len(),
            Self::Removed(id) | Self::MembersReset { group: id } => id.as_str().len(),
            Self::Members { group, members, .. } | Self::MembersRemoved { group, members, .. } => {
                group.as_str().len() + members.iter().map(id_bytes).sum::<usize>()
            }
        }
    }

    fn members(&mut self) -> Option<Shown<'_>> {
        match self {
            Self::Members { group, members, .. } => Some(Shown::Members(group, members)),
            Self::MembersReset { group } => Some(Shown::Reset(group)),
            Self::Upsert(_) | Self::Removed(_) | Self::MembersRemoved { .. } => None,
        }
    }
}

impl Measure for MembersEntry {
    fn entries(&self) -> u64 {
        match self {
            Self::Members { members, .. } => (members.len() as u64).max(1),
            Self::Missing { .. } => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Members { container, members } => {
                let members = members.iter().map(|present| {
                    let version = present.version.as_ref().map_or(0, |version| version.0.len());
                    size_of_val(present) + present.member.principal.object.as_str().len() + version
                });
                container.as_str().len() + members.sum::<usize>()
            }
            Self::Missing { container } => container.as_str().len(),
        }
    }

    fn members(&mut self) -> Option<Shown<'_>> {
        match self {
            Self::Members { container, members } => Some(Shown::Members(container, members)),
            Self::Missing { .. } => None,
        }
    }
}

impl Measure for RecordEntry {
    fn bytes(&self) -> usize {
        match self {
            Self::Removed(id) => id.object.as_str().len(),
            Self::Upsert(present) => {
                let version = present.version.as_ref().map_or(0, |version| version.0.len());
                record_bytes(&present.record) + version
            }
        }
    }
}

impl Measure for ItemEntry {
    fn bytes(&self) -> usize {
        match self {
            Self::Removed(href) => href.as_str().len(),
            Self::Upsert(item) => {
                let version = item.version.as_ref().map_or(0, |version| version.0.len());
                item.href.as_str().len() + item.content.len() + version
            }
        }
    }
}

impl Measure for AccountEntry {
    fn bytes(&self) -> usize {
        match self {
            Self::Removed(id) => id.as_str().len(),
            Self::Upsert(account) => {
                let addresses = account
                    .addresses
                    .iter()
                    .map(|address| size_of_val(address) + address.len());
                let attributes = account
                    .attributes
                    .iter()
                    .map(|(name, value)| size_of_val(name) + size_of_val(value) + value_bytes(value));
                account.id.as_str().len()
                    + account.name.len()
                    + account.ineligible.as_ref().map_or(0, String::len)
                    + addresses.sum::<usize>()
                    + attributes.sum::<usize>()
            }
        }
    }
}

impl Measure for Container {
    fn bytes(&self) -> usize {
        let Selection { include, exclude } = &self.selection;
        let selected = include.iter().chain(exclude);
        self.id.object.as_str().len() + self.name.len() + selected.map(principal_bytes).sum::<usize>()
    }
}

fn id_bytes(id: &ObjectId) -> usize {
    size_of_val(id) + id.as_str().len()
}

fn principal_bytes(principal: &PrincipalRef) -> usize {
    size_of_val(principal) + principal.object.as_str().len()
}

fn record_bytes(record: &Record) -> usize {
    let facets = record.facets.iter().map(|(name, facet)| {
        let attributes = facet
            .attributes
            .iter()
            .map(|(name, value)| size_of_val(name) + size_of_val(value) + value_bytes(value));
        size_of_val(name) + size_of_val(facet) + attributes.sum::<usize>()
    });
    record.id.object.as_str().len() + facets.sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Flag(_) | Value::Integer(_) => 0,
        Value::Set(values) => values.iter().map(|value| size_of_val(value) + value.len()).sum(),
        Value::Text(text) => text.len(),
    }
}
