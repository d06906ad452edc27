//! The model, through what is public.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod address;
mod graph_behind;
mod graph_closure;
mod graph_common;
mod graph_dense;
mod graph_explain;
mod graph_hostile;
mod graph_impacts;
mod graph_intern;
mod graph_large;
mod graph_live;
mod graph_rows;
mod graph_words;
mod link;
mod values;
