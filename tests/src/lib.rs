//! Whole small worlds to try the engine in, and a naive model to compare it with.

mod model;
mod world;

pub mod edit;
pub mod yielding;

pub use model::{Model, Presence};
pub use world::{
    AUTO_APPLY, Crash, End, LEASE, Snapshot, World, WorldBuilder, all, container, crash, every_capability,
    facets, free_policy, group, job, least_capability, member, tenant, user,
};
