//! What a job of records says beyond what every job does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usersync_license::UsageRule;
use usersync_model::{Digest, ObjectId, PrincipalRef, Selection, SystemId};
use usersync_reconcile::{Direction, FacetRule, RecordRules, SetRule};

/// What a job of records says beyond what every job does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordJob {
    /// The system whose records are read.
    pub from: SystemId,
    /// Which facets are synchronized, and how.
    pub rules: RecordRules,
    /// Which collections are filled from which.
    pub collections: Collections,
    /// How much each record uses of an organisation's subscription. Changes nothing in what is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<UsageRule>,
}

/// Which collections are filled from which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collections {
    /// One collection is copied to many: the collection of a principal at the target has the principal's id.
    Distribute {
        /// The user whose records they are; never a destination.
        owner: PrincipalRef,
        /// The collection that is copied.
        group: ObjectId,
        /// Who gets a copy; resolved anew at each run.
        to: Selection,
    },
    /// For each collection of the target, from which collection it is filled. One that fails leaves the others alone, and one
    /// that is taken off the list keeps what it has.
    Each(BTreeMap<ObjectId, ObjectId>),
}

/// A group of records of one user, and who gets a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The system that has the records.
    pub from: SystemId,
    /// The user whose records they are.
    pub owner: PrincipalRef,
    /// The collection at `from`: a contact group.
    pub group: ObjectId,
    /// Who gets a copy: users, groups, org units, domains.
    pub to: Selection,
}

impl From<Distribution> for RecordJob {
    fn from(distribution: Distribution) -> Self {
        let Distribution {
            from,
            owner,
            group,
            to,
        } = distribution;
        let rule = FacetRule {
            direction: Direction::ToTarget,
            sets: SetRule::Replace,
            ..FacetRule::default()
        };
        Self {
            from,
            rules: RecordRules::all(rule),
            collections: Collections::Distribute { owner, group, to },
            usage: Vec::new(),
        }
    }
}

impl RecordJob {
    /// The records of `from`, organisation by organisation: every facet follows the source, sets are united.
    #[must_use]
    pub fn import(from: SystemId, organisations: BTreeMap<ObjectId, ObjectId>) -> Self {
        let rule = FacetRule {
            direction: Direction::ToTarget,
            ..FacetRule::default()
        };
        Self {
            from,
            rules: RecordRules::all(rule),
            collections: Collections::Each(organisations),
            usage: Vec::new(),
        }
    }

    /// Identifies what changes what a plan writes, without the selection.
    pub(crate) fn digest(&self) -> Digest {
        let rules = self.rules.digest();
        let collections = match &self.collections {
            Collections::Distribute { owner, group, .. } => serde_json::to_vec(&(&self.from, owner, group)),
            Collections::Each(each) => serde_json::to_vec(&(&self.from, each)),
        };
        let collections = collections.expect("ids have a JSON form");
        Digest::of(
            "usersync.record-job/1",
            &[rules.as_bytes(), collections.as_slice()].concat(),
        )
    }
}
