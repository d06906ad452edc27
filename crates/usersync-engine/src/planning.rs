//! From a survey to a plan: pure, and the same for a preview and a run.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use usersync_connector::CallContext;
use usersync_model::{
    Activity, Completeness, Container, ContainerRef, Digest, DirectoryGraph, Inactive, NodeId, PartialReason,
    PrincipalRef, Resolved, Rest, Scratch, Selection, Subject,
};
use usersync_reconcile::{
    Action, ActualMembers, Approval, Base, DesiredMembers, Drafts, Envelope, Header, HoldCause, Mode, People,
    Plan, Reason, RunEvidence, Section, Warning, plan_members,
};

use crate::dependency::{Edge, Stage, stages};
use crate::error::Result;
use crate::job::{Job, Scope};
use crate::ports::{Options, Readers};
use crate::standing::StandingHolds;
use crate::state::{Departure, JobState};
use crate::survey::{Sight, Survey};

/// What planning takes beside the survey.
#[derive(Debug)]
pub(crate) struct Circumstances {
    pub(crate) now: DateTime<Utc>,
    pub(crate) state: JobState,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) departures: Vec<Departure>,
    pub(crate) window_used: u64,
    pub(crate) scope: Scope,
    /// Whether what is present and desired is to become ours.
    pub(crate) adopt: bool,
    /// Whether the target keeps roles and states.
    pub(crate) updates: bool,
}

/// The departures that a run has to record, and those that it has to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DepartureChanges {
    pub(crate) begun: BTreeSet<PrincipalRef>,
    pub(crate) ended: BTreeSet<PrincipalRef>,
}

/// A plan, and what goes with it.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) departures: DepartureChanges,
    /// The held set whose approval the plan uses up.
    pub(crate) approval: Option<Digest>,
    /// The guards that stay shut after it.
    pub(crate) holds: StandingHolds,
}

/// Plans everything that was surveyed.
pub(crate) fn plan(
    survey: &mut Survey,
    job: &Job,
    circumstances: &Circumstances,
    options: &Options,
) -> Planned {
    let (in_grace, departures) = grace(survey, job, circumstances);
    let policy_digest = job.policy_digest();
    let policy_changed = circumstances
        .state
        .policy
        .is_some_and(|policy| policy != policy_digest);
    // Another policy decides anew.
    let standing = if policy_changed {
        StandingHolds::default()
    } else {
        circumstances.state.holds.clone()
    };
    let mut planner = Planner {
        job,
        in_grace,
        evidence: RunEvidence {
            removals: missing_sentinel(survey.graph(), job)
                .map(HoldCause::SentinelMissing)
                .or(policy_changed.then_some(HoldCause::PolicyChanged))
                .or_else(|| standing.of_run(&circumstances.scope)),
            everything: None,
            adopt: circumstances.adopt,
            updates: circumstances.updates,
        },
        scratch: Scratch::new(),
        missing: BTreeSet::new(),
        approved: BTreeMap::new(),
        shut: standing.by_container(),
        selects: BTreeSet::new(),
    };
    let (stages, edges) = stages(survey.graph(), &survey.containers);
    planner.selects = edges;
    let mut drafts = planner.plan_all(survey, &stages);
    // What one run's guard holds stays in share groups, and so in what depends on them: plan again from there.
    if planner.evidence.removals.is_none()
        && stages.len() > 1
        && let Some(cause) = drafts.run_guard(&job.policy, circumstances.window_used)
    {
        planner.evidence.removals = Some(cause);
        drafts = planner.plan_all(survey, &stages);
    }
    let header = header(survey, job, policy_digest, &planner.missing, options);
    let envelope = Envelope {
        lineage: circumstances.state.lineage,
        serial: circumstances.state.serial,
        created: circumstances.now,
        expires: later(circumstances.now, options.plan_lifetime),
    };
    let assemble = |drafts, approved| {
        Plan::assemble(
            header.clone(),
            envelope.clone(),
            drafts,
            &job.policy,
            circumstances.window_used,
            approved,
        )
    };
    let valid: Vec<Digest> = circumstances
        .approvals
        .iter()
        .filter(|approval| approval.is_valid(&job.id, &policy_digest, circumstances.now))
        .map(|approval| approval.held)
        .collect();
    let (plan, approval) = if valid.is_empty() {
        (assemble(drafts, None), None)
    } else {
        let waiting = assemble(drafts.clone(), None);
        match waiting.held_digest().filter(|held| valid.contains(held)) {
            None => (waiting, None),
            Some(held) => {
                if stages.len() > 1 {
                    planner.approved = approvable(&waiting);
                    drafts = planner.plan_all(survey, &stages);
                }
                (assemble(drafts, Some(held)), Some(held))
            }
        }
    };
    let is_planned = |container: &ContainerRef| survey.place(container).is_some();
    let holds = standing.after(&plan, &circumstances.scope, is_planned);
    Planned {
        plan,
        departures,
        approval,
        holds,
    }
}

/// What an approval of the held set of `plan` covers.
fn approvable(plan: &Plan) -> BTreeMap<ContainerRef, BTreeSet<Subject>> {
    let of = |section: &Section| {
        let holds = section.holds.iter().filter(|hold| hold.cause.is_approvable());
        holds.map(|hold| hold.operation.subject.clone()).collect()
    };
    plan.sections()
        .iter()
        .map(|section| (section.container.clone(), of(section)))
        .collect()
}

/// `duration` after `now`, or the end of time.
pub(crate) fn later(now: DateTime<Utc>, duration: std::time::Duration) -> DateTime<Utc> {
    TimeDelta::from_std(duration)
        .ok()
        .and_then(|duration| now.checked_add_signed(duration))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Asks the target about the desired who were not seen where it was read in part, as far as it allows.
pub(crate) async fn point_reads(
    readers: &Readers,
    job: &Job,
    survey: &mut Survey,
    context: &CallContext,
) -> Result<()> {
    let target = readers.target(&job.target)?;
    if !target.capabilities().point_read {
        return Ok(());
    }
    let mut left = readers.options.point_reads;
    let mut scratch = Scratch::new();
    for place in 0..survey.containers.len() {
        let sight = &survey.sights[place];
        if sight.rest.is_none() || sight.missing {
            continue;
        }
        let resolved = survey
            .sources
            .resolve(&survey.containers[place], &job.resolve, &mut scratch);
        for &id in &resolved.certain {
            let sight = &survey.sights[place];
            if sight.is_present(id) || sight.ours.binary_search(&id).is_ok() {
                continue;
            }
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            let principal = survey.graph().principal_ref(id);
            match target
                .member(&survey.containers[place].id.object, &principal, context)
                .await
            {
                Ok(member) => survey.sights[place].learn(id, member),
                Err(_) => break,
            }
        }
    }
    Ok(())
}

fn missing_sentinel(graph: &DirectoryGraph, job: &Job) -> Option<PrincipalRef> {
    let is_shown = |sentinel: &&PrincipalRef| {
        graph
            .find(sentinel)
            .is_some_and(|node| graph.node(node).kind().is_some())
    };
    job.policy
        .guards
        .sentinels
        .iter()
        .find(|sentinel| !is_shown(sentinel))
        .cloned()
}

/// Who left a completely read directory and keeps what they have for now; ascending.
fn grace(survey: &Survey, job: &Job, circumstances: &Circumstances) -> (Vec<NodeId>, DepartureChanges) {
    let Some(hours) = job.policy.grace_hours else {
        return (Vec::new(), DepartureChanges::default());
    };
    let graph = survey.graph();
    let has_left = |id: NodeId| {
        let node = graph.node(id);
        node.kind().is_none()
            && job.sources.contains(node.system())
            && graph.system_verdict(node.system()).is_complete()
    };
    let claimed = survey.sights.iter().flat_map(|sight| {
        let other = sight
            .other
            .iter()
            .filter(|row| row.standing.claimed)
            .map(|row| row.id);
        sight.ours.iter().copied().chain(other)
    });
    let left: BTreeSet<NodeId> = claimed.filter(|id| has_left(*id)).collect();
    let mut changes = DepartureChanges::default();
    let mut in_grace = Vec::new();
    for id in left {
        let principal = graph.principal_ref(id);
        let known = circumstances
            .departures
            .iter()
            .find(|departure| departure.principal == principal);
        let since = known.map_or(circumstances.now, |departure| departure.since);
        if known.is_none() {
            changes.begun.insert(principal);
        }
        if circumstances.now.signed_duration_since(since) < TimeDelta::hours(i64::from(hours)) {
            in_grace.push(id);
        }
    }
    let is_back = |departure: &&Departure| {
        graph
            .find(&departure.principal)
            .is_some_and(|node| graph.node(node).kind().is_some())
    };
    changes.ended = circumstances
        .departures
        .iter()
        .filter(is_back)
        .map(|departure| departure.principal.clone())
        .collect();
    (in_grace, changes)
}

struct Planner<'a> {
    job: &'a Job,
    in_grace: Vec<NodeId>,
    evidence: RunEvidence,
    scratch: Scratch,
    missing: BTreeSet<Warning>,
    /// What a valid approval covers; empty until that is known.
    approved: BTreeMap<ContainerRef, BTreeSet<Subject>>,
    /// What holds the removals of single containers since an earlier run.
    shut: BTreeMap<ContainerRef, HoldCause>,
    /// Which containers select which.
    selects: BTreeSet<Edge>,
}

impl Planner<'_> {
    fn plan_all(&mut self, survey: &mut Survey, stages: &[Stage]) -> Drafts {
        let mut drafts = Drafts::default();
        for stage in stages {
            match stage {
                Stage::Plain(places) => {
                    for &place in places {
                        drafts.push(self.plan_one(survey, place, &self.evidence.clone()).0);
                    }
                }
                Stage::Source(place) => {
                    let (section, doubt) = self.plan_one(survey, *place, &self.evidence.clone());
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
        drafts
    }

    /// Plans containers that select each other: from who stays in any case, up to the least state that the plan itself
    /// leaves. What was held once stays counted as there, so that the rounds come to an end.
    fn plan_circle(&mut self, survey: &mut Survey, places: &[usize], undecidable: bool) -> Vec<Section> {
        let mut evidence = self.evidence.clone();
        if undecidable {
            evidence.everything = Some(HoldCause::Undecidable);
        }
        let mut left: Vec<Vec<NodeId>> = places
            .iter()
            .map(|&place| {
                let sight = &survey.sights[place];
                let ours = |id: &NodeId| sight.ours.binary_search(id).is_ok();
                match self.job.policy.mode {
                    _ if undecidable => sight.present.clone(),
                    Mode::Mirror => Vec::new(),
                    Mode::Managed | Mode::AddOnly => {
                        sight.present.iter().copied().filter(|id| !ours(id)).collect()
                    }
                }
            })
            .collect();
        let mut doubts: Vec<Option<PartialReason>> = vec![None; places.len()];
        loop {
            for ((&place, left), doubt) in places.iter().zip(&left).zip(&doubts) {
                fill(survey, place, left, doubt.clone());
            }
            let planned: Vec<_> = places
                .iter()
                .map(|&place| self.plan_one(survey, place, &evidence))
                .collect();
            let mut grew = false;
            for (at, (section, doubt)) in planned.iter().enumerate() {
                let mut now = left_by(section, survey.graph(), &survey.sights[places[at]]);
                now.extend(&left[at]);
                now.sort_unstable();
                now.dedup();
                grew |= now.len() > left[at].len() || (doubts[at].is_none() && doubt.is_some());
                left[at] = now;
                doubts[at] = doubts[at].take().or_else(|| doubt.clone());
            }
            if !grew {
                return planned.into_iter().map(|(section, _)| section).collect();
            }
        }
    }

    /// The section of one container, and why its membership is in doubt, if it is.
    fn plan_one(
        &mut self,
        survey: &mut Survey,
        place: usize,
        evidence: &RunEvidence,
    ) -> (Section, Option<PartialReason>) {
        let mut resolved =
            survey
                .sources
                .resolve(&survey.containers[place], &self.job.resolve, &mut self.scratch);
        let container = &survey.containers[place];
        let sight = &survey.sights[place];
        let graph = survey.graph();
        for principal in &resolved.missing {
            let (container, principal) = (container.id.clone(), principal.clone());
            self.missing.insert(Warning::MissingPick { container, principal });
        }
        if sight.missing {
            resolved = Arc::new(nobody());
        } else {
            self.add_guests(survey, place, &mut resolved);
        }
        let denied = if resolved.rest == Rest::Absent {
            Vec::new()
        } else {
            let among = in_question(sight);
            graph.denied(&container.selection, &self.job.resolve, &mut self.scratch, &among)
        };
        let has_row = |id: &&NodeId| sight.row(**id, &self.job.id).is_some();
        let in_grace: Vec<NodeId> = self.in_grace.iter().filter(has_row).copied().collect();
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
                in_grace: &in_grace,
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
        if let Some(subjects) = self.approved.get(&section.container) {
            section.approve(subjects);
        }
        let doubt = resolved
            .rest
            .reason()
            .or(resolved.maybe_reason.as_ref())
            .or(sight.rest.as_ref())
            .cloned();
        (section, doubt)
    }
}

impl Planner<'_> {
    /// Adds the members of selected containers whom no directory shows, unless they are excluded.
    fn add_guests(&self, survey: &Survey, place: usize, resolved: &mut Arc<Resolved>) {
        let graph = survey.graph();
        let selection = &survey.containers[place].selection;
        let guests_of = |picks: &BTreeSet<PrincipalRef>, excludes: bool| {
            let first = Edge {
                from: place,
                to: 0,
                excludes: false,
            };
            let edges = self.selects.range(first..).take_while(|edge| edge.from == place);
            let planned = edges
                .filter(|edge| edge.excludes == excludes)
                .filter_map(|edge| graph.find(&survey.containers[edge.to].id.as_principal()));
            // A container that is not planned here is selected directly or not at all.
            let picked: Vec<NodeId> = picks.iter().filter_map(|pick| graph.find(pick)).collect();
            let groups: BTreeSet<NodeId> = planned.chain(picked).collect();
            groups
                .into_iter()
                .flat_map(|group| survey.sources.guests(group).iter().copied())
                .collect::<BTreeSet<_>>()
        };
        let mut guests = guests_of(&selection.include, false);
        if guests.is_empty() {
            return;
        }
        for excluded in guests_of(&selection.exclude, true) {
            guests.remove(&excluded);
        }
        for excluded in selection.exclude.iter().filter_map(|pick| graph.find(pick)) {
            guests.remove(&excluded);
        }
        let resolved = Arc::make_mut(resolved);
        // Where an exclusion is in doubt, it may cover guests, too.
        let list = if resolved.maybe_reason.is_some() {
            &mut resolved.maybe
        } else {
            &mut resolved.certain
        };
        list.extend(guests);
        list.sort_unstable();
        list.dedup();
    }
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

/// Makes a container the group that others select.
fn fill(survey: &mut Survey, place: usize, members: &[NodeId], doubt: Option<PartialReason>) {
    let verdict = doubt.map_or(Completeness::Complete, Completeness::Partial);
    survey
        .sources
        .fill(&survey.containers[place].id, members, verdict);
}

fn header(
    survey: &Survey,
    job: &Job,
    policy: Digest,
    missing: &BTreeSet<Warning>,
    options: &Options,
) -> Header {
    let graph = survey.graph();
    let mut warnings = survey.warnings.clone();
    warnings.extend(missing.iter().cloned());
    for system in &job.sources {
        if let Completeness::Partial(reason) = graph.system_verdict(system) {
            warnings.insert(Warning::PartialSource {
                system: system.clone(),
                reason,
            });
        }
    }
    warnings.extend(
        survey
            .sources
            .unknown_members
            .iter()
            .map(|(group, count)| Warning::UnknownMembers {
                group: group.clone(),
                count: *count,
            }),
    );
    let listed = graph.warnings().iter().map(|warning| Warning::Contradiction {
        principal: warning.principal().clone(),
        detail: warning.to_string(),
    });
    let unlisted = graph
        .warnings()
        .total()
        .saturating_sub(graph.warnings().iter().count() as u64);
    warnings.extend(listed);
    let more = warnings.len().saturating_sub(options.warnings) as u64;
    Header {
        tenant: job.tenant.clone(),
        job: job.id.clone(),
        target: job.target.clone(),
        mode: job.policy.mode,
        policy,
        containers: 0,
        tally: usersync_reconcile::Tally::default(),
        warnings: warnings.into_iter().take(options.warnings).collect(),
        more_warnings: more + unlisted,
    }
}

/// What a plan tells about the people of one container.
struct View<'a> {
    graph: &'a DirectoryGraph,
    job: &'a Job,
    container: &'a Container,
    sight: &'a Sight,
    /// Who the exclusions cover; found out only if somebody is to be removed.
    excluded: OnceCell<Vec<NodeId>>,
}

impl People for View<'_> {
    fn principal(&self, id: NodeId) -> PrincipalRef {
        self.graph.principal_ref(id)
    }

    fn label(&self, id: NodeId) -> String {
        self.graph.node(id).name().to_owned()
    }

    fn is_privileged(&self, id: NodeId) -> bool {
        self.graph.node(id).privileged()
    }

    fn version(&self, id: NodeId) -> Option<String> {
        self.sight.version_of(id).map(|version| version.0.clone())
    }

    fn absence(&self, id: NodeId) -> Reason {
        let node = self.graph.node(id);
        let excluded = || {
            self.excluded.get_or_init(|| {
                let exclusions = Selection::of(self.container.selection.exclude.iter().cloned());
                if exclusions.is_empty() {
                    return Vec::new();
                }
                self.graph
                    .resolve(&exclusions, &self.job.resolve, &mut Scratch::new())
                    .certain
            })
        };
        if self
            .sight
            .row(id, &self.job.id)
            .is_none_or(|row| !row.is_claimed_by(&self.job.id))
        {
            Reason::NotDesired
        } else if node.kind().is_none() {
            Reason::Departed
        } else if node.activity() == Activity::Inactive && self.job.resolve.inactive == Inactive::Drop {
            Reason::Inactive
        } else if excluded().binary_search(&id).is_ok() {
            Reason::Excluded
        } else {
            Reason::NotSelected
        }
    }
}
