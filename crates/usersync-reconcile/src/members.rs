//! Planning the members of one container, on dense ids.

use usersync_model::{Container, MemberFacets, NodeId, PartialReason, PrincipalRef, Role, Subject};

use crate::decide::{Decision, Kept, Needed, Standing, Truth, decide};
use crate::hold::{HoldCause, Protection};
use crate::merge::{Merged, merge};
use crate::operation::{
    Action, Finding, Hold, LedgerChange, LedgerStep, Operation, Reason, Section, Tally, What,
};
use crate::policy::Policy;

/// Who is desired in a container. All lists are ascending and without repetition.
#[derive(Clone, Copy, Debug, Default)]
pub struct DesiredMembers<'a> {
    /// Surely desired.
    pub certain: &'a [NodeId],
    /// Desired, unless an exclusion that was not read completely covers them.
    pub maybe: &'a [NodeId],
    /// Why `maybe` is not certain.
    pub maybe_reason: Option<&'a PartialReason>,
    /// Surely not desired, though others who are not listed may be.
    pub denied: &'a [NodeId],
    /// Why somebody who is not listed may be desired all the same; `None`: nobody else is desired.
    pub rest: Option<&'a PartialReason>,
    /// Left their directory, and keep what they have until their grace period ends.
    pub in_grace: &'a [NodeId],
}

/// Who is in a container. All lists are ascending and without repetition.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActualMembers<'a> {
    /// Seen there.
    pub present: &'a [NodeId],
    /// The facets of those whose facets are not the default ones.
    pub facets: &'a [(NodeId, MemberFacets)],
    /// Why somebody who was not seen may be there all the same; `None`: nobody else is there.
    pub rest: Option<&'a PartialReason>,
    /// Surely not there, as point reads showed.
    pub absent: &'a [NodeId],
}

/// What the ledger says about a container. Both lists are ascending, and no id is in both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base<'a> {
    /// Ours, claimed by this job alone, with the default facets.
    pub ours: &'a [NodeId],
    /// Every other row.
    pub other: &'a [BaseRow],
}

/// A ledger row that is not the plain one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseRow {
    /// Whose.
    pub id: NodeId,
    /// What it says.
    pub standing: Standing,
    /// The facets last agreed on.
    pub facets: MemberFacets,
}

/// What a plan tells about people beyond their ids; asked only for those it names.
pub trait People {
    /// The principal with this id.
    fn principal(&self, id: NodeId) -> PrincipalRef;
    /// The name shown to people.
    fn label(&self, id: NodeId) -> String;
    /// Whether it is an administrator or otherwise protected.
    fn is_privileged(&self, id: NodeId) -> bool;
    /// The version seen in the container that is planned.
    fn version(&self, id: NodeId) -> Option<String>;
    /// Why it is not desired in the container that is planned.
    fn absence(&self, id: NodeId) -> Reason;
}

/// What holds removals of every container, known before planning.
#[derive(Clone, Debug, Default)]
pub struct RunEvidence {
    /// Holds every removal.
    pub removals: Option<HoldCause>,
    /// Holds everything in this container.
    pub everything: Option<HoldCause>,
    /// Whether what is present and desired is to become ours.
    pub adopt: bool,
    /// Whether the target keeps roles and states.
    pub updates: bool,
}

/// Plans the members of one container: the decision table on every key that any list names, and the guards that look at one
/// container.
///
/// Linear in the lists. Where all three sides are equal, it compares them and returns.
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
    let wish = MemberFacets {
        role: container.role.clone(),
        state: policy.initial_state,
    };
    let mut section = Section {
        container: container.id.clone(),
        kind: container.kind.clone(),
        name: container.name.clone(),
        owner: container.owner.clone(),
        operations: Vec::new(),
        holds: Vec::new(),
        ledger: Vec::new(),
        findings: Vec::new(),
        tally: Tally {
            desired: desired.certain.len() as u64,
            present: actual.present.len() as u64,
            ..Tally::default()
        },
    };
    if is_settled(&desired, &actual, &base, &wish, evidence) {
        section.tally.removable = actual.present.len() as u64;
        return section;
    }
    let mut draft = Draft {
        container,
        desired,
        actual,
        people,
        policy,
        evidence,
        wish,
        section,
        removals: Vec::new(),
    };
    draft.walk(base);
    draft.finish()
}

/// Whether all that is desired is there, ours, and nothing else is.
fn is_settled(
    desired: &DesiredMembers<'_>,
    actual: &ActualMembers<'_>,
    base: &Base<'_>,
    wish: &MemberFacets,
    evidence: &RunEvidence,
) -> bool {
    desired.certain == actual.present
        && actual.present == base.ours
        && base.other.is_empty()
        && desired.maybe.is_empty()
        && desired.rest.is_none()
        && actual.rest.is_none()
        && (!evidence.updates || (actual.facets.is_empty() && *wish == MemberFacets::default()))
}

struct Draft<'a> {
    container: &'a Container,
    desired: DesiredMembers<'a>,
    actual: ActualMembers<'a>,
    people: &'a dyn People,
    policy: &'a Policy,
    evidence: &'a RunEvidence,
    wish: MemberFacets,
    section: Section,
    /// Removals that nothing holds yet.
    removals: Vec<NodeId>,
}

/// What all lists say about one id.
struct Sighting {
    id: NodeId,
    desired: Truth,
    maybe: bool,
    in_grace: bool,
    present: Truth,
}

impl<'a> Draft<'a> {
    fn walk(&mut self, base: Base<'a>) {
        let mut certain = Cursor(self.desired.certain);
        let mut maybe = Cursor(self.desired.maybe);
        let mut denied = Cursor(self.desired.denied);
        let mut in_grace = Cursor(self.desired.in_grace);
        let mut present = Cursor(self.actual.present);
        let mut absent = Cursor(self.actual.absent);
        let mut ours = Cursor(base.ours);
        let mut other = base.other;
        let otherwise = if self.desired.rest.is_some() {
            Truth::Unknown
        } else {
            Truth::No
        };
        let unseen = if self.actual.rest.is_some() {
            Truth::Unknown
        } else {
            Truth::No
        };
        // Ids that only `denied`, `in_grace` or `absent` name need no decision, so they do not drive the walk.
        while let Some(id) = [
            certain.head(),
            maybe.head(),
            present.head(),
            ours.head(),
            other.first().map(|row| row.id),
        ]
        .into_iter()
        .flatten()
        .min()
        {
            let is_certain = certain.take(id);
            let is_maybe = maybe.take(id);
            let is_denied = denied.skip_to(id);
            let graced = in_grace.skip_to(id);
            let is_absent = absent.skip_to(id);
            let seen = Sighting {
                id,
                desired: match (is_certain, is_maybe, is_denied) {
                    (true, _, _) => Truth::Yes,
                    (_, true, _) => Truth::Unknown,
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
            };
            let row = match other.first() {
                Some(row) if row.id == id => {
                    other = &other[1..];
                    Some(row)
                }
                _ => None,
            };
            let standing = match row {
                Some(row) => row.standing,
                None if ours.take(id) => Standing::OURS,
                None => Standing::default(),
            };
            self.settle(&seen, standing, row.map(|row| &row.facets));
        }
    }

    fn settle(&mut self, seen: &Sighting, standing: Standing, base: Option<&MemberFacets>) {
        let mirrored = self.policy.mode == crate::Mode::Mirror;
        if seen.present == Truth::Yes && (standing.in_base() || mirrored) {
            self.section.tally.removable += 1;
        }
        let id = seen.id;
        if seen.in_grace && seen.present == Truth::Yes && standing.claimed {
            self.find(id, What::InGrace);
            return;
        }
        match decide(
            self.policy.mode,
            self.policy.drift,
            standing,
            seen.desired,
            seen.present,
        ) {
            Decision::Nothing if seen.desired == Truth::Yes => {
                if self.evidence.adopt && !standing.in_base() {
                    self.hold(id, Action::Adopt, Reason::Adopted, HoldCause::Adoption);
                }
                self.agree(
                    id,
                    base.cloned()
                        .or_else(|| standing.claimed.then(MemberFacets::default)),
                );
            }
            Decision::Nothing => {}
            Decision::Add => self.operate(id, Action::Add(self.wish.clone()), Reason::Selected),
            Decision::Restore => self.operate(id, Action::Add(self.wish.clone()), Reason::Restored),
            Decision::Claim => {
                if self.evidence.adopt {
                    self.hold(id, Action::Adopt, Reason::Adopted, HoldCause::Adoption);
                }
                self.record(id, LedgerStep::Claim(self.wish.clone()));
                self.agree(id, None);
            }
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
    fn wait(&mut self, seen: &Sighting, needed: Option<Needed>) {
        let id = seen.id;
        let exclusion = || {
            self.desired
                .maybe_reason
                .cloned()
                .map(HoldCause::IncompleteExclusion)
        };
        let source = || self.desired.rest.cloned().map(HoldCause::IncompleteSource);
        let target = || self.actual.rest.cloned().map(HoldCause::IncompleteTarget);
        let cause = match (seen.desired, seen.present) {
            (Truth::Unknown, _) if seen.maybe => exclusion(),
            (Truth::Unknown, Truth::Yes) => source(),
            (Truth::Yes, Truth::Unknown) => target(),
            _ => None,
        };
        let Some(cause) = cause else { return };
        match needed {
            Some(Needed::Add) => self.hold(id, Action::Add(self.wish.clone()), Reason::Selected, cause),
            Some(Needed::Restore) => self.hold(id, Action::Add(self.wish.clone()), Reason::Restored, cause),
            Some(Needed::Remove) => {
                let reason = self.removal_reason(id);
                self.hold(id, Action::Remove, reason, cause);
            }
            None => {}
        }
    }

    fn keep(&mut self, id: NodeId, kept: Kept) {
        match kept {
            Kept::AddOnly => self.find(id, What::AddOnly),
            Kept::ClaimedElsewhere if self.policy.mode == crate::Mode::Mirror => {
                self.find(id, What::ClaimedElsewhere)
            }
            Kept::ClaimedElsewhere => {}
            Kept::Foreign => self.section.tally.foreign += 1,
        }
    }

    /// Merges role and state of somebody who is desired and there.
    fn agree(&mut self, id: NodeId, base: Option<MemberFacets>) {
        if !self.evidence.updates {
            return;
        }
        let actual = facets_of(self.actual.facets, id);
        let Policy {
            conflict,
            first_sight,
            ..
        } = *self.policy;
        let base = base.as_ref();
        let role = merge(
            base.map(|b| &b.role),
            &self.wish.role,
            &actual.role,
            conflict,
            first_sight,
            None,
        );
        let state = merge(
            base.map(|b| &b.state),
            &self.wish.state,
            &actual.state,
            conflict,
            first_sight,
            None,
        );
        let takes = |merged| merged == Merged::TakeSource;
        if role == Merged::Conflict || state == Merged::Conflict {
            self.find(id, What::FacetConflict);
        }
        if takes(role) || takes(state) {
            let to = MemberFacets {
                role: if takes(role) {
                    self.wish.role.clone()
                } else {
                    actual.role.clone()
                },
                state: if takes(state) {
                    self.wish.state
                } else {
                    actual.state
                },
            };
            self.operate(id, Action::Update { from: actual, to }, Reason::Changed);
        } else if role == Merged::Same && state == Merged::Same && base.is_some_and(|base| *base != self.wish)
        {
            self.record(id, LedgerStep::Agree(self.wish.clone()));
        }
    }

    fn remove(&mut self, id: NodeId) {
        let guards = &self.policy.guards;
        let protection = if guards.protected.contains(&self.people.principal(id)) {
            Some(Protection::Named)
        } else if guards.privileged && self.people.is_privileged(id) {
            Some(Protection::Administrator)
        } else if guards.privileged && self.container.owner.as_ref() == Some(&self.people.principal(id)) {
            Some(Protection::Owner)
        } else {
            None
        };
        match protection {
            Some(protection) => {
                let reason = self.removal_reason(id);
                self.hold(id, Action::Remove, reason, HoldCause::Protected(protection));
            }
            None => self.removals.push(id),
        }
    }

    fn finish(mut self) -> Section {
        self.protect_last_owners();
        let removals = std::mem::take(&mut self.removals);
        let cause = self
            .evidence
            .removals
            .clone()
            .or_else(|| self.container_guard(removals.len() as u64));
        for id in removals {
            let reason = self.removal_reason(id);
            match &cause {
                Some(cause) => self.hold(id, Action::Remove, reason, cause.clone()),
                None => self.operate(id, Action::Remove, reason),
            }
        }
        let Section {
            operations,
            holds,
            ledger,
            findings,
            ..
        } = &mut self.section;
        operations.sort_by(|a, b| a.subject.cmp(&b.subject));
        holds.sort_by(|a, b| a.operation.subject.cmp(&b.operation.subject));
        ledger.sort_by(|a, b| a.subject.cmp(&b.subject));
        findings.sort_by(|a, b| (&a.subject, a.what).cmp(&(&b.subject, b.what)));
        if let Some(cause) = &self.evidence.everything {
            self.section.hold(cause, |_| true);
            self.section.ledger.clear();
        }
        self.section
    }

    /// A container that has owners keeps one: if every owner would go, all of them are held.
    fn protect_last_owners(&mut self) {
        if !self.policy.guards.privileged {
            return;
        }
        let owners = |(_, facets): &&(NodeId, MemberFacets)| facets.role == Role::Owner;
        let going = |id: &NodeId| self.removals.binary_search(id).is_ok();
        let present: Vec<NodeId> = self
            .actual
            .facets
            .iter()
            .filter(owners)
            .map(|(id, _)| *id)
            .collect();
        if present.is_empty() || !present.iter().all(going) {
            return;
        }
        self.removals.retain(|id| !present.contains(id));
        for id in present {
            let reason = self.removal_reason(id);
            self.hold(
                id,
                Action::Remove,
                reason,
                HoldCause::Protected(Protection::LastOwner),
            );
        }
    }

    fn container_guard(&self, removals: u64) -> Option<HoldCause> {
        let present = self.section.tally.removable;
        let guards = &self.policy.guards;
        let nobody =
            self.desired.certain.is_empty() && self.desired.maybe.is_empty() && self.desired.rest.is_none();
        if removals == 0 {
            None
        } else if guards.emptied && nobody {
            Some(HoldCause::ContainerEmptied { present })
        } else {
            let share = guards.container?;
            share
                .exceeded_in_container(removals, present)
                .then_some(HoldCause::ContainerShrinks {
                    removals,
                    present,
                    percent: share.percent,
                })
        }
    }

    fn removal_reason(&self, id: NodeId) -> Reason {
        self.people.absence(id)
    }

    fn operation(&self, id: NodeId, action: Action, reason: Reason) -> Operation {
        let seen = if matches!(action, Action::Add(_) | Action::Adopt) {
            None
        } else {
            self.people.version(id)
        };
        Operation {
            subject: self.subject(id),
            action,
            reason,
            label: self.people.label(id),
            seen,
            approved: false,
        }
    }

    fn operate(&mut self, id: NodeId, action: Action, reason: Reason) {
        let operation = self.operation(id, action, reason);
        self.section.operations.push(operation);
    }

    fn hold(&mut self, id: NodeId, action: Action, reason: Reason, cause: HoldCause) {
        let operation = self.operation(id, action, reason);
        self.section.holds.push(Hold { operation, cause });
    }

    fn record(&mut self, id: NodeId, step: LedgerStep) {
        let subject = self.subject(id);
        self.section.ledger.push(LedgerChange { subject, step });
    }

    fn find(&mut self, id: NodeId, what: What) {
        let finding = Finding {
            subject: self.subject(id),
            label: self.people.label(id),
            what,
        };
        self.section.findings.push(finding);
    }

    fn subject(&self, id: NodeId) -> Subject {
        Subject::Principal(self.people.principal(id))
    }
}

fn facets_of(facets: &[(NodeId, MemberFacets)], id: NodeId) -> MemberFacets {
    match facets.binary_search_by_key(&id, |(id, _)| *id) {
        Ok(at) => facets[at].1.clone(),
        Err(_) => MemberFacets::default(),
    }
}

/// The unread part of an ascending list.
struct Cursor<'a>(&'a [NodeId]);

impl Cursor<'_> {
    fn head(&self) -> Option<NodeId> {
        self.0.first().copied()
    }

    /// Whether `id` comes next; if so, it is read.
    fn take(&mut self, id: NodeId) -> bool {
        let next = self.head() == Some(id);
        if next {
            self.0 = &self.0[1..];
        }
        next
    }

    /// Whether the list has `id`; reads up to it.
    fn skip_to(&mut self, id: NodeId) -> bool {
        while self.head().is_some_and(|head| head < id) {
            self.0 = &self.0[1..];
        }
        self.take(id)
    }
}

/// The standing of a ledger row, for `job`.
#[must_use]
pub fn standing(row: &usersync_model::LedgerRow, job: &usersync_model::JobId) -> Standing {
    Standing {
        claimed: row.is_claimed_by(job),
        origin: Some(row.origin),
        others: row.is_claimed_beside(job),
    }
}
