//! A plan as tables for a terminal.

use std::fmt::{self, Write};

use comfy_table::{ContentArrangement, LineStyle, Row, Table, TableStyle};

use super::RenderOptions;
use super::view::{Entry, View};
use super::visible::visible;
use crate::plan::Plan;

/// The plan as tables of at most `options.width` columns, without colours, with one line for every entry: what is too
/// long is cut off.
///
/// Untrusted text has no control characters, and so cannot move the cursor, and none that turn the direction of text.
#[must_use]
pub fn render_table(plan: &Plan, options: &RenderOptions) -> String {
    let mut out = String::new();
    write(&mut out, &View::new(plan, options), options).expect("a string takes all that is written to it");
    out
}

fn write(out: &mut String, view: &View<'_>, options: &RenderOptions) -> fmt::Result {
    writeln!(out, "{}\n{}\n", visible(&view.title), view.headline)?;
    let mut facts = table(options, &[]);
    for (name, value) in &view.facts {
        facts.add_row(row([*name, value]));
    }
    for count in &view.counts {
        facts.add_row(row([count.what, &count.number.to_string()]));
    }
    writeln!(out, "{}", facts.trim_fmt())?;
    if !view.warnings.is_empty() || view.more_warnings > 0 {
        writeln!(out, "\nWarnings")?;
        for warning in &view.warnings {
            writeln!(out, "  {}", visible(warning))?;
        }
        more(out, view.more_warnings)?;
    }
    if !view.holds.is_empty() {
        writeln!(out, "\nWaiting")?;
        for group in &view.holds {
            let lifted = if group.is_approvable {
                ""
            } else {
                " (no approval lifts this)"
            };
            writeln!(out, "\n{} × {}{lifted}", group.count, visible(&group.cause))?;
            writeln!(out, "next: {}", group.next)?;
            writeln!(out, "{}", entries(options, &group.entries).trim_fmt())?;
            more(out, group.more() as u64)?;
        }
        if let Some((digest, count)) = &view.approval {
            writeln!(out, "\nTo let {count} of them go, approve\n{digest}")?;
        }
    }
    for container in &view.containers {
        write!(
            out,
            "\n{} ({}, {}",
            visible(container.name),
            visible(&container.kind),
            visible(&container.id)
        )?;
        if let Some(owner) = &container.owner {
            write!(out, ", owned by {}", visible(owner))?;
        }
        writeln!(out, "): {}", container.tally)?;
        let mut rows = table(options, &["", "", "who or what", "id", "why"]);
        for list in &container.lists {
            for entry in &list.entries {
                rows.add_row(row([
                    list.tone.mark(),
                    entry.action,
                    entry.name,
                    &entry.id,
                    &entry.why,
                ]));
            }
            if list.more() > 0 {
                let rest = format!("… and {} more", list.more());
                rows.add_row(row([list.tone.mark(), "", &rest, "", ""]));
            }
        }
        if !container.lists.is_empty() {
            writeln!(out, "{}", rows.trim_fmt())?;
        }
        if let Some(ledger) = &container.ledger {
            writeln!(out, "in the ledger only: {ledger}")?;
        }
    }
    if view.more_containers > 0 {
        writeln!(out, "\n… and {} more containers", view.more_containers)?;
    }
    Ok(())
}

fn entries(options: &RenderOptions, entries: &[Entry<'_>]) -> Table {
    let mut rows = table(options, &["", "", "who or what", "id", "where", "why"]);
    for entry in entries {
        rows.add_row(row([
            entry.tone.mark(),
            entry.action,
            entry.name,
            &entry.id,
            entry.container.unwrap_or_default(),
            &entry.why,
        ]));
    }
    rows
}

fn table(options: &RenderOptions, header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(options.width);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    table
}

fn row<const N: usize>(cells: [&str; N]) -> Row {
    let mut row = Row::from(cells.map(|cell| visible(cell).into_owned()));
    row.max_height(1);
    row
}

fn more(out: &mut String, count: u64) -> fmt::Result {
    if count > 0 {
        writeln!(out, "  … and {count} more")
    } else {
        Ok(())
    }
}
