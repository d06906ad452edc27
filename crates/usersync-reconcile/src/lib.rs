//! Three-way reconciliation as pure functions: the decision table, guards, the plan, approvals and renderings.
//!
//! This crate does no I/O, reads no clock, draws no randomness and puts nothing in hash order into an output.

mod approval;
mod decide;
mod digest;
mod draft;
mod facet;
mod fingerprint;
mod hold;
mod items;
mod matching;
mod members;
mod merge;
mod operation;
mod plan;
mod policy;
mod records;
mod render;
mod warning;

pub use approval::Approval;
pub use decide::{Decision, Drift, Kept, Mode, Needed, Standing, Truth, decide};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use hold::{HoldCause, Protection};
pub use items::{ItemBase, ItemBases, ItemConflict, ItemPlan, ItemSide, ItemSight, plan_items};
pub use matching::{
    Dispute, Few, Gone, Ineligible, IneligibleReason, KnownLink, MatchRule, Matched, Matching, Party, Side,
    Situation, looks_like, match_accounts,
};
pub use members::{
    ActualMembers, Base, BaseRow, DesiredMembers, People, RunEvidence, plan_members, standing,
};
pub use merge::{ConflictPolicy, FirstSight, Later, Merged, merge};
pub use operation::{
    Action, Agreed, Finding, Hold, LedgerChange, LedgerStep, Operation, Reason, RecordBase, Section, Tally,
    What,
};
pub use plan::{Drafts, Envelope, Header, OperationIds, Plan, PlanError, Summary};
pub use policy::{Guards, OnExceeded, Policy, Share, Window};
pub use records::{
    Direction, FacetRule, RecordRow, RecordRules, Records, SetRule, SourceRecord, TargetRecord, plan_records,
};
pub use render::{RenderOptions, render_html, render_markdown, render_table};
pub use warning::Warning;
