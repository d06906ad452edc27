//! `LdapDirectory` against live servers: the published suite, and what real directories do.
#![cfg(feature = "client")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod live;
mod servers;

use live::{Harness, Way, on_tokio};
use servers::Kind;

macro_rules! suite {
    ($module:ident, $kind:expr, $way:expr) => {
        usersync_testkit::directory_conformance!(
            $module,
            {
                let Some(harness) = Harness::new($kind, $way) else {
                    return;
                };
                harness
            },
            on_tokio
        );
    };
}

suite!(openldap_by_content_sync, Kind::OpenLdap, Way::Best);
suite!(openldap_without_changes, Kind::OpenLdap, Way::Full);
suite!(ds389_by_content_sync, Kind::Ds389, Way::Best);
suite!(samba_by_dir_sync, Kind::SambaAd, Way::Best);
