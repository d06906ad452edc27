//! All that one plan rests on: directories, containers, members, ledger, open intents.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt;
use usersync_connector::{CallContext, MembersEntry, PresentMember, Reader, Version};
use usersync_model::{
    Completeness, Container, ContainerRef, DirectoryChange, DirectoryGraph, GroupKind, JobId, LedgerRow,
    MemberFacets, NodeId, ObjectId, Origin, PartialKind, PartialReason, Principal, PrincipalKind,
    PrincipalRef, Subject,
};
use usersync_reconcile::{BaseRow, Standing, Warning, standing};
use usersync_store::LedgerKey;

use crate::error::Result;
use crate::event::{RunControl, RunEvent};
use crate::job::{Job, Scope};
use crate::ports::Readers;
use crate::report::FailedRead;
use crate::source::Sources;

/// All that one plan rests on.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) sources: Sources,
    /// The containers of the run, in the order of their ids.
    pub(crate) containers: Vec<Container>,
    /// What is known of each, in the same order.
    pub(crate) sights: Vec<Sight>,
    pub(crate) warnings: BTreeSet<Warning>,
    /// Rows that the job claims in containers of kinds that it does not cover any more, and that another job claims, too.
    pub(crate) ceded: Vec<(LedgerKey, LedgerRow)>,
    /// Whether every container that the job covers is among them.
    pub(crate) is_whole: bool,
    /// Listed containers of the target that the job does not cover.
    uncovered: BTreeSet<ContainerRef>,
    /// Where a container is in the lists.
    places: HashMap<ContainerRef, usize>,
}

/// What is known of one container.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    pub(crate) present: Vec<NodeId>,
    /// Facets other than the default ones.
    pub(crate) facets: Vec<(NodeId, MemberFacets)>,
    pub(crate) versions: Vec<(NodeId, Version)>,
    /// Why somebody who was not seen may be there.
    pub(crate) rest: Option<PartialReason>,
    /// Surely not there, though `rest` says that others may be.
    pub(crate) absent: Vec<NodeId>,
    /// Whether the target has no such container.
    pub(crate) missing: bool,
    /// Plain rows: ours, claimed by this job alone, default facets.
    pub(crate) ours: Vec<NodeId>,
    /// Every other row.
    pub(crate) other: Vec<BaseRow>,
    /// The rows of `other`, in the same order.
    rows: Vec<LedgerRow>,
    /// Whether the target mentioned it.
    told: bool,
}

impl Sight {
    /// The ledger row of `id`.
    pub(crate) fn row(&self, id: NodeId, job: &JobId) -> Option<LedgerRow> {
        if self.ours.binary_search(&id).is_ok() {
            return Some(LedgerRow::new(Origin::Ours, [job.clone()]));
        }
        self.other
            .binary_search_by_key(&id, |row| row.id)
            .ok()
            .map(|at| self.rows[at].clone())
    }

    /// Replaces the ledger row of `id`.
    pub(crate) fn set_row(&mut self, id: NodeId, row: Option<LedgerRow>, job: &JobId) {
        if let Ok(at) = self.ours.binary_search(&id) {
            self.ours.remove(at);
        }
        if let Ok(at) = self.other.binary_search_by_key(&id, |row| row.id) {
            self.other.remove(at);
            self.rows.remove(at);
        }
        let Some(row) = row else { return };
        match classify(&row, job) {
            None => {
                let at = self.ours.partition_point(|other| *other < id);
                self.ours.insert(at, id);
            }
            Some(standing) => {
                let at = self.other.partition_point(|other| other.id < id);
                let facets = row.facets.clone().unwrap_or_default();
                self.other.insert(at, BaseRow { id, standing, facets });
                self.rows.insert(at, row);
            }
        }
    }

    /// Whose rows the job claims; each once.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = NodeId> {
        let other = self.other.iter().filter(|row| row.standing.claimed);
        self.ours.iter().copied().chain(other.map(|row| row.id))
    }

    pub(crate) fn is_present(&self, id: NodeId) -> bool {
        self.present.binary_search(&id).is_ok()
    }

    /// Whether `id` is a member: `None` when that is not known.
    pub(crate) fn presence(&self, id: NodeId) -> Option<bool> {
        if self.is_present(id) {
            Some(true)
        } else if self.rest.is_none() || self.absent.binary_search(&id).is_ok() {
            Some(false)
        } else {
            None
        }
    }

    pub(crate) fn facets_of(&self, id: NodeId) -> MemberFacets {
        match self.facets.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => self.facets[at].1.clone(),
            Err(_) => MemberFacets::default(),
        }
    }

    pub(crate) fn version_of(&self, id: NodeId) -> Option<&Version> {
        self.versions
            .binary_search_by_key(&id, |(id, _)| *id)
            .ok()
            .map(|at| &self.versions[at].1)
    }

    /// Takes in what a point read showed.
    pub(crate) fn learn(&mut self, id: NodeId, member: Option<PresentMember>) {
        match member {
            Some(member) => self.push(id, member),
            None => self.absent.push(id),
        }
        self.settle();
    }

    fn push(&mut self, id: NodeId, member: PresentMember) {
        self.present.push(id);
        if member.member.facets != MemberFacets::default() {
            self.facets.push((id, member.member.facets));
        }
        if let Some(version) = member.version {
            self.versions.push((id, version));
        }
    }

    /// Sorts what came in any order. A member told twice with different facets counts with the smaller ones.
    fn settle(&mut self) {
        self.present.sort_unstable();
        self.present.dedup();
        self.facets.sort();
        self.facets.dedup_by_key(|(id, _)| *id);
        self.versions.sort();
        self.versions.dedup_by_key(|(id, _)| *id);
        self.absent.sort_unstable();
        self.absent.dedup();
        self.ours.sort_unstable();
        self.ours.dedup();
    }
}

/// The standing of a row, or `None` for a plain one.
fn classify(row: &LedgerRow, job: &JobId) -> Option<Standing> {
    let standing = standing(row, job);
    (standing != Standing::OURS || row.facets.is_some()).then_some(standing)
}

impl Survey {
    pub(crate) fn graph(&self) -> &DirectoryGraph {
        self.sources.graph()
    }

    pub(crate) fn place(&self, container: &ContainerRef) -> Option<usize> {
        self.places.get(container).copied()
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
        warnings: BTreeSet::new(),
        ceded: Vec::new(),
        is_whole: false,
        uncovered: BTreeSet::new(),
        places: HashMap::new(),
    };
    let complete = survey.read_catalog(readers, job, scope, context).await;
    survey.show_selected_containers(job);
    // The ledger first: what another job does from here on changes rows, and these are checked before anything is written.
    survey.read_ledger(readers, job, scope, complete).await?;
    survey.read_members(readers, job, context, control).await?;
    let everything = *scope == Scope::Everything;
    survey.is_whole = everything && complete;
    if survey.is_whole {
        let Survey { sources, places, .. } = &mut survey;
        sources.retain(|container| places.contains_key(container));
    }
    // One that an incomplete list does not show may be one that is to be planned.
    if !everything || complete {
        survey.read_selected_containers(readers, job, context).await?;
    }
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
        let (containers, end) = Reader::new(readers.catalog.containers(only, context))
            .collect()
            .await;
        let mut listed = BTreeMap::new();
        for container in containers {
            let wanted = match scope {
                Scope::Containers(wanted) => wanted.contains(&container.id),
                Scope::Everything => true,
            };
            if !wanted || container.id.system != job.target {
                continue;
            }
            if job.covers(&container.kind) {
                listed.insert(container.id.clone(), container);
            } else {
                self.uncovered.insert(container.id);
            }
        }
        self.containers = listed.into_values().collect();
        self.sights.resize_with(self.containers.len(), Sight::default);
        self.places = self
            .containers
            .iter()
            .enumerate()
            .map(|(place, container)| (container.id.clone(), place))
            .collect();
        match end.verdict {
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
                self.sources.failed.extend(FailedRead::catalog(&reason));
                self.warnings.insert(Warning::PartialCatalog { reason });
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
        context: &CallContext,
        control: &RunControl,
    ) -> Result<()> {
        let target = readers.target(&job.target)?;
        let asked: Vec<ObjectId> = self
            .containers
            .iter()
            .map(|container| container.id.object.clone())
            .collect();
        let places: HashMap<ObjectId, usize> = asked
            .iter()
            .enumerate()
            .map(|(place, object)| (object.clone(), place))
            .collect();
        let mut reader = Reader::new(target.members(asked, context));
        let mut count = 0;
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                count += self.see(entry, &places);
            }
            control.tell(RunEvent::ReadTarget {
                system: job.target.clone(),
                members: count,
            });
            if control.is_cancelled() {
                break;
            }
        }
        let failed = reader.error().map(|error| FailedRead::target(&job.target, error));
        self.sources.failed.extend(failed);
        let end = reader.finish();
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
        for (container, sight) in self.containers.iter().zip(&mut self.sights) {
            sight.settle();
            if let Some(reason) = &whole {
                sight.rest = Some(reason.clone());
            } else if !sight.told && sight.rest.is_none() {
                sight.rest = Some(not_mentioned());
            }
            if sight.missing {
                self.warnings
                    .insert(Warning::MissingContainer(container.id.clone()));
            }
        }
        if let Some(reason) = whole {
            self.warnings.insert(Warning::PartialTarget { reason });
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
                sight.told = true;
                let count = members.len() as u64;
                for member in members {
                    let id = self.sources.intern(&member.member.principal);
                    sight.push(id, member);
                }
                count
            }
            MembersEntry::Missing { container } => {
                if let Some(place) = places.get(&container) {
                    self.sights[*place].told = true;
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
        let mut chunks = readers.state.ledger(&job.tenant, containers);
        let mut last: Option<(ContainerRef, Option<usize>)> = None;
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk {
                let Subject::Principal(principal) = entry.key.subject else {
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
                        let (container, row) = (entry.key.container, entry.row);
                        // Whoever covers it now may remove what only they claim.
                        if self.uncovered.contains(&container) && row.is_claimed_beside(&job.id) {
                            self.ceded.push((LedgerKey::member(container, principal), row));
                        } else {
                            self.warnings.insert(Warning::UnlistedContainer(container));
                        }
                    }
                    continue;
                };
                let id = self.sources.intern(&principal);
                let sight = &mut self.sights[place];
                match classify(&entry.row, &job.id) {
                    None => sight.ours.push(id),
                    Some(standing) => {
                        let facets = entry.row.facets.clone().unwrap_or_default();
                        sight.other.push(BaseRow { id, standing, facets });
                        sight.rows.push(entry.row);
                    }
                }
            }
        }
        for sight in &mut self.sights {
            sight.ours.sort_unstable();
            let mut rows: Vec<_> = sight.other.drain(..).zip(sight.rows.drain(..)).collect();
            rows.sort_by_key(|(row, _)| row.id);
            (sight.other, sight.rows) = rows.into_iter().unzip();
        }
        Ok(())
    }

    /// Containers that are selected and not planned, since they are not asked for or not listed, count as they are.
    async fn read_selected_containers(
        &mut self,
        readers: &Readers,
        job: &Job,
        context: &CallContext,
    ) -> Result<()> {
        let picks: BTreeSet<PrincipalRef> = self
            .containers
            .iter()
            .flat_map(|container| {
                container
                    .selection
                    .include
                    .iter()
                    .chain(&container.selection.exclude)
            })
            .filter(|pick| pick.system == job.target && self.place(&pick.as_container()).is_none())
            .cloned()
            .collect();
        if picks.is_empty() {
            return Ok(());
        }
        let asked = picks.iter().map(|pick| pick.object.clone()).collect();
        let mut found: BTreeMap<ObjectId, Vec<NodeId>> = BTreeMap::new();
        let mut missing: BTreeSet<ObjectId> = BTreeSet::new();
        let mut reader = Reader::new(readers.target(&job.target)?.members(asked, context));
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                match entry {
                    MembersEntry::Members { container, members } => {
                        let ids = members.iter().map(|m| self.sources.intern(&m.member.principal));
                        found.entry(container).or_default().extend(ids);
                    }
                    MembersEntry::Missing { container } => {
                        missing.insert(container);
                    }
                }
            }
        }
        let end = reader.finish();
        let mut partial: BTreeMap<ObjectId, PartialReason> = end.partial.into_iter().collect();
        for pick in picks {
            let members = found.remove(&pick.object);
            let told = members.is_some();
            let mut members = members.unwrap_or_default();
            members.sort_unstable();
            members.dedup();
            let verdict = match (&end.verdict, partial.remove(&pick.object)) {
                (Completeness::Partial(reason), _) => Completeness::Partial(reason.clone()),
                (Completeness::Complete, Some(reason)) => Completeness::Partial(reason),
                (Completeness::Complete, None) if told => Completeness::Complete,
                (Completeness::Complete, None) if missing.contains(&pick.object) => continue,
                (Completeness::Complete, None) => Completeness::Partial(not_mentioned()),
            };
            self.sources.fill(&pick.as_container(), &members, verdict);
        }
        Ok(())
    }

    /// A target that is no directory of the job is known by its containers.
    fn judge_target(&mut self, job: &Job, complete: bool) {
        if job.sources.contains(&job.target) {
            return;
        }
        let verdict = if complete {
            Completeness::Complete
        } else {
            Completeness::partial(
                PartialKind::Unreadable,
                "the catalog of containers was read in part",
            )
        };
        self.sources.set_verdict(&job.target, verdict);
    }
}

/// A container that was asked for and not told of.
pub(crate) fn not_mentioned() -> PartialReason {
    PartialReason::new(PartialKind::NoVerdict, "the target did not mention it")
}
