//! What is known of one container.

use std::collections::BTreeSet;

use usersync_connector::{PresentMember, Version};
use usersync_model::{JobId, LedgerRow, MemberFacets, NodeId, Origin, PartialReason};
use usersync_reconcile::{BaseRow, Standing, standing};
use usersync_store::Revision;

use super::versions::Versions;
use crate::ground::RowBefore;

/// What is known of one container.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    pub(crate) present: Vec<NodeId>,
    /// Facets other than the default ones.
    pub(crate) facets: Vec<(NodeId, MemberFacets)>,
    versions: Versions,
    /// Why somebody who was not seen may be there.
    pub(crate) rest: Option<PartialReason>,
    /// Surely not there, though `rest` says that others may be.
    pub(crate) absent: Vec<NodeId>,
    /// Whether the target has no such container.
    pub(crate) missing: bool,
    /// Plain rows: ours, claimed by this job alone, default facets.
    pub(crate) ours: Vec<NodeId>,
    /// Every other row.
    pub(crate) other: Vec<BaseRow>,
    /// The rows of `other`, in the same order.
    rows: Vec<LedgerRow>,
    /// The highest revision of a row that was read: what is written from then on has a higher one.
    newest: Revision,
    /// Whose rows the run wrote, or will before it comes to what rests on them.
    written: BTreeSet<NodeId>,
    /// Whether the target showed it, perhaps without members.
    pub(super) shown: bool,
}

impl Sight {
    /// The ledger row of `id`.
    pub(crate) fn row(&self, id: NodeId, job: &JobId) -> Option<LedgerRow> {
        if self.ours.binary_search(&id).is_ok() {
            return Some(LedgerRow::new(Origin::Ours, [job.clone()]));
        }
        self.other
            .binary_search_by_key(&id, |row| row.id)
            .ok()
            .map(|at| self.rows[at].clone())
    }

    /// The ledger row of `id`, and up to which write it is known.
    pub(crate) fn row_before(&self, id: NodeId, job: &JobId) -> RowBefore {
        RowBefore {
            row: self.row(id, job),
            as_of: (!self.written.contains(&id)).then_some(self.newest),
        }
    }

    /// Replaces the ledger row of `id` by what the run makes of it.
    pub(crate) fn set_row(&mut self, id: NodeId, row: Option<LedgerRow>, job: &JobId) {
        self.written.insert(id);
        if let Ok(at) = self.ours.binary_search(&id) {
            self.ours.remove(at);
        }
        if let Ok(at) = self.other.binary_search_by_key(&id, |row| row.id) {
            self.other.remove(at);
            self.rows.remove(at);
        }
        let Some(row) = row else { return };
        match classify(&row, job) {
            None => {
                let at = self.ours.partition_point(|other| *other < id);
                self.ours.insert(at, id);
            }
            Some(standing) => {
                let at = self.other.partition_point(|other| other.id < id);
                let facets = row.facets.clone().unwrap_or_default();
                self.other.insert(at, BaseRow { id, standing, facets });
                self.rows.insert(at, row);
            }
        }
    }

    /// Whose rows the job claims; each once.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = NodeId> {
        let other = self.other.iter().filter(|row| row.standing.claimed);
        self.ours.iter().copied().chain(other.map(|row| row.id))
    }

    pub(crate) fn is_present(&self, id: NodeId) -> bool {
        self.present.binary_search(&id).is_ok()
    }

    /// Whether `id` is a member: `None` when that is not known.
    pub(crate) fn presence(&self, id: NodeId) -> Option<bool> {
        if self.is_present(id) {
            Some(true)
        } else if self.rest.is_none() || self.absent.binary_search(&id).is_ok() {
            Some(false)
        } else {
            None
        }
    }

    pub(crate) fn facets_of(&self, id: NodeId) -> MemberFacets {
        match self.facets.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => self.facets[at].1.clone(),
            Err(_) => MemberFacets::default(),
        }
    }

    pub(crate) fn version_of(&self, id: NodeId) -> Option<&str> {
        self.versions.of(id)
    }

    /// Takes in a ledger row. [`settle_rows`](Self::settle_rows) is to follow.
    pub(super) fn push_row(&mut self, id: NodeId, row: LedgerRow, revision: Revision, job: &JobId) {
        self.newest = self.newest.max(revision);
        match classify(&row, job) {
            None => self.ours.push(id),
            Some(standing) => {
                let facets = row.facets.clone().unwrap_or_default();
                self.other.push(BaseRow { id, standing, facets });
                self.rows.push(row);
            }
        }
    }

    /// Sorts the ledger rows, which came in the order of their keys.
    pub(super) fn settle_rows(&mut self) {
        NodeId::sort(&mut self.ours);
        if !self.other.is_sorted_by_key(|row| row.id) {
            let mut rows: Vec<_> = self.other.drain(..).zip(self.rows.drain(..)).collect();
            rows.sort_by_key(|(row, _)| row.id);
            (self.other, self.rows) = rows.into_iter().unzip();
        }
    }

    /// Lets go of everything that is not needed once the container is planned: what stays are the ledger rows of those whom the plan
    /// names, ascending in `named`, and how completely the container was read.
    pub(super) fn shrink(&mut self, named: &[NodeId]) {
        let is_named = |id: NodeId| named.binary_search(&id).is_ok();
        let mut rows: Vec<_> = self.other.drain(..).zip(self.rows.drain(..)).collect();
        rows.retain(|(row, _)| is_named(row.id));
        let (other, rows) = rows.into_iter().unzip();
        *self = Self {
            ours: self.ours.iter().copied().filter(|id| is_named(*id)).collect(),
            other,
            rows,
            newest: self.newest,
            written: std::mem::take(&mut self.written),
            rest: self.rest.take(),
            missing: self.missing,
            shown: self.shown,
            ..Self::default()
        };
    }

    /// Takes in what a point read showed.
    pub(crate) fn learn(&mut self, id: NodeId, member: Option<PresentMember>) {
        match member {
            Some(member) => self.push(id, member),
            None => self.absent.push(id),
        }
        self.settle();
    }

    pub(super) fn push(&mut self, id: NodeId, member: PresentMember) {
        self.present.push(id);
        if member.member.facets != MemberFacets::default() {
            self.facets.push((id, member.member.facets));
        }
        if let Some(Version(version)) = &member.version {
            self.versions.push(id, version);
        }
    }

    /// Sorts what came in any order. A member told twice with different facets counts with the smaller ones.
    pub(super) fn settle(&mut self) {
        NodeId::sort(&mut self.present);
        self.facets.sort();
        self.facets.dedup_by_key(|(id, _)| *id);
        self.versions.settle();
        NodeId::sort(&mut self.absent);
        NodeId::sort(&mut self.ours);
    }
}

/// The standing of a row, or `None` for a plain one.
fn classify(row: &LedgerRow, job: &JobId) -> Option<Standing> {
    let standing = standing(row, job);
    (standing != Standing::OURS || row.facets.is_some()).then_some(standing)
}
