//! What a plan rests on, whatever the kind of its job.

use usersync_model::{ContainerRef, JobId, LedgerRow, Subject};

use crate::source::Sources;
use crate::survey::Survey;

/// What a plan rests on.
#[derive(Debug)]
pub(crate) enum Ground {
    Members(Survey),
}

impl Ground {
    pub(crate) fn sources(&self) -> &Sources {
        match self {
            Self::Members(survey) => &survey.sources,
        }
    }

    pub(crate) fn into_sources(self) -> Sources {
        match self {
            Self::Members(survey) => survey.sources,
        }
    }

    /// The ledger row that the plan rests on.
    pub(crate) fn row(&self, container: &ContainerRef, subject: &Subject, job: &JobId) -> Option<LedgerRow> {
        match (self, subject) {
            (Self::Members(survey), Subject::Principal(principal)) => survey.row(container, principal, job),
            _ => None,
        }
    }

    /// Replaces a ledger row, once it was written.
    pub(crate) fn set_row(
        &mut self,
        container: &ContainerRef,
        subject: &Subject,
        row: Option<LedgerRow>,
        job: &JobId,
    ) {
        match (self, subject) {
            (Self::Members(survey), Subject::Principal(principal)) => {
                survey.set_row(container, principal, row, job);
            }
            _ => {}
        }
    }
}
