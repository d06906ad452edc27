//! What a client does with servers that are wrong, broken or hostile.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by them")]

mod fake;
mod hostile;
mod runtimes;
mod security;

use usersync_connector::{Error, ErrorKind};

use super::search::{Base, Item, PageLimits, Pages, Search};
use super::{LdapClient, LdapServer};
use crate::dn::Dn;
use crate::filter::Filter;
use crate::url::Scope;

/// A client of a server without TLS.
fn plain(url: &str) -> LdapClient {
    LdapClient::new(LdapServer::new(url).unwrap().without_tls())
}

fn everything() -> Search {
    Search {
        base: Base::Dn(Dn::parse("dc=example,dc=org").unwrap()),
        scope: Scope::Subtree,
        filter: Filter::present("objectClass").unwrap(),
        attributes: vec!["cn".to_owned()],
        controls: Vec::new(),
    }
}

/// Searches once, and tells the names found and the result code.
async fn search(client: &LdapClient) -> Result<(Vec<String>, u32), Error> {
    let mut session = client.session().await?;
    let mut found = session.search(&everything()).await?;
    let mut names = Vec::new();
    while let Some(item) = found.next().await? {
        if let Item::Entry(entry) = item {
            names.push(entry.entry.dn().to_string());
        }
    }
    let (code, _) = found.end().await;
    client.keep(session);
    Ok((names, code.number))
}

/// Searches in pages, and tells how many entries there are.
async fn pages(client: &LdapClient, limits: PageLimits) -> Result<u64, Error> {
    let mut session = client.session().await?;
    let mut pages = Pages::new(everything(), limits);
    let mut entries = 0;
    while let Some(item) = pages.next(&mut session).await? {
        entries += u64::from(matches!(item, Item::Entry(_)));
    }
    Ok(entries)
}

const LIMITS: PageLimits = PageLimits {
    size: 10,
    entries: 1000,
    pages: 1000,
};

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    match result {
        Ok(_) => panic!("this must fail"),
        Err(error) => error.kind(),
    }
}
