//! What tests against live servers share.
#![allow(dead_code, unused_imports, reason = "each test binary uses some of it")]

mod follower;
mod harness;
mod seen;

use std::future::Future;

use usersync_ldap::{Dn, LdapClient, LdapDirectory, LdapProfile, LdapServer};
use usersync_model::SystemId;

use super::bound::bound;
use super::servers::{Kind, Server};

pub(crate) use follower::{Follower, PATIENCE, PAUSE, directory, read};
pub(crate) use harness::{Harness, Way};
pub(crate) use seen::Seen;

/// Runs a test's future on a runtime of its own.
pub(crate) fn on_tokio<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn system() -> SystemId {
    SystemId::new("directory").unwrap()
}

/// The server by TLS, bound to as its administrator.
pub(crate) fn as_admin(server: &Server) -> LdapServer {
    bound(server, &server.ldaps, &server.admin_dn, &server.admin_password)
}

/// The profile for the server's kind, below `base`.
pub(crate) fn profile(server: &Server, base: &str) -> LdapProfile {
    let base = Dn::parse(base).unwrap();
    match server.kind {
        Kind::Ds389 => LdapProfile::directory_server_389(base),
        Kind::OpenLdap => LdapProfile::openldap(base),
        Kind::SambaAd => LdapProfile::active_directory(base),
    }
}

/// The seed of the server as its administrator sees it.
pub(crate) fn seed(server: &Server) -> LdapDirectory {
    let profile = profile(server, &server.base);
    LdapDirectory::new(system(), LdapClient::new(as_admin(server)), profile)
}
