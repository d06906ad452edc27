//! One step of one run.

use usersync::model::Origin;
use usersync::reconcile::{Decision, Drift, Mode, Standing, Truth, decide};

use crate::explore::Finding;
use crate::judge;
use crate::protocol::{Mutant, Protocol, set_answer};
use crate::state::{
    Act, Answer, Author, Call, Hold, KEYS, Kind, Op, Phase, Row, Run, State, Todo, write_row,
};

/// A run that takes a step.
pub(crate) struct Going<'a> {
    protocol: &'a Protocol,
    before: &'a State,
    after: State,
    place: usize,
    run: Run,
    finding: Finding,
}

impl<'a> Going<'a> {
    pub(crate) fn new(protocol: &'a Protocol, before: &'a State, place: usize, run: Run) -> Self {
        Self {
            protocol,
            before,
            after: *before,
            place,
            run,
            finding: Finding::Nothing,
        }
    }

    /// What it does, what that shows, and where it leads; `None` while it waits for an answer.
    pub(crate) fn take(mut self) -> Option<(&'static str, (Finding, State))> {
        let what = match self.run.phase {
            Phase::ReadStore => self.read_store(),
            Phase::ReadTarget => self.read_target(),
            Phase::ConfirmRecovered => self.confirm_recovered(),
            Phase::Open => self.open(),
            Phase::SettleLedger => self.settle_ledger(),
            Phase::Begin => self.begin(),
            Phase::Send => self.send(),
            Phase::Wait => self.ask_or_confirm()?,
            Phase::Tell => self.tell(),
            Phase::Release => self.release(),
        };
        Some((what, (self.finding, self.after)))
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.protocol.mutant == Some(mutant)
    }

    /// Whether the store takes what the run writes.
    fn is_newest(&self) -> bool {
        self.run.token == self.before.lease.token && self.before.lease.hold != Hold::Released
    }

    fn next(&mut self, phase: Phase) {
        self.run.phase = phase;
        self.skip();
        self.after.runs[self.place] = Some(self.run);
    }

    /// Goes over phases in which there is nothing to do.
    fn skip(&mut self) {
        let late_intents = self.is(Mutant::IntentsAfterEffects);
        loop {
            let todo = &self.run.todo;
            let has_ops = self.run.ops().next().is_some();
            let phase = self.run.phase;
            self.run.phase = match phase {
                Phase::ConfirmRecovered if todo.iter().all(|todo| todo.recovered.is_none()) => Phase::Open,
                Phase::Open
                    if todo
                        .iter()
                        .all(|todo| todo.act == Act::Nothing && todo.obsolete.is_none()) =>
                {
                    Phase::Release
                }
                Phase::SettleLedger
                    if todo
                        .iter()
                        .all(|todo| !matches!(todo.act, Act::Claim | Act::Forget)) =>
                {
                    if late_intents {
                        Phase::Send
                    } else {
                        Phase::Begin
                    }
                }
                Phase::Begin | Phase::Send if !has_ops => Phase::Release,
                _ => break,
            };
        }
    }

    /// Ends as a run does whose transaction was refused: it lets go of its lease, which is not its own any more.
    fn end(&mut self, why: &'static str) -> &'static str {
        let _ = self.release();
        why
    }

    fn read_store(&mut self) -> &'static str {
        self.run.serial = self.before.serial;
        for key in 0..KEYS {
            let here = self.before.keys[key];
            self.run.todo[key].desired = here.desired;
            self.run.todo[key].row = here.row;
        }
        self.next(Phase::ReadTarget);
        "reads the directory and the store"
    }

    fn read_target(&mut self) -> &'static str {
        for key in 0..KEYS {
            let here = self.before.keys[key];
            let present = here.member.is_some();
            let mut todo = self.run.todo[key];
            let mut carried = None;
            let mut happened = false;
            if let Some(op) = here.intent {
                happened = present == (op.kind() == Kind::Add);
                if happened && !self.is(Mutant::UnreadJournal) {
                    let after = self.protocol.rows.after(op.kind(), todo.row, true);
                    todo.recovered = Some((op, todo.row));
                    todo.row = after;
                    todo.own = true;
                } else {
                    carried = Some(op);
                }
            }
            let act = match decided(todo.row, todo.desired, present) {
                Decision::Add | Decision::Restore => Some(Kind::Add),
                Decision::Remove => Some(Kind::Remove),
                Decision::Claim => {
                    todo.act = Act::Claim;
                    None
                }
                Decision::Forget | Decision::Release(_) => {
                    todo.act = Act::Forget;
                    None
                }
                _ => None,
            };
            if let Some(kind) = act {
                let goes_on = !here.overtaken || self.is(Mutant::RemovalsOfOthersGoneOnWith);
                let same = carried
                    .filter(|op| op.kind() == kind && goes_on && !self.is(Mutant::OwnIdForEachAttempt));
                todo.carried = same.is_some();
                todo.act = Act::Do(same.unwrap_or_else(|| Op::new(self.run.serial, key, kind)));
                if same.is_some() {
                    carried = None;
                }
                todo.unchanged = kind == Kind::Remove;
            }
            todo.obsolete = carried.map(|op| (op, happened));
            todo.desired = false;
            if todo.act == Act::Nothing {
                todo.row = None;
                todo.own = false;
            }
            todo.written &= todo.minds();
            self.run.todo[key] = todo;
        }
        self.next(Phase::ConfirmRecovered);
        "reads the target and plans"
    }

    fn confirm_recovered(&mut self) -> &'static str {
        if !self.is_newest() {
            return self.end("is refused, and ends");
        }
        let mut both = (0..KEYS).filter_map(|key| Some((key, self.run.todo[key].recovered?)));
        let (key, (op, before)) = both.next().expect("otherwise the phase is over");
        if self.is_as_read(key, before, false) {
            self.change_row(key, op, true);
            self.conclude(key, op, true);
        }
        let todo = &mut self.run.todo[key];
        todo.recovered = None;
        todo.written &= todo.minds();
        self.next(Phase::ConfirmRecovered);
        "confirms what an earlier run did"
    }

    fn open(&mut self) -> &'static str {
        if !self.is_newest() || self.before.serial != self.run.serial {
            return self.end("is refused, and ends");
        }
        self.after.serial += 1;
        for key in 0..KEYS {
            let Some((op, happened)) = self.run.todo[key].obsolete.take() else {
                continue;
            };
            let here = &mut self.after.keys[key];
            here.intent = None;
            self.after.ghost.ended.put(op);
            let is_its = here.member == Some(Author::Ours) && self.before.changed.has(op);
            let is_others = Row::has_other(here.row) && Row::is_ours(here.row);
            if !happened && op.kind() == Kind::Add && is_its && !is_others {
                // It came after the read that did not show it.
                here.member = Some(Author::Late { again: false });
                if !Row::is_ours(here.row) {
                    self.finding = judge::late_addition(false);
                }
            }
        }
        self.next(Phase::SettleLedger);
        "opens: the serial rises"
    }

    fn settle_ledger(&mut self) -> &'static str {
        if !self.is_newest() {
            return self.end("is refused, and ends");
        }
        for key in 0..KEYS {
            let todo = self.run.todo[key];
            if !matches!(todo.act, Act::Claim | Act::Forget) {
                continue;
            }
            let is_as_read = self.is_as_read(key, todo.row, todo.own);
            self.run.todo[key] = Todo::NOTHING;
            if is_as_read {
                let after = match todo.act {
                    Act::Claim => self.protocol.rows.claimed(todo.row),
                    _ => self.protocol.rows.released(todo.row),
                };
                self.set_row(key, after);
            }
        }
        let late = self.is(Mutant::IntentsAfterEffects);
        self.next(if late { Phase::Send } else { Phase::Begin });
        "settles the ledger"
    }

    fn begin(&mut self) -> &'static str {
        if !self.is_newest() {
            return self.end("is refused, and ends");
        }
        for (key, op) in self.run.ops() {
            let here = self.before.keys[key];
            let todo = self.run.todo[key];
            if !self.is_as_read(key, todo.row, todo.own) && !self.is(Mutant::UncheckedRows) {
                self.run.todo[key] = Todo::NOTHING;
                continue;
            }
            if here.intent.is_some_and(|open| open != op) {
                self.finding = Finding::Wrong("an open intent is written over");
            }
            if op.kind() == Kind::Remove && (!Row::in_base(here.row) || Row::has_other(here.row)) {
                self.finding = Finding::Wrong("what is begun to be removed is not ours alone");
            }
            self.after.keys[key].intent = Some(op);
            self.after.keys[key].overtaken = false;
            // A removal asks once more whether anybody wrote the row, and from now on it knows up to which write it is the one there is.
            let by_value = todo.own && op.kind() == Kind::Remove && self.is(Mutant::OwnRowsByValue);
            self.run.todo[key].row = todo.row.filter(|_| by_value);
            self.run.todo[key].own = by_value;
        }
        let late = self.is(Mutant::IntentsAfterEffects);
        self.next(if late { Phase::Wait } else { Phase::Send });
        "begins: its intents are durable"
    }

    fn send(&mut self) -> &'static str {
        let checks = !self.is(Mutant::LeaseCheckedAtTheStart);
        if checks && !self.is_newest() {
            return self.end("finds its lease lost, and ends");
        }
        if checks && self.before.lease.hold == Hold::Expired {
            self.after.lease.hold = Hold::Held;
            self.after.runs[self.place] = Some(self.run);
            return "renews its lease";
        }
        if !self.is_newest() {
            self.finding = Finding::Wrong("a run that lost its lease begins a call");
        }
        for (key, op) in self.run.ops() {
            let call = Call {
                op,
                token: self.run.token,
                unchanged: self.run.todo[key].unchanged,
            };
            self.run.todo[key].unchanged = false;
            let free = self.after.calls.iter().position(Option::is_none);
            // Where more calls are on their way than there is room for, this one is lost.
            if let Some(place) = free {
                self.after.calls[place] = Some(call);
            }
        }
        let late = self.is(Mutant::IntentsAfterEffects);
        self.next(if late { Phase::Begin } else { Phase::Wait });
        "sends its calls"
    }

    /// Asks the target about one call, or records what became of all.
    fn ask_or_confirm(&mut self) -> Option<&'static str> {
        let answers = self
            .run
            .ops()
            .map(|(key, op)| (key, op, self.run.todo[key].answer));
        let to_ask = |(key, op, answer)| match answer {
            Answer::ToAsk { unknown } => Some((key, op, unknown)),
            _ => None,
        };
        if let Some((key, op, unknown)) = answers.clone().find_map(to_ask) {
            let happened = self.before.keys[key].member.is_some() == (op.kind() == Kind::Add);
            let ours = unknown || self.run.todo[key].carried;
            let answer = match (self.protocol.target.point_read && happened, unknown) {
                (true, _) => Answer::Done { changed: ours, ours },
                (false, true) => Answer::Unknown,
                (false, false) => Answer::Not,
            };
            set_answer(&mut self.after, self.place, key, answer);
            return Some("asks the target");
        }
        let is_failed = |(_, _, answer)| answer == Answer::Not;
        if self.is(Mutant::StoppedByAFailure) && answers.clone().any(is_failed) {
            return Some(self.confirm());
        }
        if answers.clone().any(|(_, _, answer)| answer == Answer::Awaited) {
            return None;
        }
        Some(self.confirm())
    }

    fn confirm(&mut self) -> &'static str {
        if !self.is_newest() && !self.is(Mutant::UnfencedConfirmation) {
            return self.end("is refused, and ends");
        }
        if !self.is_newest() {
            self.finding = Finding::Wrong("a run that lost its lease writes");
        }
        let mut next = Phase::Release;
        for (key, op) in self.run.ops() {
            let todo = self.run.todo[key];
            match todo.answer {
                Answer::Done { changed, ours } => {
                    let ours = ours || todo.carried;
                    if !self.may_be_back(key, op) {
                        self.change_row(key, op, ours);
                    }
                    self.conclude(key, op, changed || ours);
                }
                Answer::Not if !todo.carried => self.conclude(key, op, false),
                Answer::Not | Answer::Unknown => {}
                Answer::Awaited | Answer::ToAsk { .. } => {
                    self.finding = Finding::Wrong("an operation has no outcome");
                }
            }
            if self.after.ghost.owed.has(op) {
                next = Phase::Tell;
            }
        }
        if next == Phase::Release {
            self.run.todo = [Todo::NOTHING; KEYS];
        }
        self.next(next);
        "confirms"
    }

    /// Ends an intent, and tells of it if it was applied.
    fn conclude(&mut self, key: usize, op: Op, applied: bool) {
        if self.after.keys[key].intent == Some(op) {
            self.after.keys[key].intent = None;
        }
        self.after.ghost.ended.put(op);
        if !applied {
            return;
        }
        if self.is(Mutant::ToldApart) {
            self.after.ghost.owed.put(op);
        } else if self.before.ghost.told.has(op) {
            self.finding = Finding::Wrong("somebody is told twice of one operation");
        } else {
            self.after.ghost.told.put(op);
        }
    }

    fn tell(&mut self) -> &'static str {
        for (_, op) in self.run.ops() {
            self.after.ghost.owed.drop(op);
        }
        self.run.todo = [Todo::NOTHING; KEYS];
        self.next(Phase::Release);
        "tells of it"
    }

    fn release(&mut self) -> &'static str {
        if self.run.token == self.before.lease.token {
            self.after.lease.hold = Hold::Released;
        } else if self.is(Mutant::ReleaseOfWhatIsNotHeld) && self.before.lease.hold == Hold::Held {
            self.after.lease.hold = Hold::Released;
            self.finding = Finding::Wrong("a run that lost its lease ends that of another");
        }
        self.after.runs[self.place] = None;
        "releases its lease"
    }

    /// Whether the store takes it that the row of a key is `row`, as the run knows it.
    fn is_as_read(&self, key: usize, row: Option<Row>, own: bool) -> bool {
        let by_value = own || row.is_none() || self.is(Mutant::RowsComparedByValue);
        self.before.keys[key].row == row && (by_value || !self.run.todo[key].written)
    }

    /// Whether who was taken out may be there again, since somebody wrote the row meanwhile: then the last claim stays.
    fn may_be_back(&self, key: usize, op: Op) -> bool {
        let (here, todo) = (self.before.keys[key], self.run.todo[key]);
        let is_contested = if todo.own {
            here.row != todo.row
        } else {
            todo.written
        };
        op.kind() == Kind::Remove
            && is_contested
            && self.protocol.rows.released(here.row).is_none()
            && !self.is(Mutant::ContestedRowsForgotten)
    }

    /// The row after an operation; the row before is the one there is, since the transaction is repeated until it is.
    fn change_row(&mut self, key: usize, op: Op, ours: bool) {
        let before = self.before.keys[key].row;
        let after = self.protocol.rows.after(op.kind(), before, ours);
        self.set_row(key, after);
    }

    /// Sets a row, and notes what that says of the member there is.
    fn set_row(&mut self, key: usize, row: Option<Row>) {
        let was = Row::is_ours(self.after.keys[key].row);
        let is = Row::is_ours(row);
        write_row(&mut self.after, key, row);
        let here = &mut self.after.keys[key];
        match here.member {
            Some(Author::Person) if is && !was => {
                here.member = Some(Author::Readded);
                self.finding = Finding::Window(judge::TAKEN_FOR_OURS);
            }
            Some(Author::Late { .. }) if is && !was => here.member = Some(Author::Ours),
            Some(Author::Readded) if was && !is => here.member = Some(Author::Person),
            Some(Author::Late { again }) if was && !is => self.finding = judge::late_addition(again),
            Some(Author::Ours) if was && !is => {
                self.finding = Finding::Wrong("what is ours is forgotten while it is there");
            }
            Some(Author::Ours) if !is => {
                self.finding = Finding::Wrong("what we added counts as somebody else's");
            }
            _ => {}
        }
    }
}

fn decided(row: Option<Row>, desired: bool, present: bool) -> Decision {
    let standing = Standing {
        claimed: row.is_some_and(|row| row.claimed),
        origin: row.map(|row| if row.ours { Origin::Ours } else { Origin::Foreign }),
        others: Row::has_other(row),
    };
    decide(
        Mode::Managed,
        Drift::Restore,
        standing,
        Truth::from(desired),
        Truth::from(present),
    )
}
