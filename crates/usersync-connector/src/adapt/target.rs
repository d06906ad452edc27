//! What every target that lists, adds and removes has in common.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use usersync_model::{
    DirectoryChange, Member, MemberFacets, ObjectId, PartialKind, PartialReason, PrincipalRef, SystemId,
};

use crate::error::{Error, ErrorKind, Result};
use crate::membership::{Applied, MemberChange, MemberOperation, MembersEntry, PresentMember};
use crate::read::{Extent, ReadEnd, ReadEvent, ReadStream};

/// The members of a container, or `None` if there is no such container.
pub(super) type Listed = Result<Option<Vec<PrincipalRef>>>;

pub(super) fn present(principal: PrincipalRef) -> PresentMember {
    PresentMember {
        member: Member::new(principal),
        version: None,
    }
}

/// Lists one container after the other. A container that cannot be listed is partial and does not keep the
/// others from being listed; if nothing could be listed at all, the first failure is that of the read, so that
/// it can begin anew. Once the system asks not to be called, nothing more is listed, and the read ends with that wish.
pub(super) fn read_members<L>(
    system: SystemId,
    containers: Vec<ObjectId>,
    list: L,
) -> ReadStream<MembersEntry>
where
    L: Fn(ObjectId) -> BoxFuture<'static, Listed> + Send + Sync + 'static,
{
    let listing = Listing {
        system,
        list: Arc::new(list),
        containers: containers.into_iter(),
        shown: false,
        failed: Vec::new(),
    };
    let begin: BoxStream<'static, _> = stream::iter([Ok(ReadEvent::Begin(Extent::Full))]).boxed();
    begin
        .chain(stream::unfold(Some(listing), |listing| async {
            let mut listing = listing?;
            let event = listing.next().await;
            let goes_on = matches!(event, Ok(ReadEvent::Chunk(_)));
            Some((event, goes_on.then_some(listing)))
        }))
        .boxed()
}

struct Listing<L> {
    system: SystemId,
    list: Arc<L>,
    containers: std::vec::IntoIter<ObjectId>,
    shown: bool,
    failed: Vec<(ObjectId, Error)>,
}

impl<L: Fn(ObjectId) -> BoxFuture<'static, Listed>> Listing<L> {
    async fn next(&mut self) -> Result<ReadEvent<MembersEntry>> {
        let mut limited = None;
        for container in self.containers.by_ref() {
            match (self.list)(container.clone()).await {
                Ok(None) => {
                    self.shown = true;
                    return Ok(ReadEvent::Chunk(vec![MembersEntry::Missing { container }]));
                }
                Ok(Some(members)) => {
                    self.shown = true;
                    let members = members.into_iter().map(present).collect();
                    return Ok(ReadEvent::Chunk(vec![MembersEntry::Members {
                        container,
                        members,
                    }]));
                }
                Err(error) => {
                    let error = error.at(&self.system, "members");
                    if error.kind() == ErrorKind::RateLimited {
                        limited = Some((container, error));
                        break;
                    }
                    self.failed.push((container, error));
                }
            }
        }
        let mut failed = std::mem::take(&mut self.failed);
        let retry = limited.as_ref().map(|(_, error)| error.retry());
        if !self.shown {
            let first = || failed.drain(..).next();
            if let Some((_, error)) = limited.or_else(first) {
                return Err(error);
            }
            return Ok(ReadEvent::End(ReadEnd::complete()));
        }
        failed.extend(limited);
        let mut end = ReadEnd::complete();
        let reason = |error: &Error| PartialReason::new(PartialKind::Failed, error.to_string());
        end.partial = failed
            .iter()
            .map(|(container, error)| (container.clone(), reason(error)))
            .collect();
        if retry.is_some() {
            let unasked = "not asked for, since the system asked not to be called any more";
            let left = self.containers.by_ref();
            end.partial
                .extend(left.map(|container| (container, PartialReason::new(PartialKind::Failed, unasked))));
        }
        end.retry = retry;
        Ok(ReadEvent::End(end))
    }
}

/// What `operation` asks for, of a target that keeps neither roles nor states.
pub(super) fn presence(operation: &MemberOperation) -> Result<Presence> {
    match &operation.change {
        MemberChange::Add(facets) if *facets == MemberFacets::default() => Ok(Presence::Add),
        MemberChange::Remove => Ok(Presence::Remove),
        MemberChange::Add(_) => Err(Error::unsupported("a role or a state of a member")),
        MemberChange::Update(_) => Err(Error::unsupported("updating a member")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Add,
    Remove,
}

impl Presence {
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }

    /// The answer of a target, given whether its code says that something changed. What is there already
    /// needs no adding, and what is gone, with its container perhaps, no removing.
    pub(super) fn answer(self, changed: Result<bool>) -> Result<Applied> {
        match (self, changed) {
            (_, Ok(true)) => Ok(Applied::changed()),
            (_, Ok(false)) => Ok(Applied::unchanged()),
            (Self::Add, Err(error)) if error.kind() == ErrorKind::AlreadyExists => Ok(Applied::unchanged()),
            (Self::Remove, Err(error)) if error.kind() == ErrorKind::NotFound => Ok(Applied::unchanged()),
            (_, Err(error)) => Err(error),
        }
    }
}

/// The refusal of a batch, for each operation in it, where only single operations are offered.
pub(super) fn batch_too_large(operations: &[MemberOperation]) -> Vec<Result<Applied>> {
    let refusal = |_| {
        Err(Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "{} operations in one call; give one at a time, as the capabilities say",
                operations.len()
            ),
        ))
    };
    operations.iter().map(refusal).collect()
}

/// Whether an entry may stand in a full read.
pub(super) fn check_full(entry: &DirectoryChange) -> Result<()> {
    match entry {
        DirectoryChange::Upsert(_) | DirectoryChange::Members { .. } => Ok(()),
        DirectoryChange::Removed(_)
        | DirectoryChange::MembersRemoved { .. }
        | DirectoryChange::MembersReset { .. } => Err(Error::new(
            ErrorKind::InvalidData,
            "a full read shows what is there; give only `Upsert` and `Members`",
        )),
    }
}

/// The refusal of a cursor where reads of changes are not offered.
pub(super) fn no_changes() -> Error {
    Error::unsupported("reading changes since a cursor")
}
