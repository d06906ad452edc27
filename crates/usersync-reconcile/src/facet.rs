//! Three-way merge of one facet of a record, attribute by attribute where they are sets.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use usersync_model::{AttributeName, Facet, Value};

use crate::merge::{ConflictPolicy, FirstSight, Later, Merged, merge};
use crate::records::{Direction, SetRule};

/// How a facet is merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FacetMerge {
    pub(crate) direction: Direction,
    pub(crate) sets: SetRule,
    pub(crate) conflict: ConflictPolicy,
    pub(crate) first_sight: FirstSight,
    pub(crate) later: Option<Later>,
    /// Whether nothing that says something may vanish.
    pub(crate) keep_all: bool,
}

/// What becomes of a facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FacetOutcome {
    /// What is written; `None`: nothing.
    pub(crate) write: Option<Facet>,
    /// The base once that is done; `None`: nothing is decided by one.
    pub(crate) base: Option<Facet>,
    /// Whether somebody has to look.
    pub(crate) conflict: bool,
}

impl FacetMerge {
    /// Merges one facet. An attribute that is empty and one that is missing say the same: nothing.
    pub(crate) fn merge(self, base: Option<&Facet>, source: &Facet, target: &Facet) -> FacetOutcome {
        let sets = self.sets_of(base, source, target);
        let source = &*self.wish(base, source, target, &sets);
        let view = |facet| Scalars { facet, sets: &sets };
        let merged = match self.direction {
            Direction::Both => merge(
                base.map(view).as_ref(),
                &view(source),
                &view(target),
                self.conflict,
                self.first_sight,
                self.later,
            ),
            _ => Merged::TakeSource,
        };
        let conflict = merged == Merged::Conflict;
        // Nearly all facets say the same on both sides, and need no copy to see it.
        let stays = sets.is_empty() && merged != Merged::TakeSource || is_same(source, target);
        FacetOutcome {
            write: (!stays)
                .then(|| self.result(merged == Merged::TakeSource, &sets, base, source, target))
                .filter(|result| !is_same(result, target)),
            base: (self.direction == Direction::Both).then(|| self.base_after(conflict, base, source, &sets)),
            conflict,
        }
    }

    /// What the source is taken to say. Where nothing may vanish, that is also what base and target say alike and it says no more: what
    /// is only kept is no change of the target's.
    fn wish<'a>(
        self,
        base: Option<&Facet>,
        source: &'a Facet,
        target: &Facet,
        sets: &BTreeSet<&AttributeName>,
    ) -> Cow<'a, Facet> {
        let mut wish = Cow::Borrowed(source);
        let Some(base) = base.filter(|_| self.keep_all && self.direction == Direction::Both) else {
            return wish;
        };
        for (name, value) in &base.attributes {
            let kept = if sets.contains(name) {
                let wished = set(source, name);
                let kept = &*set(base, name) & &*set(target, name);
                (!kept.is_subset(&wished)).then(|| Value::Set(&*wished | &kept))
            } else {
                let is_over = source.attributes.get(name).is_none_or(Value::is_empty);
                let is_kept = is_over && !value.is_empty() && target.attributes.get(name) == Some(value);
                is_kept.then(|| value.clone())
            };
            if let Some(kept) = kept {
                wish.to_mut().attributes.insert(name.clone(), kept);
            }
        }
        wish
    }

    /// What the target is to say: of one side what is no set, and the sets value by value.
    fn result(
        self,
        takes_source: bool,
        sets: &BTreeSet<&AttributeName>,
        base: Option<&Facet>,
        source: &Facet,
        target: &Facet,
    ) -> Facet {
        let view = |facet| Scalars { facet, sets };
        let mut result = Facet::default();
        let scalars = if takes_source { source } else { target };
        result.attributes.extend(view(scalars).says().map(owned));
        if self.keep_all {
            for (name, value) in view(target).says() {
                result
                    .attributes
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        for name in sets {
            let base = base.map(|base| set(base, name));
            let values = self.merge_set(base.as_deref(), &set(source, name), &set(target, name));
            if !values.is_empty() {
                result.attributes.insert((*name).clone(), Value::Set(values));
            }
        }
        result
    }

    /// The base follows the source, even where the target's change stays: only then does the next plan see that the
    /// source did not change since. What is in conflict stays in conflict until somebody settles it.
    fn base_after(
        self,
        conflict: bool,
        base: Option<&Facet>,
        source: &Facet,
        sets: &BTreeSet<&AttributeName>,
    ) -> Facet {
        let Some(base) = base.filter(|_| conflict) else {
            return source.clone();
        };
        let mut after = Facet::default();
        after
            .attributes
            .extend(Scalars { facet: base, sets }.says().map(owned));
        let from_source = source.attributes.iter().filter(|(name, _)| sets.contains(name));
        after.attributes.extend(from_source.map(owned));
        after
    }

    fn merge_set(
        self,
        base: Option<&BTreeSet<String>>,
        source: &BTreeSet<String>,
        target: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        match (self.direction, base, self.first_sight) {
            (Direction::Both, Some(base), _) => {
                let stays =
                    |value: &&String| self.keep_all || source.contains(*value) || !base.contains(*value);
                let added = source.difference(base);
                target.iter().filter(stays).chain(added).cloned().collect()
            }
            (Direction::Both, None, FirstSight::Leave) => target.clone(),
            _ if self.keep_all => source | target,
            _ => source.clone(),
        }
    }

    /// The attributes that are merged as sets: those that are sets wherever they say something. Where nothing may vanish, what is a set
    /// at the target stays one.
    fn sets_of<'a>(
        self,
        base: Option<&'a Facet>,
        source: &'a Facet,
        target: &'a Facet,
    ) -> BTreeSet<&'a AttributeName> {
        if self.sets == SetRule::Replace {
            return BTreeSet::new();
        }
        let sides = [base, Some(source), Some(target)];
        let is_other = |side: &Facet, name| {
            side.attributes
                .get(name)
                .is_some_and(|value| !value.is_empty() && !matches!(value, Value::Set(_)))
        };
        sides
            .into_iter()
            .flatten()
            .flat_map(|side| &side.attributes)
            .filter(|(_, value)| matches!(value, Value::Set(_)))
            .map(|(name, _)| name)
            .filter(|name| {
                self.keep_all && has_set(target, name)
                    || !sides.into_iter().flatten().any(|side| is_other(side, name))
            })
            .collect()
    }
}

/// Whether two facets say the same.
pub(crate) fn is_same(a: &Facet, b: &Facet) -> bool {
    let sets = &BTreeSet::new();
    Scalars { facet: a, sets } == Scalars { facet: b, sets }
}

/// The attributes of a facet that say something, without those merged as sets.
struct Scalars<'a> {
    facet: &'a Facet,
    sets: &'a BTreeSet<&'a AttributeName>,
}

impl<'a> Scalars<'a> {
    fn says(&self) -> impl Iterator<Item = (&'a AttributeName, &'a Value)> {
        let attributes: &'a BTreeMap<_, _> = &self.facet.attributes;
        attributes
            .iter()
            .filter(|(name, value)| self.is_said(name, value))
    }

    fn is_said(&self, name: &AttributeName, value: &Value) -> bool {
        !value.is_empty() && (self.sets.is_empty() || !self.sets.contains(name))
    }
}

impl PartialEq for Scalars<'_> {
    /// By hand, since adapters that compare are compiled now one way and now another, up to half as slow again.
    fn eq(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.facet.attributes.iter(), other.facet.attributes.iter());
        let (mut our, mut their) = (ours.next(), theirs.next());
        loop {
            match (our, their) {
                (None, None) => return true,
                // What is equal is said by both, or by neither.
                (Some(this), Some(that)) if this == that => (our, their) = (ours.next(), theirs.next()),
                (Some((name, value)), _) if !self.is_said(name, value) => our = ours.next(),
                (_, Some((name, value))) if !other.is_said(name, value) => their = theirs.next(),
                _ => return false,
            }
        }
    }
}

fn owned((name, value): (&AttributeName, &Value)) -> (AttributeName, Value) {
    (name.clone(), value.clone())
}

/// The values of an attribute that is merged as a set. A text is one of them.
fn set<'a>(facet: &'a Facet, name: &AttributeName) -> Cow<'a, BTreeSet<String>> {
    static NONE: BTreeSet<String> = BTreeSet::new();
    match facet.attributes.get(name) {
        Some(Value::Set(values)) => Cow::Borrowed(values),
        Some(Value::Text(text)) if !text.is_empty() => Cow::Owned(BTreeSet::from([text.clone()])),
        _ => Cow::Borrowed(&NONE),
    }
}

fn has_set(facet: &Facet, name: &AttributeName) -> bool {
    matches!(facet.attributes.get(name), Some(Value::Set(values)) if !values.is_empty())
}
