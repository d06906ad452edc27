//! Operations that an earlier run began and did not end.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use usersync_model::{
    ContainerRef, JobId, LedgerRow, MemberFacets, OperationId, Origin, Record, Subject, TenantId,
};
use usersync_reconcile::{Action, Plan, RecordBase, Warning};
use usersync_store::{LedgerKey, StateRead};

use crate::apply::shows;
use crate::error::Result;
use crate::ground::RowBefore;
use crate::state::{Effect, Intent};
use crate::survey::Survey;

/// What became of the open intents of earlier runs.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Their effect is there: with the ledger row before, and after.
    pub(crate) confirmed: Vec<Confirmed>,
    /// Their effect is not there, and may still arrive: whoever needs it again takes the same operation id.
    pub(crate) carried: HashMap<(ContainerRef, Subject), Carried>,
    /// Where nobody knows what is wanted, beside what the plan warns of.
    pub(crate) in_doubt: BTreeSet<ContainerRef>,
}

/// What is taken over from an open intent.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub(crate) operation: OperationId,
    /// What it does.
    pub(crate) effect: Effect,
    /// When it was first attempted.
    pub(crate) since: DateTime<Utc>,
    /// The hour whose quota of removals it uses.
    pub(crate) quota: Option<i64>,
    /// Whether it is for something that is there no more.
    is_overtaken: bool,
}

impl Carried {
    /// Whether whoever does `action` goes on with it, under its id.
    ///
    /// A target that remembers ids answers as it did the first time. So writing something else is another operation, and so is taking
    /// out who was added since. Making something is the same operation whatever it shall say: it may have been made already.
    pub(crate) fn is_continued_by(&self, action: &Action) -> bool {
        !self.is_overtaken
            && match (&self.effect, action) {
                (Effect::Change { to: begun, .. }, Action::Change(to)) => begun == to,
                (Effect::Update { to: begun, .. }, Action::Update { to, .. }) => begun == to,
                (effect, action) => effect.code() == action.code(),
            }
    }
}

impl Recovery {
    /// The effect of `intent` is there.
    pub(crate) fn confirm(&mut self, intent: Intent, before: RowBefore, after: Option<LedgerRow>) {
        self.confirmed.push(Confirmed {
            intent,
            before,
            after,
        });
    }

    /// The effect of `intent` is not there.
    pub(crate) fn carry(&mut self, intent: Intent) {
        let carried = Carried {
            operation: intent.operation,
            effect: intent.effect,
            since: intent.since,
            quota: intent.quota,
            is_overtaken: intent.is_overtaken,
        };
        self.carried.insert((intent.container, intent.subject), carried);
    }

    /// Adds what became of other intents.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.confirmed.extend(other.confirmed);
        self.carried.extend(other.carried);
        self.in_doubt.extend(other.in_doubt);
    }

    /// The operations whose effect is not there, and with which `plan` does not go on; ascending. What it holds may be gone on with later,
    /// and so may what is to be made where nobody knows what is wanted.
    pub(crate) fn obsolete(&self, plan: &Plan) -> Vec<&Carried> {
        let mut left: HashMap<_, _> = self
            .carried
            .iter()
            .map(|((container, subject), carried)| ((container, subject), carried))
            .collect();
        for section in plan.sections() {
            let held = section.holds.iter().map(|hold| &hold.operation);
            for operation in section.operations.iter().chain(held) {
                let key = (&section.container, &operation.subject);
                if left
                    .get(&key)
                    .is_some_and(|carried| carried.is_continued_by(&operation.action))
                {
                    left.remove(&key);
                }
            }
        }
        let is_in_doubt = |container: &ContainerRef| {
            let header = plan.header();
            // What is not listed may be about this one.
            let mut warnings = header.warnings.iter();
            self.in_doubt.contains(container)
                || header.more_warnings > 0
                || warnings.any(|warning| match warning {
                    Warning::PartialSource { .. } => true,
                    Warning::PartialCollection { collection: of, .. }
                    | Warning::PartialSelection { container: of, .. } => of == container,
                    _ => false,
                })
        };
        left.retain(|(container, _), carried| !(carried.effect.is_addition() && is_in_doubt(container)));
        let mut obsolete: Vec<_> = left.into_values().collect();
        obsolete.sort_by_key(|carried| carried.operation);
        obsolete
    }

    /// How many removals that may be tried again use the quota of these hours already.
    pub(crate) fn quota_used(&self, hours: &RangeInclusive<i64>) -> u64 {
        let quotas = self.carried.values().filter_map(|carried| carried.quota);
        quotas.filter(|hour| hours.contains(hour)).count() as u64
    }
}

/// An intent whose effect is there.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) intent: Intent,
    pub(crate) before: RowBefore,
    pub(crate) after: Option<LedgerRow>,
}

/// Compares open intents with what the target shows, and makes the surveyed ledger say what it will say once they are
/// confirmed. An intent recorded the member as absent before it was made durable, so a member who is there now is ours.
///
/// Intents on containers that were not surveyed, or not completely, stay open.
pub(crate) fn recover(survey: &mut Survey, intents: Vec<Intent>, job: &JobId) -> Recovery {
    let mut recovery = Recovery::default();
    for intent in intents {
        let (Some(place), Subject::Principal(principal)) = (survey.place(&intent.container), &intent.subject)
        else {
            continue;
        };
        let id = survey.sources.intern(principal);
        let sight = &mut survey.sights[place];
        let Some(present) = sight.presence(id) else {
            continue;
        };
        let found = present.then(|| sight.facets_of(id));
        if intent.effect.made_member(found.as_ref()) {
            let before = sight.row_before(id, job);
            let found = Found {
                ours: true,
                as_wished: intent.effect.is_shown_by(found.as_ref()),
            };
            let after = row_after(&intent.effect, before.row.clone(), job, found);
            sight.set_row(id, after.clone(), job);
            recovery.confirm(intent, before, after);
        } else {
            recovery.carry(intent);
        }
    }
    recovery
}

/// Notes which of `intents` are removals of what is there no more: somebody wrote their ledger rows since they were begun, as a job does
/// that adds the member again. To be called once the rows are read that a plan rests on: what is written from then on is noticed when
/// the plan is carried out.
pub(crate) async fn note_overtaken(
    state: &dyn StateRead,
    tenant: &TenantId,
    intents: &mut [Intent],
) -> Result<()> {
    for intent in intents.iter_mut().filter(|intent| intent.effect.is_removal()) {
        let key = LedgerKey {
            container: intent.container.clone(),
            subject: intent.subject.clone(),
        };
        let row = state.ledger_row(tenant, &key).await?;
        intent.is_overtaken = row
            .zip(intent.row)
            .is_some_and(|(row, begun)| row.revision > begun);
    }
    Ok(())
}

impl Effect {
    /// Whether a membership is as this wants it. `found` are its facets, if there is one.
    pub(crate) fn made_member(&self, found: Option<&MemberFacets>) -> bool {
        match self {
            Self::Add(_) | Self::Adopt => found.is_some(),
            Self::Remove => found.is_none(),
            Self::Update { to, .. } => found == Some(to),
            Self::Change { .. } | Self::Create { .. } | Self::Delete => false,
        }
    }

    /// Whether a membership has the facets that this gives. `found` are its facets, if there is one.
    pub(crate) fn is_shown_by(&self, found: Option<&MemberFacets>) -> bool {
        match self {
            Self::Add(to) | Self::Update { to, .. } => found == Some(to),
            _ => true,
        }
    }

    /// Whether a record that a read in part shows has all that this is about: it may leave facets out.
    pub(crate) fn is_told_by(&self, found: &Record) -> bool {
        match self {
            Self::Change { to, .. } => to.keys().all(|name| found.facets.contains_key(name)),
            _ => true,
        }
    }

    /// Whether a record is as this wants it. `found` is the record, if there is one.
    pub(crate) fn made_record(&self, found: Option<&Record>) -> bool {
        match self {
            Self::Adopt | Self::Create { .. } => found.is_some(),
            Self::Change { to, .. } => found.is_some_and(|found| shows(&found.facets, to)),
            Self::Delete => found.is_none(),
            Self::Add(_) | Self::Remove | Self::Update { .. } => false,
        }
    }
}

/// What is known of an effect that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// We made it.
    pub(crate) ours: bool,
    /// It has the facets that it was to have.
    pub(crate) as_wished: bool,
}

/// The ledger row after an effect.
///
/// A member whom another job claims too may be there by what that job did, with the facets that it gave: these stay, unless
/// others are seen there.
pub(crate) fn row_after(
    effect: &Effect,
    row: Option<LedgerRow>,
    job: &JobId,
    Found { ours, as_wished }: Found,
) -> Option<LedgerRow> {
    match effect {
        Effect::Add(facets) => {
            let is_by_another = row.as_ref().is_some_and(|row| row.is_claimed_beside(job));
            let mut row = match row {
                Some(row) => row.claimed(job),
                None => LedgerRow::new(Origin::Foreign, [job.clone()]),
            };
            if ours {
                row.origin = Origin::Ours;
            }
            Some(if is_by_another && !as_wished {
                row
            } else {
                row.with_facets(facets.clone())
            })
        }
        Effect::Adopt => {
            let mut row = row
                .unwrap_or_else(|| LedgerRow::new(Origin::Ours, []))
                .claimed(job);
            row.origin = Origin::Ours;
            Some(row)
        }
        Effect::Change { .. } => row,
        Effect::Create { .. } => {
            let mut row = match row {
                Some(row) => row.claimed(job),
                None => LedgerRow::new(Origin::Foreign, [job.clone()]),
            };
            if ours {
                row.origin = Origin::Ours;
            }
            Some(row)
        }
        Effect::Delete | Effect::Remove => row.and_then(|row| row.released(job)),
        Effect::Update { agreed, .. } => row.map(|row| row.with_facets(agreed.clone())),
    }
}

/// What is stored as the base of a record after an effect; `None` where the base stays as it is, or is none of a record.
pub(crate) fn base_after(effect: &Effect) -> Option<Option<&RecordBase>> {
    match effect {
        Effect::Change { agreed, .. } | Effect::Create { agreed } => Some(Some(agreed)),
        Effect::Delete => Some(None),
        Effect::Add(_) | Effect::Adopt | Effect::Remove | Effect::Update { .. } => None,
    }
}
