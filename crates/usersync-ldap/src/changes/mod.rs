//! Continuing a read: what changed since.

mod ranges;

pub(crate) use ranges::{RangeLimits, complete_ranges};
