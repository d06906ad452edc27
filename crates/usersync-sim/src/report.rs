//! How a simulation went.

use std::collections::BTreeMap;
use std::fmt;

use crate::choice::Tape;
use crate::fault::FaultKind;
use crate::occurrence::Occurrence;

/// How a simulation went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The seed; `None`, if it was replayed from a tape.
    pub seed: Option<u64>,
    /// The first thing that happened and may not. `None`: all was well.
    pub violation: Option<Violation>,
    /// How much happened.
    pub counts: Counts,
    /// How often each kind of fault happened.
    pub fired: BTreeMap<FaultKind, u64>,
    /// How often each of the rarer things happened.
    pub occurred: BTreeMap<Occurrence, u64>,
    /// Names everything that happened, in its order: equal for equal seeds.
    pub trace_hash: u64,
    /// What happened, line by line; empty unless [`Config::keep_trace`](crate::Config::keep_trace) asked for it.
    pub trace: Vec<String>,
    /// The choices that led there.
    pub tape: Tape,
}

impl Report {
    /// Whether nothing happened that may not.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.violation.is_none()
    }
}

impl fmt::Display for Report {
    /// One line, which is enough to see the same again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.seed {
            Some(seed) => format!("USERSYNC_SIM_SEED={seed}"),
            None => format!("USERSYNC_SIM_TAPE={}", self.tape),
        };
        match &self.violation {
            None => write!(f, "{name} ended well after {} calls", self.counts.calls),
            Some(violation) => write!(f, "{name} broke {violation}"),
        }
    }
}

/// Something happened that may not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The stable code of the rule that does not hold.
    pub rule: &'static str,
    /// What happened.
    pub message: String,
    /// After how many steps.
    pub step: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at step {}: {}", self.rule, self.step, self.message)
    }
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Members or records that jobs added.
    pub additions: u64,
    /// Calls to connectors and the store.
    pub calls: u64,
    /// Members or records that jobs changed.
    pub changes: u64,
    /// Transactions.
    pub commits: u64,
    /// What people did.
    pub edits: u64,
    /// Operations that arrived at a target.
    pub effects: u64,
    /// Members or records that jobs removed.
    pub removals: u64,
    /// Leases on jobs given away.
    pub runs: u64,
    /// Seats taken.
    pub seats: u64,
    /// How often something was polled.
    pub steps: u64,
}

impl Counts {
    /// The sums of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            additions: self.additions + other.additions,
            calls: self.calls + other.calls,
            changes: self.changes + other.changes,
            commits: self.commits + other.commits,
            edits: self.edits + other.edits,
            effects: self.effects + other.effects,
            removals: self.removals + other.removals,
            runs: self.runs + other.runs,
            seats: self.seats + other.seats,
            steps: self.steps + other.steps,
        }
    }
}
