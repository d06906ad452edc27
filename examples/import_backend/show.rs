//! What comes in, facet by facet, and what has to be booked for it.

use std::collections::{BTreeMap, BTreeSet};

use usersync::engine::{Booked, OrganisationUse, RunReport};
use usersync::license::Quantities;
use usersync::model::{Facet, FacetName, ObjectId, Record, Subject, Value};
use usersync::reconcile::{Action, Plan, What};
use usersync_examples::screen::{Outcome, Screen};

use crate::app::App;

/// How many facets of a plan come in, by organisation: in new records, and in changed ones.
type Counts = BTreeMap<FacetName, (usize, usize)>;

/// The plan: facets in numbers, each record with what changes, what stays although the backend has it no more, warnings.
pub(crate) fn plan(screen: &Screen, app: &App, plan: &Plan) -> Outcome {
    let summary = plan.summary();
    screen.say(format_args!(
        "{} new, {} changed, nothing removed; digest {}",
        summary.additions,
        summary.updates,
        plan.digest()
    ));
    for section in plan.sections() {
        let organisation = &section.container.object;
        let present = present(app, organisation)?;
        let mut counts = Counts::new();
        let mut lines = Vec::new();
        for operation in &section.operations {
            match &operation.action {
                Action::Create(record) => {
                    for facet in record.facets.keys() {
                        counts.entry(facet.clone()).or_default().0 += 1;
                    }
                    lines.push(format!("  + {} {}", record.kind, named(record)));
                }
                Action::Change(facets) => {
                    let record = operation.subject.record().and_then(|id| present.get(&id.object));
                    for facet in facets.keys() {
                        counts.entry(facet.clone()).or_default().1 += 1;
                    }
                    let name = record.map_or_else(|| operation.subject.to_string(), named);
                    let kind = record.map_or("record", |record| record.kind.as_str());
                    lines.push(format!("  ~ {kind} {name}"));
                    for (name, after) in facets {
                        let before = record.and_then(|record| record.facets.get(name));
                        lines.extend(changes(name, before, after));
                    }
                }
                _ => {}
            }
        }
        for finding in &section.findings {
            let record = finding.subject.record().and_then(|id| present.get(&id.object));
            let name = record.map_or_else(|| finding.subject.to_string(), named);
            lines.push(match finding.what {
                What::AddOnly => format!("  = {name}: gone from the backend, and stays"),
                what => format!("  = {name}: {what}"),
            });
        }
        if lines.is_empty() {
            continue;
        }
        let name = app.names.get(organisation).map_or("", String::as_str);
        screen.say(format_args!("\n{name} ({organisation})\n"));
        if !counts.is_empty() {
            let mut rows = vec![
                ["facet", "in new records", "in changed ones"]
                    .map(str::to_owned)
                    .to_vec(),
            ];
            rows.extend(counts.into_iter().map(|(facet, (new, changed))| {
                vec![facet.to_string(), new.to_string(), changed.to_string()]
            }));
            screen.table(&rows);
            screen.say("");
        }
        lines.iter().for_each(|line| screen.say(line));
    }
    for warning in &plan.header().warnings {
        screen.say(format_args!("warning: {warning}"));
    }
    Ok(())
}

/// How a run ended, and what did not come in.
pub(crate) fn report(screen: &Screen, report: &RunReport) {
    screen.say(report);
    for operation in report.operations.iter().filter(|one| !one.outcome.is_ok()) {
        screen.say(format_args!(
            "  {} {}: {}",
            operation.action, operation.subject, operation.outcome
        ));
    }
}

/// What the organisations use against what they have booked, and what must be adjusted.
pub(crate) fn subscriptions(screen: &Screen, app: &App, uses: &[OrganisationUse], title: &str) {
    screen.say(format_args!("\n{title}\n"));
    let mut rows = vec![
        ["organisation", "resource", "used", "booked", "to adjust"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for one in uses {
        let name = app.names.get(&one.collection.object);
        let mut name = name.map_or_else(|| one.collection.object.to_string(), Clone::clone);
        let none = Quantities::default();
        let booked = match &one.booked {
            Booked::Known(booked) => Some(booked),
            Booked::Unknown { .. } => None,
        };
        for (resource, used) in one.usage.used.iter() {
            let missing = used.saturating_sub(booked.unwrap_or(&none).of(resource));
            let adjust = match (booked, missing) {
                (None, _) => "not known".to_owned(),
                (_, 0) => String::new(),
                (_, missing) => format!("+{missing}"),
            };
            let used = match one.rest {
                None => used.to_string(),
                Some(_) => format!("at least {used}"),
            };
            rows.push(vec![
                std::mem::take(&mut name),
                resource.to_string(),
                used,
                booked.map_or_else(String::new, |booked| booked.of(resource).to_string()),
                adjust,
            ]);
        }
    }
    screen.table(&rows);
    for one in uses {
        if let Some(reason) = &one.rest {
            screen.say(format_args!(
                "{}: more may be used: {reason}",
                one.collection.object
            ));
        }
        if let Booked::Unknown { message, .. } = &one.booked {
            screen.say(format_args!("{}: {message}", one.collection.object));
        }
        for (record, resource) in &one.usage.unmeasured {
            screen.say(format_args!("{record}: no quantity of {resource}; counted as 0"));
        }
    }
}

fn present(app: &App, organisation: &ObjectId) -> Outcome<BTreeMap<ObjectId, Record>> {
    let records = app.records.records_of(organisation)?.into_iter();
    Ok(records
        .map(|(record, _)| (record.id.object.clone(), record))
        .collect())
}

fn named(record: &Record) -> String {
    let general = record.facets.iter().find(|(name, _)| name.as_str() == "general");
    let says = |wanted: &str| {
        let mut attributes = general.into_iter().flat_map(|(_, facet)| &facet.attributes);
        attributes
            .find(|(name, _)| name.as_str() == wanted)
            .map(|(_, value)| shown(value))
    };
    let id = Subject::Record(record.id.clone());
    match (says("name"), says("type")) {
        (Some(name), Some(kind)) => format!("{name} ({kind}, {id})"),
        (Some(name), None) => format!("{name} ({id})"),
        _ => id.to_string(),
    }
}

/// A line for each attribute of a facet that becomes another.
fn changes(name: &FacetName, before: Option<&Facet>, after: &Facet) -> Vec<String> {
    let empty = Facet::default();
    let before = before.unwrap_or(&empty);
    let mut lines = Vec::new();
    for (attribute, value) in &after.attributes {
        let line = match (before.attributes.get(attribute), value) {
            (Some(old), new) if old == new => continue,
            (Some(Value::Set(old)), Value::Set(new)) => {
                let diff = |sign: &str, one: &BTreeSet<String>, other: &BTreeSet<String>| {
                    let only = one.difference(other).map(|value| format!(" {sign}{value}"));
                    only.collect::<String>()
                };
                format!("{}{}", diff("+", new, old), diff("−", old, new))
            }
            (None, value) if value.is_empty() => continue,
            (None, value) => format!(" {}", shown(value)),
            (Some(old), new) => format!(" {} → {}", shown(old), shown(new)),
        };
        lines.push(format!("      {name}.{attribute}:{line}"));
    }
    lines
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Flag(true) => "yes".to_owned(),
        Value::Flag(false) => "no".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Set(values) => Vec::from_iter(values.iter().map(String::as_str)).join(", "),
        Value::Text(text) if text.is_empty() => "nothing".to_owned(),
        Value::Text(text) => text.clone(),
    }
}
