//! Three-way reconciliation as pure functions: the decision table, guards, the plan, approvals and renderings.
//!
//! This crate does no I/O, reads no clock, draws no randomness and puts nothing in hash order into an output.

mod approval;
mod decide;
mod hold;
mod members;
mod merge;
mod operation;
mod plan;
mod policy;

pub use approval::Approval;
pub use decide::{Decision, Drift, Kept, Mode, Needed, Standing, Truth, decide};
pub use hold::{HoldCause, Protection};
pub use members::{
    ActualMembers, Base, BaseRow, DesiredMembers, People, RunEvidence, plan_members, standing,
};
pub use merge::{ConflictPolicy, FirstSight, Later, Merged, merge};
pub use operation::{
    Action, Finding, Hold, LedgerChange, LedgerStep, Operation, Reason, Section, Tally, Warning, What,
};
pub use plan::{Drafts, Envelope, Header, Plan, PlanError, Summary};
pub use policy::{Guards, OnExceeded, Policy, Share, Window};
