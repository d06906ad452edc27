//! Runs that a change feed asks for.

use usersync_model::{JobId, SystemId, TenantId};

use super::state::Wish;
use crate::engine::Engine;
use crate::error::Result;
use crate::job::{Scope, Trigger};
use crate::order::in_order;

impl Engine {
    /// Notes that something changed in a directory, or in another system: every job of the tenant that
    /// [follows](crate::Job::follows) it is due at once, if nothing keeps it [waiting](crate::Waiting), and otherwise after that.
    /// Answers which jobs these are, those that fill what others read first.
    /// Nothing is run by this call: [`run_due`](Self::run_due), or a runner, does.
    ///
    /// Any number of changes until a run begins are one run, and those that come while it is under way are one more. For hosts
    /// and connectors whose directory tells of changes, as often as it does.
    ///
    /// # Errors
    /// When the store fails; some of the jobs may be due then, and noting the change again does no harm.
    pub async fn changed(&self, tenant: &TenantId, system: &SystemId) -> Result<Vec<JobId>> {
        let wish = Wish {
            scope: Scope::Everything,
            trigger: Trigger::Change,
            since: self.now(),
        };
        let mut noted = Vec::new();
        for job in in_order(self.jobs(tenant).await?) {
            if job.follows(system) {
                self.change(&job, None, |state| Ok((state.want(wish.clone()), None)))
                    .await?;
                noted.push(job.id);
            }
        }
        Ok(noted)
    }
}
