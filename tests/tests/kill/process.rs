//! Workers as processes, and the folders they work in.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::tap::WAITING;

/// When all worlds begin, in microseconds.
const BEGIN: i64 = 1_767_225_600_000_000;

/// A folder of the test's own, removed at its end.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A folder with nothing but a clock.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("usersync-kill-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Left by an earlier process with this number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.unwrap();
                    let folder = Self(path);
                    folder.set_clock(BEGIN);
                    return folder;
                }
            }
        }
    }

    /// Another folder with the same content. Nobody may be at work in this one.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        for entry in fs::read_dir(&self.0).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
        }
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// So much time passes that every lease is over.
    pub(crate) fn let_leases_expire(&self) {
        let clock = fs::read_to_string(self.0.join("clock")).unwrap();
        self.set_clock(clock.parse::<i64>().unwrap() + 1_000_000_000);
    }

    /// At once, for whoever reads it meanwhile.
    fn set_clock(&self, micros: i64) {
        fs::write(self.0.join("clock.new"), micros.to_string()).unwrap();
        fs::rename(self.0.join("clock.new"), self.0.join("clock")).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A worker. It is killed with the test.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts to do what is left of the first `weeks` weeks, in this manner, up to the point named.
    pub(crate) fn start(folder: &Folder, seed: u64, weeks: usize, manner: &str, stop: Option<&str>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .arg(folder.path())
            .args([&seed.to_string(), &weeks.to_string(), manner])
            .args(stop)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// Goes on until the worker says `line`; whether it ever does.
    pub(crate) fn comes_to(&mut self, line: &str) -> bool {
        self.lines.by_ref().map_while(Result::ok).any(|said| said == line)
    }

    /// Goes on until the worker waits; whether it ever does.
    pub(crate) fn waits(&mut self) -> bool {
        self.comes_to(WAITING)
    }

    /// Goes on until the worker said this many lines.
    pub(crate) fn says(&mut self, lines: usize) {
        let _ = self.lines.by_ref().map_while(Result::ok).take(lines).count();
    }

    /// Kills it, whatever it is at. Answers whether it was still at something.
    pub(crate) fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        let was_at_work = !self.child.wait().unwrap().success();
        // The log of a worker that was killed may say more than was read; nobody needs it.
        self.lines.by_ref().for_each(drop);
        was_at_work
    }

    /// Stops it, and comes back once it stands still.
    pub(crate) fn stop(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// Lets one that waits go on, and one that stands still.
    pub(crate) fn go_on(&mut self) {
        let mut input = self.input.take().unwrap();
        input.write_all(b"go on\n").unwrap();
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// What else it passed, and how it ended.
    pub(crate) fn end(mut self) -> (Vec<String>, String) {
        drop(self.input.take());
        let mut lines: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success(), "the worker failed");
        let end = lines.pop().unwrap();
        (lines, end)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
