//! Where a world goes that is left alone.

use std::time::Duration;

use usersync_connector::Directory;
use usersync_engine::{Chosen, Engine, Links, RunRequest};
use usersync_model::{Link, PrincipalRef, TenantId};
use usersync_store::Table;

use crate::core::Core;
use crate::executor::Process;
use crate::simulation::{Course, approve_plan};

/// Most polls that a world may need to come to rest.
const REST: u64 = 400_000;

impl Course {
    /// Nothing goes wrong any more, nobody changes anything, and all that waits is approved: where that leads.
    pub(crate) fn come_to_rest(&mut self) {
        if !self.is_well() {
            return;
        }
        self.core.say(format_args!("everything is left alone"));
        self.core.lock().faults.on = false;
        for worker in 0..self.world.workers {
            self.kill(self.process(worker));
        }
        self.stage.wake_all();
        let mut left = REST;
        // What is still on its way arrives.
        self.stage.run_out(Process::World, &mut left);
        let process = Process::Worker(0, u32::MAX);
        let engine = self.world.engine(process);
        let mut quiet = 0;
        for _ in 0..40 {
            if quiet == 3 || !self.is_well() {
                break;
            }
            let before = self.fingerprint();
            self.core.clock.advance(Duration::from_secs(25 * 3600));
            for tenant in &self.world.tenants {
                let (engine, id, core) = (engine.clone(), tenant.id.clone(), self.core.clone());
                let owners: Vec<PrincipalRef> = ["boss", "u0"]
                    .iter()
                    .map(|name| crate::world::principal(tenant.directories[0].system(), name))
                    .collect();
                for owner in owners {
                    self.core.lock().history.set_actor(&id, owner.clone(), true);
                    tenant
                        .actors
                        .set(&id, owner, usersync_connector::ActorState::Active);
                }
                let links = self.world.links(process);
                self.stage.spawn(process, async move {
                    resume_all(&core, &engine, &id).await;
                    run_and_approve(&core, &engine, &id).await;
                    save_links(&core, &links, &id).await;
                });
            }
            if !self.stage.run_out(process, &mut left) {
                self.core.lock().history.violate("no_rest", "a run never ends");
                return;
            }
            quiet = if self.fingerprint() == before {
                quiet + 1
            } else {
                0
            };
        }
        if quiet < 3 {
            let mut state = self.core.lock();
            state
                .history
                .violate("no_rest", "the jobs undo each other's work for ever");
        }
        let mut state = self.core.lock();
        for tenant in &self.world.tenants {
            let differs = tenant.differing_copy(state.history.tenant(&tenant.id));
            if let Some(differs) = differs {
                state.history.violate("copy_differs", differs);
            }
            state.history.ended(&tenant.id, &tenant.outdated_roles());
            if let Some(entitled) = tenant.entitled() {
                let is_there = |link: &Link| {
                    let person = tenant.persons.account(&link.principal().object);
                    let mailbox = tenant.mailboxes.account(&link.account().object);
                    person.is_some() && mailbox.is_some()
                };
                state.history.waiting(&tenant.id, entitled, is_there);
            }
        }
    }

    /// What has to stay the same in a world at rest.
    fn fingerprint(&self) -> (u64, u64, u64) {
        let state = self.core.lock();
        let mut hasher = crate::core::Trace::new(false);
        for (tenant, stored) in &state.history.shadow.tenants {
            hasher.say(format_args!("{tenant} {:?} {:?}", stored.ledger, stored.outbox));
            for ((table, key), bytes) in &stored.values {
                if matches!(
                    table,
                    Table::Approval
                        | Table::Base
                        | Table::Cursor
                        | Table::Departure
                        | Table::Intent
                        | Table::JobState
                ) {
                    hasher.say(format_args!("{key:?} {bytes:?}"));
                }
            }
        }
        (hasher.hash(), state.history.counts.effects, state.history.agreed)
    }
}

/// No job is paused any more.
async fn resume_all(core: &Core, engine: &Engine, tenant: &TenantId) {
    let by = crate::world::principal(&crate::world::system("hr"), "boss");
    let resumed = async {
        for job in engine.jobs(tenant).await? {
            let _ = engine
                .resume_job(tenant, &job.id, by.clone(), "simulated")
                .await?;
        }
        Ok::<_, usersync_engine::EngineError>(())
    };
    if let Err(error) = resumed.await {
        let message = format!("{tenant}: {error}");
        core.lock().history.violate("run_failed", message);
    }
}

/// Runs every job that is due; what is held is approved, and run again.
async fn run_and_approve(core: &Core, engine: &Engine, tenant: &TenantId) {
    let runs = match engine.run_due(tenant).await {
        Ok(runs) => runs,
        Err(error) => {
            let message = format!("{tenant}: {error}");
            core.lock().history.violate("run_failed", message);
            return;
        }
    };
    core.say(format_args!("{} jobs of {tenant} were due", runs.len()));
    for (job, report) in runs {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                let message = format!("{job} of {tenant}: {error}");
                core.lock().history.violate("run_failed", message);
                return;
            }
        };
        core.say(format_args!("{tenant}: {report}"));
        if let Some(plan) = report.plan.as_ref().filter(|plan| plan.held_digest().is_some()) {
            approve_plan(core, engine, tenant, &job, plan).await;
            drop(engine.run(tenant, &job, RunRequest::everything()).await);
        }
    }
}

/// Whoever can be linked is, as far as there are seats.
async fn save_links(core: &Core, links: &Links, tenant: &TenantId) {
    let context = crate::world::link_context(tenant);
    let staged = links.stage(&context, &Chosen::All).await;
    let saved = links.save_added(&context, &Chosen::All).await;
    if let Err(error) = staged.and(saved) {
        let message = format!("links of {tenant}: {error}");
        core.lock().history.violate("run_failed", message);
    }
}
