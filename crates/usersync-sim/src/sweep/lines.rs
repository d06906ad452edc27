//! What is compared: lines with names.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;
use futures::StreamExt;
use serde_json::Value;
use usersync_connector::{
    CallContext, MembersEntry, MembershipRead, ReadEvent, RecordEntry, RecordRead, RecordRequest,
};
use usersync_model::ObjectId;

use super::points::wait;

/// Lines with names: what somebody has, in words, to compare it with what it was before.
///
/// ```
/// use usersync_sim::sweep::Lines;
///
/// let mut lines = Lines::default();
/// lines.put("team ada", "member");
/// assert_eq!(lines.to_string(), "team ada: member\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, String>);

impl Lines {
    /// Who is in `containers` of a target.
    ///
    /// # Errors
    /// What the target says if it cannot be read.
    pub fn members(
        target: &dyn MembershipRead,
        containers: impl IntoIterator<Item = ObjectId>,
        context: &CallContext,
    ) -> usersync_connector::Result<Self> {
        let mut lines = Self::default();
        let containers = containers.into_iter().collect();
        for event in wait(target.members(containers, context).collect::<Vec<_>>()) {
            let ReadEvent::Chunk(entries) = event? else {
                continue;
            };
            for entry in entries {
                match entry {
                    MembersEntry::Members { container, members } => {
                        for member in members {
                            let facets = &member.member.facets;
                            let shown = format!("{} {}", facets.role, facets.state);
                            lines.put(format!("{container} {}", member.member.principal), shown);
                        }
                    }
                    MembersEntry::Missing { container } => lines.put(container, "missing"),
                }
            }
        }
        Ok(lines)
    }

    /// What is in collections of a system of records.
    ///
    /// # Errors
    /// What the system says if it cannot be read.
    pub fn records(
        system: &dyn RecordRead,
        collections: impl IntoIterator<Item = Option<ObjectId>>,
        context: &CallContext,
    ) -> usersync_connector::Result<Self> {
        let mut lines = Self::default();
        for collection in collections {
            let request = RecordRequest {
                collection: collection.clone(),
                since: None,
            };
            let place = collection.map_or_else(String::new, |collection| format!("{collection} "));
            for event in wait(system.records(request, context).collect::<Vec<_>>()) {
                let ReadEvent::Chunk(entries) = event? else {
                    continue;
                };
                for entry in entries {
                    if let RecordEntry::Upsert(present) = entry {
                        let facets = format!("{:?}", present.record.facets);
                        lines.put(format!("{place}{}", present.record.id), facets);
                    }
                }
            }
        }
        Ok(lines)
    }

    /// Adds a line, or replaces the one of this name.
    pub fn put(&mut self, name: impl fmt::Display, text: impl fmt::Display) {
        self.0.insert(name.to_string(), text.to_string());
    }

    /// One more of what has this name.
    pub fn count(&mut self, name: impl fmt::Display) {
        let counted = self.0.entry(name.to_string()).or_default();
        let times = counted.strip_prefix("× ").and_then(|times| times.parse().ok());
        *counted = format!("× {}", times.unwrap_or(0_u64) + 1);
    }

    /// All of `other`'s lines, too; what has the same name is replaced.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// One line for each line that is other than `wanted`.
    #[must_use]
    pub fn difference(&self, wanted: &Self) -> Vec<String> {
        let mut names: Vec<_> = self.0.keys().chain(wanted.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let shown = |lines: &Self, name: &String| lines.0.get(name).map_or("nothing", |text| text).to_owned();
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != wanted.0.get(*name))
            .map(|name| format!("{name}: {}, and not {}", shown(self, name), shown(wanted, name)))
            .collect()
    }

    /// The first line that none of `moments` has so; those that were there in all of them must be.
    pub(super) fn never_so<'a>(&self, moments: impl Iterator<Item = &'a Self> + Clone) -> Option<String> {
        let mut names: Vec<_> = moments.clone().flat_map(|moment| moment.0.keys()).collect();
        names.extend(self.0.keys());
        names.sort_unstable();
        names.dedup();
        names.into_iter().find_map(|name| {
            let now = self.0.get(name);
            let was_so = moments.clone().any(|moment| moment.0.get(name) == now);
            let now = now.map_or("nothing", |text| text);
            (!was_so).then(|| format!("{name}: {now}"))
        })
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in &self.0 {
            writeln!(f, "{name}: {text}")?;
        }
        Ok(())
    }
}

/// A stored value without what is another each time: moments, and names made of them.
pub(super) fn plain(mut value: Value) -> Value {
    // Values are as deep as the engine makes them, which is a few levels.
    let mut open = vec![&mut value];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(values) => open.extend(values),
            Value::Object(values) => open.extend(values.iter_mut().map(|(_, value)| value)),
            Value::String(text) if DateTime::parse_from_rfc3339(text).is_ok() => "a moment".clone_into(text),
            Value::String(text) if is_hash(text) => "a hash".clone_into(text),
            _ => {}
        }
    }
    value
}

fn is_hash(text: &str) -> bool {
    text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
