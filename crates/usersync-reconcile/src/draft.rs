//! The section of one container in the making, and the guards that look at one container.

use usersync_model::{Container, Subject};

use crate::hold::{HoldCause, Protection};
use crate::members::RunEvidence;
use crate::operation::{Action, Finding, Hold, LedgerChange, Operation, Reason, Section, Tally, What};
use crate::policy::Policy;

/// What is planned so far.
pub(crate) struct Draft<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) evidence: &'a RunEvidence,
    pub(crate) section: Section,
    /// Removals that nothing holds yet.
    removals: Vec<Operation>,
}

pub(crate) fn section(container: &Container, tally: Tally) -> Section {
    Section {
        container: container.id.clone(),
        kind: container.kind.clone(),
        name: container.name.clone(),
        owner: container.owner.clone(),
        operations: Vec::new(),
        holds: Vec::new(),
        ledger: Vec::new(),
        findings: Vec::new(),
        tally,
    }
}

impl<'a> Draft<'a> {
    pub(crate) fn new(section: Section, policy: &'a Policy, evidence: &'a RunEvidence) -> Self {
        Self {
            policy,
            evidence,
            section,
            removals: Vec::new(),
        }
    }

    /// Makes room for operations.
    pub(crate) fn expect(&mut self, operations: usize) {
        self.section.operations.reserve_exact(operations);
    }

    pub(crate) fn operate(&mut self, operation: Operation) {
        self.section.operations.push(operation);
    }

    pub(crate) fn hold(&mut self, operation: Operation, cause: HoldCause) {
        self.section.holds.push(Hold { operation, cause });
    }

    pub(crate) fn record(&mut self, change: LedgerChange) {
        self.section.ledger.push(change);
    }

    pub(crate) fn find(&mut self, subject: Subject, label: String, what: What) {
        self.section.findings.push(Finding { subject, label, what });
    }

    /// Removes, unless somebody is protected. What is known incompletely is held as such in any case: an approval
    /// lifts the hold of a protected one.
    pub(crate) fn remove(&mut self, operation: Operation, protection: Option<Protection>) {
        match protection {
            Some(protection) if !self.is_incomplete() => {
                self.hold(operation, HoldCause::Protected(protection));
            }
            _ => self.removals.push(operation),
        }
    }

    /// Checks the guards on the removals, and puts everything in order. `nobody`: nothing is desired here.
    pub(crate) fn finish(mut self, nobody: bool) -> Section {
        let removals = std::mem::take(&mut self.removals);
        let own = || self.container_guard(removals.len() as u64, nobody);
        let given = self.evidence.removals.clone();
        // The guards of a run and of the window come after those of the container.
        let cause = match given {
            Some(HoldCause::RunLimit { .. } | HoldCause::WindowLimit { .. }) => own().or(given),
            given => given.or_else(own),
        };
        match cause {
            Some(cause) => {
                let held = removals.into_iter().map(|operation| Hold {
                    operation,
                    cause: cause.clone(),
                });
                self.section.holds.extend(held);
            }
            None => self.section.operations.extend(removals),
        }
        let Section {
            operations,
            holds,
            ledger,
            findings,
            ..
        } = &mut self.section;
        // No subject comes twice, so there is no order among equals to keep.
        operations.sort_unstable_by(|a, b| a.subject.cmp(&b.subject));
        holds.sort_by(|a, b| a.operation.subject.cmp(&b.operation.subject));
        ledger.sort_by(|a, b| a.subject.cmp(&b.subject));
        findings.sort_by(|a, b| (&a.subject, a.what).cmp(&(&b.subject, b.what)));
        if let Some(cause) = &self.evidence.everything {
            self.section.hold_all(cause);
            self.section.ledger.clear();
        }
        self.section
    }

    fn is_incomplete(&self) -> bool {
        self.evidence
            .removals
            .as_ref()
            .is_some_and(HoldCause::is_incompleteness)
    }

    fn container_guard(&self, removals: u64, nobody: bool) -> Option<HoldCause> {
        let present = self.section.tally.removable;
        let guards = &self.policy.guards;
        if removals == 0 {
            None
        } else if guards.emptied && nobody {
            Some(HoldCause::ContainerEmptied { present })
        } else {
            let share = guards.container?;
            share
                .exceeded_in_container(removals, present)
                .then_some(HoldCause::ContainerShrinks {
                    removals,
                    present,
                    percent: share.percent,
                })
        }
    }
}

/// An operation that nobody approved.
pub(crate) fn operation(subject: Subject, action: Action, reason: Reason, label: String) -> Operation {
    Operation {
        subject,
        action,
        reason,
        label,
        seen: None,
        approved: false,
        agreed: None,
    }
}
