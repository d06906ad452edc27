//! What an administrator is told, in short.

use std::collections::BTreeMap;

use usersync::engine::RunReport;
use usersync::reconcile::Plan;

/// What waits, and why: `who cause`, in order.
pub(crate) fn holds(plan: &Plan) -> String {
    let holds = plan.sections().iter().flat_map(|section| &section.holds);
    let told = holds.map(|hold| {
        format!(
            "{} {}",
            object(&hold.operation.subject.to_string()),
            hold.cause.code()
        )
    });
    told.collect::<Vec<_>>().join(", ")
}

/// How many operations wait for each cause: `count cause`, in order.
pub(crate) fn hold_counts(plan: &Plan) -> String {
    let holds = plan.sections().iter().flat_map(|section| &section.holds);
    counted(holds.map(|hold| hold.cause.code()))
}

/// The codes of the warnings, in order.
pub(crate) fn warnings(plan: &Plan) -> String {
    let codes = plan.header().warnings.iter().map(|warning| warning.code());
    codes.collect::<Vec<_>>().join(" ")
}

/// How many operations ended how: `count action outcome`, in order.
pub(crate) fn outcomes(report: &RunReport) -> String {
    let told = report.operations.iter();
    let told: Vec<String> = told
        .map(|operation| format!("{} {}", operation.action, operation.outcome.code()))
        .collect();
    counted(told.iter().map(String::as_str))
}

/// The plan that a report has.
pub(crate) fn plan(report: &RunReport) -> &Plan {
    report.plan.as_ref().expect("the run came to a plan")
}

fn counted<'a>(codes: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for code in codes {
        *counts.entry(code).or_default() += 1;
    }
    let told = counts.into_iter().map(|(code, count)| format!("{count} {code}"));
    told.collect::<Vec<_>>().join(", ")
}

fn object(subject: &str) -> &str {
    subject.split_once(':').map_or(subject, |(_, object)| object)
}
