//! Retry, rate limit, timeout, limits and trace around any connector.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use usersync_connector::wrap::{RateLimit, ReadLimits, RetryPolicy, Wrap};
//! use usersync_connector::{Clock, MembershipTarget};
//!
//! fn well_behaved(target: Arc<dyn MembershipTarget>, clock: Arc<dyn Clock>) -> Arc<dyn MembershipTarget> {
//!     let ten = NonZeroU32::new(10).expect("ten is not zero");
//!     Arc::new(
//!         Wrap::new(clock)
//!             .retry(RetryPolicy::default())
//!             .rate_limit(RateLimit::new(ten, Duration::from_secs(1)))
//!             .timeout(Duration::from_secs(30))
//!             .limits(ReadLimits::default())
//!             .trace()
//!             .wrap(target),
//!     )
//! }
//! ```

mod call;
mod impls;
pub(crate) mod limits;
mod rate;
mod retry;
mod stream;
mod sync;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use usersync_model::SystemId;

use call::Layers;
use limits::Measure;
pub use limits::{Measured, ReadLimits};
use rate::RateBucket;
pub use rate::RateLimit;
use retry::Retries;
pub use retry::RetryPolicy;

use crate::clock::Clock;
use crate::read::ReadStream;

/// Builds [`Wrapped`] connectors.
///
/// Each layer is there only if it is asked for. Whatever the order in which they are asked for, a call goes
/// through them as trace → retry → rate limit → timeout → connector: each attempt waits for its own turn and
/// has the whole timeout, and the trace tells of the call as its caller saw it.
///
/// All connectors wrapped by one `Wrap` share its rate limit and its retry budget: wrap everything that reaches
/// one system by one `Wrap`, and different systems by different ones.
#[derive(Clone, Debug)]
pub struct Wrap {
    layers: Layers,
}

impl Wrap {
    /// Wraps in nothing yet. All waiting is done by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            layers: Layers {
                clock,
                limits: None,
                rate: None,
                retry: None,
                timeout: None,
                trace: false,
            },
        }
    }

    /// Tries failed calls again.
    ///
    /// * An effect whose outcome is unknown is never repeated.
    /// * Of a batch, only the operations that failed and may be repeated are, together; the answers keep the
    ///   order of the operations. A batch counts as one call of the budget.
    /// * A read begins anew only if it failed before its first chunk; later failures are handed on.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        let seed = self.layers.clock.now().timestamp_micros().cast_unsigned();
        self.layers.retry = Some(Arc::new(Retries::new(policy, seed)));
        self
    }

    /// Limits how often calls are made.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.layers.rate = Some(Arc::new(RateBucket::new(limit, self.layers.clock.now())));
        self
    }

    /// Gives up a call that has no answer in time, with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut).
    /// The outcome of an effect is unknown then. For a read, it is the time for each event; how long the
    /// whole may take is [`ReadLimits::wall_time`].
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.layers.timeout = Some(limit);
        self
    }

    /// Limits how much one read may bring.
    #[must_use]
    pub fn limits(mut self, limits: ReadLimits) -> Self {
        self.layers.limits = Some(limits);
        self
    }

    /// Tells `tracing` about every call and every read: target `usersync::connector`, level debug, a span
    /// `connector`, and in it an event `called` or `read` with the fields `system`, `operation`, `outcome`
    /// (`ok`, `complete`, or the code of the first error or of the partial verdict), `error` (its message),
    /// `entries` (operations of a call, entries of a read), `failed` (operations of a call) and `elapsed_ms`;
    /// before each retry, an event `trying again` with `attempts` and `pause`. Text is escaped; entries
    /// themselves are never shown.
    #[must_use]
    pub fn trace(mut self) -> Self {
        self.layers.trace = true;
        self
    }

    /// Wraps `connector`, which may be an `Arc<dyn …>`.
    #[must_use]
    pub fn wrap<C: ?Sized>(&self, connector: Arc<C>) -> Wrapped<C> {
        Wrapped {
            layers: Arc::new(self.layers.clone()),
            inner: connector,
        }
    }
}

/// A connector with layers around it. It implements every connector trait that the connector implements, and
/// offers what it offers.
///
/// Errors name the system and the operation. Streamed reads are held to the protocol as by
/// [`Reader`](crate::Reader): what breaks it becomes an error, and a missing end becomes a partial one. A limit
/// or a missing end before the begin is an error, since nothing can be partial yet.
pub struct Wrapped<C: ?Sized> {
    layers: Arc<Layers>,
    inner: Arc<C>,
}

impl<C: ?Sized> Wrapped<C> {
    fn stream<T: Measure + Send + 'static>(
        &self,
        system: Option<&SystemId>,
        operation: &'static str,
        open: impl Fn() -> ReadStream<T> + Send + 'static,
    ) -> ReadStream<T> {
        stream::read(Arc::clone(&self.layers), system.cloned(), operation, open)
    }
}

impl<C: ?Sized> Clone for Wrapped<C> {
    fn clone(&self) -> Self {
        Self {
            layers: Arc::clone(&self.layers),
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C: fmt::Debug + ?Sized> fmt::Debug for Wrapped<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("inner", &self.inner)
            .field("layers", &self.layers)
            .finish()
    }
}
