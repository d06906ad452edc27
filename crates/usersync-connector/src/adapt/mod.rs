//! Adapters for simple hosts: connectors from closures, from blocking code, and from what is already known.

pub mod blocking;
mod closures;
mod host;
mod target;
#[cfg(test)]
mod tests;

pub use closures::{DirectoryFn, TargetFn};
pub use host::{EveryoneActive, FixedEntitlement, NoNotifier, StaticContainers};
