//! Breaking calls on purpose: one engine for all backends.

mod kind;
mod rule;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use usersync_connector::{Error, ErrorKind, Retry};
use usersync_store::{StoreError, StoreErrorKind};

use self::rule::{Action, Hook};
use crate::call::{Call, CallSite, Calls};
use crate::shared::lock;
use crate::sync::Mutex;

pub use self::kind::{Fault, FaultKind, Moment};
pub use self::rule::FaultRule;

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

    /// Numbers and records a call that somebody else answers, as the backends of this crate do with what they answer; runs what
    /// happens meanwhile; and tells what is to go wrong with it, for the caller to do. That a read is to come in another form is
    /// not told.
    ///
    /// ```
    /// use usersync_memory::{Call, CallKind, Calls, Fault, FaultRule, Faults, Moment, Recording};
    ///
    /// let (faults, calls) = (Faults::default(), Calls::new(Recording::All));
    /// faults.inject(FaultRule::new(Fault::Hang(Moment::Before)).at_call(2));
    /// assert_eq!(faults.meet(&calls, &Call::new(CallKind::Directory)), None);
    /// assert_eq!(faults.meet(&calls, &Call::new(CallKind::Commit)), Some(Fault::Hang(Moment::Before)));
    /// assert_eq!(calls.all()[1].number, 2);
    /// ```
    #[must_use]
    pub fn meet(&self, calls: &Calls, call: &Call) -> Option<Fault> {
        let context = call.context();
        let site = CallSite::of(call, context.as_ref());
        let (number, injected) = self.next(&site);
        calls.record(number, &site);
        injected.outcome
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
        let lost = kind == ErrorKind::TimedOut;
        let mut error = Self::new(kind, format!("injected fault: {message}")).with_unknown_outcome(lost);
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
