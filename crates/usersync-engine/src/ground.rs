//! What a plan rests on, whatever the kind of its job.

use usersync_model::{ContainerRef, JobId, LedgerRow, Subject};
use usersync_reconcile::{Fingerprint, Plan};
use usersync_store::{LedgerKey, Write};

use crate::error::Result;
use crate::job::Job;
use crate::records::RecordSurvey;
use crate::source::Sources;
use crate::survey::Survey;

/// What a plan rests on.
#[derive(Debug)]
pub(crate) enum Ground {
    Members(Box<Survey>),
    Records(Box<RecordSurvey>),
}

impl Ground {
    pub(crate) fn sources(&self) -> &Sources {
        match self {
            Self::Members(survey) => &survey.sources,
            Self::Records(survey) => &survey.sources,
        }
    }

    pub(crate) fn into_sources(self) -> Sources {
        match self {
            Self::Members(survey) => survey.sources,
            Self::Records(survey) => survey.sources,
        }
    }

    /// Whether claims of the job are to be handed over.
    pub(crate) fn cedes(&self) -> bool {
        matches!(self, Self::Members(survey) if !survey.ceded.is_empty())
    }

    /// Takes the rows on which the job's claims are to be handed over.
    pub(crate) fn take_ceded(&mut self) -> Vec<(LedgerKey, LedgerRow)> {
        match self {
            Self::Members(survey) => std::mem::take(&mut survey.ceded),
            Self::Records(_) => Vec::new(),
        }
    }

    /// The ledger row that the plan rests on.
    pub(crate) fn row(&self, container: &ContainerRef, subject: &Subject, job: &JobId) -> Option<LedgerRow> {
        match (self, subject) {
            (Self::Members(survey), Subject::Principal(principal)) => {
                let id = survey.graph().find(principal)?;
                survey.sights[survey.place(container)?].row(id, job)
            }
            (Self::Records(survey), subject) => survey.row(container, subject),
            (Self::Members(_), Subject::Record(_)) => None,
        }
    }

    /// What the target shows of a record that the plan changes.
    pub(crate) fn shown(&self, container: &ContainerRef, subject: &Subject) -> Option<Fingerprint> {
        match self {
            Self::Members(_) => None,
            Self::Records(survey) => survey.shown(container, subject),
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
                if let Some(place) = survey.place(container) {
                    let id = survey.sources.intern(principal);
                    survey.sights[place].set_row(id, row, job);
                }
            }
            (Self::Records(survey), subject) => survey.set_row(container, subject, row),
            (Self::Members(_), Subject::Record(_)) => {}
        }
    }

    /// What has to be durable before the first effect of `plan`.
    pub(crate) fn marks(&self, job: &Job, plan: &Plan) -> Result<Vec<Write>> {
        match self {
            Self::Members(_) => Ok(Vec::new()),
            Self::Records(survey) => survey.marks(job, plan),
        }
    }
}
