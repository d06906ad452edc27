//! What is shown on the terminal. Names come from an export that nobody vouches for.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::io::{self, Write};

use usersync::engine::{Outcome as Ended, RunReport};
use usersync::model::visible;
use usersync::model::{ObjectId, Subject};
use usersync::reconcile::{Plan, RenderOptions, render_table};

use crate::outcome::Status;
use crate::roster::Roster;

/// One line, whatever is in it.
pub(crate) fn say(text: impl Display) {
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(io::stdout(), "{}", visible(&text.to_string()));
}

/// One line on standard error.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "sync_ldif: {}", visible(&text.to_string()));
}

/// Text of ours, of several lines.
pub(crate) fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
}

/// A plan as tables, and the names of those whom only the roster knows: a plan has no names of people who left.
pub(crate) fn plan(plan: &Plan, roster: &Roster) {
    let options = RenderOptions {
        width: env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok())
            .unwrap_or(120),
        ..RenderOptions::default()
    };
    print(&render_table(plan, &options));
    let members = roster.containers.iter().flat_map(|listed| &listed.members);
    let names: BTreeMap<&ObjectId, _> = members.map(|person| (&person.id, person)).collect();
    let mut unnamed = BTreeMap::new();
    for section in plan.sections() {
        let held = section.holds.iter().map(|hold| &hold.operation);
        for operation in section.operations.iter().chain(held) {
            if let Subject::Principal(principal) = &operation.subject
                && operation.label.is_empty()
                && let Some(person) = names.get(&principal.object)
            {
                unnamed.insert(&person.id, *person);
            }
        }
    }
    if !unnamed.is_empty() {
        print("\nWho is no longer in the export, as the roster calls them");
    }
    for person in unnamed.values().take(options.entries) {
        say(format_args!(
            "  {}  {} {}",
            person.id, person.name, person.address
        ));
    }
    if let Some(more) = unnamed
        .len()
        .checked_sub(options.entries)
        .filter(|more| *more > 0)
    {
        say(format_args!("  … and {more} more"));
    }
}

/// How a run went, in one line, and what failed in it.
pub(crate) fn report(report: &RunReport) {
    let mut line = format!(
        "{} {}",
        report.finished.format("%Y-%m-%dT%H:%M:%SZ"),
        Status::of_run(report).word()
    );
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for operation in report.recovered.iter().chain(&report.operations) {
        *counts
            .entry((operation.action, operation.outcome.code()))
            .or_default() += 1;
    }
    for ((action, outcome), count) in counts {
        line += &format!(", {count} × {action}: {outcome}");
    }
    if let Some(plan) = &report.plan {
        let summary = plan.summary();
        if summary.held > 0 {
            line += &format!(", {} held", summary.held);
        }
        if let Some(digest) = plan.held_digest() {
            line += &format!("; to let {} of them go: --approve {digest}", summary.approvable);
        }
    }
    say(line);
    for operation in &report.operations {
        if let failed @ (Ended::Failed { .. } | Ended::Conflict | Ended::Indeterminate { .. }) =
            &operation.outcome
        {
            complain(format_args!(
                "{} {} in {}: {failed}",
                operation.action, operation.subject, operation.container.object
            ));
        }
    }
}

/// What a run could not read, and why.
pub(crate) fn warnings(report: &RunReport) {
    for warning in report.plan.iter().flat_map(|plan| &plan.header().warnings) {
        complain(format_args!("warning: {warning}"));
    }
}
