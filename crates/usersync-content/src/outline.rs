//! What a text says, in few bytes, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{Digest, DigestBuilder};

use crate::canonical::meanings;
use crate::document::{Component, Document};
use crate::line::Line;

/// What a text says: equal for texts that say the same, however they are written. Some tens of bytes for each property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outline {
    slots: BTreeMap<String, u64>,
}

/// Which properties differ between two outlines; shown by their names, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub(crate) slots: BTreeSet<Slot>,
}

/// Where something stands: a property, or all components of one name, within one component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    /// Empty for the outermost one.
    pub(crate) component: String,
    pub(crate) name: String,
}

impl Outline {
    /// What is different from an earlier outline. Linear.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Changes {
        let names = self.slots.keys().chain(earlier.slots.keys());
        let slots = names
            .filter(|name| self.slots.get(*name) != earlier.slots.get(*name))
            .filter_map(|name| Slot::from_stored(name))
            .collect();
        Changes { slots }
    }

    /// What both say.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        self.retained(|name, value| other.slots.get(name) == Some(&value))
    }

    /// What this one says of the properties that `other` says something of.
    #[must_use]
    pub fn known_to(&self, other: &Self) -> Self {
        self.retained(|name, _| other.slots.contains_key(name))
    }

    /// What this one says, but for the properties of `changes`, of which it says what `from` says.
    #[must_use]
    pub fn taking(&self, changes: &Changes, from: &Self) -> Self {
        let mut slots = self.slots.clone();
        for slot in &changes.slots {
            let name = Slot::stored(&slot.component, &slot.name);
            match from.slots.get(&name) {
                Some(value) => slots.insert(name, *value),
                None => slots.remove(&name),
            };
        }
        Self { slots }
    }

    fn retained(&self, keep: impl Fn(&str, u64) -> bool) -> Self {
        let slots = self.slots.iter().filter(|(name, value)| keep(name, **value));
        Self {
            slots: slots.map(|(name, value)| (name.clone(), *value)).collect(),
        }
    }

    /// Identifies the outline: equal for equal outlines only.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.slots
            .iter()
            .fold(
                DigestBuilder::new("usersync.outline/1"),
                |digest, (slot, value)| digest.part(slot.as_bytes()).part(&value.to_be_bytes()),
            )
            .finish()
    }
}

impl Changes {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What both name.
    #[must_use]
    pub fn among(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.intersection(&other.slots).cloned().collect(),
        }
    }

    /// What either names.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            slots: self.slots.union(&other.slots).cloned().collect(),
        }
    }

    /// What of this one [meets](Self::meets) the other.
    #[must_use]
    pub fn meeting(&self, other: &Self) -> Self {
        let meets = |slot: &&Slot| other.slots.iter().any(|theirs| slot.meets(theirs));
        Self {
            slots: self.slots.iter().filter(meets).cloned().collect(),
        }
    }

    /// Whether both name something that makes sense only together, so that carrying one over may undo the other: the same
    /// property, times and rules of recurrence, the parts of a name, or an occurrence that came or went and something in it.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        !self.meeting(other).is_empty()
    }
}

impl fmt::Display for Changes {
    /// The names of what differs, each once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: BTreeSet<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        for (place, name) in names.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Properties of which one means little without the others.
const TOGETHER: [&[&str]; 2] = [
    &[
        "DTEND", "DTSTART", "DUE", "DURATION", "EXDATE", "EXRULE", "RDATE", "RRULE",
    ],
    &["FN", "N"],
];

impl Slot {
    fn meets(&self, other: &Self) -> bool {
        let is_together =
            |names: &&[&str]| names.contains(&self.name.as_str()) && names.contains(&other.name.as_str());
        let comes_or_goes = |slot: &Self| slot.name == Self::PRESENCE;
        self == other
            || TOGETHER.iter().any(is_together)
            || (self.component == other.component && (comes_or_goes(self) || comes_or_goes(other)))
    }

    /// The name of the slot that says that a component is there.
    const PRESENCE: &str = "BEGIN";

    /// Names hold no control characters of this kind, and the last separator is the one between.
    const BETWEEN: char = '\u{1f}';

    fn stored(component: &str, name: &str) -> String {
        format!("{component}{}{name}", Self::BETWEEN)
    }

    fn from_stored(stored: &str) -> Option<Self> {
        let (component, name) = stored.rsplit_once(Self::BETWEEN)?;
        Some(Self {
            component: component.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl Document<'_> {
    /// What the text says. O(n log n) in its lines.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let inner = self.whole_components();
        let mut slots: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let root = &self.components[0];
        let children = root.children.iter().map(|child| &self.components[*child]);
        for (key, component) in
            std::iter::once((String::new(), root)).chain(children.map(|child| (child.key(), child)))
        {
            if component.is_known_time_zone() {
                continue;
            }
            for (name, lines) in slots_of(component) {
                let said: Vec<String> = lines
                    .iter()
                    .flat_map(|line| meanings(self.format, line))
                    .collect();
                if said.is_empty() {
                    continue;
                }
                let slot = slots.entry(Slot::stored(&key, &name)).or_default();
                match lines.len() {
                    1 => slot.extend(said),
                    _ => slot.push(joined(said)),
                }
            }
            // What is in the outermost component has slots of its own.
            if !key.is_empty() {
                for child in &component.children {
                    let slot = Slot::stored(&key, &self.components[*child].name);
                    slots.entry(slot).or_default().push(inner[*child].to_string());
                }
                // An occurrence or a zone is there, even if it says nothing else.
                slots.entry(Slot::stored(&key, Slot::PRESENCE)).or_default();
            }
        }
        let slots = slots
            .into_iter()
            .map(|(slot, said)| (slot, eight_bytes(&said_digest(said))))
            .collect();
        Outline { slots }
    }

    /// What each component says with all that is in it.
    fn whole_components(&self) -> Vec<Digest> {
        let none = Digest::of("usersync.component/1", b"");
        let mut whole = vec![none; self.components.len()];
        // Components in others come after them.
        for (place, component) in self.components.iter().enumerate().rev() {
            let lines = component
                .lines
                .iter()
                .flat_map(|line| meanings(self.format, line));
            let inner = component
                .children
                .iter()
                .map(|child| format!("{} {}", self.components[*child].name, whole[*child]));
            whole[place] = said_digest(lines.chain(inner).collect());
        }
        whole
    }
}

impl Component {
    /// Whether it defines a time zone that everybody knows by its name: writers replace these by definitions of their own.
    fn is_known_time_zone(&self) -> bool {
        self.name == "VTIMEZONE"
            && self.line("TZID").is_some_and(|line| {
                let zone = line.value.trim();
                zone.contains('/') || zone.eq_ignore_ascii_case("UTC")
            })
    }
}

/// The lines of a component by the slot that they are in: the name of the property, or all names of a group of lines.
pub(crate) fn slots_of(component: &Component) -> Vec<(String, Vec<&Line>)> {
    let mut groups: BTreeMap<String, Vec<&Line>> = BTreeMap::new();
    let mut slots = Vec::new();
    for line in &component.lines {
        match &line.group {
            Some(group) => groups.entry(group.to_ascii_lowercase()).or_default().push(line),
            None => slots.push((line.name.clone(), vec![line])),
        }
    }
    slots.extend(groups.into_values().map(|lines| {
        let names: BTreeSet<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        (names.into_iter().collect::<Vec<_>>().join("+"), lines)
    }));
    slots
}

fn joined(mut said: Vec<String>) -> String {
    said.sort_unstable();
    said.join("\n\u{1d}")
}

fn said_digest(mut said: Vec<String>) -> Digest {
    said.sort_unstable();
    said.dedup();
    said.iter()
        .fold(DigestBuilder::new("usersync.slot/1"), |digest, said| {
            digest.part(said.as_bytes())
        })
        .finish()
}

/// Whoever finds another text for these eight bytes hides a change of their own entry, and nothing else.
fn eight_bytes(digest: &Digest) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}
