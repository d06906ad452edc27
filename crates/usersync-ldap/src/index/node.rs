//! What is kept of an entry.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use usersync_model::{PartialReason, Principal, PrincipalKind};

use super::names::Rank;

/// The server's own name for an entry, which it keeps for life: the bytes of `entryUUID`, `objectGUID`, or of the UUID of a
/// sync protocol. It never leaves this crate; hosts see the `ObjectId`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey(Bytes);

/// Most keys are UUIDs, which need no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Bytes {
    Sixteen([u8; 16]),
    More(Arc<[u8]>),
}

impl EntryKey {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(
            bytes
                .try_into()
                .map_or_else(|_| Bytes::More(Arc::from(bytes)), Bytes::Sixteen),
        )
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Sixteen(bytes) => bytes,
            Bytes::More(bytes) => bytes,
        }
    }

    pub(super) fn to_hex(&self) -> String {
        let bytes = self.as_bytes();
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            write!(text, "{byte:02x}").expect("a string can be written to");
        }
        text
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|&[a, b]| Some(digit(a)? << 4 | digit(b)?))
            .collect();
        Some(Self::new(&bytes?))
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryKey({})", self.to_hex())
    }
}

/// An entry.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) key: EntryKey,
    /// The number of its DN.
    pub(super) dn: u32,
    pub(super) rank: Rank,
    /// Why it should be a principal and is none.
    pub(super) missing: Option<Missing>,
    /// Privileged only if it is by itself.
    pub(super) principal: Option<Principal>,
    /// Whether the DN serves as the name shown to people.
    pub(super) named_by_dn: bool,
    /// The numbers of its other names, sorted.
    pub(super) names: Box<[u32]>,
    /// What only groups have.
    pub(super) group: Option<Arc<Group>>,
}

/// What an entry lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Class,
    Id,
}

/// What is kept of a group beside its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The numbers of its member sources, sorted.
    pub(super) sources: Vec<u16>,
    /// The sources whose queries were not answered, sorted.
    pub(super) open: Vec<u16>,
    pub(super) queries: Vec<GroupQuery>,
    /// Whether the server returned its members in part.
    pub(super) cut: bool,
    /// What its reader says of the members that it lists.
    pub(super) unread: Option<PartialReason>,
    /// What its reader says of those that queries find, by their source.
    pub(super) unfound: BTreeMap<u16, PartialReason>,
}

/// What finds the members of a dynamic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupQuery {
    pub(super) source: u16,
    pub(super) texts: Vec<String>,
    pub(super) base: Option<String>,
}

impl Node {
    pub(super) fn kind(&self) -> Option<PrincipalKind> {
        self.principal.as_ref().map(|principal| principal.kind)
    }

    pub(super) fn sources(&self) -> &[u16] {
        self.group.as_deref().map_or(&[], |group| &group.sources)
    }
}
