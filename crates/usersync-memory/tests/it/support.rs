//! Names, and ways to call.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use usersync_connector::{
    Actor, Applied, Authority, CallContext, Error, MemberChange, MemberOperation, MembershipTarget,
    Precondition, ReadEvent, ReadStream, Reader, TargetCapabilities,
};
use usersync_memory::{ManualClock, MemoryDirectory, MemoryStore, MemoryTarget};
use usersync_model::{
    Completeness, Digest, DirectoryChange, JobId, MemberFacets, ObjectId, OperationId, Principal,
    PrincipalKind, PrincipalRef, Role, SystemId, TenantId,
};

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn system(name: &str) -> SystemId {
    SystemId::new(name).unwrap()
}

pub(crate) fn object(name: &str) -> ObjectId {
    ObjectId::new(name).unwrap()
}

pub(crate) fn principal(name: &str) -> PrincipalRef {
    PrincipalRef::parse("hr", name).unwrap()
}

pub(crate) fn context() -> CallContext {
    CallContext {
        tenant: tenant("acme"),
        job: JobId::new("job").unwrap(),
        actor: Actor {
            principal: principal("eve"),
            authority: Authority::JobOwner,
        },
    }
}

pub(crate) fn operation_id(name: &str) -> OperationId {
    OperationId::from_digest(&Digest::of("test", name.as_bytes()))
}

pub(crate) fn operation(id: &str, who: &str, change: MemberChange) -> MemberOperation {
    MemberOperation {
        id: operation_id(id),
        principal: principal(who),
        change,
        precondition: Precondition::None,
    }
}

pub(crate) fn add(who: &str) -> MemberOperation {
    operation(
        &format!("add {who}"),
        who,
        MemberChange::Add(MemberFacets::default()),
    )
}

pub(crate) fn remove(who: &str) -> MemberOperation {
    operation(&format!("remove {who}"), who, MemberChange::Remove)
}

pub(crate) fn manager() -> MemberFacets {
    MemberFacets {
        role: Role::Manager,
        ..MemberFacets::default()
    }
}

pub(crate) fn everything() -> TargetCapabilities {
    TargetCapabilities {
        conditional_write: true,
        idempotency_key: true,
        max_batch: std::num::NonZeroUsize::new(100).unwrap(),
        point_read: true,
        updates: true,
    }
}

/// A target with one container, `team`, of these members.
pub(crate) fn target(capabilities: TargetCapabilities, members: &[&str]) -> MemoryTarget {
    let target = MemoryTarget::new(system("share"), capabilities);
    target.create_container(object("team"));
    for member in members {
        target.add_by_hand(&object("team"), principal(member));
    }
    target
}

pub(crate) fn store() -> (MemoryStore, ManualClock) {
    let clock = ManualClock::default();
    (MemoryStore::new(Arc::new(clock.clone())), clock)
}

/// Users `u0` … with one group `g` of them all, and a group `h` of the first.
pub(crate) fn directory(users: usize) -> MemoryDirectory {
    let directory = MemoryDirectory::new(system("hr"));
    for user in 0..users {
        let id = object(&format!("u{user}"));
        directory.put(Principal::new(id, PrincipalKind::User, format!("User {user}")));
        directory.add_member(&object("g"), &principal(&format!("u{user}")));
    }
    directory.add_member(&object("h"), &principal("u0"));
    directory
}

pub(crate) fn apply_one(target: &MemoryTarget, operation: MemberOperation) -> Result<Applied, Error> {
    let results = block_on(target.apply(&object("team"), &[operation], &context()));
    results.into_iter().next().expect("one result per operation")
}

/// The ids of a container's members, in order.
pub(crate) fn names(target: &MemoryTarget) -> String {
    let members = target.members_of(&object("team")).unwrap();
    let names: Vec<_> = members.iter().map(|m| m.principal.object.as_str()).collect();
    names.join(" ")
}

/// One line: how many entries, in which verdict, with which error.
pub(crate) fn summary<T: Send + 'static>(stream: ReadStream<T>, size: fn(&T) -> usize) -> String {
    block_on(async {
        let mut reader = Reader::new(stream);
        let mut seen = 0;
        while let Some(chunk) = reader.next_chunk().await {
            seen += chunk.iter().map(size).sum::<usize>();
        }
        let error = reader.error().map_or("-", |error| error.kind().code()).to_owned();
        let end = reader.finish();
        let verdict = match &end.verdict {
            Completeness::Complete => "complete",
            Completeness::Partial(reason) => reason.kind.code(),
        };
        let partial: Vec<_> = end.partial.iter().map(|(id, _)| id.as_str()).collect();
        format!("{seen} {verdict} {error} {}", partial.join(","))
            .trim_end()
            .to_owned()
    })
}

pub(crate) fn size(change: &DirectoryChange) -> usize {
    match change {
        DirectoryChange::Members { members, .. } => members.len(),
        _ => 1,
    }
}

/// What a stream shows until it ends or hangs; the flag tells that it hangs.
pub(crate) fn until_pending<T: Send + 'static>(mut stream: ReadStream<T>) -> (Vec<ReadEvent<T>>, bool) {
    let mut events = Vec::new();
    loop {
        match stream.next().now_or_never() {
            None => return (events, true),
            Some(None) => return (events, false),
            Some(Some(event)) => events.push(event.unwrap()),
        }
    }
}

/// Whether a future is ready after one poll.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}
