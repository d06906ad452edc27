//! Breaking calls on purpose: one engine for all backends.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use usersync_connector::{Error, ErrorKind, Retry};
use usersync_model::{ObjectId, PartialKind, PrincipalRef, Subject, SystemId};
use usersync_store::{StoreError, StoreErrorKind};

use crate::call::{CallKind, CallSite};
use crate::shared::lock;

/// What goes wrong with a call. A fault is only ever given to a call that can show it.
///
/// In reads, sizes count principals, accounts, containers and records, and every single membership. "Before" and "after"
/// mean for a read: before its begin, and between its last entry and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An effect is refused as if somebody had changed the object: [`ErrorKind::Conflict`].
    Conflict,
    /// A read shows everything twice.
    Duplicated,
    /// A connector's call fails without an effect, a read before it begins.
    Failed {
        /// With this kind.
        kind: ErrorKind,
        /// With this hint.
        retry: Retry,
    },
    /// A connector's read fails on its way.
    FailedAfter {
        /// How much it shows before.
        shown: usize,
        /// With this kind.
        kind: ErrorKind,
        /// With this hint.
        retry: Retry,
    },
    /// There is never an answer, neither before nor after the effect: for time-outs, cancellation and crashes.
    Hang(Moment),
    /// A read comes in chunks of one more size than usual. No harm in itself.
    Paged {
        /// The size of a chunk.
        size: NonZeroUsize,
    },
    /// A read ends early, and says that it is partial.
    Partial {
        /// How much it shows.
        shown: usize,
        /// With this reason.
        kind: PartialKind,
    },
    /// A read leaves out members of one group or container, and says so of that one only.
    PartialOf {
        /// Which group or container.
        object: ObjectId,
        /// How many of its members it shows.
        shown: usize,
        /// With this reason.
        kind: PartialKind,
    },
    /// A connector's call is refused with [`ErrorKind::RateLimited`].
    RateLimited {
        /// The `Retry-After` that comes with it.
        after: Duration,
    },
    /// A read comes in another order.
    Reordered {
        /// Which order.
        seed: u64,
    },
    /// A read stops on its way and never goes on.
    Stalled {
        /// How much it shows before.
        shown: usize,
    },
    /// A store's call fails without an effect.
    StoreFailed(StoreErrorKind),
    /// The answer does not come in time, and the caller cannot know whether there was an effect:
    /// [`ErrorKind::TimedOut`] from a connector, [`StoreErrorKind::Unavailable`] from a store.
    Timeout(Moment),
    /// A connector's read stops early without saying anything.
    Truncated {
        /// How much it shows.
        shown: usize,
    },
}

/// When a call gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// After the effect: the answer is lost.
    After,
    /// Before the effect: the request is lost.
    Before,
}

/// The kinds of [`Fault`], to count them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// [`Fault::Conflict`].
    Conflict,
    /// [`Fault::Duplicated`].
    Duplicated,
    /// [`Fault::Failed`].
    Failed,
    /// [`Fault::FailedAfter`].
    FailedAfter,
    /// [`Fault::Hang`] after the effect.
    HangAfter,
    /// [`Fault::Hang`] before the effect.
    HangBefore,
    /// [`FaultRule::meanwhile`].
    Meanwhile,
    /// [`Fault::Paged`].
    Paged,
    /// [`Fault::Partial`].
    Partial,
    /// [`Fault::PartialOf`].
    PartialOf,
    /// [`Fault::RateLimited`].
    RateLimited,
    /// [`Fault::Reordered`].
    Reordered,
    /// [`Fault::Stalled`].
    Stalled,
    /// [`Fault::StoreFailed`].
    StoreFailed,
    /// [`Fault::Timeout`] after the effect.
    TimeoutAfter,
    /// [`Fault::Timeout`] before the effect.
    TimeoutBefore,
    /// [`Fault::Truncated`].
    Truncated,
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Conflict => FaultKind::Conflict,
            Self::Duplicated => FaultKind::Duplicated,
            Self::Failed { .. } => FaultKind::Failed,
            Self::FailedAfter { .. } => FaultKind::FailedAfter,
            Self::Hang(Moment::After) => FaultKind::HangAfter,
            Self::Hang(Moment::Before) => FaultKind::HangBefore,
            Self::Paged { .. } => FaultKind::Paged,
            Self::Partial { .. } => FaultKind::Partial,
            Self::PartialOf { .. } => FaultKind::PartialOf,
            Self::RateLimited { .. } => FaultKind::RateLimited,
            Self::Reordered { .. } => FaultKind::Reordered,
            Self::Stalled { .. } => FaultKind::Stalled,
            Self::StoreFailed(_) => FaultKind::StoreFailed,
            Self::Timeout(Moment::After) => FaultKind::TimeoutAfter,
            Self::Timeout(Moment::Before) => FaultKind::TimeoutBefore,
            Self::Truncated { .. } => FaultKind::Truncated,
        }
    }

    /// Whether a call of this kind can show the fault.
    #[must_use]
    pub fn fits(&self, call: CallKind) -> bool {
        let connector = !call.is_store();
        match self {
            Self::Conflict => call.is_effect(),
            Self::Duplicated
            | Self::FailedAfter { .. }
            | Self::Partial { .. }
            | Self::Reordered { .. }
            | Self::Truncated { .. } => connector && call.is_stream(),
            Self::Failed { .. } | Self::RateLimited { .. } => connector,
            Self::Hang(_) | Self::Timeout(_) => true,
            Self::Paged { .. } | Self::Stalled { .. } => call.is_stream(),
            Self::PartialOf { .. } => matches!(call, CallKind::Directory | CallKind::Members),
            Self::StoreFailed(_) => call.is_store(),
        }
    }

    fn fits_site(&self, site: &CallSite<'_>) -> bool {
        let shown = match self {
            Self::PartialOf { object, .. } => site.kind == CallKind::Directory || site.is_about(object),
            _ => true,
        };
        shown && self.fits(site.kind)
    }
}

/// Which calls something is done to.
///
/// Without a condition these are all calls that can show the fault; every condition added narrows them down.
#[derive(Clone)]
pub struct FaultRule {
    action: Action,
    kind: Option<CallKind>,
    system: Option<SystemId>,
    container: Option<ObjectId>,
    subject: Option<Subject>,
    actor: Option<PrincipalRef>,
    first: u64,
    last: u64,
    one_in: Option<(NonZeroU64, u64)>,
    skip: u64,
    times: u64,
}

#[derive(Clone)]
enum Action {
    Fault(Fault),
    Meanwhile(Hook),
}

type Hook = Arc<dyn Fn() + Send + Sync>;

impl FaultRule {
    /// Does `fault`.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self::of(Action::Fault(fault))
    }

    /// Runs `what` just before the call, which then goes its way: somebody else's change at exactly this moment. It may use
    /// any backend's handle.
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

    /// Only the call of this number, counted from 1 over all calls of the [`Faults`].
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

    fn matches(&self, number: u64, site: &CallSite<'_>) -> bool {
        fn met<T>(condition: Option<&T>, holds: impl FnOnce(&T) -> bool) -> bool {
            condition.is_none_or(holds)
        }
        (self.first..=self.last).contains(&number)
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

/// Numbers calls and breaks those that its rules say. Clones share numbers, rules and counters; given to several
/// backends, it numbers their calls in one sequence.
///
/// Several rules may meet one call: changes of a read's form (duplicates, order, paging) add up, and of everything else
/// the rule that was given first is done. Without rules it does nothing but number.
///
/// ```
/// use usersync_memory::{CallKind, Fault, FaultKind, FaultRule, Faults, Moment};
///
/// let faults = Faults::new([
///     FaultRule::new(Fault::Timeout(Moment::After)).on(CallKind::Add).once(),
///     FaultRule::new(Fault::Reordered { seed: 7 }),
/// ]);
/// assert_eq!(faults.fired(FaultKind::TimeoutAfter), 0);
/// ```
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: u64,
    rules: Vec<FaultRule>,
    fired: BTreeMap<FaultKind, u64>,
}

impl Faults {
    /// Faults by these rules.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        let faults = Self::default();
        lock(&faults.0).rules.extend(rules);
        faults
    }

    /// Adds a rule.
    pub fn inject(&self, rule: FaultRule) {
        lock(&self.0).rules.push(rule);
    }

    /// Drops all rules. Numbers and counters go on.
    pub fn heal(&self) {
        lock(&self.0).rules.clear();
    }

    /// How many calls were numbered: the number of the latest.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.0).calls
    }

    /// How often faults of this kind happened.
    #[must_use]
    pub fn fired(&self, kind: FaultKind) -> u64 {
        lock(&self.0).fired.get(&kind).copied().unwrap_or(0)
    }

    /// How often faults of any kind happened.
    #[must_use]
    pub fn fired_in_all(&self) -> u64 {
        lock(&self.0).fired.values().sum()
    }

    /// Numbers a call, runs what happens meanwhile, and tells the number and what is to go wrong.
    pub(crate) fn next(&self, site: &CallSite<'_>) -> (u64, Injected) {
        let mut state = lock(&self.0);
        state.calls += 1;
        let number = state.calls;
        if state.rules.is_empty() {
            return (number, Injected::default());
        }
        let (injected, hooks) = state.decide(number, site);
        drop(state);
        // Outside the lock: a hook may call backends that share these faults.
        for hook in hooks {
            hook();
        }
        (number, injected)
    }
}

impl State {
    fn decide(&mut self, number: u64, site: &CallSite<'_>) -> (Injected, Vec<Hook>) {
        let mut injected = Injected::default();
        let mut hooks = Vec::new();
        let fired = &mut self.fired;
        self.rules.retain_mut(|rule| {
            if !rule.matches(number, site) {
                return true;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                return true;
            }
            let kind = match &rule.action {
                Action::Fault(fault) if injected.take(fault) => fault.kind(),
                Action::Fault(_) => return true,
                Action::Meanwhile(hook) => {
                    hooks.push(Arc::clone(hook));
                    FaultKind::Meanwhile
                }
            };
            *fired.entry(kind).or_default() += 1;
            rule.times = rule.times.saturating_sub(1);
            rule.times > 0
        });
        (injected, hooks)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Faults")
            .field("calls", &state.calls)
            .field("rules", &state.rules)
            .field("fired", &state.fired)
            .finish()
    }
}

/// What is to go wrong with one call.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    pub(crate) duplicated: bool,
    pub(crate) page: Option<NonZeroUsize>,
    pub(crate) seed: Option<u64>,
    pub(crate) outcome: Option<Fault>,
}

impl Injected {
    /// Whether there was room for the fault.
    fn take(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Duplicated => !std::mem::replace(&mut self.duplicated, true),
            Fault::Paged { size } => set(&mut self.page, *size),
            Fault::Reordered { seed } => set(&mut self.seed, *seed),
            other => self.outcome.is_none() && set(&mut self.outcome, other.clone()),
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> bool {
    let free = place.is_none();
    if free {
        *place = Some(value);
    }
    free
}

/// An error that a fault can become.
pub(crate) trait FromFault {
    fn from_fault(fault: &Fault, site: &CallSite<'_>) -> Self;
}

impl FromFault for Error {
    fn from_fault(fault: &Fault, site: &CallSite<'_>) -> Self {
        let (kind, retry, message) = match fault {
            Fault::Conflict => (ErrorKind::Conflict, None, "somebody changed the object meanwhile"),
            Fault::Failed { kind, retry } | Fault::FailedAfter { kind, retry, .. } => {
                (*kind, Some(*retry), "the call failed")
            }
            Fault::RateLimited { after } => (
                ErrorKind::RateLimited,
                Some(Retry::After(*after)),
                "too many calls",
            ),
            Fault::Timeout(Moment::After) => (ErrorKind::TimedOut, None, "the answer was lost"),
            Fault::Timeout(Moment::Before) => (ErrorKind::TimedOut, None, "the request was lost"),
            _ => (ErrorKind::Unexpected, None, "the call failed"),
        };
        let mut error = Self::new(kind, format!("injected fault: {message}"));
        if let Some(retry) = retry {
            error = error.with_retry(retry);
        }
        match site.system_called() {
            Some(system) => error.at(system, site.kind.code()),
            None => error,
        }
    }
}

impl FromFault for StoreError {
    fn from_fault(fault: &Fault, _site: &CallSite<'_>) -> Self {
        let (kind, message) = match fault {
            Fault::StoreFailed(kind) => (*kind, "the call failed"),
            Fault::Timeout(Moment::After) => (StoreErrorKind::Unavailable, "the answer was lost"),
            _ => (StoreErrorKind::Unavailable, "the request was lost"),
        };
        Self::new(kind, format!("injected fault: {message}"))
    }
}

/// One step of SplitMix64: spreads a number over all bits.
pub(crate) fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
