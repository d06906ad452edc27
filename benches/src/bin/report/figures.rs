//! What was measured.

use serde::{Deserialize, Serialize};
use usersync_benches::scenario::Scenario;
use usersync_benches::way::Part;

/// One scenario at all sizes, from the smallest to the largest.
pub(crate) struct Course {
    pub(crate) scenario: Scenario,
    pub(crate) sizes: Vec<Measured>,
}

/// One scenario at one size.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) items: u64,
    /// What the process held before the first way was gone, in bytes.
    pub(crate) held: u64,
    pub(crate) ways: Vec<Figures>,
}

/// One way at one size.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) part: PartCode,
    /// How often it was gone.
    pub(crate) times: usize,
    /// Nanoseconds.
    pub(crate) median: f64,
    pub(crate) p99: f64,
    /// The most that it took beside what was held, in bytes.
    pub(crate) peak: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartCode {
    Limit,
    Usual,
    Usersync,
}

impl From<Part> for PartCode {
    fn from(part: Part) -> Self {
        match part {
            Part::Limit => Self::Limit,
            Part::Usual => Self::Usual,
            Part::Usersync => Self::Usersync,
        }
    }
}

impl PartCode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Usual => "usual way",
            Self::Usersync => "usersync",
        }
    }
}

impl Course {
    /// The ways, in the order of the scenario.
    pub(crate) fn ways(&self) -> impl Iterator<Item = (&str, PartCode)> {
        let first = self.sizes.first().into_iter();
        first.flat_map(|size| size.ways.iter().map(|way| (way.name.as_str(), way.part)))
    }

    /// The figures of a way, by how many items there were.
    pub(crate) fn figures_of(&self, name: &str) -> Vec<(u64, &Figures)> {
        let one =
            |size: &'_ Measured| Some(size.items).zip(size.ways.iter().position(|way| way.name == name));
        let sizes = self.sizes.iter();
        sizes
            .filter_map(|size| one(size).map(|(items, at)| (items, &size.ways[at])))
            .collect()
    }
}

/// What was measured on.
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
        Self {
            processor: model
                .unwrap_or("a processor that does not tell its name")
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}
