//! Runs synchronization jobs: read, resolve, plan, check, apply, record, notify.
//!
//! The engine knows no concrete connector or store, and no async runtime: whoever polls its futures runs it.

mod actor;
mod answers;
mod apply;
mod audit;
mod backoff;
mod caught;
mod departure;
mod dependency;
mod due;
mod elsewhere;
mod engine;
mod error;
mod event;
mod full;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grant;
mod ground;
mod history;
mod items;
mod job;
mod job_audit;
mod keep;
mod links;
mod list;
mod order;
mod outbox;
mod planning;
mod ports;
mod preview;
mod record;
mod records;
mod recover;
mod report;
mod run;
mod schedule;
mod seats;
mod source;
mod standing;
mod state;
mod survey;
mod sync;
mod verify;
mod warnings;

pub use backoff::Backoff;
pub use due::{Agenda, Pause, Saved, Triggered, Waiting};
pub use engine::{Engine, EngineBuilder, RunRequest};
pub use error::{EngineError, Result};
pub use event::{RunControl, RunEvent};
pub use history::{
    KeptPlan, OperationFailure, OutcomeCount, ReadFailure, RunNumber, RunRecord, RunResult, RunState,
};
pub use items::{
    HeldItem, ItemFinding, ItemJob, ItemOperationReport, ItemProblem, ItemReach, ItemReport, ItemRequest,
    PairReport, SkippedLink, SkippedWhy,
};
pub use job::{Job, JobKind, Scope, Trigger};
pub use job_audit::JobAuditRecord;
pub use links::{
    AfterGrace, Asked, ByHand, Chosen, Consented, Departed, DepartureReport, LinkAuditRecord, LinkEntry,
    LinkOutcome, LinkProblem, LinkReport, LinkSettings, LinkWork, Links, Loaded, NotConsented, OsRandom,
    RandomSource, check_links, link_lease,
};
pub use list::{JobEntry, NextRun, Pending};
pub use outbox::DeadLetter;
pub use ports::{Options, Readers};
pub use preview::{About, Answer, Preview, Previewed};
pub use records::{Booked, BookingRecord, Collections, Distribution, OrganisationUse, RecordJob};
pub use report::{FailedRead, NotStarted, OperationReport, Outcome, PausedBy, ReadOf, RunEnd, RunReport};
pub use schedule::{Cadence, Interval, InvalidSchedule, Schedule};
#[cfg(feature = "cron")]
pub use schedule::{CronExpression, Zone};
pub use seats::{Occupancy, SeatRegister, Taken};
pub use state::AuditRecord;
pub use verify::{Discrepancy, RowCounts, Verification};
