//! What was called, in order.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use usersync_connector::{Actor, CallContext};
use usersync_model::{JobId, ObjectId, OperationId, PrincipalRef, RecordRef, Subject, SystemId, TenantId};

use crate::shared::lock;
use crate::sync::Mutex;

/// The calls that the backends of this crate answer. An operation of a batch is a call of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// `AccountDirectory::accounts`.
    Accounts,
    /// `StateStore::acquire`.
    Acquire,
    /// One addition of a `MembershipTarget::apply`.
    Add,
    /// `SubscriptionAdmin::adjust`.
    Adjust,
    /// `Subscriptions::booked`.
    Booked,
    /// `StateStore::commit`.
    Commit,
    /// `ContainerCatalog::containers`.
    Containers,
    /// `StateRead::counter`.
    Counter,
    /// One creation of a `RecordTarget::apply` or an `ItemStore::apply`.
    Create,
    /// One deletion of a `RecordTarget::apply` or an `ItemStore::apply`.
    Delete,
    /// `Directory::read`.
    Directory,
    /// `EntitlementSource::entitlement`.
    Entitlement,
    /// `ItemRead::find`.
    Item,
    /// `ItemRead::now`.
    ItemClock,
    /// `ItemRead::items`.
    Items,
    /// `TokenStore::keep`.
    Keep,
    /// `StateRead::ledger`.
    Ledger,
    /// `StateRead::ledger_row`.
    LedgerRow,
    /// `StateRead::log`.
    Log,
    /// `MembershipRead::member`.
    Member,
    /// `MembershipRead::members`.
    Members,
    /// `Notifier::notify`.
    Notify,
    /// `StateRead::now`.
    Now,
    /// `RecordRead::record`.
    Record,
    /// `RecordRead::records`.
    Records,
    /// `StateStore::release`.
    Release,
    /// One removal of a `MembershipTarget::apply`.
    Remove,
    /// `StateStore::renew`.
    Renew,
    /// `TokenStore::revoke`.
    Revoke,
    /// `Clock::sleep`, which cannot fail and may never end. No clock of this crate makes it a call.
    Sleep,
    /// `ActorDirectory::state`.
    State,
    /// `TokenStore::token`.
    Token,
    /// One update of a `MembershipTarget::apply`, a `RecordTarget::apply` or an `ItemStore::apply`.
    Update,
    /// `StateRead::value`.
    Value,
    /// `StateRead::values`.
    Values,
}

impl CallKind {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Acquire => "acquire",
            Self::Add => "add",
            Self::Adjust => "adjust",
            Self::Booked => "booked",
            Self::Commit => "commit",
            Self::Containers => "containers",
            Self::Counter => "counter",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Directory => "directory",
            Self::Entitlement => "entitlement",
            Self::Item => "item",
            Self::ItemClock => "item_clock",
            Self::Items => "items",
            Self::Keep => "keep",
            Self::Ledger => "ledger",
            Self::LedgerRow => "ledger_row",
            Self::Log => "log",
            Self::Member => "member",
            Self::Members => "members",
            Self::Notify => "notify",
            Self::Now => "now",
            Self::Record => "record",
            Self::Records => "records",
            Self::Release => "release",
            Self::Remove => "remove",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
            Self::Sleep => "sleep",
            Self::State => "state",
            Self::Token => "token",
            Self::Update => "update",
            Self::Value => "value",
            Self::Values => "values",
        }
    }

    /// Whether it changes a target or a subscription: the calls that a preview never makes.
    #[must_use]
    pub fn is_effect(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Adjust | Self::Create | Self::Delete | Self::Remove | Self::Update
        )
    }

    /// Whether it is answered by a store.
    #[must_use]
    pub fn is_store(self) -> bool {
        matches!(
            self,
            Self::Acquire
                | Self::Commit
                | Self::Counter
                | Self::Ledger
                | Self::LedgerRow
                | Self::Log
                | Self::Now
                | Self::Release
                | Self::Renew
                | Self::Value
                | Self::Values
        )
    }

    /// Whether it is answered by a stream.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(
            self,
            Self::Accounts
                | Self::Containers
                | Self::Directory
                | Self::Items
                | Self::Ledger
                | Self::Log
                | Self::Members
                | Self::Records
                | Self::Values
        )
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Its number, from 1, among the calls counted by the same [`Faults`](crate::Faults).
    pub number: u64,
    /// What was called.
    pub kind: CallKind,
    /// The system that was called; none for stores and host services.
    pub system: Option<SystemId>,
    /// The tenant, where the call names one.
    pub tenant: Option<TenantId>,
    /// The job that made it, where the call names one.
    pub job: Option<JobId>,
    /// In whose name it was made, where the call says so.
    pub actor: Option<Actor>,
    /// The containers, or the collection of records, that it is about.
    pub containers: Vec<ObjectId>,
    /// The principal or record that it is about.
    pub subject: Option<Subject>,
    /// The operation that it carries out.
    pub operation: Option<OperationId>,
    /// The place of the operation in its batch, from 0: as many calls of `apply` were made as operations have place 0.
    pub position: usize,
}

impl Call {
    /// A call of which nothing but its kind is known, and that was not made yet: for [`Faults::meet`](crate::Faults::meet).
    #[must_use]
    pub fn new(kind: CallKind) -> Self {
        Self {
            number: 0,
            kind,
            system: None,
            tenant: None,
            job: None,
            actor: None,
            containers: Vec::new(),
            subject: None,
            operation: None,
            position: 0,
        }
    }

    /// Its context, where it names all of it.
    pub(crate) fn context(&self) -> Option<CallContext> {
        Some(CallContext {
            tenant: self.tenant.clone()?,
            job: self.job.clone()?,
            actor: self.actor.clone()?,
        })
    }
}

impl fmt::Display for Call {
    /// One line, without the number and the operation id: `add team-1 hr:ada by job owner hr:eve`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        for container in &self.containers {
            write!(f, " {container}")?;
        }
        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }
        if let Some(actor) = &self.actor {
            write!(f, " by {actor}")?;
        }
        Ok(())
    }
}

/// How much of the calls is remembered. Counting goes on in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// Every call.
    #[default]
    All,
    /// Only this many of the latest.
    Last(usize),
    /// None.
    Off,
}

/// A record of calls. Clones share it; given to several backends, it shows the order among them.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    recording: Recording,
    calls: VecDeque<Call>,
    counts: BTreeMap<CallKind, u64>,
}

impl Calls {
    /// An empty record.
    #[must_use]
    pub fn new(recording: Recording) -> Self {
        Self(Arc::new(Mutex::new(Record {
            recording,
            ..Record::default()
        })))
    }

    /// Changes how much is remembered from now on, and forgets at once what is too much.
    pub fn set_recording(&self, recording: Recording) {
        let mut record = lock(&self.0);
        record.recording = recording;
        record.trim();
    }

    /// The calls remembered, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Call> {
        lock(&self.0).calls.iter().cloned().collect()
    }

    /// How many calls of this kind were made since the record was made or cleared, remembered or not.
    #[must_use]
    pub fn count(&self, kind: CallKind) -> u64 {
        lock(&self.0).counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many calls were made that change a target.
    #[must_use]
    pub fn effects(&self) -> u64 {
        let record = lock(&self.0);
        let effects = record.counts.iter().filter(|(kind, _)| kind.is_effect());
        effects.map(|(_, count)| count).sum()
    }

    /// Forgets all calls and counts.
    pub fn clear(&self) {
        let mut record = lock(&self.0);
        record.calls.clear();
        record.counts.clear();
    }

    pub(crate) fn record(&self, number: u64, site: &CallSite<'_>) {
        let mut record = lock(&self.0);
        *record.counts.entry(site.kind).or_default() += 1;
        if record.recording != Recording::Off {
            record.calls.push_back(site.to_call(number));
            record.trim();
        }
    }

    /// An empty record that remembers as much.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(lock(&self.0).recording)
    }
}

impl Record {
    fn trim(&mut self) {
        let keep = match self.recording {
            Recording::All => return,
            Recording::Last(keep) => keep,
            Recording::Off => 0,
        };
        let surplus = self.calls.len().saturating_sub(keep);
        self.calls.drain(..surplus);
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = lock(&self.0);
        f.debug_struct("Calls")
            .field("recording", &record.recording)
            .field("counts", &record.counts)
            .finish_non_exhaustive()
    }
}

/// A call before anyone asked to remember it: borrowed, so that a call that is neither recorded nor matched costs no
/// clone.
#[derive(Clone, Copy)]
pub(crate) struct CallSite<'a> {
    pub(crate) kind: CallKind,
    system: Option<&'a SystemId>,
    tenant: Option<&'a TenantId>,
    context: Option<&'a CallContext>,
    containers: &'a [ObjectId],
    subject: Option<SubjectRef<'a>>,
    operation: Option<OperationId>,
    position: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum SubjectRef<'a> {
    Principal(&'a PrincipalRef),
    Record(&'a RecordRef),
}

impl SubjectRef<'_> {
    pub(crate) fn is(self, subject: &Subject) -> bool {
        match (self, subject) {
            (Self::Principal(this), Subject::Principal(that)) => this == that,
            (Self::Record(this), Subject::Record(that)) => this == that,
            _ => false,
        }
    }

    fn to_subject(self) -> Subject {
        match self {
            Self::Principal(principal) => Subject::Principal(principal.clone()),
            Self::Record(record) => Subject::Record(record.clone()),
        }
    }
}

impl<'a> From<&'a Subject> for SubjectRef<'a> {
    fn from(subject: &'a Subject) -> Self {
        match subject {
            Subject::Principal(principal) => Self::Principal(principal),
            Subject::Record(record) => Self::Record(record),
        }
    }
}

impl<'a> CallSite<'a> {
    pub(crate) fn new(kind: CallKind) -> Self {
        Self {
            kind,
            system: None,
            tenant: None,
            context: None,
            containers: &[],
            subject: None,
            operation: None,
            position: 0,
        }
    }

    pub(crate) fn on(mut self, system: &'a SystemId) -> Self {
        self.system = Some(system);
        self
    }

    pub(crate) fn tenant(mut self, tenant: &'a TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    pub(crate) fn context(mut self, context: &'a CallContext) -> Self {
        self.context = Some(context);
        self.tenant(&context.tenant)
    }

    pub(crate) fn containers(mut self, containers: &'a [ObjectId]) -> Self {
        self.containers = containers;
        self
    }

    pub(crate) fn subject(mut self, subject: SubjectRef<'a>) -> Self {
        self.subject = Some(subject);
        self
    }

    pub(crate) fn operation(mut self, id: OperationId, position: usize) -> Self {
        self.operation = Some(id);
        self.position = position;
        self
    }

    pub(crate) fn system_called(&self) -> Option<&'a SystemId> {
        self.system
    }

    pub(crate) fn actor(&self) -> Option<&'a Actor> {
        self.context.map(|context| &context.actor)
    }

    pub(crate) fn is_about(&self, container: &ObjectId) -> bool {
        self.containers.contains(container)
    }

    pub(crate) fn has_subject(&self, subject: &Subject) -> bool {
        self.subject.is_some_and(|this| this.is(subject))
    }

    /// What `call` says, with its [`context`](Call::context).
    pub(crate) fn of(call: &'a Call, context: Option<&'a CallContext>) -> Self {
        Self {
            kind: call.kind,
            system: call.system.as_ref(),
            tenant: call.tenant.as_ref(),
            context,
            containers: &call.containers,
            subject: call.subject.as_ref().map(SubjectRef::from),
            operation: call.operation,
            position: call.position,
        }
    }

    fn to_call(self, number: u64) -> Call {
        Call {
            number,
            kind: self.kind,
            system: self.system.cloned(),
            tenant: self.tenant.cloned(),
            job: self.context.map(|context| context.job.clone()),
            actor: self.actor().cloned(),
            containers: self.containers.to_vec(),
            subject: self.subject.map(SubjectRef::to_subject),
            operation: self.operation,
            position: self.position,
        }
    }
}
