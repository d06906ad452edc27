//! Simulated worlds, and proof that the simulator sees what goes wrong in them.

mod doubles;
mod faulty;
mod faulty_items;
mod regressions;
mod seeds;
