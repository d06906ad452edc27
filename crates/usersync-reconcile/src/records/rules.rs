//! Which facets of records are synchronized, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usersync_model::{Digest, FacetName, Record};

use crate::merge::{ConflictPolicy, FirstSight};

/// Which facets of records are synchronized, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordRules {
    /// The rules for facets by name.
    pub facets: BTreeMap<FacetName, FacetRule>,
    /// The rule for all other facets; `None`: they are neither compared nor written.
    pub others: Option<FacetRule>,
}

impl RecordRules {
    /// Every facet is synchronized as `rule` says.
    #[must_use]
    pub fn all(rule: FacetRule) -> Self {
        Self {
            facets: BTreeMap::new(),
            others: Some(rule),
        }
    }

    /// The same rules with this one for `facet`.
    #[must_use]
    pub fn with(mut self, facet: FacetName, rule: FacetRule) -> Self {
        self.facets.insert(facet, rule);
        self
    }

    /// The same rules with `facet` switched off: it is neither compared nor written.
    #[must_use]
    pub fn without(self, facet: FacetName) -> Self {
        let off = FacetRule {
            direction: Direction::ToSource,
            ..FacetRule::default()
        };
        self.with(facet, off)
    }

    /// Identifies the rules: equal for equal rules only. A job's policy digest covers it, since other rules change
    /// what a plan writes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(self).expect("rules have only text keys, so they have a JSON form");
        Digest::of("usersync.rules/1", &bytes)
    }

    /// The rule for a facet; `None`: it is not synchronized.
    #[must_use]
    pub fn rule(&self, facet: &FacetName) -> Option<&FacetRule> {
        self.facets.get(facet).or(self.others.as_ref())
    }

    /// The rule for a facet that is compared between source and target.
    pub(crate) fn compared(&self, facet: &FacetName) -> Option<&FacetRule> {
        self.rule(facet)
            .filter(|rule| matches!(rule.direction, Direction::Both | Direction::ToTarget))
    }

    /// Whether a facet is merged three-way, so that its base is needed.
    pub(super) fn is_merged(&self, facet: &FacetName) -> bool {
        self.rule(facet)
            .is_some_and(|rule| rule.direction == Direction::Both)
    }

    /// The facets of a record to make.
    pub(super) fn written(&self, record: &Record) -> Record {
        let is_written = |facet| {
            self.rule(facet)
                .is_some_and(|rule| rule.direction != Direction::ToSource)
        };
        Record {
            id: record.id.clone(),
            kind: record.kind.clone(),
            facets: record
                .facets
                .iter()
                .filter(|(name, _)| is_written(name))
                .map(|(name, facet)| (name.clone(), facet.clone()))
                .collect(),
        }
    }
}

/// How one facet is synchronized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FacetRule {
    /// Which side may change it.
    pub direction: Direction,
    /// What becomes of attributes with several values.
    pub sets: SetRule,
    /// Who wins when both sides changed it; `None`: as the policy says.
    pub conflict: Option<ConflictPolicy>,
    /// What becomes of it where it was never agreed on; `None`: as the policy says.
    pub first_sight: Option<FirstSight>,
}

/// Which side may change a facet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both: it is merged three-way, and the target's change stays unless the source changed too.
    #[default]
    Both,
    /// The source, once: it is written when the record is made, and never looked at again.
    OnCreate,
    /// The target: it is never written there.
    ToSource,
    /// The source: what the target changed is overwritten, on first sight too.
    ToTarget,
}

/// What becomes of attributes with several values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetRule {
    /// Value by value, three-way: each side's additions and removals since they last agreed take effect. In
    /// [`Mode::AddOnly`](crate::Mode::AddOnly) no value vanishes.
    #[default]
    Merge,
    /// As one value. In [`Mode::AddOnly`](crate::Mode::AddOnly) too, where an empty set replaces nothing.
    Replace,
}
