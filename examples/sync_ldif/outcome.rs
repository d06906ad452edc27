//! How it ended.

use std::error::Error;
use std::process::ExitCode;

use usersync::engine::{RunEnd, RunReport};
use usersync::reconcile::{Plan, Warning};

/// What the exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Changed,
    Failed,
    Held,
    InSync,
    Usage,
}

impl Status {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::InSync => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Changed => 10,
            Self::Held => 20,
        })
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::InSync => "in sync",
            Self::Usage => "not understood",
        }
    }

    /// Of a plan that is not carried out.
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        let summary = plan.summary();
        if summary.held > 0 || is_partial(plan) {
            Self::Held
        } else if summary.operations() > 0 {
            Self::Changed
        } else {
            Self::InSync
        }
    }

    pub(crate) fn of_run(report: &RunReport) -> Self {
        match report.end {
            RunEnd::Cancelled | RunEnd::Failed | RunEnd::Paused => Self::Failed,
            _ if !report.failed_reads.is_empty() => Self::Failed,
            RunEnd::Held => Self::Held,
            _ if report.plan.as_ref().is_some_and(is_partial) => Self::Held,
            RunEnd::Changed => Self::Changed,
            RunEnd::InSync => Self::InSync,
        }
    }
}

/// Whether something was read in part: then nobody knows whether all is in sync, even if nothing waits.
fn is_partial(plan: &Plan) -> bool {
    let warnings = &plan.header().warnings;
    warnings.iter().any(|warning| {
        matches!(
            warning,
            Warning::PartialCatalog { .. } | Warning::PartialSource { .. } | Warning::PartialTarget { .. }
        )
    })
}

/// It went no further, for this reason.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Stop {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: Status::Usage,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            message: message.into(),
        }
    }
}

impl<E: Error> From<E> for Stop {
    /// The error with its causes, in one line.
    fn from(error: E) -> Self {
        Self::failed(chain(&error))
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

pub(crate) type Outcome<T = Status> = Result<T, Stop>;
