//! The plan: what will be done, what waits, and why.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{ContainerRef, Digest, DigestBuilder, JobId, OperationId, SystemId, TenantId, visible};

use crate::decide::Mode;
use crate::digest::{content_digest, held_digest, seal};
use crate::hold::HoldCause;
use crate::operation::{Action, Operation, Section, Tally};
use crate::policy::{OnExceeded, Policy};
use crate::warning::Warning;

/// The name of the stored format.
pub(crate) const FORMAT: &str = "usersync.plan";
/// The version written, and the only one read.
const VERSION: u32 = 1;

/// The result of planning: a value that can be counted, shown, stored, approved and applied.
///
/// Equal inputs give equal plans, byte for byte, in whatever order they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Plan {
    format: String,
    version: u32,
    header: Header,
    envelope: Envelope,
    sections: Vec<Section>,
    digest: Digest,
    held: Option<Digest>,
    /// Over what the content digest leaves out too, so that a damaged or edited file is noticed. It is no signature.
    seal: Digest,
}

/// A plan as somebody gave it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    format: String,
    version: u32,
    header: Header,
    envelope: Envelope,
    sections: Vec<Section>,
    digest: Digest,
    held: Option<Digest>,
    seal: Digest,
}

impl TryFrom<Unchecked> for Plan {
    type Error = PlanError;

    fn try_from(unchecked: Unchecked) -> Result<Self, PlanError> {
        let Unchecked {
            format,
            version,
            header,
            envelope,
            sections,
            digest,
            held,
            seal,
        } = unchecked;
        check_format(&format, version)?;
        let plan = Self::sealed(header, envelope, sections);
        for (stated, computed) in [(digest, plan.digest), (seal, plan.seal)] {
            if stated != computed {
                return Err(PlanError::Changed { stated, computed });
            }
        }
        if held != plan.held {
            return Err(PlanError::Changed {
                stated: held.unwrap_or(digest),
                computed: plan.held.unwrap_or(plan.digest),
            });
        }
        Ok(plan)
    }
}

fn check_format(format: &str, version: u32) -> Result<(), PlanError> {
    let malformed = |message| PlanError::Malformed {
        line: 1,
        column: 1,
        message,
    };
    if format != FORMAT {
        Err(malformed(format!(
            "the format is \"{}\", not \"{FORMAT}\"",
            visible(format)
        )))
    } else if version > VERSION {
        Err(PlanError::Newer { found: version })
    } else if version != VERSION {
        Err(malformed(format!("there is no version {version}")))
    } else {
        Ok(())
    }
}

/// What a plan is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The tenant.
    pub tenant: TenantId,
    /// The job.
    pub job: JobId,
    /// The target.
    pub target: SystemId,
    /// How the job treats what it finds.
    pub mode: Mode,
    /// Identifies the policy and the source's filter.
    pub policy: Digest,
    /// How many containers were looked at.
    pub containers: u64,
    /// What was seen in all of them.
    pub tally: Tally,
    /// What somebody should see to; sorted.
    pub warnings: Vec<Warning>,
    /// How many further warnings there are.
    pub more_warnings: u64,
}

/// When and in which line of plans a plan was made. Not part of its content digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Fixed when a job's state is created; plans of another lineage are foreign.
    pub lineage: Digest,
    /// The job's serial: the plan is stale once the job has moved on.
    pub serial: u64,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// From when on it is refused.
    pub expires: DateTime<Utc>,
}

impl Envelope {
    /// Makes the ids of the operations of a container. They begin alike, so that a store that sorts by them keeps what is written
    /// together in one place.
    #[must_use]
    pub fn operation_ids(&self, container: &ContainerRef) -> OperationIds {
        let of_container = DigestBuilder::new("usersync.operation/3")
            .part(self.lineage.as_bytes())
            .part(&self.serial.to_be_bytes())
            .part(container.system.as_str().as_bytes())
            .part(container.object.as_str().as_bytes());
        OperationIds {
            group: of_container.clone().finish(),
            of_container,
        }
    }
}

/// Makes the ids of one container's operations.
#[derive(Clone, Debug)]
pub struct OperationIds {
    group: Digest,
    of_container: DigestBuilder,
}

impl OperationIds {
    /// The id of an operation on the container: the same for every attempt at it under one envelope.
    #[must_use]
    pub fn of(&self, operation: &Operation) -> OperationId {
        let (kind, system, object) = operation.subject.parts();
        let of_container = self.of_container.clone();
        let digest = of_container
            .part(kind.as_bytes())
            .part(system.as_str().as_bytes())
            .part(object.as_str().as_bytes())
            .part(operation.action.code().as_bytes())
            .finish();
        OperationId::within(&self.group, &digest)
    }
}

/// How many operations a plan has, and how many wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Memberships and records to make.
    pub additions: u64,
    /// Memberships and records to end.
    pub removals: u64,
    /// Memberships and records to change.
    pub updates: u64,
    /// Things to count as ours.
    pub adoptions: u64,
    /// Operations that wait.
    pub held: u64,
    /// Operations that wait and that an approval lets go.
    pub approvable: u64,
    /// Conflicts.
    pub conflicts: u64,
    /// Changes in the ledger only.
    pub ledger: u64,
}

impl Summary {
    /// How many operations will be applied.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.additions + self.removals + self.updates + self.adoptions
    }
}

/// Why a stored plan cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It was changed after it was made.
    #[error(
        "the plan was changed after it was made: it says digest {stated}, its content gives {computed}; make a new plan"
    )]
    Changed {
        /// The digest it carries.
        stated: Digest,
        /// The digest of its content.
        computed: Digest,
    },
    /// It is not a plan.
    #[error("not a plan: line {line}, column {column}: {message}")]
    Malformed {
        /// Line of the error, from 1.
        line: usize,
        /// Column of the error, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A newer program wrote it.
    #[error(
        "the plan has version {found}; this program reads version {VERSION}, so use the program that made it"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
}

impl Plan {
    /// Puts a plan together: sorts the sections, checks the guards that look at all of them, lifts what `approved` lifts, and
    /// takes the digests.
    ///
    /// `window_used` is how much was removed within the policy's window. `approved` is the digest of the held set that
    /// somebody approved; it has an effect only if it is the digest of this plan's held set.
    #[must_use]
    pub fn assemble(
        mut header: Header,
        envelope: Envelope,
        drafts: Drafts,
        policy: &Policy,
        window_used: u64,
        approved: Option<Digest>,
    ) -> Self {
        header.warnings.sort();
        header.warnings.dedup();
        header.containers = drafts.containers;
        header.tally = drafts.tally;
        let cause = drafts.run_guard(policy, window_used);
        let Drafts { mut sections, .. } = drafts;
        sections.sort_by(|a, b| a.container.cmp(&b.container));
        if let Some(cause) = cause {
            for section in &mut sections {
                section.hold(&cause, |operation| {
                    operation.action.is_removal() && !operation.approved
                });
            }
        }
        if policy.guards.on_exceeded == OnExceeded::StopEverything
            && let Some(cause) = stop(&sections)
        {
            for section in &mut sections {
                section.hold_all(&cause);
            }
        }
        let plan = Self::sealed(header, envelope, sections);
        match approved {
            Some(held) => plan.approved(held),
            None => plan,
        }
    }

    /// The plan once the held set with this digest is approved: what an approval lifts is lifted. Without an effect if it is not the
    /// digest of this plan's held set.
    #[must_use]
    pub fn approved(mut self, held: Digest) -> Self {
        if self.held != Some(held) {
            return self;
        }
        for section in &mut self.sections {
            section.lift();
        }
        Self::sealed(self.header, self.envelope, self.sections)
    }

    fn sealed(header: Header, envelope: Envelope, sections: Vec<Section>) -> Self {
        let digest = content_digest(&header, &sections);
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            held: held_digest(&header, &sections),
            seal: seal(&digest, &envelope, &sections),
            digest,
            header,
            envelope,
            sections,
        }
    }

    /// Reads a plan back.
    ///
    /// # Errors
    /// [`PlanError`] when it is not a plan of this version, or was changed.
    pub fn from_json(json: &str) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let malformed = |error: serde_json::Error| {
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            PlanError::Malformed {
                line: error.line(),
                column: error.column(),
                // It may quote what it found.
                message: visible(message.strip_suffix(&place).unwrap_or(&message)).into_owned(),
            }
        };
        let head: Head = serde_json::from_str(json).map_err(malformed)?;
        check_format(&head.format, head.version)?;
        let unchecked: Unchecked = serde_json::from_str(json).map_err(malformed)?;
        unchecked.try_into()
    }

    /// The plan as JSON, in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a plan has only text keys, so it has a JSON form")
    }

    /// What it is about.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// When and in which line of plans it was made.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The parts that say something, in the order of their containers.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The digest of the content: job, policy, operations and holds with their evidence, without time and serial.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of the set of operations that wait for an approval; `None` if none does.
    #[must_use]
    pub fn held_digest(&self) -> Option<Digest> {
        self.held
    }

    /// Whether nothing is to be done and nothing waits.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.sections
            .iter()
            .all(|section| section.operations.is_empty() && section.holds.is_empty())
    }

    /// How many operations there are of each kind.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for section in &self.sections {
            for operation in &section.operations {
                match operation.action {
                    Action::Add(_) | Action::Create(_) => summary.additions += 1,
                    Action::Adopt => summary.adoptions += 1,
                    Action::Change(_) | Action::Update { .. } => summary.updates += 1,
                    Action::Delete | Action::Remove => summary.removals += 1,
                }
            }
            summary.held += section.holds.len() as u64;
            summary.approvable += section
                .holds
                .iter()
                .filter(|hold| hold.cause.is_approvable())
                .count() as u64;
            summary.conflicts += section
                .findings
                .iter()
                .filter(|finding| finding.what.is_conflict())
                .count() as u64;
            summary.ledger += section.ledger.len() as u64;
        }
        summary
    }
}

/// The sections of a plan in the making. Those that say nothing are counted and dropped.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    sections: Vec<Section>,
    containers: u64,
    tally: Tally,
}

impl Drafts {
    /// Adds the section of one container. No container may come twice.
    pub fn push(&mut self, section: Section) {
        self.containers += 1;
        self.tally += section.tally;
        if !section.is_silent() {
            self.sections.push(section);
        }
    }

    /// What was seen in all containers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether the removals that no other guard holds are too many for one run, or for the window, in which
    /// `window_used` went before.
    #[must_use]
    pub fn run_guard(&self, policy: &Policy, window_used: u64) -> Option<HoldCause> {
        let removals: u64 = self.sections.iter().map(Section::free_removals).sum();
        if removals == 0 {
            return None;
        }
        if let Some(share) = policy.guards.run {
            let limit = share.allowance(self.tally.removable);
            if removals > limit {
                return Some(HoldCause::RunLimit { removals, limit });
            }
        }
        let limit = policy.guards.window?.share.allowance(self.tally.removable);
        (window_used.saturating_add(removals) > limit).then_some(HoldCause::WindowLimit {
            used: window_used,
            removals,
            limit,
        })
    }
}

/// What everything is held for where the policy stops everything: a guard holds something. What is not known comes first,
/// since no approval lifts it.
fn stop(sections: &[Section]) -> Option<HoldCause> {
    let causes = || {
        sections
            .iter()
            .flat_map(|section| &section.holds)
            .map(|hold| &hold.cause)
    };
    if causes().any(HoldCause::is_incompleteness) {
        Some(HoldCause::StoppedIncomplete)
    } else {
        causes()
            .any(|cause| !matches!(cause, HoldCause::Adoption))
            .then_some(HoldCause::Stopped)
    }
}
