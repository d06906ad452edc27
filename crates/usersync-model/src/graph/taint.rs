//! What is not known for sure, and why.

use super::DirectoryGraph;
use crate::completeness::{Completeness, PartialKind, PartialReason};
use crate::id::SystemId;

impl DirectoryGraph {
    /// Why absence of and in `system` proves nothing; `None` where it does.
    pub(super) fn system_reason(&self, system: &SystemId) -> Option<PartialReason> {
        match self.ids.system_number(system) {
            Some(number) => self.systems[number as usize].partial.clone(),
            None => Some(no_verdict(system)),
        }
    }

    /// Draws the conclusion from what is known about the system `number`.
    pub(super) fn judge(&mut self, number: u32) {
        let state = &self.systems[number as usize];
        let told = match &state.told {
            None => Some(no_verdict(self.ids.system(number))),
            Some(Completeness::Complete) => None,
            Some(Completeness::Partial(reason)) => Some(reason.clone()),
        };
        let first = state.contradictory.first();
        let contradiction = first.map(|object| PartialReason::new(PartialKind::Contradiction, &**object));
        let partial = told.into_iter().chain(contradiction).min();
        let state = &mut self.systems[number as usize];
        if state.partial != partial {
            state.partial = partial;
            self.verdicts += 1;
            self.revision += 1;
        }
    }
}

pub(super) fn no_verdict(system: &SystemId) -> PartialReason {
    PartialReason::new(PartialKind::NoVerdict, system.as_str())
}

/// The smallest reason seen, so that it does not depend on the order of entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Taint {
    reason: Option<PartialReason>,
    /// The smallest principal that a group names and no read showed.
    unknown: Option<u32>,
    /// The system whose verdict was counted last.
    counted: Option<u32>,
}

impl Taint {
    pub(super) fn add(&mut self, reason: &PartialReason) {
        if self.reason.as_ref().is_none_or(|smallest| reason < smallest) {
            self.reason = Some(reason.clone());
        }
    }

    /// Counts the verdict on the system of `node`; whether it is partial.
    pub(super) fn add_system_of(&mut self, graph: &DirectoryGraph, node: u32) -> bool {
        let system = graph.ids.system_of(node);
        match &graph.systems[system as usize].partial {
            None => false,
            Some(reason) => {
                if self.counted != Some(system) {
                    self.counted = Some(system);
                    self.add(reason);
                }
                true
            }
        }
    }

    pub(super) fn add_unknown_member(&mut self, graph: &DirectoryGraph, node: u32) {
        if self
            .unknown
            .is_none_or(|smallest| graph.ids.key(node) < graph.ids.key(smallest))
        {
            self.unknown = Some(node);
        }
    }

    pub(super) fn into_reason(self, graph: &DirectoryGraph) -> Option<PartialReason> {
        let unknown = self.unknown.map(|node| {
            let (system, object) = graph.ids.key(node);
            PartialReason::new(PartialKind::UnknownMember, format!("{system}:{object}"))
        });
        self.reason.into_iter().chain(unknown).min()
    }
}
