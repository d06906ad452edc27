//! Protocols with a mistake in them, each found, so that the models are known to be able to fail.

use crate::judge::{REMOVAL_AMID, REPEATED_OBJECT, SECOND_OBJECT};
use crate::protocol::{Mutant, Protocol, Target};
use crate::runs::RUNS;
use crate::seats::{self, Office};
use crate::state::Budget;
use crate::{MOST, explore, explore_wrong};

const PLAIN: Target = Target {
    conditional: false,
    idempotent: false,
    point_read: true,
    collects: false,
};

/// What is found wrong with one membership and this mistake.
fn found(mutant: Mutant, budget: Budget) -> String {
    let mutated = Protocol::new(1, 2, budget, PLAIN).with(mutant);
    explore_wrong(&format!("{mutant:?}"), &mutated)
}

#[test]
fn unfenced_confirmation_is_found() {
    let what = found(Mutant::UnfencedConfirmation, RUNS);
    assert!(what.contains("a run that lost its lease writes"), "{what}");
}

#[test]
fn intents_after_effects_are_found() {
    let what = found(Mutant::IntentsAfterEffects, RUNS);
    assert!(
        what.contains("an effect comes without a durable intent"),
        "{what}"
    );
}

#[test]
fn a_lease_checked_at_the_start_only_is_found() {
    let what = found(Mutant::LeaseCheckedAtTheStart, RUNS);
    assert!(what.contains("a run that lost its lease begins a call"), "{what}");
}

#[test]
fn a_release_of_what_is_not_held_is_found() {
    let what = found(Mutant::ReleaseOfWhatIsNotHeld, RUNS);
    assert!(
        what.contains("a run that lost its lease ends that of another"),
        "{what}"
    );
}

#[test]
fn an_unread_journal_is_found() {
    let what = found(Mutant::UnreadJournal, RUNS);
    assert!(what.contains("what we added counts as somebody else's"), "{what}");
}

#[test]
fn an_unanswered_call_that_counts_as_failed_is_found() {
    let what = found(Mutant::UnansweredIsFailed, RUNS);
    assert!(what.contains("what we added counts as somebody else's"), "{what}");
}

#[test]
fn notifications_apart_from_the_confirmation_are_found() {
    let what = found(Mutant::ToldApart, RUNS);
    assert!(what.contains("nobody is told of an operation"), "{what}");
}

#[test]
fn unchecked_rows_are_found() {
    let budget = Budget {
        runs: 2,
        edits: 1,
        others: 1,
        ..RUNS
    };
    let what = found(Mutant::UncheckedRows, budget);
    assert!(
        what.contains("what is begun to be removed is not ours alone"),
        "{what}"
    );
}

/// What happens where another job adds a member, and gives its claim up while runs are under way.
const AGAIN: Budget = Budget {
    runs: 2,
    edits: 1,
    people: 1,
    others: 2,
    ..RUNS
};

#[test]
fn rows_compared_by_value_are_found() {
    let what = found(Mutant::RowsComparedByValue, AGAIN);
    assert!(
        what.contains("what is ours is forgotten while it is there"),
        "{what}"
    );
}

#[test]
fn own_rows_compared_by_value_are_found() {
    let what = found(Mutant::OwnRowsByValue, AGAIN);
    assert!(
        what.contains("what is ours is forgotten while it is there"),
        "{what}"
    );
}

#[test]
fn rows_that_a_removal_forgets_whoever_wrote_them_are_found() {
    let what = found(Mutant::ContestedRowsForgotten, AGAIN);
    assert!(
        what.contains("what is ours is forgotten while it is there"),
        "{what}"
    );
}

/// A target that remembers operations answers such a removal as it did the first time, and takes nobody out.
#[test]
fn removals_of_others_that_are_gone_on_with_are_found() {
    let target = Target {
        idempotent: true,
        ..PLAIN
    };
    let mutated = Protocol::new(1, 2, AGAIN, target).with(Mutant::RemovalsOfOthersGoneOnWith);
    let what = explore_wrong("RemovalsOfOthersGoneOnWith", &mutated);
    assert!(
        what.contains("what is ours is forgotten while it is there"),
        "{what}"
    );
}

#[test]
fn a_batch_that_a_failure_ends_is_found() {
    let budget = Budget { refusals: 1, ..RUNS };
    let mutated = Protocol::new(2, 2, budget, PLAIN).with(Mutant::StoppedByAFailure);
    let what = explore_wrong("StoppedByAFailure", &mutated);
    assert!(what.contains("an operation has no outcome"), "{what}");
}

/// An idempotency key helps only if who carries an operation on uses the one it has.
#[test]
fn an_own_id_for_each_attempt_is_found() {
    let target = Target {
        idempotent: true,
        collects: true,
        ..PLAIN
    };
    let right = Protocol::new(1, 2, RUNS, target);
    assert_eq!(explore(&right, MOST).windows.len(), 0);
    let mutated = explore(&right.with(Mutant::OwnIdForEachAttempt), MOST);
    let trace = &mutated.windows[SECOND_OBJECT];
    println!("OwnIdForEachAttempt: {mutated}\n{SECOND_OBJECT}\n{trace}");
    assert!(!mutated.windows.contains_key(REPEATED_OBJECT));
}

/// Conditional writes help only if removals name what was seen.
#[test]
fn blind_removals_are_found() {
    let target = Target {
        conditional: true,
        ..PLAIN
    };
    let budget = Budget {
        runs: 2,
        edits: 1,
        people: 2,
        ..RUNS
    };
    let right = Protocol::new(1, 2, budget, target);
    assert!(!explore(&right, MOST).windows.contains_key(REMOVAL_AMID));
    let mutated = explore(&right.with(Mutant::BlindRemovals), MOST);
    let trace = &mutated.windows[REMOVAL_AMID];
    println!("BlindRemovals: {mutated}\n{REMOVAL_AMID}\n{trace}");
}

/// What is found wrong with seats and this mistake.
fn found_in_office(mutant: seats::Mutant) -> String {
    explore_wrong(&format!("{mutant:?}"), &Office::new(2, 4, 0).with(mutant))
}

#[test]
fn seats_taken_outside_of_the_transaction_are_found() {
    let what = found_in_office(seats::Mutant::SeatsTakenApart);
    assert!(what.contains("the seat and the links of ada disagree"), "{what}");
}

#[test]
fn limits_checked_before_the_transaction_only_are_found() {
    let what = found_in_office(seats::Mutant::LimitsCheckedBefore);
    assert!(
        what.contains("a take exceeds the entitlement that it was shown"),
        "{what}"
    );
}

#[test]
fn links_read_before_seats_are_found() {
    let what = found_in_office(seats::Mutant::LinksReadFirst);
    assert!(what.contains("the seat and the links of ada disagree"), "{what}");
}

#[test]
fn kept_seats_that_are_not_written_again_are_found() {
    let what = found_in_office(seats::Mutant::SeatsNotWrittenAgain);
    assert!(what.contains("the seat and the links of ada disagree"), "{what}");
}

#[test]
fn a_queue_that_nobody_looks_at_is_found() {
    let what = found_in_office(seats::Mutant::QueueNotChecked);
    assert!(
        what.contains("somebody waits beside a seat that is free"),
        "{what}"
    );
}

#[test]
fn a_queue_read_after_links_is_found() {
    let what = found_in_office(seats::Mutant::QueueReadLast);
    assert!(
        what.contains("somebody waits beside a seat that is free"),
        "{what}"
    );
}

#[test]
fn a_wait_beside_the_seat_of_another_link_is_found() {
    let office = Office::new(2, 3, 1).with(seats::Mutant::SeatNotChecked);
    let what = explore_wrong("SeatNotChecked", &office);
    assert!(
        what.contains("somebody waits beside a seat that is free"),
        "{what}"
    );
}
