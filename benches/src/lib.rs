//! What is measured, and the ways to do it: deterministic scenarios in three sizes, the limits of the machine, and naive ways
//! to compare with.

#[cfg(feature = "timing")]
pub mod bench;
pub mod changes;
pub mod directory;
pub mod disk;
pub mod distribution;
pub mod naive;
pub mod people;
pub mod random;
pub mod scenario;
pub mod slow;
pub mod watched;
pub mod way;
pub mod world;
