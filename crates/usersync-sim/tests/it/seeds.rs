//! Many worlds. `USERSYNC_SIM_SEEDS` says how many, `USERSYNC_SIM_FIRST` from which seed on; `USERSYNC_SIM_SEED` is one of them, and
//! `USERSYNC_SIM_TAPE` one that was shrunk, both with every line of what happens. `USERSYNC_SIM_EDITION` is an edition of worlds
//! earlier than the newest.

use std::collections::BTreeMap;
use std::env;

use usersync_sim::{Config, Counts, FaultKind, Occurrence, Report, Simulation, Tape};

/// How many seeds there are by default.
const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// A violation, shrunk, with the lines that show it.
fn told(simulation: &Simulation, report: Report) -> String {
    let first = report.to_string();
    let shrunk = simulation.shrink(report, 400);
    let mut config = Config::default();
    config.keep_trace = true;
    let again = Simulation::replay(shrunk.tape.clone(), config).run();
    let lines: Vec<_> = again
        .trace
        .iter()
        .filter(|line| !line.starts_with("poll"))
        .map(String::as_str)
        .collect();
    let from = lines.len().saturating_sub(80);
    format!("{first}\n{shrunk}\n{}", lines[from..].join("\n"))
}

#[test]
fn every_seed_ends_well() {
    let mut config = Config::default();
    if let Some(edition) = number("USERSYNC_SIM_EDITION") {
        config.edition = u32::try_from(edition).expect("a small number");
    }
    if let Ok(text) = env::var("USERSYNC_SIM_TAPE") {
        config.keep_trace = true;
        let tape: Tape = text.parse().expect("a tape");
        let report = Simulation::replay(tape, config).run();
        println!("{}", report.trace.join("\n"));
        assert!(report.is_ok(), "{report}");
        return;
    }
    if let Some(seed) = number("USERSYNC_SIM_SEED") {
        config.keep_trace = true;
        let report = Simulation::new(seed, config).run();
        println!("{}", report.trace.join("\n"));
        assert!(report.is_ok(), "{report}");
        return;
    }
    let first = number("USERSYNC_SIM_FIRST").unwrap_or(0);
    let count = number("USERSYNC_SIM_SEEDS").unwrap_or(SEEDS);
    let mut counts = Counts::default();
    let mut fired: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut occurred: BTreeMap<Occurrence, u64> = BTreeMap::new();
    let mut broken: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for seed in first..first + count {
        let report = Simulation::new(seed, config.clone()).run();
        counts = counts.plus(report.counts);
        for (kind, times) in report.fired {
            *fired.entry(kind).or_default() += times;
        }
        for (what, times) in report.occurred {
            *occurred.entry(what).or_default() += times;
        }
        if let Some(violation) = report.violation {
            broken.entry(violation.rule).or_default().push(seed);
        }
    }
    println!("{count} worlds, from seed {first} on\n{counts:#?}\n{fired:#?}\n{occurred:#?}");
    if env::var_os("USERSYNC_SIM_UNSHRUNK").is_some() {
        assert!(broken.is_empty(), "{broken:?}");
    }
    if let Some(seed) = broken.values().flatten().next() {
        let simulation = Simulation::new(*seed, config);
        let report = simulation.run();
        unreachable!("{broken:?}\n{}", told(&simulation, report));
    }
    if count >= SEEDS {
        for kind in FaultKind::ALL {
            assert!(
                fired.get(&kind).is_some_and(|times| *times > 0),
                "{kind} never happened"
            );
        }
        for what in Occurrence::ALL {
            assert!(
                occurred.get(&what).is_some_and(|times| *times > 0),
                "{what} never happened"
            );
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..10 {
        let report = Simulation::new(seed, Config::default()).run();
        let again = Simulation::new(seed, Config::default()).run();
        assert_eq!(report.trace_hash, again.trace_hash, "seed {seed}");
        let taped = Simulation::replay(report.tape, Config::default()).run();
        assert_eq!(report.trace_hash, taped.trace_hash, "the tape of seed {seed}");
    }
}

/// Worlds that broke a rule when they were found. What was wrong in a crate has a test of its own beside.
#[test]
fn seeds_that_broke_a_rule_end_well() {
    let row = "a ledger row was again what it had been, and taken for the same";
    let found = [
        (2486, row),
        (3494, row),
        (4626, row),
        (6281, "who was in grace and taken out by a person was not wanted"),
        (70041, "a notification without an effect"),
        (
            301_650,
            "a target that remembers ids said that it had made a record which was taken out since",
        ),
        (
            311_651,
            "a link was back before all that was remembered of it was dropped",
        ),
        (
            313_299,
            "who had been in a container when it was looked at last came into another",
        ),
        (
            402_361,
            "a member with a role stayed in a container that selects itself",
        ),
    ];
    let of_edition_2 = [
        (
            402_981,
            "what an addition was to say counted for what another job had made meanwhile",
        ),
        (
            400_413,
            "who came while a mirror ran did not count for what it may remove",
        ),
        (
            614_908,
            "what was on its way to a container that depends on itself was to end",
        ),
        (612_562, "and to one that excludes itself"),
        (
            606_321,
            "an earlier life of a link was being forgotten when the link came back, suspended: what is left waits with it",
        ),
        (612_988, "the same, with a link whose consent was revoked"),
        (
            614_125,
            "who asked again for the entitlement in vain counted as told of what it was before",
        ),
        (
            612_364,
            "a lease counted for the very moment at which somebody else may have it",
        ),
        (
            608_499,
            "who left, and was back since the run read, was not taken for somebody in grace",
        ),
        (
            606_122,
            "a guest was added whom an excluded group names, and no directory shows",
        ),
    ];
    for (edition, seeds) in [(1, &found[..]), (2, &of_edition_2)] {
        let mut config = Config::default();
        config.edition = edition;
        for (seed, why) in seeds {
            let report = Simulation::new(*seed, config.clone()).run();
            assert!(report.is_ok(), "{why}: {report}");
        }
    }
}
