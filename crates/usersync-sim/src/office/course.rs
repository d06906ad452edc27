//! The course of events in an office.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::executor::block_on;
use usersync_connector::{News, Token, TokenKey, TokenStore};
use usersync_engine::{Chosen, Engine, ItemReach, RunControl, RunReport, RunRequest, Scope, Trigger};
use usersync_model::{JobId, TenantId};

use super::Office;
use super::desk::{Desk, person};
use crate::choice::Stream;
use crate::core::Core;
use crate::executor::Process;
use crate::fault::FaultKind;
use crate::history::object_of;
use crate::occurrence::Occurrence;
use crate::people::choose;
use crate::simulation::{EVENTS, approve};
use crate::stage::Stage;
use crate::world::{link_context, principal, system};

/// An office under way.
pub(super) struct Course {
    pub(super) office: Office,
    pub(super) core: Core,
    pub(super) stage: Stage,
    /// The life that each worker is in.
    lives: Vec<u32>,
    engines: BTreeMap<Process, Engine>,
}

impl Course {
    pub(super) fn new(office: Office) -> Self {
        Self {
            core: office.core.clone(),
            stage: Stage::new(&office.core),
            lives: vec![0; office.workers],
            engines: BTreeMap::new(),
            office,
        }
    }

    /// Saves the jobs, and starts the workers.
    pub(super) fn begin(&mut self) {
        let engine = self.office.engine(Process::World);
        for desk in &self.office.desks {
            let (engine, core, job) = (engine.clone(), self.core.clone(), desk.items());
            self.stage.spawn(Process::World, async move {
                if let Err(error) = engine.save_job(&job).await {
                    let message = format!("{}: {error}", job.id);
                    core.lock().history.violate("job_not_saved", message);
                }
            });
        }
        while self.stage.is_busy(Process::World) && self.stage.step() {}
        let edits = self.core.lock().choices.below(Stream::World, 20);
        for _ in 0..edits {
            self.office.edit();
        }
        self.core.lock().faults.on = true;
        for worker in 0..self.office.workers {
            self.start(worker);
        }
    }

    /// Everybody is at work again, after nobody was.
    pub(super) fn begin_again(&mut self) {
        if !self.is_well() {
            return;
        }
        self.core.say(format_args!("everybody is at work again"));
        let mut state = self.core.lock();
        state.faults.on = true;
        for desk in &self.office.desks {
            state.history.tenant(&desk.id).office.begun = None;
        }
        drop(state);
        for worker in 0..self.office.workers {
            self.lives[worker] += 1;
            self.start(worker);
        }
    }

    fn start(&mut self, worker: usize) {
        let process = self.process(worker);
        let engine = self.office.engine(process);
        self.engines.insert(process, engine.clone());
        let desks = self.office.desks.iter();
        let desks: Vec<_> = desks.map(|desk| (desk.id.clone(), desk.cron.is_some())).collect();
        let core = self.core.clone();
        self.stage.spawn(process, async move {
            loop {
                for (tenant, has_cron) in &desks {
                    if let Ok(runs) = engine.run_due(tenant).await {
                        for (job, report) in runs {
                            let Ok(report) = report else { continue };
                            if *has_cron && report.trigger == Trigger::Schedule {
                                core.lock().history.occur(Occurrence::CronRan);
                            }
                            see(&core, &report);
                            approve_some(&core, &engine, tenant, &job, &report).await;
                        }
                    }
                }
                core.sleep(Duration::from_secs(40)).await;
            }
        });
    }

    pub(super) fn process(&self, worker: usize) -> Process {
        Process::Worker(u8::try_from(worker).unwrap_or(u8::MAX), self.lives[worker])
    }

    pub(super) fn is_well(&self) -> bool {
        self.core.lock().history.violation.is_none()
    }

    fn some_process(&self) -> (usize, Process) {
        let worker = self.core.lock().choices.below(Stream::Schedule, self.lives.len());
        (worker, self.process(worker))
    }

    /// What the choices make happen, for so many steps.
    pub(super) fn go_on(&mut self, steps: u64) {
        let last = self.core.lock().history.step + steps;
        while self.is_well() && self.core.lock().history.step < last {
            let event = self.core.lock().choices.weighted(Stream::Schedule, &EVENTS);
            let may_fail = self.core.lock().faults.per_mille > 0;
            match event {
                1 if may_fail => {
                    self.core.fired(FaultKind::TimePassed, "");
                    self.stage.pass_time();
                }
                2 => self.office.edit(),
                3 if may_fail => {
                    let (_, process) = self.some_process();
                    self.stage.pause(process);
                }
                4 if may_fail => self.die(),
                5 => self.ask(),
                _ => {}
            }
            self.stage.step();
            self.office.meet();
        }
    }

    fn die(&mut self) {
        let (worker, process) = self.some_process();
        self.core.fired(FaultKind::Died, &format!("{process:?}"));
        self.kill(process);
        self.lives[worker] += 1;
        self.start(worker);
    }

    pub(super) fn kill(&mut self, process: Process) {
        self.stage.kill(process);
        self.engines.remove(&process);
    }

    /// Somebody asks a worker for something.
    fn ask(&mut self) {
        let (_, process) = self.some_process();
        let desk = &self.office.desks[self.office.choose(self.office.desks.len())];
        let Some(engine) = self.engines.get(&process).cloned() else {
            return;
        };
        let (id, job, core) = (desk.id.clone(), desk.job.clone(), self.core.clone());
        let links = self.office.links(process, desk.settings);
        let context = link_context(&id);
        let who = Chosen::of([person(self.office.choose(desk.count()))]);
        let what = self.office.choose(13);
        self.core
            .say(format_args!("{process:?} is asked for {what} {who:?} of {id}"));
        // How a call went is in the store.
        match what {
            0 | 1 => self.stage.spawn(process, async move {
                if let Ok(report) = engine.run(&id, &job, RunRequest::everything()).await {
                    see(&core, &report);
                    approve_some(&core, &engine, &id, &job, &report).await;
                }
            }),
            2 => self.stage.spawn(process, async move {
                let control = RunControl::new();
                let trigger = engine.trigger(&id, &job, Trigger::Manual, Scope::Everything, &control);
                drop(trigger.await);
            }),
            3 => {
                let resumes = self.office.choose(2) == 1;
                self.stage.spawn(process, async move {
                    let (by, why) = (principal(&system("hr"), "boss"), "simulated");
                    match resumes {
                        true => drop(engine.resume_job(&id, &job, by, why).await),
                        false => drop(engine.pause_job(&id, &job, by, why).await),
                    }
                });
            }
            4..=6 => self.stage.spawn(process, async move {
                drop(links.stage(&context, &Chosen::All).await);
                drop(links.save_added(&context, &Chosen::All).await);
            }),
            7 => self.stage.spawn(process, async move {
                drop(links.remove(&context, &who).await);
            }),
            8 => self.stage.spawn(process, async move {
                drop(links.follow_departures(&context, None).await);
            }),
            9 => self.stage.spawn(process, async move {
                drop(links.request_consent(&context, &Chosen::All).await);
            }),
            10 | 11 if desk.by_mail => {
                if let Some(token) = self.mail(desk) {
                    self.stage.spawn(process, async move {
                        drop(links.consent(&context, &token).await);
                    });
                }
            }
            10 | 11 => self.stage.spawn(process, async move {
                drop(links.follow_tokens(&context, &Chosen::All).await);
            }),
            _ => self.stage.spawn(process, async move {
                drop(links.revoke(&context, &who).await);
            }),
        }
    }

    /// What an owner who was asked to consent found in some mail.
    fn mail(&self, desk: &Desk) -> Option<usersync_connector::Secret> {
        let delivered = desk.notifier.delivered().into_iter();
        let asked = delivered.filter_map(|mail| match mail.news {
            News::ConsentRequested { account, .. } => Some((account, mail.key)),
            _ => None,
        });
        let mut asked: Vec<_> = asked.collect();
        let (account, key) = match asked.len() {
            0 => return None,
            count => asked.swap_remove(count - 1 - self.office.choose(count.min(4))),
        };
        let key = TokenKey::Activation(key);
        let Ok(Token::Valid(token)) = block_on(desk.tokens.token(&desk.id, &key)) else {
            return None;
        };
        self.office.consents(desk, &object_of("a", &account.object));
        Some(token)
    }
}

/// Notes how much a run looked at.
pub(super) fn see(core: &Core, report: &RunReport) {
    let pairs = report.items.iter().flat_map(|items| &items.pairs);
    for _ in pairs.filter(|pair| pair.reach == ItemReach::Touched) {
        core.lock().history.occur(Occurrence::ItemsTouched);
    }
}

/// Administrators look at what is held, and approve some of it.
async fn approve_some(core: &Core, engine: &Engine, tenant: &TenantId, job: &JobId, report: &RunReport) {
    if choose(core, 4) == 3 {
        approve_held(core, engine, tenant, job, report).await;
    }
}

/// Approves what is held.
pub(super) async fn approve_held(
    core: &Core,
    engine: &Engine,
    tenant: &TenantId,
    job: &JobId,
    report: &RunReport,
) {
    let pairs = report.items.iter().flat_map(|items| &items.pairs);
    for held in pairs.filter_map(|pair| pair.held) {
        core.lock().history.occur(Occurrence::ItemHeld);
        approve(engine, tenant, job, held).await;
    }
}
