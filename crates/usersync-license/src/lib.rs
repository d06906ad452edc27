//! Licence entitlement, seats, the waiting list and the over-use report, as pure values.
//!
//! This crate does no I/O, reads no clock, draws no randomness and puts nothing in hash order into an output.

mod entitlement;

pub use entitlement::{Entitlement, Extra, ExtraSeats, ExtraSeatsError, ResourcePlacement};
