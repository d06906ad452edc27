//! Departures that nothing depends on any more.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use usersync_model::{ContainerRef, NodeId, PrincipalRef, Subject};
use usersync_reconcile::Warning;
use usersync_store::StateRead;

use crate::error::Result;
use crate::ground::Ground;
use crate::job::{Job, Scope};
use crate::preview::Made;
use crate::report::{OperationReport, RunReport};
use crate::state::Effect;
use crate::survey::Survey;

/// Who of the departed has no membership left that the job claims: nothing waits for the end of their grace. Nobody, unless a
/// run of everything went well, since what it did not look at may depend on it.
///
/// Passes over the surveyed rows if somebody has departed at all.
pub(crate) async fn without_memberships(
    state: &dyn StateRead,
    job: &Job,
    scope: &Scope,
    made: &Made,
    report: &RunReport,
) -> Result<Vec<PrincipalRef>> {
    let stored = &made.planned.departures.stored;
    let Ground::Members(survey) = &made.ground else {
        return Ok(Vec::new());
    };
    let warnings = &survey.warnings;
    let is_partial = |warning: &Warning| matches!(warning, Warning::PartialCatalog { .. });
    let is_ok = |operation: &OperationReport| operation.outcome.is_ok();
    if stored.is_empty()
        || *scope != Scope::Everything
        || warnings.iter().any(is_partial)
        || !report.recovered.iter().chain(&report.operations).all(is_ok)
    {
        return Ok(Vec::new());
    }
    let mut gone: BTreeSet<&PrincipalRef> = stored.iter().collect();
    for principal in surveyed(survey, stored, report) {
        gone.remove(principal);
    }
    let unlisted: Vec<ContainerRef> = warnings
        .iter()
        .filter_map(|warning| match warning {
            Warning::UnlistedContainer(container) => Some(container.clone()),
            _ => None,
        })
        .collect();
    if !gone.is_empty() && !unlisted.is_empty() {
        // It may be listed again, and the grace goes on.
        let mut chunks = state.ledger(&job.tenant, Some(unlisted));
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                if let Subject::Principal(principal) = &entry.key.subject
                    && entry.row.is_claimed_by(&job.id)
                {
                    gone.remove(principal);
                }
            }
        }
    }
    Ok(gone.into_iter().cloned().collect())
}

/// Who of them has a claimed row in a container that was surveyed, now that the run has removed what it removed.
fn surveyed<'a>(
    survey: &Survey,
    departed: &'a BTreeSet<PrincipalRef>,
    report: &RunReport,
) -> BTreeSet<&'a PrincipalRef> {
    let graph = survey.graph();
    let ids: BTreeMap<NodeId, &PrincipalRef> = departed
        .iter()
        .filter_map(|principal| Some((graph.find(principal)?, principal)))
        .collect();
    let removed: BTreeSet<(usize, NodeId)> = report
        .operations
        .iter()
        .filter(|operation| operation.action == Effect::Remove.code())
        .filter_map(|operation| {
            let place = survey.place(&operation.container)?;
            Some((place, graph.find(operation.subject.principal()?)?))
        })
        .filter(|(_, id)| ids.contains_key(id))
        .collect();
    let sights = survey.sights.iter().enumerate();
    sights
        .flat_map(|(place, sight)| sight.claimed().map(move |id| (place, id)))
        .filter(|row| !removed.contains(row))
        .filter_map(|(_, id)| ids.get(&id).copied())
        .collect()
}
