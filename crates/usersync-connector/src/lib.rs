//! The traits of the systems that are synchronized, with their error, capabilities, adapters and wrappers.
