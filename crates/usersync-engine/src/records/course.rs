//! Which collections a run covers, and what is to be in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_connector::CallContext;
use usersync_model::{
    Completeness, Container, ContainerKind, ContainerRef, KindName, NodeId, ObjectId, PrincipalRef, Rest,
    Scratch, Selection, Subject,
};
use usersync_reconcile::{Drafts, Finding, RecordRules, Section, Tally, Warning, What};

use super::look::{Item, SourceState, Wish};
use super::read::read;
use super::served::{Served, load};
use super::{Collections, RecordJob};
use crate::error::{EngineError, Result};
use crate::job::{Job, Scope};
use crate::planning::{DepartureChanges, grace, partial_selection};
use crate::ports::Readers;
use crate::report::{FailedRead, ReadOf};
use crate::source::Sources;
use crate::state::{Departure, Intent};
use crate::warnings::Warnings;

/// Which collections a run covers, and what is to be in them.
pub(super) struct Course {
    /// In the order of their ids.
    pub(super) items: Vec<Item>,
    /// The source that all of them share.
    pub(super) shared: Option<Arc<SourceState>>,
    pub(super) departed: DepartureChanges,
    pub(super) warnings: Warnings,
    /// What is known of collections without a look.
    pub(super) drafts: Drafts,
    /// The collections of who is in grace: they are left alone.
    pub(super) in_grace: BTreeSet<ContainerRef>,
    /// What an earlier run began in collections that are not among the items.
    pub(super) elsewhere: Vec<Intent>,
    /// Who gets a copy.
    pub(super) to: Option<Selection>,
    /// Whether there is any destination, in the scope of the run or beside it.
    pub(super) serves_others: bool,
}

/// What finding out takes.
#[derive(Clone, Copy)]
pub(super) struct Inquiry<'a> {
    pub(super) readers: &'a Readers,
    pub(super) job: &'a Job,
    pub(super) records: &'a RecordJob,
    pub(super) rules: &'a RecordRules,
    pub(super) scope: &'a Scope,
    pub(super) departures: &'a [Departure],
    pub(super) context: &'a CallContext,
    pub(super) now: DateTime<Utc>,
}

/// Finds out which collections a run covers; reads the source that they share.
pub(super) async fn course(
    inquiry: Inquiry<'_>,
    sources: &mut Sources,
    mut intents: HashMap<ContainerRef, Vec<Intent>>,
) -> Result<Course> {
    let Inquiry {
        readers,
        job,
        records,
        scope,
        ..
    } = inquiry;
    let mut served = load(readers.state.as_ref(), job).await?;
    let mut course = Course {
        items: Vec::new(),
        shared: None,
        departed: DepartureChanges::default(),
        warnings: Warnings::new(readers.options.warnings),
        drafts: Drafts::default(),
        in_grace: BTreeSet::new(),
        elsewhere: Vec::new(),
        to: None,
        serves_others: false,
    };
    match &records.collections {
        Collections::Distribute { owner, group, to } => {
            course.to = Some(to.clone());
            course.read_shared(inquiry, sources, owner, group).await?;
            course.destinations(inquiry, sources, served);
        }
        Collections::Each(each) => {
            for (object, from) in each {
                let collection = collection(job, object, object.to_string());
                course.items.push(Item {
                    served: served.remove(object),
                    principal: None,
                    wish: Wish::Desired,
                    intents: Vec::new(),
                    from: Some(from.clone()),
                    collection,
                });
            }
            let unlisted = served
                .into_keys()
                .map(|object| ContainerRef::new(job.target.clone(), object));
            course.warnings.extend(
                unlisted
                    .filter(|_| *scope == Scope::Everything)
                    .map(Warning::UnlistedContainer),
            );
        }
    }
    course.serves_others = course.items.iter().any(|item| item.wish == Wish::Desired);
    if let Scope::Containers(wanted) = scope {
        course.items.retain(|item| wanted.contains(&item.collection.id));
        let listed: BTreeSet<&ContainerRef> = course.items.iter().map(|item| &item.collection.id).collect();
        let unlisted = wanted.iter().filter(|wanted| !listed.contains(wanted)).cloned();
        course.warnings.extend(unlisted.map(Warning::UnlistedContainer));
    }
    for item in &mut course.items {
        item.intents = intents.remove(&item.collection.id).unwrap_or_default();
    }
    if *scope == Scope::Everything {
        course.elsewhere = intents.into_values().flatten().collect();
        course.elsewhere.sort_by_key(|intent| intent.operation);
    }
    Ok(course)
}

impl Course {
    /// Reads the source once, however many collections it fills.
    async fn read_shared(
        &mut self,
        inquiry: Inquiry<'_>,
        sources: &mut Sources,
        owner: &PrincipalRef,
        group: &ObjectId,
    ) -> Result<()> {
        let Inquiry {
            readers,
            job,
            records,
            rules,
            context,
            ..
        } = inquiry;
        let gone = || EngineError::SourceGone(ContainerRef::new(records.from.clone(), group.clone()));
        if is_gone(job, sources, owner) {
            return Err(gone());
        }
        let shown = read(&readers.bounds(), readers.records(&records.from)?, group, context).await;
        if shown.missing {
            return Err(gone());
        }
        if let Some((kind, retry)) = shown.failed {
            let what = ReadOf::Source(records.from.clone());
            sources.failed.push(FailedRead { what, kind, retry });
        }
        if let Some(reason) = &shown.rest {
            self.warnings.insert(Warning::PartialSource {
                system: records.from.clone(),
                reason: reason.clone(),
            });
        }
        self.shared = Some(Arc::new(SourceState::new(shown, rules)));
        Ok(())
    }

    /// The collections of who is selected, and of who was before.
    fn destinations(
        &mut self,
        inquiry: Inquiry<'_>,
        sources: &mut Sources,
        mut served: BTreeMap<ObjectId, Served>,
    ) {
        let Inquiry {
            job,
            records,
            scope,
            departures,
            now,
            ..
        } = inquiry;
        let Collections::Distribute { owner, group, to } = &records.collections else {
            return;
        };
        let mut scratch = Scratch::new();
        let source = ContainerRef::new(records.from.clone(), group.clone());
        let selecting = Container::new(source.clone(), kind(), job.name.as_str(), to.clone());
        let resolved = sources.resolve(&selecting, &job.resolve, &mut scratch);
        self.warnings
            .extend(resolved.missing.iter().map(|principal| Warning::MissingPick {
                container: source.clone(),
                principal: principal.clone(),
            }));
        self.warnings
            .extend(partial_selection(sources.graph(), job, &source, &resolved.rest));
        let before: BTreeMap<ObjectId, NodeId> = served
            .iter()
            .filter_map(|(object, served)| Some((object.clone(), sources.intern(served.principal.as_ref()?))))
            .collect();
        let graph = sources.graph();
        let grace = grace(
            graph,
            before.values().map(|&node| (node, ())),
            job,
            departures,
            now,
        );
        self.departed = grace.changes;
        let mut items = BTreeMap::new();
        for node in &resolved.certain {
            let principal = graph.principal_ref(*node);
            let collection = collection(job, &principal.object, graph.node(*node).name().to_owned());
            // Nobody gets copies of what is their own.
            if principal == *owner || collection.id == source {
                continue;
            }
            let object = principal.object.clone();
            items.entry(object.clone()).or_insert_with(|| Item {
                served: served.remove(&object),
                principal: Some(principal),
                wish: Wish::Desired,
                intents: Vec::new(),
                from: None,
                collection,
            });
        }
        let mut in_question: Vec<NodeId> = before.values().copied().collect();
        in_question.sort_unstable();
        in_question.dedup();
        let denied = match &resolved.rest {
            Rest::Absent => in_question,
            Rest::Unknown(_) => graph.denied(to, &job.resolve, &mut scratch, &in_question),
        };
        let reason = resolved.rest.reason().or(resolved.maybe_reason.as_ref());
        for (object, served) in served {
            let node = before.get(&object).copied();
            let name = node.map_or_else(String::new, |node| graph.node(node).name().to_owned());
            let collection = collection(job, &object, name);
            if let (Some(node), Some(principal)) = (node, &served.principal)
                && grace.kept.contains_key(&node)
            {
                self.leave_in_grace(scope, &collection, principal);
                continue;
            }
            let is_certain = node.is_none_or(|node| {
                let is_listed = resolved.certain.binary_search(&node).is_ok();
                is_listed
                    || (denied.binary_search(&node).is_ok() && resolved.maybe.binary_search(&node).is_err())
            });
            // Who may be in grace keeps the copies if they are, whatever is selected by now.
            let may_be_in_grace = node.filter(|node| grace.doubtful.contains_key(node));
            let in_doubt = may_be_in_grace.map(|node| graph.system_verdict(graph.node(node).system()));
            let wish = match (reason.filter(|_| !is_certain), in_doubt) {
                (Some(reason), _) => Wish::Doubtful(reason.clone()),
                (None, Some(Completeness::Partial(reason))) => Wish::Doubtful(reason),
                (None, _) => Wish::Leaving,
            };
            let item = Item {
                principal: served.principal.clone(),
                served: Some(served),
                wish,
                intents: Vec::new(),
                from: None,
                collection,
            };
            items.insert(object, item);
        }
        self.items = items.into_values().collect();
    }

    /// Who left the directory keeps what they have, for now.
    fn leave_in_grace(&mut self, scope: &Scope, collection: &Container, principal: &PrincipalRef) {
        let is_covered = match scope {
            Scope::Containers(wanted) => wanted.contains(&collection.id),
            Scope::Everything => true,
        };
        if is_covered {
            let mut section = Section::unchanged(collection, Tally::default());
            section.findings.push(Finding {
                subject: Subject::Principal(principal.clone()),
                label: collection.name.clone(),
                what: What::InGrace,
            });
            self.drafts.push(section);
            self.in_grace.insert(collection.id.clone());
        }
    }
}

/// Whether a complete read of a directory shows that somebody is gone.
fn is_gone(job: &Job, sources: &Sources, principal: &PrincipalRef) -> bool {
    let graph = sources.graph();
    let is_shown = graph
        .find(principal)
        .is_some_and(|node| graph.node(node).kind().is_some());
    job.sources.contains(&principal.system)
        && graph.system_verdict(&principal.system).is_complete()
        && !is_shown
}

fn collection(job: &Job, object: &ObjectId, name: String) -> Container {
    let id = ContainerRef::new(job.target.clone(), object.clone());
    Container::new(id, kind(), name, Selection::default())
}

fn kind() -> ContainerKind {
    ContainerKind::Other(KindName::new("collection").expect("it is a name"))
}
