//! Live servers as clients of tests know them.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::fs;

use usersync_connector::Secret;
use usersync_ldap::{ClientLimits, LdapServer};

use super::servers::{CONNECT, SILENCE, Server};

/// The server at one of its addresses, bound to as somebody, and trusted by its own CA.
pub(crate) fn bound(server: &Server, uri: &str, name: &str, password: &str) -> LdapServer {
    at(uri)
        .with_certificate_authorities(&fs::read(&server.ca).unwrap())
        .unwrap()
        .with_password(name, Secret::new(password))
}

/// The server at one of its addresses.
pub(crate) fn at(uri: &str) -> LdapServer {
    let mut limits = ClientLimits::default();
    limits.connect = CONNECT;
    limits.silence = SILENCE;
    LdapServer::new(uri).unwrap().with_limits(limits)
}
