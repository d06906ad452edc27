//! Whole small worlds for jobs of records, and naive models to compare them with.

pub mod edit;
mod model;
mod world;

pub use model::{Contents, distributed, imported};
pub use world::{RecordEnd, RecordWorld, RecordWorldBuilder, contact, contact_id, facet, own, own_id, text};
