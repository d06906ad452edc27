//! What a subscription has quantities of.

use crate::id::text_id;

text_id!(
    /// What a subscription has so and so many of: mailboxes, lists, contacts, megabytes of archive …
    SubscriptionResource,
    "subscription resource"
);
