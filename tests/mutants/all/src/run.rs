//! Running the tests that come by a mutant, with it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::build::Built;

pub const CAUGHT: &str = "caught";
const MISSED: &str = "missed";
const TIMEOUT: &str = "timeout";
const UNREACHED: &str = "unreached";

/// Seconds of processor time beyond five times what the tests take without a mutant. The clock on the wall says little on a busy
/// machine.
const PATIENCE: u64 = 2;
/// Kilobytes that a test may have: one that loops and collects ends by it, and not the machine.
const MEMORY: u64 = 6 << 20;
/// How long tests may wait for something that never comes, beyond ten times the processor time that they take.
const STANDSTILL: Duration = Duration::from_secs(60);
/// The signal that ends who has used it up.
const PROCESSOR_TIME: i32 = 24;

/// The test programs, the quick ones first, and which of their tests come by which place.
pub struct Tests(Vec<Program>);

struct Program {
    path: PathBuf,
    folder: PathBuf,
    took: Duration,
    by_place: BTreeMap<usize, BTreeSet<String>>,
}

impl Tests {
    /// Runs every test without a mutant.
    pub fn find(built: &Built) -> Result<Self, Box<dyn Error>> {
        let mut programs = Vec::new();
        for (path, folder) in &built.programs {
            let mut program = Program {
                path: path.clone(),
                folder: folder.clone(),
                took: Duration::ZERO,
                by_place: BTreeMap::new(),
            };
            fs::write(&built.trace, "")?;
            let before = used()?;
            let mut plain = program.command(3600, &[]);
            if !plain
                .env("MUTANT_TRACE", &built.trace)
                .stdout(Stdio::null())
                .status()?
                .success()
            {
                return Err(format!("{} fails without a mutant", path.display()).into());
            }
            program.took = used()? - before;
            program.read(&fs::read_to_string(&built.trace)?)?;
            programs.push(program);
        }
        fs::remove_file(&built.trace)?;
        programs.sort_by_key(|program| program.took);
        Ok(Self(programs))
    }

    /// What becomes of a mutant that takes effect at a place.
    pub fn outcome(&self, mutant: usize, place: usize) -> Result<&'static str, Box<dyn Error>> {
        let mut outcome = UNREACHED;
        for program in &self.0 {
            if let Some(tests) = program.by_place.get(&place) {
                outcome = program.run(mutant, tests)?;
                if outcome != MISSED {
                    break;
                }
            }
        }
        Ok(outcome)
    }
}

impl Program {
    fn command(&self, seconds: u64, tests: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                &format!("ulimit -t {seconds} -v {MEMORY}; exec \"$@\""),
                "sh",
            ])
            .arg(&self.path)
            .args(tests)
            .current_dir(&self.folder)
            // Nothing is learnt from the smallest failure, and other cases would make other scores.
            .envs([
                ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
                ("PROPTEST_MAX_SHRINK_ITERS", "0"),
                ("PROPTEST_RNG_SEED", "1"),
            ])
            .stderr(Stdio::null());
        command
    }

    /// A test runs in a thread of its name; what other threads come by counts for all tests.
    fn read(&mut self, trace: &str) -> Result<(), Box<dyn Error>> {
        let listed = self.command(60, &["--list"]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let all: BTreeSet<&str> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .collect();
        for (place, thread) in trace.lines().filter_map(|line| line.split_once(' ')) {
            let by = self.by_place.entry(place.parse()?).or_default();
            match all.get(thread) {
                Some(test) => by.extend([(*test).to_owned()]),
                None => by.extend(all.iter().map(|test| (*test).to_owned())),
            }
        }
        Ok(())
    }

    fn run(&self, mutant: usize, tests: &BTreeSet<String>) -> Result<&'static str, Box<dyn Error>> {
        let mut words = vec!["--exact"];
        words.extend(tests.iter().map(String::as_str));
        let mut child = self
            .command((self.took * 5).as_secs() + PATIENCE, &words)
            .env("MUTANT", mutant.to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = said(&mut child);
        let deadline = Instant::now() + self.took * 10 + STANDSTILL;
        let failed = loop {
            match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("test ") && line.ends_with("FAILED") => break true,
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(TIMEOUT);
                }
            }
        };
        if failed {
            child.kill()?;
        }
        let status = child.wait()?;
        Ok(match status.signal() {
            _ if failed => CAUGHT,
            Some(PROCESSOR_TIME) => TIMEOUT,
            _ if status.success() => MISSED,
            _ => CAUGHT,
        })
    }
}

/// The processor time of all processes that ended so far.
fn used() -> Result<Duration, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/stat")?;
    // After the name, which may have blanks in it, come 13 other fields.
    let (_, fields) = status.rsplit_once(')').ok_or("a process has a name")?;
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// The lines that a program writes, as they come.
fn said(child: &mut Child) -> Receiver<String> {
    let (to, lines) = channel();
    if let Some(says) = child.stdout.take() {
        std::thread::spawn(move || {
            let lines = BufReader::new(says).lines().map_while(Result::ok);
            lines
                .map(|line| to.send(line))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
    }
    lines
}
