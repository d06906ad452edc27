//! Systems of any size that keep nothing of it: what they show is made as it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync::connector::{
    ActorState, Applied, CallContext, Clock, ContainerCatalog, Cursor, Directory, DirectoryCapabilities,
    Extent, MemberOperation, MembersEntry, MembershipRead, MembershipTarget, PresentMember, ReadEnd,
    ReadStream, Result, TargetCapabilities, Version, read_stream,
};
use usersync::engine::{Engine, Job, Options, RunReport, RunRequest};
use usersync::memory::{ManualClock, MemoryActors, MemoryNotifier, MemoryStore};
use usersync::model::{
    Container, ContainerKind, ContainerRef, DirectoryChange, GroupKind, JobId, LedgerRow, Member,
    MemberFacets, ObjectId, Origin, Principal, PrincipalKind, PrincipalRef, Selection, SystemId, TenantId,
};
use usersync::reconcile::Policy;
use usersync::store::{
    Check, Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result as StoreResult,
    StateRead, StateStore, Stored, Table, Transaction, Write,
};
use usersync_tests::{container, job, tenant, user};

const CHUNK: u64 = 1000;

/// How large everything is: users in one group that every container selects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) containers: u64,
    pub(crate) users: u64,
    /// Of how many users one is not in a container, though the ledger says so; nobody, if 0.
    pub(crate) missing: u64,
    /// Of how many members one has left the group; nobody, if 0.
    pub(crate) gone: u64,
    /// Whether nobody is anywhere, and the ledger is empty.
    pub(crate) is_new: bool,
    /// Whether members have versions.
    pub(crate) versions: bool,
}

impl Size {
    pub(crate) fn of(containers: u64, users: u64) -> Self {
        Self {
            containers,
            users,
            missing: 0,
            gone: 0,
            is_new: false,
            versions: true,
        }
    }

    fn is_present(self, user: u64) -> bool {
        !self.is_new && (self.missing == 0 || user % self.missing != 1)
    }

    fn is_desired(self, user: u64) -> bool {
        self.gone == 0 || user % self.gone != 2
    }

    /// How many operations a run has to do.
    pub(crate) fn operations(self) -> u64 {
        let needs = |user: &u64| self.is_present(*user) != self.is_desired(*user);
        (0..self.users).filter(needs).count() as u64 * self.containers
    }
}

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many containers were read with one call at most.
    pub(crate) together: AtomicU64,
    /// How many operations were applied.
    pub(crate) applied: AtomicU64,
}

fn user_id(number: u64) -> ObjectId {
    ObjectId::new(format!("user-{number:09}")).unwrap()
}

fn team(number: u64) -> ContainerRef {
    container(&format!("team-{number:09}"))
}

#[derive(Debug)]
struct Crowd(SystemId, Size);

impl Directory for Crowd {
    fn system(&self) -> &SystemId {
        &self.0
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, _: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        let (system, size) = (self.0.clone(), self.1);
        let group = user("all").object;
        let everybody = Principal::new(group.clone(), PrincipalKind::Group(GroupKind::UserGroup), "All");
        let users = (0..size.users).map(|number| {
            DirectoryChange::Upsert(Principal::new(
                user_id(number),
                PrincipalKind::User,
                format!("User {number}"),
            ))
        });
        let members = (0..size.users).step_by(CHUNK as usize).map(move |first| {
            let numbers = (first..(first + CHUNK).min(size.users)).filter(|number| size.is_desired(*number));
            DirectoryChange::Members {
                group: group.clone(),
                system: system.clone(),
                members: numbers.map(user_id).collect(),
            }
        });
        let group = std::iter::once(DirectoryChange::Upsert(everybody));
        read_stream(
            Extent::Full,
            group.chain(users).chain(members),
            ReadEnd::complete(),
        )
    }
}

#[derive(Debug)]
struct Hall {
    system: SystemId,
    size: Size,
    seen: Arc<Seen>,
}

#[async_trait]
impl MembershipRead for Hall {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            conditional_write: self.size.versions,
            max_batch: std::num::NonZeroUsize::new(100).unwrap(),
            ..TargetCapabilities::default()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, _: &CallContext) -> ReadStream<MembersEntry> {
        self.seen
            .together
            .fetch_max(containers.len() as u64, Ordering::Relaxed);
        let size = self.size;
        let entries = containers.into_iter().flat_map(move |container| {
            (0..size.users).step_by(CHUNK as usize).map(move |first| {
                let numbers = first..(first + CHUNK).min(size.users);
                let present = |number| PresentMember {
                    member: Member {
                        principal: PrincipalRef::new(user("all").system, user_id(number)),
                        facets: MemberFacets::default(),
                    },
                    version: size.versions.then(|| Version(format!("version-{number}"))),
                };
                MembersEntry::Members {
                    container: container.clone(),
                    members: numbers
                        .filter(|number| size.is_present(*number))
                        .map(present)
                        .collect(),
                }
            })
        });
        // A chunk holds one entry, which holds many members.
        let chunks = entries.map(|entry| Ok(usersync::connector::ReadEvent::Chunk(vec![entry])));
        let begin = std::iter::once(Ok(usersync::connector::ReadEvent::Begin(Extent::Full)));
        let end = std::iter::once(Ok(usersync::connector::ReadEvent::End(ReadEnd::complete())));
        stream::iter(begin.chain(chunks).chain(end)).boxed()
    }

    async fn member(&self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<Option<PresentMember>> {
        Err(usersync::connector::Error::unsupported("reading one member"))
    }
}

#[async_trait]
impl MembershipTarget for Hall {
    async fn apply(
        &self,
        _: &ObjectId,
        operations: &[MemberOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        self.seen
            .applied
            .fetch_add(operations.len() as u64, Ordering::Relaxed);
        operations
            .iter()
            .map(|_| {
                Ok(Applied {
                    changed: true,
                    version: None,
                })
            })
            .collect()
    }
}

#[derive(Debug)]
struct List(Size);

impl ContainerCatalog for List {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _: &CallContext) -> ReadStream<Container> {
        let selection = Selection::of([user("all")]);
        let listed = (0..self.0.containers)
            .map(team)
            .filter(move |id| only.as_ref().is_none_or(|only| only.contains(id)))
            .map(move |id| Container::new(id, ContainerKind::Team, "Team", selection.clone()));
        read_stream(Extent::Full, listed, ReadEnd::complete())
    }
}

/// A store whose ledger is made as it is read, and that keeps neither rows nor intents nor logs. Nothing but the operations of a
/// run grows with a target over it.
#[derive(Debug)]
struct Books {
    inner: MemoryStore,
    size: Size,
}

impl Books {
    fn entry(key: LedgerKey) -> LedgerEntry {
        LedgerEntry {
            key,
            row: LedgerRow::new(Origin::Ours, [job("sync")]),
            revision: 1,
        }
    }
}

#[async_trait]
impl StateRead for Books {
    async fn now(&self) -> StoreResult<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> StoreResult<Option<Stored>> {
        self.inner.value(tenant, table, key).await
    }

    fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
        self.inner.values(tenant, table, prefix)
    }

    async fn ledger_row(&self, _: &TenantId, key: &LedgerKey) -> StoreResult<Option<LedgerEntry>> {
        Ok((!self.size.is_new).then(|| Self::entry(key.clone())))
    }

    fn ledger(&self, _: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
        let size = self.size;
        let teams: Box<dyn Iterator<Item = ContainerRef> + Send> = match containers {
            _ if size.is_new => Box::new(std::iter::empty()),
            Some(containers) => Box::new(containers.into_iter()),
            None => Box::new((0..size.containers).map(team)),
        };
        let chunks = teams.flat_map(move |team| {
            (0..size.users).step_by(CHUNK as usize).map(move |first| {
                let numbers = first..(first + CHUNK).min(size.users);
                let entry = |number| {
                    let user = PrincipalRef::new(user("all").system, user_id(number));
                    Self::entry(LedgerKey::member(team.clone(), user))
                };
                Ok(numbers.map(entry).collect())
            })
        });
        stream::iter(chunks).boxed()
    }

    async fn counter(&self, tenant: &TenantId, counter: &Key) -> StoreResult<u64> {
        self.inner.counter(tenant, counter).await
    }

    fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
        self.inner.log(tenant, log, after)
    }
}

#[async_trait]
impl StateStore for Books {
    async fn commit(&self, mut transaction: Transaction) -> StoreResult<()> {
        transaction
            .checks
            .retain(|check| !matches!(check, Check::Ledger { .. }));
        transaction.writes.retain(|write| match write {
            Write::Append { .. } | Write::Ledger { .. } => false,
            Write::Delete { table, .. } | Write::Put { table, .. } => *table != Table::Intent,
            _ => true,
        });
        self.inner.commit(transaction).await
    }

    async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> StoreResult<Lease> {
        self.inner.acquire(name, holder, ttl).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> StoreResult<Lease> {
        self.inner.renew(lease, ttl).await
    }

    async fn release(&self, lease: &Lease) -> StoreResult<()> {
        self.inner.release(lease).await
    }
}

/// An engine over all of that, with one job.
pub(crate) struct Huge {
    engine: Engine,
    pub(crate) seen: Arc<Seen>,
}

impl Huge {
    pub(crate) fn new(size: Size, policy: Policy, options: Options) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let seen: Arc<Seen> = Arc::default();
        let actors = MemoryActors::new();
        actors.set(&tenant(), user("boss"), ActorState::Active);
        let (from, to) = (user("all").system, team(0).system);
        let engine = Engine::builder(
            Arc::new(Books {
                inner: MemoryStore::new(Arc::clone(&clock)),
                size,
            }),
            clock,
            Arc::new(List(size)),
            Arc::new(actors),
            Arc::new(MemoryNotifier::new()),
        )
        .directory(Arc::new(Crowd(from.clone(), size)))
        .target(Arc::new(Hall {
            system: to.clone(),
            size,
            seen: Arc::clone(&seen),
        }))
        .options(options)
        .build();
        let id: JobId = job("sync");
        let job = Job::new(tenant(), id, "sync", [from], to, user("boss")).with_policy(policy);
        block_on(engine.save_job(&job)).unwrap();
        Self { engine, seen }
    }

    pub(crate) fn run(&self) -> RunReport {
        let (tenant, job) = (tenant(), job("sync"));
        block_on(self.engine.run(&tenant, &job, RunRequest::everything())).unwrap()
    }
}
