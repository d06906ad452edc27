//! Keeps users, group memberships, account links, contacts and licence seats in step between directories and
//! applications.
//!
//! This crate gathers the others under one name and has no logic of its own:
//!
//! | module | what is there |
//! |---|---|
//! | [`model`] | identities, principals, selections, containers, the directory graph with its closure |
//! | [`reconcile`] | decision table, guards, plan, approval, renderings |
//! | [`license`] | entitlement and seats |
//! | [`connector`] | traits of the systems that are synchronized, adapters, wrappers |
//! | [`content`] | iCalendar and vCard, compared by meaning and edited line by line |
//! | [`store`] | traits of `usersync`'s own durable state |
//! | [`engine`] | jobs and runs |
//! | [`memory`] | reference implementation of every trait, with fault injection (feature `memory`) |
//! | [`sqlite`] | a durable store for one machine (feature `sqlite`) |
//! | [`ldap`] | LDIF exports of LDAP directories (feature `ldif`), and live servers (feature `ldap`) |
//! | [`tokio`] | the real clock, and a runner that runs what is due (feature `tokio`) |

#[cfg(all(doctest, feature = "ldif", feature = "memory"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub use usersync_connector as connector;
pub use usersync_content as content;
pub use usersync_engine as engine;
#[cfg(feature = "ldif")]
pub use usersync_ldap as ldap;
pub use usersync_license as license;
#[cfg(feature = "memory")]
pub use usersync_memory as memory;
pub use usersync_model as model;
pub use usersync_reconcile as reconcile;
#[cfg(feature = "sqlite")]
pub use usersync_sqlite as sqlite;
pub use usersync_store as store;
#[cfg(feature = "tokio")]
pub use usersync_tokio as tokio;
