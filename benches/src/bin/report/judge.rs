//! What the figures say: how cost grows, and what of that which is aimed at is reached.

use usersync_benches::scenario::{Aim, Target};

use crate::figures::Course;

/// The exponent of how time grows with items: the slope of the line that fits their logarithms best. None for one size.
pub(crate) fn exponent(course: &Course, way: &str) -> Option<f64> {
    let figures = course.figures_of(way);
    let points = figures.iter().filter(|(_, figures)| figures.median > 0.0);
    let points: Vec<(f64, f64)> = points
        .map(|(items, figures)| ((*items as f64).ln(), figures.median.ln()))
        .collect();
    if points.len() < 2 {
        return None;
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let across: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    Some(along / across)
}

/// What came of one thing that is aimed at, at the largest size.
pub(crate) struct Verdict {
    pub(crate) scenario: &'static str,
    pub(crate) items: u64,
    pub(crate) way: &'static str,
    pub(crate) aim: String,
    pub(crate) found: String,
    pub(crate) reached: bool,
}

pub(crate) fn verdicts(course: &Course) -> Vec<Verdict> {
    let judge = |target: &Target| {
        let (items, ours) = *course.figures_of(target.way).last()?;
        let beside = |other: &str| Some(course.figures_of(other).last()?.1.median);
        let (aim, found, reached) = match target.aim {
            Aim::AtMost(most, other) => {
                let ratio = ours.median / beside(other)?;
                let aim = format!("at most {most} × “{other}”");
                (aim, format!("{ratio:.2} ×"), ratio <= most)
            }
            Aim::Bytes(most) => {
                let bytes = ours.peak as f64 / items as f64;
                let aim = format!("at most {most} bytes an item beside what was held");
                (aim, format!("{bytes:.1} bytes"), bytes <= most)
            }
            Aim::Faster(least, other) => {
                let ratio = beside(other)? / ours.median;
                let aim = format!("at least {least} × faster than “{other}”");
                (aim, format!("{ratio:.1} ×"), ratio >= least)
            }
            Aim::Within(median, p99) => {
                let aim = format!("median at most {}, p99 at most {}", time(median), time(p99));
                let found = format!("{}, {}", time(ours.median), time(ours.p99));
                (aim, found, ours.median <= median && ours.p99 <= p99)
            }
        };
        Some(Verdict {
            scenario: course.scenario.name,
            items,
            way: target.way,
            aim,
            found,
            reached,
        })
    };
    course.scenario.targets.iter().filter_map(judge).collect()
}

/// Nanoseconds for people.
pub(crate) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 1e3 => format!("{short:.1} ns"),
        short if short < 1e6 => format!("{:.1} µs", short / 1e3),
        short if short < 1e9 => format!("{:.1} ms", short / 1e6),
        long => format!("{:.2} s", long / 1e9),
    }
}

/// Bytes for people.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        few if few < 1e3 => format!("{few:.0} B"),
        few if few < 1e6 => format!("{:.0} kB", few / 1e3),
        many => format!("{:.0} MB", many / 1e6),
    }
}

/// A count for people.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
