//! What holds of decoders that are private to this crate, whatever they are given: one function for each fuzz target. No part of the
//! API. A function panics where something does not hold.

mod ids;
mod url;

use std::fmt::Display;

use usersync_model::visible;

pub use crate::changes::fuzzed::ldap_controls;
pub use crate::client::fuzzed::ldap_session;
pub use ids::ldap_ids;
pub use url::ldap_url;

/// A message can be shown on a terminal and in a log: it says something, in one line, and nothing in it is hidden or turns the
/// direction of its surroundings.
pub(crate) fn is_fit_to_show(message: &impl Display) {
    let message = message.to_string();
    assert!(!message.trim().is_empty(), "{message:?}");
    assert_eq!(visible(&message), message);
}
