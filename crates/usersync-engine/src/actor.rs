//! In whose name a run acts.

use usersync_connector::{Actor, ActorState, Authority};
use usersync_model::{PrincipalRef, TenantId};

use crate::error::Result;
use crate::job::Job;
use crate::ports::Readers;

/// Nobody may act: the owner is gone, and the host configured no administrator, or that one is gone too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NobodyActs {
    /// Whose successor is wanted.
    pub(crate) owner: PrincipalRef,
}

/// Who acts for the job as a whole, as of now.
pub(crate) async fn job_actor(
    readers: &Readers,
    job: &Job,
) -> Result<std::result::Result<Actor, NobodyActs>> {
    let actor = Actor {
        principal: job.owner.clone(),
        authority: Authority::JobOwner,
    };
    or_administrator(readers, &job.tenant, actor).await
}

/// Who acts for a container, as of now: its owner, without one the job's, and in place of either, once gone, the
/// administrator that the host configured.
pub(crate) async fn container_actor(
    readers: &Readers,
    job: &Job,
    owner: Option<&PrincipalRef>,
) -> Result<std::result::Result<Actor, NobodyActs>> {
    match owner {
        Some(owner) => {
            let actor = Actor {
                principal: owner.clone(),
                authority: Authority::ContainerOwner,
            };
            or_administrator(readers, &job.tenant, actor).await
        }
        None => job_actor(readers, job).await,
    }
}

async fn or_administrator(
    readers: &Readers,
    tenant: &TenantId,
    actor: Actor,
) -> Result<std::result::Result<Actor, NobodyActs>> {
    if readers.actors.state(tenant, &actor.principal).await? == ActorState::Active {
        return Ok(Ok(actor));
    }
    let nobody = NobodyActs {
        owner: actor.principal,
    };
    let Some(administrator) = readers.administrator.clone() else {
        return Ok(Err(nobody));
    };
    if readers.actors.state(tenant, &administrator).await? == ActorState::Active {
        Ok(Ok(Actor {
            principal: administrator,
            authority: Authority::Administrator,
        }))
    } else {
        Ok(Err(nobody))
    }
}
