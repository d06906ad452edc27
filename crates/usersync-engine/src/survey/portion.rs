//! Reading containers in portions, and letting go of what was read.

use futures::TryStreamExt;
use usersync_connector::CallContext;
use usersync_model::Subject;
use usersync_reconcile::{Plan, Section};

use super::{Sight, Survey};
use crate::error::Result;
use crate::event::RunControl;
use crate::job::Job;
use crate::ports::Readers;

impl Survey {
    /// Whether containers are read in portions.
    pub(crate) fn is_portioned(&self) -> bool {
        self.weights.is_some()
    }

    /// Cuts `places` into portions: all of them in one, unless they are read in portions.
    pub(crate) fn portions(&self, places: Vec<usize>, limit: u64) -> Vec<Vec<usize>> {
        let Some(weights) = &self.weights else {
            return vec![places];
        };
        let mut portions: Vec<Vec<usize>> = Vec::new();
        let mut left = 0;
        for place in places {
            if weights[place] > left || portions.is_empty() {
                portions.push(Vec::new());
                left = limit;
            }
            left = left.saturating_sub(weights[place]);
            if let Some(portion) = portions.last_mut() {
                portion.push(place);
            }
        }
        portions
    }

    /// Forgets what reading containers found, to read them again.
    pub(crate) fn forget_found(&mut self) {
        self.found = self.found.emptied();
        self.sources.failed.truncate(self.failed);
    }

    /// Reads a portion: first the ledger, then the target.
    pub(crate) async fn load(
        &mut self,
        readers: &Readers,
        job: &Job,
        places: &[usize],
        context: &CallContext,
        control: &RunControl,
    ) -> Result<()> {
        for &place in places {
            self.sights[place] = Sight::default();
        }
        let containers = places.iter().map(|place| self.containers[*place].id.clone());
        let mut chunks = readers.state.ledger(&job.tenant, Some(containers.collect()));
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                if let Subject::Principal(principal) = entry.key.subject
                    && let Some(place) = self.place(&entry.key.container)
                {
                    let id = self.sources.intern(&principal);
                    self.sights[place].push_row(id, entry.row, entry.revision, &job.id);
                }
            }
        }
        for &place in places {
            self.sights[place].settle_rows();
        }
        self.read_members(readers, job, places, context, control).await
    }

    /// Lets go of what was read of a container that is planned, but for what applying `section` takes.
    pub(crate) fn shrink(&mut self, place: usize, section: Option<&Section>) {
        let graph = self.sources.graph();
        let mut named = Vec::new();
        if let Some(section) = section {
            let operations = section.operations.iter();
            let held = section.holds.iter().map(|hold| &hold.operation);
            let subjects = operations.chain(held).map(|operation| &operation.subject);
            let subjects = subjects.chain(section.ledger.iter().map(|change| &change.subject));
            named.extend(subjects.filter_map(|subject| graph.find(subject.principal()?)));
            named.sort_unstable();
        }
        self.sights[place].shrink(&named);
    }

    /// Lets go of what was read of all containers, but for what applying `plan` takes.
    pub(crate) fn shrink_all(&mut self, plan: &Plan) {
        let mut sections = plan.sections().iter().peekable();
        for place in 0..self.containers.len() {
            // Both are in the order of the containers.
            let section = sections.next_if(|section| section.container == self.containers[place].id);
            self.shrink(place, section);
        }
    }
}
