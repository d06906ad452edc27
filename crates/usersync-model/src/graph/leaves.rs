//! Who may be a result, by what a policy wants.

use super::bits::Bits;
use super::resolve::{Inactive, ResolvePolicy};

/// Users and resources, with one set for each policy, so that nothing is worked out while a selection is resolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaves {
    all: Bits,
    active: Bits,
    users: Bits,
    active_users: Bits,
}

/// What a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) active: bool,
    pub(super) resource: bool,
}

impl Leaves {
    /// Takes `node` for a leaf, or for none.
    pub(super) fn put(&mut self, node: u32, leaf: Option<Leaf>) {
        let is = |test: fn(Leaf) -> bool| leaf.is_some_and(test);
        self.all.put(node, leaf.is_some());
        self.active.put(node, is(|leaf| leaf.active));
        self.users.put(node, is(|leaf| !leaf.resource));
        self.active_users
            .put(node, is(|leaf| leaf.active && !leaf.resource));
    }

    pub(super) fn contains(&self, node: u32) -> bool {
        self.all.contains(node)
    }

    /// The leaves that the policy wants.
    pub(super) fn wanted(&self, policy: &ResolvePolicy) -> &Bits {
        match (policy.inactive, policy.resources) {
            (Inactive::Drop, true) => &self.active,
            (Inactive::Drop, false) => &self.active_users,
            (Inactive::Keep, true) => &self.all,
            (Inactive::Keep, false) => &self.users,
        }
    }

    /// The leaves among the nodes of the `at`-th word that the policy leaves out.
    pub(super) fn unwanted_word(&self, policy: &ResolvePolicy, at: usize) -> u64 {
        self.all.word(at) & !self.wanted(policy).word(at)
    }
}
