//! The fault sweep.

mod course;
mod ending;
mod lines;
mod point;
mod points;
mod report;
mod scenario;
mod witness;
mod world;

pub use lines::Lines;
pub use point::{InvalidPoint, Mode, Point};
pub use points::Points;
pub use report::{Failure, Report};
pub use scenario::Sweep;
pub use world::{Host, Outcome, World, well};
