//! Time as a dependency.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

/// Tells the time and waits.
///
/// # Behavior
/// 1. `now` never goes back within one process.
/// 2. `sleep` is ready once `now` has advanced by the duration, not before, and immediately for zero.
/// 3. Dropping a sleep has no effect on others.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time.
    fn now(&self) -> DateTime<Utc>;

    /// Waits.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
