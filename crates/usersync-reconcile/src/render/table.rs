//! A plan as tables for a terminal.

use std::fmt::{self, Write};

use comfy_table::{ContentArrangement, LineStyle, Row, Table, TableStyle};
use usersync_model::visible;

use super::RenderOptions;
use super::view::{Entry, View};
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
        facts.add_row(row(options, [*name, value]));
    }
    for count in &view.counts {
        facts.add_row(row(options, [count.what, &count.number.to_string()]));
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
                let cells = [list.tone.mark(), entry.action, entry.name, &entry.id, &entry.why];
                rows.add_row(row(options, cells));
            }
            if list.more() > 0 {
                let rest = format!("… and {} more", list.more());
                rows.add_row(row(options, [list.tone.mark(), "", &rest, "", ""]));
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
        let cells = [
            entry.tone.mark(),
            entry.action,
            entry.name,
            &entry.id,
            entry.container.unwrap_or_default(),
            &entry.why,
        ];
        rows.add_row(row(options, cells));
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

fn row<const N: usize>(options: &RenderOptions, cells: [&str; N]) -> Row {
    let mut row = Row::from(cells.map(|cell| beginning(cell, options.width)));
    row.max_height(1);
    row
}

/// As much of a cell as a terminal of this width can show, and more: cutting a text to its place costs the square of its length.
fn beginning(cell: &str, width: u16) -> String {
    let most = usize::from(width) * 4;
    match cell.char_indices().nth(most) {
        Some((end, _)) => visible(&cell[..end]).into_owned() + "…",
        None => visible(cell).into_owned(),
    }
}

fn more(out: &mut String, count: u64) -> fmt::Result {
    if count > 0 {
        writeln!(out, "  … and {count} more")
    } else {
        Ok(())
    }
}
