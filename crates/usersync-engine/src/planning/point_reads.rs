//! Asking the target about single members, where it was read in part.

use std::collections::BTreeMap;

use usersync_connector::{ErrorKind, PresentMember};
use usersync_model::{NodeId, Scratch};

use super::pass::Task;
use crate::error::Result;
use crate::report::{FailedRead, ReadOf, is_out_of_order};
use crate::survey::Survey;

/// The point reads of one plan, however often it reads its containers.
#[derive(Debug)]
pub(super) struct PointReads {
    /// How many more there may be.
    left: usize,
    /// What was answered, for containers that are read once more.
    answered: BTreeMap<(usize, NodeId), Option<PresentMember>>,
    /// Why the target is asked no more.
    stopped: Option<FailedRead>,
}

impl PointReads {
    pub(super) fn new(left: usize) -> Self {
        Self {
            left,
            answered: BTreeMap::new(),
            stopped: None,
        }
    }

    /// The error that ended them, if one did.
    pub(super) fn stopped(self) -> Option<FailedRead> {
        self.stopped
    }

    /// Asks the target about the desired who were not seen in `places` that were read in part, as far as it allows. A target that is
    /// out of order is asked once; one that asked not to be called, never.
    pub(super) async fn ask(&mut self, task: &Task<'_>, survey: &mut Survey, places: &[usize]) -> Result<()> {
        let target = task.readers.target(&task.job.target)?;
        if !target.capabilities().point_read {
            return Ok(());
        }
        let of_target = ReadOf::Target(task.job.target.clone());
        let limited =
            |read: &FailedRead| read.what == of_target && read.kind == ErrorKind::RateLimited.code();
        let is_limited = survey.sources.failed.iter().any(limited);
        let mut scratch = Scratch::new();
        for &place in places {
            let mut goes_on = !is_limited;
            let sight = &survey.sights[place];
            if sight.rest.is_none() || sight.missing {
                continue;
            }
            let may_ask =
                |this: &Self| this.left > 0 && this.stopped.is_none() && !task.control.is_cancelled();
            if self.answered.is_empty() && !(goes_on && may_ask(self)) {
                return Ok(());
            }
            let resolved = survey.resolve(place, task.job, &mut scratch);
            for &id in &resolved.certain {
                let sight = &survey.sights[place];
                if sight.is_present(id) || sight.ours.binary_search(&id).is_ok() {
                    continue;
                }
                if let Some(member) = self.answered.get(&(place, id)) {
                    survey.sights[place].learn(id, member.clone());
                    continue;
                }
                if !goes_on || !may_ask(self) {
                    continue;
                }
                self.left -= 1;
                let principal = survey.graph().principal_ref(id);
                let container = &survey.containers[place].id.object;
                match target.member(container, &principal, task.context).await {
                    Ok(member) => {
                        survey.sights[place].learn(id, member.clone());
                        self.answered.insert((place, id), member);
                    }
                    Err(error) if is_out_of_order(error.kind()) => {
                        self.stopped = Some(FailedRead::target(&task.job.target, &error));
                    }
                    Err(_) => goes_on = false,
                }
            }
        }
        Ok(())
    }
}
