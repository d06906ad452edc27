//! All that one plan rests on: directories, containers, members, ledger, open intents.
//!
//! Where the ledger says that the containers hold more than [`Options::portion`](crate::Options::portion), only one portion of them
//! is here at once: planning has each [loaded](Survey::load) when it comes to it, and lets go of it then.

mod portion;
mod selected;
mod sight;
mod versions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::TryStreamExt;
use usersync_connector::{CallContext, MembersEntry};
use usersync_model::{
    Completeness, Container, ContainerRef, DirectoryChange, DirectoryGraph, GroupKind, ObjectId, PartialKind,
    PartialReason, Principal, PrincipalKind, Resolved, Scratch, Subject,
};
use usersync_reconcile::Warning;
use usersync_store::LedgerEntry;

use crate::error::Result;
use crate::event::{RunControl, RunEvent};
use crate::full::{finish_full, not_mentioned, shown_and_missing};
use crate::job::{Job, Scope};
use crate::ports::Readers;
use crate::report::{FailedRead, ReadOf};
use crate::source::Sources;
use crate::warnings::Warnings;

pub(crate) use self::sight::Sight;

/// What a container counts for in a portion beside its ledger rows: what it takes by itself, and members that nobody knows of yet.
const CONTAINER_WEIGHT: u64 = 256;

/// All that one plan rests on.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) sources: Sources,
    /// The containers of the run, in the order of their ids.
    pub(crate) containers: Vec<Container>,
    /// What is known of each, in the same order.
    pub(crate) sights: Vec<Sight>,
    /// What was found before any container was read.
    pub(crate) warnings: Warnings,
    /// What was found in reading containers.
    pub(crate) found: Warnings,
    pub(crate) is_catalog_partial: bool,
    /// What the ledger says that each container weighs, in the same order, where they are read in portions.
    weights: Option<Vec<u64>>,
    /// How many members were read.
    read: u64,
    /// How many failures of reads there were before portions were read.
    failed: usize,
    /// Rows that the job claims in containers of kinds that it does not cover any more, and that another job claims, too.
    pub(crate) ceded: Vec<LedgerEntry>,
    /// Whether every container that the job covers is among them.
    pub(crate) is_whole: bool,
    /// Listed containers of the target that the job does not cover.
    uncovered: BTreeSet<ContainerRef>,
    /// Where a container is in the lists.
    places: HashMap<ContainerRef, usize>,
}

impl Survey {
    pub(crate) fn graph(&self) -> &DirectoryGraph {
        self.sources.graph()
    }

    pub(crate) fn place(&self, container: &ContainerRef) -> Option<usize> {
        self.places.get(container).copied()
    }

    /// Who is selected for the container at `place`.
    pub(crate) fn resolve(&mut self, place: usize, job: &Job, scratch: &mut Scratch) -> Arc<Resolved> {
        let container = &self.containers[place];
        if self.weights.is_some() {
            // All of them together are as large as the target.
            self.sources.resolve_once(container, &job.resolve, scratch)
        } else {
            self.sources.resolve(container, &job.resolve, scratch)
        }
    }
}

/// Reads containers, members and ledger rows for `scope`, on top of `sources`.
pub(crate) async fn survey(
    readers: &Readers,
    job: &Job,
    scope: &Scope,
    sources: Sources,
    context: &CallContext,
    control: &RunControl,
) -> Result<Survey> {
    let mut survey = Survey {
        sources,
        containers: Vec::new(),
        sights: Vec::new(),
        warnings: Warnings::new(readers.options.warnings),
        found: Warnings::new(readers.options.warnings),
        is_catalog_partial: false,
        weights: None,
        read: 0,
        failed: 0,
        ceded: Vec::new(),
        is_whole: false,
        uncovered: BTreeSet::new(),
        places: HashMap::new(),
    };
    let complete = survey.read_catalog(readers, job, scope, context).await;
    survey.show_selected_containers(job);
    // The ledger first: what another job does from here on changes rows, and these are checked before anything is written.
    survey.read_ledger(readers, job, scope, complete).await?;
    if !survey.is_portioned() {
        let places: Vec<usize> = (0..survey.containers.len()).collect();
        survey
            .read_members(readers, job, &places, context, control)
            .await?;
    }
    let everything = *scope == Scope::Everything;
    survey.is_whole = everything && complete;
    if survey.is_whole {
        let Survey { sources, places, .. } = &mut survey;
        sources.retain(job, |container| places.contains_key(container));
    }
    // One that an incomplete list does not show may be one that is to be planned.
    if !everything || complete {
        survey.read_selected_containers(readers, job, context).await?;
    } else {
        let Survey { sources, places, .. } = &mut survey;
        sources.doubt(|container| places.contains_key(container), &catalog_in_part());
    }
    survey.failed = survey.sources.failed.len();
    survey.judge_target(job, complete);
    Ok(survey)
}

impl Survey {
    async fn read_catalog(
        &mut self,
        readers: &Readers,
        job: &Job,
        scope: &Scope,
        context: &CallContext,
    ) -> bool {
        let only = match scope {
            Scope::Containers(containers) => Some(containers.iter().cloned().collect()),
            Scope::Everything => None,
        };
        let mut reader = readers.follow(readers.catalog.containers(only, context));
        let mut listed = BTreeMap::new();
        let mut elsewhere = BTreeSet::new();
        while let Some(chunk) = reader.next_chunk().await {
            for container in chunk {
                let wanted = match scope {
                    Scope::Containers(wanted) => wanted.contains(&container.id),
                    Scope::Everything => true,
                };
                if container.id.system != job.target {
                    elsewhere.insert(container.id.object);
                    continue;
                }
                if !wanted {
                    continue;
                }
                if job.covers(&container.kind) {
                    listed.insert(container.id.clone(), container);
                } else {
                    self.uncovered.insert(container.id);
                }
            }
        }
        let error = reader.take_error();
        let end = finish_full(reader);
        let failed = FailedRead::catalog(error.as_ref(), &end);
        let cut: BTreeMap<ObjectId, PartialReason> = end
            .partial
            .into_iter()
            .filter(|(object, _)| {
                let container = ContainerRef::new(job.target.clone(), object.clone());
                match scope {
                    Scope::Containers(wanted) => wanted.contains(&container),
                    Scope::Everything => listed.contains_key(&container) || !elsewhere.contains(object),
                }
            })
            .collect();
        // Whom one selects of which something is not shown is not known, nor whom it excludes: it counts as not shown.
        listed.retain(|container, _| !cut.contains_key(&container.object));
        let cut = cut
            .into_iter()
            .map(|(object, reason)| PartialReason::new(reason.kind, format!("{object}: {}", reason.detail)))
            .min();
        let verdict = match (end.verdict, cut) {
            (Completeness::Complete, Some(reason)) => Completeness::Partial(reason),
            (verdict, _) => verdict,
        };
        self.containers = listed.into_values().collect();
        self.sights.resize_with(self.containers.len(), Sight::default);
        self.places = self
            .containers
            .iter()
            .enumerate()
            .map(|(place, container)| (container.id.clone(), place))
            .collect();
        match verdict {
            Completeness::Complete => {
                if let Scope::Containers(wanted) = scope {
                    let unlisted = wanted
                        .iter()
                        .filter(|container| !self.places.contains_key(container));
                    self.warnings
                        .extend(unlisted.cloned().map(Warning::UnlistedContainer));
                }
                true
            }
            Completeness::Partial(reason) => {
                self.sources.failed.extend(failed);
                self.warnings.insert(Warning::PartialCatalog { reason });
                self.is_catalog_partial = true;
                false
            }
        }
    }

    /// Makes containers that others select known to the graph as groups, unless a directory shows them.
    fn show_selected_containers(&mut self, job: &Job) {
        let picks = self.containers.iter().flat_map(|container| {
            container
                .selection
                .include
                .iter()
                .chain(&container.selection.exclude)
        });
        let selected: BTreeSet<usize> = picks
            .filter_map(|pick| self.place(&pick.as_container()))
            .collect();
        for place in selected {
            let container = &self.containers[place];
            let node = self.sources.intern(&container.id.as_principal());
            if self.sources.graph().node(node).kind().is_none() {
                let kind = PrincipalKind::Group(GroupKind::ShareGroup);
                let group = Principal::new(container.id.object.clone(), kind, container.name.clone());
                self.sources.apply(&job.target, &DirectoryChange::Upsert(group));
            }
        }
    }

    async fn read_members(
        &mut self,
        readers: &Readers,
        job: &Job,
        asked: &[usize],
        context: &CallContext,
        control: &RunControl,
    ) -> Result<()> {
        let target = readers.target(&job.target)?;
        let objects = asked
            .iter()
            .map(|place| self.containers[*place].id.object.clone());
        let objects: Vec<ObjectId> = objects.collect();
        let places: HashMap<ObjectId, usize> = objects.iter().cloned().zip(asked.iter().copied()).collect();
        let mut reader = readers.follow(target.members(objects, context));
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                self.read += self.see(entry, &places);
            }
            control.tell(RunEvent::ReadTarget {
                system: job.target.clone(),
                members: self.read,
            });
            if control.is_cancelled() {
                break;
            }
        }
        let error = reader.take_error();
        let end = finish_full(reader);
        self.note_failed(FailedRead::cut(
            ReadOf::Target(job.target.clone()),
            error.as_ref(),
            &end,
        ));
        let whole = match end.verdict {
            Completeness::Complete => None,
            Completeness::Partial(reason) => Some(reason),
        };
        for (object, reason) in end.partial {
            if let Some(place) = places.get(&object) {
                let rest = &mut self.sights[*place].rest;
                *rest = Some(rest.take().map_or(reason.clone(), |other| other.min(reason)));
            }
        }
        for &place in asked {
            let (container, sight) = (&self.containers[place], &mut self.sights[place]);
            sight.settle();
            let contradicted = sight.shown && sight.missing;
            if contradicted {
                sight.missing = false;
            }
            if let Some(reason) = &whole {
                sight.rest = Some(reason.clone());
            } else if contradicted {
                sight.rest = Some(shown_and_missing());
            } else if !sight.shown && !sight.missing && sight.rest.is_none() {
                sight.rest = Some(not_mentioned());
            }
            if sight.missing {
                self.found.insert(Warning::MissingContainer(container.id.clone()));
            }
        }
        // One container is a part, too. One reason is told, whichever comes first in their order.
        let rests = asked.iter().filter_map(|place| self.sights[*place].rest.as_ref());
        let reason = whole.or_else(|| rests.min().cloned());
        if let Some(reason) = reason {
            self.found.insert(Warning::PartialTarget { reason });
        }
        Ok(())
    }

    fn see(&mut self, entry: MembersEntry, places: &HashMap<ObjectId, usize>) -> u64 {
        match entry {
            MembersEntry::Members { container, members } => {
                let Some(place) = places.get(&container) else {
                    return 0;
                };
                let sight = &mut self.sights[*place];
                sight.shown = true;
                let count = members.len() as u64;
                let ids = self
                    .sources
                    .intern_all(members.iter().map(|member| &member.member.principal));
                for (id, member) in ids.into_iter().zip(members) {
                    sight.push(id, member);
                }
                count
            }
            MembersEntry::Missing { container } => {
                if let Some(place) = places.get(&container) {
                    self.sights[*place].missing = true;
                }
                0
            }
        }
    }

    async fn read_ledger(
        &mut self,
        readers: &Readers,
        job: &Job,
        scope: &Scope,
        complete: bool,
    ) -> Result<()> {
        let containers = match scope {
            Scope::Everything => None,
            Scope::Containers(_) => Some(
                self.containers
                    .iter()
                    .map(|container| container.id.clone())
                    .collect(),
            ),
        };
        let limit = readers.options.portion.get() as u64;
        let mut weights = vec![CONTAINER_WEIGHT; self.containers.len()];
        let mut weight = CONTAINER_WEIGHT * weights.len() as u64;
        let mut chunks = readers.state.ledger(&job.tenant, containers);
        let mut last: Option<(ContainerRef, Option<usize>)> = None;
        let mut unlisted: Option<ContainerRef> = None;
        let mut is_kept = true;
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                let Subject::Principal(principal) = &entry.key.subject else {
                    continue;
                };
                if entry.key.container.system != job.target {
                    continue;
                }
                let place = match &last {
                    Some((container, place)) if *container == entry.key.container => *place,
                    _ => {
                        let place = self.place(&entry.key.container);
                        last = Some((entry.key.container.clone(), place));
                        place
                    }
                };
                let Some(place) = place else {
                    if complete && entry.row.is_claimed_by(&job.id) {
                        let container = &entry.key.container;
                        // Whoever covers it now may remove what only they claim.
                        if self.uncovered.contains(container) && entry.row.is_claimed_beside(&job.id) {
                            self.ceded.push(entry);
                        } else if unlisted.as_ref() != Some(container) {
                            // The rows of a container come together.
                            unlisted = Some(container.clone());
                            self.warnings
                                .insert(Warning::UnlistedContainer(container.clone()));
                        }
                    }
                    continue;
                };
                weights[place] += 1;
                weight += 1;
                if weight > limit {
                    if is_kept {
                        is_kept = false;
                        self.sights.iter_mut().for_each(|sight| *sight = Sight::default());
                    }
                    continue;
                }
                let id = self.sources.intern(principal);
                self.sights[place].push_row(id, entry.row, entry.revision, &job.id);
            }
        }
        if weight > limit {
            self.weights = Some(weights);
        }
        self.sights.iter_mut().for_each(Sight::settle_rows);
        Ok(())
    }

    /// A read of the target ended with this error, if it did. A target that is gone fails for each of them.
    pub(crate) fn note_failed(&mut self, failed: Option<FailedRead>) {
        if failed.is_some() && failed.as_ref() != self.sources.failed.last() {
            self.sources.failed.extend(failed);
        }
    }

    /// A target that is no directory of the job is known by its containers.
    fn judge_target(&mut self, job: &Job, complete: bool) {
        if job.sources.contains(&job.target) {
            return;
        }
        let verdict = if complete {
            Completeness::Complete
        } else {
            Completeness::Partial(catalog_in_part())
        };
        self.sources.set_verdict(&job.target, verdict);
    }
}

fn catalog_in_part() -> PartialReason {
    PartialReason::new(
        PartialKind::Unreadable,
        "the catalog of containers was read in part",
    )
}
