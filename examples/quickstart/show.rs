//! What the acts show on the terminal.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use futures::executor::block_on;
use usersync::engine::{Answer, RunEvent, RunReport};
use usersync::model::{ContainerRef, Subject};
use usersync::reconcile::{HoldCause, Operation, Plan, RenderOptions, Section, render_table};

use crate::exports::AddressBook;

const BAR: usize = 30;

/// The terminal. A progress bar moves only where somebody looks; a file gets its last state.
pub(crate) struct Screen {
    quiet: bool,
    live: bool,
}

impl Screen {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            live: io::stdout().is_terminal(),
        }
    }

    pub(crate) fn act(&self, number: u32, title: &str) {
        let line = "─".repeat(96_usize.saturating_sub(title.chars().count() + 4));
        self.say(format_args!("\n{number}. {title} {line}\n"));
    }

    pub(crate) fn say(&self, text: impl Display) {
        if !self.quiet {
            // Whoever closed the pipe has seen enough.
            let _ = writeln!(io::stdout(), "{text}");
        }
    }

    /// Follows a run to its end.
    pub(crate) fn follow(&self, mut events: UnboundedReceiver<RunEvent>) {
        let mut line = Progress::default();
        while let Some(event) = block_on(events.next()) {
            line.see(&event);
            if self.live && !self.quiet {
                let _ = write!(io::stdout(), "\r  {line}\x1b[K");
                let _ = io::stdout().flush();
            }
        }
        let start = if self.live { "\r" } else { "" };
        self.say(format_args!("{start}  {line}"));
    }

    /// A plan as tables, cut to what fits a screen or two.
    pub(crate) fn plan(&self, plan: &Plan) {
        let options = RenderOptions {
            containers: 4,
            entries: 3,
            ..RenderOptions::default()
        };
        self.say(render_table(plan, &options).trim_end());
    }

    pub(crate) fn report(&self, report: &RunReport) {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for operation in &report.operations {
            *counts
                .entry((operation.action, operation.outcome.code()))
                .or_default() += 1;
        }
        let counts: Vec<_> = counts
            .into_iter()
            .map(|((action, outcome), count)| format!("{count} × {action}: {outcome}"))
            .collect();
        let held = report.plan.as_ref().map_or(0, |plan| plan.summary().held);
        self.say(format_args!(
            "  The run ended: {}. {}; {held} held.",
            report.end.code(),
            if counts.is_empty() {
                "No operations".to_owned()
            } else {
                counts.join(", ")
            },
        ));
    }

    /// The operations of a plan that `which` picks, one a line. The names are those of `book`: the plan does not know what those
    /// were called who left.
    pub(crate) fn operations(&self, plan: &Plan, book: &AddressBook, which: impl Fn(&Operation) -> bool) {
        for section in plan.sections() {
            for operation in section.operations.iter().filter(|operation| which(operation)) {
                let who = match &operation.subject {
                    Subject::Principal(principal) => book.name(principal),
                    Subject::Record(_) => "",
                };
                let action = operation.action.code();
                self.say(format_args!(
                    "    {action:<7} {who:<34} {:<30} {}",
                    section.name, operation.reason
                ));
            }
        }
    }

    /// What waits, one line for each kind of cause.
    pub(crate) fn holds(&self, plan: &Plan) {
        let mut causes: BTreeMap<&str, (&HoldCause, usize)> = BTreeMap::new();
        for hold in plan.sections().iter().flat_map(|section| &section.holds) {
            causes.entry(hold.cause.code()).or_insert((&hold.cause, 0)).1 += 1;
        }
        for (code, (cause, count)) in causes {
            self.say(format_args!(
                "    {count:>3} held, {code}: {}",
                cause.next_action()
            ));
        }
    }

    /// Why somebody attends, or not.
    pub(crate) fn answer(&self, who: &str, entry: &str, answer: &Answer) {
        let lines = answer.to_string().replace('\n', "\n    ");
        self.say(format_args!("  {who}, {entry}:\n    {lines}"));
    }
}

/// A run as one line.
#[derive(Default)]
struct Progress {
    entries: u64,
    members: u64,
    done: u64,
    of: u64,
}

impl Progress {
    fn see(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Applied { done, of } => (self.done, self.of) = (*done, *of),
            RunEvent::Planned { summary, .. } => self.of = summary.operations(),
            RunEvent::ReadDirectory { entries, .. } => self.entries = *entries,
            RunEvent::ReadTarget { members, .. } => self.members = *members,
            _ => {}
        }
    }
}

impl Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            entries,
            members,
            done,
            of,
        } = self;
        let full = if *of == 0 {
            BAR
        } else {
            (done * BAR as u64 / of) as usize
        };
        let (full, empty) = ("█".repeat(full), "░".repeat(BAR - full.min(BAR)));
        write!(
            f,
            "{full}{empty} {entries} entries, {members} members read; {done} of {of} applied"
        )
    }
}

/// The part of a plan that concerns one entry.
pub(crate) fn section<'p>(plan: &'p Plan, entry: &ContainerRef) -> Option<&'p Section> {
    plan.sections().iter().find(|section| section.container == *entry)
}
