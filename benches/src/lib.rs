//! Scenarios for the benches: deterministic data in three sizes, the limits of the machine, and naive ways to compare
//! with.

pub mod directory;
pub mod disk;
pub mod distribution;
pub mod naive;
pub mod people;
pub mod random;
pub mod world;
