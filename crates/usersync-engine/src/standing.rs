//! What guards held before, and hold until somebody approves it or nobody wants it any more.
//!
//! A guard compares removals with what is there, and a run adds while it holds. Without a memory, the additions of one run would
//! make room for the removals of the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usersync_model::ContainerRef;
use usersync_reconcile::{Hold, HoldCause, Plan, Section, Warning};

use crate::job::Scope;

/// The guards that stay shut. One entry for a container, whatever it holds there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StandingHolds {
    run: Option<HoldCause>,
    containers: Vec<(ContainerRef, HoldCause)>,
}

impl StandingHolds {
    /// What holds every removal of a run of `scope`. A run of single containers is not measured by what a run of everything
    /// was to remove.
    pub(crate) fn of_run(&self, scope: &Scope) -> Option<HoldCause> {
        self.run.clone().filter(|_| *scope == Scope::Everything)
    }

    /// What holds every removal of one container, for those that something does.
    pub(crate) fn by_container(&self) -> BTreeMap<ContainerRef, HoldCause> {
        self.containers.iter().cloned().collect()
    }

    /// What stays shut after `plan`, which rests on all that there is in the containers that `is_seen` picks; `is_complete` tells whether
    /// these are all. Of others nobody knows whether something still waits.
    pub(crate) fn after(
        &self,
        plan: &Plan,
        scope: &Scope,
        is_seen: impl Fn(&ContainerRef) -> bool,
        is_complete: bool,
    ) -> Self {
        let before = self.by_container();
        let mut containers: BTreeMap<ContainerRef, HoldCause> =
            before.iter().filter(|(id, _)| !is_seen(id)).map(cloned).collect();
        for section in plan.sections() {
            let shut = held_removals(section)
                .map(|hold| &hold.cause)
                .find(|cause| is_of_container(cause));
            let stays = before
                .get(&section.container)
                .filter(|_| held_removals(section).next().is_some());
            if let Some(cause) = shut.or(stays) {
                containers.insert(section.container.clone(), cause.clone());
            }
        }
        let mut held = plan
            .sections()
            .iter()
            .flat_map(held_removals)
            .map(|hold| &hold.cause)
            .peekable();
        let run = match scope {
            Scope::Containers(_) => self.run.clone(),
            Scope::Everything if held.peek().is_none() && (is_approved(plan) || is_complete) => None,
            Scope::Everything => held
                .find(|cause| matches!(cause, HoldCause::RunLimit { .. }))
                .or(self.run.as_ref())
                .cloned(),
        };
        Self {
            run,
            containers: containers.into_iter().collect(),
        }
    }
}

fn cloned((container, cause): (&ContainerRef, &HoldCause)) -> (ContainerRef, HoldCause) {
    (container.clone(), cause.clone())
}

fn held_removals(section: &Section) -> impl Iterator<Item = &Hold> {
    section
        .holds
        .iter()
        .filter(|hold| hold.operation.action.is_removal())
}

/// Whether somebody let something go that was held.
fn is_approved(plan: &Plan) -> bool {
    let mut operations = plan.sections().iter().flat_map(|section| &section.operations);
    operations.any(|operation| operation.approved)
}

/// Whether something that the plan rests on was read in part.
pub(crate) fn is_incomplete(plan: &Plan) -> bool {
    let mut holds = plan.sections().iter().flat_map(|section| &section.holds);
    plan.header().warnings.iter().any(Warning::is_partial_read)
        || holds.any(|hold| hold.cause.is_incompleteness())
}

pub(crate) fn is_of_container(cause: &HoldCause) -> bool {
    matches!(
        cause,
        HoldCause::ContainerEmptied { .. } | HoldCause::ContainerShrinks { .. }
    )
}
