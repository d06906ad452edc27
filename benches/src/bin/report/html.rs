//! The report as one page of HTML, with a plot for each scenario.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::prelude::*;

use crate::Result;
use crate::figures::{Course, Machine, PartCode};
use crate::judge::{bytes, count, exponent, time, verdicts};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
    table{border-collapse:collapse;font-size:.85rem;margin:1rem 0}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}\
    td:first-child,th:first-child,td.text{text-align:left}.no{color:#b00020}.yes{color:#00602b}svg{max-width:100%;height:auto}\
    div.wide{overflow-x:auto}";

pub(crate) fn report(machine: &Machine, courses: &[Course]) -> Result<String> {
    let plots = courses.iter().map(plot).collect::<Result<Vec<String>>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "How long it takes" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "How long it takes" }
                p {
                    "Medians of one run each, on " (machine.processor) " with " (machine.cores) " cores. Ratios of one scenario were \
                     measured together; those of different ones were not. “Growth” is the exponent of time by items over all sizes. \
                     “Peak” is the memory that a way takes beside what was held before."
                }
                (aims(courses))
                @for (course, plot) in courses.iter().zip(&plots) {
                    h2 { (course.scenario.name) }
                    (PreEscaped(plot))
                    (table(course))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn aims(courses: &[Course]) -> Markup {
    html! {
        h2 { "What is aimed at" }
        div.wide { table {
            tr { th { "scenario" } th { "way" } th { "items" } th { "aim" } th { "found" } th { "reached" } }
            @for one in courses.iter().flat_map(verdicts) {
                tr {
                    td { (one.scenario) } td.text { (one.way) } td { (count(one.items)) } td.text { (one.aim) } td { (one.found) }
                    @if one.reached { td.yes { "yes" } } @else { td.no { "no" } }
                }
            }
        } }
    }
}

fn table(course: &Course) -> Markup {
    html! {
        div.wide { table {
            tr {
                th { "way" } th { "" } th { "growth" }
                @for size in &course.sizes {
                    th { (count(size.items)) } th { "a " (course.scenario.item) } th { "peak" }
                }
            }
            @for (name, part) in course.ways() {
                tr {
                    td { (name) } td.text { (part.name()) }
                    td { @if let Some(growth) = exponent(course, name) { (format!("{growth:.2}")) } }
                    @for (items, figures) in course.figures_of(name) {
                        td { (time(figures.median)) } td { (time(figures.median / items as f64)) } td { (bytes(figures.peak as f64)) }
                    }
                }
            }
        } }
    }
}

/// Time by items, both by their logarithms, so that what grows evenly is a straight line.
fn plot(course: &Course) -> Result<String> {
    let points = |way: &str| -> Vec<(f64, f64)> {
        let figures = course.figures_of(way).into_iter();
        figures
            .filter(|(_, figures)| figures.median > 0.0)
            .map(|(items, figures)| (items as f64, figures.median / 1e6))
            .collect()
    };
    let all: Vec<(f64, f64)> = course.ways().flat_map(|(way, _)| points(way)).collect();
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = all.iter().map(of).fold((f64::MAX, 0.0), |(low, high), value| {
            (f64::min(low, value), f64::max(high, value))
        });
        low / 1.5..high * 1.5
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(
                span(|point| point.0).log_scale(),
                span(|point| point.1).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(format!("{} (items)", course.scenario.item))
            .y_desc("milliseconds")
            .light_line_style(WHITE)
            .draw()?;
        for (at, (way, part)) in course.ways().enumerate() {
            let style = style(at, part);
            chart
                .draw_series(LineSeries::new(points(way), style).point_size(3))?
                .label(format!("{}: {way}", part.name()))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// Limits are grey, usual ways warm, ours cold.
fn style(at: usize, part: PartCode) -> ShapeStyle {
    let shade =
        |base: f64| HSLColor(base + 0.035 * (at % 4) as f64, 0.75, 0.3 + 0.08 * (at % 3) as f64).to_rgba();
    match part {
        PartCode::Limit => RGBColor(120, 120, 120).to_rgba().stroke_width(1),
        PartCode::Usual => shade(0.02).stroke_width(1),
        PartCode::Usersync => shade(0.55).stroke_width(2),
    }
}
