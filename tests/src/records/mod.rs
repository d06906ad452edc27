//! Whole small worlds for jobs of records, and naive models to compare them with.

pub mod edit;

mod builder;
mod eventful;
mod model;
mod names;
mod world;

pub use builder::RecordWorldBuilder;
pub use eventful::eventful;
pub use model::{Contents, contents, distributed, imported};
pub use names::{contact, contact_id, facet, own, own_id, text};
pub use world::{RecordEnd, RecordWorld};
