//! Reading directories into one graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use usersync_connector::{CallContext, Cursor, ErrorKind, Extent};
use usersync_model::{
    Completeness, Container, ContainerRef, DirectoryChange, DirectoryGraph, GraphBuilder, Impact,
    LiveSelections, NodeId, ObjectId, PartialKind, PartialReason, PrincipalRef, ResolvePolicy, Resolved,
    Scratch, SelectionId, SystemId,
};

use crate::error::Result;
use crate::event::{RunControl, RunEvent};
use crate::full::finish_full;
use crate::job::Job;
use crate::ports::Readers;
use crate::report::{FailedRead, ReadOf};
use crate::state::load_cursor;

/// The directories of a job as last read.
#[derive(Debug)]
pub(crate) struct Sources {
    graph: DirectoryGraph,
    /// Where the next read of changes continues, for the systems that offer it.
    pub(crate) cursors: BTreeMap<SystemId, Cursor>,
    /// The containers whose planned members stand in the graph.
    filled: BTreeMap<ContainerRef, NodeId>,
    /// Members of filled containers whom no directory shows, and who are members all the same.
    guests: HashMap<NodeId, Vec<NodeId>>,
    /// What selections stand for, kept where the next read may hold only changes.
    kept: Option<Kept>,
    /// Groups with members that they name and a completely read directory of the job does not have, as of the latest reads.
    unknown_members: Vec<(NodeId, NodeId)>,
    /// What the latest reads met, of targets too.
    pub(crate) failed: Vec<FailedRead>,
    /// The groups that are partial by themselves, of systems that keep track of them.
    partial: BTreeMap<SystemId, BTreeSet<ObjectId>>,
}

/// Resolved selections that follow the graph.
#[derive(Debug)]
struct Kept {
    policy: ResolvePolicy,
    /// Whose containers stand in the graph.
    target: SystemId,
    selections: LiveSelections,
    ids: HashMap<ContainerRef, SelectionId>,
    resolved: HashMap<SelectionId, Arc<Resolved>>,
}

impl Kept {
    fn new(job: &Job) -> Self {
        Self {
            policy: job.resolve,
            target: job.target.clone(),
            selections: LiveSelections::new(job.resolve),
            ids: HashMap::new(),
            resolved: HashMap::new(),
        }
    }

    fn forget(&mut self, impact: &Impact) {
        let affected = impact.affected.iter().map(|affected| affected.selection);
        for selection in affected.chain(impact.re_resolve.iter().copied()) {
            self.resolved.remove(&selection);
        }
    }
}

impl Sources {
    fn new(graph: DirectoryGraph) -> Self {
        Self {
            graph,
            cursors: BTreeMap::new(),
            filled: BTreeMap::new(),
            guests: HashMap::new(),
            kept: None,
            unknown_members: Vec::new(),
            failed: Vec::new(),
            partial: BTreeMap::new(),
        }
    }

    /// Notes who names members that nobody shows. O(V), and the memberships of those.
    fn note_unknown_members(&mut self, job: &Job) {
        let graph = &self.graph;
        let is_unknown = |id: &NodeId| {
            let node = graph.node(*id);
            node.kind().is_none()
                && job.sources.contains(node.system())
                && graph.system_verdict(node.system()).is_complete()
        };
        let unknown = graph.nodes().filter(is_unknown);
        let named = unknown.flat_map(|member| graph.direct_groups(member).map(move |group| (group, member)));
        self.unknown_members = named.collect();
    }

    /// The groups that name members whom their completely read directory does not have, and how many. A filled container names nobody of
    /// that kind: what it has are members.
    pub(crate) fn unknown_members(&self) -> impl Iterator<Item = (PrincipalRef, u64)> + '_ {
        let filled: BTreeSet<NodeId> = self.filled.values().copied().collect();
        let mut counts: BTreeMap<NodeId, u64> = BTreeMap::new();
        for &(group, member) in &self.unknown_members {
            if self.graph.node(member).kind().is_none() && !filled.contains(&group) {
                *counts.entry(group).or_default() += 1;
            }
        }
        let counts = counts.into_iter();
        counts.map(|(group, count)| (self.graph.principal_ref(group), count))
    }

    pub(crate) fn graph(&self) -> &DirectoryGraph {
        &self.graph
    }

    /// The id of a principal, also of one that no directory shows.
    pub(crate) fn intern(&mut self, principal: &PrincipalRef) -> NodeId {
        self.graph.intern(principal)
    }

    /// As [`intern`](Self::intern) for each, in their order.
    pub(crate) fn intern_all<'a>(
        &mut self,
        principals: impl IntoIterator<Item = &'a PrincipalRef>,
    ) -> Vec<NodeId> {
        self.graph.intern_all(principals)
    }

    /// Who the container's selection stands for. Costs nothing where nothing changed that it depends on.
    pub(crate) fn resolve(
        &mut self,
        container: &Container,
        policy: &ResolvePolicy,
        scratch: &mut Scratch,
    ) -> Arc<Resolved> {
        let graph = &self.graph;
        let Some(kept) = &mut self.kept else {
            return Arc::new(graph.resolve(&container.selection, policy, scratch));
        };
        let id = match kept.ids.get(&container.id) {
            Some(id) if kept.selections.selection(*id) == Some(&container.selection) => *id,
            Some(id) => {
                kept.selections.replace(graph, *id, container.selection.clone());
                kept.resolved.remove(id);
                *id
            }
            None => {
                let id = kept.selections.insert(graph, container.selection.clone());
                kept.ids.insert(container.id.clone(), id);
                id
            }
        };
        let known = kept.resolved.get(&id);
        if let Some(resolved) = known.filter(|known| kept.selections.still_holds(graph, id, known)) {
            return Arc::clone(resolved);
        }
        let resolved = Arc::new(kept.selections.resolve(graph, id, scratch));
        kept.resolved.insert(id, Arc::clone(&resolved));
        resolved
    }

    /// Who the container's selection stands for, without keeping that for the next run.
    pub(crate) fn resolve_once(
        &self,
        container: &Container,
        policy: &ResolvePolicy,
        scratch: &mut Scratch,
    ) -> Arc<Resolved> {
        Arc::new(self.graph.resolve(&container.selection, policy, scratch))
    }

    /// The members of a filled container whom no directory shows; ascending.
    pub(crate) fn guests(&self, container: NodeId) -> &[NodeId] {
        self.guests.get(&container).map_or(&[], Vec::as_slice)
    }

    /// The filled containers that have such members.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = NodeId> + '_ {
        let filled = self.filled.values().copied();
        filled.filter(|container| !self.guests(*container).is_empty())
    }

    /// The containers that have `guest` as such; ascending.
    pub(crate) fn hosts_of(&self, guest: NodeId) -> Vec<NodeId> {
        let hosts = self
            .guests
            .iter()
            .filter(|(_, guests)| guests.binary_search(&guest).is_ok());
        let mut hosts: Vec<NodeId> = hosts.map(|(host, _)| *host).collect();
        hosts.sort_unstable();
        hosts
    }

    /// Whether the members that stand in the graph for a container are those of a plan, or of a read of the target.
    pub(crate) fn is_filled(&self, container: &ContainerRef) -> bool {
        self.filled.contains_key(container)
    }

    /// Makes a container the group that others select, with the members that a plan leaves, or that it has.
    ///
    /// Members whom no directory shows are kept beside the graph, where they would pass for names of groups that the reader
    /// may not see: the container shows that they are its members, whoever they are.
    pub(crate) fn fill(&mut self, container: &ContainerRef, members: &[NodeId], verdict: Completeness) {
        let node = self.graph.intern(&container.as_principal());
        if is_somebody(&self.graph, node) {
            return;
        }
        self.filled.insert(container.clone(), node);
        let is_shown = |id: &NodeId| self.graph.node(*id).kind().is_some();
        let (shown, mut guests): (Vec<NodeId>, Vec<NodeId>) = members.iter().copied().partition(is_shown);
        guests.sort_unstable();
        guests.dedup();
        self.guests.insert(node, guests);
        let members = shown.as_slice();
        match &mut self.kept {
            Some(kept) => {
                let impact = kept.selections.set_members(&mut self.graph, node, members);
                kept.forget(&impact);
                let impact = kept.selections.set_group_verdict(&mut self.graph, node, verdict);
                kept.forget(&impact);
            }
            None => {
                self.graph.set_members(node, members);
                self.graph.set_group_verdict(node, verdict);
            }
        }
    }

    /// Lets a container be what it was before it was filled: nobody knows what it is. Who is in one that a directory of the job shows is not
    /// known before that is read anew, as the next run does.
    pub(crate) fn empty(&mut self, job: &Job, container: &ContainerRef) {
        let Some(&node) = self.filled.get(container) else {
            return;
        };
        if job.sources.contains(&container.system) {
            self.cursors.remove(&container.system);
            self.fill(container, &[], Completeness::Partial(listed_no_more()));
        } else {
            let removed = DirectoryChange::Removed(container.object.clone());
            self.apply(&container.system, &removed);
        }
        self.filled.remove(container);
        self.guests.remove(&node);
    }

    /// Takes the members out of every filled container that is not one of those listed: who is in it by now is not known.
    pub(crate) fn doubt(&mut self, is_listed: impl Fn(&ContainerRef) -> bool, reason: &PartialReason) {
        for container in self.filled_beside(is_listed) {
            self.fill(&container, &[], Completeness::Partial(reason.clone()));
        }
    }

    fn filled_beside(&self, is_listed: impl Fn(&ContainerRef) -> bool) -> Vec<ContainerRef> {
        let filled = self.filled.keys();
        filled
            .filter(|container| !is_listed(container))
            .cloned()
            .collect()
    }

    /// [Empties](Self::empty) every filled container that is not one of those listed, and drops what was kept of their selections.
    pub(crate) fn retain(&mut self, job: &Job, is_listed: impl Fn(&ContainerRef) -> bool) {
        for container in self.filled_beside(&is_listed) {
            self.empty(job, &container);
        }
        if let Some(kept) = &mut self.kept {
            let gone: Vec<_> = kept
                .ids
                .keys()
                .filter(|container| !is_listed(container))
                .cloned()
                .collect();
            for id in gone.iter().filter_map(|container| kept.ids.remove(container)) {
                kept.selections.remove(id);
                kept.resolved.remove(&id);
            }
        }
    }

    pub(crate) fn set_verdict(&mut self, system: &SystemId, verdict: Completeness) {
        match &mut self.kept {
            Some(kept) => {
                let impact = kept.selections.set_verdict(&mut self.graph, system, verdict);
                kept.forget(&impact);
            }
            None => self.graph.set_verdict(system, verdict),
        }
    }

    fn set_group_verdict(&mut self, system: &SystemId, group: &ObjectId, verdict: Completeness) {
        let node = match self.graph.find_parts(system, group.as_str()) {
            Some(node) => node,
            None if verdict.is_complete() => return,
            // That it is partial says that it is a group.
            None => self
                .graph
                .intern(&PrincipalRef::new(system.clone(), group.clone())),
        };
        match &mut self.kept {
            Some(kept) => {
                let impact = kept.selections.set_group_verdict(&mut self.graph, node, verdict);
                kept.forget(&impact);
            }
            None => self.graph.set_group_verdict(node, verdict),
        }
    }

    /// Lets the groups of `system` be complete that were partial and are not among `partial` any more.
    fn forget_partial(&mut self, system: &SystemId, partial: &[(ObjectId, PartialReason)]) {
        let now: BTreeSet<ObjectId> = partial.iter().map(|(group, _)| group.clone()).collect();
        let before = self
            .partial
            .insert(system.clone(), now.clone())
            .unwrap_or_default();
        for group in before.difference(&now) {
            self.set_group_verdict(system, group, Completeness::Complete);
        }
    }

    /// Folds in one change.
    pub(crate) fn apply(&mut self, system: &SystemId, change: &DirectoryChange) {
        match &mut self.kept {
            Some(kept) => {
                let impact = kept.selections.apply(&mut self.graph, system, change);
                kept.forget(&impact);
            }
            None => self.graph.apply(system, change),
        }
    }
}

/// Whether a directory shows a user or a resource. A system may give containers the ids that people have: who selects the person does not
/// select the container.
pub(crate) fn is_somebody(graph: &DirectoryGraph, node: NodeId) -> bool {
    graph.node(node).kind().is_some_and(|kind| !kind.is_group())
}

/// Reads the directories of `job`: only what changed where `known` is what the stored cursors cover, everything
/// otherwise.
pub(crate) async fn read_sources(
    readers: &Readers,
    job: &Job,
    known: Option<Sources>,
    context: &CallContext,
    control: &RunControl,
) -> Result<Sources> {
    if let Some(known) = known
        && is_current(readers, job, &known).await?
        && let Some(sources) = read_changes(readers, job, known, context, control).await?
    {
        return Ok(sources);
    }
    read_everything(readers, job, context, control).await
}

/// Whether `known` is of these systems and of this target, resolved as the job says now, and every cursor of it is the stored one. It is not when an earlier
/// run did not commit what it read, or another worker went on.
async fn is_current(readers: &Readers, job: &Job, known: &Sources) -> Result<bool> {
    let is_of_job = |kept: &Kept| kept.policy == job.resolve && kept.target == job.target;
    if !known.kept.as_ref().is_some_and(is_of_job) || !known.cursors.keys().eq(&job.sources) {
        return Ok(false);
    }
    for system in &job.sources {
        let stored = load_cursor(readers.state.as_ref(), job, system).await?;
        if stored.is_none() || stored.as_ref() != known.cursors.get(system) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Folds in what changed; `None` when a system asks for a full read instead.
async fn read_changes(
    readers: &Readers,
    job: &Job,
    mut sources: Sources,
    context: &CallContext,
    control: &RunControl,
) -> Result<Option<Sources>> {
    let mut changed = false;
    sources.failed.clear();
    for system in &job.sources {
        let directory = readers.directory(system)?;
        let mut reader = readers.follow(directory.read(sources.cursors.get(system).cloned(), context));
        if reader.begin().await == Some(Extent::Full) {
            return Ok(None);
        }
        let mut entries = 0;
        while let Some(chunk) = reader.next_chunk().await {
            entries += chunk.len() as u64;
            control.tell(RunEvent::ReadDirectory {
                system: system.clone(),
                entries,
            });
            for change in &chunk {
                sources.apply(system, change);
            }
            if control.is_cancelled() {
                break;
            }
        }
        if reader
            .error()
            .is_some_and(|error| error.kind() == ErrorKind::CursorExpired)
        {
            return Ok(None);
        }
        let error = reader.take_error();
        changed |= entries > 0;
        let end = reader.finish();
        let what = ReadOf::Source(system.clone());
        sources.failed.extend(FailedRead::cut(what, error.as_ref(), &end));
        if !end.verdict.is_complete() && !control.is_cancelled() {
            // Who left may be in the missing part: what the graph says of them is older than this read.
            return Ok(None);
        }
        sources.set_verdict(system, end.verdict);
        if !control.is_cancelled() && !sources.graph.system_verdict(system).is_complete() {
            // Something contradicts what was told before: whether it still does, only everything shows.
            return Ok(None);
        }
        let keeps_track = directory.capabilities().tracks_partial;
        // The graph is as at the new cursor, or as at none: what was folded in and is undone before the next read is told by nobody
        // again. Elsewhere a group that was cut short is told in full only by the next full read.
        match end.cursor.filter(|_| keeps_track || end.partial.is_empty()) {
            Some(cursor) => {
                sources.cursors.insert(system.clone(), cursor);
                if keeps_track {
                    sources.forget_partial(system, &end.partial);
                }
            }
            None => {
                sources.cursors.remove(system);
            }
        }
        for (group, reason) in end.partial {
            sources.set_group_verdict(system, &group, Completeness::Partial(reason));
        }
    }
    if changed {
        sources.note_unknown_members(job);
    }
    Ok(Some(sources))
}

async fn read_everything(
    readers: &Readers,
    job: &Job,
    context: &CallContext,
    control: &RunControl,
) -> Result<Sources> {
    let mut builder = GraphBuilder::new();
    let mut cursors = BTreeMap::new();
    let mut failed = Vec::new();
    let mut partial = BTreeMap::new();
    for system in &job.sources {
        let mut reader = readers.follow(readers.directory(system)?.read(None, context));
        let mut entries = 0;
        while let Some(chunk) = reader.next_chunk().await {
            entries += chunk.len() as u64;
            control.tell(RunEvent::ReadDirectory {
                system: system.clone(),
                entries,
            });
            for change in chunk {
                builder.add(system, change);
            }
            if control.is_cancelled() {
                break;
            }
        }
        let error = reader.take_error();
        if let Some(error) = &error {
            tracing::warn!(name: "usersync.read.failed", %system, kind = error.kind().code(), "a directory was read in part");
        }
        let end = finish_full(reader);
        let what = ReadOf::Source(system.clone());
        failed.extend(FailedRead::cut(what, error.as_ref(), &end));
        let keeps_track = readers.directory(system)?.capabilities().tracks_partial;
        // Elsewhere a group that was cut short is told in full only by the next full read.
        if (keeps_track || end.partial.is_empty())
            && end.verdict.is_complete()
            && let Some(cursor) = end.cursor
        {
            cursors.insert(system.clone(), cursor);
        }
        if keeps_track {
            let groups = end.partial.iter().map(|(group, _)| group.clone());
            partial.insert(system.clone(), groups.collect());
        }
        builder.end(system, end.verdict, end.partial);
    }
    let mut sources = Sources::new(builder.finish());
    sources.failed = failed;
    sources.partial = partial;
    sources.note_unknown_members(job);
    if job.sources.iter().all(|system| cursors.contains_key(system)) {
        sources.cursors = cursors;
        sources.kept = Some(Kept::new(job));
    }
    Ok(sources)
}

/// The graph has the members that a plan left in it, and not those that the directory shows.
fn listed_no_more() -> PartialReason {
    PartialReason::new(
        PartialKind::Unreadable,
        "it is no longer listed among the containers, and is read again by the next run",
    )
}
