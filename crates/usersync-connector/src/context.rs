//! For whom and by whom a call is made.

use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{JobId, PrincipalRef, TenantId};

/// Passed to every call: the tenant and job it serves and the actor in whose name it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallContext {
    /// The tenant.
    pub tenant: TenantId,
    /// The job.
    pub job: JobId,
    /// Who acts.
    pub actor: Actor,
}

/// Who acts, and by what right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Who acts.
    pub principal: PrincipalRef,
    /// By what right.
    pub authority: Authority,
}

/// By what right an actor acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// The administrator that the host configured, because the owner is deleted or inactive.
    Administrator,
    /// The owner of the container.
    ContainerOwner,
    /// The owner of the job.
    JobOwner,
}

impl Authority {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::ContainerOwner => "container_owner",
            Self::JobOwner => "job_owner",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.authority {
            Authority::Administrator => write!(f, "administrator {}", self.principal),
            Authority::ContainerOwner => write!(f, "container owner {}", self.principal),
            Authority::JobOwner => write!(f, "job owner {}", self.principal),
        }
    }
}
