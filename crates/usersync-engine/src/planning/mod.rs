//! From a survey to a plan: pure, and the same for a preview and a run.

mod planner;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use usersync_connector::CallContext;
use usersync_model::{
    Completeness, ContainerRef, Digest, DirectoryGraph, NodeId, PrincipalRef, Scratch, Subject,
};
use usersync_reconcile::{Approval, Drafts, Envelope, Header, HoldCause, Plan, RunEvidence, Warning};

use self::planner::Planner;
use crate::dependency::stages;
use crate::error::Result;
use crate::grant::Grant;
use crate::job::{Job, Scope};
use crate::ports::{Options, Readers};
use crate::source::Sources;
use crate::standing::StandingHolds;
use crate::state::{Departure, JobState};
use crate::survey::Survey;

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
    /// Who is on record as departed then.
    pub(crate) stored: BTreeSet<PrincipalRef>,
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
    /// What is approved in it.
    pub(crate) granted: Option<Grant>,
}

/// What is known before anything is planned, whatever the kind of the job.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) policy: Digest,
    /// What holds removals everywhere.
    pub(crate) removals: Option<HoldCause>,
    /// What an approval let go earlier.
    pub(crate) approved: BTreeMap<ContainerRef, BTreeSet<Subject>>,
    /// What holds the removals of single containers since an earlier run.
    pub(crate) shut: BTreeMap<ContainerRef, HoldCause>,
    standing: StandingHolds,
    granted: Option<Grant>,
    scope: Scope,
}

impl Frame {
    pub(crate) fn new(
        graph: &DirectoryGraph,
        job: &Job,
        state: &JobState,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Self {
        let policy = job.policy_digest();
        let policy_changed = state.policy.is_some_and(|before| before != policy);
        // Another policy decides anew.
        let standing = if policy_changed {
            StandingHolds::default()
        } else {
            state.holds.clone()
        };
        let granted = state
            .granted
            .as_ref()
            .filter(|grant| grant.is_valid(&policy, now));
        Self {
            removals: missing_sentinel(graph, job)
                .map(HoldCause::SentinelMissing)
                .or(policy_changed.then_some(HoldCause::PolicyChanged))
                .or_else(|| standing.of_run(scope)),
            approved: granted.map(Grant::by_container).unwrap_or_default(),
            shut: standing.by_container(),
            policy,
            granted: granted.cloned(),
            standing,
            scope: scope.clone(),
        }
    }
}

/// Puts the sections of a plan together.
pub(crate) struct Assembly<'a> {
    job: &'a Job,
    header: Header,
    envelope: Envelope,
    window_used: u64,
    /// The held sets that somebody approved, and until when.
    valid: BTreeMap<Digest, DateTime<Utc>>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(
        job: &'a Job,
        frame: &Frame,
        header: Header,
        circumstances: &Circumstances,
        options: &Options,
    ) -> Self {
        let approvals = circumstances.approvals.iter();
        Self {
            job,
            header,
            envelope: Envelope {
                lineage: circumstances.state.lineage,
                serial: circumstances.state.serial,
                created: circumstances.now,
                expires: later(circumstances.now, options.plan_lifetime),
            },
            window_used: circumstances.window_used,
            valid: approvals
                .filter(|approval| approval.is_valid(&job.id, &frame.policy, circumstances.now))
                .map(|approval| (approval.held, approval.expires))
                .collect(),
        }
    }

    fn assemble(&self, drafts: Drafts, approved: Option<Digest>) -> Plan {
        Plan::assemble(
            self.header.clone(),
            self.envelope.clone(),
            drafts,
            &self.job.policy,
            self.window_used,
            approved,
        )
    }

    /// The plan before an approval has its effect, if there is one that covers what it holds.
    fn waiting(&self, drafts: &Drafts) -> Option<Plan> {
        if self.valid.is_empty() {
            return None;
        }
        let waiting = self.assemble(drafts.clone(), None);
        let is_approved = |held| self.valid.contains_key(&held);
        waiting.held_digest().is_some_and(is_approved).then_some(waiting)
    }

    /// The plan, and what goes with it. `seen` are the containers that were read completely. `replan` plans again what an approval lets go, where that has consequences.
    pub(crate) fn finish(
        &self,
        frame: &Frame,
        mut drafts: Drafts,
        departures: DepartureChanges,
        seen: &BTreeSet<ContainerRef>,
        replan: impl FnOnce(&Plan) -> Option<Drafts>,
    ) -> Planned {
        let waiting = self.waiting(&drafts);
        let approval = waiting.as_ref().and_then(Plan::held_digest);
        if let Some(again) = waiting.as_ref().and_then(replan) {
            drafts = again;
        }
        let plan = self.assemble(drafts, approval);
        let is_seen = |container: &ContainerRef| seen.contains(container);
        let holds = frame.standing.after(&plan, &frame.scope, is_seen);
        let until = approval.and_then(|held| self.valid.get(&held).copied());
        let until = until.or_else(|| frame.granted.as_ref().map(Grant::expires));
        let granted = until.and_then(|until| Grant::of(&plan, until));
        Planned {
            plan,
            departures,
            approval,
            holds,
            granted,
        }
    }
}

/// Plans everything that was surveyed.
pub(crate) fn plan(
    survey: &mut Survey,
    job: &Job,
    circumstances: &Circumstances,
    options: &Options,
) -> Planned {
    let sights = survey.sights.iter().enumerate();
    let (places_in_grace, departures) = grace(
        survey.graph(),
        sights.flat_map(|(place, sight)| sight.claimed().map(move |id| (id, place))),
        job,
        &circumstances.departures,
        circumstances.now,
    );
    let mut in_grace: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for (id, places) in places_in_grace {
        for place in places {
            in_grace.entry(place).or_default().push(id);
        }
    }
    let frame = Frame::new(
        survey.graph(),
        job,
        &circumstances.state,
        &circumstances.scope,
        circumstances.now,
    );
    let mut planner = Planner {
        job,
        in_grace,
        evidence: RunEvidence {
            removals: frame.removals.clone(),
            everything: None,
            adopt: circumstances.adopt,
            updates: circumstances.updates,
        },
        scratch: Scratch::new(),
        warnings: BTreeSet::new(),
        approved: frame.approved.clone(),
        shut: frame.shut.clone(),
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
    let mut warnings = survey.warnings.clone();
    warnings.extend(planner.warnings.iter().cloned());
    let header = header(&survey.sources, warnings, job, frame.policy, options);
    let sights = survey.containers.iter().zip(&survey.sights);
    let seen = sights
        .filter(|(_, sight)| sight.rest.is_none() && !sight.missing)
        .map(|(container, _)| container.id.clone())
        .collect();
    Assembly::new(job, &frame, header, circumstances, options).finish(
        &frame,
        drafts,
        departures,
        &seen,
        |waiting| {
            (stages.len() > 1).then(|| {
                planner.approve(waiting);
                planner.plan_all(survey, &stages)
            })
        },
    )
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

/// Who of `claimed` left a completely read directory and keeps what they have for now, with the places where they were
/// claimed.
pub(crate) fn grace<P>(
    graph: &DirectoryGraph,
    claimed: impl Iterator<Item = (NodeId, P)>,
    job: &Job,
    known: &[Departure],
    now: DateTime<Utc>,
) -> (BTreeMap<NodeId, Vec<P>>, DepartureChanges) {
    let mut changes = DepartureChanges::default();
    let Some(hours) = job.policy.grace_hours else {
        // Should there be a grace again, it begins then.
        changes.ended = known
            .iter()
            .map(|departure| departure.principal.clone())
            .collect();
        return (BTreeMap::new(), changes);
    };
    let since: BTreeMap<&PrincipalRef, DateTime<Utc>> = known
        .iter()
        .map(|departure| (&departure.principal, departure.since))
        .collect();
    let has_left = |id: NodeId| {
        let node = graph.node(id);
        node.kind().is_none()
            && job.sources.contains(node.system())
            && graph.system_verdict(node.system()).is_complete()
    };
    let mut left: BTreeMap<NodeId, Vec<P>> = BTreeMap::new();
    for (id, place) in claimed.filter(|(id, _)| has_left(*id)) {
        left.entry(id).or_default().push(place);
    }
    left.retain(|&id, _| {
        let principal = graph.principal_ref(id);
        let since = since.get(&principal).copied();
        if since.is_none() {
            changes.begun.insert(principal);
        }
        now.signed_duration_since(since.unwrap_or(now)) < TimeDelta::hours(i64::from(hours))
    });
    for Departure { principal, .. } in known {
        let is_back = graph
            .find(principal)
            .is_some_and(|node| graph.node(node).kind().is_some());
        let principals = if is_back {
            &mut changes.ended
        } else {
            &mut changes.stored
        };
        principals.insert(principal.clone());
    }
    changes.stored.extend(changes.begun.iter().cloned());
    (left, changes)
}

pub(crate) fn header(
    sources: &Sources,
    mut warnings: BTreeSet<Warning>,
    job: &Job,
    policy: Digest,
    options: &Options,
) -> Header {
    let graph = sources.graph();
    for system in &job.sources {
        if let Completeness::Partial(reason) = graph.system_verdict(system) {
            warnings.insert(Warning::PartialSource {
                system: system.clone(),
                reason,
            });
        }
    }
    warnings.extend(
        sources
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
