//! Tests in processes of their own, whose memory can be told.

use std::env;
use std::fs;
use std::process::Command;

/// Names the test that a child is to run.
const CHILD: &str = "USERSYNC_SIZES_CHILD";

/// What a child says before the figure that its parent waits for.
const GROWN: &str = "grown by kB: ";

/// Runs `body` in a process of its own: this binary again, with the test `name` alone. Fails if `body` does, or if it took more than
/// `bound` MiB at its most, beyond what the process had when [`Memory::begin`] was called.
///
/// Where the system does not tell the memory of a process, only `body` is checked.
pub(crate) fn alone(name: &str, bound: u64, body: impl FnOnce(&mut Memory)) {
    if env::var(CHILD).as_deref() == Ok(name) {
        let mut memory = Memory::default();
        body(&mut memory);
        println!("\n{GROWN}{}", memory.grown());
        return;
    }
    let program = env::current_exe().unwrap();
    let child = Command::new(program)
        .args([
            name,
            "--exact",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&child.stderr)
    );
    let grown = said
        .lines()
        .find_map(|line| line.strip_prefix(GROWN))
        .map(str::parse);
    let Some(Ok(grown)) = grown else {
        unreachable!("there is no test {name}, or it said nothing: {said}");
    };
    let grown: u64 = grown;
    println!("{name}: {} MiB, of {bound} MiB", grown / 1024);
    assert!(
        grown <= bound * 1024,
        "{name} took {} MiB, more than {bound}",
        grown / 1024
    );
}

/// What a process takes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    before: Option<u64>,
}

impl Memory {
    /// What is taken from here on counts.
    pub(crate) fn begin(&mut self) {
        // Lets the peak begin anew at what is taken now.
        let _ = fs::write("/proc/self/clear_refs", "5");
        self.before = status("VmRSS:");
    }

    /// How many kB more than at the beginning were taken at most; 0 where the system does not tell.
    pub(crate) fn grown(&self) -> u64 {
        let peak = status("VmHWM:").unwrap_or(0);
        peak.saturating_sub(self.before.unwrap_or(0))
    }
}

fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
