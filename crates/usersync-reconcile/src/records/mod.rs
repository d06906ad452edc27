//! Planning the records of one collection, facet by facet.

mod input;
mod rules;
mod stream;

pub use input::{RecordRow, Records, SourceRecord, TargetRecord};
pub use rules::{Direction, FacetRule, RecordRules, SetRule};

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_model::{
    Container, Facet, FacetName, MemberFacets, PartialReason, PrincipalRef, Record, RecordRef, Subject,
};

use self::stream::{Keyed, Stream, first};
use crate::decide::{Decision, Kept, Mode, Needed, Standing, Truth, decide};
use crate::draft::{self, Draft};
use crate::facet::{FacetMerge, is_same};
use crate::fingerprint::Fingerprinter;
use crate::hold::{HoldCause, Protection};
use crate::members::RunEvidence;
use crate::merge::Later;
use crate::operation::{
    Action, Agreed, LedgerChange, LedgerStep, Operation, Reason, RecordBase, Section, Tally, What,
};
use crate::policy::Policy;

/// Plans the records of one collection: the decision table on every id that a side or the ledger names, a three-way
/// merge of every facet that `rules` select, and the guards that look at one collection.
///
/// A record whose other attributes changed, its address and name included, keeps its id: it is changed, and never
/// deleted and made again. In [`Mode::AddOnly`] no attribute that says something is cleared, and no value vanishes from
/// a set that the rules do not replace; a text joins a set. An operation that undoes a change of the target alone says so
/// ([`Reason::Overwritten`]), where the fingerprints stored with the row tell.
/// `evidence.updates` has no effect: the rules say what is compared. Where the target was read in part, a facet that it does not name
/// is not.
///
/// Takes records by reference or by value, one at a time; linear in their number, beside putting what it names in order.
/// Where both sides have the fingerprints stored with the row, their facets are not looked at.
#[must_use]
pub fn plan_records<S, T, B>(
    collection: &Container,
    source: Records<'_, S>,
    target: Records<'_, T>,
    base: B,
    rules: &RecordRules,
    policy: &Policy,
    evidence: &RunEvidence,
) -> Section
where
    S: IntoIterator<Item: Borrow<SourceRecord>>,
    T: IntoIterator<Item: Borrow<TargetRecord>>,
    B: IntoIterator<Item: Borrow<RecordRow>>,
{
    let mut plan = RecordPlan {
        collection,
        rules,
        fingerprinter: Fingerprinter::new(rules),
        source_rest: source.rest,
        target_rest: target.rest,
        draft: Draft::new(draft::section(collection, Tally::default()), policy, evidence),
    };
    let mut denied = source.absent;
    let mut absent = target.absent;
    let mut sources = Stream::<_, SourceRecord>::new(source.records);
    let mut targets = Stream::<_, TargetRecord>::new(target.records);
    let mut rows = Stream::<_, RecordRow>::new(base);
    loop {
        let [has_source, has_target, has_row] = first([sources.head(), targets.head(), rows.head()]);
        let (source, again) = sources.take(has_source);
        let (target, again_there) = targets.take(has_target);
        let (row, _) = rows.take(has_row);
        let source: Option<&SourceRecord> = source.as_ref().map(Borrow::borrow);
        let target: Option<&TargetRecord> = target.as_ref().map(Borrow::borrow);
        let row: Option<&RecordRow> = row.as_ref().map(Borrow::borrow);
        let ids = [
            source.map(Keyed::key),
            target.map(Keyed::key),
            row.map(Keyed::key),
        ];
        let Some(id) = ids.into_iter().flatten().next() else {
            break;
        };
        plan.settle(&Sighting {
            desired: truth(source.is_some(), skip_to(&mut denied, id), plan.source_rest),
            present: truth(target.is_some(), skip_to(&mut absent, id), plan.target_rest),
            id,
            source,
            target,
            row,
            is_ambiguous: again || again_there,
        });
    }
    let nobody = plan.draft.section.tally.desired == 0 && plan.source_rest.is_none();
    plan.draft.finish(nobody)
}

struct RecordPlan<'a> {
    collection: &'a Container,
    rules: &'a RecordRules,
    fingerprinter: Fingerprinter<'a>,
    source_rest: Option<&'a PartialReason>,
    target_rest: Option<&'a PartialReason>,
    draft: Draft<'a>,
}

/// What both sides and the ledger say about one id.
struct Sighting<'a> {
    id: &'a RecordRef,
    source: Option<&'a SourceRecord>,
    target: Option<&'a TargetRecord>,
    row: Option<&'a RecordRow>,
    desired: Truth,
    present: Truth,
    is_ambiguous: bool,
}

impl RecordPlan<'_> {
    fn settle(&mut self, seen: &Sighting<'_>) {
        let policy = self.draft.policy;
        let standing = seen.row.map_or(Standing::default(), |row| row.standing);
        let tally = &mut self.draft.section.tally;
        tally.desired += u64::from(seen.source.is_some());
        tally.present += u64::from(seen.target.is_some());
        tally.removable +=
            u64::from(seen.target.is_some() && (standing.in_base() || policy.mode == Mode::Mirror));
        if seen.is_ambiguous {
            self.find(seen, What::Ambiguous);
            return;
        }
        match decide(policy.mode, policy.drift, standing, seen.desired, seen.present) {
            Decision::Nothing | Decision::Claim => {
                if let (Some(source), Some(target)) = (seen.source, seen.target) {
                    self.agree(seen, source, target, standing);
                }
            }
            Decision::Add => self.create(seen, Reason::Selected, None),
            Decision::Restore => self.create(seen, Reason::Restored, None),
            Decision::Forget => self.record(seen, LedgerStep::Forget, None),
            Decision::Keep(kept) => self.keep(seen, kept),
            Decision::Release(kept) => {
                self.record(seen, LedgerStep::Release(kept), None);
                self.keep(seen, kept);
            }
            Decision::Respect => self.find(seen, What::RemovedByHand),
            Decision::Remove => {
                let protection = self.protection(seen);
                let operation = Self::delete(seen, standing);
                self.draft.remove(operation, protection);
            }
            Decision::Wait(needed) => self.wait(seen, needed, standing),
        }
    }

    fn wait(&mut self, seen: &Sighting<'_>, needed: Option<Needed>, standing: Standing) {
        let cause = match needed {
            Some(Needed::Remove) => self.source_rest.cloned().map(HoldCause::IncompleteSource),
            _ => self.target_rest.cloned().map(HoldCause::IncompleteTarget),
        };
        let Some(cause) = cause else { return };
        match needed {
            Some(Needed::Add) => self.create(seen, Reason::Selected, Some(cause)),
            Some(Needed::Restore) => self.create(seen, Reason::Restored, Some(cause)),
            Some(Needed::Remove) => self.draft.hold(Self::delete(seen, standing), cause),
            None => {}
        }
    }

    fn create(&mut self, seen: &Sighting<'_>, reason: Reason, cause: Option<HoldCause>) {
        let Some(source) = seen.source else { return };
        let record = match &source.written {
            Some(written) => Arc::clone(written),
            None => Arc::new(self.rules.written(&source.record)),
        };
        let merged = record
            .facets
            .iter()
            .filter(|(name, _)| self.rules.is_merged(name));
        let base = RecordBase {
            facets: merged
                .map(|(name, facet)| (name.clone(), facet.clone()))
                .collect(),
            // What is written has every facet that is compared.
            source: source.fingerprint,
            target: source.fingerprint,
        };
        let operation = Operation {
            agreed: Some(Box::new(Agreed::Record(base))),
            ..operation(seen, Action::Create(record), reason)
        };
        match cause {
            Some(cause) => self.draft.hold(operation, cause),
            None => self.draft.operate(operation),
        }
    }

    fn delete(seen: &Sighting<'_>, standing: Standing) -> Operation {
        let reason = if standing.claimed {
            Reason::NotSelected
        } else {
            Reason::NotDesired
        };
        operation(seen, Action::Delete, reason)
    }

    fn protection(&self, seen: &Sighting<'_>) -> Option<Protection> {
        let guards = &self.draft.policy.guards;
        let principal = PrincipalRef::new(seen.id.system.clone(), seen.id.object.clone());
        if guards.privileged && seen.target.is_some_and(|target| target.privileged) {
            Some(Protection::Administrator)
        } else if guards.privileged && self.collection.owner.as_ref() == Some(&principal) {
            Some(Protection::Owner)
        } else if guards.protected.contains(&principal) {
            Some(Protection::Named)
        } else {
            None
        }
    }

    fn keep(&mut self, seen: &Sighting<'_>, kept: Kept) {
        match kept {
            Kept::AddOnly => self.find(seen, What::AddOnly),
            Kept::ClaimedElsewhere if self.draft.policy.mode == Mode::Mirror => {
                self.find(seen, What::ClaimedElsewhere);
            }
            Kept::ClaimedElsewhere => {}
            Kept::Foreign => self.draft.section.tally.foreign += 1,
        }
    }

    /// Claims, adopts and merges a record that is desired and there.
    fn agree(
        &mut self,
        seen: &Sighting<'_>,
        source: &SourceRecord,
        target: &TargetRecord,
        standing: Standing,
    ) {
        let base = seen.row.filter(|_| standing.claimed).map(|row| &row.base);
        let adopts = self.draft.evidence.adopt && !standing.in_base();
        let is_known = |stored: Option<_>, seen: Option<_>| stored.is_some_and(|stored| seen == Some(stored));
        if let Some(base) = base
            && !adopts
            && is_known(base.source, source.fingerprint)
            && is_known(base.target, target.fingerprint)
        {
            return;
        }
        let none = RecordBase::default();
        let base = base.unwrap_or(&none);
        if source.record.kind != target.record.kind {
            self.find(seen, What::KindDiffers);
            return;
        }
        let merged = self.merge(source, target, base, standing.in_base());
        if merged.conflict {
            self.find(seen, What::FacetConflict);
        }
        if !standing.claimed {
            // Until the writes are confirmed, the base is what is there: so the next plan still sees what to write.
            let mut claimed = merged.base.clone();
            for name in merged.writes.keys() {
                if self.rules.is_merged(name) {
                    let there = target.record.facets.get(name).cloned();
                    claimed.facets.insert(name.clone(), there.unwrap_or_default());
                }
                claimed.source = None;
                claimed.target = None;
            }
            self.record(seen, LedgerStep::Claim(MemberFacets::default()), Some(claimed));
        } else if merged.writes.is_empty() && !adopts && merged.base != *base {
            self.record(
                seen,
                LedgerStep::Agree(MemberFacets::default()),
                Some(merged.base.clone()),
            );
        }
        if adopts {
            let adopt = operation(seen, Action::Adopt, Reason::Adopted);
            self.draft.hold(adopt, HoldCause::Adoption);
        } else if !merged.writes.is_empty() {
            let reason = if standing.claimed && is_known(base.source, source.fingerprint) {
                Reason::Overwritten
            } else {
                Reason::Changed
            };
            self.draft.operate(Operation {
                agreed: Some(Box::new(Agreed::Record(merged.base))),
                ..operation(seen, Action::Change(merged.writes), reason)
            });
        }
    }

    /// Merges facet by facet; `ours` tells whether the copy is one that we made.
    fn merge(
        &self,
        source: &SourceRecord,
        target: &TargetRecord,
        base: &RecordBase,
        ours: bool,
    ) -> MergedRecord {
        let policy = self.draft.policy;
        let later = later(source.changed, target.changed);
        let mut merged = MergedRecord {
            writes: BTreeMap::new(),
            base: RecordBase {
                facets: base.facets.clone(),
                ..RecordBase::default()
            },
            conflict: false,
        };
        let empty = Facet::default();
        let mut is_whole = true;
        for (name, facet) in &source.record.facets {
            let Some(rule) = self.rules.compared(name) else {
                continue;
            };
            let merge = FacetMerge {
                direction: rule.direction,
                sets: rule.sets,
                conflict: rule.conflict.unwrap_or(policy.conflict),
                first_sight: rule.first_sight.unwrap_or(policy.first_sight),
                later,
                keep_all: policy.mode == Mode::AddOnly,
            };
            let there = target.record.facets.get(name);
            if there.is_none() && self.target_rest.is_some() {
                is_whole = false;
                continue;
            }
            let there = there.unwrap_or(&empty);
            // What we made had nothing there, and nobody put anything there since.
            let is_new = || ours && is_same(there, &empty);
            let base = base.facets.get(name).or_else(|| is_new().then_some(&empty));
            let outcome = merge.merge(base, facet, there);
            merged.conflict |= outcome.conflict;
            match outcome.base {
                Some(base) => merged.base.facets.insert(name.clone(), base),
                None => merged.base.facets.remove(name),
            };
            if let Some(write) = outcome.write {
                merged.writes.insert(name.clone(), write);
            }
        }
        // A conflict is reported again in every plan, so it is compared again, and so is what was not seen.
        let wanted = &source.record;
        let is_settled = is_whole && !merged.conflict;
        if let (Some(source), Some(seen), true) = (source.fingerprint, target.fingerprint, is_settled) {
            let left = if merged.writes.is_empty() {
                seen
            } else if self.leaves_the_same(&merged.writes, &target.record, wanted) {
                source
            } else {
                let mut after = target.record.clone();
                after.facets.extend(merged.writes.clone());
                self.fingerprinter.fingerprint(&after)
            };
            merged.base.source = Some(source);
            // What only this mode keeps is compared again, since another mode writes.
            merged.base.target = (policy.mode != Mode::AddOnly || left == source).then_some(left);
        }
        merged
    }

    /// Whether what is compared of `there`, with `writes` in it, is what is compared of `wanted`, of which they are: then both have
    /// one fingerprint, and none has to be taken.
    fn leaves_the_same(&self, writes: &BTreeMap<FacetName, Facet>, there: &Record, wanted: &Record) -> bool {
        let is_compared = |name: &&FacetName| self.rules.compared(name).is_some();
        let mut names = there.facets.keys().filter(is_compared);
        let mut facets = wanted.facets.iter().filter(|(name, _)| is_compared(name));
        names.all(|name| wanted.facets.contains_key(name))
            && facets.all(|(name, facet)| {
                let left = writes.get(name).or_else(|| there.facets.get(name));
                left.is_some_and(|left| is_same(left, facet))
            })
    }

    fn record(&mut self, seen: &Sighting<'_>, step: LedgerStep, agreed: Option<RecordBase>) {
        self.draft.record(LedgerChange {
            subject: Subject::Record(seen.id.clone()),
            step,
            agreed: agreed.map(Box::new),
        });
    }

    fn find(&mut self, seen: &Sighting<'_>, what: What) {
        self.draft
            .find(Subject::Record(seen.id.clone()), label(seen), what);
    }
}

struct MergedRecord {
    /// The facets to write.
    writes: BTreeMap<FacetName, Facet>,
    /// The base once they are written.
    base: RecordBase,
    conflict: bool,
}

fn operation(seen: &Sighting<'_>, action: Action, reason: Reason) -> Operation {
    let subject = Subject::Record(seen.id.clone());
    Operation {
        seen: match action {
            Action::Adopt | Action::Create(_) => None,
            _ => seen.target.and_then(|target| target.version.clone()),
        },
        ..draft::operation(subject, action, reason, label(seen))
    }
}

/// The source's name for a record, or else the target's.
fn label(seen: &Sighting<'_>) -> String {
    let source = seen
        .source
        .map(|source| &source.name)
        .filter(|name| !name.is_empty());
    source
        .or(seen.target.map(|target| &target.name))
        .cloned()
        .unwrap_or_default()
}

fn later(source: Option<DateTime<Utc>>, target: Option<DateTime<Utc>>) -> Option<Later> {
    match source?.cmp(&target?) {
        std::cmp::Ordering::Less => Some(Later::Target),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Later::Source),
    }
}

fn truth(is_seen: bool, is_absent: bool, rest: Option<&PartialReason>) -> Truth {
    match (is_seen, is_absent, rest) {
        (true, _, _) => Truth::Yes,
        (_, false, Some(_)) => Truth::Unknown,
        _ => Truth::No,
    }
}

/// Whether an ascending list has `id`; reads up to it.
#[inline]
fn skip_to(list: &mut &[RecordRef], id: &RecordRef) -> bool {
    while let Some((head, rest)) = list.split_first() {
        if head >= id {
            return head == id;
        }
        *list = rest;
    }
    false
}
