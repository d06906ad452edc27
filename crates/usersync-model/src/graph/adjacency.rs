//! Sorted rows of numbers: compact where nothing changed, with small overlays where something did.

use std::collections::{BTreeSet, btree_set};
use std::iter::Peekable;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

/// The fewest changes that are worth a compaction.
const MIN_CHANGES: usize = 4096;

/// Edges by their origin. A change costs O(log n); a compaction costs O(edges) once per edges/8 changes.
/// Clones share the compact part.
#[derive(Clone, Debug, Default)]
pub(super) struct Adjacency {
    base: Arc<Csr>,
    deltas: HashMap<u32, Delta, RandomState>,
    changes: usize,
}

#[derive(Clone, Debug, Default)]
struct Delta {
    added: BTreeSet<u32>,
    removed: BTreeSet<u32>,
}

impl Adjacency {
    pub(super) fn new(base: Csr) -> Self {
        Self {
            base: Arc::new(base),
            ..Self::default()
        }
    }

    pub(super) fn row(&self, from: u32) -> Row<'_> {
        let base = self.base.row(from);
        match self.delta(from) {
            None => Row::Plain(base.iter()),
            Some(delta) => Row::Merged(Merged {
                base: base.iter().peekable(),
                added: delta.added.iter().peekable(),
                removed: delta.removed.iter().peekable(),
            }),
        }
    }

    /// The row as a slice, where nothing in it changed since the last compaction.
    pub(super) fn plain_row(&self, from: u32) -> Option<&[u32]> {
        match self.delta(from) {
            None => Some(self.base.row(from)),
            Some(_) => None,
        }
    }

    pub(super) fn row_len(&self, from: u32) -> usize {
        let base = self.base.row(from).len();
        match self.delta(from) {
            None => base,
            Some(delta) => base + delta.added.len() - delta.removed.len(),
        }
    }

    pub(super) fn contains(&self, from: u32, to: u32) -> bool {
        match self.delta(from) {
            Some(delta) if delta.added.contains(&to) => true,
            Some(delta) if delta.removed.contains(&to) => false,
            _ => self.base.contains(from, to),
        }
    }

    /// Adds the edge; whether it was absent.
    pub(super) fn insert(&mut self, from: u32, to: u32) -> bool {
        if self.contains(from, to) {
            return false;
        }
        let delta = self.deltas.entry(from).or_default();
        if delta.removed.remove(&to) {
            self.changes -= 1;
            self.forget_if_empty(from);
        } else {
            delta.added.insert(to);
            self.changes += 1;
            self.compact_if_due();
        }
        true
    }

    /// Removes the edge; whether it was present.
    pub(super) fn remove(&mut self, from: u32, to: u32) -> bool {
        if !self.contains(from, to) {
            return false;
        }
        let delta = self.deltas.entry(from).or_default();
        if delta.added.remove(&to) {
            self.changes -= 1;
            self.forget_if_empty(from);
        } else {
            delta.removed.insert(to);
            self.changes += 1;
            self.compact_if_due();
        }
        true
    }

    fn delta(&self, from: u32) -> Option<&Delta> {
        if self.deltas.is_empty() {
            return None;
        }
        self.deltas.get(&from)
    }

    fn forget_if_empty(&mut self, from: u32) {
        if self
            .deltas
            .get(&from)
            .is_some_and(|delta| delta.added.is_empty() && delta.removed.is_empty())
        {
            self.deltas.remove(&from);
        }
    }

    fn compact_if_due(&mut self) {
        if self.changes < MIN_CHANGES.max(self.base.targets.len() / 8) {
            return;
        }
        let last = self
            .deltas
            .keys()
            .copied()
            .max()
            .map_or(0, |last| last as usize + 1);
        let rows = self.base.rows().max(last);
        let mut compact = Csr {
            offsets: Vec::with_capacity(rows + 1),
            targets: Vec::with_capacity(self.base.targets.len() + self.changes),
        };
        compact.offsets.push(0);
        for from in 0..rows {
            compact.targets.extend(self.row(from as u32));
            compact.offsets.push(compact.targets.len() as u32);
        }
        compact.targets.shrink_to_fit();
        *self = Self::new(compact);
    }
}

/// Rows behind each other in one vector; each ascending, without repetition.
#[derive(Clone, Debug, Default)]
pub(super) struct Csr {
    offsets: Vec<u32>,
    targets: Vec<u32>,
}

impl Csr {
    /// Rows of `edges`, which may come in any order and repeat; fewer than 2^32 of them.
    pub(super) fn build(edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut csr = Self::scatter(edges);
        let mut write = 0;
        let mut start = 0;
        for at in 1..csr.offsets.len() {
            let end = csr.offsets[at] as usize;
            csr.targets[start..end].sort_unstable();
            let row = write;
            for read in start..end {
                let target = csr.targets[read];
                if write == row || csr.targets[write - 1] != target {
                    csr.targets[write] = target;
                    write += 1;
                }
            }
            csr.offsets[at] = write as u32;
            start = end;
        }
        csr.targets.truncate(write);
        csr.targets.shrink_to_fit();
        csr
    }

    /// The rows of `parts` turned round; a pair occurs in one part only.
    pub(super) fn reversed(parts: [&Self; 2]) -> Self {
        let rows = parts[0].rows().max(parts[1].rows());
        Self::scatter((0..rows as u32).flat_map(move |from| {
            parts
                .into_iter()
                .flat_map(move |part| part.row(from).iter().map(move |&to| (to, from)))
        }))
    }

    pub(super) fn row(&self, from: u32) -> &[u32] {
        let from = from as usize;
        match (self.offsets.get(from), self.offsets.get(from + 1)) {
            (Some(&start), Some(&end)) => &self.targets[start as usize..end as usize],
            _ => &[],
        }
    }

    fn contains(&self, from: u32, to: u32) -> bool {
        self.row(from).binary_search(&to).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Keeps the order of `edges` within each row.
    fn scatter(edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut offsets = vec![0_u32];
        for (from, _) in edges.clone() {
            let at = from as usize + 1;
            if offsets.len() <= at {
                offsets.resize(at + 1, 0);
            }
            offsets[at] += 1;
        }
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut targets = vec![0; offsets[offsets.len() - 1] as usize];
        let mut next = offsets.clone();
        for (from, to) in edges {
            let slot = &mut next[from as usize];
            targets[*slot as usize] = to;
            *slot += 1;
        }
        Self { offsets, targets }
    }
}

/// One row, ascending.
#[derive(Clone, Debug)]
pub(super) enum Row<'a> {
    Merged(Merged<'a>),
    Plain(std::slice::Iter<'a, u32>),
}

#[derive(Clone, Debug)]
pub(super) struct Merged<'a> {
    base: Peekable<std::slice::Iter<'a, u32>>,
    added: Peekable<btree_set::Iter<'a, u32>>,
    removed: Peekable<btree_set::Iter<'a, u32>>,
}

impl Iterator for Row<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Merged(merged) => merged.next(),
            Self::Plain(row) => row.next().copied(),
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while let (Some(base), Some(removed)) = (self.base.peek(), self.removed.peek()) {
            if base == removed {
                self.base.next();
                self.removed.next();
            } else {
                break;
            }
        }
        match (self.base.peek(), self.added.peek()) {
            (Some(base), Some(added)) if added < base => self.added.next().copied(),
            (None, _) => self.added.next().copied(),
            _ => self.base.next().copied(),
        }
    }
}

/// Two rows without a common number as one, ascending.
pub(super) fn union<'a>(left: Row<'a>, right: Row<'a>) -> impl Iterator<Item = u32> + 'a {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if b < a => right.next(),
        (None, _) => right.next(),
        _ => left.next(),
    })
}
