//! What examples show on the terminal.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::thread::{self, JoinHandle};

use futures::StreamExt;
use futures::executor::block_on;
use usersync::engine::{RunControl, RunEvent};
use usersync::model::visible;

/// What an example ends with.
pub type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The terminal. Nothing is shown where it is quiet; progress moves only where somebody looks.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    quiet: bool,
}

impl Screen {
    /// The terminal.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// The title of an act.
    pub fn act(&self, number: u32, title: &str) {
        let line = "─".repeat(96_usize.saturating_sub(title.chars().count() + 4));
        self.say(format_args!("\n{number}. {title} {line}\n"));
    }

    /// Text, which may have several lines. Whatever moves the cursor is written as `\u{…}`.
    pub fn say(&self, text: impl Display) {
        if !self.quiet {
            // Whoever closed the pipe has seen enough.
            let text = text.to_string();
            for line in text.trim_end_matches('\n').split('\n') {
                let _ = writeln!(io::stdout(), "{}", visible(line));
            }
        }
    }

    /// Rows in columns: the first is the head, and numbers stand right.
    pub fn table(&self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            let mut line = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                let is_number =
                    !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || "+-".contains(c));
                line += &match is_number {
                    true => format!(" {cell:>width$} "),
                    false => format!(" {cell:<width$} "),
                };
            }
            self.say(line.trim_end());
            if number == 0 {
                let line = widths.iter().map(|width| format!(" {} ", "─".repeat(*width)));
                self.say(format_args!(" {}", line.collect::<String>().trim_end()));
            }
        }
    }

    /// A control whose run is shown as it goes, and what to wait for at its end.
    #[must_use]
    pub fn follow(&self) -> (RunControl, Following) {
        let (control, mut events) = RunControl::with_events();
        let live = io::stdout().is_terminal() && !self.quiet;
        let follower = thread::spawn(move || {
            let mut last = String::new();
            while let Some(event) = block_on(events.next()) {
                last = match event {
                    RunEvent::Applied { done, of } => format!("{done} of {of} operations done"),
                    RunEvent::Planned { summary, .. } => {
                        format!("{} operations planned", summary.operations())
                    }
                    RunEvent::ReadDirectory { system, entries } => {
                        format!("{system}: {entries} entries read")
                    }
                    RunEvent::ReadTarget { system, members } => format!("{system}: {members} records read"),
                    _ => continue,
                };
                if live {
                    let _ = write!(io::stdout(), "\r  {last}\x1b[K");
                    let _ = io::stdout().flush();
                }
            }
            if live {
                let _ = write!(io::stdout(), "\r\x1b[K");
            }
            last
        });
        (control, Following(follower))
    }
}

/// The progress of a run. It ends when the run and its control are gone.
#[derive(Debug)]
pub struct Following(JoinHandle<String>);

impl Following {
    /// Waits for the end, and answers how far the run came.
    #[must_use]
    pub fn end(self) -> String {
        self.0.join().unwrap_or_default()
    }
}

/// Fails unless what is claimed is so.
///
/// # Errors
/// With the statement.
pub fn check(holds: bool, statement: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("not as it says: {statement}").into())
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}
