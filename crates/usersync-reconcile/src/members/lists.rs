//! Ascending lists of ids, read side by side.

use usersync_model::NodeId;

/// How many ids all three lists begin with.
pub(super) fn common_prefix(a: &[NodeId], b: &[NodeId], c: &[NodeId]) -> usize {
    // Whole blocks without an early exit are compared many ids at a time.
    const BLOCK: usize = 32;
    let are_equal = |((a, b), c): ((&[NodeId], &[NodeId]), &[NodeId])| {
        a.iter()
            .zip(b)
            .zip(c)
            .fold(true, |same, ((a, b), c)| same & (a == b) & (b == c))
    };
    let blocks = a
        .chunks_exact(BLOCK)
        .zip(b.chunks_exact(BLOCK))
        .zip(c.chunks_exact(BLOCK));
    let blocks = blocks.take_while(|blocks| are_equal(*blocks)).count() * BLOCK;
    let rest = a[blocks..].iter().zip(&b[blocks..]).zip(&c[blocks..]);
    blocks + rest.take_while(|((a, b), c)| a == b && b == c).count()
}

/// The unread part of an ascending list.
pub(super) struct Cursor<'a>(pub(super) &'a [NodeId]);

impl Cursor<'_> {
    pub(super) fn head(&self) -> Option<NodeId> {
        self.0.first().copied()
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }

    /// Whether `id` comes next; if so, it is read.
    pub(super) fn take(&mut self, id: NodeId) -> bool {
        let next = self.head() == Some(id);
        self.skip(usize::from(next));
        next
    }

    /// Whether the list has `id`; reads up to it.
    pub(super) fn skip_to(&mut self, id: NodeId) -> bool {
        while self.head().is_some_and(|head| head < id) {
            self.skip(1);
        }
        self.take(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use usersync_model::{DirectoryGraph, PrincipalRef};

    #[test]
    fn a_prefix_ends_at_the_first_difference_in_any_list() {
        let mut graph = DirectoryGraph::default();
        for n in 0..200 {
            graph.intern(&PrincipalRef::parse("dir", &format!("p{n}")).expect("an id"));
        }
        let ids: Vec<NodeId> = graph.nodes().collect();
        for len in [0, 1, 31, 32, 33, 64, 99] {
            let same = &ids[..len];
            assert_eq!(common_prefix(same, same, same), len);
            assert_eq!(common_prefix(same, &ids, &ids[..100]), len);
            for at in 0..len {
                let mut other = same.to_vec();
                other[at] = ids[150];
                assert_eq!(common_prefix(&other, same, same), at);
                assert_eq!(common_prefix(same, &other, same), at);
                assert_eq!(common_prefix(same, same, &other), at);
            }
            // Nowhere the same, each list in turn.
            let other = &ids[100..100 + len];
            assert_eq!(common_prefix(other, same, same), 0);
            assert_eq!(common_prefix(same, other, same), 0);
            assert_eq!(common_prefix(same, same, other), 0);
        }
    }
}
