//! Deterministic simulation of whole worlds: directories, a target and a store, workers that run jobs, people who change both sides
//! meanwhile, and everything that goes wrong between them.
//!
//! One seed is one world and one course of events. There is no real time and no thread: the simulator polls the workers' futures
//! itself, in an order that the seed picks, and every call to a connector or the store, and every wait, is a place where somebody
//! else may go on, where time may pass, or where a process may die. After each step the [rules](Violation) hold, which are
//! found out from the effects that the systems saw and never from the engine. In the end all faults stop, people do nothing more,
//! whatever waits for an approval gets it, and the world has to come to rest where a naive model says.
//!
//! ```
//! use usersync_sim::{Config, Simulation};
//!
//! let report = Simulation::new(7, Config::default()).run();
//! assert!(report.is_ok(), "{report}");
//! ```
//!
//! Worlds have tenants whose ids are all equal; containers that select each other, and come off the list; guests, departures and their
//! grace; jobs of members, of copies and of imports, which are edited, paused, narrowed to nothing, and asked to adopt; links with too few
//! seats. In some, runs read in portions or are cancelled, directories tell only what is different in the end, groups name members of
//! other directories, and whole groups go. [`Occurrence`] counts what does not happen in every world, as [`FaultKind`] does for faults.
//!
//! One world in three has an office beside it: contacts, diaries or tasks of linked persons and mailboxes that a job keeps in step,
//! often by the wall clocks of a zone, in systems some of which write texts otherwise than they get them; owners who consent, by
//! mail or to a store of tokens, and take it back; rooms that need seats, where extra ones are enabled. It has a store, workers and
//! a time of its own, and draws from streams of its own, so that the other world of a seed is the same with and without it. Ranks
//! are not part of it.
//!
//! What breaks a rule is printed as one line, and shrinks: [`Simulation::shrink`] leaves out what is not needed for it, and the
//! [`Tape`] of what is left replays it.
//!
//! `cargo test -p usersync-sim` runs some hundred worlds. So many more are run, from such a seed on, by
//!
//! ```text
//! USERSYNC_SIM_SEEDS=100000 USERSYNC_SIM_FIRST=1000 cargo test --release -p usersync-sim --test it seeds -- --nocapture
//! ```
//!
//! and `USERSYNC_SIM_SEED=7` in place of these two shows every line of what happens in the world of one seed.
//!
//! A target of one's own takes the place of the one in memory, and is then seen by two workers at once, killed and paused like
//! everything else; people's way around it is [`TargetUnderTest`]:
//!
//! ```
//! use std::sync::Arc;
//! use usersync_memory::MemoryTarget;
//! use usersync_sim::{Config, Simulation};
//!
//! let simulation = Simulation::new(7, Config::default())
//!     .with_target(|spec| Arc::new(MemoryTarget::new(spec.system.clone(), spec.capabilities)));
//! assert!(simulation.run().is_ok());
//! ```
//!
//! The [`sweep`] is the other way round: one scenario, no chance, and every one of its calls broken in every way.

mod choice;
mod config;
mod core;
mod differences;
mod executor;
mod fault;
mod history;
mod model;
mod occurrence;
mod office;
mod people;
mod places;
mod plug;
mod rarities;
mod report;
mod rest;
mod shadow;
mod shrink;
mod simulation;
mod stage;
pub mod sweep;
mod tenant;
mod wire;
mod world;

pub use choice::{InvalidTape, Tape};
pub use config::Config;
pub use fault::FaultKind;
pub use occurrence::Occurrence;
pub use plug::{TargetSpec, TargetUnderTest};
pub use report::{Counts, Report, Violation};
pub use simulation::Simulation;
