//! What is done when something is said.

use std::time::Duration;

use usersync::engine::{
    Engine, JobEntry, RunControl, RunEnd, RunReport, Saved, Scope, Trigger, Triggered, Waiting,
};
use usersync::model::visible;
use usersync::model::{ContainerRef, Digest, JobId};
use usersync::reconcile::{Plan, RenderOptions, render_table};

use crate::Outcome;
use crate::command::{self, Command};
use crate::intranet::{Intranet, Listed};
use crate::show::{Cell, Screen, Tone, lines};

/// How long an approval waits for the run that uses it.
const APPROVAL: Duration = Duration::from_secs(3600);
/// How long somebody who saved a container waits for its run.
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Console {
    pub(crate) intranet: Intranet,
    pub(crate) engine: Engine,
    pub(crate) screen: Screen,
}

impl Console {
    /// The console of an intranet, whose jobs are saved as they are now.
    pub(crate) async fn open(intranet: Intranet, screen: Screen) -> Outcome<Self> {
        let engine = intranet.engine();
        for job in intranet.jobs()? {
            engine.save_job(&job).await?;
        }
        Ok(Self {
            intranet,
            engine,
            screen,
        })
    }

    /// Does what was said; answers whether all went well.
    pub(crate) async fn perform(&self, command: &Command) -> Outcome<bool> {
        match command {
            Command::Approve { job, digest } => self.approve(job, digest).await,
            Command::Containers { module } => self.list_containers(module.as_deref()),
            Command::Due => self.run_due().await,
            Command::Explain { container, who } => self.explain(container, who).await,
            Command::Help => {
                self.screen.say(command::HELP.trim_end());
                Ok(true)
            }
            Command::History { job, count } => self.history(job, *count).await,
            Command::List => self.list().await,
            Command::Pause { job, why } => self.pause(job, why).await,
            Command::Plan { job, run } => self.plan_of(job, *run).await,
            Command::Preview { job } => self.preview(job).await,
            Command::Quit => Ok(true),
            Command::Resume { job } => self.resume(job).await,
            Command::Run { job: None } => self.run_all().await,
            Command::Run { job: Some(job) } => self.run(job).await,
            Command::Save { container, who } => self.save(container, who.as_deref()).await,
        }
    }

    async fn list(&self) -> Outcome<bool> {
        let list = self.engine.job_list(&self.intranet.tenant).await?;
        self.screen
            .jobs(&list, &self.intranet.book, self.intranet.clock.now());
        Ok(true)
    }

    async fn run(&self, job: &str) -> Outcome<bool> {
        let id = self.entry(job).await?.job.id;
        let control = RunControl::new();
        let run = self.engine.trigger(
            &self.intranet.tenant,
            &id,
            Trigger::Manual,
            Scope::Everything,
            &control,
        );
        Ok(match run.await? {
            Triggered::Ran { report, followed } => {
                let mut all_well = self.tell(&id, &report);
                for report in followed {
                    all_well &= self.tell(&id, &report?);
                }
                all_well
            }
            Triggered::Coalesced => {
                self.screen
                    .say(format_args!("{id} is under way; one more run follows it"));
                true
            }
            Triggered::Waits(why) => self.tell_waiting(&id, &why),
        })
    }

    async fn run_all(&self) -> Outcome<bool> {
        // The list has those first that fill what others read. A job that waits, or is under way, covers it later.
        let mut all_well = true;
        for entry in self.engine.job_list(&self.intranet.tenant).await? {
            all_well &= self.run(entry.job.id.as_str()).await?;
        }
        Ok(all_well)
    }

    async fn run_due(&self) -> Outcome<bool> {
        let reports = self.engine.run_due(&self.intranet.tenant).await?;
        if reports.is_empty() {
            self.screen.say("nothing is due");
        }
        self.tell_all(reports)
    }

    async fn preview(&self, job: &str) -> Outcome<bool> {
        let id = self.entry(job).await?.job.id;
        let previewed = self
            .engine
            .preview(&self.intranet.tenant, &id, &Scope::Everything)
            .await?;
        self.show_plan(previewed.plan());
        Ok(true)
    }

    async fn approve(&self, job: &str, digest: &str) -> Outcome<bool> {
        let entry = self.entry(job).await?;
        let id = entry.job.id;
        // What waits now counts, and not what the last run left.
        let previewed = self
            .engine
            .preview(&self.intranet.tenant, &id, &Scope::Everything)
            .await?;
        let held = previewed.plan().held_digest();
        let is_meant = |held: &Digest| digest.len() >= 6 && held.to_string().starts_with(digest);
        let Some(held) = held.filter(is_meant) else {
            return Err(match held {
                Some(held) => format!("{digest} is not what waits now; that is {}", held.short()),
                None => format!("nothing waits in {id} for an approval"),
            }
            .into());
        };
        let by = self.intranet.administrator.clone();
        self.engine
            .approve(&self.intranet.tenant, &id, held, by, APPROVAL)
            .await?;
        self.screen
            .say(format_args!("approved for an hour; run {id} lets them go"));
        Ok(true)
    }

    async fn explain(&self, container: &str, who: &str) -> Outcome<bool> {
        let (container, job) = self.container(container).await?;
        let who = self.intranet.principal(who)?;
        let scope = Scope::container(container.clone());
        let previewed = self.engine.preview(&self.intranet.tenant, &job, &scope).await?;
        let answer = previewed.explain(&container, &who);
        let name = visible(self.intranet.book.name(&who));
        self.screen.say(format_args!("{name}, {}:", container.object));
        match answer {
            Some(answer) => {
                for line in answer.to_string().lines() {
                    self.screen.say(format_args!("  {}", visible(line)));
                }
                Ok(true)
            }
            None => Err(format!("{job} does not list {}", container.object).into()),
        }
    }

    async fn history(&self, job: &str, count: usize) -> Outcome<bool> {
        let id = self.entry(job).await?.job.id;
        let records = self
            .engine
            .history(&self.intranet.tenant, &id, None, count)
            .await?;
        self.screen.history(&records, self.intranet.clock.now());
        Ok(true)
    }

    async fn plan_of(&self, job: &str, run: usersync::engine::RunNumber) -> Outcome<bool> {
        let id = self.entry(job).await?.job.id;
        match self.engine.plan_of(&self.intranet.tenant, &id, run).await? {
            Some(kept) => {
                self.show_plan(&kept.plan);
                if kept.dropped > 0 {
                    let summary = kept.summary;
                    self.screen.say(format_args!(
                        "of a larger plan, {}: +{} −{} ~{}, {} held; {} entries were not kept",
                        kept.digest.short(),
                        summary.additions,
                        summary.removals,
                        summary.updates,
                        summary.held,
                        kept.dropped,
                    ));
                }
            }
            None => self.screen.say(format_args!(
                "nothing was planned in run {run}, or it is forgotten"
            )),
        }
        Ok(true)
    }

    async fn pause(&self, job: &str, why: &str) -> Outcome<bool> {
        let id = self.entry(job).await?.job.id;
        let by = self.intranet.administrator.clone();
        let is_new = self.engine.pause_job(&self.intranet.tenant, &id, by, why).await?;
        let before = if is_new { "" } else { " already" };
        self.screen.say(format_args!("{id} is paused{before}"));
        Ok(true)
    }

    async fn resume(&self, job: &str) -> Outcome<bool> {
        let id = self.entry(job).await?.job.id;
        let by = self.intranet.administrator.clone();
        let was_paused = self.engine.resume_job(&self.intranet.tenant, &id, by, "").await?;
        let end = if was_paused { "goes on" } else { "was not paused" };
        self.screen.say(format_args!("{id} {end}"));
        Ok(true)
    }

    /// Saves a container as its dialogue does, and runs its job for it.
    async fn save(&self, container: &str, who: Option<&str>) -> Outcome<bool> {
        let (container, job) = self.container(container).await?;
        if let Some(who) = who {
            self.intranet
                .calendar
                .select(&container, &self.intranet.principal(who)?)?;
        }
        let saved = self
            .engine
            .save_container(&self.intranet.tenant, &job, container, DEADLINE);
        Ok(match saved.await? {
            Saved::Done(report) => self.tell(&job, &report),
            Saved::Continues(run) => {
                self.screen.say("saved; this takes longer, and goes on");
                run.await?.is_none_or(|report| self.tell(&job, &report))
            }
            Saved::Queued(None) => {
                self.screen.say(format_args!(
                    "saved; {job} is under way, and the run after that covers it"
                ));
                true
            }
            Saved::Queued(Some(why)) => self.tell_waiting(&job, &why),
        })
    }

    fn list_containers(&self, module: Option<&str>) -> Outcome<bool> {
        let mut listed = self.intranet.containers()?;
        listed.retain(|container| module.is_none_or(|module| container.module == module));
        let row = |container: &Listed| {
            vec![
                Cell::plain(container.id.as_str()),
                Cell::plain(container.module),
                Cell::plain(&format!("{:>7}", container.members)),
                Cell::plain(&container.name),
            ]
        };
        let rows: Vec<_> = listed.iter().map(row).collect();
        self.screen
            .table(&["CONTAINER", "MODULE", "MEMBERS", "NAME"], &rows);
        Ok(true)
    }

    async fn entry(&self, job: &str) -> Outcome<JobEntry> {
        let mut list = self.engine.job_list(&self.intranet.tenant).await?;
        let at = list.iter().position(|entry| entry.job.id.as_str() == job);
        let at = at.ok_or_else(|| format!("there is no job {job}; list names them"))?;
        Ok(list.swap_remove(at))
    }

    /// A container, and the job of its module.
    async fn container(&self, id: &str) -> Outcome<(ContainerRef, JobId)> {
        let listed = self.intranet.containers()?;
        let found = listed.iter().find(|container| container.id.as_str() == id);
        let found = found.ok_or_else(|| format!("there is no container {id}; containers lists them"))?;
        Ok((
            self.intranet.container(id)?,
            self.entry(found.module).await?.job.id,
        ))
    }

    fn show_plan(&self, plan: &Plan) {
        let options = RenderOptions {
            containers: 10,
            entries: 8,
            ..RenderOptions::default()
        };
        self.screen.say(render_table(plan, &options).trim_end());
    }

    fn tell_all(
        &self,
        reports: Vec<(JobId, Result<RunReport, usersync::engine::EngineError>)>,
    ) -> Outcome<bool> {
        let mut all_well = true;
        for (job, report) in reports {
            all_well &= match report {
                Ok(report) => self.tell(&job, &report),
                Err(error) => {
                    self.screen
                        .say(format_args!("{job}: {}", lines(&error.to_string())));
                    false
                }
            };
        }
        Ok(all_well)
    }

    /// Answers whether all went well; what waits does not count.
    fn tell(&self, job: &JobId, report: &RunReport) -> bool {
        self.screen.report(job.as_str(), report);
        if let Some(held) = report.plan.as_ref().and_then(Plan::held_digest)
            && report.end == RunEnd::Held
        {
            let text = format!("  preview {job}, then approve {job} {}", held.short());
            self.screen.say(self.screen.paint(&Cell::new(&text, Tone::Waits)));
        }
        matches!(report.end, RunEnd::Changed | RunEnd::Held | RunEnd::InSync)
    }

    fn tell_waiting(&self, job: &JobId, why: &Waiting) -> bool {
        let why = match why {
            Waiting::Paused(pause) => format!("is paused: {}", pause.why),
            Waiting::Quarantined { reason, .. } => format!("waits after failures: {reason}"),
            _ => "waits, since a system asked to be left alone".to_owned(),
        };
        self.screen
            .say(format_args!("{job} {}; it is noted", visible(&why)));
        true
    }
}
