//! Carrying changes from one text into another, line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::canonical::STAMPS;
use crate::document::{Component, Document, Format};
use crate::line::Line;
use crate::outline::{Changes, Moved, Slot, eight_bytes_for, slots_of};
use crate::write::{folded, translated};

impl Document<'_> {
    /// This text with `changes` as `from` has them: the properties that changed are taken from there, line by line, with the
    /// stamps of the components that they are in; occurrences that came or went come or go whole. Every other line stays byte
    /// for byte; so does one of a property that changed, if it was never among its lines on the other side, as far as that can be told.
    ///
    /// Where the changes are those of `from` since both texts said the same, the result says what `from` says.
    #[must_use]
    pub fn patched(&self, from: &Document<'_>, changes: &Changes) -> Vec<u8> {
        let mut patch = Patch::new(self, from);
        let mut components: BTreeMap<&str, Names<'_>> = BTreeMap::new();
        for (Slot { component, name }, moved) in &changes.slots {
            let names = components.entry(component).or_default();
            names.insert(name, moved.as_ref());
        }
        for (key, mut names) in components {
            match (self.find(key), from.find(key)) {
                (Some(mine), Some(theirs)) => {
                    let stamps = STAMPS.iter().filter(|stamp| theirs.line(stamp).is_some());
                    names.extend(stamps.map(|stamp| (*stamp, None)));
                    if self.format == Format::Calendar {
                        exclude(&mut names);
                    }
                    patch.component(mine, theirs, &names);
                }
                (Some(mine), None) => patch.edit(mine.span.clone(), Vec::new()),
                (None, Some(theirs)) => patch.append(theirs),
                (None, None) => {}
            }
        }
        patch.time_zones(changes);
        patch.finish()
    }

    /// This text under another UID: another entry with the same content. Every other line stays byte for byte.
    #[must_use]
    pub fn with_uid(&self, uid: &str) -> Vec<u8> {
        let mut patch = Patch::new(self, self);
        let line_break = patch.line_break;
        for line in self.components.iter().flat_map(|component| &component.lines) {
            if line.name == "UID" {
                let line = Line {
                    value: uid.to_owned(),
                    ..line.clone()
                };
                patch.edit(line.span.clone(), folded(&line, line_break));
            }
        }
        patch.finish()
    }

    fn version(&self) -> &str {
        self.components[0]
            .line("VERSION")
            .map_or("", |line| line.value.trim())
    }
}

/// Ways to say when something ends. An entry has one of them at most (RFC 5545 sections 3.6.1 and 3.6.2), and systems may write another
/// one than they were given.
const ENDS: [&str; 3] = ["DTEND", "DUE", "DURATION"];

/// Adds to one way to say something the others, which it replaces.
fn exclude(names: &mut Names<'_>) {
    if ENDS.iter().any(|end| names.contains_key(end)) {
        names.extend(ENDS.map(|end| (end, None)));
    }
}

/// The slots of a component that are carried over, and what came and went there, if that is known.
type Names<'a> = BTreeMap<&'a str, Option<&'a Moved>>;

/// What is said in each slot, line by line or group by group.
fn said_in<'a>(format: Format, slots: &'a [(String, Vec<&Line>)]) -> BTreeMap<&'a str, BTreeSet<u64>> {
    let mut said: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (name, lines) in slots {
        said.entry(name)
            .or_default()
            .extend(eight_bytes_for(format, lines));
    }
    said
}

struct Patch<'a> {
    to: &'a Document<'a>,
    from: &'a Document<'a>,
    line_break: &'static str,
    /// What replaces which part of the text; parts do not overlap.
    edits: Vec<(Range<usize>, Vec<u8>)>,
    /// Names of groups in use.
    groups: BTreeSet<String>,
}

impl<'a> Patch<'a> {
    fn new(to: &'a Document<'a>, from: &'a Document<'a>) -> Self {
        let first = to.bytes.iter().position(|byte| *byte == b'\n');
        let is_crlf = first.is_none_or(|end| end > 0 && to.bytes[end - 1] == b'\r');
        let lines = to.components.iter().flat_map(|component| &component.lines);
        Self {
            to,
            from,
            line_break: if is_crlf { "\r\n" } else { "\n" },
            edits: Vec::new(),
            groups: lines
                .filter_map(|line| Some(line.group.as_ref()?.to_ascii_lowercase()))
                .collect(),
        }
    }

    fn edit(&mut self, span: Range<usize>, text: Vec<u8>) {
        self.edits.push((span, text));
    }

    /// Takes the slots `names` of a component from its counterpart: what came and went there, or all of it where that cannot be told from
    /// what is here. What this side has and the other never kept stays.
    fn component(&mut self, mine: &Component, theirs: &Component, names: &Names<'_>) {
        let (slots, other_slots) = (slots_of(mine), slots_of(theirs));
        let here = said_in(self.to.format, &slots);
        let there = said_in(self.from.format, &other_slots);
        let moves = |name: &str, moved: &Moved| {
            let (Some(here), there) = (here.get(name), there.get(name)) else {
                return false;
            };
            // What went is found where it was not written otherwise here. What only came may be all that there can be.
            let may_be_several = here.len() > 1 || there.is_some_and(|there| there.len() > 1);
            moved.gone.is_subset(here) && (!moved.gone.is_empty() || may_be_several)
        };
        let moved: BTreeMap<&str, &Moved> = names
            .iter()
            .filter_map(|(name, moved)| Some((*name, (*moved)?)))
            .filter(|(name, moved)| moves(name, moved))
            .collect();
        let mut gone: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, lines) in &slots {
            let Some((name, _)) = names.get_key_value(name.as_str()) else {
                continue;
            };
            let goes = moved.get(name).is_none_or(|moved| {
                let said = eight_bytes_for(self.to.format, lines);
                said.is_some_and(|said| moved.gone.contains(&said))
            });
            if !goes {
                ends.insert(
                    name,
                    lines.iter().map(|line| line.span.end).max().unwrap_or_default(),
                );
                continue;
            }
            gone.entry(name).or_default().extend(lines);
            for group in lines.iter().filter_map(|line| line.group.as_ref()) {
                self.groups.remove(&group.to_ascii_lowercase());
            }
        }
        let mut come: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (name, lines) in &other_slots {
            let Some((name, _)) = names.get_key_value(name.as_str()) else {
                continue;
            };
            let comes = moved.get(name).is_none_or(|moved| {
                let is_here = |said: &u64| here.get(name).is_some_and(|here| here.contains(said));
                let said = eight_bytes_for(self.from.format, lines);
                said.is_some_and(|said| moved.come.contains(&said) && !is_here(&said))
            });
            if comes {
                let text = self.written(lines);
                come.entry(name).or_default().extend(text);
            }
        }
        let children = |document: &'a Document<'a>, of: &Component, name: &str| {
            let children = of.children.iter().map(|child| &document.components[*child]);
            children.filter(|child| child.name == name).collect::<Vec<_>>()
        };
        let first_child = mine
            .children
            .first()
            .map(|child| self.to.components[*child].span.start);
        for name in names.keys() {
            let old = gone.remove(name).unwrap_or_default();
            let new = come.remove(name).unwrap_or_default();
            let place = old.iter().map(|line| line.span.start).min();
            let place = place.or(ends.remove(name));
            let place = place.or(first_child).unwrap_or(mine.end);
            self.edit(place..place, new);
            for line in old {
                self.edit(line.span.clone(), Vec::new());
            }
            // Components within the outermost one have slots of their own.
            if mine.span.start == self.to.components[0].span.start {
                continue;
            }
            for child in children(self.to, mine, name) {
                self.edit(child.span.clone(), Vec::new());
            }
            for child in children(self.from, theirs, name) {
                let text = self.raw(child.span.clone());
                self.edit(mine.end..mine.end, text);
            }
        }
    }

    /// Lines of the other text as lines of this one.
    fn written(&mut self, lines: &[&Line]) -> Vec<u8> {
        let mut text = Vec::new();
        let group = lines.iter().find_map(|line| line.group.as_ref());
        let group = group.map(|group| self.free_group(group));
        for line in lines {
            let version = self.to.version();
            let differs = self.to.format == Format::Card && version != self.from.version();
            let other = if differs { translated(line, version) } else { None };
            let is_renamed = line.group != group;
            if other.is_some() || is_renamed {
                let line = other.unwrap_or_else(|| (*line).clone());
                let line = Line {
                    group: group.clone(),
                    ..line
                };
                text.extend(folded(&line, self.line_break));
            } else {
                text.extend(self.raw(line.span.clone()));
            }
        }
        text
    }

    /// A name for a group of lines that no other lines of this text have.
    fn free_group(&mut self, wanted: &str) -> String {
        let is_free = |name: &String| !self.groups.contains(&name.to_ascii_lowercase());
        let mut numbered = (1..).map(|number: u64| format!("item{number}"));
        let name = std::iter::once(wanted.to_owned())
            .chain(&mut numbered)
            .find(is_free)
            .expect("a text has fewer groups than there are numbers");
        self.groups.insert(name.to_ascii_lowercase());
        name
    }

    /// A part of the other text with the line breaks of this one.
    fn raw(&self, span: Range<usize>) -> Vec<u8> {
        let mut text = Vec::with_capacity(span.len() + 2);
        for line in self.from.bytes[span].split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            text.extend_from_slice(self.line_break.as_bytes());
        }
        text
    }

    /// Takes over a whole component, into the outermost one; definitions of time zones first.
    fn append(&mut self, theirs: &Component) {
        let root = &self.to.components[0];
        let first = root.children.first().filter(|_| theirs.name == "VTIMEZONE");
        let place = first.map_or(root.end, |first| self.to.components[*first].span.start);
        let text = self.raw(theirs.span.clone());
        self.edit(place..place, text);
    }

    /// Takes over the time zones that inserted lines name and this text does not define, beside those that are among the
    /// changes themselves.
    fn time_zones(&mut self, changes: &Changes) {
        for child in &self.from.components[0].children {
            let zone = &self.from.components[*child];
            let Some(line) = zone.line("TZID").filter(|_| zone.name == "VTIMEZONE") else {
                continue;
            };
            let key = zone.key();
            let is_named = self
                .edits
                .iter()
                .any(|(_, text)| names_zone(text, line.value.trim()));
            let is_there =
                self.to.find(&key).is_some() || changes.slots.keys().any(|slot| slot.component == key);
            if is_named && !is_there {
                self.append(zone);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        // Stable: what is inserted at one place stays in its order, before what is taken away there.
        self.edits.sort_by_key(|(span, _)| (span.start, span.end));
        let mut out = Vec::with_capacity(self.to.bytes.len());
        let mut at = 0;
        for (span, text) in self.edits {
            out.extend_from_slice(self.to.bytes.get(at..span.start).unwrap_or_default());
            out.extend(text);
            at = at.max(span.end);
        }
        out.extend_from_slice(&self.to.bytes[at..]);
        out
    }
}

/// Whether lines name a time zone; folds aside.
fn names_zone(text: &[u8], zone: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    let unfolded = text.replace("\r\n ", "").replace("\n ", "");
    unfolded.contains(&format!("TZID={zone}")) || unfolded.contains(&format!("TZID=\"{zone}\""))
}
