//! From a survey to a plan: pure, and the same for a preview and a run.

mod planner;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use usersync_connector::CallContext;
use usersync_model::{Completeness, ContainerRef, Digest, DirectoryGraph, NodeId, PrincipalRef, Scratch};
use usersync_reconcile::{Approval, Envelope, Header, HoldCause, Plan, RunEvidence, Warning};

use self::planner::Planner;
use crate::dependency::stages;
use crate::error::Result;
use crate::grant::Grant;
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
    let is_valid = |grant: &&Grant| grant.is_valid(&policy_digest, circumstances.now);
    let granted = circumstances.state.granted.as_ref().filter(is_valid).cloned();
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
        approved: granted.as_ref().map(Grant::by_container).unwrap_or_default(),
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
    let valid: BTreeMap<Digest, DateTime<Utc>> = circumstances
        .approvals
        .iter()
        .filter(|approval| approval.is_valid(&job.id, &policy_digest, circumstances.now))
        .map(|approval| (approval.held, approval.expires))
        .collect();
    let (plan, approval) = if valid.is_empty() {
        (assemble(drafts, None), None)
    } else {
        let waiting = assemble(drafts.clone(), None);
        match waiting.held_digest().filter(|held| valid.contains_key(held)) {
            None => (waiting, None),
            Some(held) => {
                if stages.len() > 1 {
                    planner.approve(&waiting);
                    drafts = planner.plan_all(survey, &stages);
                }
                (assemble(drafts, Some(held)), Some(held))
            }
        }
    };
    let is_planned = |container: &ContainerRef| survey.place(container).is_some();
    let holds = standing.after(&plan, &circumstances.scope, is_planned);
    let until = approval.and_then(|held| valid.get(&held).copied());
    let until = until.or_else(|| granted.as_ref().map(Grant::expires));
    let granted = until.and_then(|until| Grant::of(&plan, until));
    Planned {
        plan,
        departures,
        approval,
        holds,
        granted,
    }
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
    let known = &circumstances.departures;
    let mut changes = DepartureChanges::default();
    let Some(hours) = job.policy.grace_hours else {
        // Should there be a grace again, it begins then.
        changes.ended = known
            .iter()
            .map(|departure| departure.principal.clone())
            .collect();
        return (Vec::new(), changes);
    };
    let graph = survey.graph();
    let has_left = |id: NodeId| {
        let node = graph.node(id);
        node.kind().is_none()
            && job.sources.contains(node.system())
            && graph.system_verdict(node.system()).is_complete()
    };
    let claimed = survey.sights.iter().flat_map(Sight::claimed);
    let left: BTreeSet<NodeId> = claimed.filter(|id| has_left(*id)).collect();
    let mut in_grace = Vec::new();
    for id in left {
        let principal = graph.principal_ref(id);
        let departure = known.iter().find(|departure| departure.principal == principal);
        let since = departure.map_or(circumstances.now, |departure| departure.since);
        if departure.is_none() {
            changes.begun.insert(principal);
        }
        if circumstances.now.signed_duration_since(since) < TimeDelta::hours(i64::from(hours)) {
            in_grace.push(id);
        }
    }
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
    (in_grace, changes)
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
