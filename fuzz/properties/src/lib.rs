//! What holds of every parser and decoder whatever it is given: one function for each fuzz target, with the target's name.
//!
//! `fuzz/` feeds them what a fuzzer makes up, on a nightly toolchain; `tests/corpora.rs` feeds them what was found so far, with the
//! other tests. A function panics where something does not hold.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by them"
)]

mod content;
mod cron;
mod cursor;
mod dn;
mod filter;
mod ldif;
mod ldif_export;
mod plan;
mod sqlite;
mod stored;
mod text;

use std::fmt::Display;

pub use content::content;
pub use cron::cron;
pub use cursor::cursor;
pub use dn::dn;
pub use filter::filter;
pub use ldif::ldif;
pub use ldif_export::ldif_export;
pub use plan::plan;
pub use sqlite::sqlite;
pub use stored::{stored, values};
pub use text::{address, ids};
pub use usersync_ldap::fuzzing::{ldap_controls, ldap_ids, ldap_session, ldap_url};

/// What is checked of one input.
pub type Property = fn(&[u8]);

/// Every target by its name, in alphabetical order.
pub const TARGETS: [(&str, Property); 17] = [
    ("address", address),
    ("content", content),
    ("cron", cron),
    ("cursor", cursor),
    ("dn", dn),
    ("filter", filter),
    ("ids", ids),
    ("ldap_controls", ldap_controls),
    ("ldap_ids", ldap_ids),
    ("ldap_session", ldap_session),
    ("ldap_url", ldap_url),
    ("ldif", ldif),
    ("ldif_export", ldif_export),
    ("plan", plan),
    ("sqlite", sqlite),
    ("stored", stored),
    ("values", values),
];

/// A message can be shown on a terminal and in a log: it says something, in one line, and nothing in it is hidden or turns the
/// direction of its surroundings.
fn is_fit_to_show(message: &impl Display) {
    let message = message.to_string();
    assert!(!message.trim().is_empty(), "{message:?}");
    assert_eq!(usersync::model::visible(&message), message);
}

/// The parts of an input that is made of several, between lines of `%%`.
fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    const BETWEEN: &[u8] = b"\n%%\n";
    let mut rest = data;
    std::array::from_fn(|_| {
        let found = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let (part, after) = match found {
            Some(at) => (&rest[..at], &rest[at + BETWEEN.len()..]),
            None => (rest, &[][..]),
        };
        rest = after;
        part
    })
}
