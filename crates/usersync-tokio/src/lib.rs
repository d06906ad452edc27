//! Bound to tokio: the real clock, and a runner that can be spawned.
//!
//! ```no_run
//! use std::time::Duration;
//! use usersync_engine::Engine;
//! use usersync_model::TenantId;
//! use usersync_tokio::Runner;
//!
//! # async fn serve(engine: Engine, tenant: TenantId, stop: impl Future<Output = ()>) {
//! let runner = Runner::new(engine).tenant(tenant).spawn();
//! stop.await;
//! let left = runner.shutdown(Duration::from_secs(30)).await;
//! assert!(left.is_empty(), "these were stopped in the middle, and go on elsewhere: {left:?}");
//! # }
//! ```

mod choice;
mod clock;
mod runner;
mod sync;

pub use clock::SystemClock;
pub use runner::{Ended, JobName, Runner, RunnerHandle, Running};
