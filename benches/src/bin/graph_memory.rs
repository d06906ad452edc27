//! Prints what the directory of scenario 3 takes in memory: run it with `USERSYNC_BENCH_SIZE=full`.
#![allow(clippy::print_stdout, reason = "it is there to print")]

use std::time::Instant;

use usersync_benches::directory::{Directory, users_wanted};

fn main() {
    let directory = Directory::generate(users_wanted());
    println!(
        "{} users, {} groups, {} memberships",
        directory.users,
        directory.groups,
        directory.members.len()
    );
    println!(
        "generator alone: resident {} kB, peak {} kB",
        status("VmRSS:"),
        status("VmHWM:")
    );
    let resident = status("VmRSS:");
    let start = Instant::now();
    let graph = directory.graph();
    println!(
        "built in {:?}: {} memberships",
        start.elapsed(),
        graph.membership_count()
    );
    let grown = status("VmRSS:").saturating_sub(resident);
    println!(
        "graph: resident {grown} kB, {:.1} bytes per membership",
        grown as f64 * 1024.0 / graph.membership_count() as f64
    );
    println!("peak with the generator's own rows {} kB", status("VmHWM:"));
}

/// A figure of this process in kB; zero where the system does not tell.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with(field))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|figure| figure.parse().ok())
        .unwrap_or(0)
}
