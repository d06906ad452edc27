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

    fn absorb(&mut self, other: Self) {
        for (subject, codes) in other.0 {
            self.0.entry(subject).or_default().extend(codes);
        }
    }

    pub(crate) fn covers(&self, operation: &Operation) -> bool {
        let codes = self.0.get(&operation.subject);
        codes.is_some_and(|codes| codes.contains(operation.action.code()))
    }
}

/// The operations that approvals let go. An approval is used up when a run takes it; this keeps what it allowed for the run
/// that follows a crash, a cancellation or a failure, and for no longer than it was given for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Grant {
    policy: Digest,
    /// By the times at which the approvals end; never empty.
    parts: BTreeMap<DateTime<Utc>, Part>,
}

type Part = BTreeMap<ContainerRef, Allowed>;

/// A [`Grant`] as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    policy: Digest,
    expires: DateTime<Utc>,
    allowed: StoredPart,
    /// What ends later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    later: Vec<(DateTime<Utc>, StoredPart)>,
}

type StoredPart = Vec<(ContainerRef, Allowed)>;

impl From<Stored> for Grant {
    fn from(stored: Stored) -> Self {
        let first = (stored.expires, stored.allowed);
        let parts = [first].into_iter().chain(stored.later);
        Self {
            policy: stored.policy,
            parts: parts
                .map(|(expires, allowed)| (expires, allowed.into_iter().collect()))
                .collect(),
        }
    }
}

impl From<Grant> for Stored {
    fn from(grant: Grant) -> Self {
        let parts = grant.parts.into_iter();
        let mut parts = parts.map(|(expires, part)| (expires, part.into_iter().collect()));
        let (expires, allowed) = parts.next().unwrap_or_default();
        Self {
            policy: grant.policy,
            expires,
            allowed,
            later: parts.collect(),
        }
    }
}

impl Grant {
    /// What is approved in `plan`; `None` if nothing is. What `before` let go stays so for as long as it was, and all else until the new
    /// approval ends.
    pub(crate) fn of(plan: &Plan, before: Option<&Self>, new: Option<DateTime<Utc>>) -> Option<Self> {
        let mut parts: BTreeMap<DateTime<Utc>, Part> = BTreeMap::new();
        for section in plan.sections() {
            let operations = section.operations.iter();
            for operation in operations.filter(|operation| operation.approved) {
                let known = before.and_then(|before| before.until(&section.container, operation));
                if let Some(until) = known.or(new) {
                    let part = parts.entry(until).or_default();
                    let allowed = part.entry(section.container.clone()).or_default();
                    allowed.insert(operation);
                }
            }
        }
        Self::with(plan.header().policy, parts)
    }

    fn with(policy: Digest, parts: BTreeMap<DateTime<Utc>, Part>) -> Option<Self> {
        (!parts.is_empty()).then_some(Self { policy, parts })
    }

    /// Until when `operation` is let go, if it is.
    fn until(&self, container: &ContainerRef, operation: &Operation) -> Option<DateTime<Utc>> {
        let covers = |part: &Part| {
            part.get(container)
                .is_some_and(|allowed| allowed.covers(operation))
        };
        let mut latest = self.parts.iter().rev();
        latest.find(|(_, part)| covers(part)).map(|(until, _)| *until)
    }

    /// What is left of it once some of it is done; `None` if nothing is.
    pub(crate) fn without(&self, is_done: impl Fn(&ContainerRef, &Subject) -> bool) -> Option<Self> {
        let mut parts = self.parts.clone();
        for part in parts.values_mut() {
            for (container, allowed) in part.iter_mut() {
                allowed.0.retain(|subject, _| !is_done(container, subject));
            }
            part.retain(|_, allowed| !allowed.0.is_empty());
        }
        parts.retain(|_, part| !part.is_empty());
        Self::with(self.policy, parts)
    }

    /// Both, each for as long as it lasts. Of one policy.
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (until, part) in other.parts {
            let here = self.parts.entry(until).or_default();
            for (container, more) in part {
                here.entry(container).or_default().absorb(more);
            }
        }
        self
    }

    /// What of it has an effect at `now` under `policy`; `None` if nothing has.
    pub(crate) fn valid(&self, policy: &Digest, now: DateTime<Utc>) -> Option<Self> {
        let mut parts = self.parts.clone();
        parts.retain(|until, _| now < *until);
        Self::with(self.policy, parts).filter(|grant| grant.policy == *policy)
    }

    pub(crate) fn by_container(&self) -> BTreeMap<ContainerRef, Allowed> {
        let mut allowed = Part::new();
        for (container, part) in self.parts.values().flatten() {
            allowed.entry(container.clone()).or_default().absorb(part.clone());
        }
        allowed
    }
}
