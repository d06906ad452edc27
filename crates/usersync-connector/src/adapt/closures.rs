//! A target and a directory from closures.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use usersync_model::{Digest, DirectoryChange, ObjectId, PrincipalRef, SystemId};

use super::target::{Presence, batch_too_large, check_full, no_changes, presence, present, read_members};
use crate::context::CallContext;
use crate::directory::{Directory, DirectoryCapabilities};
use crate::error::{Error, Result};
use crate::membership::{
    Applied, MemberOperation, MembersEntry, MembershipRead, MembershipTarget, PresentMember,
    TargetCapabilities,
};
use crate::read::{Cursor, Extent, ReadEnd, ReadStream};
use crate::reader::{failed_read, read_stream};

type ListFn =
    dyn Fn(ObjectId, CallContext) -> BoxFuture<'static, Result<Option<Vec<PrincipalRef>>>> + Send + Sync;
type MemberFn = dyn Fn(ObjectId, PrincipalRef, CallContext) -> BoxFuture<'static, Result<bool>> + Send + Sync;
type EntriesFn = dyn Fn(CallContext) -> BoxFuture<'static, Result<Vec<DirectoryChange>>> + Send + Sync;

/// A membership target from three closures: list the members of a container, add one, remove one.
///
/// * `list` answers all members of a container, or `None` if there is no such container. An error makes that
///   container partial; if no container could be listed at all, it fails the read.
/// * `add` and `remove` answer whether anything changed. Adding who is there and removing who is not are no
///   failures: answer `false`, or [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) and
///   [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), which stand for it. An error that tells
///   nothing of whether the effect happened must say [so](Error::with_unknown_outcome), unless its kind does.
/// * Each is given in whose name it is to act.
///
/// The target keeps neither roles nor states, takes one operation a call, and checks no preconditions: between
/// a read and its effect, a person's change is not noticed.
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::{Arc, Mutex};
///
/// use usersync_connector::adapt::TargetFn;
/// use usersync_model::{PrincipalRef, SystemId};
///
/// let team = Arc::new(Mutex::new(BTreeSet::<PrincipalRef>::new()));
/// let (listed, added, removed) = (Arc::clone(&team), Arc::clone(&team), Arc::clone(&team));
/// let target = TargetFn::new(
///     SystemId::new("crm").expect("a valid id"),
///     move |_team, _context| {
///         let members = listed.lock().expect("no panic").iter().cloned().collect();
///         async { Ok(Some(members)) }
///     },
///     move |_team, who, _context| {
///         let changed = added.lock().expect("no panic").insert(who);
///         async move { Ok(changed) }
///     },
///     move |_team, who, _context| {
///         let changed = removed.lock().expect("no panic").remove(&who);
///         async move { Ok(changed) }
///     },
/// );
/// # drop(target);
/// ```
#[derive(Clone)]
pub struct TargetFn {
    system: SystemId,
    list: Arc<ListFn>,
    add: Arc<MemberFn>,
    remove: Arc<MemberFn>,
    member: Option<Arc<MemberFn>>,
}

impl TargetFn {
    /// A target of these closures.
    pub fn new<L, LF, A, AF, R, RF>(system: SystemId, list: L, add: A, remove: R) -> Self
    where
        L: Fn(ObjectId, CallContext) -> LF + Send + Sync + 'static,
        LF: Future<Output = Result<Option<Vec<PrincipalRef>>>> + Send + 'static,
        A: Fn(ObjectId, PrincipalRef, CallContext) -> AF + Send + Sync + 'static,
        AF: Future<Output = Result<bool>> + Send + 'static,
        R: Fn(ObjectId, PrincipalRef, CallContext) -> RF + Send + Sync + 'static,
        RF: Future<Output = Result<bool>> + Send + 'static,
    {
        Self {
            system,
            list: Arc::new(move |container, context| Box::pin(list(container, context))),
            add: member_fn(add),
            remove: member_fn(remove),
            member: None,
        }
    }

    /// The same target with a point read: whether one principal is a member, as of now. `false` is proof of
    /// absence.
    #[must_use]
    pub fn with_point_read<M, MF>(mut self, member: M) -> Self
    where
        M: Fn(ObjectId, PrincipalRef, CallContext) -> MF + Send + Sync + 'static,
        MF: Future<Output = Result<bool>> + Send + 'static,
    {
        self.member = Some(member_fn(member));
        self
    }
}

fn member_fn<M, MF>(member: M) -> Arc<MemberFn>
where
    M: Fn(ObjectId, PrincipalRef, CallContext) -> MF + Send + Sync + 'static,
    MF: Future<Output = Result<bool>> + Send + 'static,
{
    Arc::new(move |container, principal, context| Box::pin(member(container, principal, context)))
}

#[async_trait]
impl MembershipRead for TargetFn {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            point_read: self.member.is_some(),
            ..TargetCapabilities::default()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let (list, context) = (Arc::clone(&self.list), context.clone());
        read_members(self.system.clone(), containers, move |container| {
            list(container, context.clone())
        })
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let Some(member) = &self.member else {
            return Err(Error::unsupported("reading one member").at(&self.system, "member"));
        };
        member(container.clone(), principal.clone(), context.clone())
            .await
            .map(|is_member| is_member.then(|| present(principal.clone())))
            .map_err(|error| error.at(&self.system, "member"))
    }
}

#[async_trait]
impl MembershipTarget for TargetFn {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<Result<Applied>> {
        let [operation] = operations else {
            return batch_too_large(operations);
        };
        let presence = match presence(operation) {
            Ok(presence) => presence,
            Err(error) => return vec![Err(error.at(&self.system, "apply"))],
        };
        let effect = match presence {
            Presence::Add => &self.add,
            Presence::Remove => &self.remove,
        };
        let changed = effect(container.clone(), operation.principal.clone(), context.clone()).await;
        let answer = presence.answer(changed);
        vec![answer.map_err(|error| error.at(&self.system, presence.operation()))]
    }
}

impl fmt::Debug for TargetFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetFn")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

/// A directory from one closure that answers everything at once: each principal as
/// [`Upsert`](DirectoryChange::Upsert), and the direct members of each group as
/// [`Members`](DirectoryChange::Members).
///
/// The read is complete, so the closure must answer all there is, or an error: whoever is left out has left.
#[derive(Clone)]
pub struct DirectoryFn {
    system: SystemId,
    entries: Arc<EntriesFn>,
    filter: Option<Digest>,
}

impl DirectoryFn {
    /// A directory of this closure.
    pub fn new<E, EF>(system: SystemId, entries: E) -> Self
    where
        E: Fn(CallContext) -> EF + Send + Sync + 'static,
        EF: Future<Output = Result<Vec<DirectoryChange>>> + Send + 'static,
    {
        Self {
            system,
            entries: Arc::new(move |context| Box::pin(entries(context))),
            filter: None,
        }
    }

    /// The same directory, which tells by which [filter](Directory::filter) the closure chooses.
    #[must_use]
    pub fn with_filter(mut self, filter: Digest) -> Self {
        self.filter = Some(filter);
        self
    }
}

impl Directory for DirectoryFn {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn filter(&self) -> Option<Digest> {
        self.filter
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        if since.is_some() {
            return failed_read(no_changes().at(&self.system, "read"));
        }
        let (system, entries) = (self.system.clone(), Arc::clone(&self.entries));
        let context = context.clone();
        let read = async move {
            let entries = match entries(context).await {
                Ok(entries) => entries,
                Err(error) => return failed_read(error.at(&system, "read")),
            };
            match entries.iter().try_for_each(check_full) {
                Ok(()) => read_stream(Extent::Full, entries, ReadEnd::complete()),
                Err(error) => failed_read(error.at(&system, "read")),
            }
        };
        stream::once(read).flatten().boxed()
    }
}

impl fmt::Debug for DirectoryFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryFn")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}
