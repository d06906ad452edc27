//! Directories, histories, selections, containers and whole scenarios, made up but reproducible.
//!
//! Everything comes in two forms. The *seeded* builders ([`directory`], [`history`], [`selection`], [`containers`],
//! [`scenario`]) give the same result for the same shape and seed on every platform, at any size. The [`strategy`] module gives
//! proptest strategies over small worlds, which shrink to the few entries that matter.
//!
//! ```
//! use usersync_testkit::generate::{DirectoryShape, directory};
//!
//! let company = directory(&DirectoryShape::new(10_000), 7);
//! let chunks: usize = company.chunks(500).count();
//! assert!(chunks > 20);
//! assert_eq!(company.changes().next(), directory(&DirectoryShape::new(10_000), 7).changes().next());
//! ```

mod directory;
mod disturb;
mod history;
mod rng;
mod scenario;
mod selection;
mod state;
pub mod strategy;

pub use directory::{Changes, DirectoryShape, GROUP_KINDS, GeneratedDirectory, directory};
pub use disturb::{
    Ending, Truncation, disturb, duplicate, events, into_chunks, rechunk, spread_members, truncations,
};
pub use history::{Event, History, Step, history};
pub use rng::SplitMix64;
pub use scenario::{Scenario, ScenarioShape, scenario};
pub use selection::{ContainerShape, SelectionShape, containers, selection};
pub use state::DirectoryState;
