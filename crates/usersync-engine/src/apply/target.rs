//! The writing half of a job's target.

use std::sync::Arc;

use usersync_connector::{
    Applied, CallContext, MemberChange, MemberOperation, MembershipTarget, RecordChange, RecordOperation,
    RecordTarget, Result, TargetCapabilities,
};
use usersync_model::{Facet, FacetName, ObjectId, Subject};
use usersync_reconcile::Action;

use super::Work;

/// The writing half of a job's target.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Members(Arc<dyn MembershipTarget>),
    Records(Arc<dyn RecordTarget>),
}

/// Operations of one call.
pub(super) enum Call {
    Members(Vec<MemberOperation>),
    Records(Vec<RecordOperation>),
}

impl Target {
    pub(super) fn capabilities(&self) -> TargetCapabilities {
        match self {
            Self::Members(target) => target.capabilities(),
            Self::Records(target) => target.capabilities().target,
        }
    }

    /// The call that does `work`, all of one container.
    pub(super) fn call<'w>(&self, work: impl Iterator<Item = &'w Work<'w>>) -> Call {
        match self {
            Self::Members(_) => Call::Members(work.filter_map(member_operation).collect()),
            Self::Records(_) => Call::Records(work.filter_map(record_operation).collect()),
        }
    }

    /// Makes the call. Answers in its order.
    pub(super) async fn apply(
        &self,
        container: &ObjectId,
        call: Call,
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        match (self, call) {
            (Self::Members(target), Call::Members(operations)) => {
                target.apply(container, &operations, context).await
            }
            (Self::Records(target), Call::Records(operations)) => {
                target.apply(Some(container), &operations, context).await
            }
            // Calls are made by the target they are for.
            _ => Vec::new(),
        }
    }

    /// What came of `work`; `None` if that is nothing to ask this target for. For targets with point reads.
    pub(super) async fn happened(&self, work: &Work<'_>, context: &CallContext) -> Result<Option<Happened>> {
        Ok(match (self, work.subject) {
            (Self::Members(target), Subject::Principal(principal)) => {
                let found = target.member(&work.container.object, principal, context).await?;
                let facets = found.map(|found| found.member.facets);
                let (effect, facets) = (&work.effect, facets.as_ref());
                Some(if !effect.made_member(facets) {
                    Happened::Not
                } else if effect.is_shown_by(facets) {
                    Happened::AsWished
                } else {
                    Happened::Otherwise
                })
            }
            (Self::Records(target), Subject::Record(record)) => {
                let collection = Some(&work.container.object);
                let found = target.record(collection, record, context).await?;
                let happened = match (work.action, found) {
                    (Action::Adopt, found) => found.is_some(),
                    (Action::Create(wish), Some(found)) => {
                        found.record.kind == wish.kind && shows(&found.record.facets, &wish.facets)
                    }
                    (Action::Change(to), Some(found)) => shows(&found.record.facets, to),
                    (Action::Change(_) | Action::Create(_), None) => false,
                    (_, found) => found.is_none(),
                };
                Some(if happened {
                    Happened::AsWished
                } else {
                    Happened::Not
                })
            }
            _ => None,
        })
    }
}

/// What a target shows of the effect of an operation.
pub(super) enum Happened {
    /// It is there, with the facets that it was to have.
    AsWished,
    /// It is not there.
    Not,
    /// The member is there, with other facets.
    Otherwise,
}

/// Whether a record has these facets, perhaps among others. An attribute that says nothing and one that is missing are the same.
pub(crate) fn shows(
    present: &std::collections::BTreeMap<FacetName, Facet>,
    wished: &std::collections::BTreeMap<FacetName, Facet>,
) -> bool {
    fn says(
        facet: Option<&Facet>,
    ) -> impl Iterator<Item = (&usersync_model::AttributeName, &usersync_model::Value)> {
        let attributes = facet.into_iter().flat_map(|facet| &facet.attributes);
        attributes.filter(|(_, value)| !value.is_empty())
    }
    wished
        .iter()
        .all(|(name, facet)| says(present.get(name)).eq(says(Some(facet))))
}

fn member_operation(work: &Work<'_>) -> Option<MemberOperation> {
    let Subject::Principal(principal) = work.subject else {
        return None;
    };
    let change = match work.action {
        Action::Add(facets) => MemberChange::Add(facets.clone()),
        Action::Remove => MemberChange::Remove,
        Action::Update { to, .. } => MemberChange::Update(to.clone()),
        Action::Adopt | Action::Change(_) | Action::Create(_) | Action::Delete => return None,
    };
    Some(MemberOperation {
        id: work.id,
        principal: principal.clone(),
        change,
        precondition: work.precondition.clone(),
    })
}

fn record_operation(work: &Work<'_>) -> Option<RecordOperation> {
    let Subject::Record(record) = work.subject else {
        return None;
    };
    let change = match work.action {
        Action::Change(facets) => RecordChange::Update(facets.clone()),
        Action::Create(record) => RecordChange::Create((**record).clone()),
        Action::Delete => RecordChange::Delete,
        Action::Add(_) | Action::Adopt | Action::Remove | Action::Update { .. } => return None,
    };
    Some(RecordOperation {
        id: work.id,
        record: record.clone(),
        change,
        precondition: work.precondition.clone(),
    })
}
