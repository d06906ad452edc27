//! Which calls go wrong.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use usersync_model::{ObjectId, PrincipalRef, Subject, SystemId};

use super::{Fault, FaultKind, mix};
use crate::call::{CallKind, CallSite};

/// Which calls something is done to.
///
/// Without a condition these are all calls that can show the fault; every condition added narrows them down.
#[derive(Clone)]
pub struct FaultRule {
    pub(super) action: Action,
    kind: Option<CallKind>,
    system: Option<SystemId>,
    container: Option<ObjectId>,
    subject: Option<Subject>,
    actor: Option<PrincipalRef>,
    first: u64,
    last: u64,
    one_in: Option<(NonZeroU64, u64)>,
    pub(super) skip: u64,
    pub(super) times: u64,
}

#[derive(Clone)]
pub(super) enum Action {
    Fault(Fault),
    Meanwhile(Hook),
}

pub(super) type Hook = Arc<dyn Fn() + Send + Sync>;

impl FaultRule {
    /// Does `fault`.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self::of(Action::Fault(fault))
    }

    /// Runs `what` just before the call, which then goes its way: somebody else's change at exactly this moment. It may
    /// edit and call any backend, this one too, but cannot wait: it runs within the call. Calls it makes may meet the
    /// rule again, unless that is over by then, as with [`once`](Self::once).
    #[must_use]
    pub fn meanwhile(what: impl Fn() + Send + Sync + 'static) -> Self {
        Self::of(Action::Meanwhile(Arc::new(what)))
    }

    fn of(action: Action) -> Self {
        Self {
            action,
            kind: None,
            system: None,
            container: None,
            subject: None,
            actor: None,
            first: 0,
            last: u64::MAX,
            one_in: None,
            skip: 0,
            times: u64::MAX,
        }
    }

    /// Only calls of this kind.
    #[must_use]
    pub fn on(mut self, kind: CallKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only calls of this system.
    #[must_use]
    pub fn system(mut self, system: SystemId) -> Self {
        self.system = Some(system);
        self
    }

    /// Only calls about this container, group or collection.
    #[must_use]
    pub fn container(mut self, container: ObjectId) -> Self {
        self.container = Some(container);
        self
    }

    /// Only calls about this principal.
    #[must_use]
    pub fn principal(self, principal: PrincipalRef) -> Self {
        self.subject(Subject::Principal(principal))
    }

    /// Only calls about this principal or record.
    #[must_use]
    pub fn subject(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Only calls in the name of this principal.
    #[must_use]
    pub fn actor(mut self, actor: PrincipalRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Only the call of this number, counted from 1 over all calls of the [`Faults`](super::Faults).
    #[must_use]
    pub fn at_call(mut self, number: u64) -> Self {
        self.first = number;
        self.last = number;
        self
    }

    /// Only calls of this number and higher ones.
    #[must_use]
    pub fn from_call(mut self, number: u64) -> Self {
        self.first = number;
        self
    }

    /// Only about one in `n` calls: which ones follows from `seed` and their numbers.
    #[must_use]
    pub fn one_in(mut self, n: NonZeroU64, seed: u64) -> Self {
        self.one_in = Some((n, seed));
        self
    }

    /// Not the first `skip` of the calls that meet all other conditions.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// At most this often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// At most once.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    pub(super) fn matches(&self, number: u64, site: &CallSite<'_>) -> bool {
        fn met<T>(condition: Option<&T>, holds: impl FnOnce(&T) -> bool) -> bool {
            condition.is_none_or(holds)
        }
        self.times > 0
            && (self.first..=self.last).contains(&number)
            && met(self.kind.as_ref(), |kind| *kind == site.kind)
            && met(self.system.as_ref(), |system| {
                site.system_called() == Some(system)
            })
            && met(self.container.as_ref(), |container| site.is_about(container))
            && met(self.subject.as_ref(), |subject| site.has_subject(subject))
            && met(self.actor.as_ref(), |actor| {
                site.actor().is_some_and(|this| this.principal == *actor)
            })
            && met(self.one_in.as_ref(), |(n, seed)| {
                mix(seed ^ mix(number)).is_multiple_of(n.get())
            })
            && match &self.action {
                Action::Fault(fault) => fault.fits_site(site),
                Action::Meanwhile(_) => true,
            }
    }
}

impl fmt::Debug for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("FaultRule");
        match &self.action {
            Action::Fault(fault) => debug.field("fault", fault),
            Action::Meanwhile(_) => debug.field("fault", &FaultKind::Meanwhile),
        };
        debug
            .field("kind", &self.kind)
            .field("system", &self.system)
            .field("container", &self.container)
            .field("subject", &self.subject)
            .field("actor", &self.actor)
            .field("calls", &(self.first..=self.last))
            .field("one_in", &self.one_in)
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish()
    }
}
