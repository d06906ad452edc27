//! Whole small worlds to try the engine in, and a naive model to compare it with.

mod builder;
mod durable;
mod eventful;
mod gate;
mod model;
mod names;
mod netting;
mod steps;
mod store;
mod world;

pub mod edit;
pub mod interleave;
pub mod records;
pub mod yielding;

pub use builder::WorldBuilder;
pub use durable::{DurableStore, Folder};
pub use eventful::eventful;
pub use model::{Model, Presence};
pub use names::{
    AUTO_APPLY, LEASE, all, container, every_capability, facets, free_policy, group, job, least_capability,
    tenant, user,
};
pub use netting::NettingDirectory;
pub use store::WorldStore;
pub use world::{Crash, End, Snapshot, World, crash};
