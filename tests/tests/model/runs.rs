//! What runs come to, whatever happens.

use std::collections::BTreeSet;

use crate::judge::{
    LATE_ADDITION, LATE_REMOVAL, LATE_REMOVAL_OF_ANOTHER, REMOVAL_AMID, REPEATED_ADDITION, REPEATED_OBJECT,
    REPEATED_REMOVAL, SECOND_OBJECT, TAKEN_FOR_OURS,
};
use crate::protocol::{Protocol, Target};
use crate::state::Budget;
use crate::{explore_right, is_wide};

const LEAST: Target = Target {
    conditional: false,
    idempotent: false,
    point_read: false,
    collects: false,
};
const BEST: Target = Target {
    conditional: true,
    idempotent: true,
    point_read: true,
    collects: false,
};

/// The bound that most explorations widen.
pub(crate) const RUNS: Budget = Budget {
    runs: 3,
    edits: 0,
    people: 0,
    others: 0,
    refusals: 0,
    repeats: 0,
};

/// Whatever happens to one membership, the runs that follow come to the one end there may be, with everything ours that we added; and
/// what is known to be possible at a target is possible there, and nothing else. Conditional writes keep removals from taking
/// what was not seen; idempotency keys keep calls from having an effect twice.
#[test]
fn promise_14_one_membership_comes_to_one_end_at_every_target() {
    for (conditional, idempotent) in [(false, false), (true, false), (false, true), (true, true)] {
        let target = Target {
            conditional,
            idempotent,
            ..LEAST
        };
        let budget = Budget {
            runs: if is_wide() { 4 } else { 3 },
            edits: 2,
            people: 2,
            ..RUNS
        };
        let name = format!("one membership, {target}");
        let explored = explore_right(&name, &Protocol::new(1, 2, budget, target));
        let mut windows = BTreeSet::from([LATE_ADDITION, LATE_REMOVAL, TAKEN_FOR_OURS]);
        if !idempotent {
            windows.insert(REPEATED_ADDITION);
        }
        if !conditional {
            windows.extend([LATE_REMOVAL_OF_ANOTHER, REMOVAL_AMID]);
        }
        if !conditional && !idempotent {
            windows.insert(REPEATED_REMOVAL);
        }
        for (window, trace) in &explored.windows {
            println!("{window}\n{trace}");
        }
        let seen: BTreeSet<_> = explored.windows.keys().copied().collect();
        assert_eq!(seen, windows, "{name}");
    }
}

/// As long as nobody edits anything, nothing at all goes amiss at any target, however many workers are stopped, and whatever
/// becomes of their calls: every way ends where one undisturbed run does.
#[test]
fn promise_17_without_edits_stopped_workers_change_nothing() {
    for target in [LEAST, BEST] {
        let budget = Budget {
            runs: if is_wide() { 4 } else { 3 },
            refusals: 1,
            repeats: 1,
            ..RUNS
        };
        let name = format!("no edits, {target}");
        let explored = explore_right(&name, &Protocol::new(1, 3, budget, target));
        assert_eq!(explored.windows.len(), 0, "{name}");
    }
}

/// Another job that claims the member at any moment keeps it, and what a target refuses changes nothing.
#[test]
fn promise_08_another_job_may_claim_at_any_moment() {
    for target in [LEAST, BEST] {
        let budget = Budget {
            edits: if is_wide() { 2 } else { 1 },
            people: 1,
            others: 1,
            refusals: 1,
            repeats: u8::from(is_wide()),
            ..RUNS
        };
        let name = format!("with another job, {target}");
        let _ = explore_right(&name, &Protocol::new(1, 2, budget, target));
    }
}

/// Another job adds the member and gives its claim up again while a run is under way: the row is again what it was, and stands for
/// another membership.
#[test]
fn promise_08_a_row_that_is_again_what_it_was_is_another() {
    let budget = Budget {
        runs: 2,
        edits: 1,
        people: 1,
        others: 2,
        ..RUNS
    };
    for target in [LEAST, BEST] {
        let name = format!("with another job that lets go, {target}");
        let _ = explore_right(&name, &Protocol::new(1, 2, budget, target));
    }
}

/// Three workers at once.
#[test]
fn promise_17_three_workers_come_to_one_end() {
    let budget = Budget {
        runs: if is_wide() { 4 } else { 3 },
        edits: 1,
        people: 1,
        ..RUNS
    };
    let targets = if is_wide() { vec![LEAST, BEST] } else { vec![LEAST] };
    for target in targets {
        let _ = explore_right(
            &format!("three workers, {target}"),
            &Protocol::new(1, 3, budget, target),
        );
    }
}

/// Two memberships in one batch: each operation has one outcome, whatever becomes of the other.
#[test]
fn promise_18_two_memberships_in_one_batch_have_an_outcome_each() {
    for (target, people) in [(LEAST, 1), (BEST, u8::from(is_wide()))] {
        let budget = Budget {
            runs: if is_wide() { 3 } else { 2 },
            edits: 1,
            people,
            refusals: 1,
            ..RUNS
        };
        let _ = explore_right(
            &format!("two memberships, {target}"),
            &Protocol::new(2, 2, budget, target),
        );
    }
}

/// Where each addition makes an object of its own, conditional additions make one at most, and so do idempotency keys as long as what
/// was begun is carried on; one that was let go of and comes after all has another key than the one that was begun anew.
#[test]
fn promise_15_additions_make_one_object_where_the_target_helps() {
    for (conditional, idempotent, edits, second) in [
        (false, false, 0, vec![REPEATED_OBJECT]),
        (false, false, 2, vec![SECOND_OBJECT, REPEATED_OBJECT]),
        (false, true, 0, vec![]),
        (false, true, 2, vec![SECOND_OBJECT]),
        (true, false, 2, vec![]),
        (true, true, 2, vec![]),
    ] {
        let target = Target {
            conditional,
            idempotent,
            collects: true,
            ..LEAST
        };
        let budget = Budget {
            edits,
            repeats: 1,
            ..RUNS
        };
        let name = format!("objects, {edits} edits, {target}");
        let explored = explore_right(&name, &Protocol::new(1, 2, budget, target));
        let windows = explored.windows.keys().copied();
        let seen: BTreeSet<_> = windows
            .filter(|window| [SECOND_OBJECT, REPEATED_OBJECT].contains(window))
            .collect();
        assert_eq!(seen, second.into_iter().collect(), "{name}");
    }
}
