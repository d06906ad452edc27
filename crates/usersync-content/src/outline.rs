//! What a text says, in few bytes, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{Digest, DigestBuilder};

use crate::canonical::meanings;
use crate::document::{Component, Document, Format};
use crate::line::Line;

/// What a text says: equal for texts that say the same, however they are written. Some tens of bytes for each property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Said>", into = "BTreeMap<String, Said>")]
pub struct Outline {
    slots: BTreeMap<String, Said>,
}

/// What is said in a slot: eight bytes for all of it, and for each line or group of lines where there are several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Said {
    Once(u64),
    /// All of it, and then each.
    Often(u64, Vec<u64>),
}

impl Said {
    fn whole(&self) -> u64 {
        match self {
            Self::Once(whole) | Self::Often(whole, _) => *whole,
        }
    }

    fn each(&self) -> &[u64] {
        match self {
            Self::Once(whole) => std::slice::from_ref(whole),
            Self::Often(_, each) => each,
        }
    }
}

impl PartialEq for Said {
    /// What was stored once has no parts, and may say the same.
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

impl Eq for Said {}

impl From<Outline> for BTreeMap<String, Said> {
    fn from(outline: Outline) -> Self {
        outline.slots
    }
}

impl From<BTreeMap<String, Said>> for Outline {
    /// Slots once had the names of labels in theirs. What they say is the same.
    fn from(mut slots: BTreeMap<String, Said>) -> Self {
        let labelled: Vec<String> = slots.keys().filter(|slot| slot.contains('+')).cloned().collect();
        for old in labelled {
            let Some(slot) = Slot::from_stored(&old) else {
                continue;
            };
            let name = group_name(slot.name.split('+'));
            let new = Slot::stored(&slot.component, &name);
            if !slots.contains_key(&new)
                && let Some(said) = slots.remove(&old)
            {
                slots.insert(new, said);
            }
        }
        Self { slots }
    }
}

/// Which properties differ between two outlines; shown by their names, for people.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// `None`: whatever is there is replaced.
    pub(crate) slots: BTreeMap<Slot, Option<Moved>>,
}

impl PartialEq for Changes {
    fn eq(&self, other: &Self) -> bool {
        self.slots.keys().eq(other.slots.keys())
    }
}

impl Eq for Changes {}

/// What is in a slot no more, and what is new there: each by the eight bytes for it.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) gone: BTreeSet<u64>,
    pub(crate) come: BTreeSet<u64>,
}

impl Moved {
    fn between(earlier: Option<&Said>, later: Option<&Said>) -> Self {
        let each = |said: Option<&Said>| -> BTreeSet<u64> {
            said.map(Said::each).unwrap_or_default().iter().copied().collect()
        };
        let (earlier, later) = (each(earlier), each(later));
        Self {
            gone: earlier.difference(&later).copied().collect(),
            come: later.difference(&earlier).copied().collect(),
        }
    }
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
            .filter_map(|name| {
                let moved = Moved::between(earlier.slots.get(name), self.slots.get(name));
                Some((Slot::from_stored(name)?, Some(moved)))
            })
            .collect();
        Changes { slots }
    }

    /// What both say.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        self.retained(|name, said| other.slots.get(name) == Some(said))
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
        for slot in changes.slots.keys() {
            let name = Slot::stored(&slot.component, &slot.name);
            match from.slots.get(&name) {
                Some(said) => slots.insert(name, said.clone()),
                None => slots.remove(&name),
            };
        }
        Self { slots }
    }

    fn retained(&self, keep: impl Fn(&str, &Said) -> bool) -> Self {
        let slots = self.slots.iter().filter(|(name, said)| keep(name, said));
        Self {
            slots: slots.map(|(name, said)| (name.clone(), said.clone())).collect(),
        }
    }

    /// Identifies the outline: equal for equal outlines only.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.slots
            .iter()
            .fold(
                DigestBuilder::new("usersync.outline/1"),
                |digest, (slot, said)| digest.part(slot.as_bytes()).part(&said.whole().to_be_bytes()),
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
        self.retained(|slot| other.slots.contains_key(slot))
    }

    /// What either names. Of what the other one names, it does not matter what was there before: it is replaced.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut slots = self.slots.clone();
        slots.extend(other.slots.keys().map(|slot| (slot.clone(), None)));
        Self { slots }
    }

    /// What of this one [meets](Self::meets) the other.
    #[must_use]
    pub fn meeting(&self, other: &Self) -> Self {
        self.retained(|slot| other.slots.keys().any(|theirs| slot.meets(theirs)))
    }

    fn retained(&self, keep: impl Fn(&Slot) -> bool) -> Self {
        let slots = self.slots.iter().filter(|(slot, _)| keep(slot));
        Self {
            slots: slots.map(|(slot, moved)| (slot.clone(), moved.clone())).collect(),
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
        let names: BTreeSet<&str> = self.slots.keys().map(|slot| slot.name.as_str()).collect();
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
        let mut slots: BTreeMap<String, (Vec<String>, BTreeSet<u64>)> = BTreeMap::new();
        let root = &self.components[0];
        let children = root.children.iter().map(|child| &self.components[*child]);
        for (key, component) in
            std::iter::once((String::new(), root)).chain(children.map(|child| (child.key(), child)))
        {
            if component.is_known_time_zone() {
                continue;
            }
            for (name, lines) in slots_of(component) {
                let said = said_by(self.format, &lines);
                if let Some(bytes) = eight_bytes_of(&said) {
                    let slot = slots.entry(Slot::stored(&key, &name)).or_default();
                    slot.0.extend(said);
                    slot.1.insert(bytes);
                }
            }
            // What is in the outermost component has slots of its own.
            if !key.is_empty() {
                for child in &component.children {
                    let slot = Slot::stored(&key, &self.components[*child].name);
                    slots.entry(slot).or_default().0.push(inner[*child].to_string());
                }
                // An occurrence or a zone is there, even if it says nothing else.
                slots.entry(Slot::stored(&key, Slot::PRESENCE)).or_default();
            }
        }
        let slots = slots
            .into_iter()
            .map(|(slot, (said, each))| {
                let whole = eight_bytes(&said_digest(said));
                let said = match each.len() {
                    0 | 1 => Said::Once(whole),
                    _ => Said::Often(whole, each.into_iter().collect()),
                };
                (slot, said)
            })
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

/// What only labels the other lines of its group. Where a system drops it, they are the same property all the same.
const LABELS: [&str; 2] = ["X-ABADR", "X-ABLABEL"];

/// The name of the slot of a group of lines: those of their properties, but for labels.
fn group_name<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let properties: BTreeSet<&str> = names.clone().filter(|name| !LABELS.contains(name)).collect();
    let names = if properties.is_empty() {
        names.collect()
    } else {
        properties
    };
    names.into_iter().collect::<Vec<_>>().join("+")
}

/// The lines of a component by the slot that they are in: the name of the property, or those of a group of lines.
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
        let name = group_name(lines.iter().map(|line| line.name.as_str()));
        (name, lines)
    }));
    slots
}

/// What lines that stand in a slot together say; nothing if they say nothing.
fn said_by(format: Format, lines: &[&Line]) -> Vec<String> {
    let said: Vec<String> = lines.iter().flat_map(|line| meanings(format, line)).collect();
    match lines.len() {
        0 | 1 => said,
        _ if said.is_empty() => said,
        _ => vec![joined(said)],
    }
}

fn eight_bytes_of(said: &[String]) -> Option<u64> {
    (!said.is_empty()).then(|| eight_bytes(&said_digest(said.to_vec())))
}

/// The eight bytes for lines that stand in a slot together; `None` if they say nothing.
pub(crate) fn eight_bytes_for(format: Format, lines: &[&Line]) -> Option<u64> {
    eight_bytes_of(&said_by(format, lines))
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
