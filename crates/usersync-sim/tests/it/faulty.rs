//! The simulator sees what is wrong: each double is caught within so many seeds, by a rule that is about it.

use std::sync::Arc;

use usersync_memory::MemoryTarget;
use usersync_sim::{Config, Simulation, TargetSpec};

use crate::doubles::{Answers, FaultyStore, FaultyTarget, Panics, Shortened, Wrong};

/// Within how many seeds every double has to be caught.
const SEEDS: u64 = 150;

/// Worlds of the first edition: what is rare in later ones hides some doubles for longer.
fn plain() -> Config {
    let mut config = Config::default();
    config.edition = 1;
    config
}

/// The first seed that breaks a rule, and which.
fn caught(double: impl Fn(Simulation) -> Simulation) -> (u64, &'static str) {
    let caught = (0..SEEDS).find_map(|seed| {
        let report = double(Simulation::new(seed, plain())).run();
        report.violation.map(|violation| (seed, violation.rule))
    });
    caught.unwrap_or((SEEDS, "nothing"))
}

pub(crate) fn check(double: impl Fn(Simulation) -> Simulation, rules: &[&str]) {
    let (seed, rule) = caught(double);
    assert!(rules.contains(&rule), "{rule} after {} seeds", seed + 1);
}

fn store(wrong: Wrong, rules: &[&str]) {
    check(
        |simulation| {
            simulation.with_store({
                let wrong = wrong.clone();
                move |clock| Arc::new(FaultyStore::new(clock, wrong.clone()))
            })
        },
        rules,
    );
}

#[test]
fn a_store_that_forgets_intents_is_caught() {
    store(Wrong::ForgetsIntents, &["store_lies"]);
}

#[test]
fn a_store_that_gives_a_lease_twice_is_caught() {
    store(Wrong::GivesLeasesTwice, &["lease_given_twice", "store_refuses"]);
}

#[test]
fn a_store_that_ignores_limits_is_caught() {
    store(
        Wrong::IgnoresLimits,
        &["store_must_refuse", "seat_beyond_entitlement"],
    );
}

#[test]
fn a_store_that_ignores_rows_is_caught() {
    store(Wrong::IgnoresRows, &["store_must_refuse"]);
}

#[test]
fn a_store_that_ignores_tokens_is_caught() {
    store(Wrong::IgnoresTokens, &["store_must_refuse"]);
}

#[test]
fn a_store_whose_leases_never_expire_is_caught() {
    store(
        Wrong::NeverExpires,
        &[
            "missing_at_the_end",
            "left_behind",
            "left_in_mirror",
            "journal_left_open",
            "outbox_left_full",
            "claim_left_behind",
        ],
    );
}

#[test]
fn a_store_that_loses_notifications_is_caught() {
    store(Wrong::LosesNotifications, &["outbox_left_full"]);
}

#[test]
fn a_store_that_tears_transactions_is_caught() {
    store(Wrong::Tears, &["store_lies", "run_failed"]);
}

#[test]
fn a_target_that_denies_what_it_did_is_caught() {
    check(
        |simulation| simulation.with_target(|spec| Arc::new(FaultyTarget::new(spec, Answers::Unchanged))),
        &["left_behind", "ours_forgotten", "told_not_once"],
    );
}

#[test]
fn a_target_that_claims_what_it_did_not_do_is_caught() {
    check(
        |simulation| simulation.with_target(|spec| Arc::new(FaultyTarget::new(spec, Answers::Without))),
        &["missing_at_the_end", "no_rest", "told_without_effect"],
    );
}

#[test]
fn a_target_that_keeps_the_roles_of_before_is_caught() {
    check(
        |simulation| simulation.with_target(|spec| Arc::new(FaultyTarget::new(spec, Answers::Keeps))),
        &["role_left_behind"],
    );
}

/// What others see of a container that they select is what its plan leaves there.
#[test]
fn a_target_that_hides_members_is_caught() {
    check(
        |simulation| simulation.with_target(|spec| Arc::new(FaultyTarget::new(spec, Answers::Hides))),
        &["left_behind", "missing_at_the_end", "no_rest", "ours_forgotten"],
    );
}

#[test]
fn a_directory_that_hides_members_is_caught() {
    check(
        |simulation| simulation.with_directory(|directory| Arc::new(Shortened(directory))),
        &["wanted_removal", "unwanted_addition", "missing_at_the_end"],
    );
}

#[test]
fn a_panic_is_told_with_its_words() {
    let panics = |simulation: Simulation| simulation.with_directory(|directory| Arc::new(Panics(directory)));
    check(panics, &["engine_panicked"]);
    let told = (0..SEEDS).find_map(|seed| panics(Simulation::new(seed, Config::default())).run().violation);
    let told = told.expect("it panics").message;
    assert!(told.contains("nobody thought of that"), "{told}");
}

#[test]
fn a_target_that_keeps_its_contract_is_not() {
    let target = |simulation: Simulation| {
        simulation.with_target(|spec| Arc::new(MemoryTarget::new(spec.system.clone(), spec.capabilities)))
    };
    for seed in 0..20 {
        let report = target(Simulation::new(seed, Config::default())).run();
        assert!(report.is_ok(), "{report}");
    }
}

/// What it did a person may have undone when it answers.
#[test]
fn a_target_that_answers_late_is_not() {
    for seed in 0..60 {
        let target = |spec: &TargetSpec| FaultyTarget::new(spec, Answers::Late);
        let simulation =
            Simulation::new(seed, Config::default()).with_target(move |spec| Arc::new(target(spec)));
        let report = simulation.run();
        assert!(report.is_ok(), "{report}");
    }
}

/// What is left of it breaks the same rule, with less going on, and each time in the same way.
#[test]
fn what_breaks_a_rule_shrinks_and_replays() {
    let target = |simulation: Simulation| {
        simulation.with_target(|spec| Arc::new(FaultyTarget::new(spec, Answers::Without)))
    };
    let (seed, rule) = caught(target);
    let simulation = target(Simulation::new(seed, plain()));
    let report = simulation.run();
    let before = report.tape.weight();
    let shrunk = simulation.shrink(report, 150);
    assert_eq!(
        shrunk.violation.as_ref().map(|violation| violation.rule),
        Some(rule)
    );
    let after = shrunk.tape.weight();
    assert!(after * 2 < before, "{after} choices are left of {before}");
    let again = target(Simulation::replay(shrunk.tape.clone(), Config::default())).run();
    assert_eq!(
        (again.violation, again.trace_hash),
        (shrunk.violation, shrunk.trace_hash)
    );
}
