//! Licence entitlement, seats, the waiting list, the over-use report and subscription resources, as pure values.
//!
//! A tenant has an [`Entitlement`]: as many seats as the host has user licences, and up to five more once resources
//! were enabled. With a [`ResourcePlacement`] it becomes [`SeatLimits`]: three sums with bounds. [`allocate()`] gives
//! the seats there are to those who ask and says who waits; a store that checks the same three sums as it counts comes
//! to the same end.
//!
//! ```
//! use usersync_license::{Entitlement, ExtraSeats, ResourcePlacement, SeatHolder, SeatRequest, Seats, allocate};
//! use usersync_model::PrincipalRef;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Entitlement::new(1)
//!     .with_extra(ExtraSeats::new(1)?)
//!     .limits(ResourcePlacement::ExtraOnly);
//! let seats = Seats::new([SeatHolder::user(PrincipalRef::parse("crm", "ada")?)])?;
//! let requests = [
//!     SeatRequest::new(SeatHolder::user(PrincipalRef::parse("crm", "bob")?), 1),
//!     SeatRequest::new(SeatHolder::resource(PrincipalRef::parse("crm", "room-1")?), 2),
//! ];
//!
//! let plan = allocate(&limits, &seats, &[], &requests);
//! assert_eq!(plan.takes[0].to_string(), "resource crm:room-1");
//! assert_eq!(plan.waiting[0].reason.to_string(), "no seat is left: all 1 user seats are taken");
//! assert_eq!(plan.missing.users, 1);
//! # Ok(())
//! # }
//! ```
//!
//! This crate does no I/O, reads no clock, draws no randomness and puts nothing in hash order into an output.

mod allocate;
mod entitlement;
mod limits;
mod seat;
mod subscription;

pub use allocate::{Refused, SeatPlan, SeatRequest, Waiting, allocate};
pub use entitlement::{Entitlement, Extra, ExtraSeats, ExtraSeatsError, ResourcePlacement};
pub use limits::{OverUse, Refusal, SeatLimits, SeatRule};
pub use seat::{SeatConflict, SeatCounts, SeatHolder, SeatKind, Seats};
pub use subscription::{Adjustment, Measure, Quantities, Usage, UsageRule, adjustments, usage};
