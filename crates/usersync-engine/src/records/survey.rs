//! What the plan of a job of records rests on, after it was made.

use std::collections::{BTreeMap, HashMap};

use usersync_connector::Cursor;
use usersync_model::{ContainerRef, Digest, LedgerRow, PrincipalRef, Selection, Subject};
use usersync_reconcile::{Fingerprint, Plan, Tally};
use usersync_store::{LedgerKey, Write};

use super::served::{Served, put};
use crate::error::Result;
use crate::ground::RowBefore;
use crate::job::Job;
use crate::source::Sources;

/// What the plan of a job of records rests on. What was read of a collection is dropped once it is planned.
#[derive(Debug)]
pub(crate) struct RecordSurvey {
    pub(crate) sources: Sources,
    /// Who gets a copy, where one collection is copied to many.
    pub(crate) to: Option<Selection>,
    /// The ledger rows of all that the plan names.
    pub(super) rows: HashMap<LedgerKey, RowBefore>,
    /// What the target shows of the records that the plan changes.
    pub(super) shown: HashMap<LedgerKey, Fingerprint>,
    /// The collections that were read.
    pub(super) read: BTreeMap<ContainerRef, ReadCollection>,
}

/// A collection that was read.
#[derive(Debug)]
pub(super) struct ReadCollection {
    pub(super) principal: Option<PrincipalRef>,
    pub(super) served: Option<Served>,
    /// Whether it is a destination, for sure.
    pub(super) is_desired: bool,
    /// Whether all of it was seen.
    pub(super) is_complete: bool,
    /// Identifies the state of its source, where that is known completely.
    pub(super) source: Option<Digest>,
    /// Where a read of its changes since then begins.
    pub(super) cursor: Option<Cursor>,
    pub(super) tally: Tally,
}

impl RecordSurvey {
    pub(crate) fn row(&self, container: &ContainerRef, subject: &Subject) -> RowBefore {
        self.rows
            .get(&key(container, subject))
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn shown(&self, container: &ContainerRef, subject: &Subject) -> Option<Fingerprint> {
        self.shown.get(&key(container, subject)).copied()
    }

    pub(crate) fn set_row(&mut self, container: &ContainerRef, subject: &Subject, row: Option<LedgerRow>) {
        self.rows
            .insert(key(container, subject), RowBefore { row, as_of: None });
    }

    /// What has to be durable before the first effect of `plan`: in which collections there may be something of the job's, and
    /// that they are not what was agreed on.
    pub(crate) fn marks(&self, job: &Job, plan: &Plan) -> Result<Vec<Write>> {
        let touches = plan
            .sections()
            .iter()
            .filter(|section| !section.operations.is_empty() || !section.ledger.is_empty());
        let mut writes = Vec::new();
        for section in touches {
            let Some(read) = self.read.get(&section.container) else {
                continue;
            };
            // What was agreed on held for the ledger as it was, and a source may go back to what it was then.
            if read.served.as_ref().is_none_or(|served| served.agreed.is_some()) {
                let served = Served {
                    principal: read.principal.clone(),
                    agreed: None,
                };
                writes.push(put(job, &section.container.object, &served)?);
            }
        }
        Ok(writes)
    }
}

fn key(container: &ContainerRef, subject: &Subject) -> LedgerKey {
    LedgerKey {
        container: container.clone(),
        subject: subject.clone(),
    }
}
