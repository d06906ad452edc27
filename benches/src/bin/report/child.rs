//! One scenario at one size, in a process of its own: so that no other leaves its memory behind.

use std::fs;
use std::time::{Duration, Instant};

use usersync_benches::scenario;
use usersync_benches::way::Way;

use crate::Result;
use crate::figures::{Figures, Measured};

/// The argument that asks for it.
pub(crate) const FLAG: &str = "--measure";

/// How long each way is gone over and over.
const BUDGET: Duration = Duration::from_secs(2);
const FEWEST: usize = 3;
const MOST: usize = 5000;

/// Prints what it measured.
pub(crate) fn measure(name: &str, items: u64) -> Result<()> {
    let scenario = scenario::all().into_iter().find(|one| one.name == name);
    let scenario = scenario.ok_or("there is no such scenario")?;
    let mut ways = (scenario.prepare)(items);
    let held = status("VmRSS:");
    let peaks: Vec<u64> = ways.iter_mut().map(peak).collect();
    let times = times(&mut ways);
    let figures = ways
        .iter()
        .zip(peaks)
        .zip(times)
        .map(|((way, peak), times)| Figures {
            name: way.name.to_owned(),
            part: way.part.into(),
            times: times.len(),
            median: at(&times, 500),
            p99: at(&times, 990),
            peak,
        });
    let measured = Measured {
        items,
        held,
        ways: figures.collect(),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// The most that a way takes beside what is held. Goes it once, which makes it warm, too.
fn peak(way: &mut Way) -> u64 {
    // Sets the peak back to what is held now; where that cannot be done, the peak is that of everything before.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = status("VmRSS:");
    way.once();
    status("VmHWM:").saturating_sub(before)
}

/// How long each way takes. They take turns, so that what else happens on the machine meets all of them.
fn times(ways: &mut [Way]) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::new(); ways.len()];
    let mut spent = vec![Duration::ZERO; ways.len()];
    loop {
        let mut done = true;
        for ((way, times), spent) in ways.iter_mut().zip(&mut times).zip(&mut spent) {
            if times.len() < FEWEST || (*spent < BUDGET && times.len() < MOST) {
                let begun = Instant::now();
                times.push(way.once());
                // With what each time needs beforehand, so that a turn ends some day.
                *spent += begun.elapsed();
                done = false;
            }
        }
        if done {
            break;
        }
    }
    for times in &mut times {
        times.sort_unstable();
    }
    times
}

/// Of ascending times, that which so many of a thousand do not exceed, in nanoseconds.
fn at(times: &[Duration], share: usize) -> f64 {
    times[(times.len() - 1) * share / 1000].as_nanos() as f64
}

/// A figure of this process in bytes; zero where the system does not tell.
fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.and_then(|figure| figure.parse::<u64>().ok()).unwrap_or(0) * 1024
}
