//! In which versions the members of a container were seen.

use std::ops::Range;

use usersync_model::NodeId;

/// In which version each member was seen. Most of them nobody asks for, so all are parts of one text.
#[derive(Debug, Default)]
pub(super) struct Versions {
    text: String,
    places: Vec<(NodeId, Range<usize>)>,
}

impl Versions {
    /// Takes in a version. [`settle`](Self::settle) is to follow.
    pub(super) fn push(&mut self, id: NodeId, version: &str) {
        let start = self.text.len();
        self.text.push_str(version);
        self.places.push((id, start..self.text.len()));
    }

    /// Sorts what came in any order. Of two versions of one member, the smaller one counts.
    pub(super) fn settle(&mut self) {
        let text = &self.text;
        if !self.places.is_sorted_by(|(one, _), (other, _)| one < other) {
            self.places.sort_by_key(|(id, place)| (*id, &text[place.clone()]));
            self.places.dedup_by_key(|(id, _)| *id);
        }
    }

    /// The version of a member, if the target told one.
    pub(super) fn of(&self, id: NodeId) -> Option<&str> {
        let at = self.places.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.text[self.places[at].1.clone()])
    }
}

#[cfg(test)]
mod tests {
    use usersync_model::{DirectoryGraph, PrincipalRef};

    use super::*;

    #[test]
    fn each_member_has_the_smallest_of_its_versions_in_whatever_order_they_come() {
        let mut graph = DirectoryGraph::default();
        let [ada, bob, cleo, dan] = ["ada", "bob", "cleo", "dan"]
            .map(|name| graph.intern(&PrincipalRef::parse("hr", name).expect("an id")));
        let mut versions = Versions::default();
        for (id, version) in [(dan, "b"), (ada, "9"), (dan, "a"), (cleo, ""), (ada, "10")] {
            versions.push(id, version);
        }
        versions.settle();
        let found = [ada, bob, cleo, dan].map(|id| versions.of(id));
        assert_eq!(found, [Some("10"), None, Some(""), Some("a")]);
    }
}
