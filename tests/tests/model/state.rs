//! What a state of the model of runs is made of: small, and equal wherever nothing tells two states apart.

use std::fmt;

/// How many memberships there are at most.
pub(crate) const KEYS: usize = 2;
/// How many runs are under way at once at most, and how many calls.
pub(crate) const ALIVE: usize = 3;
pub(crate) const CALLS: usize = 4;

/// The store, the target, the workers and what is on its way between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) lease: Lease,
    /// Of the job's state.
    pub(crate) serial: u8,
    pub(crate) keys: [Key; KEYS],
    /// Sorted.
    pub(crate) calls: [Option<Call>; CALLS],
    /// Sorted: workers are all alike.
    pub(crate) runs: [Option<Run>; ALIVE],
    pub(crate) left: Budget,
    /// The operations that came to the target, and those of them that changed something.
    pub(crate) executed: Ops,
    pub(crate) changed: Ops,
    pub(crate) ghost: Ghost,
}

/// What nobody in the model knows, and only the judge looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ghost {
    /// Operations whose intents came to an end.
    pub(crate) ended: Ops,
    /// Operations that somebody was told of.
    pub(crate) told: Ops,
    /// Operations that were confirmed as applied, and of which nobody was told.
    pub(crate) owed: Ops,
}

/// What may still happen that does not happen by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Budget {
    /// Runs that begin.
    pub(crate) runs: u8,
    /// Changes of the directory: somebody is desired, or not any more.
    pub(crate) edits: u8,
    /// Members that a person adds or removes at the target.
    pub(crate) people: u8,
    /// What another job does: it claims a member, adds one, or gives its claim up.
    pub(crate) others: u8,
    /// Calls that the target refuses.
    pub(crate) refusals: u8,
    /// Calls that arrive a second time.
    pub(crate) repeats: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) token: u8,
    pub(crate) hold: Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hold {
    /// Nobody took it over yet.
    Expired,
    Held,
    Released,
}

/// One membership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) desired: bool,
    pub(crate) row: Option<Row>,
    /// The open intent.
    pub(crate) intent: Option<Op>,
    /// Whether that is a removal, and somebody wrote the row since.
    pub(crate) overtaken: bool,
    pub(crate) member: Option<Author>,
    /// Where each addition makes an object of its own: there are two.
    pub(crate) twice: bool,
}

/// Who put the member there that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Author {
    /// A call of ours, after its intent had come to its end; `again` tells whether it had come before, too.
    Late { again: bool },
    /// A call of ours.
    Ours,
    /// A person, while nothing told that it is ours.
    Person,
    /// A person, while the ledger said that it is ours: nobody can tell it from what was there before.
    Readded,
}

/// A ledger row, as seen by the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Row {
    pub(crate) ours: bool,
    pub(crate) claimed: bool,
    /// Another job claims it.
    pub(crate) other: bool,
}

/// An operation id: what it is derived from, so that equal plans of one state of the job name it alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Op(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Add,
    Remove,
}

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ops(u64);

/// A call on its way to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Call {
    pub(crate) op: Op,
    /// Which run waits for the answer.
    pub(crate) token: u8,
    /// Whether the member still is in the version that the call names.
    pub(crate) unchanged: bool,
}

/// A run under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run {
    pub(crate) token: u8,
    pub(crate) phase: Phase,
    pub(crate) serial: u8,
    pub(crate) todo: [Todo; KEYS],
}

/// What a run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    ReadStore,
    ReadTarget,
    ConfirmRecovered,
    Open,
    SettleLedger,
    Begin,
    Send,
    Wait,
    /// Only of a mutant.
    Tell,
    Release,
}

/// What a run knows of one membership, and does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Todo {
    pub(crate) desired: bool,
    /// The row that the plan rests on.
    pub(crate) row: Option<Row>,
    /// Whether anybody else wrote the row since it was read: its revision is higher than what is known.
    pub(crate) written: bool,
    /// Whether the run wrote the row itself, or will before it comes to what rests on it: it is known by what it says alone.
    pub(crate) own: bool,
    /// The open intent whose effect is there, and the row before it is confirmed.
    pub(crate) recovered: Option<(Op, Option<Row>)>,
    /// The open intent that is not wanted any more, and whether its effect was there.
    pub(crate) obsolete: Option<(Op, bool)>,
    pub(crate) act: Act,
    /// An earlier attempt may have had its effect.
    pub(crate) carried: bool,
    /// Whether the member still is in the version that was read.
    pub(crate) unchanged: bool,
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Act {
    Claim,
    Do(Op),
    Forget,
    Nothing,
}

/// How an attempt at an operation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Answer {
    Awaited,
    Done {
        changed: bool,
        ours: bool,
    },
    Not,
    /// The target is to be asked; `unknown` tells whether the call may have had its effect.
    ToAsk {
        unknown: bool,
    },
    Unknown,
}

impl Row {
    pub(crate) fn in_base(row: Option<Self>) -> bool {
        row.is_some_and(|row| row.ours && row.claimed)
    }

    pub(crate) fn is_ours(row: Option<Self>) -> bool {
        row.is_some_and(|row| row.ours)
    }

    pub(crate) fn has_other(row: Option<Self>) -> bool {
        row.is_some_and(|row| row.other)
    }
}

impl Op {
    pub(crate) fn new(serial: u8, key: usize, kind: Kind) -> Self {
        Self(serial * 4 + u8::from(key == 1) * 2 + u8::from(kind == Kind::Remove))
    }

    pub(crate) fn key(self) -> usize {
        usize::from(self.0 / 2 % 2)
    }

    pub(crate) fn kind(self) -> Kind {
        if self.0.is_multiple_of(2) {
            Kind::Add
        } else {
            Kind::Remove
        }
    }
}

impl Ops {
    pub(crate) fn has(self, op: Op) -> bool {
        self.0 >> op.0 & 1 == 1
    }

    pub(crate) fn put(&mut self, op: Op) {
        self.0 |= 1 << op.0;
    }

    pub(crate) fn drop(&mut self, op: Op) {
        self.0 &= !(1 << op.0);
    }

    pub(crate) fn only(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }
}

impl Run {
    pub(crate) fn new(token: u8) -> Self {
        Self {
            token,
            phase: Phase::ReadStore,
            serial: 0,
            todo: [Todo::NOTHING; KEYS],
        }
    }

    /// The operations that it is at, with their keys.
    pub(crate) fn ops(&self) -> impl Iterator<Item = (usize, Op)> + Clone + use<> {
        let todo = self.todo;
        (0..KEYS).filter_map(move |key| match todo[key].act {
            Act::Do(op) => Some((key, op)),
            _ => None,
        })
    }
}

impl Todo {
    pub(crate) const NOTHING: Self = Self {
        desired: false,
        row: None,
        written: false,
        own: false,
        recovered: None,
        obsolete: None,
        act: Act::Nothing,
        carried: false,
        unchanged: false,
        answer: Answer::Awaited,
    };

    /// Whether it makes a difference that somebody else writes the row. What nobody had cannot be again what it was.
    pub(crate) fn minds(&self) -> bool {
        let removes = matches!(self.act, Act::Do(op) if op.kind() == Kind::Remove);
        let recovers = self.recovered.is_some_and(|(_, before)| before.is_some());
        recovers || (!self.own && (self.row.is_some() || removes))
    }
}

impl State {
    /// The same state, without what nothing depends on any more, and in the one order of what has none.
    pub(crate) fn canonical(mut self) -> Self {
        let mut known = Ops::default();
        for key in &mut self.keys {
            key.overtaken &= key.intent.is_some();
            key.intent.into_iter().for_each(|op| known.put(op));
        }
        for call in self.calls.iter().flatten() {
            known.put(call.op);
        }
        for run in self.runs.iter().flatten() {
            run.ops().for_each(|(_, op)| known.put(op));
            for todo in &run.todo {
                todo.recovered.into_iter().for_each(|(op, _)| known.put(op));
                todo.obsolete.into_iter().for_each(|(op, _)| known.put(op));
            }
        }
        self.executed = self.executed.only(known);
        self.changed = self.changed.only(known);
        self.ghost.ended = self.ghost.ended.only(known);
        self.ghost.told = self.ghost.told.only(known);
        self.calls.sort_unstable_by(|one, other| other.cmp(one));
        self.runs.sort_unstable_by(|one, other| other.cmp(one));
        self
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind() {
            Kind::Add => "adds",
            Kind::Remove => "removes",
        };
        write!(f, "operation {}, which {kind} {}", self.0, name(self.key()))
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Somebody writes a row: whoever read it before knows an older one.
pub(crate) fn write_row(state: &mut State, key: usize, row: Option<Row>) {
    let here = &mut state.keys[key];
    here.row = row;
    here.overtaken = here.intent.is_some_and(|op| op.kind() == Kind::Remove);
    for run in state.runs.iter_mut().flatten() {
        let todo = &mut run.todo[key];
        todo.written |= todo.minds();
    }
}

/// What a membership is called.
pub(crate) fn name(key: usize) -> &'static str {
    ["Ada", "Bob"][key]
}
