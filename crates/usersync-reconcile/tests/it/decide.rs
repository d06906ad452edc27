//! The decision table against the table of the design, over all inputs.

use usersync_model::Origin;
use usersync_reconcile::{Decision, Drift, Kept, Mode, Needed, Standing, Truth, decide};

/// The table as it is written down: in the base, desired, actually there; then the three modes.
const TABLE: &str = "
    - - A | keep    | remove  | keep
    - D - | add     | add     | add
    - D A | claim   | claim   | claim
    B - - | forget  | forget  | forget
    B - A | release | remove  | report
    B D - | restore | restore | restore
    B D A | nothing | nothing | nothing
";

fn cell(mode: Mode, base: bool, desired: bool, actual: bool) -> &'static str {
    let mark = |is: bool, letter| if is { letter } else { "-" };
    let key = [mark(base, "B"), mark(desired, "D"), mark(actual, "A")].join(" ");
    let column = match mode {
        Mode::Managed => 1,
        Mode::Mirror => 2,
        Mode::AddOnly => 3,
    };
    TABLE
        .lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .find(|cells| cells[0] == key)
        .map_or("nothing", |cells| cells[column])
}

/// The decision where everything is known: a cell of the table, read with what is known of the claims.
fn known(mode: Mode, drift: Drift, standing: Standing, desired: bool, actual: bool) -> Decision {
    let base = standing.claimed && standing.origin == Some(Origin::Ours);
    match cell(mode, base, desired, actual) {
        "add" => Decision::Add,
        "claim" if standing.claimed => Decision::Nothing,
        "claim" => Decision::Claim,
        "forget" => Decision::Forget,
        "keep" if standing.claimed => Decision::Release(Kept::Foreign),
        "keep" => Decision::Keep(Kept::Foreign),
        "nothing" if standing.claimed && !desired && !actual => Decision::Forget,
        "nothing" => Decision::Nothing,
        "release" if standing.others => Decision::Release(Kept::ClaimedElsewhere),
        "release" => Decision::Remove,
        "remove" if standing.others && standing.claimed => Decision::Release(Kept::ClaimedElsewhere),
        "remove" if standing.others => Decision::Keep(Kept::ClaimedElsewhere),
        "remove" => Decision::Remove,
        "report" => Decision::Keep(Kept::AddOnly),
        "restore" if mode == Mode::Managed && drift == Drift::Respect => Decision::Respect,
        "restore" => Decision::Restore,
        cell => unreachable!("{cell}"),
    }
}

/// The decision in general: where something is unknown, nothing is done, and what the worse of the possible worlds
/// would need is named.
fn oracle(mode: Mode, drift: Drift, standing: Standing, desired: Truth, actual: Truth) -> Decision {
    let world = |desired, actual| known(mode, drift, standing, desired, actual);
    let feared = match (desired, actual) {
        (Truth::No | Truth::Yes, Truth::No | Truth::Yes) => {
            return world(desired == Truth::Yes, actual == Truth::Yes);
        }
        (Truth::Unknown, Truth::Yes) => world(false, true),
        (Truth::Unknown, Truth::No) => world(true, false),
        // What a job claims and did not see is presumed there.
        (Truth::Yes, Truth::Unknown) if !standing.claimed => world(true, false),
        (_, Truth::Unknown) => Decision::Nothing,
    };
    Decision::Wait(match feared {
        Decision::Add => Some(Needed::Add),
        Decision::Remove => Some(Needed::Remove),
        Decision::Restore => Some(Needed::Restore),
        _ => None,
    })
}

fn all_inputs() -> Vec<(Mode, Drift, Standing, Truth, Truth)> {
    let mut inputs = Vec::new();
    let truths = [Truth::No, Truth::Unknown, Truth::Yes];
    for mode in [Mode::Managed, Mode::Mirror, Mode::AddOnly] {
        for drift in [Drift::Respect, Drift::Restore] {
            for claimed in [false, true] {
                for origin in [None, Some(Origin::Foreign), Some(Origin::Ours)] {
                    for others in [false, true] {
                        let standing = Standing {
                            claimed,
                            origin,
                            others,
                        };
                        for desired in truths {
                            inputs.extend(truths.map(|actual| (mode, drift, standing, desired, actual)));
                        }
                    }
                }
            }
        }
    }
    inputs
}

#[test]
fn every_input_gives_what_the_table_says() {
    let inputs = all_inputs();
    assert_eq!(inputs.len(), 3 * 2 * 12 * 9);
    let wrong: Vec<String> = inputs
        .into_iter()
        .filter_map(|(mode, drift, standing, desired, actual)| {
            let expected = oracle(mode, drift, standing, desired, actual);
            let found = decide(mode, drift, standing, desired, actual);
            let input = format!("{mode:?} {drift:?} {standing:?} desired {desired:?} actual {actual:?}");
            (found != expected).then(|| format!("{input}: {found:?}, not {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn promise_09_what_is_unknown_is_never_acted_upon() {
    for (mode, drift, standing, desired, actual) in all_inputs() {
        let decision = decide(mode, drift, standing, desired, actual);
        let is_known = desired != Truth::Unknown && actual != Truth::Unknown;
        assert_eq!(
            !is_known,
            matches!(decision, Decision::Wait(_)),
            "{mode:?} {drift:?} {standing:?} {desired:?} {actual:?}: {decision:?}"
        );
    }
}

#[test]
fn promise_11_add_only_never_removes() {
    for (mode, drift, standing, desired, actual) in all_inputs() {
        if mode == Mode::AddOnly {
            let decision = decide(mode, drift, standing, desired, actual);
            assert!(!matches!(
                decision,
                Decision::Remove | Decision::Wait(Some(Needed::Remove))
            ));
        }
    }
}
