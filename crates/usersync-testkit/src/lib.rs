//! Conformance suites for connectors and stores, and generators of directories.
//!
//! Whoever writes a connector or a store writes a small harness, which gives fresh systems with given content, and gets one named
//! test for each point of the contract in three lines:
//!
//! ```
//! # mod harness {
//! #     use std::sync::Arc;
//! #
//! #     use usersync_connector::Clock;
//! #     use usersync_testkit::conformance::clock::ClockHarness;
//! #
//! #     #[derive(Debug)]
//! #     struct NoClock;
//! #
//! #     impl Clock for NoClock {
//! #         fn now(&self) -> chrono::DateTime<chrono::Utc> {
//! #             chrono::DateTime::UNIX_EPOCH
//! #         }
//! #
//! #         fn sleep(&self, _: std::time::Duration) -> futures::future::BoxFuture<'static, ()> {
//! #             Box::pin(futures::future::ready(()))
//! #         }
//! #     }
//! #
//! #     pub struct MyHarness;
//! #
//! #     impl MyHarness {
//! #         pub fn new() -> Self {
//! #             Self
//! #         }
//! #     }
//! #
//! #     #[async_trait::async_trait]
//! #     impl ClockHarness for MyHarness {
//! #         async fn fresh(&self) -> Arc<dyn Clock> {
//! #             Arc::new(NoClock)
//! #         }
//! #
//! #         async fn advance(&self, _: std::time::Duration) {}
//! #     }
//! # }
//! use harness::MyHarness;
//!
//! usersync_testkit::clock_conformance!(my_clock, MyHarness::new());
//! # fn main() {}
//! ```
//!
//! There is such a macro for every trait: [`account_directory_conformance!`], [`actor_directory_conformance!`], [`clock_conformance!`],
//! [`container_catalog_conformance!`], [`directory_conformance!`], [`entitlement_source_conformance!`],
//! [`item_store_conformance!`], [`membership_target_conformance!`], [`notifier_conformance!`], [`record_target_conformance!`],
//! [`state_store_conformance!`], [`subscription_conformance!`] and [`token_store_conformance!`]. A connector that needs a runtime of its own gives a third argument, which is called with each
//! check's future: `|check| runtime().block_on(check)`. See [`conformance`] for what a suite requires, and [`generate`] for directories,
//! histories and scenarios of any size.
//!
//! This crate is outside semantic versioning: a minor release may add checks that a connector fails, and change what a seed gives.

pub mod conformance;
pub mod generate;
