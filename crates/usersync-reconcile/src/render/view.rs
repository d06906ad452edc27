//! What a plan says, in words: the same for every rendering.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Utc};
use usersync_model::{MemberFacets, Subject};

use super::RenderOptions;
use crate::hold::HoldCause;
use crate::operation::{Action, LedgerStep, Operation, Section};
use crate::plan::Plan;
use crate::warning::Warning;

/// A plan in words. Nothing in it is escaped.
pub(super) struct View<'a> {
    pub(super) title: String,
    pub(super) headline: String,
    /// What is counted, with a mark that tells the kind of change without colour.
    pub(super) counts: Vec<Count>,
    pub(super) facts: Vec<(&'static str, String)>,
    /// The digest to approve, and how many operations it lets go.
    pub(super) approval: Option<(String, u64)>,
    pub(super) holds: Vec<HoldGroup<'a>>,
    pub(super) warnings: Vec<String>,
    pub(super) more_warnings: u64,
    pub(super) containers: Vec<ContainerView<'a>>,
    pub(super) more_containers: usize,
}

pub(super) struct Count {
    pub(super) tone: Tone,
    pub(super) number: u64,
    pub(super) what: &'static str,
}

/// The kind of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Add,
    Change,
    Hold,
    Note,
    Remove,
}

impl Tone {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Change => "~",
            Self::Hold => "?",
            Self::Note => "·",
            Self::Remove => "−",
        }
    }
}

/// Operations that wait for the same cause.
pub(super) struct HoldGroup<'a> {
    pub(super) cause: String,
    pub(super) code: &'static str,
    pub(super) next: &'static str,
    pub(super) is_approvable: bool,
    pub(super) count: usize,
    pub(super) entries: Vec<Entry<'a>>,
}

pub(super) struct ContainerView<'a> {
    pub(super) name: &'a str,
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) owner: Option<String>,
    pub(super) tally: String,
    pub(super) lists: Vec<List<'a>>,
    pub(super) ledger: Option<String>,
}

/// Entries of one kind.
pub(super) struct List<'a> {
    pub(super) tone: Tone,
    pub(super) heading: &'static str,
    pub(super) count: usize,
    pub(super) entries: Vec<Entry<'a>>,
}

pub(super) struct Entry<'a> {
    pub(super) tone: Tone,
    /// What is done, as one word.
    pub(super) action: &'static str,
    /// The name shown to people, or else the id.
    pub(super) name: &'a str,
    pub(super) id: String,
    /// The container, where the entry does not stand below it.
    pub(super) container: Option<&'a str>,
    pub(super) why: String,
}

impl<'a> View<'a> {
    pub(super) fn new(plan: &'a Plan, options: &RenderOptions) -> Self {
        let sections = plan.sections();
        let header = plan.header();
        Self {
            title: format!("Plan for job {}", header.job),
            headline: headline(plan),
            counts: counts(plan),
            facts: facts(plan),
            approval: plan
                .held_digest()
                .map(|held| (held.to_string(), plan.summary().approvable)),
            holds: hold_groups(sections, options),
            warnings: header.warnings.iter().map(ToString::to_string).collect(),
            more_warnings: header.more_warnings,
            containers: sections
                .iter()
                .take(options.containers)
                .map(|section| container_view(section, options))
                .collect(),
            more_containers: sections.len().saturating_sub(options.containers),
        }
    }
}

impl HoldGroup<'_> {
    pub(super) fn more(&self) -> usize {
        self.count - self.entries.len()
    }
}

impl List<'_> {
    pub(super) fn more(&self) -> usize {
        self.count - self.entries.len()
    }
}

fn headline(plan: &Plan) -> String {
    let summary = plan.summary();
    let operations = summary.operations();
    match (operations, summary.held) {
        (0, 0) => nothing(plan),
        (0, held) => format!("{}.", waits(held)),
        (_, 0) => format!("{} will be made.", changes(operations)),
        (_, held) => format!("{} will be made; {}.", changes(operations), waits(held)),
    }
}

/// Only of a target without conflicts that was compared with all it should be is it said that it is so.
fn nothing(plan: &Plan) -> String {
    let header = plan.header();
    let in_part =
        |warning: &Warning| warning.is_partial_read() || matches!(warning, Warning::PartialSelection { .. });
    let conflicts = plan.summary().conflicts;
    if conflicts > 0 {
        let remain = number(conflicts, "conflict remains", "conflicts remain");
        format!("Nothing to do, but {remain}.")
    } else if header.more_warnings > 0 || header.warnings.iter().any(in_part) {
        "Nothing to do, as far as was read: see the warnings.".to_owned()
    } else {
        "Nothing to do: the target is as it should be.".to_owned()
    }
}

fn changes(count: u64) -> String {
    number(count, "change", "changes")
}

fn waits(count: u64) -> String {
    number(count, "change waits", "changes wait")
}

fn number(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn counts(plan: &Plan) -> Vec<Count> {
    let summary = plan.summary();
    let always = [
        (Tone::Add, summary.additions, "to add"),
        (Tone::Remove, summary.removals, "to remove"),
        (Tone::Change, summary.updates, "to change"),
        (Tone::Hold, summary.held, "waiting"),
    ];
    let sometimes = [
        (Tone::Note, summary.adoptions, "to adopt"),
        (Tone::Note, summary.conflicts, "in conflict"),
    ];
    always
        .into_iter()
        .chain(sometimes.into_iter().filter(|(_, number, _)| *number > 0))
        .map(|(tone, number, what)| Count { tone, number, what })
        .collect()
}

fn facts(plan: &Plan) -> Vec<(&'static str, String)> {
    let header = plan.header();
    let envelope = plan.envelope();
    let tally = header.tally;
    vec![
        ("Tenant", header.tenant.to_string()),
        ("Target", header.target.to_string()),
        ("Mode", words(header.mode.code())),
        (
            "Looked at",
            format!(
                "{}: {} desired, {} present, {} not ours",
                number(header.containers, "container", "containers"),
                tally.desired,
                tally.present,
                tally.foreign
            ),
        ),
        ("Made", minute(envelope.created)),
        ("Valid until", minute(envelope.expires)),
        ("Digest", plan.digest().to_string()),
    ]
}

fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn words(code: &str) -> String {
    code.replace('_', " ")
}

fn hold_groups<'a>(sections: &'a [Section], options: &RenderOptions) -> Vec<HoldGroup<'a>> {
    let mut groups: BTreeMap<&HoldCause, HoldGroup<'a>> = BTreeMap::new();
    for section in sections {
        for hold in &section.holds {
            let group = groups.entry(&hold.cause).or_insert_with(|| HoldGroup {
                cause: hold.cause.to_string(),
                code: hold.cause.code(),
                next: hold.cause.next_action(),
                is_approvable: hold.cause.is_approvable(),
                count: 0,
                entries: Vec::new(),
            });
            group.count += 1;
            if group.entries.len() < options.entries {
                group.entries.push(Entry {
                    container: Some(&section.name),
                    ..entry(&hold.operation)
                });
            }
        }
    }
    groups.into_values().collect()
}

fn container_view<'a>(section: &'a Section, options: &RenderOptions) -> ContainerView<'a> {
    let mut lists = Vec::new();
    for (tone, heading) in [
        (Tone::Add, "To add"),
        (Tone::Remove, "To remove"),
        (Tone::Change, "To change"),
        (Tone::Note, "To adopt"),
    ] {
        let entries = section
            .operations
            .iter()
            .filter(|operation| tone_of(&operation.action) == tone);
        push(&mut lists, tone, heading, entries.map(entry), options);
    }
    let held = section.holds.iter().map(|hold| Entry {
        tone: Tone::Hold,
        why: format!("{}; waits: {}", hold.operation.reason, hold.cause),
        ..entry(&hold.operation)
    });
    push(&mut lists, Tone::Hold, "Waiting", held, options);
    let findings = section.findings.iter().map(|finding| Entry {
        tone: Tone::Note,
        action: if finding.what.is_conflict() {
            "conflict"
        } else {
            "note"
        },
        name: name_of(&finding.label, &finding.subject),
        id: finding.subject.to_string(),
        container: None,
        why: finding.what.to_string(),
    });
    push(&mut lists, Tone::Note, "To know", findings, options);
    let tally = section.tally;
    ContainerView {
        name: if section.name.is_empty() {
            section.container.object.as_str()
        } else {
            &section.name
        },
        kind: words(section.kind.code()),
        id: section.container.to_string(),
        owner: section.owner.as_ref().map(ToString::to_string),
        tally: format!(
            "{} desired, {} present, {} not ours",
            tally.desired, tally.present, tally.foreign
        ),
        lists,
        ledger: ledger(section),
    }
}

fn push<'a>(
    lists: &mut Vec<List<'a>>,
    tone: Tone,
    heading: &'static str,
    entries: impl Iterator<Item = Entry<'a>> + Clone,
    options: &RenderOptions,
) {
    let count = entries.clone().count();
    if count > 0 {
        lists.push(List {
            tone,
            heading,
            count,
            entries: entries.take(options.entries).collect(),
        });
    }
}

fn ledger(section: &Section) -> Option<String> {
    let mut counts = BTreeMap::new();
    for change in &section.ledger {
        let what = match change.step {
            LedgerStep::Agree(_) => "agreed",
            LedgerStep::Claim(_) => "claimed",
            LedgerStep::Forget => "forgotten",
            LedgerStep::Release(_) => "released",
        };
        *counts.entry(what).or_insert(0_u64) += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn tone_of(action: &Action) -> Tone {
    match action {
        Action::Add(_) | Action::Create(_) => Tone::Add,
        Action::Adopt => Tone::Note,
        Action::Change(_) | Action::Update { .. } => Tone::Change,
        Action::Delete | Action::Remove => Tone::Remove,
    }
}

fn entry(operation: &Operation) -> Entry<'_> {
    let mut why = operation.reason.to_string();
    let detail = detail(&operation.action);
    if !detail.is_empty() {
        write!(why, "; {detail}").expect("a string takes all that is written to it");
    }
    if operation.approved {
        why.push_str("; approved");
    }
    Entry {
        tone: tone_of(&operation.action),
        action: operation.action.code(),
        name: name_of(&operation.label, &operation.subject),
        id: operation.subject.to_string(),
        container: None,
        why,
    }
}

fn name_of<'a>(label: &'a str, subject: &'a Subject) -> &'a str {
    match subject {
        _ if !label.is_empty() => label,
        Subject::Principal(principal) => principal.object.as_str(),
        Subject::Record(record) => record.object.as_str(),
    }
}

fn detail(action: &Action) -> String {
    let plain = MemberFacets::default();
    match action {
        Action::Add(facets) if *facets == plain => String::new(),
        Action::Add(facets) => format!("as {}, {}", facets.role, facets.state),
        Action::Update { from, to } => {
            let mut parts = Vec::new();
            if from.role != to.role {
                parts.push(format!("role {} → {}", from.role, to.role));
            }
            if from.state != to.state {
                parts.push(format!("state {} → {}", from.state, to.state));
            }
            parts.join(", ")
        }
        Action::Change(facets) => {
            let names: Vec<_> = facets.keys().map(|name| name.as_str()).collect();
            names.join(", ")
        }
        Action::Create(record) => record.kind.to_string(),
        Action::Adopt | Action::Delete | Action::Remove => String::new(),
    }
}
