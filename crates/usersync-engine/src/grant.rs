//! What an approval let go and is not known to be done yet.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{ContainerRef, Digest, Subject};
use usersync_reconcile::Plan;

/// The operations that an approval let go. The approval is used up when a run takes it; this keeps what it allowed for the run
/// that follows a crash, a cancellation or a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    policy: Digest,
    expires: DateTime<Utc>,
    subjects: Vec<(ContainerRef, BTreeSet<Subject>)>,
}

impl Grant {
    /// What is approved in `plan`; `None` if nothing is.
    pub(crate) fn of(plan: &Plan, expires: DateTime<Utc>) -> Option<Self> {
        let mut subjects = Vec::new();
        for section in plan.sections() {
            let approved = section.operations.iter().filter(|operation| operation.approved);
            let approved: BTreeSet<Subject> = approved.map(|operation| operation.subject.clone()).collect();
            if !approved.is_empty() {
                subjects.push((section.container.clone(), approved));
            }
        }
        let policy = plan.header().policy;
        (!subjects.is_empty()).then_some(Self {
            policy,
            expires,
            subjects,
        })
    }

    /// What is left of it once some of it is done; `None` if nothing is.
    pub(crate) fn without(&self, is_done: impl Fn(&ContainerRef, &Subject) -> bool) -> Option<Self> {
        let mut left = self.clone();
        for (container, subjects) in &mut left.subjects {
            subjects.retain(|subject| !is_done(container, subject));
        }
        left.subjects.retain(|(_, subjects)| !subjects.is_empty());
        (!left.subjects.is_empty()).then_some(left)
    }

    /// Both, for as long as the one that ends first. Of one policy.
    pub(crate) fn and(self, other: Self) -> Self {
        let mut subjects = self.by_container();
        for (container, more) in other.subjects {
            subjects.entry(container).or_default().extend(more);
        }
        Self {
            policy: self.policy,
            expires: self.expires.min(other.expires),
            subjects: subjects.into_iter().collect(),
        }
    }

    /// Whether it has an effect at `now` under `policy`.
    pub(crate) fn is_valid(&self, policy: &Digest, now: DateTime<Utc>) -> bool {
        self.policy == *policy && now < self.expires
    }

    pub(crate) fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    pub(crate) fn by_container(&self) -> BTreeMap<ContainerRef, BTreeSet<Subject>> {
        self.subjects.iter().cloned().collect()
    }
}
