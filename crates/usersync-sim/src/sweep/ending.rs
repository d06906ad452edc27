//! What is stored, as lines.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::BoxStream;
use usersync_model::TenantId;
use usersync_store::{Key, Log, Result, StateRead, Table};

use super::lines::{Lines, plain};
use super::points::wait;
use crate::places::places_of;

/// What has to be equal of what is stored, however a world came to rest.
///
/// Left out is what tells of the way and not of the end: runs and schedules, cursors, deliveries, and of what a job remembers its
/// serial. Of what was begun at a moment, the moment is left out.
pub(super) fn stored(store: &dyn StateRead, tenant: &TenantId) -> Result<Lines> {
    let mut lines = Lines::default();
    for entry in all(store.ledger(tenant, None))? {
        let row = entry.row;
        let claims: Vec<_> = row.claims().iter().map(ToString::to_string).collect();
        let facets = row
            .facets
            .map(|facets| format!(", {facets:?}"))
            .unwrap_or_default();
        let text = format!("{:?}, claimed by {}{facets}", row.origin, claims.join(" "));
        let key = entry.key;
        lines.put(format!("ledger {} {}", key.container, key.subject), text);
    }
    let mut places = BTreeSet::new();
    for table in Table::ALL {
        if matches!(
            table,
            Table::Cursor | Table::Delivery | Table::Run | Table::Schedule
        ) {
            continue;
        }
        for (key, stored) in all(store.values(tenant, table, &Key::of(&[])))? {
            let mut value = plain(serde_json::from_slice(&stored.bytes).unwrap_or_default());
            let value = value
                .get_mut("value")
                .map(serde_json::Value::take)
                .unwrap_or_default();
            let name = format!("{} {}", table.code(), name(&key));
            match table {
                Table::Base if key.parts().next() == Some("items") => {
                    places.extend(places_of(&key, &value));
                    lines.put(name, placeless(value));
                }
                // Operations that are open are as bad as others.
                Table::Intent => lines.count(format!("{name}: {value}")),
                Table::JobState => {
                    for part in ["granted", "holds", "paused", "policy"] {
                        lines.put(format!("{name} {part}"), &value[part]);
                    }
                }
                // Bases come before places.
                Table::Place => lines.count(format!("place of {}: {}", placed(&key), places.contains(&key))),
                _ => lines.put(name, value),
            }
        }
    }
    for entry in all(store.log(tenant, Log::Audit, 0))? {
        let mut value = plain(serde_json::from_slice(&entry.bytes).unwrap_or_default());
        let value = value
            .get_mut("value")
            .map(serde_json::Value::take)
            .unwrap_or_default();
        let said = |part: &str| {
            value[part]
                .as_str()
                .map_or_else(|| value[part].to_string(), str::to_owned)
        };
        match entry.key.parts().next() {
            // A job that is saved twice was saved twice.
            Some("job") => {}
            Some(kind @ ("booking" | "link")) => {
                lines.count(format!(
                    "audit {kind} {} {} {}",
                    said("action"),
                    said("principal"),
                    said("account")
                ));
            }
            _ if said("outcome") == "applied" => {
                let (container, subject) = (said("container"), said("subject"));
                lines.count(format!("audit {} {container} {subject}", said("action")));
            }
            _ => {}
        }
    }
    for entry in all(store.log(tenant, Log::Outbox, 0))? {
        let value = plain(serde_json::from_slice(&entry.bytes).unwrap_or_default());
        lines.count(format!("outbox {value}"));
    }
    Ok(lines)
}

/// Of which item and side a place is, without where it is.
fn placed(place: &Key) -> String {
    let mut parts: Vec<&str> = place.parts().collect();
    if parts.len() > 1 {
        parts.remove(parts.len() - 2);
    }
    parts.join(" ")
}

/// What both sides say of an item, without where it is there, and in which version: systems number both as they come.
fn placeless(mut value: serde_json::Value) -> serde_json::Value {
    for side in ["first", "second"] {
        if let Some(mark) = value.get_mut(side).and_then(serde_json::Value::as_object_mut) {
            mark.remove("href");
            mark.remove("version");
        }
    }
    value
}

/// The keys of what is in the outbox and was not delivered.
pub(super) fn undelivered(store: &dyn StateRead, tenant: &TenantId) -> Result<BTreeSet<String>> {
    let entries = all(store.log(tenant, Log::Outbox, 0))?;
    Ok(entries.iter().map(|entry| outbox_name(&entry.key)).collect())
}

/// How an entry of the outbox is called: by its operation, where it tells of one.
pub(super) fn outbox_name(key: &Key) -> String {
    key.parts().collect::<Vec<_>>().join(" ")
}

/// The parts of a key, without names that are made of moments.
fn name(key: &Key) -> String {
    let part = |part: &str| match plain(part.into()) {
        serde_json::Value::String(part) => part,
        other => other.to_string(),
    };
    key.parts().map(part).collect::<Vec<_>>().join(" ")
}

fn all<T>(chunks: BoxStream<'static, Result<Vec<T>>>) -> Result<Vec<T>> {
    let chunks: Result<Vec<_>> = wait(chunks.collect::<Vec<_>>()).into_iter().collect();
    Ok(chunks?.into_iter().flatten().collect())
}
