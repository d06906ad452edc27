//! What an administrator picked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::PrincipalRef;

/// Included principals minus excluded ones. Groups stand for everyone below them; exclusions are applied after
/// expansion. Empty is legal and selects nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Who is picked.
    #[serde(default)]
    pub include: BTreeSet<PrincipalRef>,
    /// Who is not, even when picked.
    #[serde(default)]
    pub exclude: BTreeSet<PrincipalRef>,
}

impl Selection {
    /// Selects `include` and everyone below them.
    #[must_use]
    pub fn of(include: impl IntoIterator<Item = PrincipalRef>) -> Self {
        Self {
            include: include.into_iter().collect(),
            exclude: BTreeSet::new(),
        }
    }

    /// The same selection without `exclude` and everyone below them.
    #[must_use]
    pub fn except(mut self, exclude: impl IntoIterator<Item = PrincipalRef>) -> Self {
        self.exclude.extend(exclude);
        self
    }

    /// Whether nothing is included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.include.is_empty()
    }
}
