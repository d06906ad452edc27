//! Connectors from code that blocks: a database driver, a SOAP client, a file.
//!
//! The code runs on one thread of its own, one call after the other, so it may keep a connection and needs no
//! lock.
//!
//! ```
//! use usersync_connector::adapt::blocking::{Blocking, BlockingTarget};
//! use usersync_connector::{CallContext, Result};
//! use usersync_model::{ObjectId, PrincipalRef, SystemId};
//!
//! struct Crm { /* a connection */ }
//!
//! impl BlockingTarget for Crm {
//!     fn list(&mut self, team: &ObjectId, _: &CallContext) -> Result<Option<Vec<PrincipalRef>>> {
//!         Ok(Some(Vec::new())) // SELECT …
//!     }
//!
//!     fn add(&mut self, team: &ObjectId, who: &PrincipalRef, _: &CallContext) -> Result<bool> {
//!         Ok(true) // INSERT …
//!     }
//!
//!     fn remove(&mut self, team: &ObjectId, who: &PrincipalRef, _: &CallContext) -> Result<bool> {
//!         Ok(true) // DELETE …
//!     }
//! }
//!
//! let target = Blocking::spawn(SystemId::new("crm").expect("a valid id"), Crm {})?;
//! # drop(target);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use async_trait::async_trait;
use futures::channel::{mpsc as chunks, oneshot};
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, SinkExt};
use usersync_model::{DirectoryChange, ObjectId, PrincipalRef, SystemId};

use super::target::{Presence, batch_too_large, check_full, no_changes, presence, read_members};
use crate::context::CallContext;
use crate::directory::{Directory, DirectoryCapabilities};
use crate::error::{Error, ErrorKind, Result};
use crate::membership::{
    Applied, MemberOperation, MembersEntry, MembershipRead, MembershipTarget, PresentMember,
    TargetCapabilities,
};
use crate::read::{Cursor, Extent, ReadEnd, ReadEvent, ReadStream};
use crate::reader::{CHUNK_ENTRIES, failed_read};

/// A membership target in blocking code. What each method answers is as for
/// [`TargetFn`](super::TargetFn).
pub trait BlockingTarget: Send + 'static {
    /// All members of a container, or `None` if there is no such container.
    ///
    /// # Errors
    /// Whatever keeps it from answering all of them.
    fn list(&mut self, container: &ObjectId, context: &CallContext) -> Result<Option<Vec<PrincipalRef>>>;

    /// Makes `principal` a member, and tells whether it was none.
    ///
    /// # Errors
    /// Whatever kept it from that, [saying](Error::with_unknown_outcome) if it may have happened all the same.
    fn add(&mut self, container: &ObjectId, principal: &PrincipalRef, context: &CallContext) -> Result<bool>;

    /// Ends the membership of `principal`, and tells whether there was one.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    fn remove(
        &mut self,
        container: &ObjectId,
        principal: &PrincipalRef,
        context: &CallContext,
    ) -> Result<bool>;
}

/// A directory in blocking code.
pub trait BlockingDirectory: Send + 'static {
    /// Everything there is: each principal as [`Upsert`](DirectoryChange::Upsert), and the direct members of
    /// each group as [`Members`](DirectoryChange::Members), in any order.
    ///
    /// The iterator is asked for more only as fast as the reader follows, and dropped when the reader stops. An
    /// error in it ends the read.
    ///
    /// # Errors
    /// Whatever keeps the read from beginning.
    fn read<'a>(
        &'a mut self,
        context: &CallContext,
    ) -> Result<Box<dyn Iterator<Item = Result<DirectoryChange>> + 'a>>;
}

/// Runs blocking code on a thread of its own, as a [`MembershipTarget`] or a [`Directory`].
///
/// * Calls are served one after the other. A read of a directory occupies the thread until it was read to its
///   end or dropped: do not wait for a second read while holding back the first.
/// * A call whose future is dropped before its turn does not run; one that runs, runs to its end.
/// * When the last of its futures, streams and itself is dropped, the thread ends, after the call that it is
///   at. Dropping does not wait for that.
/// * A panic in the code becomes an error, with an unknown outcome, and the code is called again for the next
///   call: it must be able to go on, or panic again.
pub struct Blocking<S> {
    system: SystemId,
    tasks: mpsc::Sender<Task<S>>,
}

type Task<S> = Box<dyn FnOnce(&mut S) + Send>;

impl<S: Send + 'static> Blocking<S> {
    /// Moves `service` to a new thread, which bears the name of the system.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn spawn(system: SystemId, mut service: S) -> io::Result<Self> {
        let (tasks, queue) = mpsc::channel::<Task<S>>();
        thread::Builder::new()
            .name(system.as_str().to_owned())
            .spawn(move || {
                for task in queue {
                    task(&mut service);
                }
            })?;
        Ok(Self { system, tasks })
    }
}

async fn call<S, V: Send + 'static>(
    tasks: mpsc::Sender<Task<S>>,
    system: SystemId,
    operation: &'static str,
    code: impl FnOnce(&mut S) -> Result<V> + Send + 'static,
) -> Result<V> {
    let (answer, answered) = oneshot::channel();
    let task: Task<S> = Box::new(move |service| {
        if !answer.is_canceled() {
            let done = caught(|| code(service));
            // Nobody may be waiting any more.
            let _ = answer.send(done);
        }
    });
    let answer = match tasks.send(task) {
        Ok(()) => answered.await.unwrap_or_else(|_| Err(thread_ended())),
        Err(_) => Err(thread_ended().with_unknown_outcome(false)),
    };
    answer.map_err(|error| error.at(&system, operation))
}

/// What `code` answers, or its panic as an error.
fn caught<V>(code: impl FnOnce() -> Result<V>) -> Result<V> {
    // What is borrowed mutably may be left half changed, which the contract of `Blocking` leaves to it.
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|payload| Err(panicked(&*payload)))
}

fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(
        ErrorKind::Unexpected,
        format!("the connector's code panicked: {text}"),
    )
    .with_unknown_outcome(true)
}

fn thread_ended() -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "the connector's thread has ended; build the connector anew",
    )
    .with_unknown_outcome(true)
}

#[async_trait]
impl<S: BlockingTarget> MembershipRead for Blocking<S> {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities::default()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let (tasks, system, context) = (self.tasks.clone(), self.system.clone(), context.clone());
        read_members(self.system.clone(), containers, move |container| {
            let context = context.clone();
            call(
                tasks.clone(),
                system.clone(),
                "members",
                move |service: &mut S| service.list(&container, &context),
            )
            .boxed()
        })
    }

    async fn member(&self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<Option<PresentMember>> {
        Err(Error::unsupported("reading one member").at(&self.system, "member"))
    }
}

#[async_trait]
impl<S: BlockingTarget> MembershipTarget for Blocking<S> {
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
        let (container, principal) = (container.clone(), operation.principal.clone());
        let (tasks, context) = (self.tasks.clone(), context.clone());
        let code = move |service: &mut S| match presence {
            Presence::Add => service.add(&container, &principal, &context),
            Presence::Remove => service.remove(&container, &principal, &context),
        };
        let changed = call(tasks, self.system.clone(), presence.operation(), code);
        vec![presence.answer(changed.await)]
    }
}

impl<S: BlockingDirectory> Directory for Blocking<S> {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        if since.is_some() {
            return failed_read(no_changes().at(&self.system, "read"));
        }
        let (tasks, system, context) = (self.tasks.clone(), self.system.clone(), context.clone());
        let events = stream::once(async move {
            // One chunk is under way while the reader is at the one before it.
            let (events, followed) = chunks::channel(0);
            let task: Task<S> = Box::new(move |service| send_read(service, &context, events));
            match tasks.send(task) {
                Ok(()) => followed.left_stream(),
                Err(_) => failed_read(thread_ended().with_unknown_outcome(false)).right_stream(),
            }
        });
        events
            .flatten()
            .map(move |event: Result<_>| event.map_err(|error| error.at(&system, "read")))
            .boxed()
    }
}

/// Reads on the thread of the service until all is sent or nobody follows any more.
fn send_read<S: BlockingDirectory>(
    service: &mut S,
    context: &CallContext,
    mut events: chunks::Sender<Result<ReadEvent<DirectoryChange>>>,
) {
    if events.is_closed() {
        return;
    }
    let mut send = |event| block_on(events.send(event)).is_ok();
    let read = caught(|| {
        let mut entries = service.read(context)?.fuse();
        let mut followed = send(Ok(ReadEvent::Begin(Extent::Full)));
        while followed {
            let mut chunk = Vec::with_capacity(CHUNK_ENTRIES);
            let mut failed = None;
            for entry in entries.by_ref().take(CHUNK_ENTRIES) {
                match entry.and_then(|entry| check_full(&entry).map(|()| entry)) {
                    Ok(entry) => chunk.push(entry),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            followed = !chunk.is_empty() && send(Ok(ReadEvent::Chunk(chunk)));
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    });
    // Nobody may be following any more.
    let _ = match read {
        Ok(()) => send(Ok(ReadEvent::End(ReadEnd::complete()))),
        Err(error) => send(Err(error)),
    };
}

impl<S> Clone for Blocking<S> {
    fn clone(&self) -> Self {
        Self {
            system: self.system.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

impl<S> fmt::Debug for Blocking<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}
