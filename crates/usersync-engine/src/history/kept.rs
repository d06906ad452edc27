//! What is kept of a run's plan.

use std::io;

use serde::{Deserialize, Serialize};
use usersync_model::Digest;
use usersync_reconcile::{Drafts, Guards, Plan, Policy, Section, Summary};
use usersync_store::Format;

pub(super) const RUN_PLAN: Format = Format {
    name: "usersync.run-plan",
    version: 1,
};

/// How many warnings are kept of a plan that is too large.
const WARNINGS: usize = 20;

/// The plan that a run applied, or as much of it as is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeptPlan {
    /// The plan. If something was dropped: its held operations, or the first of them, under a digest of their own; its header
    /// counts the containers that it has a section of.
    pub plan: Plan,
    /// The digest of the whole plan.
    pub digest: Digest,
    /// What the whole plan had.
    pub summary: Summary,
    /// How many operations, held operations, changes of the ledger and findings were not kept, since the plan was larger than
    /// [`Options::history_plan`](crate::Options::history_plan).
    pub dropped: u64,
}

impl KeptPlan {
    /// As much of a plan as has room in `limit` bytes of JSON.
    pub(super) fn of(plan: &Plan, limit: usize) -> Self {
        let whole = has_room(plan, limit);
        let kept = if whole { plan.clone() } else { cut(plan, limit) };
        let entries = |plan: &Plan| plan.sections().iter().map(entries).sum::<usize>();
        Self {
            digest: plan.digest(),
            summary: plan.summary(),
            dropped: (entries(plan) - entries(&kept)) as u64,
            plan: kept,
        }
    }
}

/// The header and the held operations that have room.
fn cut(plan: &Plan, limit: usize) -> Plan {
    let mut header = plan.header().clone();
    let mut room = limit;
    // What waits is what somebody decides about: most of the room is for that.
    let mut left = limit / 4;
    let mut kept = 0;
    header.warnings.retain(|warning| {
        let rest = room_behind(left, warning).filter(|_| kept < WARNINGS);
        room -= rest.map_or(0, |rest| left - rest);
        left = rest.unwrap_or(left);
        kept += usize::from(rest.is_some());
        rest.is_some()
    });
    header.more_warnings += (plan.header().warnings.len() - kept) as u64;
    let mut drafts = Drafts::default();
    for section in plan.sections().iter().filter(|section| !section.holds.is_empty()) {
        let mut cut = Section {
            container: section.container.clone(),
            kind: section.kind.clone(),
            name: section.name.clone(),
            owner: section.owner.clone(),
            operations: Vec::new(),
            holds: Vec::new(),
            ledger: Vec::new(),
            findings: Vec::new(),
            tally: section.tally,
        };
        let Some(mut left) = room_behind(room, &cut) else {
            continue;
        };
        for hold in &section.holds {
            let Some(rest) = room_behind(left, hold) else {
                break;
            };
            left = rest;
            cut.holds.push(hold.clone());
        }
        if !cut.holds.is_empty() {
            room = left;
            drafts.push(cut);
        }
    }
    // What is held was decided when the plan was made.
    let policy = Policy {
        guards: Guards {
            run: None,
            window: None,
            ..Guards::default()
        },
        ..Policy::new(header.mode)
    };
    Plan::assemble(header, plan.envelope().clone(), drafts, &policy, 0, None)
}

fn entries(section: &Section) -> usize {
    section.operations.len() + section.holds.len() + section.ledger.len() + section.findings.len()
}

fn has_room(plan: &Plan, limit: usize) -> bool {
    // Each entry takes more than one byte.
    plan.sections().iter().map(entries).sum::<usize>() < limit && size(plan, limit).is_some()
}

/// What is left of `room` behind a value in a list; `None` if there is not enough.
fn room_behind(room: usize, value: &impl Serialize) -> Option<usize> {
    room.checked_sub(size(value, room)? + 1)
}

/// The length of a value in JSON, unless it is more than `limit`; then it is not written to its end.
fn size(value: &impl Serialize, limit: usize) -> Option<usize> {
    struct Room(usize);

    impl io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => {
                    self.0 = left;
                    Ok(bytes.len())
                }
                None => Err(io::ErrorKind::FileTooLarge.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut room = Room(limit);
    serde_json::to_writer(&mut room, value).ok()?;
    Some(limit - room.0)
}
