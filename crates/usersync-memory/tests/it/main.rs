//! What the conformance suite cannot know of: faults, forks, records of calls, edits by hand, and the clock.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod calls;
mod clock;
mod effects;
mod feeds;
mod forks;
mod reads;
mod rules;
mod store;
mod support;
mod targets;
