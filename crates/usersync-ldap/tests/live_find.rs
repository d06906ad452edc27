//! Finding single principals of live servers.
#![cfg(feature = "client")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod live;
mod servers;

use live::{on_tokio, seed};
use servers::Server;
use usersync_ldap::{Dn, Filter, LdapDirectory};
use usersync_model::{DirectoryChange, Principal};

fn each(check: impl AsyncFn(&Server, LdapDirectory)) {
    for server in [servers::openldap(), servers::samba_ad(), servers::ds389()]
        .into_iter()
        .flatten()
    {
        on_tokio(check(server, seed(server)));
    }
}

/// The principals of a full read, by their names.
async fn named(directory: &LdapDirectory, name: &str) -> Vec<Principal> {
    let contents = directory.contents().await.unwrap();
    let principals = contents.changes.into_iter().filter_map(|change| match change {
        DirectoryChange::Upsert(principal) if principal.name == name => Some(principal),
        _ => None,
    });
    principals.collect()
}

#[test]
fn what_a_filter_finds_is_what_a_full_read_shows() {
    each(async |_, directory| {
        let expected = named(&directory, "leaf0003").await;
        assert_eq!(expected.len(), 1);
        let found = directory.find(&Filter::equal("cn", "leaf0003").unwrap()).await;
        assert_eq!(found.unwrap(), expected);

        let nobody = directory.find(&Filter::equal("cn", "*").unwrap()).await;
        assert_eq!(nobody.unwrap(), []);
        // More than the server gives at once.
        let users = Filter::substring("mail", "u0", &[], "").unwrap();
        let found = directory.find(&users).await.unwrap();
        assert_eq!(found.len(), 2000);
        assert!(found.is_sorted_by(|a, b| a.id < b.id));
    });
}

#[test]
fn a_name_is_followed_to_whoever_has_it() {
    each(async |server, directory| {
        let dn = |text: &str| Dn::parse(&format!("{text},{}", server.base)).unwrap();
        let expected = named(&directory, "leaf0003").await;
        let found = directory
            .principal_at(&dn("cn=leaf0003,ou=groups"))
            .await
            .unwrap();
        assert_eq!(found.as_ref(), expected.first());

        let nobody = directory.principal_at(&dn("cn=nobody,ou=groups")).await;
        assert_eq!(nobody.unwrap(), None);
        // A naming context is no principal.
        let context = Dn::parse(&server.suffix).unwrap();
        assert_eq!(directory.principal_at(&context).await.unwrap(), None);
    });
}
