//! What planning the members of a container takes.

use usersync_model::{JobId, LedgerRow, MemberFacets, NodeId, PartialReason, PrincipalRef};

use crate::decide::Standing;
use crate::hold::HoldCause;
use crate::operation::Reason;

/// Who is desired in a container. All lists are ascending and without repetition; nobody is both certain and maybe.
#[derive(Clone, Copy, Debug, Default)]
pub struct DesiredMembers<'a> {
    /// Surely desired.
    pub certain: &'a [NodeId],
    /// Desired, unless an exclusion that was not read completely covers them.
    pub maybe: &'a [NodeId],
    /// Why `maybe` is not certain.
    pub maybe_reason: Option<&'a PartialReason>,
    /// Surely not desired, though others who are not listed may be.
    pub denied: &'a [NodeId],
    /// Why somebody who is not listed may be desired all the same; `None`: nobody else is desired.
    pub rest: Option<&'a PartialReason>,
    /// Left their directory, and keep what they have until their grace period ends.
    pub in_grace: &'a [NodeId],
    /// May be in grace, since a directory that was read in part does not show them: they are not removed until that is known.
    pub perhaps_in_grace: &'a [NodeId],
    /// Why that is not known.
    pub perhaps_reason: Option<&'a PartialReason>,
}

/// Who is in a container. All lists are ascending and without repetition.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActualMembers<'a> {
    /// Seen there.
    pub present: &'a [NodeId],
    /// The facets of those whose facets are not the default ones.
    pub facets: &'a [(NodeId, MemberFacets)],
    /// Why somebody who was not seen may be there all the same; `None`: nobody else is there.
    pub rest: Option<&'a PartialReason>,
    /// Surely not there, as point reads showed.
    pub absent: &'a [NodeId],
}

/// What the ledger says about a container. Both lists are ascending, and no id is in both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base<'a> {
    /// Ours, claimed by this job alone, with the default facets.
    pub ours: &'a [NodeId],
    /// Every other row.
    pub other: &'a [BaseRow],
}

/// A ledger row that is not the plain one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseRow {
    /// Whose.
    pub id: NodeId,
    /// What it says.
    pub standing: Standing,
    /// The facets last agreed on.
    pub facets: MemberFacets,
}

/// What a plan tells about people beyond their ids; asked only for those it names.
pub trait People {
    /// The principal with this id.
    fn principal(&self, id: NodeId) -> PrincipalRef;
    /// The name shown to people.
    fn label(&self, id: NodeId) -> String;
    /// Whether it is an administrator or otherwise protected.
    fn is_privileged(&self, id: NodeId) -> bool;
    /// The version seen in the container that is planned.
    fn version(&self, id: NodeId) -> Option<String>;
    /// Why it is not desired in the container that is planned.
    fn absence(&self, id: NodeId) -> Reason;
}

/// What holds removals of every container, known before planning.
#[derive(Clone, Debug, Default)]
pub struct RunEvidence {
    /// Holds every removal.
    pub removals: Option<HoldCause>,
    /// Holds everything in this container.
    pub everything: Option<HoldCause>,
    /// Whether what is present and desired is to become ours.
    pub adopt: bool,
    /// Whether the target keeps roles and states.
    pub updates: bool,
}

/// The standing of a ledger row, for `job`.
#[must_use]
pub fn standing(row: &LedgerRow, job: &JobId) -> Standing {
    Standing {
        claimed: row.is_claimed_by(job),
        origin: Some(row.origin),
        others: row.is_claimed_beside(job),
    }
}
