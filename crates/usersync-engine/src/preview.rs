//! Planning without writing.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use tracing::Instrument;
use usersync_connector::CallContext;
use usersync_model::{
    Absence, Completeness, ContainerRef, Explanation, JobId, MAX_PATHS, PrincipalRef, Scratch, Selection,
    Standing, TenantId, visible,
};
use usersync_reconcile::{Hold, HoldCause, Plan, What};

use crate::actor::job_actor;
use crate::elsewhere::recover_elsewhere;
use crate::error::{EngineError, Result};
use crate::event::{RunControl, RunEvent};
use crate::ground::Ground;
use crate::job::{Job, JobKind, Scope};
use crate::planning::{Circumstances, Planned, Task, plan};
use crate::ports::Readers;
use crate::records::{self, Collections, RecordSurvey};
use crate::recover::Recovery;
use crate::report::FailedRead;
use crate::source::{Sources, read_sources};
use crate::state::{Intent, JobState, load_approvals, load_departures, load_intents, load_job, load_state};
use crate::survey::{Survey, survey};

/// Plans without writing: it holds nothing that could write, by type. This is all that it is made of, and none of these traits has a
/// method that writes:
///
/// ```
/// use std::sync::Arc;
/// use usersync_connector::{ActorDirectory, Clock, ContainerCatalog, Directory, MembershipRead, RecordRead};
/// use usersync_engine::{Preview, Readers};
/// use usersync_store::StateRead;
///
/// fn preview(
///     state: Arc<dyn StateRead>,
///     clock: Arc<dyn Clock>,
///     catalog: Arc<dyn ContainerCatalog>,
///     actors: Arc<dyn ActorDirectory>,
///     directory: Arc<dyn Directory>,
///     members: Arc<dyn MembershipRead>,
///     records: Arc<dyn RecordRead>,
/// ) -> Preview {
///     let readers = Readers::new(state, clock, catalog, actors);
///     Preview::new(readers.with_directory(directory).with_target(members).with_records(records))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Preview {
    readers: Readers,
}

/// What a preview shows: the plan, and all that it rests on, for explanations.
#[derive(Debug)]
pub struct Previewed {
    job: Job,
    ground: Ground,
    plan: Plan,
}

/// Why somebody is a member, or will be, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// What it is about.
    pub about: About,
    /// The ways from the container's selection to the principal; `None` if it is not selected.
    pub selected: Option<Explanation>,
    /// Why it is not selected, or not for sure.
    pub absent: Vec<Absence>,
    /// Whether it is there now; `None` where that is not known, and of copies.
    pub present: Option<bool>,
    /// An operation on it waits, for this reason.
    pub held: Option<HoldCause>,
    /// What else the plan says about it.
    pub finding: Option<What>,
}

/// What an [`Answer`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum About {
    /// Whether the principal gets copies in its collection.
    Copies,
    /// Whether the principal is a member.
    Membership,
    /// Copies of what is the principal's own, who never gets any.
    Own,
}

impl Preview {
    /// Plans from what these readers show.
    #[must_use]
    pub fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// What a run of `scope` would do now. The plan of a run with the same inputs is equal.
    ///
    /// # Errors
    /// [`EngineError`] when the job is not known, a connector is missing, the store fails, or nobody may act.
    pub async fn plan(&self, tenant: &TenantId, job: &JobId, scope: &Scope) -> Result<Previewed> {
        let (job, context) = self.begin(tenant, job).await?;
        let request = PlanRequest {
            scope: scope.clone(),
            adopt: false,
            explains: true,
        };
        let control = RunControl::new();
        let made = make_plan(&self.readers, &job, &request, None, &context, &control)
            .boxed()
            .await?;
        Ok(Previewed {
            job,
            ground: made.ground,
            plan: made.planned.plan,
        })
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The job, and in whose name its systems are read.
    pub(crate) async fn begin(&self, tenant: &TenantId, job: &JobId) -> Result<(Job, CallContext)> {
        let job = load_job(self.readers.state.as_ref(), tenant, job)
            .await?
            .ok_or_else(|| EngineError::UnknownJob(job.clone()))?;
        let actor = match job_actor(&self.readers, &job).await? {
            Ok(actor) => actor,
            Err(nobody) => return Err(EngineError::NobodyActs(nobody.owner)),
        };
        let context = CallContext {
            tenant: job.tenant.clone(),
            job: job.id.clone(),
            actor,
        };
        Ok((job, context))
    }
}

impl Previewed {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The reads that ended with an error. What they would have shown counts as unknown.
    #[must_use]
    pub fn failed_reads(&self) -> &[FailedRead] {
        &self.ground.sources().failed
    }

    /// Why `principal` is, will be or will not be a member of `container`; `None` if the preview does not cover the
    /// container. Of a job that copies records, why the principal gets copies in its collection, or not.
    #[must_use]
    pub fn explain(&self, container: &ContainerRef, principal: &PrincipalRef) -> Option<Answer> {
        let survey = match &self.ground {
            Ground::Members(survey) => survey,
            Ground::Records(survey) => return self.explain_copy(survey, container, principal),
        };
        let place = survey.place(container)?;
        let graph = survey.graph();
        let selection = &survey.containers[place].selection;
        let sight = &survey.sights[place];
        let section = self
            .plan
            .sections()
            .iter()
            .find(|section| section.container == *container);
        let is_about = |subject: &usersync_model::Subject| matches!(subject, usersync_model::Subject::Principal(other) if other == principal);
        let is_held = |hold: &&Hold| is_about(&hold.operation.subject);
        let (selected, absent) =
            explain_guest(survey, &self.job, selection, principal).unwrap_or_else(|| {
                (
                    graph.explain(selection, principal, &self.job.resolve),
                    graph.explain_absence(selection, principal, &self.job.resolve),
                )
            });
        Some(Answer {
            about: About::Membership,
            selected,
            absent,
            present: match graph.find(principal) {
                Some(id) => sight.presence(id),
                None => sight.rest.is_none().then_some(false),
            },
            held: section
                .and_then(|s| s.holds.iter().find(is_held))
                .map(|hold| hold.cause.clone()),
            finding: section
                .and_then(|s| s.findings.iter().find(|finding| is_about(&finding.subject)))
                .map(|finding| finding.what),
        })
    }
}

impl Previewed {
    /// Why `principal` is a destination of copies, or not. The collection is the principal's.
    fn explain_copy(
        &self,
        survey: &RecordSurvey,
        collection: &ContainerRef,
        principal: &PrincipalRef,
    ) -> Option<Answer> {
        let to = survey.to.as_ref()?;
        if collection.object != principal.object || collection.system != self.job.target {
            return None;
        }
        let is_own = match &self.job.kind {
            JobKind::Records(records) => match &records.collections {
                Collections::Distribute { owner, group, .. } => {
                    owner == principal || (records.from == collection.system && *group == collection.object)
                }
                Collections::Each(_) => false,
            },
            _ => false,
        };
        let graph = survey.sources.graph();
        let sections = self.plan.sections();
        let section = sections.iter().find(|section| section.container == *collection);
        let (selected, absent) = if is_own {
            (None, Vec::new())
        } else {
            (
                graph.explain(to, principal, &self.job.resolve),
                graph.explain_absence(to, principal, &self.job.resolve),
            )
        };
        Some(Answer {
            about: if is_own { About::Own } else { About::Copies },
            selected,
            absent,
            present: None,
            held: section
                .and_then(|s| s.holds.first())
                .map(|hold| hold.cause.clone()),
            finding: section
                .and_then(|s| s.findings.first())
                .map(|finding| finding.what),
        })
    }
}

/// Of somebody whom no directory shows, and who is a member of containers that the selection reaches: how they are selected by these,
/// or why not. `None` if this is about nobody like that.
fn explain_guest(
    survey: &Survey,
    job: &Job,
    selection: &Selection,
    principal: &PrincipalRef,
) -> Option<(Option<Explanation>, Vec<Absence>)> {
    let graph = survey.graph();
    let guest = graph.find(principal)?;
    let hosts = survey.sources.hosts_of(guest);
    let ways = |picks: &BTreeSet<PrincipalRef>| {
        let (mut ways, mut more) = (Vec::new(), false);
        for &host in &hosts {
            let (found, is_cut) = graph.ways(picks, host);
            ways.extend(found);
            more |= is_cut;
        }
        for way in &mut ways {
            way.steps.push(graph.last_step(guest));
        }
        let shortest = ways.iter().map(|way| way.steps.len()).min();
        ways.retain(|way| Some(way.steps.len()) == shortest);
        ways.sort_by_cached_key(|way| {
            let ids = way.steps.iter().map(|step| step.principal.clone());
            ids.collect::<Vec<_>>()
        });
        more |= ways.len() > MAX_PATHS;
        ways.truncate(MAX_PATHS);
        (ways, more)
    };
    let (paths, more) = ways(&selection.include);
    if paths.is_empty() {
        return None;
    }
    let own = graph.ways(&selection.exclude, guest).0;
    if let Some(way) = own.into_iter().chain(ways(&selection.exclude).0).next() {
        return Some((None, vec![Absence::Excluded(way)]));
    }
    // As when the container is planned: whom a directory would show that was read in part is a guest or not, and where an
    // exclusion is in doubt, it may cover guests, too.
    let mut scratch = Scratch::new();
    let excluded = Selection::of(selection.exclude.iter().cloned());
    let exclusion = graph.resolve(&excluded, &job.resolve, &mut scratch).rest;
    let resolved = graph.resolve(selection, &job.resolve, &mut scratch);
    let directory = job.sources.contains(&principal.system);
    let directory = directory.then(|| graph.system_verdict(&principal.system));
    let directory = match &directory {
        Some(Completeness::Partial(reason)) => Some(reason),
        _ => None,
    };
    let doubts = [directory, exclusion.reason(), resolved.maybe_reason.as_ref()];
    let doubt = doubts.into_iter().flatten().min().cloned();
    let standing = match doubt {
        Some(_) => Standing::Unknown,
        None => Standing::Yes,
    };
    let explanation = Explanation {
        standing,
        paths,
        more,
    };
    Some((
        Some(explanation),
        doubt.into_iter().map(Absence::Unknown).collect(),
    ))
}

impl fmt::Display for Answer {
    /// One line for each thing there is to say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = self.selected.as_ref().map(|selected| selected.standing);
        f.write_str(match (self.about, self.present, standing) {
            (About::Copies, _, Some(Standing::Yes)) => "gets copies",
            (About::Copies, _, Some(Standing::Unknown)) => "may get copies",
            (About::Copies, _, Some(Standing::No) | None) => "gets no copies",
            (About::Membership, Some(true), _) => "is a member",
            (About::Membership, Some(false), _) => "is no member",
            (About::Membership, None, _) => "may be a member: the container was not read completely",
            (About::Own, _, _) => "gets no copies: what is copied is the principal's own",
        })?;
        if let Some(selected) = &self.selected {
            write!(f, "\nselected: {selected}")?;
        }
        for absence in &self.absent {
            write!(f, "\nnot selected: {absence}")?;
        }
        if let Some(cause) = &self.held {
            let shown = cause.to_string();
            write!(f, "\nwaits: {}; {}", visible(&shown), cause.next_action())?;
        }
        if let Some(finding) = self.finding {
            write!(f, "\nnote: {finding}")?;
        }
        Ok(())
    }
}

/// What is to be planned.
#[derive(Clone, Debug)]
pub(crate) struct PlanRequest {
    pub(crate) scope: Scope,
    pub(crate) adopt: bool,
    /// Whether what was read is kept, to explain the plan with.
    pub(crate) explains: bool,
}

/// A plan, with what it rests on.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) ground: Ground,
    pub(crate) planned: Planned,
    pub(crate) recovery: Recovery,
    pub(crate) state: JobState,
    pub(crate) revision: u64,
    pub(crate) now: DateTime<Utc>,
}

/// Reads and plans: the one way to a plan, for previews and runs alike.
pub(crate) async fn make_plan(
    readers: &Readers,
    job: &Job,
    request: &PlanRequest,
    known: Option<Sources>,
    context: &CallContext,
    control: &RunControl,
) -> Result<Made> {
    match &job.kind {
        JobKind::Members => {}
        JobKind::Items(_) => return Err(EngineError::NoPlan(job.id.clone())),
        JobKind::Records(records) => {
            return records::make_plan(readers, job, records, request, known, context, control)
                .boxed()
                .await;
        }
    }
    let state = readers.state.as_ref();
    let (job_state, revision) = load_state(state, job)
        .await?
        .ok_or_else(|| EngineError::UnknownJob(job.id.clone()))?;
    let read = tracing::info_span!("usersync.read");
    let sources = read_sources(readers, job, known, context, control)
        .instrument(read.clone())
        .await?;
    let mut survey = survey(readers, job, &request.scope, sources, context, control)
        .instrument(read)
        .await?;
    let is_surveyed =
        |intent: &Intent| survey.place(&intent.container).is_some() && intent.subject.principal().is_some();
    let (intents, elsewhere) = load_intents(state, job).await?.into_iter().partition(is_surveyed);
    let mut given_up = Recovery::default();
    if survey.is_whole {
        recover_elsewhere(readers, job, elsewhere, context, &mut given_up).await?;
    }
    let task = Task {
        readers,
        job,
        context,
        control,
        intents,
        elsewhere: &given_up,
        explains: request.explains,
    };
    let now = readers.clock.now();
    let circumstances = Circumstances {
        now,
        state: job_state.clone(),
        approvals: load_approvals(state, job).await?,
        departures: load_departures(state, job).await?,
        window_used: 0,
        scope: request.scope.clone(),
        adopt: request.adopt,
        updates: readers.target(&job.target)?.capabilities().updates,
    };
    let (planned, mut recovery) = plan(&task, &mut survey, circumstances)
        .instrument(tracing::info_span!("usersync.plan"))
        .await?;
    recovery.absorb(given_up);
    control.tell(RunEvent::Planned {
        digest: planned.plan.digest(),
        summary: planned.plan.summary(),
    });
    Ok(Made {
        ground: Ground::Members(Box::new(survey)),
        planned,
        recovery,
        state: job_state,
        revision,
        now,
    })
}
