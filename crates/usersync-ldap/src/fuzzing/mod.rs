//! What holds of decoders that are private to this crate, whatever they are given: one function for each fuzz target. No part of the
//! API. A function panics where something does not hold.

mod ids;
mod url;

use std::fmt::Display;

pub use crate::changes::fuzzed::ldap_controls;
pub use crate::client::fuzzed::ldap_session;
pub use ids::ldap_ids;
pub use url::ldap_url;

/// A message can be shown on a terminal and in a log: it says something, in one line, and nothing in it turns the direction of its
/// surroundings.
pub(crate) fn is_fit_to_show(message: &impl Display) {
    let message = message.to_string();
    let misleads = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(
        !message.trim().is_empty() && !message.contains(misleads),
        "{message:?}"
    );
}
