//! Planning containers in the order of their stages.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_model::{
    Completeness, ContainerRef, DirectoryGraph, NodeId, PartialReason, Resolved, Rest, Scratch, Selection,
    Subject, SystemId,
};
use usersync_reconcile::{
    Action, ActualMembers, Base, DesiredMembers, Drafts, Hold, HoldCause, Mode, Operation, Plan, RunEvidence,
    Section, Warning, plan_members,
};

use super::partial_selection;
use super::view::View;
use crate::dependency::{Edge, Stage, edge_from};
use crate::grant::Allowed;
use crate::job::Job;
use crate::survey::{Sight, Survey};
use crate::warnings::Warnings;

pub(super) struct Planner<'a> {
    pub(super) job: &'a Job,
    /// Who is in grace and claimed in the container at a place; ascending.
    pub(super) in_grace: BTreeMap<usize, Vec<NodeId>>,
    /// Who may be in grace and is claimed in the container at a place; ascending.
    pub(super) doubtful: BTreeMap<usize, Vec<NodeId>>,
    pub(super) evidence: RunEvidence,
    pub(super) scratch: Scratch,
    /// What the selections met.
    pub(super) warnings: Warnings,
    /// The containers of which that was told, and what, by its code.
    pub(super) told: BTreeSet<(usize, &'static str)>,
    /// What a valid approval covers; empty until that is known.
    pub(super) approved: BTreeMap<ContainerRef, Allowed>,
    /// What holds the removals of single containers since an earlier run.
    pub(super) shut: BTreeMap<ContainerRef, HoldCause>,
    /// Which containers select which.
    pub(super) selects: BTreeSet<Edge>,
    /// Which containers that are not planned, and have guests, each selects; as [`Order`](crate::dependency::Order) says.
    pub(super) hosts: BTreeMap<(usize, bool), BTreeSet<NodeId>>,
}

impl Planner<'_> {
    /// Begins anew.
    pub(super) fn begin(&mut self) {
        self.warnings = self.warnings.emptied();
        self.told.clear();
    }

    /// Plans these stages, and lets go of what was read of containers that nobody selects, if it is not to be kept.
    pub(super) fn plan_all(
        &mut self,
        survey: &mut Survey,
        stages: &[Stage],
        drafts: &mut Drafts,
        lets_go: bool,
    ) {
        for stage in stages {
            match stage {
                Stage::Plain(places) => {
                    for &place in places {
                        let section = self.plan_one(survey, place, &self.evidence.clone(), &[]).0;
                        if lets_go {
                            survey.shrink(place, Some(&section));
                        }
                        drafts.push(section);
                    }
                }
                Stage::Source(place) => {
                    let (section, doubt) = self.plan_one(survey, *place, &self.evidence.clone(), &[]);
                    let left = left_by(&section, survey.graph(), &survey.sights[*place]);
                    fill(survey, *place, &left, doubt);
                    drafts.push(section);
                }
                Stage::Circle {
                    containers,
                    undecidable,
                } => {
                    for section in self.plan_circle(survey, containers, *undecidable) {
                        drafts.push(section);
                    }
                }
            }
        }
    }

    /// Plans containers that select each other: from who stays in any case, up to the least state that the plan itself
    /// leaves. Who is wanted is settled without those whom a guard holds: they stay for the others to see, and wait all the
    /// same, although that leads back to them.
    fn plan_circle(&mut self, survey: &mut Survey, places: &[usize], undecidable: bool) -> Vec<Section> {
        let mut evidence = self.evidence.clone();
        if undecidable {
            evidence.everything = Some(HoldCause::Undecidable);
        }
        let left: Vec<Vec<NodeId>> = places
            .iter()
            .map(|&place| {
                let sight = &survey.sights[place];
                let in_other = |id: &NodeId| sight.other.binary_search_by_key(id, |row| row.id);
                let is_alone =
                    |at: usize| sight.other[at].standing.in_base() && !sight.other[at].standing.others;
                let ours =
                    |id: &NodeId| sight.ours.binary_search(id).is_ok() || in_other(id).is_ok_and(is_alone);
                match self.job.policy.mode {
                    _ if undecidable => sight.present.clone(),
                    Mode::Mirror => Vec::new(),
                    Mode::Managed | Mode::AddOnly => {
                        sight.present.iter().copied().filter(|id| !ours(id)).collect()
                    }
                }
            })
            .collect();
        let mut circle = Circle {
            places,
            evidence,
            doubts: vec![None; places.len()],
            kept: vec![Kept::default(); places.len()],
            left,
        };
        let planned = self.go_around(survey, &mut circle, wanted_by);
        if planned
            .iter()
            .all(|section| held_removals(section).next().is_none())
        {
            return planned;
        }
        circle.kept = planned
            .iter()
            .map(|section| Kept::of(section, survey.graph()))
            .collect();
        self.go_around(survey, &mut circle, left_by)
    }

    /// Plans a circle round by round, until `leaves` tells nobody new of any section.
    fn go_around(
        &mut self,
        survey: &mut Survey,
        circle: &mut Circle<'_>,
        leaves: fn(&Section, &DirectoryGraph, &Sight) -> Vec<NodeId>,
    ) -> Vec<Section> {
        let places = circle.places;
        loop {
            for ((&place, left), doubt) in places.iter().zip(&circle.left).zip(&circle.doubts) {
                fill(survey, place, left, doubt.clone());
            }
            let mut grew = false;
            let mut planned = Vec::with_capacity(places.len());
            for (at, &place) in places.iter().enumerate() {
                let kept = &circle.kept[at];
                let (mut section, doubt) = self.plan_one(survey, place, &circle.evidence, &kept.ids);
                kept.hold_in(&mut section);
                let left = &mut circle.left[at];
                let before = left.len();
                left.extend(leaves(&section, survey.graph(), &survey.sights[place]));
                left.sort_unstable();
                left.dedup();
                let known = &mut circle.doubts[at];
                grew |= left.len() > before || (known.is_none() && doubt.is_some());
                *known = known.take().or(doubt);
                planned.push(section);
            }
            if !grew {
                return planned;
            }
        }
    }

    /// The section of one container, and why its membership is in doubt, if it is. Nobody desires `unwanted`; ascending.
    fn plan_one(
        &mut self,
        survey: &mut Survey,
        place: usize,
        evidence: &RunEvidence,
        unwanted: &[NodeId],
    ) -> (Section, Option<PartialReason>) {
        let mut resolved = survey.resolve(place, self.job, &mut self.scratch);
        let container = &survey.containers[place];
        let sight = &survey.sights[place];
        let graph = survey.graph();
        let is_new = !resolved.missing.is_empty() && self.told.insert((place, "missing_pick"));
        for principal in resolved.missing.iter().filter(|_| is_new) {
            let (container, principal) = (container.id.clone(), principal.clone());
            self.warnings
                .insert(Warning::MissingPick { container, principal });
        }
        if sight.missing {
            resolved = Arc::new(nobody());
        } else {
            if let Some(warning) = partial_selection(graph, self.job, &container.id, &resolved.rest)
                && self.told.insert((place, "partial_selection"))
            {
                self.warnings.insert(warning);
            }
            self.add_guests(survey, place, &mut resolved);
        }
        if !unwanted.is_empty() {
            let is_wanted = |id: &NodeId| unwanted.binary_search(id).is_err();
            let resolved = Arc::make_mut(&mut resolved);
            resolved.certain.retain(is_wanted);
            resolved.maybe.retain(is_wanted);
        }
        let denied = if resolved.rest == Rest::Absent {
            Vec::new()
        } else {
            let among = in_question(sight);
            let mut denied = graph.denied(&container.selection, &self.job.resolve, &mut self.scratch, &among);
            denied.extend(unwanted);
            denied.sort_unstable();
            denied.dedup();
            denied
        };
        let doubtful = self.doubtful.get(&place).map_or(&[][..], Vec::as_slice);
        let left_perhaps = if doubtful.is_empty() {
            None
        } else {
            let partial = read_in_part(graph, self.job);
            let reason = |id: &NodeId| partial.get(graph.node(*id).system());
            doubtful.iter().filter_map(reason).min().cloned()
        };
        let view = View {
            graph,
            job: self.job,
            container,
            sight,
            excluded: OnceCell::new(),
        };
        let mut evidence = evidence.clone();
        evidence.removals = evidence
            .removals
            .or_else(|| self.shut.get(&container.id).cloned());
        let mut section = plan_members(
            container,
            DesiredMembers {
                certain: &resolved.certain,
                maybe: &resolved.maybe,
                maybe_reason: resolved.maybe_reason.as_ref(),
                denied: &denied,
                rest: resolved.rest.reason(),
                in_grace: self.in_grace.get(&place).map_or(&[], Vec::as_slice),
                perhaps_in_grace: doubtful,
                perhaps_reason: left_perhaps.as_ref(),
            },
            ActualMembers {
                present: &sight.present,
                facets: &sight.facets,
                rest: sight.rest.as_ref(),
                absent: &sight.absent,
            },
            Base {
                ours: &sight.ours,
                other: &sight.other,
            },
            &view,
            &self.job.policy,
            &evidence,
        );
        if let Some(allowed) = self.approved.get(&section.container) {
            section.approve(|operation| allowed.covers(operation));
        }
        let doubt = resolved
            .rest
            .reason()
            .or(resolved.maybe_reason.as_ref())
            .or(sight.rest.as_ref())
            .or(left_perhaps.as_ref())
            .cloned();
        (section, doubt)
    }
}

impl Planner<'_> {
    /// Counts what an approval of the held set of `plan` covers as approved.
    pub(super) fn approve(&mut self, plan: &Plan) {
        for section in plan.sections() {
            let holds = section.holds.iter().filter(|hold| hold.cause.is_approvable());
            for hold in holds {
                let container = section.container.clone();
                self.approved
                    .entry(container)
                    .or_default()
                    .insert(&hold.operation);
            }
        }
    }

    /// Adds the members of selected containers whom no directory shows, unless they are excluded.
    fn add_guests(&self, survey: &Survey, place: usize, resolved: &mut Arc<Resolved>) {
        let graph = survey.graph();
        let selection = &survey.containers[place].selection;
        let guests_of = |excludes: bool| {
            let edges = self.selects.range(edge_from(place)..edge_from(place + 1));
            let planned = edges
                .filter(|edge| edge.excludes == excludes)
                .filter_map(|edge| graph.find(&survey.containers[edge.to].id.as_principal()));
            let beside = self.hosts.get(&(place, excludes)).into_iter().flatten().copied();
            let groups: BTreeSet<NodeId> = planned.chain(beside).collect();
            groups
                .into_iter()
                .flat_map(|group| survey.sources.guests(group).iter().copied())
                .collect::<BTreeSet<_>>()
        };
        let mut guests = guests_of(false);
        if guests.is_empty() {
            return;
        }
        for excluded in guests_of(true) {
            guests.remove(&excluded);
        }
        // Excluded groups, too, may name them still, although no directory shows them.
        let (mut scratch, among) = (Scratch::new(), guests.iter().copied().collect::<Vec<_>>());
        for excluded in graph.denied(selection, &self.job.resolve, &mut scratch, &among) {
            guests.remove(&excluded);
        }
        let resolved = Arc::make_mut(resolved);
        // Where nobody else is selected, nothing tells yet whether those who are excluded are known.
        let excluded = Selection::of(selection.exclude.iter().cloned());
        let exclusion = match graph.resolve(&excluded, &self.job.resolve, &mut scratch).rest {
            Rest::Unknown(reason) => Some(reason),
            Rest::Absent => None,
        };
        // Whom a directory would show that was read in part is a guest or not, or inactive.
        let read_in_part = read_in_part(graph, self.job);
        let doubt = |id: &NodeId| read_in_part.get(graph.node(*id).system());
        let smallest = guests.iter().filter_map(doubt).min().cloned();
        // Where an exclusion is in doubt, it may cover guests, too.
        let is_certain =
            |id: &NodeId| resolved.maybe_reason.is_none() && exclusion.is_none() && doubt(id).is_none();
        let (certain, maybe): (Vec<NodeId>, Vec<NodeId>) = guests.into_iter().partition(is_certain);
        for (list, guests) in [(&mut resolved.certain, certain), (&mut resolved.maybe, maybe)] {
            list.extend(guests);
            list.sort_unstable();
            list.dedup();
        }
        let reasons = resolved.maybe_reason.take().into_iter();
        resolved.maybe_reason = reasons.chain(smallest).chain(exclusion).min();
    }
}

/// The directories of `job` that were read in part, and why.
fn read_in_part<'j>(graph: &DirectoryGraph, job: &'j Job) -> BTreeMap<&'j SystemId, PartialReason> {
    let partial = job.sources.iter().filter_map(|system| {
        let Completeness::Partial(reason) = graph.system_verdict(system) else {
            return None;
        };
        Some((system, reason))
    });
    partial.collect()
}

/// Containers that select each other, while they are planned.
struct Circle<'a> {
    places: &'a [usize],
    evidence: RunEvidence,
    /// Why the membership of each is in doubt, for those where it is.
    doubts: Vec<Option<PartialReason>>,
    /// Who is not wanted, and held.
    kept: Vec<Kept>,
    /// Whom each leaves for the others to see; ascending.
    left: Vec<Vec<NodeId>>,
}

/// Whom a container of a circle would remove, if no guard held it. Who is not known completely is not among them.
#[derive(Clone, Default)]
struct Kept {
    /// Ascending.
    ids: Vec<NodeId>,
    /// In the order of their subjects.
    holds: Vec<Hold>,
}

impl Kept {
    fn of(section: &Section, graph: &DirectoryGraph) -> Self {
        let holds = held_removals(section).filter(|hold| hold.cause.is_approvable());
        let holds: Vec<Hold> = holds.cloned().collect();
        let subjects = holds.iter().filter_map(|hold| hold.operation.subject.principal());
        let mut ids: Vec<NodeId> = subjects.filter_map(|who| graph.find(who)).collect();
        ids.sort_unstable();
        Self { ids, holds }
    }

    /// Holds what was held, also where the guard would let it go now that less is to be removed.
    fn hold_in(&self, section: &mut Section) {
        let cause_of = |operation: &Operation| {
            let holds = &self.holds;
            let found = holds.binary_search_by(|hold| hold.operation.subject.cmp(&operation.subject));
            found.ok().map(|at| holds[at].cause.clone())
        };
        let is_free = |operation: &Operation| operation.action.is_removal() && !operation.approved;
        let kept = section.operations.extract_if(.., |operation| {
            is_free(operation) && cause_of(operation).is_some()
        });
        let holds = kept.filter_map(|operation| {
            let cause = cause_of(&operation)?;
            Some(Hold { operation, cause })
        });
        section.holds.extend(holds);
        section
            .holds
            .sort_by(|a, b| a.operation.subject.cmp(&b.operation.subject));
    }
}

fn held_removals(section: &Section) -> impl Iterator<Item = &Hold> {
    section
        .holds
        .iter()
        .filter(|hold| hold.operation.action.is_removal())
}

fn nobody() -> Resolved {
    Resolved {
        certain: Vec::new(),
        maybe: Vec::new(),
        rest: Rest::Absent,
        maybe_reason: None,
        missing: Vec::new(),
    }
}

/// Who is in a container or has a ledger row there; ascending.
fn in_question(sight: &Sight) -> Vec<NodeId> {
    let mut ids = [sight.present.as_slice(), &sight.ours].concat();
    ids.extend(sight.other.iter().map(|row| row.id));
    ids.sort();
    ids.dedup();
    ids
}

/// The members that a plan leaves in its container; ascending.
fn left_by(section: &Section, graph: &DirectoryGraph, sight: &Sight) -> Vec<NodeId> {
    let mut left: BTreeSet<NodeId> = sight.present.iter().copied().collect();
    for operation in &section.operations {
        let Subject::Principal(principal) = &operation.subject else {
            continue;
        };
        let Some(id) = graph.find(principal) else { continue };
        match operation.action {
            Action::Add(_) => {
                left.insert(id);
            }
            Action::Remove => {
                left.remove(&id);
            }
            _ => {}
        }
    }
    left.into_iter().collect()
}

/// The same without those who stay only because their removal is held; ascending.
fn wanted_by(section: &Section, graph: &DirectoryGraph, sight: &Sight) -> Vec<NodeId> {
    let held = held_removals(section).filter_map(|hold| hold.operation.subject.principal());
    let held: BTreeSet<NodeId> = held.filter_map(|who| graph.find(who)).collect();
    let mut left = left_by(section, graph, sight);
    left.retain(|id| !held.contains(id));
    left
}

/// Makes a container the group that others select.
fn fill(survey: &mut Survey, place: usize, members: &[NodeId], doubt: Option<PartialReason>) {
    let verdict = doubt.map_or(Completeness::Complete, Completeness::Partial);
    survey
        .sources
        .fill(&survey.containers[place].id, members, verdict);
}
