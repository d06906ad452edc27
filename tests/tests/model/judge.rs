//! What has to hold in every state, and what may happen that cannot be helped.
//!
//! A *window* is something that a person or a late call can bring about and no journal can prevent. The tests name the windows
//! that each kind of target leaves open, and find that there are no others.

use crate::explore::Finding;
use crate::protocol::{Label, Protocol, answer};
use crate::state::{Author, Budget, Hold, KEYS, Lease, Ops, Row, State};

/// An addition comes when its operation is over, and stays as a member whom no row knows.
pub(crate) const LATE_ADDITION: &str = "an addition that was let go of comes, and stays as nobody's";
pub(crate) const REPEATED_ADDITION: &str = "an addition comes once more, and stays as nobody's";
/// A removal comes when its operation is over, and takes whom the plan saw, and who is desired again: the next run restores it.
pub(crate) const LATE_REMOVAL: &str = "a removal that was let go of comes, and takes who is desired again";
/// It takes what somebody put there since the plan: a person or a run.
pub(crate) const LATE_REMOVAL_OF_ANOTHER: &str =
    "a removal that was let go of comes, and takes what was added since";
pub(crate) const REPEATED_REMOVAL: &str = "a removal comes once more, and takes what was added since";
/// A person takes somebody out and in again between the plan and its effect, and the effect is as if they had not.
pub(crate) const REMOVAL_AMID: &str = "a removal takes what a person added after the plan";
/// Where additions make objects: there are two.
pub(crate) const SECOND_OBJECT: &str = "an addition that was let go of makes a second object";
pub(crate) const REPEATED_OBJECT: &str = "an addition comes once more, and makes a second object";
/// A person adds whom we are adding, before it is known what became of that: nobody can tell who it was.
pub(crate) const TAKEN_FOR_OURS: &str = "what a person added meanwhile counts as ours";

/// How many runs it takes at most until nothing is left to do.
const RUNS: usize = 3;

/// What is to be said about an addition whose operation is over.
pub(crate) fn late_addition(again: bool) -> Finding {
    Finding::Window(if again { REPEATED_ADDITION } else { LATE_ADDITION })
}

/// What is to be said about an addition beside what is there.
pub(crate) fn second_object(again: bool) -> Finding {
    Finding::Window(if again { REPEATED_OBJECT } else { SECOND_OBJECT })
}

/// What is to be said about a removal of what is there.
pub(crate) fn removal(is_late: bool, again: bool, is_unchanged: bool, author: Author) -> Finding {
    match (author, is_late) {
        (Author::Late { .. }, _) => Finding::Nothing,
        (_, true) if is_unchanged => Finding::Window(LATE_REMOVAL),
        (_, true) if again => Finding::Window(REPEATED_REMOVAL),
        (_, true) => Finding::Window(LATE_REMOVAL_OF_ANOTHER),
        (Author::Person, false) => Finding::Wrong("what a person added is removed"),
        (Author::Readded, false) if !is_unchanged => Finding::Window(REMOVAL_AMID),
        // What a person added where the ledger says ours, before the plan, counts as ours.
        (Author::Ours | Author::Readded, false) => Finding::Nothing,
    }
}

/// Whether the runs that follow, when all workers die in this state, come to the one end there may be: who is desired is there,
/// and ours if we added them; what we added and is not desired is gone; what others added stays; nothing is open.
///
/// # Errors
/// What is not so.
pub(crate) fn settles(protocol: &Protocol, from: &State) -> Result<(), String> {
    let mut state = left_behind(from);
    if !protocol.settled.borrow_mut().insert(state) {
        return Ok(());
    }
    let mut told = Vec::new();
    come_to_an_end(protocol, &mut state, &mut told).map_err(|what| {
        let told: String = told.iter().map(|label| format!("  then {label}\n")).collect();
        format!("when all workers die in the end, {what}\n{told}  after this:")
    })
}

fn come_to_an_end(protocol: &Protocol, state: &mut State, told: &mut Vec<Label>) -> Result<(), String> {
    let from = *state;
    let mut settled = None;
    for _ in 0..=RUNS {
        let before = state.keys;
        run(protocol, state, told)?;
        if before == state.keys {
            settled = Some(*state);
            break;
        }
    }
    let Some(settled) = settled else {
        return Err(format!("{RUNS} runs do not come to an end"));
    };
    if settled.ghost.owed != Ops::default() {
        return Err("nobody is told of an operation that was applied".to_owned());
    }
    for key in 0..KEYS {
        let (was, is) = (from.keys[key], settled.keys[key]);
        let wanted = is.desired || Row::has_other(is.row);
        let ours = matches!(is.member, Some(Author::Ours | Author::Readded));
        let fault = match is.member {
            _ if is.intent.is_some() => Some("an intent stays open"),
            None if is.desired => Some("who is desired is missing"),
            Some(_) if !wanted && ours => Some("what we added stays though nobody desires it"),
            Some(Author::Ours) if !Row::is_ours(is.row) => Some("what we added counts as somebody else's"),
            Some(Author::Person) if Row::is_ours(is.row) => Some("what a person added counts as ours"),
            _ if is.desired && !is.row.is_some_and(|row| row.claimed) => {
                Some("what is desired is not claimed")
            }
            _ if !is.desired && is.row.is_some_and(|row| row.claimed) => {
                Some("what is not desired is claimed")
            }
            // While an intent is open, nobody can tell who was first.
            None if was.member == Some(Author::Person) && was.intent.is_none() => {
                Some("what a person added is gone")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(format!("{fault}: {is:?}"));
        }
    }
    Ok(())
}

/// What is left when all workers die, and what is on its way comes to nothing.
fn left_behind(state: &State) -> State {
    let left = State {
        lease: Lease {
            token: 0,
            hold: Hold::Released,
        },
        calls: [None; _],
        runs: [None; _],
        left: Budget::default(),
        ..*state
    };
    left.canonical()
}

/// One run from its beginning to its end, alone, with a target that answers at once.
fn run(protocol: &Protocol, state: &mut State, told: &mut Vec<Label>) -> Result<(), String> {
    protocol.acquire(state, 0);
    let token = state.lease.token;
    told.push(Label::Acquires(token));
    while state.runs[0].is_some() {
        let call = state
            .calls
            .iter()
            .position(Option::is_some)
            .and_then(|place| Some((place, state.calls[place]?)));
        let finding = match call {
            Some((place, call)) => {
                state.calls[place] = None;
                let (finding, arrived, reply) = protocol.arrive(state, call);
                told.push(Label::Arrives(call.op, "arrives and is answered"));
                *state = arrived;
                answer(state, call, reply);
                finding
            }
            None => match protocol.go_on(state, 0) {
                Some((what, (finding, after))) => {
                    told.push(Label::Run(token, what));
                    *state = after;
                    finding
                }
                None => return Err("a run waits for ever".to_owned()),
            },
        };
        if let Finding::Wrong(what) = finding {
            return Err(what.to_owned());
        }
    }
    Ok(())
}
