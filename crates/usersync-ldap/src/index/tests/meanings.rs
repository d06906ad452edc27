//! What entries and members mean, as tables.
