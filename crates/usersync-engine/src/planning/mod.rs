//! From a survey to a plan, the same for a preview and a run.

mod pass;
mod planner;
mod point_reads;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use usersync_model::{
    Completeness, ContainerRef, Digest, DirectoryGraph, NodeId, PrincipalRef, Rest, Subject, SystemId,
};
use usersync_reconcile::{Approval, Drafts, Envelope, Header, HoldCause, Plan, Warning};

pub(crate) use self::pass::{Task, plan};
use crate::grant::{Allowed, Grant};
use crate::job::{Job, Scope};
use crate::ports::Options;
use crate::source::Sources;
use crate::standing::{StandingHolds, is_incomplete};
use crate::state::{Departure, JobState};
use crate::warnings::Warnings;

/// What planning takes beside the survey.
#[derive(Clone, Debug)]
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

/// The departures that a run has to record as beginning now, and those that it has to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DepartureChanges {
    pub(crate) begun: BTreeSet<PrincipalRef>,
    pub(crate) ended: BTreeSet<PrincipalRef>,
    /// Who is on record as departed then.
    pub(crate) stored: BTreeSet<PrincipalRef>,
}

impl DepartureChanges {
    /// What two parts of a survey lead to.
    fn absorb(&mut self, other: Self) {
        self.begun.extend(other.begun);
        self.ended.extend(other.ended);
        self.stored.extend(other.stored);
    }
}

/// A plan, and what goes with it.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) departures: DepartureChanges,
    /// The held set whose approval the plan uses up.
    pub(crate) approval: Option<Digest>,
    /// Whether it rests on all that there is.
    pub(crate) is_complete: bool,
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
    pub(crate) approved: BTreeMap<ContainerRef, Allowed>,
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
        policy: Digest,
        state: &JobState,
        scope: &Scope,
        now: DateTime<Utc>,
    ) -> Self {
        let policy_changed = state.mixed || state.policy.is_some_and(|before| before != policy);
        // Another policy decides anew.
        let standing = if policy_changed {
            StandingHolds::default()
        } else {
            state.holds.clone()
        };
        let granted = state.granted.as_ref().and_then(|grant| grant.valid(&policy, now));
        Self {
            removals: missing_sentinel(graph, job)
                .map(HoldCause::SentinelMissing)
                .or(policy_changed.then_some(HoldCause::PolicyChanged))
                .or_else(|| standing.of_run(scope)),
            approved: granted.as_ref().map(Grant::by_container).unwrap_or_default(),
            shut: standing.by_container(),
            policy,
            granted,
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

    /// The plan before an approval has its effect.
    pub(crate) fn assemble(&self, drafts: Drafts) -> Plan {
        Plan::assemble(
            self.header.clone(),
            self.envelope.clone(),
            drafts,
            &self.job.policy,
            self.window_used,
            None,
        )
    }

    /// The held set of `plan`, if somebody approved it.
    pub(crate) fn approval(&self, plan: &Plan) -> Option<Digest> {
        plan.held_digest().filter(|held| self.valid.contains_key(held))
    }

    /// The plan with what an approval lets go, and what goes with it. `seen` are the containers that were read completely; `missed` tells
    /// whether nobody looked into one that the run covers, though there may be something of the job's. `approval` is the held set that is
    /// used up; where it is not that of `plan`, the plan was made anew with what it covers.
    pub(crate) fn finish(
        &self,
        frame: &Frame,
        plan: Plan,
        approval: Option<Digest>,
        departures: DepartureChanges,
        seen: &BTreeSet<ContainerRef>,
        missed: bool,
    ) -> Planned {
        let plan = match approval {
            Some(held) => plan.approved(held),
            None => plan,
        };
        let is_seen = |container: &ContainerRef| seen.contains(container);
        let is_complete = !missed && !is_incomplete(&plan);
        let holds = frame.standing.after(&plan, &frame.scope, is_seen, is_complete);
        let until = approval.and_then(|held| self.valid.get(&held).copied());
        let granted = Grant::of(&plan, frame.granted.as_ref(), until);
        // Where nobody looked, or something else holds it now, what was let go earlier stays so.
        let held: BTreeSet<(&ContainerRef, &Subject)> = plan
            .sections()
            .iter()
            .flat_map(|section| {
                let holds = section.holds.iter();
                holds.map(|hold| (&section.container, &hold.operation.subject))
            })
            .collect();
        let is_over = |container: &ContainerRef, subject: &Subject| {
            is_seen(container) && !held.contains(&(container, subject))
        };
        let left = frame.granted.as_ref().and_then(|grant| grant.without(is_over));
        let granted = match (granted, left) {
            (Some(granted), Some(left)) => Some(granted.and(left)),
            (granted, left) => granted.or(left),
        };
        Planned {
            plan,
            departures,
            approval,
            is_complete,
            holds,
            granted,
        }
    }
}

/// `duration` after `now`, or the end of time.
pub(crate) fn later(now: DateTime<Utc>, duration: std::time::Duration) -> DateTime<Utc> {
    TimeDelta::from_std(duration)
        .ok()
        .and_then(|duration| now.checked_add_signed(duration))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// That not everybody whom `container` selects is known. Where a whole system was read in part, that is told of the system.
pub(crate) fn partial_selection(
    graph: &DirectoryGraph,
    job: &Job,
    container: &ContainerRef,
    rest: &Rest,
) -> Option<Warning> {
    let is_whole = |system| graph.system_verdict(system).is_complete();
    let reason = rest.reason().filter(|_| job.sources.iter().all(is_whole))?;
    Some(Warning::PartialSelection {
        container: container.clone(),
        reason: reason.clone(),
    })
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

/// Who keeps what a job gave them for a grace period, or may, with the places where they have it.
#[derive(Debug)]
pub(crate) struct Grace<P> {
    /// Left a completely read directory, and keep what they have for now.
    pub(crate) kept: BTreeMap<NodeId, Vec<P>>,
    /// May have left: a directory that was read in part does not show them, and nobody missed them before.
    pub(crate) doubtful: BTreeMap<NodeId, Vec<P>>,
    pub(crate) changes: DepartureChanges,
}

/// Who of `claimed` is in grace.
pub(crate) fn grace<P>(
    graph: &DirectoryGraph,
    claimed: impl Iterator<Item = (NodeId, P)>,
    job: &Job,
    known: &[Departure],
    now: DateTime<Utc>,
) -> Grace<P> {
    let mut grace = Grace {
        kept: BTreeMap::new(),
        doubtful: BTreeMap::new(),
        changes: DepartureChanges::default(),
    };
    let changes = &mut grace.changes;
    let Some(hours) = job.policy.grace_hours else {
        // Should there be a grace again, it begins then.
        changes.ended = known
            .iter()
            .map(|departure| departure.principal.clone())
            .collect();
        return grace;
    };
    let since: BTreeMap<&PrincipalRef, DateTime<Utc>> = known
        .iter()
        .map(|departure| (&departure.principal, departure.since))
        .collect();
    // A read in part shows nobody's departure, and takes none back.
    let departed: BTreeSet<NodeId> = since
        .keys()
        .filter_map(|principal| graph.find(principal))
        .collect();
    let is_unseen = |id: NodeId| {
        let node = graph.node(id);
        node.kind().is_none() && job.sources.contains(node.system())
    };
    let is_partial = |system: &&SystemId| !graph.system_verdict(system).is_complete();
    let partial: BTreeSet<&SystemId> = job.sources.iter().filter(is_partial).collect();
    for (id, place) in claimed.filter(|(id, _)| is_unseen(*id)) {
        if departed.contains(&id) || !partial.contains(graph.node(id).system()) {
            grace.kept.entry(id).or_default().push(place);
        } else if hours > 0 {
            grace.doubtful.entry(id).or_default().push(place);
        }
    }
    grace.kept.retain(|&id, _| {
        let principal = graph.principal_ref(id);
        // Noted by a clock that was ahead then, it would make the grace longer by as much.
        let noted = since.get(&principal).copied();
        let since = noted.filter(|since| *since <= now);
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
    grace
}

pub(crate) fn header(
    sources: &Sources,
    mut warnings: Warnings,
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
            .unknown_members()
            .map(|(group, count)| Warning::UnknownMembers { group, count }),
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
    warnings.count(unlisted);
    let (warnings, more_warnings) = warnings.into_list(options.warnings);
    Header {
        tenant: job.tenant.clone(),
        job: job.id.clone(),
        target: job.target.clone(),
        mode: job.policy.mode,
        policy,
        containers: 0,
        tally: usersync_reconcile::Tally::default(),
        warnings,
        more_warnings,
    }
}
