//! What a plan is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use usersync_model::{
    Container, ContainerKind, ContainerRef, Facet, FacetName, MemberFacets, PrincipalRef, Record, Subject,
};

use crate::decide::Kept;
use crate::fingerprint::Fingerprint;
use crate::hold::HoldCause;

/// What is done to one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make the membership.
    Add(MemberFacets),
    /// Count what is there already as ours. Writes nothing at the target.
    Adopt,
    /// Give the record these facets; the others stay.
    Change(BTreeMap<FacetName, Facet>),
    /// Make the record. Plans that make copies of one record share it.
    #[serde(with = "shared")]
    Create(Arc<Record>),
    /// End the record.
    Delete,
    /// End the membership.
    Remove,
    /// Change the facets of the membership.
    Update {
        /// From these.
        from: MemberFacets,
        /// To these.
        to: MemberFacets,
    },
}

/// A shared record as the record itself.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use usersync_model::Record;

    pub(super) fn serialize<S: Serializer>(record: &Arc<Record>, serializer: S) -> Result<S::Ok, S::Error> {
        record.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Record>, D::Error> {
        Record::deserialize(deserializer).map(Arc::new)
    }
}

impl Action {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Adopt => "adopt",
            Self::Change(_) => "change",
            Self::Create(_) => "create",
            Self::Delete => "delete",
            Self::Remove => "remove",
            Self::Update { .. } => "update",
        }
    }

    /// Whether something ends by it.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Delete | Self::Remove)
    }
}

/// Why an operation is needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It is desired, and present without being ours.
    Adopted,
    /// The source changed it.
    Changed,
    /// The principal left its directory.
    Departed,
    /// An exclusion covers the principal.
    Excluded,
    /// The principal is inactive.
    Inactive,
    /// Nothing in the selection leads to the principal any more.
    NotSelected,
    /// It is not desired, and the job mirrors.
    NotDesired,
    /// Somebody changed it at the target, and the source, which did not change, overrules that.
    Overwritten,
    /// Somebody removed it at the target.
    Restored,
    /// It is desired, and not there.
    Selected,
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Changed => "changed",
            Self::Departed => "departed",
            Self::Excluded => "excluded",
            Self::Inactive => "inactive",
            Self::NotDesired => "not_desired",
            Self::NotSelected => "not_selected",
            Self::Overwritten => "overwritten",
            Self::Restored => "restored",
            Self::Selected => "selected",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adopted => "is there and selected, but not ours yet",
            Self::Changed => "changed at the source",
            Self::Departed => "left the directory",
            Self::Excluded => "excluded",
            Self::Inactive => "inactive",
            Self::NotDesired => "not desired",
            Self::NotSelected => "no longer selected",
            Self::Overwritten => "was changed at the target",
            Self::Restored => "was removed at the target",
            Self::Selected => "selected",
        })
    }
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// On whom or what.
    pub subject: Subject,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The name shown to people; from an untrusted system. Not part of the digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The version seen at the target, which the effect requires where the target can check it. Not part of the
    /// digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Whether an approval lifted a hold on it. Not part of the digest of the held set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approved: bool,
    /// The base to store once it is done, where that is not what the action writes; see [`Operation::member_base`] and
    /// [`Operation::record_base`]. Not part of the digest of the held set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Box<Agreed>>,
}

impl Operation {
    /// The base of a membership to store once the operation is done; `None` for operations that end it, or that leave
    /// its facets as they are.
    ///
    /// It is not always what an [`Action::Update`] writes: where the target's own change stays, the base is the
    /// source's value all the same, so that the next plan knows that the source did not change.
    #[must_use]
    pub fn member_base(&self) -> Option<&MemberFacets> {
        match (self.agreed.as_deref(), &self.action) {
            (Some(Agreed::Member(facets)), _) => Some(facets),
            (_, Action::Add(facets) | Action::Update { to: facets, .. }) => Some(facets),
            _ => None,
        }
    }

    /// The base of a record to store once the operation is done; `None` for operations that end it or only adopt it.
    #[must_use]
    pub fn record_base(&self) -> Option<&RecordBase> {
        match self.agreed.as_deref() {
            Some(Agreed::Record(base)) => Some(base),
            _ => None,
        }
    }
}

/// The base to store once something is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreed {
    /// Of a membership.
    Member(MemberFacets),
    /// Of a record.
    Record(RecordBase),
}

/// What is stored of a record between plans: the facets last agreed on, and what both sides looked like then.
///
/// Only facets that both sides may change ([`Direction::Both`](crate::Direction::Both)) are kept: for the others, nothing is
/// decided by what they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordBase {
    /// The facets last agreed on, by name. A facet that is missing was never agreed on.
    pub facets: BTreeMap<FacetName, Facet>,
    /// Of the source's record; `None` when it is to be compared again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Fingerprint>,
    /// Of the target's record; `None` when it is to be compared again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Fingerprint>,
}

/// An operation that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// What waits.
    pub operation: Operation,
    /// Why: the first cause in the order in which guards are checked.
    pub cause: HoldCause,
}

/// Something that changes in the ledger only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerChange {
    /// On whom or what.
    pub subject: Subject,
    /// What changes.
    pub step: LedgerStep,
    /// For a record: the base to store with the row. Its steps name the default [`MemberFacets`], since the row of a
    /// record has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<Box<RecordBase>>,
}

/// What changes in the ledger only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerStep {
    /// Both sides agree on these facets.
    Agree(MemberFacets),
    /// The job claims what is there; these are the facets it wants. The origin stays, and is foreign without a row.
    Claim(MemberFacets),
    /// The job's claim goes, since it is there no more.
    Forget,
    /// The job's claim goes, and what is there stays.
    Release(Kept),
}

/// Something a person may want to know of, without an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// On whom or what.
    pub subject: Subject,
    /// The name shown to people. Not part of the digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What it is.
    pub what: What,
}

/// What a finding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// It stays because the job never removes.
    AddOnly,
    /// Several records of one side have this id; nothing is written.
    Ambiguous,
    /// It stays because another job claims it.
    ClaimedElsewhere,
    /// Source and target both changed a facet; nothing is written.
    FacetConflict,
    /// Its principal left the directory, and keeps it until the grace period ends.
    InGrace,
    /// The record is of one kind at the source and of another at the target; nothing is written.
    KindDiffers,
    /// Somebody removed it at the target, and the policy respects that.
    RemovedByHand,
}

impl What {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AddOnly => "add_only",
            Self::Ambiguous => "ambiguous",
            Self::ClaimedElsewhere => "claimed_elsewhere",
            Self::FacetConflict => "facet_conflict",
            Self::InGrace => "in_grace",
            Self::KindDiffers => "kind_differs",
            Self::RemovedByHand => "removed_by_hand",
        }
    }

    /// Whether it is a conflict that somebody has to settle.
    #[must_use]
    pub fn is_conflict(self) -> bool {
        matches!(
            self,
            Self::Ambiguous | Self::ClaimedElsewhere | Self::FacetConflict | Self::KindDiffers
        )
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddOnly => "stays: this job never removes",
            Self::Ambiguous => "several records have this id; nothing is written",
            Self::ClaimedElsewhere => "stays: another job claims it",
            Self::FacetConflict => "changed on both sides; nothing is written",
            Self::InGrace => "left the directory, and stays until the grace period ends",
            Self::KindDiffers => "is of another kind at the target; nothing is written",
            Self::RemovedByHand => "was removed at the target, which the policy respects",
        })
    }
}

/// What was seen of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Surely desired.
    pub desired: u64,
    /// Seen there.
    pub present: u64,
    /// Seen there, and the job's to remove: of ours, or, in `Mirror`, all. The figure that guards compare with.
    pub removable: u64,
    /// Seen there, not desired, and somebody else's.
    pub foreign: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.desired += other.desired;
        self.present += other.present;
        self.removable += other.removable;
        self.foreign += other.foreign;
    }
}

/// The part of a plan that concerns one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Which container.
    pub container: ContainerRef,
    /// What it is.
    pub kind: ContainerKind,
    /// The name shown to people. Not part of the digest.
    pub name: String,
    /// Who acts for it; `None` leaves that to the job's owner.
    pub owner: Option<PrincipalRef>,
    /// What is done, in the order of the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// What waits, in the order of the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// What changes in the ledger only, in the order of the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<LedgerChange>,
    /// What else there is to know, in the order of the subjects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What was seen.
    pub tally: Tally,
}

impl Section {
    /// The section of a container that is known to be as it should be: it says nothing beside its tally.
    #[must_use]
    pub fn unchanged(container: &Container, tally: Tally) -> Self {
        crate::draft::section(container, tally)
    }

    /// Whether the section says nothing beside its tally.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.operations.is_empty()
            && self.holds.is_empty()
            && self.ledger.is_empty()
            && self.findings.is_empty()
    }

    /// How many removals are not held, and not approved.
    #[must_use]
    pub fn free_removals(&self) -> u64 {
        self.operations
            .iter()
            .filter(|operation| operation.action.is_removal() && !operation.approved)
            .count() as u64
    }

    /// Holds every operation that `which` picks.
    pub(crate) fn hold(&mut self, cause: &HoldCause, which: impl Fn(&Operation) -> bool) {
        let before = self.holds.len();
        let holds = &mut self.holds;
        let mut held = |operation| {
            holds.push(Hold {
                operation,
                cause: cause.clone(),
            });
        };
        self.operations
            .extract_if(.., |operation| which(operation))
            .for_each(&mut held);
        if self.holds.len() > before {
            self.holds
                .sort_by(|a, b| a.operation.subject.cmp(&b.operation.subject));
        }
    }

    /// Holds every operation. What waits for an approval already waits for `cause` instead, if no approval lifts that:
    /// otherwise an approval would let it go beside what nobody knows.
    pub(crate) fn hold_all(&mut self, cause: &HoldCause) {
        if !cause.is_approvable() {
            for hold in self.holds.iter_mut().filter(|hold| hold.cause.is_approvable()) {
                hold.cause = cause.clone();
            }
        }
        self.hold(cause, |operation| !operation.approved);
    }

    /// Lets go of what waits for an approval and is covered, and counts the operations that are covered as approved.
    ///
    /// For planning again what an approval covers: what depends on it is then planned from the state that it leaves.
    pub fn approve(&mut self, covers: impl Fn(&Operation) -> bool) {
        for operation in self.operations.iter_mut().filter(|operation| covers(operation)) {
            operation.approved = true;
        }
        let lifted = self
            .holds
            .extract_if(.., |hold| hold.cause.is_approvable() && covers(&hold.operation));
        self.operations.extend(lifted.map(|hold| Operation {
            approved: true,
            ..hold.operation
        }));
        self.operations.sort_by(|a, b| a.subject.cmp(&b.subject));
    }

    /// Lets go of every hold that an approval lifts.
    pub(crate) fn lift(&mut self) {
        let lifted = self.holds.extract_if(.., |hold| hold.cause.is_approvable());
        self.operations.extend(lifted.map(|hold| Operation {
            approved: true,
            ..hold.operation
        }));
        self.operations.sort_by(|a, b| a.subject.cmp(&b.subject));
    }
}
