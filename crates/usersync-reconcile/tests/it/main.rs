//! Plans, through what is public.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by them")]

mod decide;
mod items;
mod matching;
mod matching_world;
mod member_cases;
mod member_sets;
mod members;
mod plan;
mod plan_figures;
mod record_sides;
mod record_world;
mod records;
mod render;
mod render_whole;
mod support;
mod words;
