//! What is measured: every scenario at three sizes, with the least that must be done, what this workspace does, and how it is
//! usually done.

mod change;
mod closure;
mod distribute;
mod items;
mod link;
mod plan;
mod records;
mod run;
mod set_diff;
#[cfg(feature = "timing")]
mod sqlite;

use crate::way::Way;

/// Something to measure.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name: that of its family, a slash, and what is particular about it.
    pub name: &'static str,
    /// What one item is.
    pub item: &'static str,
    /// How many items there are: a hundredth, a tenth, and full size.
    pub sizes: [u64; 3],
    /// Two sizes at which instructions are counted; none where what is done depends on more than its input.
    pub counted: Option<[u64; 2]>,
    /// What is aimed at.
    pub targets: &'static [Target],
    /// Makes the ways for so many items.
    pub prepare: fn(u64) -> Vec<Way>,
}

/// What one way is to be, beside another of the same run.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The way.
    pub way: &'static str,
    /// What is aimed at.
    pub aim: Aim,
}

/// A figure that is aimed at.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// At most so many times as long as the other way.
    AtMost(f64, &'static str),
    /// At least so many times faster than the other way.
    Faster(f64, &'static str),
    /// At most so many nanoseconds in the middle, and in 99 of 100 cases.
    Within(f64, f64),
    /// At most so many bytes per item beside what was there before.
    Bytes(f64),
}

/// Which of its sizes a scenario has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// A hundredth of full size.
    Hundredth,
    /// A tenth of full size.
    Tenth,
    /// Full size.
    Full,
}

impl Size {
    /// From the smallest to the largest.
    pub const ALL: [Self; 3] = [Self::Hundredth, Self::Tenth, Self::Full];

    /// What `USERSYNC_BENCH_SIZE` asks for: `full`, `tenth`, or a hundredth.
    #[must_use]
    pub fn wanted() -> Self {
        match std::env::var("USERSYNC_BENCH_SIZE").as_deref() {
            Ok("full") => Self::Full,
            Ok("tenth") => Self::Tenth,
            _ => Self::Hundredth,
        }
    }
}

impl Scenario {
    /// How many items it has at `size`.
    #[must_use]
    pub fn items(&self, size: Size) -> u64 {
        self.sizes[size as usize]
    }

    /// The name of its family.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.name.split_once('/').map_or(self.name, |(family, _)| family)
    }
}

/// Every scenario.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let families: &[fn() -> Vec<Scenario>] = &[
        set_diff::scenarios,
        records::scenarios,
        closure::scenarios,
        change::scenarios,
        plan::scenarios,
        link::scenarios,
        run::scenarios,
        #[cfg(feature = "timing")]
        sqlite::scenarios,
        distribute::scenarios,
        items::scenarios,
    ];
    families.iter().flat_map(|family| family()).collect()
}
