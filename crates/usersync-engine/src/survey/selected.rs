//! Containers that are selected and not planned.

use std::collections::{BTreeMap, BTreeSet};

use usersync_connector::{CallContext, MembersEntry};
use usersync_model::{Completeness, NodeId, ObjectId, PartialReason, PrincipalRef};

use super::Survey;
use crate::error::Result;
use crate::full::{finish_full, not_mentioned, shown_and_missing};
use crate::job::Job;
use crate::ports::Readers;
use crate::report::{FailedRead, ReadOf};
use crate::source::is_somebody;

impl Survey {
    /// Containers that are selected, directly or through groups, and not planned, since they are not asked for or not listed, count as
    /// they are.
    pub(super) async fn read_selected_containers(
        &mut self,
        readers: &Readers,
        job: &Job,
        context: &CallContext,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        loop {
            let mut picks = self.selected_beside(job);
            picks.retain(|pick| !seen.contains(pick));
            if picks.is_empty() {
                return Ok(());
            }
            seen.extend(picks.iter().cloned());
            // Who is in them may be a group that leads to more of them.
            self.read_containers(readers, job, picks, context).await?;
        }
    }

    /// The containers that are selected, directly or through groups, and not planned. What a group of a directory names at the target is one of
    /// them, unless the target is a directory as well, and tells by itself.
    fn selected_beside(&self, job: &Job) -> BTreeSet<PrincipalRef> {
        let graph = self.graph();
        let picks = || {
            let selections = self.containers.iter().map(|container| &container.selection);
            selections.flat_map(|selection| selection.include.iter().chain(&selection.exclude))
        };
        let picked = picks().filter(|pick| pick.system == job.target).cloned();
        let is_directory = job.sources.contains(&job.target);
        let below = graph.groups_below(picks().filter_map(|pick| graph.find(pick)));
        let below = below
            .into_iter()
            .filter(|node| *graph.node(*node).system() == job.target)
            .map(|node| graph.principal_ref(node))
            .filter(|named| !is_directory || self.sources.is_filled(&named.as_container()));
        let is_container = |named: &PrincipalRef| {
            let node = graph.find(named);
            self.place(&named.as_container()).is_none() && node.is_none_or(|node| !is_somebody(graph, node))
        };
        picked.chain(below).filter(is_container).collect()
    }

    /// Fills containers with those who are there.
    async fn read_containers(
        &mut self,
        readers: &Readers,
        job: &Job,
        picks: BTreeSet<PrincipalRef>,
        context: &CallContext,
    ) -> Result<()> {
        let asked = picks.iter().map(|pick| pick.object.clone()).collect();
        let mut found: BTreeMap<ObjectId, Vec<NodeId>> = BTreeMap::new();
        let mut missing: BTreeSet<ObjectId> = BTreeSet::new();
        let mut reader = readers.follow(readers.target(&job.target)?.members(asked, context));
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                match entry {
                    MembersEntry::Members { container, members } => {
                        let ids = self
                            .sources
                            .intern_all(members.iter().map(|m| &m.member.principal));
                        found.entry(container).or_default().extend(ids);
                    }
                    MembersEntry::Missing { container } => {
                        missing.insert(container);
                    }
                }
            }
        }
        let error = reader.take_error();
        let end = finish_full(reader);
        self.note_failed(FailedRead::cut(
            ReadOf::Target(job.target.clone()),
            error.as_ref(),
            &end,
        ));
        let mut partial: BTreeMap<ObjectId, PartialReason> = end.partial.into_iter().collect();
        for pick in picks {
            let members = found.remove(&pick.object);
            let told = (members.is_some(), missing.contains(&pick.object));
            let mut members = members.unwrap_or_default();
            members.sort_unstable();
            members.dedup();
            let verdict = match (&end.verdict, partial.remove(&pick.object), told) {
                (Completeness::Partial(reason), ..) => Completeness::Partial(reason.clone()),
                (Completeness::Complete, Some(reason), _) => Completeness::Partial(reason),
                (Completeness::Complete, None, (true, false)) => Completeness::Complete,
                (Completeness::Complete, None, (false, true)) => {
                    self.sources.empty(job, &pick.as_container());
                    continue;
                }
                (Completeness::Complete, None, (true, true)) => Completeness::Partial(shown_and_missing()),
                (Completeness::Complete, None, (false, false)) => Completeness::Partial(not_mentioned()),
            };
            self.sources.fill(&pick.as_container(), &members, verdict);
        }
        Ok(())
    }
}
