//! Ranges of a live server. Samba gives all values at once unless asked for a range, so that this asks for the first one as
//! Active Directory gives it unasked.

use std::collections::BTreeSet;
use std::fs;

use usersync_connector::Secret;

use super::super::{RangeLimits, complete_ranges};
use super::servers::{self, Server};
use crate::client::{Base, ClientLimits, FoundEntry, Item, LdapClient, LdapServer, Search, Session};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::url::Scope;

fn client(server: &Server) -> LdapClient {
    let limits = ClientLimits {
        connect: servers::CONNECT,
        silence: servers::SILENCE,
        ..ClientLimits::default()
    };
    let description = LdapServer::new(&server.ldaps)
        .unwrap()
        .with_limits(limits)
        .with_certificate_authorities(&fs::read(&server.ca).unwrap())
        .unwrap()
        .with_password(&server.admin_dn, Secret::new(server.admin_password.clone()));
    LdapClient::new(description)
}

async fn everyone(session: &mut Session, server: &Server, range: &str) -> FoundEntry {
    let search = Search {
        base: Base::Dn(Dn::parse(&format!("CN=everyone,OU=Groups,{}", server.base)).unwrap()),
        scope: Scope::Base,
        filter: Filter::present("objectClass").unwrap(),
        attributes: vec!["objectGUID".to_owned(), format!("member;range={range}")],
        controls: Vec::new(),
    };
    let mut found = session.search(&search).await.unwrap();
    let mut entry = None;
    while let Some(item) = found.next().await.unwrap() {
        if let Item::Entry(found) = item {
            entry = Some(found);
        }
    }
    assert!(found.end().await.0.is_success());
    entry.unwrap()
}

#[tokio::test]
async fn ranges_of_a_live_server_are_read_to_their_end() {
    let Some(server) = servers::samba_ad() else { return };
    let client = client(server);
    let mut session = client.session().await.unwrap();
    for (first, limit, whole) in [
        ("0-1499", 10_000, true),
        ("0-0", 10_000, true),
        ("0-1499", 3000, false),
    ] {
        let found = everyone(&mut session, server, first).await;
        assert!(
            found.entry.values("member").next().is_none(),
            "the server gives a range"
        );
        let limits = RangeLimits {
            values: limit,
            controls: &[],
        };
        let (entry, missing) = complete_ranges(&mut session, found, limits).await.unwrap();
        assert_eq!(missing.is_none(), whole, "{missing:?}");
        let members: BTreeSet<&[u8]> = entry.values("member").collect();
        assert_eq!(members.len(), if whole { 5000 } else { limit }, "from {first}");
    }
}
