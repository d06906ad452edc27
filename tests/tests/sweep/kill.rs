//! Over SQLite, with processes that are really killed.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use usersync::connector::{Actor, ActorState, Authority, CallContext, Clock};
use usersync::engine::{Engine, Options};
use usersync::memory::{MemoryActors, MemoryCatalog, MemoryDirectory};
use usersync::model::{Container, ContainerKind, GroupKind, Principal, PrincipalKind, SystemId};
use usersync::reconcile::Mode as JobMode;
use usersync::sqlite::{Durability, SqliteOptions, SqliteStore};
use usersync_sim::sweep::{self, Lines, Mode, Point, Points, Sweep};
use usersync_tests::{LEASE, World, all, container, free_policy, group, job, tenant, user};

use crate::host::{Host, offers};
use crate::tap::Tap;

/// What the child is to do: a folder, and a point.
const CHILD: &str = "USERSYNC_SWEEP_CHILD";

/// What the child says when it is to be killed, before the number of the step that it came to.
const AT: &str = "to be killed at step ";

/// A folder of the test's own, removed at its end.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("usersync-sweep-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Left by an earlier process with this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("a folder can be made");
                    return Self(path);
                }
            }
        }
    }

    /// Another folder with the same content. Nobody may be at work in this one.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(&self.0).expect("the folder is there") {
            let entry = entry.expect("the folder can be read");
            fs::copy(entry.path(), copy.0.join(entry.file_name())).expect("a file can be copied");
        }
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is in a folder, and what each process makes anew in the same way.
#[derive(Debug)]
struct Parts {
    folder: PathBuf,
    directory: MemoryDirectory,
    catalog: MemoryCatalog,
    actors: MemoryActors,
    host: Arc<Host>,
}

impl Parts {
    fn open(folder: &Path, staff: &str) -> Self {
        let hr = SystemId::new("hr").expect("an id");
        let directory = MemoryDirectory::new(hr).with_instance(1);
        let kind = PrincipalKind::Group(GroupKind::UserGroup);
        directory.put(Principal::new(group("staff").object, kind, "staff"));
        for who in staff.split_whitespace() {
            directory.put(Principal::new(user(who).object, PrincipalKind::User, who));
            directory.add_member(&group("staff").object, &user(who));
        }
        let team = Container::new(container("team"), ContainerKind::Team, "team", all("staff"));
        let actors = MemoryActors::new();
        actors.set(&tenant(), user("boss"), ActorState::Active);
        let file = folder.join("host.db");
        let host = Host::open(
            &file,
            container("team").system,
            offers(1, false),
            Arc::new(Tap::default()),
        );
        let host = Arc::new(host.expect("the host's database can be opened"));
        host.create_container(&container("team").object)
            .expect("a container can be made");
        Self {
            folder: folder.to_owned(),
            directory,
            catalog: MemoryCatalog::new([team]),
            actors,
            host,
        }
    }
}

/// Saves the job and runs it, for as many as are in `staff`.
fn scenario(folder: &Path, staff: &'static str) -> Sweep<sweep::Host<Parts>> {
    let folder = folder.to_owned();
    let build = move |points: &Points| {
        let parts = Parts::open(&folder, staff);
        sweep::Host::new(points, tenant(), parts, start, content)
    };
    Sweep::new("killed", build)
        .with_lease(LEASE)
        .step("save", |host| {
            Box::pin(async move {
                let job = World::new_job("sync", free_policy(JobMode::Managed));
                host.engine()
                    .save_job(&job)
                    .await
                    .map_err(|error| error.to_string())
            })
        })
        .step("run", |host| {
            Box::pin(async move { host.run(&job("sync")).await })
        })
}

fn start(points: &Points, parts: &Parts) -> Engine {
    let time = points.time();
    let options = SqliteOptions::default()
        .with_durability(Durability::Process)
        .with_clock(move || time.now());
    let store = SqliteStore::open(parts.folder.join("state.db"), options).expect("the store can be opened");
    let mut options = Options::default();
    options.lease = LEASE;
    Engine::builder(
        points.store(Arc::new(store)),
        points.clock(),
        points.catalog(Arc::new(parts.catalog.clone())),
        points.actors(Arc::new(parts.actors.clone())),
        points.notifier(Arc::clone(&parts.host) as Arc<_>),
    )
    .directory(points.directory(Arc::new(parts.directory.clone())))
    .target(points.target(Arc::clone(&parts.host) as Arc<_>))
    .options(options)
    .build()
}

/// Members, and what people were told, each key once.
fn content(parts: &Parts) -> Lines {
    let context = CallContext {
        tenant: tenant(),
        job: job("look"),
        actor: Actor {
            principal: user("boss"),
            authority: Authority::JobOwner,
        },
    };
    let team = container("team").object;
    let mut lines = Lines::members(&*parts.host, [team], &context).expect("the host can be read");
    let database = Connection::open(parts.folder.join("host.db")).expect("the host's database is there");
    let mut told = database
        .prepare("SELECT recipient, news FROM told GROUP BY key")
        .expect("the table is there");
    let told = told.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    for line in told.expect("the table can be read") {
        let (recipient, news) = line.expect("texts");
        lines.count(format!("told {recipient} {news}"));
    }
    lines
}

const BEFORE: &str = "ada bob";
const AFTER: &str = "bob cleo dan";

/// In the process that is killed: plays a point, says so where it is to be killed, and stays there.
#[test]
#[ignore = "it is what the process does that is killed by the other test"]
fn the_process_that_is_killed() {
    let told = std::env::var(CHILD).expect("the other test says what to do");
    let (point, folder) = told.split_once(' ').expect("a point and a folder");
    let point = point.parse().expect("a point");
    scenario(Path::new(folder), AFTER).play(point, |step| {
        println!("{AT}{step}");
        // Whoever started this process kills it, or is gone itself.
        let _ = stdin().read_line(&mut String::new());
        std::process::exit(1);
    });
}

/// Plays a point in a process of its own and kills that. Answers the step that it came to.
fn kill_at(folder: &Folder, point: Point) -> usize {
    let mut child = Command::new(std::env::current_exe().expect("tests are files"))
        .args([
            "--exact",
            "kill::the_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD, format!("{point} {}", folder.0.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process can be started");
    let said = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let mut steps = said.map_while(Result::ok).filter_map(|line| {
        let (_, step) = line.split_once(AT)?;
        step.parse().ok()
    });
    let step = steps.next();
    child.kill().expect("it waits to be killed");
    child.wait().expect("it was killed");
    step.unwrap_or_else(|| panic!("the process never came to {point}"))
}

/// A sample of calls with every mode: killed there, by a signal, what another process makes of the file is what would have been.
#[test]
fn promise_14_killed_by_a_signal() {
    let before = Folder::new();
    scenario(&before.0, BEFORE)
        .take_over(0)
        .expect("nothing goes wrong");
    let other = before.copy();
    let calls = scenario(&other.0, AFTER).run_points(|_| false).calls;
    let other = before.copy();
    let end = scenario(&other.0, AFTER)
        .take_over(0)
        .expect("nothing goes wrong");
    let is_wide = std::env::var_os("USERSYNC_SWEEP_WIDE").is_some();
    let apart = if is_wide { 1 } else { 29 };
    for (offset, mode) in (1..).zip(Mode::ALL) {
        for call in (offset..=calls).step_by(apart) {
            let point = Point { call, mode };
            let folder = before.copy();
            let step = kill_at(&folder, point);
            let found = scenario(&folder.0, AFTER).take_over(step);
            let found = found.unwrap_or_else(|failure| panic!("killed at {point}: {failure}"));
            assert_eq!(found.difference(&end), Vec::<String>::new(), "killed at {point}");
        }
    }
}
