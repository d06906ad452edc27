//! Planning the members of one container, on dense ids.

mod input;
mod lists;

pub use input::{ActualMembers, Base, BaseRow, DesiredMembers, People, RunEvidence, standing};

use usersync_model::{Container, MemberFacets, NodeId, PartialReason, Role, Subject};

use self::lists::{Cursor, common_prefix};
use crate::decide::{Decision, Kept, Mode, Needed, Standing, Truth, decide};
use crate::draft::{self, Draft};
use crate::hold::{HoldCause, Protection};
use crate::merge::{Merged, merge};
use crate::operation::{Action, Agreed, LedgerChange, LedgerStep, Operation, Reason, Section, Tally, What};
use crate::policy::Policy;

/// Plans the members of one container: the decision table on every key that any list names, and the guards that look at one
/// container.
///
/// Linear in the lists, beside putting what it names in order. Where all three sides are equal, it compares them and
/// returns.
#[must_use]
pub fn plan_members(
    container: &Container,
    desired: DesiredMembers<'_>,
    actual: ActualMembers<'_>,
    base: Base<'_>,
    people: &dyn People,
    policy: &Policy,
    evidence: &RunEvidence,
) -> Section {
    debug_assert!(
        are_in_order(&desired, &actual, &base),
        "the lists of {} are not in order",
        container.id
    );
    let wish = MemberFacets {
        role: container.role.clone(),
        state: policy.initial_state,
    };
    let mut section = draft::section(
        container,
        Tally {
            desired: desired.certain.len() as u64,
            present: actual.present.len() as u64,
            ..Tally::default()
        },
    );
    let is_plain = !evidence.updates || wish == MemberFacets::default();
    if is_plain && is_settled(&desired, &actual, &base) {
        section.tally.removable = actual.present.len() as u64;
        return section;
    }
    let mut plan = MemberPlan {
        container,
        desired,
        actual,
        people,
        wish,
        is_plain,
        draft: Draft::new(section, policy, evidence),
        owners: owners(&actual, policy),
        leaving: Vec::new(),
        in_grace: 0,
    };
    let newcomers = desired.certain.len().saturating_sub(actual.present.len());
    plan.draft.expect(newcomers);
    plan.walk(base);
    plan.finish()
}

/// Whether all that is desired is there, ours, and nothing else is.
fn is_settled(desired: &DesiredMembers<'_>, actual: &ActualMembers<'_>, base: &Base<'_>) -> bool {
    desired.certain.len() == actual.present.len()
        && actual.present.len() == base.ours.len()
        && base.other.is_empty()
        && desired.maybe.is_empty()
        && desired.rest.is_none()
        && actual.rest.is_none()
        && common_prefix(desired.certain, actual.present, base.ours) == base.ours.len()
}

fn are_in_order(desired: &DesiredMembers<'_>, actual: &ActualMembers<'_>, base: &Base<'_>) -> bool {
    [
        desired.certain,
        desired.maybe,
        desired.denied,
        desired.in_grace,
        desired.perhaps_in_grace,
        actual.present,
        actual.absent,
        base.ours,
    ]
    .iter()
    .all(|list| list.is_sorted_by(|a, b| a < b))
        && actual.facets.is_sorted_by(|a, b| a.0 < b.0)
        && base.other.is_sorted_by(|a, b| a.id < b.id)
        && desired
            .maybe
            .iter()
            .all(|id| desired.certain.binary_search(id).is_err())
        && base
            .other
            .iter()
            .all(|row| base.ours.binary_search(&row.id).is_err())
}

/// The present members with the role of owner; empty where owners are not guarded.
fn owners(actual: &ActualMembers<'_>, policy: &Policy) -> Vec<NodeId> {
    let is_present = |id: &NodeId| actual.present.binary_search(id).is_ok();
    let owners = actual
        .facets
        .iter()
        .filter(|(_, facets)| facets.role == Role::Owner);
    let owners = owners.map(|(id, _)| *id).filter(is_present);
    if policy.guards.privileged {
        owners.collect()
    } else {
        Vec::new()
    }
}

struct MemberPlan<'a> {
    container: &'a Container,
    desired: DesiredMembers<'a>,
    actual: ActualMembers<'a>,
    people: &'a dyn People,
    wish: MemberFacets,
    /// Whether members of ours with default facets in the base need no look: the source did not change theirs either.
    is_plain: bool,
    draft: Draft<'a>,
    /// Who owns the container at the target; ascending.
    owners: Vec<NodeId>,
    /// What ends the ownership of one of them.
    leaving: Vec<(Operation, Option<Protection>)>,
    /// How many left their directory and stay for now.
    in_grace: u64,
}

/// What all lists say about one id.
struct Sighting<'a> {
    id: NodeId,
    desired: Truth,
    maybe: bool,
    in_grace: bool,
    present: Truth,
    standing: Standing,
    /// The facets last agreed on, where they are not the default ones.
    base: Option<&'a MemberFacets>,
}

impl<'a> MemberPlan<'a> {
    fn walk(&mut self, base: Base<'a>) {
        let mut certain = Cursor(self.desired.certain);
        let mut maybe = Cursor(self.desired.maybe);
        let mut denied = Cursor(self.desired.denied);
        let mut in_grace = Cursor(self.desired.in_grace);
        let mut perhaps = Cursor(self.desired.perhaps_in_grace);
        let mut present = Cursor(self.actual.present);
        let mut absent = Cursor(self.actual.absent);
        let mut ours = Cursor(base.ours);
        let mut other = base.other;
        let unless = |reason: Option<&PartialReason>| {
            if reason.is_some() {
                Truth::Unknown
            } else {
                Truth::No
            }
        };
        let otherwise = unless(self.desired.rest);
        let unseen = unless(self.actual.rest);
        loop {
            if self.is_plain {
                let settled = common_prefix(certain.0, present.0, ours.0);
                self.draft.section.tally.removable += settled as u64;
                certain.skip(settled);
                present.skip(settled);
                ours.skip(settled);
            }
            // Ids that only `denied`, a list of those in grace, or `absent` names need no decision, so they do not drive the walk.
            let heads = [
                certain.head(),
                maybe.head(),
                present.head(),
                ours.head(),
                other.first().map(|row| row.id),
            ];
            let Some(id) = heads.into_iter().flatten().min() else {
                break;
            };
            let is_certain = certain.take(id);
            let is_maybe = maybe.take(id);
            let is_denied = denied.skip_to(id);
            let graced = in_grace.skip_to(id);
            let perhaps_graced = perhaps.skip_to(id);
            let is_absent = absent.skip_to(id);
            let is_ours = ours.take(id);
            let row = other
                .split_first()
                .filter(|(row, _)| row.id == id)
                .map(|(row, rest)| {
                    other = rest;
                    row
                });
            self.settle(&Sighting {
                id,
                desired: match (is_certain, is_maybe, is_denied) {
                    (true, _, _) => Truth::Yes,
                    (_, true, _) => Truth::Unknown,
                    _ if perhaps_graced => Truth::Unknown,
                    (_, _, true) => Truth::No,
                    _ => otherwise,
                },
                maybe: is_maybe,
                in_grace: graced && !is_certain,
                present: match (present.take(id), is_absent) {
                    (true, _) => Truth::Yes,
                    (_, true) => Truth::No,
                    _ => unseen,
                },
                standing: match row {
                    Some(row) => row.standing,
                    None if is_ours => Standing::OURS,
                    None => Standing::default(),
                },
                base: row.map(|row| &row.facets),
            });
            while self.next_facets().is_some_and(|next| next <= id) {
                self.actual.facets = &self.actual.facets[1..];
            }
        }
    }

    fn settle(&mut self, seen: &Sighting<'_>) {
        let Sighting { id, standing, .. } = *seen;
        let policy = self.draft.policy;
        if seen.present == Truth::Yes && (standing.in_base() || policy.mode == Mode::Mirror) {
            self.draft.section.tally.removable += 1;
        }
        if seen.in_grace && standing.claimed {
            // Who left is neither taken anything away nor given back what a person took: the claim waits.
            self.in_grace += u64::from(seen.present == Truth::Yes);
            self.find(id, What::InGrace);
            return;
        }
        match decide(policy.mode, policy.drift, standing, seen.desired, seen.present) {
            Decision::Nothing if seen.desired == Truth::Yes => {
                if self.draft.evidence.adopt && !standing.in_base() {
                    self.hold(id, Action::Adopt, Reason::Adopted, HoldCause::Adoption);
                } else if self.draft.evidence.updates {
                    self.agree(id, seen.base.unwrap_or(&MemberFacets::default()));
                }
            }
            Decision::Nothing => {}
            Decision::Add => self.operate(id, Action::Add(self.wish.clone()), Reason::Selected),
            Decision::Restore => self.operate(id, Action::Add(self.wish.clone()), Reason::Restored),
            Decision::Claim => self.claim(id, seen.base.filter(|_| standing.others)),
            Decision::Forget => self.record(id, LedgerStep::Forget),
            Decision::Keep(kept) => self.keep(id, kept),
            Decision::Release(kept) => {
                self.record(id, LedgerStep::Release(kept));
                self.keep(id, kept);
            }
            Decision::Respect => self.find(id, What::RemovedByHand),
            Decision::Remove => self.remove(id),
            Decision::Wait(needed) => self.wait(seen, needed),
        }
    }

    /// Holds what would be needed if things were as feared. Who is merely not listed, in a place that was not read
    /// completely, is not held: there would be no end of them.
    fn wait(&mut self, seen: &Sighting<'_>, needed: Option<Needed>) {
        let id = seen.id;
        let cause = match (seen.desired, seen.present) {
            (Truth::Unknown, _) if seen.maybe => self
                .desired
                .maybe_reason
                .cloned()
                .map(HoldCause::IncompleteExclusion),
            (Truth::Unknown, Truth::Yes) => {
                let reason = self.desired.rest.or(self.desired.perhaps_reason);
                reason.cloned().map(HoldCause::IncompleteSource)
            }
            (Truth::Yes, Truth::Unknown) => self.actual.rest.cloned().map(HoldCause::IncompleteTarget),
            _ => None,
        };
        let Some(cause) = cause else { return };
        match needed {
            Some(Needed::Add) => self.hold(id, Action::Add(self.wish.clone()), Reason::Selected, cause),
            Some(Needed::Restore) => self.hold(id, Action::Add(self.wish.clone()), Reason::Restored, cause),
            Some(Needed::Remove) => self.hold(id, Action::Remove, self.people.absence(id), cause),
            None => {}
        }
    }

    fn keep(&mut self, id: NodeId, kept: Kept) {
        match kept {
            Kept::AddOnly => self.find(id, What::AddOnly),
            Kept::ClaimedElsewhere if self.draft.policy.mode == Mode::Mirror => {
                self.find(id, What::ClaimedElsewhere);
            }
            Kept::ClaimedElsewhere => {}
            Kept::Foreign => self.draft.section.tally.foreign += 1,
        }
    }

    /// Claims somebody who is desired and there, and imports or leaves role and state; or merges them, where another job agreed on some.
    fn claim(&mut self, id: NodeId, base: Option<&MemberFacets>) {
        let (actual, merged) = if self.draft.evidence.updates {
            let actual = self.facets(id);
            let merged = self.merge(&actual, base);
            (actual, merged)
        } else {
            (self.wish.clone(), MergedFacets::SAME)
        };
        // Until what is written is confirmed, the base is what was agreed on, or what is there: so the next plan of any job still sees what
        // to write. A conflict stays one until somebody settles it.
        let before = base.unwrap_or(&actual);
        let agreed = merged.or_wish(&self.wish, before, Merged::Conflict);
        self.record(
            id,
            LedgerStep::Claim(merged.or_wish(&agreed, before, Merged::TakeSource)),
        );
        if merged.conflicts() {
            self.find(id, What::FacetConflict);
        }
        if self.draft.evidence.adopt {
            self.hold(id, Action::Adopt, Reason::Adopted, HoldCause::Adoption);
        } else if merged.takes() {
            self.update(id, actual, merged, agreed);
        }
    }

    /// Merges role and state of somebody who is desired, there and claimed.
    fn agree(&mut self, id: NodeId, base: &MemberFacets) {
        let actual = self.facets(id);
        let merged = self.merge(&actual, Some(base));
        if merged.conflicts() {
            self.find(id, What::FacetConflict);
        }
        // The base follows the source, even where the target's change stays: only then does the next plan see that
        // the source did not change since. A conflict stays one until somebody settles it.
        let agreed = merged.or_wish(&self.wish, base, Merged::Conflict);
        if merged.takes() {
            self.update(id, actual, merged, agreed);
        } else if agreed != *base {
            self.record(id, LedgerStep::Agree(agreed));
        }
    }

    fn merge(&self, actual: &MemberFacets, base: Option<&MemberFacets>) -> MergedFacets {
        let Policy {
            conflict,
            first_sight,
            ..
        } = *self.draft.policy;
        MergedFacets {
            role: merge(
                base.map(|b| &b.role),
                &self.wish.role,
                &actual.role,
                conflict,
                first_sight,
                None,
            ),
            state: merge(
                base.map(|b| &b.state),
                &self.wish.state,
                &actual.state,
                conflict,
                first_sight,
                None,
            ),
        }
    }

    fn update(&mut self, id: NodeId, from: MemberFacets, merged: MergedFacets, agreed: MemberFacets) {
        let to = MemberFacets {
            role: if merged.role == Merged::TakeSource {
                &self.wish
            } else {
                &from
            }
            .role
            .clone(),
            state: if merged.state == Merged::TakeSource {
                &self.wish
            } else {
                &from
            }
            .state,
        };
        let is_demotion = to.role != Role::Owner && self.owners.binary_search(&id).is_ok();
        let agreed = (agreed != to).then(|| Box::new(Agreed::Member(agreed)));
        let update = self.operation(id, Action::Update { from, to }, Reason::Changed);
        let update = Operation { agreed, ..update };
        if is_demotion {
            self.leaving.push((update, None));
        } else {
            self.draft.operate(update);
        }
    }

    fn remove(&mut self, id: NodeId) {
        let operation = self.operation(id, Action::Remove, self.people.absence(id));
        let Subject::Principal(principal) = &operation.subject else {
            return;
        };
        let guards = &self.draft.policy.guards;
        let protection = if guards.privileged && self.people.is_privileged(id) {
            Some(Protection::Administrator)
        } else if guards.privileged && self.container.owner.as_ref() == Some(principal) {
            Some(Protection::Owner)
        } else if guards.protected.contains(principal) {
            Some(Protection::Named)
        } else {
            None
        };
        if self.owners.binary_search(&id).is_ok() {
            self.leaving.push((operation, protection));
        } else {
            self.draft.remove(operation, protection);
        }
    }

    /// A container that has owners keeps one: if all of them would go, all are held as the last owner, whatever else
    /// protects them, so that an approval given for less has no effect.
    fn finish(mut self) -> Section {
        let none_left = self.leaving.len() == self.owners.len();
        for (operation, protection) in self.leaving {
            let protection = if none_left {
                Some(Protection::LastOwner)
            } else {
                protection
            };
            match (&operation.action, protection) {
                (Action::Remove, protection) => self.draft.remove(operation, protection),
                (_, Some(protection)) => self.draft.hold(operation, HoldCause::Protected(protection)),
                (_, None) => self.draft.operate(operation),
            }
        }
        let nobody = self.desired.certain.is_empty()
            && self.desired.maybe.is_empty()
            && self.desired.rest.is_none()
            && self.in_grace == 0;
        self.draft.finish(nobody)
    }

    fn operation(&self, id: NodeId, action: Action, reason: Reason) -> Operation {
        let seen = match action {
            Action::Add(_) | Action::Adopt => None,
            _ => self.people.version(id),
        };
        Operation {
            seen,
            ..draft::operation(self.subject(id), action, reason, self.people.label(id))
        }
    }

    fn operate(&mut self, id: NodeId, action: Action, reason: Reason) {
        let operation = self.operation(id, action, reason);
        self.draft.operate(operation);
    }

    fn hold(&mut self, id: NodeId, action: Action, reason: Reason, cause: HoldCause) {
        let operation = self.operation(id, action, reason);
        self.draft.hold(operation, cause);
    }

    fn record(&mut self, id: NodeId, step: LedgerStep) {
        self.draft.record(LedgerChange {
            subject: self.subject(id),
            step,
            agreed: None,
        });
    }

    fn find(&mut self, id: NodeId, what: What) {
        self.draft.find(self.subject(id), self.people.label(id), what);
    }

    fn subject(&self, id: NodeId) -> Subject {
        Subject::Principal(self.people.principal(id))
    }

    fn next_facets(&self) -> Option<NodeId> {
        self.actual.facets.first().map(|(id, _)| *id)
    }

    /// The facets at the target. The walk has read those of smaller ids.
    fn facets(&self, id: NodeId) -> MemberFacets {
        match self.actual.facets.iter().find(|(next, _)| *next >= id) {
            Some((next, facets)) if *next == id => facets.clone(),
            _ => MemberFacets::default(),
        }
    }
}

/// What the merge of role and state says.
#[derive(Clone, Copy)]
struct MergedFacets {
    role: Merged,
    state: Merged,
}

impl MergedFacets {
    const SAME: Self = Self {
        role: Merged::Same,
        state: Merged::Same,
    };

    fn takes(self) -> bool {
        self.role == Merged::TakeSource || self.state == Merged::TakeSource
    }

    fn conflicts(self) -> bool {
        self.role == Merged::Conflict || self.state == Merged::Conflict
    }

    /// `wish`, with `other` for the facets where the merge says `when`.
    fn or_wish(self, wish: &MemberFacets, other: &MemberFacets, when: Merged) -> MemberFacets {
        MemberFacets {
            role: if self.role == when { other } else { wish }.role.clone(),
            state: if self.state == when { other } else { wish }.state,
        }
    }
}
