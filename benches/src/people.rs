//! What plans tell about people, from a graph.

use usersync_model::{DirectoryGraph, NodeId, PrincipalRef};
use usersync_reconcile::{People, Reason};

/// The people of a graph, none of whom is excluded.
#[derive(Debug)]
pub struct Names<'a>(pub &'a DirectoryGraph);

impl People for Names<'_> {
    fn principal(&self, id: NodeId) -> PrincipalRef {
        self.0.principal_ref(id)
    }

    fn label(&self, id: NodeId) -> String {
        self.0.node(id).name().to_owned()
    }

    fn is_privileged(&self, id: NodeId) -> bool {
        self.0.node(id).privileged()
    }

    fn version(&self, _: NodeId) -> Option<String> {
        None
    }

    fn absence(&self, _: NodeId) -> Reason {
        Reason::NotSelected
    }
}
