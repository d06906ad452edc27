//! Who a selection stands for.

use serde::{Deserialize, Serialize};

use super::bits::{SparseBits, each_bit};
use super::walk::{Scratch, Survey};
use super::{DirectoryGraph, NodeId};
use crate::completeness::PartialReason;
use crate::id::PrincipalRef;
use crate::selection::Selection;

/// How selections are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResolvePolicy {
    /// What becomes of users and resources that are inactive.
    pub inactive: Inactive,
    /// Whether resources are members like users; else they are left out like inactive principals.
    pub resources: bool,
    /// What a member means that a group names and a complete read of its system did not show.
    pub unknown_members: UnknownMembers,
}

impl Default for ResolvePolicy {
    fn default() -> Self {
        Self {
            inactive: Inactive::default(),
            resources: true,
            unknown_members: UnknownMembers::default(),
        }
    }
}

/// What becomes of users and resources that are inactive. An inactive group is expanded in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inactive {
    /// They are left out.
    #[default]
    Drop,
    /// They are members like the active ones.
    Keep,
}

/// What a member means that a group names and a complete read of its system did not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownMembers {
    /// Nothing: a stale name.
    Ignore,
    /// The group is not fully known: it may name a group that the reader may not see.
    #[default]
    Partial,
}

/// Who a selection stands for, as far as the directory is known.
///
/// The lists are ascending and have nobody in common. They hold only who was reached from the included picks, however
/// much is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Selected for sure: reached from the included picks, shown, wanted by the policy, and surely not excluded.
    pub certain: Vec<NodeId>,
    /// Reached from the included picks, but they may be excluded, or were never shown by a system that was
    /// read in part.
    pub maybe: Vec<NodeId>,
    /// Everyone else. Where this is unknown, [`DirectoryGraph::denied`] tells who is surely not selected all the
    /// same.
    pub rest: Rest,
    /// Why there is a `maybe`: the smallest reason; `None` where there is none.
    pub maybe_reason: Option<PartialReason>,
    /// Picks, of both sides, that a complete system does not have. They contribute nobody.
    pub missing: Vec<PrincipalRef>,
}

/// What is known about principals that a resolution does not list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rest {
    /// They are surely not selected.
    Absent,
    /// They may be selected: something that the selection reaches was not read in full. The smallest reason.
    Unknown(PartialReason),
}

/// Whether a principal is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Surely not.
    No,
    /// Nobody knows yet.
    Unknown,
    /// Surely.
    Yes,
}

impl Rest {
    /// How a principal stands that is not listed.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Self::Absent => Standing::No,
            Self::Unknown(_) => Standing::Unknown,
        }
    }

    /// Why it is unknown.
    #[must_use]
    pub fn reason(&self) -> Option<&PartialReason> {
        match self {
            Self::Absent => None,
            Self::Unknown(reason) => Some(reason),
        }
    }

    pub(super) fn from_reason(reason: Option<PartialReason>) -> Self {
        reason.map_or(Self::Absent, Self::Unknown)
    }
}

impl Standing {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }
}

impl Resolved {
    /// How `node` stands. `denied` is what [`DirectoryGraph::denied`] says about this selection when `node` is among
    /// those in question; it matters only where the rest is unknown, and without it `node` may be called unknown, never
    /// selected or not, wrongly. O(log n).
    #[must_use]
    pub fn standing(&self, node: NodeId, denied: &[NodeId]) -> Standing {
        if self.certain.binary_search(&node).is_ok() {
            Standing::Yes
        } else if self.maybe.binary_search(&node).is_ok() {
            Standing::Unknown
        } else if denied.binary_search(&node).is_ok() {
            Standing::No
        } else {
            self.rest.standing()
        }
    }
}

impl DirectoryGraph {
    /// Who `selection` stands for: the least fixpoint of its included picks minus that of its excluded ones,
    /// groups being expanded to any depth, through cycles, each once.
    ///
    /// What is not known for sure is told apart: see [`Resolved`]. A group that was read in part, or whose system
    /// was, makes the rest unknown wherever it is reached; on the excluded side it makes all of the included
    /// uncertain.
    ///
    /// O(V+E) of what is reached; where that is much, one bit per principal of the graph is read beside.
    #[must_use]
    pub fn resolve(&self, selection: &Selection, policy: &ResolvePolicy, scratch: &mut Scratch) -> Resolved {
        let (include, exclude) = self.survey(selection, policy, scratch);
        let bound = scratch.gather(self);
        let mut resolved = Resolved {
            certain: Vec::new(),
            maybe: Vec::new(),
            rest: Rest::from_reason(include.partial),
            maybe_reason: None,
            missing: Vec::new(),
        };
        self.sort_out(policy, (bound, exclude.partial), scratch, &mut resolved);
        scratch.exclude.found.drain(|_, _| {});
        resolved.missing = merged(include.missing, exclude.missing);
        resolved
    }

    /// Those `among`, ascending, who are surely not selected whatever was not read: excluded, or unwanted by the policy
    /// as they were shown. In the order of `among`.
    ///
    /// Says more than [`Resolved`] only where its rest is unknown. Nobody could say it of everyone at the cost of the
    /// selection: whoever is inactive is denied by every selection.
    ///
    /// O(V+E) of what is reached from the excluded picks, and `among`.
    #[must_use]
    pub fn denied(
        &self,
        selection: &Selection,
        policy: &ResolvePolicy,
        scratch: &mut Scratch,
        among: &[NodeId],
    ) -> Vec<NodeId> {
        let excluded = scratch.exclude.reach(self, &selection.exclude, policy);
        let (mut at, mut word) = (usize::MAX, 0);
        let is_denied = |node: &&NodeId| {
            // Those in question lie close together, so that few words are looked up.
            if at != node.index() >> 6 {
                at = node.index() >> 6;
                word = excluded.word(at) | self.leaves.unwanted_word(policy, at);
            }
            word >> (node.0 & 63) & 1 == 1
        };
        let denied = among.iter().filter(is_denied).copied().collect();
        excluded.drain(|_, _| {});
        denied
    }

    /// Who `selection` stands for, and how `node` stands.
    pub(super) fn resolve_for(
        &self,
        selection: &Selection,
        policy: &ResolvePolicy,
        node: NodeId,
    ) -> (Resolved, Standing) {
        let mut scratch = Scratch::new();
        let resolved = self.resolve(selection, policy, &mut scratch);
        let denied = self.denied(selection, policy, &mut scratch, &[node]);
        let standing = resolved.standing(node, &denied);
        (resolved, standing)
    }

    /// Those reached from the excluded picks who are not unwanted anyway; ascending.
    pub(super) fn excluded(
        &self,
        selection: &Selection,
        policy: &ResolvePolicy,
        scratch: &mut Scratch,
    ) -> Vec<NodeId> {
        let mut excluded = Vec::new();
        let found = scratch.exclude.reach(self, &selection.exclude, policy);
        found.drain(|at, word| {
            each_bit(at, word & !self.leaves.unwanted_word(policy, at), |node| {
                excluded.push(NodeId(node))
            });
        });
        excluded
    }

    pub(super) fn survey(
        &self,
        selection: &Selection,
        policy: &ResolvePolicy,
        scratch: &mut Scratch,
    ) -> (Survey, Survey) {
        let include = scratch.include.walk(self, &selection.include, policy);
        let exclude = scratch.exclude.walk(self, &selection.exclude, policy);
        (include, exclude)
    }

    fn sort_out(
        &self,
        policy: &ResolvePolicy,
        (bound, doubt): (usize, Option<PartialReason>),
        scratch: &mut Scratch,
        resolved: &mut Resolved,
    ) {
        let Scratch { include, exclude } = scratch;
        let wanted = self.leaves.wanted(policy);
        let selected = if exclude.found.is_empty() {
            select(&mut include.found, bound, |at| wanted.word(at))
        } else {
            select(&mut include.found, bound, |at| {
                wanted.word(at) & !exclude.found.word(at)
            })
        };
        match doubt {
            Some(reason) if !selected.is_empty() => {
                resolved.maybe = selected;
                resolved.maybe_reason = Some(reason);
            }
            _ => resolved.certain = selected,
        }
        self.add_unseen(
            include
                .unseen
                .iter()
                .copied()
                .filter(|&node| !exclude.found.contains(node)),
            resolved,
        );
    }

    /// Members that a system read in part did not show may be anything, or inactive.
    fn add_unseen(&self, unseen: impl Iterator<Item = u32>, resolved: &mut Resolved) {
        let before = resolved.maybe.len();
        for node in unseen {
            let Some(reason) = &self.node_system(node).partial else {
                continue;
            };
            resolved.maybe.push(NodeId(node));
            if resolved
                .maybe_reason
                .as_ref()
                .is_none_or(|smallest| reason < smallest)
            {
                resolved.maybe_reason = Some(reason.clone());
            }
        }
        if resolved.maybe.len() > before {
            resolved.maybe.sort_unstable();
        }
    }
}

/// Empties `found`, which has at most `bound` numbers, into the list of those that `keep` has too; `keep` tells its words.
fn select(found: &mut SparseBits, bound: usize, keep: impl Fn(usize) -> u64) -> Vec<NodeId> {
    // A branch that depends on how many results a word holds is mispredicted. So some are written whether they are there or not;
    // what was written too much is overwritten or cut off.
    const AT_ONCE: usize = 4;
    let first = |at: usize, word: u64| NodeId(((at as u32) << 6) + (word | 1 << 63).trailing_zeros());
    let mut room = vec![NodeId(0); bound + AT_ONCE];
    let (selected, mut len) = (room.as_mut_slice(), 0);
    if found.expects_all() {
        found.drain(|at, word| {
            let mut word = word & keep(at);
            let mut next = len;
            len += word.count_ones() as usize;
            while next < len {
                for place in &mut selected[next..next + AT_ONCE] {
                    *place = first(at, word);
                    word &= word.wrapping_sub(1);
                }
                next += AT_ONCE;
            }
        });
    } else {
        // Most words hold one or two.
        found.drain(|at, word| {
            let mut word = word & keep(at);
            for _ in 0..2 {
                selected[len] = first(at, word);
                len += usize::from(word != 0);
                word &= word.wrapping_sub(1);
            }
            each_bit(at, word, |node| {
                selected[len] = NodeId(node);
                len += 1;
            });
        });
    }
    room.truncate(len);
    room
}

pub(super) fn merged(mut left: Vec<PrincipalRef>, right: Vec<PrincipalRef>) -> Vec<PrincipalRef> {
    if !right.is_empty() {
        left.extend(right);
        left.sort_unstable();
        left.dedup();
    }
    left
}
