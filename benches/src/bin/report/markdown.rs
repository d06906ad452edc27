//! The report as Markdown.

use std::fmt::Write as _;

use crate::figures::{Course, Machine};
use crate::judge::{bytes, count, exponent, time, verdicts};

pub(crate) fn report(machine: &Machine, courses: &[Course]) -> String {
    let mut text = format!(
        "# How long it takes\n\nMedians of one run each, on {} with {} cores. Ratios of one scenario were measured together; those of \
         different ones were not. “Growth” is the exponent of time by items over all sizes. “Peak” is the memory that a way takes \
         beside what was held before.\n",
        machine.processor, machine.cores
    );
    aims(&mut text, courses);
    for course in courses {
        scenario(&mut text, course);
    }
    text
}

fn aims(text: &mut String, courses: &[Course]) {
    text.push_str("\n## What is aimed at\n\n| scenario | way | items | aim | found | reached |\n|---|---|---|---|---|---|\n");
    for one in courses.iter().flat_map(verdicts) {
        let reached = if one.reached { "yes" } else { "no" };
        line(
            text,
            &[
                one.scenario,
                one.way,
                &count(one.items),
                &one.aim,
                &one.found,
                reached,
            ],
        );
    }
}

fn scenario(text: &mut String, course: &Course) {
    let _ = write!(text, "\n## {}\n\n| way | | growth |", course.scenario.name);
    for size in &course.sizes {
        let _ = write!(
            text,
            " {} | a {} | peak |",
            count(size.items),
            course.scenario.item
        );
    }
    text.push_str("\n|---|---|---|");
    text.push_str(&"---|---|---|".repeat(course.sizes.len()));
    text.push('\n');
    for (name, part) in course.ways() {
        let growth = exponent(course, name).map_or(String::new(), |growth| format!("{growth:.2}"));
        let mut cells = vec![name.to_owned(), part.name().to_owned(), growth];
        for (items, figures) in course.figures_of(name) {
            cells.push(time(figures.median));
            cells.push(time(figures.median / items as f64));
            cells.push(bytes(figures.peak as f64));
        }
        line(text, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn line(text: &mut String, cells: &[&str]) {
    text.push('|');
    for cell in cells {
        let _ = write!(text, " {} |", cell.replace('|', "\\|"));
    }
    text.push('\n');
}
