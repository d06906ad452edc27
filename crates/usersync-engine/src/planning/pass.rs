//! Passing over the containers of a survey, in portions where there are too many to be in memory together.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::CallContext;
use usersync_model::Scratch;
use usersync_reconcile::{Drafts, RunEvidence};

use super::planner::Planner;
use super::point_reads::PointReads;
use super::{Assembly, Circumstances, DepartureChanges, Frame, Grace, Planned, grace, header};
use crate::dependency::{Order, Stage, order};
use crate::error::Result;
use crate::event::RunControl;
use crate::job::Job;
use crate::ports::Readers;
use crate::recover::{Recovery, note_overtaken, recover};
use crate::state::{Intent, window_used};
use crate::survey::Survey;
use crate::warnings::Warnings;

/// What is planned, and with what.
pub(crate) struct Task<'a> {
    pub(crate) readers: &'a Readers,
    pub(crate) job: &'a Job,
    pub(crate) context: &'a CallContext,
    pub(crate) control: &'a RunControl,
    /// The open intents of earlier runs in containers that were surveyed.
    pub(crate) intents: Vec<Intent>,
    /// What became of the others.
    pub(crate) elsewhere: &'a Recovery,
    /// Whether all that was read is kept, to explain the plan with.
    pub(crate) explains: bool,
}

/// What passing over the containers came to.
#[derive(Debug)]
struct Pass {
    recovery: Recovery,
    departures: DepartureChanges,
    point_reads: PointReads,
}

/// Plans everything that was surveyed. What a run does not need of the survey to apply the plan is let go.
pub(crate) async fn plan(
    task: &Task<'_>,
    survey: &mut Survey,
    mut circumstances: Circumstances,
) -> Result<(Planned, Recovery)> {
    let Task { readers, job, .. } = *task;
    let options = &readers.options;
    let frame = Frame::new(
        survey.graph(),
        job,
        readers.policy_digest(job),
        &circumstances.state,
        &circumstances.scope,
        circumstances.now,
    );
    let Order { stages, edges, hosts } = order(survey.graph(), &survey.containers, survey.sources.hosts());
    let mut planner = Planner {
        job,
        in_grace: BTreeMap::new(),
        doubtful: BTreeMap::new(),
        evidence: RunEvidence {
            removals: frame.removals.clone(),
            everything: None,
            adopt: circumstances.adopt,
            updates: circumstances.updates,
        },
        scratch: Scratch::new(),
        warnings: Warnings::new(options.warnings),
        told: BTreeSet::new(),
        approved: frame.approved.clone(),
        shut: frame.shut.clone(),
        selects: edges,
        hosts,
    };
    let is_staged = stages.len() > 1;
    let portions = portions(survey, stages, options.portion.get() as u64);
    let mut pass = Pass::new(options.point_reads);
    if !survey.is_portioned() {
        let places: Vec<usize> = (0..survey.containers.len()).collect();
        pass.take(task, survey, &mut planner, &circumstances, &places)
            .await?;
    }
    let mut drafts = pass
        .run(task, survey, &mut planner, &circumstances, &portions)
        .await?;
    let state = readers.state.as_ref();
    circumstances.window_used =
        window_used(state, job, circumstances.now, &[&pass.recovery, task.elsewhere]).await?;
    // What one run's guard holds stays in share groups, and so in what depends on them: plan again from there.
    if planner.evidence.removals.is_none()
        && is_staged
        && let Some(cause) = drafts.run_guard(&job.policy, circumstances.window_used)
    {
        planner.evidence.removals = Some(cause);
        drop(drafts);
        drafts = pass
            .run(task, survey, &mut planner, &circumstances, &portions)
            .await?;
    }
    let mut warnings = survey.warnings.clone();
    warnings.absorb(survey.found.clone());
    warnings.absorb(planner.warnings.clone());
    let header = header(&survey.sources, warnings, job, frame.policy, options);
    let assembly = Assembly::new(job, &frame, header, &circumstances, options);
    let mut plan = assembly.assemble(drafts);
    let approval = assembly.approval(&plan);
    // What an approval lets go has consequences for what selects a share group.
    if approval.is_some() && is_staged {
        planner.approve(&plan);
        drop(plan);
        let drafts = pass
            .run(task, survey, &mut planner, &circumstances, &portions)
            .await?;
        plan = assembly.assemble(drafts);
    }
    let Pass {
        recovery,
        departures,
        point_reads,
    } = pass;
    survey.note_failed(point_reads.stopped());
    let sights = survey.containers.iter().zip(&survey.sights);
    let seen = sights
        .filter(|(_, sight)| sight.rest.is_none() && !sight.missing)
        .map(|(container, _)| container.id.clone())
        .collect();
    let planned = assembly.finish(&frame, plan, approval, departures, &seen, false);
    if !task.explains {
        survey.shrink_all(&planned.plan);
    }
    Ok((planned, recovery))
}

/// The stages of each portion: those that others depend on are all in the first one.
fn portions(survey: &Survey, stages: Vec<Stage>, limit: u64) -> Vec<Vec<Stage>> {
    if !survey.is_portioned() {
        return vec![stages];
    }
    let (mut sources, mut plain) = (Vec::new(), Vec::new());
    for stage in stages {
        match stage {
            Stage::Plain(places) => plain.extend(places),
            stage => sources.push(stage),
        }
    }
    let first = (!sources.is_empty()).then_some(sources);
    let plain = survey.portions(plain, limit).into_iter();
    first
        .into_iter()
        .chain(plain.map(|places| vec![Stage::Plain(places)]))
        .collect()
}

impl Pass {
    fn new(point_reads: usize) -> Self {
        Self {
            recovery: Recovery::default(),
            departures: DepartureChanges::default(),
            point_reads: PointReads::new(point_reads),
        }
    }

    /// Plans all portions in their order.
    async fn run(
        &mut self,
        task: &Task<'_>,
        survey: &mut Survey,
        planner: &mut Planner<'_>,
        circumstances: &Circumstances,
        portions: &[Vec<Stage>],
    ) -> Result<Drafts> {
        let mut drafts = Drafts::default();
        planner.begin();
        if !survey.is_portioned() {
            for stages in portions {
                planner.plan_all(survey, stages, &mut drafts, false);
            }
            return Ok(drafts);
        }
        survey.forget_found();
        planner.in_grace.clear();
        planner.doubtful.clear();
        self.recovery = Recovery::default();
        self.departures = DepartureChanges::default();
        for stages in portions {
            let places: Vec<usize> = stages.iter().flat_map(Stage::places).copied().collect();
            survey
                .load(task.readers, task.job, &places, task.context, task.control)
                .await?;
            self.take(task, survey, planner, circumstances, &places).await?;
            planner.plan_all(survey, stages, &mut drafts, !task.explains);
        }
        Ok(drafts)
    }

    /// Completes what was read of `places`: with what became of earlier operations, with point reads, and with who is in grace.
    async fn take(
        &mut self,
        task: &Task<'_>,
        survey: &mut Survey,
        planner: &mut Planner<'_>,
        circumstances: &Circumstances,
        places: &[usize],
    ) -> Result<()> {
        let here: BTreeSet<usize> = places.iter().copied().collect();
        let is_here = |intent: &&Intent| {
            survey
                .place(&intent.container)
                .is_some_and(|place| here.contains(&place))
        };
        let mut intents: Vec<Intent> = task.intents.iter().filter(is_here).cloned().collect();
        note_overtaken(&*task.readers.state, &task.job.tenant, &mut intents).await?;
        // Before what became of earlier operations: where nobody knows who is there, this may tell, and what is open is gone on with
        // instead of begun anew.
        self.point_reads.ask(task, survey, places).await?;
        self.recovery.absorb(recover(survey, intents, &task.job.id));
        let sights = places.iter().map(|place| (*place, &survey.sights[*place]));
        let Grace {
            kept,
            doubtful,
            changes,
        } = grace(
            survey.graph(),
            sights.flat_map(|(place, sight)| sight.claimed().map(move |id| (id, place))),
            task.job,
            &circumstances.departures,
            circumstances.now,
        );
        self.departures.absorb(changes);
        for (found, by_place) in [(kept, &mut planner.in_grace), (doubtful, &mut planner.doubtful)] {
            for (id, places) in found {
                for place in places {
                    by_place.entry(place).or_default().push(id);
                }
            }
        }
        Ok(())
    }
}
