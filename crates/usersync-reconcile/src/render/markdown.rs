//! A plan as Markdown.

use std::fmt::{self, Write};

use usersync_model::visible;

use super::RenderOptions;
use super::view::{Entry, View};
use crate::plan::Plan;

/// The plan as Markdown, in lists with one line for every entry.
///
/// Untrusted text cannot end a line, begin a list, a tag, an image or a link, or format anything; some readers make links
/// of mail addresses all the same.
#[must_use]
pub fn render_markdown(plan: &Plan, options: &RenderOptions) -> String {
    let mut out = String::new();
    write(&mut out, &View::new(plan, options)).expect("a string takes all that is written to it");
    out
}

fn write(out: &mut String, view: &View<'_>) -> fmt::Result {
    writeln!(
        out,
        "# {}\n\n**{}**\n",
        Escaped(&view.title),
        Escaped(&view.headline)
    )?;
    for count in &view.counts {
        writeln!(out, "- {} {}", count.number, count.what)?;
    }
    writeln!(out)?;
    for (name, value) in &view.facts {
        writeln!(out, "- {name}: {}", Escaped(value))?;
    }
    if !view.warnings.is_empty() || view.more_warnings > 0 {
        writeln!(out, "\n## Warnings\n")?;
        for warning in &view.warnings {
            writeln!(out, "- {}", Escaped(warning))?;
        }
        more(out, view.more_warnings)?;
    }
    if !view.holds.is_empty() {
        writeln!(out, "\n## Waiting")?;
        if let Some((digest, count)) = &view.approval {
            writeln!(out, "\nTo let {count} of them go, approve the digest `{digest}`.")?;
        }
        for group in &view.holds {
            writeln!(out, "\n### {} × {}\n", group.count, Escaped(&group.cause))?;
            let lifted = if group.is_approvable {
                ""
            } else {
                " No approval lifts this."
            };
            writeln!(out, "Next: {}.{lifted} (`{}`)\n", group.next, group.code)?;
            for entry in &group.entries {
                line(out, entry)?;
            }
            more(out, group.more() as u64)?;
        }
    }
    for container in &view.containers {
        writeln!(out, "\n## {}\n", Escaped(container.name))?;
        write!(out, "{}, {}", Escaped(&container.kind), Escaped(&container.id))?;
        if let Some(owner) = &container.owner {
            write!(out, ", owned by {}", Escaped(owner))?;
        }
        writeln!(out, ": {}", container.tally)?;
        for list in &container.lists {
            writeln!(out, "\n### {} ({})\n", list.heading, list.count)?;
            for entry in &list.entries {
                line(out, entry)?;
            }
            more(out, list.more() as u64)?;
        }
        if let Some(ledger) = &container.ledger {
            writeln!(out, "\nIn the ledger only: {ledger}")?;
        }
    }
    if view.more_containers > 0 {
        writeln!(out, "\n… and {} more containers", view.more_containers)?;
    }
    Ok(())
}

fn line(out: &mut String, entry: &Entry<'_>) -> fmt::Result {
    write!(
        out,
        "- {} **{}** ({})",
        entry.action,
        Escaped(entry.name),
        Escaped(&entry.id)
    )?;
    if let Some(container) = entry.container {
        write!(out, " in {}", Escaped(container))?;
    }
    writeln!(out, ": {}", Escaped(&entry.why))
}

fn more(out: &mut String, count: u64) -> fmt::Result {
    if count > 0 {
        writeln!(out, "- … and {count} more")
    } else {
        Ok(())
    }
}

/// Text without a meaning in Markdown.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Space at the edges would undo the emphasis around it.
        let shown = visible(self.0);
        let shown = shown.trim();
        for (at, c) in shown.char_indices() {
            let begins_link = || match c {
                ':' => shown[at..].starts_with("://"),
                '.' => shown.as_bytes()[..at]
                    .last_chunk()
                    .is_some_and(|w: &[u8; 3]| w.eq_ignore_ascii_case(b"www")),
                _ => false,
            };
            let begins_list = || match c {
                '-' | '+' => at == 0,
                '.' | ')' => at > 0 && shown.as_bytes()[..at].iter().all(u8::is_ascii_digit),
                _ => false,
            };
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '|' | '~' | '$' => write!(f, "\\{c}")?,
                _ if begins_link() || begins_list() => write!(f, "\\{c}")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
