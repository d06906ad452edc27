//! Reads of members, as streams.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use usersync_connector::{
    CHUNK_ENTRIES, Error, ErrorKind, Extent, MembersEntry, PresentMember, ReadEnd, ReadEvent, ReadStream,
};
use usersync_model::{Member, ObjectId, PartialReason, PrincipalRef};

use super::Inner;
use super::find::Features;
use super::members::{self, Membership, Names};
use crate::client::{Session, reason};

/// How many groups are read at once.
const GROUPS_AT_ONCE: usize = 16;

/// Reads the members of `containers`.
pub(super) fn read(inner: Arc<Inner>, containers: Vec<ObjectId>) -> ReadStream<MembersEntry> {
    let containers: Vec<_> = BTreeSet::from_iter(containers).into_iter().collect();
    let reading = Reading {
        inner,
        batches: containers.chunks(GROUPS_AT_ONCE).map(<[_]>::to_vec).collect(),
        connected: None,
        names: Names::default(),
        without_deref: false,
        ready: VecDeque::from([ReadEvent::Begin(Extent::Full)]),
        chunk: Vec::new(),
        weight: 0,
        partial: Vec::new(),
        ended: false,
    };
    stream::unfold(reading, |mut reading| async {
        let event = reading.next().await?;
        Some((event, reading))
    })
    .boxed()
}

struct Reading {
    inner: Arc<Inner>,
    batches: VecDeque<Vec<ObjectId>>,
    connected: Option<(Session, Features)>,
    names: Names,
    /// Whether answers with the members' entries in them have failed.
    without_deref: bool,
    ready: VecDeque<ReadEvent<MembersEntry>>,
    chunk: Vec<MembersEntry>,
    /// How many members the chunk has, each entry counted as one more.
    weight: usize,
    partial: Vec<(ObjectId, PartialReason)>,
    ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<ReadEvent<MembersEntry>, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            let Some(batch) = self.batches.pop_front() else {
                self.end();
                continue;
            };
            if let Err(error) = self.batch(batch).await {
                self.ended = true;
                return Some(Err(error.at(&self.inner.system, "members")));
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.flush();
        let end = ReadEnd {
            partial: std::mem::take(&mut self.partial),
            ..ReadEnd::complete()
        };
        self.ready.push_back(ReadEvent::End(end));
        if let Some((session, _)) = self.connected.take() {
            self.inner.client.keep(session);
        }
    }

    /// Reads some groups. What fails for many is tried for each alone, so that one does not stand for all.
    async fn batch(&mut self, batch: Vec<ObjectId>) -> Result<(), Error> {
        let (mut session, mut features) = match self.connected.take() {
            Some(connected) => connected,
            None => self.inner.connect().await?,
        };
        features.deref &= !self.without_deref;
        let settings = &self.inner.settings;
        match members::read(&mut session, &features, settings, &batch, &mut self.names).await {
            Ok(read) => {
                self.connected = Some((session, features));
                for (container, membership) in read {
                    self.show(&container, membership);
                }
            }
            Err(error) if is_of_the_connection(&error) => return Err(error),
            Err(_) if features.deref => {
                self.without_deref = true;
                self.batches.push_front(batch);
            }
            Err(error) => match batch.as_slice() {
                [container] => self.show(container, Membership::Unclear(reason(&error))),
                _ => {
                    let each = batch.into_iter().rev().map(|container| vec![container]);
                    each.for_each(|batch| self.batches.push_front(batch));
                }
            },
        }
        Ok(())
    }

    fn show(&mut self, container: &ObjectId, membership: Membership) {
        let (members, partial) = match membership {
            Membership::Members(members, partial) => (members, partial),
            Membership::Missing => {
                let container = container.clone();
                return self.push(MembersEntry::Missing { container }, 1);
            }
            Membership::Unclear(reason) => return self.partial.push((container.clone(), reason)),
        };
        self.partial
            .extend(partial.map(|reason| (container.clone(), reason)));
        let mut members = members.into_iter().map(|id| PresentMember {
            member: Member::new(PrincipalRef::new(self.inner.directory.clone(), id)),
            version: None,
        });
        let mut parts = Vec::new();
        loop {
            let part: Vec<_> = members.by_ref().take(CHUNK_ENTRIES).collect();
            if part.is_empty() && !parts.is_empty() {
                break;
            }
            parts.push(part);
        }
        for members in parts {
            let weight = members.len() + 1;
            let container = container.clone();
            self.push(MembersEntry::Members { container, members }, weight);
        }
    }

    fn push(&mut self, entry: MembersEntry, weight: usize) {
        if self.weight + weight > CHUNK_ENTRIES {
            self.flush();
        }
        self.chunk.push(entry);
        self.weight += weight;
    }

    fn flush(&mut self) {
        self.weight = 0;
        if !self.chunk.is_empty() {
            self.ready
                .push_back(ReadEvent::Chunk(std::mem::take(&mut self.chunk)));
        }
    }
}

/// Whether no other group would fare better.
fn is_of_the_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut | ErrorKind::Unauthenticated | ErrorKind::Unavailable
    )
}
