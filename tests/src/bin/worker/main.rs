//! A small host in a process of its own, for tests that stop and kill it.
//!
//! `worker FOLDER SEED WEEKS once|retry|settle [COUNT|POINT:NTH]` does the work of all weeks before `WEEKS` that is not done yet. It
//! tells what it passes, waits at the point that was named until a line comes in, and says in its last line how it ended.

#[expect(dead_code, reason = "people change things by hand in the test's process")]
mod host;
#[expect(dead_code, reason = "people change things by hand in the test's process")]
mod scene;
mod tap;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::executor::block_on;
use futures::future::{BoxFuture, pending};
use rusqlite::Connection;
use usersync::connector::Clock;
use usersync::engine::{Engine, EngineError, Options, RunEnd, RunRequest, SeatRegister};
use usersync::license::ResourcePlacement;
use usersync::sqlite::{SqliteOptions, SqliteStore, TablePrefix};

use crate::host::Host;
use crate::scene::Scene;
use crate::tap::{Stop, Tap, TappedStore, say};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How long a lease lasts, by the clock that the test moves.
const LEASE: Duration = Duration::from_secs(60);

/// How long it takes a worker that is alone from one point to the next, in microseconds: a week takes longer than a lease. Time
/// stands still while others are at work, or a worker that waits for the processor would lose its lease to one that does not.
const PACE: i64 = 250_000;

/// More runs than any week takes.
const RUNS: usize = 8;

/// So often a busy job or outbox is asked for again, before something must be wrong.
const PATIENCE: usize = 1_000_000;

/// What is done in a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// One run, whatever comes of it.
    Once,
    /// Runs until there is nothing left to do; while another worker has the job, it is asked for again.
    Retry,
    /// Runs until there is nothing left to do.
    Settle,
}

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Busy,
    Done,
    Lost,
}

/// The time that the test wrote into a file, and a little more at each point that the worker passed.
#[derive(Clone, Debug)]
struct FileClock {
    file: PathBuf,
    /// How long it takes from one point to the next, in microseconds.
    pace: i64,
    tap: Arc<Tap>,
}

impl Clock for FileClock {
    fn now(&self) -> DateTime<Utc> {
        let text = std::fs::read_to_string(&self.file).expect("the test made a clock");
        let micros: i64 = text.trim().parse().expect("the test wrote a number");
        let passed = i64::try_from(self.tap.passed()).expect("a worker comes to an end");
        DateTime::from_timestamp_micros(micros + passed * self.pace).expect("the test wrote a time")
    }

    /// Nobody waits for the test to move the clock.
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(pending())
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [folder, seed, weeks, manner, ref stop @ ..] = arguments[..] else {
        return Err("worker FOLDER SEED WEEKS once|retry|settle [COUNT|POINT:NTH]".into());
    };
    let manner = match manner {
        "once" => Manner::Once,
        "retry" => Manner::Retry,
        _ => Manner::Settle,
    };
    let stop = match stop {
        [] => None,
        [stop, ..] => Some(match stop.rsplit_once(':') {
            Some((point, count)) => Stop::Named(point.to_owned(), count.parse()?),
            None => Stop::Count(stop.parse()?),
        }),
    };
    let seed: u64 = seed.parse()?;
    let worker = Worker::start(Path::new(folder), seed, manner, Tap::telling(stop))?;
    let end = worker.work(weeks.parse()?, manner)?;
    drop(worker);
    say(match end {
        End::Busy => "end: busy",
        End::Done => "end: done",
        End::Lost => "end: lost",
    });
    Ok(())
}

struct Worker {
    host: Arc<Host>,
    scene: Arc<Scene>,
    engine: Engine,
    seats: SeatRegister,
    tap: Arc<Tap>,
}

impl Worker {
    fn start(folder: &Path, seed: u64, manner: Manner, tap: Tap) -> Result<Self> {
        let tap = Arc::new(tap);
        let scene = Arc::new(Scene::new(seed));
        let file = folder.join("host.db");
        // Targets take one operation a call, or a few, and half of them remember what they did.
        let offers = host::offers(seed as usize % 3 + 1, seed % 4 >= 2);
        let host = Host::open(&file, scene::target(), offers, Arc::clone(&tap))?;
        let host = Arc::new(host);
        let clock = FileClock {
            file: folder.join("clock"),
            pace: if manner == Manner::Retry { 0 } else { PACE },
            tap: Arc::clone(&tap),
        };
        let store = open_store(folder, seed, clock.clone())?;
        let store = Arc::new(TappedStore::new(store, Arc::clone(&tap)));
        let mut options = Options::default();
        options.batch = 4.try_into()?;
        options.concurrency = 2.try_into()?;
        options.lease = LEASE;
        let engine = Engine::builder(
            Arc::clone(&store) as Arc<_>,
            Arc::new(clock),
            Arc::clone(&scene) as Arc<_>,
            Arc::clone(&scene) as Arc<_>,
            Arc::clone(&host) as Arc<_>,
        )
        .directory(Arc::clone(&scene) as Arc<_>)
        .target(Arc::clone(&host) as Arc<_>)
        .administrator(scene::boss())
        .options(options)
        .worker(std::process::id().to_string())
        .build();
        let seats = SeatRegister::new(store, Arc::clone(&scene) as Arc<_>, ResourcePlacement::default());
        let worker = Self {
            host,
            scene,
            engine,
            seats,
            tap,
        };
        worker.set_up()?;
        Ok(worker)
    }

    fn set_up(&self) -> Result<()> {
        if block_on(self.engine.jobs(&scene::tenant()))?.is_empty() {
            for container in self.scene.containers() {
                self.host.create_container(&container.object)?;
            }
            block_on(self.engine.save_job(&Scene::job()))?;
        }
        Ok(())
    }

    fn work(&self, weeks: u32, manner: Manner) -> Result<End> {
        loop {
            let week = self.host.weeks()?;
            if week >= weeks {
                return Ok(End::Done);
            }
            self.scene.set_week(week as usize);
            self.hand_out_seats()?;
            let end = self.run(manner)?;
            if end != End::Done || manner == Manner::Once {
                return Ok(end);
            }
            self.deliver()?;
            self.tap.pass("week.before");
            self.host.end_week(week)?;
            self.tap.pass("week.after");
        }
    }

    /// Gives back the seats of those who do not want one any more, and takes them for others, first come, first served.
    fn hand_out_seats(&self) -> Result<()> {
        let tenant = scene::tenant();
        let wanted = self.scene.seats();
        let occupancy = block_on(self.seats.occupancy(&tenant))?;
        for holder in occupancy.seats.holders() {
            if !wanted.contains(holder) {
                block_on(self.seats.release(&tenant, &holder.principal))?;
            }
        }
        for holder in wanted {
            // Whoever is refused goes without.
            let _ = block_on(self.seats.take(&tenant, holder))?;
        }
        Ok(())
    }

    fn run(&self, manner: Manner) -> Result<End> {
        let (tenant, job) = (scene::tenant(), scene::job());
        let mut runs = 0;
        for _ in 0..PATIENCE {
            let run = self.engine.run(&tenant, &job, RunRequest::everything());
            let report = match block_on(run) {
                Ok(report) => report,
                Err(EngineError::Busy(_)) if manner == Manner::Retry => {
                    self.tap.wait();
                    continue;
                }
                Err(EngineError::Busy(_)) => return Ok(End::Busy),
                Err(EngineError::LeaseLost(_)) => return Ok(End::Lost),
                Err(error) => return Err(error.into()),
            };
            let is_idle = report.operations.is_empty() && report.recovered.is_empty();
            let is_settled = is_idle && matches!(report.end, RunEnd::Held | RunEnd::InSync);
            if is_settled || manner == Manner::Once {
                return Ok(End::Done);
            }
            runs += 1;
            if runs == RUNS {
                return Err(format!("not settled after {RUNS} runs: {report}").into());
            }
        }
        Err("the job is never free".into())
    }

    /// Until the outbox is empty: another worker may be at it.
    fn deliver(&self) -> Result<()> {
        let tenant = scene::tenant();
        for _ in 0..PATIENCE {
            if block_on(self.engine.next_delivery(&tenant))?.is_none() {
                return Ok(());
            }
            if block_on(self.engine.deliver(&tenant))? == 0 {
                self.tap.wait();
            }
        }
        Err("the outbox is never empty".into())
    }
}

/// A file of the store's own, or tables in the host's database.
fn open_store(folder: &Path, seed: u64, clock: FileClock) -> Result<SqliteStore> {
    let options = SqliteOptions::default()
        .with_busy_timeout(Duration::from_secs(60))
        .with_clock(move || clock.now());
    if seed.is_multiple_of(2) {
        return Ok(SqliteStore::open(folder.join("state.db"), options)?);
    }
    let connection = Connection::open(folder.join("host.db"))?;
    let prefix = TablePrefix::new("usersync_")?;
    Ok(SqliteStore::with_connection(connection, &prefix, options)?)
}
