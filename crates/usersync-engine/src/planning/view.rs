//! What a plan tells about people.

use std::cell::OnceCell;

use usersync_model::{
    Activity, Container, DirectoryGraph, Inactive, NodeId, PrincipalRef, Scratch, Selection,
};
use usersync_reconcile::{People, Reason};

use crate::job::Job;
use crate::survey::Sight;

/// What a plan tells about the people of one container.
pub(super) struct View<'a> {
    pub(super) graph: &'a DirectoryGraph,
    pub(super) job: &'a Job,
    pub(super) container: &'a Container,
    pub(super) sight: &'a Sight,
    /// Who the exclusions cover; found out only if somebody is to be removed.
    pub(super) excluded: OnceCell<Vec<NodeId>>,
}

impl People for View<'_> {
    fn principal(&self, id: NodeId) -> PrincipalRef {
        self.graph.principal_ref(id)
    }

    fn label(&self, id: NodeId) -> String {
        self.graph.node(id).name().to_owned()
    }

    fn is_privileged(&self, id: NodeId) -> bool {
        self.graph.node(id).privileged()
    }

    fn version(&self, id: NodeId) -> Option<String> {
        self.sight.version_of(id).map(str::to_owned)
    }

    fn absence(&self, id: NodeId) -> Reason {
        let node = self.graph.node(id);
        let excluded = || {
            self.excluded.get_or_init(|| {
                let exclusions = Selection::of(self.container.selection.exclude.iter().cloned());
                if exclusions.is_empty() {
                    return Vec::new();
                }
                self.graph
                    .resolve(&exclusions, &self.job.resolve, &mut Scratch::new())
                    .certain
            })
        };
        if self
            .sight
            .row(id, &self.job.id)
            .is_none_or(|row| !row.is_claimed_by(&self.job.id))
        {
            Reason::NotDesired
        } else if node.kind().is_none() {
            Reason::Departed
        } else if node.activity() == Activity::Inactive && self.job.resolve.inactive == Inactive::Drop {
            Reason::Inactive
        } else if excluded().binary_search(&id).is_ok() {
            Reason::Excluded
        } else {
            Reason::NotSelected
        }
    }
}
