//! How it looks: tables, times as people say them, and colours where somebody watches.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use usersync::engine::{
    JobEntry, NextRun, RunNumber, RunRecord, RunReport, RunResult, RunState, Scope, Waiting,
};

use usersync::model::visible;

use crate::exports::AddressBook;

/// The terminal, or whatever is in its place.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    is_coloured: bool,
    /// Where somebody looks up what was shown.
    seen: Option<Mutex<String>>,
}

/// What a text is about, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Bad,
    Good,
    Head,
    Plain,
    Quiet,
    Waits,
}

/// One field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Screen {
    /// Colours on a terminal, unless `NO_COLOR` is set to something.
    pub(crate) fn of_terminal() -> Self {
        let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_coloured: io::stdout().is_terminal() && !is_unwanted,
            seen: None,
        }
    }

    /// The same, and what is shown can be [taken](Self::take_seen).
    pub(crate) fn watched(mut self) -> Self {
        self.seen = Some(Mutex::default());
        self
    }

    /// What was shown since the last time.
    pub(crate) fn take_seen(&self) -> String {
        let seen = self
            .seen
            .as_ref()
            .map(|seen| std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)));
        seen.unwrap_or_default()
    }

    /// Lines of ours: what comes from elsewhere was made [visible](lines) before.
    pub(crate) fn say(&self, text: impl Display) {
        let text = text.to_string();
        // Whoever closed the pipe has seen enough.
        let _ = writeln!(io::stdout(), "{text}");
        if let Some(seen) = &self.seen {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push_str(&text);
            seen.push('\n');
        }
    }

    pub(crate) fn complain(&self, text: &str) {
        let _ = io::stdout().flush();
        let _ = writeln!(io::stderr(), "{}", lines(text));
    }

    /// Columns as wide as what is in them; the last one as long as it is.
    pub(crate) fn table(&self, head: &[&str], rows: &[Vec<Cell>]) {
        let mut widths: Vec<usize> = head.iter().map(|title| title.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let head: Vec<Cell> = head.iter().map(|title| Cell::new(title, Tone::Head)).collect();
        for row in [&head].into_iter().chain(rows) {
            let mut line = String::new();
            for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = match place + 1 < row.len() {
                    true => width - cell.text.chars().count() + 2,
                    false => 0,
                };
                line += &format!("{}{:pad$}", self.paint(cell), "");
            }
            self.say(line.trim_end());
        }
    }

    pub(crate) fn paint(&self, cell: &Cell) -> String {
        let code = match cell.tone {
            _ if !self.is_coloured => None,
            Tone::Bad => Some("31"),
            Tone::Good => Some("32"),
            Tone::Head => Some("1"),
            Tone::Plain => None,
            Tone::Quiet => Some("2"),
            Tone::Waits => Some("33"),
        };
        match code {
            Some(code) => format!("\x1b[{code}m{}\x1b[0m", cell.text),
            None => cell.text.clone(),
        }
    }

    /// The jobs, and what somebody should see to.
    pub(crate) fn jobs(&self, list: &[JobEntry], book: &AddressBook, now: DateTime<Utc>) {
        let rows: Vec<_> = list.iter().map(|entry| job(entry, book, now)).collect();
        self.table(&["JOB", "NAME", "LAST RUN", "OUTCOME", "NEXT RUN"], &rows);
        for entry in list {
            let id = &entry.job.id;
            if let Some((digest, count)) = &entry.held {
                let short = digest.short();
                let text = format!("{id}: {count} wait; preview {id}, then approve {id} {short}");
                self.say(self.paint(&Cell::new(&text, Tone::Waits)));
            }
            for pending in &entry.pending {
                let (scope, since) = (scope(&pending.scope), ago(pending.since, now));
                let text = format!("{id}: {} of {scope} was asked for {since}", pending.trigger);
                self.say(self.paint(&Cell::new(&text, Tone::Quiet)));
            }
        }
    }

    pub(crate) fn history(&self, records: &[RunRecord], now: DateTime<Utc>) {
        let rows: Vec<_> = records
            .iter()
            .map(|record| {
                let took = record
                    .finished()
                    .map(|end| end.signed_duration_since(record.started));
                let took = took.map_or(String::new(), |took| {
                    format!("{} ms", took.num_milliseconds().max(0))
                });
                vec![
                    Cell::plain(&record.run.to_string()),
                    Cell::plain(&ago(record.started, now)),
                    Cell::plain(&record.trigger.to_string()),
                    Cell::plain(&scope(&record.scope)),
                    Cell::new(&took, Tone::Quiet),
                    outcome(record),
                ]
            })
            .collect();
        self.table(&["RUN", "WHEN", "STARTED BY", "OF", "TOOK", "OUTCOME"], &rows);
    }

    /// How a run went, in one line.
    pub(crate) fn report(&self, job: &str, report: &RunReport) {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for operation in report
            .operations
            .iter()
            .filter(|operation| operation.outcome.is_ok())
        {
            *counts.entry(operation.action).or_default() += 1;
        }
        let failed = report.count(|outcome| !outcome.is_ok());
        let summary = report
            .plan
            .as_ref()
            .map(usersync::reconcile::Plan::summary)
            .unwrap_or_default();
        let text = ending(report.end.code(), &counts, failed as u64, summary.held);
        let cell = Cell::new(&text, tone(report.end.code(), summary.held > 0));
        self.say(format_args!("{job} {}: {}", Run(report.run), self.paint(&cell)));
        let problems = report
            .operations
            .iter()
            .filter(|operation| !operation.outcome.is_ok());
        for operation in problems.take(5) {
            let (action, who) = (operation.action, &operation.subject);
            let text = format!(
                "{action} {who} in {}: {}",
                operation.container.object, operation.outcome
            );
            self.say(format_args!("  {}", visible(&text)));
        }
        for warning in report
            .plan
            .iter()
            .flat_map(|plan| &plan.header().warnings)
            .take(5)
        {
            self.say(format_args!("  {}", visible(&warning.to_string())));
        }
    }
}

impl Cell {
    /// Whatever is in the text, it is one line.
    pub(crate) fn new(text: &str, tone: Tone) -> Self {
        let text = visible(text).into_owned();
        Self { text, tone }
    }

    pub(crate) fn plain(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A run in a sentence.
struct Run(RunNumber);

impl Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run {}", self.0)
    }
}

/// Several lines, each of them visible.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

fn job(entry: &JobEntry, book: &AddressBook, now: DateTime<Utc>) -> Vec<Cell> {
    let last = match &entry.last {
        Some(record) => Cell::plain(&format!("{}, {}", ago(record.started, now), record.trigger)),
        None => Cell::new("never", Tone::Quiet),
    };
    vec![
        Cell::plain(entry.job.id.as_str()),
        Cell::plain(&entry.job.name),
        last,
        entry.last.as_ref().map_or_else(|| Cell::plain("–"), outcome),
        next(entry, book, now),
    ]
}

fn next(entry: &JobEntry, book: &AddressBook, now: DateTime<Utc>) -> Cell {
    if let Some(run) = &entry.under_way {
        let text = format!("under way since {}, {}", ago(run.started, now), run.worker);
        return Cell::new(&text, Tone::Waits);
    }
    match &entry.next {
        NextRun::At(time) => Cell::plain(&until(*time, now)),
        NextRun::Due(_) => Cell::new("due now", Tone::Waits),
        NextRun::OnDemand => Cell::new("when asked for", Tone::Quiet),
        NextRun::Waits(Waiting::Paused(pause)) => {
            let why = match pause.why.as_str() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            Cell::new(&format!("paused by {}{why}", book.name(&pause.by)), Tone::Waits)
        }
        NextRun::Waits(Waiting::Quarantined {
            until: time, reason, ..
        }) => Cell::new(&format!("{reason}; again {}", until(*time, now)), Tone::Bad),
        NextRun::Waits(Waiting::RetryAfter { until: time }) => Cell::new(
            &format!("asked to wait; again {}", until(*time, now)),
            Tone::Waits,
        ),
        _ => Cell::plain("?"),
    }
}

fn outcome(record: &RunRecord) -> Cell {
    let text = match &record.state {
        RunState::Ended(result) => of_result(result),
        RunState::Failed { message, .. } => format!("{}: {message}", record.code()),
        RunState::Killed { .. } => "killed; the next run found out what it had done".to_owned(),
        RunState::Begun => "began; no end is known".to_owned(),
        _ => record.code().to_owned(),
    };
    let holds = record.result().is_some_and(|result| result.summary.held > 0);
    Cell::new(&text, tone(record.code(), holds))
}

fn of_result(result: &RunResult) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = 0;
    for one in &result.outcomes {
        match one.outcome.as_str() {
            "already_so" | "applied" => *counts.entry(&one.action).or_default() += one.count,
            _ => failed += one.count,
        }
    }
    ending(result.end.code(), &counts, failed, result.summary.held)
}

/// `changed: +41 −3, 12 waiting`.
fn ending(code: &str, counts: &BTreeMap<&str, u64>, failed: u64, held: u64) -> String {
    let mark = |action: &str| match action {
        "add" => "+",
        "remove" => "−",
        "update" => "~",
        _ => "=",
    };
    let changes: Vec<String> = counts
        .iter()
        .map(|(action, count)| format!("{}{count}", mark(action)))
        .collect();
    let mut parts = Vec::new();
    if !changes.is_empty() {
        parts.push(changes.join(" "));
    }
    for (count, what) in [(failed, "not done"), (held, "waiting")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let code = code.replace('_', " ");
    match parts.is_empty() {
        true => code,
        false => format!("{code}: {}", parts.join(", ")),
    }
}

fn tone(code: &str, holds: bool) -> Tone {
    match code {
        "changed" | "in_sync" if !holds => Tone::Good,
        "begun" | "cancelled" | "changed" | "held" | "in_sync" | "paused" => Tone::Waits,
        _ => Tone::Bad,
    }
}

fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Everything => "everything".to_owned(),
        Scope::Containers(containers) => match containers.first() {
            Some(only) if containers.len() == 1 => only.object.to_string(),
            _ => format!("{} containers", containers.len()),
        },
    }
}

/// `12 min ago`.
pub(crate) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match span(now.signed_duration_since(then).num_seconds()) {
        Some(span) => format!("{span} ago"),
        None => "just now".to_owned(),
    }
}

/// `in 3 h 48 min`.
pub(crate) fn until(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match span(then.signed_duration_since(now).num_seconds()) {
        Some(span) => format!("in {span}"),
        None => "now".to_owned(),
    }
}

/// The two largest units of a time of more than none.
fn span(seconds: i64) -> Option<String> {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    Some(match seconds {
        ..=0 => return None,
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86400 if minutes % 60 == 0 => format!("{hours} h"),
        3600..86400 => format!("{hours} h {} min", minutes % 60),
        _ if hours % 24 == 0 => format!("{days} d"),
        _ => format!("{days} d {} h", hours % 24),
    })
}
