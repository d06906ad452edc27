//! A worker in a process of its own, to be killed in the middle of a run.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use usersync::connector::{
    Applied, CallContext, Clock, MemberOperation, MembersEntry, MembershipRead, MembershipTarget,
    PresentMember, ReadStream, Result, TargetCapabilities,
};
use usersync::engine::RunRequest;
use usersync::memory::ManualClock;
use usersync::model::{ObjectId, PrincipalRef, SystemId};

use crate::Outcome;
use crate::calendar::Calendar;
use crate::exports::{FEBRUARY, directory};
use crate::host::Host;

/// What a process is started with to be such a worker: this, the database and the time.
pub(crate) const WORKER: &str = "--worker";

/// After how many changes a worker is in the middle.
const MIDDLE: usize = 75;

/// What a worker says then.
const IN_THE_MIDDLE: &str = "in the middle";

/// Starts a worker on a database, kills it in the middle of its run, and tells how it ended.
pub(crate) fn start_and_kill(database: &Path, clock: &ManualClock) -> Outcome<ExitStatus> {
    let mut worker = Command::new(env::current_exe()?)
        .arg(WORKER)
        .arg(database)
        .arg(clock.now().to_rfc3339())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = worker.stdout.take().map(BufReader::new).map(|out| out.lines());
    let first = said.and_then(|mut lines| lines.next()).transpose();
    // SIGKILL, or what is nearest to it: the worker learns nothing of it.
    worker.kill()?;
    let status = worker.wait()?;
    match first? {
        Some(line) if line == IN_THE_MIDDLE => Ok(status),
        _ => Err("the worker ended before it was in the middle".into()),
    }
}

/// What such a process does: the run of February, on a calendar that is silent in the middle.
pub(crate) fn run(database: &Path, now: &str) -> Outcome {
    let host = Host::open(database, ManualClock::new(now.parse()?))?;
    let calendar = Silent {
        calendar: host.calendar.clone(),
        changes: AtomicUsize::new(0),
    };
    let export = directory(&host.directory, FEBRUARY)?;
    let engine = host.engine_with(export, Arc::new(calendar))?;
    block_on(engine.run(&host.tenant, &host.job, RunRequest::everything()))?;
    Ok(())
}

/// The calendar; but whoever makes the change in the middle gets no answer any more.
#[derive(Debug)]
struct Silent {
    calendar: Calendar,
    changes: AtomicUsize,
}

#[async_trait]
impl MembershipRead for Silent {
    fn system(&self) -> &SystemId {
        self.calendar.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.calendar.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        self.calendar.members(containers, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        self.calendar.member(container, principal, context).await
    }
}

#[async_trait]
impl MembershipTarget for Silent {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let answers = self.calendar.apply(container, operations, context).await;
        let before = self.changes.fetch_add(operations.len(), Ordering::Relaxed);
        if before + operations.len() >= MIDDLE {
            wait_to_be_killed();
        }
        answers
    }
}

fn wait_to_be_killed() -> ! {
    let _ = writeln!(io::stdout(), "{IN_THE_MIDDLE}");
    let _ = io::stdout().flush();
    // Nothing ever comes, but the end, if whoever was to kill this process is gone.
    let _ = io::stdin().read(&mut [0]);
    process::exit(1);
}
