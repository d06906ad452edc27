//! Conformance suites: every numbered point of every contract, checked one by one.
//!
//! Each suite is a module with a harness trait and its checks. The author of a connector or a store writes the harness, which gives
//! fresh systems with given content and the means to change them behind the connector's back, and calls the suite's macro, which
//! emits one named `#[test]` per check. Methods of a harness that answer [`Cannot`] leave the checks that need them without effect;
//! everything that a harness offers is checked.
//!
//! Capabilities decide what is required: what is claimed must work, what is not claimed must be refused as
//! [`Unsupported`](usersync_connector::ErrorKind::Unsupported).
//!
//! Checks are plain functions, too: [`checks`](directory::checks) of each suite lists them for hosts that run them elsewhere.

pub mod account;
pub mod actor;
pub mod catalog;
pub mod clock;
pub mod directory;
pub mod entitlement;
pub mod item;
pub mod membership;
pub mod notifier;
pub mod record;
pub mod store;
pub mod subscription;
pub mod token;

mod cursors;
mod read;
mod violation;

use std::fmt;

use futures::future::BoxFuture;
use usersync_connector::{Actor, Authority, CallContext};
use usersync_model::{JobId, ObjectId, PrincipalRef, TenantId};

#[doc(hidden)]
pub use futures::executor::block_on;
pub(crate) use violation::Point;
pub use violation::Violation;

/// One check of a suite whose harness is `H`.
pub struct Check<H: ?Sized> {
    /// The name of its function, which starts with the number of the point.
    pub name: &'static str,
    run: for<'h> fn(&'h H) -> BoxFuture<'h, Result<(), Violation>>,
}

impl<H: ?Sized> Check<H> {
    /// Runs the check.
    ///
    /// # Errors
    /// The [`Violation`] found.
    pub async fn run(&self, harness: &H) -> Result<(), Violation> {
        (self.run)(harness).await
    }
}

impl<H: ?Sized> fmt::Debug for Check<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// The harness cannot do that; checks that need it pass without having checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cannot;

/// What a system is to leave out of its next reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaveOut {
    /// All of it: the system cannot be reached.
    Everything,
    /// The members of this group or container: the caller may not see them, say.
    MembersOf(ObjectId),
    /// Some of it: the connection breaks half-way, or a limit is hit.
    Something,
}

/// The context of calls whose harness does not give one.
#[must_use]
pub fn sample_context() -> CallContext {
    CallContext {
        tenant: TenantId::new("tenant").expect("a literal without control characters is an id"),
        job: JobId::new("conformance").expect("a literal without control characters is an id"),
        actor: Actor {
            principal: PrincipalRef::parse("conformance", "owner")
                .expect("literals without control characters are ids"),
            authority: Authority::JobOwner,
        },
    }
}

pub(crate) fn object(text: &str) -> ObjectId {
    ObjectId::new(text).expect("the suite's own ids hold no control characters")
}

/// Lists the checks of a suite, once, as functions and as the tests of its macro.
macro_rules! suite {
    ($d:tt $(#[$doc:meta])* $name:ident, $module:ident, $harness:path, [$($check:ident),* $(,)?]) => {
        /// The checks of this suite, by their points.
        #[must_use]
        pub fn checks() -> Vec<$crate::conformance::Check<dyn $harness>> {
            vec![$($crate::conformance::Check {
                name: stringify!($check),
                run: |harness| Box::pin($check(harness)),
            }),*]
        }

        $(#[$doc])*
        #[macro_export]
        macro_rules! $name {
            ($d module:ident, $d harness:expr) => {
                $crate::$name!($d module, $d harness, $crate::conformance::block_on);
            };
            ($d module:ident, $d harness:expr, $d runner:expr) => {
                mod $d module {
                    #[allow(unused_imports, reason = "the harness may be named in full")]
                    use super::*;

                    $(#[test]
                    fn $check() {
                        let harness = $d harness;
                        let check = $crate::conformance::$module::$check(&harness);
                        if let Err(violation) = ($d runner)(check) {
                            panic!("{violation}");
                        }
                    })*
                }
            };
        }
    };
}
pub(crate) use suite;
