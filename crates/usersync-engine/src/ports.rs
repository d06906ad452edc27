//! What the engine is connected to, reading and writing apart.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use usersync_connector::wrap::{Measured, ReadLimits};
use usersync_connector::{
    ActorDirectory, Clock, ContainerCatalog, Directory, MembershipRead, ReadStream, Reader, RecordRead,
};
use usersync_model::{Digest, DigestBuilder, PrincipalRef, SystemId};
use usersync_store::StateRead;

use crate::backoff::Backoff;
use crate::error::{EngineError, Result};
use crate::job::{Job, JobKind};

/// Everything that planning reads from. Nothing can be written through it: the types it holds have no method that writes.
#[derive(Clone, Debug)]
pub struct Readers {
    pub(crate) state: Arc<dyn StateRead>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Arc<dyn ContainerCatalog>,
    pub(crate) actors: Arc<dyn ActorDirectory>,
    pub(crate) directories: BTreeMap<SystemId, Arc<dyn Directory>>,
    pub(crate) targets: BTreeMap<SystemId, Arc<dyn MembershipRead>>,
    /// The sources of records, and the reading halves of their targets.
    pub(crate) records: BTreeMap<SystemId, Arc<dyn RecordRead>>,
    pub(crate) administrator: Option<PrincipalRef>,
    pub(crate) options: Options,
}

/// Figures of the engine; every one has a sensible default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How many operations become durable together, before their effects. What became of them is recorded with the next ones, which is
    /// when no more are left than run at once.
    pub batch: NonZeroUsize,
    /// How many calls to the target run at once.
    pub concurrency: NonZeroUsize,
    /// How many findings of each kind a verification lists.
    pub findings: usize,
    /// How many runs of each job are remembered.
    pub history: NonZeroUsize,
    /// How large a plan, in bytes of its JSON, is remembered whole; of a larger one, what it holds is.
    pub history_plan: usize,
    /// How long a lease lasts without being renewed. It is renewed each time a third of it is over, and before batches. More than zero: a lease
    /// that is over as soon as it is given is renewed for ever, and nothing else is done under it.
    pub lease: Duration,
    /// How long one notification may take: a quarter of a lease at most, so that nobody else delivers meanwhile.
    pub notify: Duration,
    /// How long a notification that was refused waits before it is tried again, and when it is given up.
    pub outbox: Backoff,
    /// How long a plan can be applied after it was made.
    pub plan_lifetime: Duration,
    /// How many point reads one plan may make where a target was read in part.
    pub point_reads: usize,
    /// How many memberships are in memory at once, about, while members are read and planned. Where the ledger says that the
    /// containers hold more, each counting for 256 at least, they are read and planned in portions of that size, one after the other;
    /// a container is never divided. A [`Preview`](crate::Preview) keeps what it read, for explanations.
    pub portion: NonZeroUsize,
    /// How much one read of a directory, a target, a catalog or a collection may bring. What hits a limit is partial, and its reason
    /// names the limit.
    pub read: ReadLimits,
    /// How long a job whose systems fail waits before it is tried again, and when it counts as quarantined, of which the
    /// administrators are told.
    pub retry: Backoff,
    /// How many warnings a plan lists.
    pub warnings: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: NonZeroUsize::new(256).expect("256 is not zero"),
            concurrency: NonZeroUsize::new(16).expect("16 is not zero"),
            findings: 1000,
            history: NonZeroUsize::new(100).expect("100 is not zero"),
            history_plan: 256 * 1024,
            lease: Duration::from_secs(120),
            notify: Duration::from_secs(30),
            outbox: Backoff {
                first: Duration::from_secs(60),
                most: Duration::from_secs(4 * 3600),
                patience: NonZeroU32::new(12).expect("12 is not zero"),
            },
            plan_lifetime: Duration::from_secs(24 * 3600),
            point_reads: 1000,
            portion: NonZeroUsize::new(4_000_000).expect("4,000,000 is not zero"),
            read: ReadLimits::default(),
            retry: Backoff {
                first: Duration::from_secs(5 * 60),
                most: Duration::from_secs(24 * 3600),
                patience: NonZeroU32::new(3).expect("3 is not zero"),
            },
            warnings: 1000,
        }
    }
}

/// What every read is held to.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    limits: ReadLimits,
    clock: Arc<dyn Clock>,
}

impl Bounds {
    pub(crate) fn follow<T: Measured>(&self, stream: ReadStream<T>) -> Reader<T> {
        Reader::within(stream, self.limits, Arc::clone(&self.clock))
    }
}

impl Readers {
    /// The least that planning needs. Add the systems that jobs name.
    #[must_use]
    pub fn new(
        state: Arc<dyn StateRead>,
        clock: Arc<dyn Clock>,
        catalog: Arc<dyn ContainerCatalog>,
        actors: Arc<dyn ActorDirectory>,
    ) -> Self {
        Self {
            state,
            clock,
            catalog,
            actors,
            directories: BTreeMap::new(),
            targets: BTreeMap::new(),
            records: BTreeMap::new(),
            administrator: None,
            options: Options::default(),
        }
    }

    /// The same readers with a directory.
    #[must_use]
    pub fn with_directory(mut self, directory: Arc<dyn Directory>) -> Self {
        self.directories.insert(directory.system().clone(), directory);
        self
    }

    /// The same readers with the reading half of a target.
    #[must_use]
    pub fn with_target(mut self, target: Arc<dyn MembershipRead>) -> Self {
        self.targets.insert(target.system().clone(), target);
        self
    }

    /// The same readers with a system that shows records: a source of them, or the reading half of a target.
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn RecordRead>) -> Self {
        self.records.insert(records.system().clone(), records);
        self
    }

    /// The same readers with the administrator who acts for owners that are gone.
    #[must_use]
    pub fn with_administrator(mut self, administrator: PrincipalRef) -> Self {
        self.administrator = Some(administrator);
        self
    }

    /// The same readers with other figures.
    #[must_use]
    pub fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    pub(crate) fn directory(&self, system: &SystemId) -> Result<&Arc<dyn Directory>> {
        self.directories
            .get(system)
            .ok_or_else(|| EngineError::NoConnector(system.clone()))
    }

    /// Identifies the policy of `job` and the filters of what it reads. While nothing that it reads has a filter, that is
    /// [`Job::policy_digest`].
    pub(crate) fn policy_digest(&self, job: &Job) -> Digest {
        let directories = job.sources.iter().filter_map(|system| {
            let filter = self.directories.get(system)?.filter()?;
            Some(("directory", system, filter))
        });
        let records = match &job.kind {
            JobKind::Records(records) => Some(&records.from),
            JobKind::Items(_) | JobKind::Members => None,
        };
        let records = records.and_then(|system| {
            let filter = self.records.get(system)?.filter()?;
            Some(("records", system, filter))
        });
        let policy = job.policy_digest();
        let mut filters = directories.chain(records).peekable();
        if filters.peek().is_none() {
            return policy;
        }
        let digest = DigestBuilder::new("usersync.filtered-policy/1").part(policy.as_bytes());
        let digest = filters.fold(digest, |digest, (kind, system, filter)| {
            digest
                .part(kind.as_bytes())
                .part(system.as_str().as_bytes())
                .part(filter.as_bytes())
        });
        digest.finish()
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            limits: self.options.read,
            clock: Arc::clone(&self.clock),
        }
    }

    /// Follows a read within its limits.
    pub(crate) fn follow<T: Measured>(&self, stream: ReadStream<T>) -> Reader<T> {
        self.bounds().follow(stream)
    }

    pub(crate) fn records(&self, system: &SystemId) -> Result<&Arc<dyn RecordRead>> {
        self.records
            .get(system)
            .ok_or_else(|| EngineError::NoConnector(system.clone()))
    }

    pub(crate) fn target(&self, system: &SystemId) -> Result<&Arc<dyn MembershipRead>> {
        self.targets
            .get(system)
            .ok_or_else(|| EngineError::NoConnector(system.clone()))
    }
}
