//! Jobs of records: from one collection to many, or collection by collection.

mod course;
mod definition;
mod look;
mod planner;
mod read;
mod served;
mod settle;
mod subscription;
mod survey;

pub use self::definition::{Collections, Distribution, RecordJob};
pub(crate) use self::planner::make_plan;
pub(crate) use self::read::{Shown, read as read_collection};
pub use self::subscription::{Booked, BookingRecord, OrganisationUse};
pub(crate) use self::survey::RecordSurvey;

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: [crate::fuzzing::StoredFormat; 2] = [
    crate::fuzzing::stored!(served::SERVED, served::Served),
    crate::fuzzing::stored!(subscription::BOOKING_AUDIT, BookingRecord),
];
