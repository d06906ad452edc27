//! The protocol by which runs of one job share a lease, a journal and a target.
//!
//! | step of the model | the engine |
//! |---|---|
//! | a run takes the lease | `Engine::lease` (`run/mod.rs`) |
//! | it reads the store, it reads the target | `make_plan` (`preview.rs`), `survey` |
//! | what it finds out of open intents | `recover` (`recover.rs`), whose rows are those of [`Rows`] |
//! | whether a row is the one that was read | `RowBefore::check` (`ground.rs`): by its revision, but for what the run wrote itself |
//! | what it decides | `decide` of usersync-reconcile itself |
//! | it confirms what an earlier run did | `Engine::confirm_recovered` (`run/carry_out.rs`) |
//! | it opens: the serial rises, what is not wanted any more is let go | `Engine::open`, `Recovery::obsolete` |
//! | it settles the ledger | `Applier::settle_ledger` (`apply/mod.rs`) |
//! | it begins: intents | `Applier::begin` |
//! | it sends its calls, or renews, or ends | `Applier::attempt` (`apply/effects.rs`), under `keep_lease_while` (`keep.rs`) |
//! | an answer comes, does not come, is asked for | `Applier::judge`, `Target::happened` (`apply/target.rs`) |
//! | it confirms | `Applier::confirm`, `stays_open` (`apply/confirm.rs`) |
//! | it releases the lease | `Engine::end_lease` |

use std::cell::RefCell;
use std::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use usersync::model::{JobId, LedgerRow, Origin};

use crate::explore::{Finding, Model, Step};
use crate::going::Going;
use crate::judge;
use crate::state::{
    Answer, Author, Budget, Call, Ghost, Hold, KEYS, Key, Kind, Lease, Op, Ops, Phase, Row, Run, State, name,
    write_row,
};

/// What may happen, in what world.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    keys: usize,
    /// How many runs are under way at once: workers, each of which may have been stopped.
    workers: usize,
    budget: Budget,
    pub(crate) target: Target,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) rows: Rows,
    /// What was seen to settle.
    pub(crate) settled: RefCell<HashSet<State, FixedState>>,
}

/// What the target offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) conditional: bool,
    pub(crate) idempotent: bool,
    pub(crate) point_read: bool,
    /// Each addition makes an object of its own, also beside one that is there.
    pub(crate) collects: bool,
}

/// A protocol with a mistake in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Removals do not name the version that was seen.
    BlindRemovals,
    /// A run that goes on past its lease does not ask whether it still has it.
    LeaseCheckedAtTheStart,
    /// What earlier runs began is let go of unseen.
    UnreadJournal,
    /// A run that lost its lease ends that of another.
    ReleaseOfWhatIsNotHeld,
    /// A failed operation ends the batch.
    StoppedByAFailure,
    /// Intents are written once the effects are on their way.
    IntentsAfterEffects,
    /// Each attempt has an id of its own.
    OwnIdForEachAttempt,
    /// Notifications are written after the confirmation.
    ToldApart,
    /// A removal is gone on with under its id, whoever wrote the row since.
    RemovalsOfOthersGoneOnWith,
    /// What the target does not answer counts as failed.
    UnansweredIsFailed,
    /// Who takes a member out forgets the claim, whoever wrote the row meanwhile.
    ContestedRowsForgotten,
    /// Who takes a member out by a row that the run itself wrote asks for what it says, and not for when it was written.
    OwnRowsByValue,
    /// Ledger rows are checked by what they say, and not by when they were written.
    RowsComparedByValue,
    /// Intents do not check the ledger rows that the plan rests on.
    UncheckedRows,
    /// Confirmations do not show their token.
    UnfencedConfirmation,
}

/// What a ledger row becomes, as `LedgerRow` has it.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    job: JobId,
    other: JobId,
}

/// What is done in a step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    Acquires(u8),
    Arrives(Op, &'static str),
    Crashes(u8),
    Desired(usize, bool),
    Expires,
    OtherAdds(usize),
    OtherClaims(usize),
    OtherReleases(usize),
    PersonAdds(usize),
    PersonRemoves(usize),
    Run(u8, &'static str),
    Unanswered(u8, Op),
}

impl Default for Rows {
    fn default() -> Self {
        let id = |name| JobId::new(name).expect("an id");
        Self {
            job: id("sync"),
            other: id("other"),
        }
    }
}

impl Rows {
    fn real(&self, row: Option<Row>) -> Option<LedgerRow> {
        let row = row?;
        let origin = if row.ours { Origin::Ours } else { Origin::Foreign };
        let claims = [(row.claimed, &self.job), (row.other, &self.other)];
        let claims = claims.into_iter().filter(|(claims, _)| *claims);
        Some(LedgerRow::new(origin, claims.map(|(_, job)| job.clone())))
    }

    fn small(&self, row: Option<LedgerRow>) -> Option<Row> {
        row.map(|row| Row {
            ours: row.origin == Origin::Ours,
            claimed: row.is_claimed_by(&self.job),
            other: row.is_claimed_beside(&self.job),
        })
    }

    /// As `row_after` of the engine's `recover.rs`.
    pub(crate) fn after(&self, kind: Kind, row: Option<Row>, ours: bool) -> Option<Row> {
        match kind {
            Kind::Add => {
                let mut row = self.claimed(row);
                if ours {
                    row = row.map(|row| Row { ours: true, ..row });
                }
                row
            }
            Kind::Remove => self.released(row),
        }
    }

    pub(crate) fn claimed(&self, row: Option<Row>) -> Option<Row> {
        self.claimed_by(row, &self.job)
    }

    fn claimed_by(&self, row: Option<Row>, job: &JobId) -> Option<Row> {
        let row = self
            .real(row)
            .unwrap_or_else(|| LedgerRow::new(Origin::Foreign, []));
        self.small(Some(row.claimed(job)))
    }

    pub(crate) fn released(&self, row: Option<Row>) -> Option<Row> {
        self.released_by(row, &self.job)
    }

    fn released_by(&self, row: Option<Row>, job: &JobId) -> Option<Row> {
        self.small(self.real(row).and_then(|row| row.released(job)))
    }
}

impl Model for Protocol {
    type State = State;
    type Label = Label;

    fn first(&self) -> State {
        let mut keys = [Key::default(); KEYS];
        keys[..self.keys].iter_mut().for_each(|key| key.desired = true);
        State {
            lease: Lease {
                token: 0,
                hold: Hold::Released,
            },
            serial: 0,
            keys,
            calls: [None; _],
            runs: [None; _],
            left: self.budget,
            executed: Ops::default(),
            changed: Ops::default(),
            ghost: Ghost::default(),
        }
    }

    fn steps(&self, state: &State, onward: &mut dyn FnMut(Step<Label>, State)) {
        let mut tell = |label, (finding, state): (Finding, State)| {
            onward(Step { label, finding }, state.canonical());
        };
        self.world(state, &mut tell);
        for place in 0..state.calls.len() {
            let Some(call) = state.calls[place] else { continue };
            self.arrivals(state, place, call, &mut tell);
        }
        for place in 0..state.runs.len() {
            let Some(run) = state.runs[place] else { continue };
            self.answers(state, place, run, &mut tell);
            if let Some((what, after)) = self.go_on(state, place) {
                tell(Label::Run(run.token, what), after);
            }
            let mut after = *state;
            after.runs[place] = None;
            tell(Label::Crashes(run.token), (Finding::Nothing, after));
        }
    }

    fn check(&self, state: &State) -> Result<(), String> {
        judge::settles(self, state)
    }
}

impl Protocol {
    /// Of so many memberships, by so many workers at once.
    pub(crate) fn new(keys: usize, workers: usize, budget: Budget, target: Target) -> Self {
        Self {
            keys,
            workers,
            budget,
            target,
            mutant: None,
            rows: Rows::default(),
            settled: RefCell::default(),
        }
    }

    /// The same with a mistake in it.
    pub(crate) fn with(self, mutant: Mutant) -> Self {
        Self {
            mutant: Some(mutant),
            settled: RefCell::default(),
            ..self
        }
    }

    /// What happens beside the runs.
    fn world(&self, state: &State, tell: &mut dyn FnMut(Label, (Finding, State))) {
        let free = state.runs[..self.workers].iter().position(Option::is_none);
        if let Some(place) = free
            && state.left.runs > 0
            && state.lease.hold != Hold::Held
        {
            let mut after = *state;
            after.left.runs -= 1;
            self.acquire(&mut after, place);
            tell(Label::Acquires(after.lease.token), (Finding::Nothing, after));
        }
        if state.lease.hold == Hold::Held {
            let mut after = *state;
            after.lease.hold = Hold::Expired;
            tell(Label::Expires, (Finding::Nothing, after));
        }
        for key in 0..self.keys {
            let here = state.keys[key];
            if state.left.edits > 0 {
                let mut after = *state;
                after.left.edits -= 1;
                after.keys[key].desired = !here.desired;
                tell(Label::Desired(key, !here.desired), (Finding::Nothing, after));
            }
            if state.left.people > 0 {
                let mut after = *state;
                after.left.people -= 1;
                let (label, member) = match here.member {
                    Some(_) => (Label::PersonRemoves(key), None),
                    None if Row::is_ours(here.row) => (Label::PersonAdds(key), Some(Author::Readded)),
                    None => (Label::PersonAdds(key), Some(Author::Person)),
                };
                after.keys[key].twice = false;
                set_member(&mut after, key, member);
                tell(label, (Finding::Nothing, after));
            }
            if state.left.others > 0 {
                let mut after = *state;
                after.left.others -= 1;
                let label = self.other_job(&mut after, key);
                tell(label, (Finding::Nothing, after));
            }
        }
    }

    /// Another job claims who is there, adds who is not, or gives its claim up: then it takes out what is ours and nobody else's.
    fn other_job(&self, after: &mut State, key: usize) -> Label {
        let here = after.keys[key];
        if Row::has_other(here.row) {
            let row = self.rows.released_by(here.row, &self.rows.other);
            write_row(after, key, row);
            if row.is_none() && Row::is_ours(here.row) {
                after.keys[key].twice = false;
                set_member(after, key, None);
            }
            return Label::OtherReleases(key);
        }
        let claimed = self.rows.claimed_by(here.row, &self.rows.other);
        if here.member.is_some() {
            write_row(after, key, claimed);
            return Label::OtherClaims(key);
        }
        write_row(after, key, claimed.map(|row| Row { ours: true, ..row }));
        set_member(after, key, Some(Author::Ours));
        Label::OtherAdds(key)
    }

    pub(crate) fn acquire(&self, state: &mut State, place: usize) {
        state.lease = Lease {
            token: state.lease.token + 1,
            hold: Hold::Held,
        };
        state.runs[place] = Some(Run::new(state.lease.token));
    }

    /// What becomes of a call on its way.
    fn arrivals(
        &self,
        state: &State,
        place: usize,
        call: Call,
        tell: &mut dyn FnMut(Label, (Finding, State)),
    ) {
        let mut gone = *state;
        gone.calls[place] = None;
        let waits = awaits(state, call);
        if state.left.refusals > 0 && waits {
            let mut after = gone;
            after.left.refusals -= 1;
            answer(&mut after, call, Answer::Not);
            tell(Label::Arrives(call.op, "is refused"), (Finding::Nothing, after));
        }
        let (finding, arrived, reply) = self.arrive(&gone, call);
        tell(
            Label::Arrives(call.op, "arrives, and its answer is lost"),
            (finding, arrived),
        );
        if waits {
            let mut after = arrived;
            answer(&mut after, call, reply);
            tell(
                Label::Arrives(call.op, "arrives and is answered"),
                (finding, after),
            );
        }
        if state.left.repeats > 0 {
            let mut after = arrived;
            after.left.repeats -= 1;
            // Nobody waits for the answer to a repetition.
            after.calls[place] = Some(Call {
                token: 0,
                unchanged: call.unchanged && arrived.keys[call.op.key()] == state.keys[call.op.key()],
                ..call
            });
            let mut answered = after;
            tell(
                Label::Arrives(call.op, "arrives, and is on its way once more"),
                (finding, after),
            );
            if waits {
                answer(&mut answered, call, reply);
                tell(
                    Label::Arrives(call.op, "arrives and is answered, and is on its way once more"),
                    (finding, answered),
                );
            }
        }
    }

    /// The effect of a call, and what the target answers.
    pub(crate) fn arrive(&self, state: &State, call: Call) -> (Finding, State, Answer) {
        let mut after = *state;
        let (key, kind) = (call.op.key(), call.op.kind());
        let here = state.keys[key];
        // A repetition is late whenever it comes.
        let is_late = state.ghost.ended.has(call.op) || call.token == 0;
        if !is_late && here.intent != Some(call.op) {
            let wrong = Finding::Wrong("an effect comes without a durable intent");
            return (wrong, after, Answer::Not);
        }
        let again = state.executed.has(call.op);
        let done = |changed| Answer::Done {
            changed,
            ours: changed,
        };
        if self.target.idempotent && again {
            return (Finding::Nothing, after, done(state.changed.has(call.op)));
        }
        let is_as_seen = match kind {
            Kind::Add => here.member.is_none(),
            Kind::Remove => call.unchanged,
        };
        if self.target.conditional && !is_as_seen && self.mutant != Some(Mutant::BlindRemovals) {
            return (Finding::Nothing, after, Answer::ToAsk { unknown: false });
        }
        let mut finding = Finding::Nothing;
        let changed = match (kind, here.member) {
            (Kind::Add, None) => {
                let author = if is_late {
                    Author::Late { again }
                } else {
                    Author::Ours
                };
                if is_late && !Row::is_ours(here.row) {
                    finding = judge::late_addition(again);
                }
                set_member(&mut after, key, Some(author));
                true
            }
            (Kind::Add, Some(_)) if self.target.collects => {
                finding = judge::second_object(again);
                after.keys[key].twice = true;
                true
            }
            (Kind::Remove, Some(author)) => {
                finding = judge::removal(is_late, again, call.unchanged, author);
                after.keys[key].twice = false;
                set_member(&mut after, key, None);
                true
            }
            (Kind::Add, Some(_)) | (Kind::Remove, None) => false,
        };
        after.executed.put(call.op);
        if changed {
            after.changed.put(call.op);
        }
        (finding, after, done(changed))
    }

    /// Answers that do not come.
    fn answers(&self, state: &State, place: usize, run: Run, tell: &mut dyn FnMut(Label, (Finding, State))) {
        if run.phase != Phase::Wait {
            return;
        }
        for (key, op) in run.ops() {
            if run.todo[key].answer == Answer::Awaited {
                let mut after = *state;
                let answer = match (self.mutant, self.target.point_read) {
                    (Some(Mutant::UnansweredIsFailed), _) => Answer::Not,
                    (_, true) => Answer::ToAsk { unknown: true },
                    (_, false) => Answer::Unknown,
                };
                set_answer(&mut after, place, key, answer);
                tell(Label::Unanswered(run.token, op), (Finding::Nothing, after));
            }
        }
    }

    /// The next step of a run; `None` while it waits.
    pub(crate) fn go_on(&self, state: &State, place: usize) -> Option<(&'static str, (Finding, State))> {
        let run = state.runs[place]?;
        Going::new(self, state, place, run).take()
    }
}

/// A member comes or goes: no version that was seen before is the one there is.
fn set_member(state: &mut State, key: usize, member: Option<Author>) {
    state.keys[key].member = member;
    for call in state.calls.iter_mut().flatten() {
        call.unchanged &= call.op.key() != key;
    }
    for run in state.runs.iter_mut().flatten() {
        run.todo[key].unchanged = false;
    }
}

/// Whether a run waits for the answer to this call.
fn awaits(state: &State, call: Call) -> bool {
    let run = state.runs.iter().flatten().find(|run| run.token == call.token);
    run.is_some_and(|run| run.phase == Phase::Wait && run.todo[call.op.key()].answer == Answer::Awaited)
}

pub(crate) fn answer(state: &mut State, call: Call, answer: Answer) {
    let place = state
        .runs
        .iter()
        .position(|run| run.is_some_and(|run| run.token == call.token));
    if let Some(place) = place {
        set_answer(state, place, call.op.key(), answer);
    }
}

pub(crate) fn set_answer(state: &mut State, place: usize, key: usize, answer: Answer) {
    if let Some(run) = &mut state.runs[place] {
        run.todo[key].answer = answer;
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offers = [
            (self.conditional, "conditional writes"),
            (self.idempotent, "idempotency keys"),
            (self.point_read, "point reads"),
        ];
        let offers: Vec<_> = offers.into_iter().filter(|(offers, _)| *offers).collect();
        match &offers[..] {
            [] => f.write_str("a target that offers nothing"),
            offers => {
                let names: Vec<_> = offers.iter().map(|(_, name)| *name).collect();
                write!(f, "a target with {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquires(token) => write!(f, "run {token} takes the lease"),
            Self::Arrives(op, how) => write!(f, "the call of {op}, {how}"),
            Self::Crashes(token) => write!(f, "the worker of run {token} dies"),
            Self::Desired(key, true) => write!(f, "{} is desired", name(*key)),
            Self::Desired(key, false) => write!(f, "{} is desired no longer", name(*key)),
            Self::Expires => f.write_str("the lease runs out"),
            Self::OtherAdds(key) => write!(f, "another job adds {}", name(*key)),
            Self::OtherClaims(key) => write!(f, "another job claims {}", name(*key)),
            Self::OtherReleases(key) => write!(f, "another job gives its claim on {} up", name(*key)),
            Self::PersonAdds(key) => write!(f, "a person adds {}", name(*key)),
            Self::PersonRemoves(key) => write!(f, "a person removes {}", name(*key)),
            Self::Run(token, what) => write!(f, "run {token} {what}"),
            Self::Unanswered(token, op) => write!(f, "run {token} gets no answer for {op}"),
        }
    }
}
