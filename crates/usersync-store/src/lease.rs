//! Leases: who may work on what, for how long.

use chrono::{DateTime, Utc};
use usersync_model::TenantId;

use crate::key::Key;

/// Names what is leased: within a tenant, a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// The tenant.
    pub tenant: TenantId,
    /// What is leased.
    pub key: Key,
}

/// Rises with every new holder of a lease. Of one under which something was committed, no other holder of that name ever has the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(pub u64);

/// A lease held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub name: LeaseName,
    /// By which token.
    pub token: FencingToken,
    /// Until when, by the store's clock.
    pub expires: DateTime<Utc>,
}

impl Lease {
    /// What a transaction shows to be written under this lease.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence {
            name: self.name.clone(),
            token: self.token,
        }
    }
}

/// Shows under which lease of its tenant a transaction is written. It is refused once a higher token was given out, and once the
/// lease was released; a lease that merely expired still writes, as long as nobody else took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease.
    pub name: LeaseName,
    /// The writer's token.
    pub token: FencingToken,
}
