//! Three-way merge of one facet.

use serde::{Deserialize, Serialize};

/// What happens when source and target both changed a facet since they last agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictPolicy {
    /// The later change wins; each side's time is taken from its own clock. Reported where either is not known.
    Newest,
    /// Nothing is written, the conflict is reported.
    Report,
    /// The source's value is written.
    #[default]
    SourceWins,
    /// The target's value stays.
    TargetWins,
}

/// What happens to facets of something that is there without ever having been agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstSight {
    /// The source's value is written.
    Import,
    /// The target's value stays.
    #[default]
    Leave,
}

/// The side that changed last, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// The source.
    Source,
    /// The target.
    Target,
}

/// What the merge of one facet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Merged {
    /// Both changed; nothing is written, and somebody has to look.
    Conflict,
    /// The target's value stays: only the target changed, or the policy prefers it.
    KeepTarget,
    /// Both sides are equal.
    Same,
    /// The source's value is written.
    TakeSource,
}

/// Merges one facet against the value last agreed on.
pub fn merge<T: PartialEq + ?Sized>(
    base: Option<&T>,
    source: &T,
    target: &T,
    conflict: ConflictPolicy,
    first_sight: FirstSight,
    later: Option<Later>,
) -> Merged {
    if source == target {
        return Merged::Same;
    }
    let Some(base) = base else {
        return match first_sight {
            FirstSight::Import => Merged::TakeSource,
            FirstSight::Leave => Merged::KeepTarget,
        };
    };
    if source == base {
        return Merged::KeepTarget;
    }
    if target == base {
        return Merged::TakeSource;
    }
    match (conflict, later) {
        (ConflictPolicy::SourceWins, _) | (ConflictPolicy::Newest, Some(Later::Source)) => Merged::TakeSource,
        (ConflictPolicy::TargetWins, _) | (ConflictPolicy::Newest, Some(Later::Target)) => Merged::KeepTarget,
        (ConflictPolicy::Report, _) | (ConflictPolicy::Newest, None) => Merged::Conflict,
    }
}
