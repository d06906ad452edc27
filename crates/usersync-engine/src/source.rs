//! Reading directories into one graph.

use std::collections::BTreeMap;

use usersync_connector::{CallContext, Cursor, ErrorKind, Extent, Reader};
use usersync_model::{Completeness, DirectoryGraph, GraphBuilder, NodeId, PartialKind, SystemId};

use crate::error::Result;
use crate::event::{RunControl, RunEvent};
use crate::job::Job;
use crate::ports::Readers;
use crate::state::load_cursor;

/// The directories of a job as last read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) graph: DirectoryGraph,
    /// Where the next read of changes continues, for the systems that offer it.
    pub(crate) cursors: BTreeMap<SystemId, Cursor>,
    /// Nodes whose members a plan filled in.
    pub(crate) filled: Vec<NodeId>,
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

/// Whether every cursor of `known` is the stored one. It is not when an earlier run did not commit what it read, or another
/// worker went on.
async fn is_current(readers: &Readers, job: &Job, known: &Sources) -> Result<bool> {
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
    known: Sources,
    context: &CallContext,
    control: &RunControl,
) -> Result<Option<Sources>> {
    let Sources {
        mut graph,
        mut cursors,
        filled,
    } = known;
    for node in filled {
        graph.set_members(node, &[]);
    }
    for system in &job.sources {
        let directory = readers.directory(system)?;
        if !directory.capabilities().changes {
            return Ok(None);
        }
        let mut reader = Reader::new(directory.read(cursors.get(system).cloned(), context));
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
                graph.apply(system, change);
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
        let end = reader.finish();
        graph.set_verdict(system, end.verdict);
        for (group, reason) in end.partial {
            if let Some(group) = graph.find_parts(system, group.as_str()) {
                graph.set_group_verdict(group, Completeness::Partial(reason));
            }
            cursors.remove(system);
        }
        if let Some(cursor) = end.cursor {
            cursors.insert(system.clone(), cursor);
        }
    }
    Ok(Some(Sources {
        graph,
        cursors,
        filled: Vec::new(),
    }))
}

async fn read_everything(
    readers: &Readers,
    job: &Job,
    context: &CallContext,
    control: &RunControl,
) -> Result<Sources> {
    let mut builder = GraphBuilder::new();
    let mut cursors = BTreeMap::new();
    for system in &job.sources {
        let mut reader = Reader::new(readers.directory(system)?.read(None, context));
        let extent = reader.begin().await;
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
        if let Some(error) = reader.error() {
            tracing::warn!(name: "usersync.read.failed", %system, kind = error.kind().code(), "a directory was read in part");
        }
        let end = reader.finish();
        let verdict = if extent == Some(Extent::Changes) {
            Completeness::partial(
                PartialKind::Failed,
                "asked for everything, the connector told changes",
            )
        } else {
            end.verdict
        };
        // A group that was cut short is told in full only by the next full read.
        if end.partial.is_empty()
            && verdict.is_complete()
            && let Some(cursor) = end.cursor
        {
            cursors.insert(system.clone(), cursor);
        }
        builder.end(system, verdict, end.partial);
    }
    Ok(Sources {
        graph: builder.finish(),
        cursors,
        filled: Vec::new(),
    })
}
