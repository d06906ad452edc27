//! What a plan rests on, whatever the kind of its job.

use usersync_model::{ContainerRef, JobId, LedgerRow, Subject};
use usersync_reconcile::{Fingerprint, Plan};
use usersync_store::{Check, LedgerEntry, LedgerKey, Revision, Write};

use crate::error::Result;
use crate::job::Job;
use crate::records::RecordSurvey;
use crate::source::Sources;
use crate::survey::{Sight, Survey};

/// A ledger row as something that is to be written rests on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowBefore {
    /// `None`: there is none.
    pub(crate) row: Option<LedgerRow>,
    /// Up to which write it is known; `None` for one that the run itself wrote.
    pub(crate) as_of: Option<Revision>,
}

impl RowBefore {
    /// That nobody else wrote it since it was read. A row that is again what it was may stand for another member: one that left, and
    /// came back by another job.
    pub(crate) fn check(&self, key: LedgerKey) -> Check {
        Check::Ledger {
            key,
            row: self.row.clone(),
            as_of: self.as_of,
        }
    }
}

impl From<Option<LedgerEntry>> for RowBefore {
    fn from(entry: Option<LedgerEntry>) -> Self {
        match entry {
            Some(LedgerEntry { row, revision, .. }) => Self {
                row: Some(row),
                as_of: Some(revision),
            },
            None => Self::default(),
        }
    }
}

/// The ledger rows of one container that a plan rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    Members(&'a Survey, Option<&'a Sight>),
    Records(&'a RecordSurvey, &'a ContainerRef),
}

impl Rows<'_> {
    pub(crate) fn before(&self, subject: &Subject, job: &JobId) -> RowBefore {
        match (self, subject) {
            (Self::Members(survey, Some(sight)), Subject::Principal(principal)) => {
                let id = survey.graph().find(principal);
                id.map_or_else(RowBefore::default, |id| sight.row_before(id, job))
            }
            (Self::Members(..), _) => RowBefore::default(),
            (Self::Records(survey, container), subject) => survey.row(container, subject),
        }
    }

    /// What the target shows of a record that the plan changes.
    pub(crate) fn shown(&self, subject: &Subject) -> Option<Fingerprint> {
        match self {
            Self::Members(..) => None,
            Self::Records(survey, container) => survey.shown(container, subject),
        }
    }
}

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
    pub(crate) fn take_ceded(&mut self) -> Vec<LedgerEntry> {
        match self {
            Self::Members(survey) => std::mem::take(&mut survey.ceded),
            Self::Records(_) => Vec::new(),
        }
    }

    /// The ledger rows of a container that the plan rests on.
    pub(crate) fn rows<'a>(&'a self, container: &'a ContainerRef) -> Rows<'a> {
        match self {
            Self::Members(survey) => {
                let sight = survey.place(container).map(|place| &survey.sights[place]);
                Rows::Members(survey, sight)
            }
            Self::Records(survey) => Rows::Records(survey, container),
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
