//! What our jobs know to be in place.

use std::sync::Arc;

use crate::id::{JobId, ObjectId, PrincipalRef, RecordRef, SystemId};
use crate::membership::MemberFacets;
use serde::{Deserialize, Serialize};

/// Who put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Somebody else: it is never removed by us, except in `Mirror` mode.
    Foreign,
    /// One of our jobs.
    Ours,
}

/// What the ledger knows of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerRow {
    /// Who put it there.
    pub origin: Origin,
    /// The jobs that want it there; sorted, without repetition. Shared, since a run that changes nothing reads every row.
    claims: Arc<[JobId]>,
    /// The last agreed facets of a membership; `None` for the default ones, and for records, whose base is kept
    /// elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facets: Option<MemberFacets>,
}

impl LedgerRow {
    /// A row with these claims.
    #[must_use]
    pub fn new(origin: Origin, claims: impl IntoIterator<Item = JobId>) -> Self {
        let mut claims: Vec<_> = claims.into_iter().collect();
        claims.sort();
        claims.dedup();
        Self {
            origin,
            claims: claims.into(),
            facets: None,
        }
    }

    /// The same row with last agreed facets.
    #[must_use]
    pub fn with_facets(mut self, facets: MemberFacets) -> Self {
        self.facets = (facets != MemberFacets::default()).then_some(facets);
        self
    }

    /// The jobs that want it there, sorted.
    #[must_use]
    pub fn claims(&self) -> &[JobId] {
        &self.claims
    }

    /// Whether `job` wants it there.
    #[must_use]
    pub fn is_claimed_by(&self, job: &JobId) -> bool {
        self.claims.binary_search(job).is_ok()
    }

    /// Whether a job other than `job` wants it there.
    #[must_use]
    pub fn is_claimed_beside(&self, job: &JobId) -> bool {
        self.claims.iter().any(|claim| claim != job)
    }

    /// The same row, claimed by `job` too.
    #[must_use]
    pub fn claimed(mut self, job: &JobId) -> Self {
        if let Err(at) = self.claims.binary_search(job) {
            let mut claims = self.claims.to_vec();
            claims.insert(at, job.clone());
            self.claims = claims.into();
        }
        self
    }

    /// The row without `job`'s claim; `None` when no claim is left, and so nothing to know.
    #[must_use]
    pub fn released(mut self, job: &JobId) -> Option<Self> {
        if self.is_claimed_by(job) {
            let others = self.claims.iter().filter(|claim| *claim != job);
            self.claims = others.cloned().collect();
        }
        (!self.claims.is_empty()).then_some(self)
    }
}

/// What a ledger row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A membership.
    Principal(PrincipalRef),
    /// A record.
    Record(RecordRef),
}

impl Subject {
    /// Whose membership it is; `None` for a record.
    #[must_use]
    pub fn principal(&self) -> Option<&PrincipalRef> {
        match self {
            Self::Principal(principal) => Some(principal),
            Self::Record(_) => None,
        }
    }

    /// The stable code of its kind, its system, and its id there.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &SystemId, &ObjectId) {
        match self {
            Self::Principal(principal) => ("principal", &principal.system, &principal.object),
            Self::Record(record) => ("record", &record.system, &record.object),
        }
    }

    /// Which record it is; `None` for a membership.
    #[must_use]
    pub fn record(&self) -> Option<&RecordRef> {
        match self {
            Self::Principal(_) => None,
            Self::Record(record) => Some(record),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Record(record) => record.fmt(f),
        }
    }
}
