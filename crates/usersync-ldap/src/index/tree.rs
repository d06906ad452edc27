//! A set in order that shares with its clones what they have in common.

use std::sync::Arc;

/// Keys of a leaf, and blocks of a branch, at most. Small enough that copying one is cheap, large enough that keys
/// take little more than their own space.
const FULL: usize = 64;

/// A B+ tree of which changes copy the path to the leaf alone, and only where a clone shares it. All operations take
/// O(log n), iteration O(1) per key, cloning O(1).
#[derive(Clone, Debug)]
pub(super) struct Tree<K> {
    root: Arc<Block<K>>,
}

#[derive(Clone, Debug)]
enum Block<K> {
    Leaf(Vec<K>),
    Branch(Vec<Child<K>>),
}

#[derive(Clone, Debug)]
struct Child<K> {
    /// No key in it is less.
    least: K,
    block: Arc<Block<K>>,
}

impl<K: Copy + Ord> Tree<K> {
    /// The set of `keys`, which are sorted and without duplicates. Takes O(n).
    pub(super) fn from_sorted(keys: &[K]) -> Self {
        debug_assert!(keys.is_sorted_by(|a, b| a < b));
        let mut level: Vec<Child<K>> = keys
            .chunks(FULL)
            .map(|keys| Child {
                least: keys[0],
                block: Arc::new(Block::Leaf(keys.to_vec())),
            })
            .collect();
        while level.len() > 1 {
            level = level
                .chunks(FULL)
                .map(|blocks| Child {
                    least: blocks[0].least,
                    block: Arc::new(Block::Branch(blocks.to_vec())),
                })
                .collect();
        }
        level
            .pop()
            .map_or_else(Self::default, |root| Self { root: root.block })
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        let mut block = &self.root;
        loop {
            match &**block {
                Block::Leaf(keys) => return keys.binary_search(key).is_ok(),
                Block::Branch(blocks) => block = &blocks[place(blocks, key)].block,
            }
        }
    }

    /// Puts `key` in; whether it was not there.
    pub(super) fn insert(&mut self, key: K) -> bool {
        if self.contains(&key) {
            return false;
        }
        if let Some(right) = insert(&mut self.root, key) {
            let left = Child {
                least: first(&self.root).expect("what was split has keys"),
                block: Arc::clone(&self.root),
            };
            self.root = Arc::new(Block::Branch(vec![left, right]));
        }
        true
    }

    /// Takes `key` out; whether it was there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        if !self.contains(key) {
            return false;
        }
        remove(&mut self.root, key);
        loop {
            let only = match &*self.root {
                Block::Branch(blocks) if blocks.len() == 1 => Arc::clone(&blocks[0].block),
                Block::Branch(blocks) if blocks.is_empty() => Arc::default(),
                Block::Branch(_) | Block::Leaf(_) => return true,
            };
            self.root = only;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(&*self.root, Block::Leaf(keys) if keys.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = K> + '_ {
        let keys = first(&self.root).map_or(&[][..], |key| self.leaf(&key, true));
        Iter { tree: self, keys }
    }

    /// The keys that are not less than `from`, in order.
    pub(super) fn iter_from(&self, from: K) -> impl Iterator<Item = K> + '_ {
        Iter {
            tree: self,
            keys: self.leaf(&from, true),
        }
    }

    /// The part of a leaf that begins with the first key after `key`, or with `key` itself if `with` says so. Empty when
    /// there is none.
    fn leaf(&self, key: &K, with: bool) -> &[K] {
        let mut block = &*self.root;
        let mut next: Option<&Block<K>> = None;
        loop {
            match block {
                Block::Leaf(keys) => {
                    let from = keys.partition_point(|other| other < key || (!with && other == key));
                    if from < keys.len() {
                        return &keys[from..];
                    }
                    break;
                }
                Block::Branch(blocks) => {
                    let at = place(blocks, key);
                    next = blocks.get(at + 1).map(|child| &*child.block).or(next);
                    block = &blocks[at].block;
                }
            }
        }
        while let Some(Block::Branch(blocks)) = next {
            next = blocks.first().map(|child| &*child.block);
        }
        match next {
            Some(Block::Leaf(keys)) => keys,
            _ => &[],
        }
    }
}

impl<K> Default for Tree<K> {
    fn default() -> Self {
        Self { root: Arc::default() }
    }
}

impl<K> Default for Block<K> {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

struct Iter<'t, K> {
    tree: &'t Tree<K>,
    keys: &'t [K],
}

impl<K: Copy + Ord> Iterator for Iter<'_, K> {
    type Item = K;

    fn next(&mut self) -> Option<K> {
        let (&key, rest) = self.keys.split_first()?;
        self.keys = if rest.is_empty() {
            self.tree.leaf(&key, false)
        } else {
            rest
        };
        Some(key)
    }
}

/// The block in which `key` is, if it is anywhere.
fn place<K: Ord>(blocks: &[Child<K>], key: &K) -> usize {
    blocks
        .partition_point(|child| child.least <= *key)
        .saturating_sub(1)
}

fn first<K: Copy>(block: &Block<K>) -> Option<K> {
    match block {
        Block::Leaf(keys) => keys.first().copied(),
        Block::Branch(blocks) => blocks.first().map(|child| child.least),
    }
}

/// Goes as deep as the tree is high. Answers what was split off on the right.
fn insert<K: Copy + Ord>(block: &mut Arc<Block<K>>, key: K) -> Option<Child<K>> {
    let right = match Arc::make_mut(block) {
        Block::Leaf(keys) => {
            let at = keys.partition_point(|other| *other < key);
            keys.insert(at, key);
            Block::Leaf(split(keys)?)
        }
        Block::Branch(blocks) => {
            let at = place(blocks, &key);
            let child = &mut blocks[at];
            child.least = child.least.min(key);
            let right = insert(&mut child.block, key)?;
            blocks.insert(at + 1, right);
            Block::Branch(split(blocks)?)
        }
    };
    Some(Child {
        least: first(&right).expect("what was split off has keys"),
        block: Arc::new(right),
    })
}

fn split<T>(items: &mut Vec<T>) -> Option<Vec<T>> {
    (items.len() > FULL).then(|| items.split_off(items.len() / 2))
}

fn remove<K: Copy + Ord>(block: &mut Arc<Block<K>>, key: &K) {
    match Arc::make_mut(block) {
        Block::Leaf(keys) => {
            if let Ok(at) = keys.binary_search(key) {
                keys.remove(at);
            }
        }
        Block::Branch(blocks) => {
            let at = place(blocks, key);
            remove(&mut blocks[at].block, key);
            let here = blocks[at].block.len();
            if here == 0 {
                blocks.remove(at);
            } else if here < FULL / 4 {
                let left = if at + 1 < blocks.len() {
                    at
                } else {
                    at.saturating_sub(1)
                };
                join(blocks, left);
            }
        }
    }
}

/// Joins the block at `at` with the next one, if one is enough for both.
fn join<K: Copy>(blocks: &mut Vec<Child<K>>, at: usize) {
    let [left, right, ..] = &mut blocks[at..] else {
        return;
    };
    if left.block.len() + right.block.len() > FULL / 2 {
        return;
    }
    match (Arc::make_mut(&mut left.block), &*right.block) {
        (Block::Leaf(left), Block::Leaf(right)) => left.extend_from_slice(right),
        (Block::Branch(left), Block::Branch(right)) => left.extend_from_slice(right),
        // All leaves are equally deep.
        (Block::Leaf(_), Block::Branch(_)) | (Block::Branch(_), Block::Leaf(_)) => return,
    }
    blocks.remove(at + 1);
}

impl<K> Block<K> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(keys) => keys.len(),
            Self::Branch(blocks) => blocks.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against the set of the standard library; what was cloned before a change does not see it.
        #[test]
        fn is_a_set(
            first in prop::collection::btree_set(0u32..5000, 0..2000),
            steps in prop::collection::vec((any::<bool>(), 0u32..5000), 0..3000),
            from in 0u32..5000,
        ) {
            let sorted: Vec<u32> = first.iter().copied().collect();
            let before = Tree::from_sorted(&sorted);
            let mut tree = before.clone();
            let mut oracle: BTreeSet<u32> = first;
            for (begins, key) in steps {
                if begins {
                    prop_assert_eq!(tree.insert(key), oracle.insert(key));
                } else {
                    prop_assert_eq!(tree.remove(&key), oracle.remove(&key));
                }
                prop_assert_eq!(tree.contains(&key), begins);
            }
            prop_assert!(tree.iter().eq(oracle.iter().copied()));
            prop_assert!(tree.iter_from(from).eq(oracle.range(from..).copied()));
            prop_assert_eq!(tree.is_empty(), oracle.is_empty());
            prop_assert!(before.iter().eq(sorted));
        }
    }

    #[test]
    fn can_be_emptied() {
        let keys: Vec<u32> = (0..10_000).collect();
        for order in [keys.clone(), keys.iter().rev().copied().collect()] {
            let mut tree = Tree::from_sorted(&keys);
            for key in order {
                assert!(tree.remove(&key));
            }
            assert!(tree.is_empty());
            assert!(tree.insert(3));
            assert_eq!(tree.iter().collect::<Vec<_>>(), [3]);
        }
    }
}
