//! Permission for what is held.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{Digest, JobId, PrincipalRef};

/// Permission for exactly the held operations of exactly one digest: single-use, and expiring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The job.
    pub job: JobId,
    /// The held set, as [`Plan::held_digest`](crate::Plan::held_digest) names it.
    pub held: Digest,
    /// The policy under which it was given; another policy voids it.
    pub policy: Digest,
    /// Who gave it.
    pub by: PrincipalRef,
    /// When.
    pub granted: DateTime<Utc>,
    /// From when on it has no effect.
    pub expires: DateTime<Utc>,
}

impl Approval {
    /// Whether it has an effect at `now` for plans of `job` under `policy`.
    #[must_use]
    pub fn is_valid(&self, job: &JobId, policy: &Digest, now: DateTime<Utc>) -> bool {
        self.job == *job && self.policy == *policy && self.granted <= now && now < self.expires
    }
}
