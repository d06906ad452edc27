//! What an approval let go and is not known to be done yet.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{ContainerRef, Digest, Subject};
use usersync_reconcile::{Operation, Plan};

/// What is let go in one container: on whom or what, and what may be done there, by the codes of the actions. Who agreed that somebody
/// counts as ours did not agree that they go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Vec<(Subject, BTreeSet<String>)>",
    into = "Vec<(Subject, BTreeSet<String>)>"
)]
pub(crate) struct Allowed(BTreeMap<Subject, BTreeSet<String>>);

impl From<Vec<(Subject, BTreeSet<String>)>> for Allowed {
    fn from(stored: Vec<(Subject, BTreeSet<String>)>) -> Self {
        Self(stored.into_iter().collect())
    }
}

impl From<Allowed> for Vec<(Subject, BTreeSet<String>)> {
    fn from(allowed: Allowed) -> Self {
        allowed.0.into_iter().collect()
    }
}

impl Allowed {
    pub(crate) fn insert(&mut self, operation: &Operation) {
        let codes = self.0.entry(operation.subject.clone()).or_default();
        codes.insert(operation.action.code().to_owned());
    }

    pub(crate) fn covers(&self, operation: &Operation) -> bool {
        let codes = self.0.get(&operation.subject);
        codes.is_some_and(|codes| codes.contains(operation.action.code()))
    }
}

/// The operations that an approval let go. The approval is used up when a run takes it; this keeps what it allowed for the run
/// that follows a crash, a cancellation or a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    policy: Digest,
    expires: DateTime<Utc>,
    allowed: Vec<(ContainerRef, Allowed)>,
}

impl Grant {
    /// What is approved in `plan`; `None` if nothing is.
    pub(crate) fn of(plan: &Plan, expires: DateTime<Utc>) -> Option<Self> {
        let mut allowed = Vec::new();
        for section in plan.sections() {
            let mut approved = Allowed::default();
            let operations = section.operations.iter();
            for operation in operations.filter(|operation| operation.approved) {
                approved.insert(operation);
            }
            if !approved.0.is_empty() {
                allowed.push((section.container.clone(), approved));
            }
        }
        let policy = plan.header().policy;
        (!allowed.is_empty()).then_some(Self {
            policy,
            expires,
            allowed,
        })
    }

    /// What is left of it once some of it is done; `None` if nothing is.
    pub(crate) fn without(&self, is_done: impl Fn(&ContainerRef, &Subject) -> bool) -> Option<Self> {
        let mut left = self.clone();
        for (container, allowed) in &mut left.allowed {
            allowed.0.retain(|subject, _| !is_done(container, subject));
        }
        left.allowed.retain(|(_, allowed)| !allowed.0.is_empty());
        (!left.allowed.is_empty()).then_some(left)
    }

    /// Both, for as long as the one that ends first. Of one policy.
    pub(crate) fn and(self, other: Self) -> Self {
        let mut allowed = self.by_container();
        for (container, more) in other.allowed {
            let here = allowed.entry(container).or_default();
            for (subject, codes) in more.0 {
                here.0.entry(subject).or_default().extend(codes);
            }
        }
        Self {
            policy: self.policy,
            expires: self.expires.min(other.expires),
            allowed: allowed.into_iter().collect(),
        }
    }

    /// Whether it has an effect at `now` under `policy`.
    pub(crate) fn is_valid(&self, policy: &Digest, now: DateTime<Utc>) -> bool {
        self.policy == *policy && now < self.expires
    }

    pub(crate) fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    pub(crate) fn by_container(&self) -> BTreeMap<ContainerRef, Allowed> {
        self.allowed.iter().cloned().collect()
    }
}
