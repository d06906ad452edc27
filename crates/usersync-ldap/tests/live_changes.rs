//! Reads of changes against live servers: what is shown is what a read of everything would show, and no more is asked for
//! than what changed.
#![cfg(feature = "client")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod live;
mod servers;

use std::time::{Duration, Instant};

use futures::StreamExt;
use live::{as_admin, on_tokio, profile, system};
use servers::{Kind, Server};
use usersync_connector::{Cursor, Directory, Error, ErrorKind, Extent, ReadEnd, Reader};
use usersync_ldap::{ChangeStrategy, LdapClient, LdapDirectory, Traffic};
use usersync_model::DirectoryChange;
use usersync_testkit::conformance::sample_context;
use usersync_testkit::generate::DirectoryState;

/// How often it is looked whether a server is done.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a server may take until it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who reads a directory again and again.
struct Follower {
    directory: LdapDirectory,
    state: DirectoryState,
    cursor: Cursor,
}

/// What one read took and showed.
struct Step {
    changes: usize,
    traffic: Traffic,
    end: ReadEnd,
}

impl Follower {
    async fn begin(directory: LdapDirectory) -> Self {
        let (extent, changes, end) = read(&directory, None).await.unwrap();
        assert_eq!(extent, Extent::Full);
        assert!(end.verdict.is_complete(), "{:?}", end.verdict);
        Self {
            directory,
            state: DirectoryState::of(system(), changes),
            cursor: end.cursor.unwrap(),
        }
    }

    async fn go_on(&mut self) -> Step {
        let before = self.directory.client().traffic();
        let (extent, changes, end) = read(&self.directory, Some(self.cursor.clone())).await.unwrap();
        let traffic = self.directory.client().traffic().since(before);
        assert_eq!(extent, Extent::Changes);
        assert!(end.verdict.is_complete(), "{:?}", end.verdict);
        self.cursor = end.cursor.clone().unwrap();
        let count = changes.len();
        changes.into_iter().for_each(|change| self.state.apply(change));
        Step {
            changes: count,
            traffic,
            end,
        }
    }

    /// Reads what changed, or everything where that is needed, as runs do.
    async fn goes_on_or_begins_anew(&mut self) {
        match read(&self.directory, Some(self.cursor.clone())).await {
            Ok((_, changes, end)) => {
                self.cursor = end.cursor.unwrap();
                changes.into_iter().for_each(|change| self.state.apply(change));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::CursorExpired, "{error}");
                *self = Self::begin(self.directory.clone()).await;
            }
        }
    }

    /// What a read of everything shows.
    async fn whole(&self) -> DirectoryState {
        let contents = self.directory.contents().await.unwrap();
        DirectoryState::of(system(), contents.changes)
    }

    /// Reads what changed, until it is what a read of everything shows: servers mend references a little later.
    async fn catches_up(&mut self, after: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let step = self.go_on().await;
            let contents = self.directory.contents().await.unwrap();
            let whole = DirectoryState::of(system(), contents.changes.clone());
            let partial = |end: &[(usersync_model::ObjectId, usersync_model::PartialReason)]| {
                end.iter().map(|(group, _)| group.clone()).collect::<Vec<_>>()
            };
            if whole == self.state && partial(&contents.partial) == partial(&step.end.partial) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "after {after}: members {:?}\nnot {:?}\npartial {:?}\nnot {:?}",
                self.state.members(),
                whole.members(),
                step.end.partial,
                contents.partial
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn read(
    directory: &LdapDirectory,
    since: Option<Cursor>,
) -> Result<(Extent, Vec<DirectoryChange>, ReadEnd), Error> {
    let mut reader = Reader::new(directory.read(since, &sample_context()));
    let mut changes = Vec::new();
    while let Some(chunk) = reader.next_chunk().await {
        changes.extend(chunk);
    }
    match reader.take_error() {
        Some(error) => Err(error),
        None => Ok((reader.extent().unwrap(), changes, reader.finish())),
    }
}

fn directory(server: &Server, base: &str, changes: ChangeStrategy) -> LdapDirectory {
    let mut profile = profile(server, base);
    profile.changes = changes;
    LdapDirectory::new(system(), LdapClient::new(as_admin(server)), profile)
}

/// Twenty thousand users: a read with nothing new reads nothing, and one with one change reads that.
#[test]
fn openldap_reads_what_changed_and_no_more() {
    let Some(server) = servers::start(Kind::OpenLdap, &["--users", "20000"]) else {
        return;
    };
    on_tokio(async {
        let mut follower = Follower::begin(directory(&server, &server.base, ChangeStrategy::Automatic)).await;
        let full = follower.directory.client().traffic();
        assert!(full.entries > 20_000, "{full:?}");

        let nothing = follower.go_on().await;
        assert_eq!(nothing.changes, 0);
        assert_eq!(
            (nothing.traffic.requests, nothing.traffic.entries),
            (1, 0),
            "{:?}",
            nothing.traffic
        );

        let user = format!("uid=u00042,ou=people,{}", server.base);
        server.modify(&format!(
            "dn: {user}\nchangetype: modify\nreplace: displayName\ndisplayName: Somebody\n"
        ));
        let one = follower.go_on().await;
        assert_eq!(one.changes, 1);
        // The entry, and what the query of the one dynamic group finds.
        let found = server
            .search(&format!("ou=people,{}", server.base), "(uid=u0000*)", &["1.1"])
            .len() as u64;
        assert!(one.traffic.entries <= 1 + found, "{:?}", one.traffic);
        assert!(one.traffic.requests <= 3, "{:?}", one.traffic);
        assert!(
            one.traffic.bytes_received * 200 < full.bytes_received,
            "{:?} of {full:?}",
            one.traffic
        );

        let nothing = follower.go_on().await;
        assert_eq!((nothing.changes, nothing.traffic.entries), (0, 0));
    });
}

#[test]
fn samba_ad_reads_what_changed_and_no_more() {
    let Some(server) = servers::samba_ad() else { return };
    on_tokio(async {
        let base = server.fresh_base();
        server.modify(&people(server, &base, 3));
        let mut follower = Follower::begin(directory(server, &base, ChangeStrategy::Automatic)).await;
        server.modify(&format!(
            "dn: CN=p1,{base}\nchangetype: modify\nreplace: displayName\ndisplayName: Somebody\n"
        ));
        let one = follower.go_on().await;
        assert_eq!(one.changes, 1);
        assert!(one.traffic.bytes_received < 100_000, "{:?}", one.traffic);
        let nothing = follower.go_on().await;
        assert_eq!(nothing.changes, 0);
    });
}

/// A few people, in the order in which they are to be made.
fn people(server: &Server, base: &str, count: usize) -> String {
    (0..count)
        .map(|n| person(server, base, &format!("p{n}")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn rdn(server: &Server) -> &'static str {
    if server.kind == Kind::SambaAd { "CN" } else { "cn" }
}

fn person(server: &Server, place: &str, name: &str) -> String {
    let dn = format!("dn: {}={name},{place}\nchangetype: add\n", rdn(server));
    let account = format!("{}-{name}", place.split([',', '=']).nth(1).unwrap());
    match server.kind {
        Kind::SambaAd => format!("{dn}objectClass: user\nsAMAccountName: {account}\n"),
        _ => format!("{dn}objectClass: inetOrgPerson\nsn: {name}\nuid: {account}\n"),
    }
}

fn group(server: &Server, place: &str, name: &str, members: &[String]) -> String {
    let dn = format!("dn: {}={name},{place}\nchangetype: add\n", rdn(server));
    let members: String = members
        .iter()
        .map(|member| format!("member: {member}\n"))
        .collect();
    let account = format!("{}-{name}", place.split([',', '=']).nth(1).unwrap());
    match server.kind {
        Kind::SambaAd => format!("{dn}objectClass: group\nsAMAccountName: {account}\n{members}"),
        _ => format!("{dn}objectClass: groupOfNames\nmember:\n{members}"),
    }
}

fn unit(place: &str, name: &str) -> String {
    format!("dn: OU={name},{place}\nchangetype: add\nobjectClass: organizationalUnit\n")
}

fn modify(dn: &str, what: &str) -> String {
    format!("dn: {dn}\nchangetype: modify\n{what}\n")
}

fn rename(dn: &str, rdn: &str, place: &str) -> String {
    format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\nnewsuperior: {place}\n")
}

/// A long day at a directory, with everything that moves.
fn history(server: &Server, changes: ChangeStrategy) {
    on_tokio(async {
        let base = server.fresh_base();
        let cn = rdn(server);
        let at = |name: &str, place: &str| {
            let place = if place.is_empty() {
                base.clone()
            } else {
                format!("{place},{base}")
            };
            format!("{cn}={name},{place}")
        };
        server.modify(
            &[
                unit(&base, "a"),
                unit(&base, "b"),
                unit(&format!("OU=a,{base}"), "deep"),
            ]
            .join("\n"),
        );
        server.modify(&people(server, &base, 4));
        server.modify(&person(server, &format!("OU=a,{base}"), "q0"));
        server.modify(&person(server, &format!("OU=deep,OU=a,{base}"), "q1"));
        server.modify(
            &[
                group(
                    server,
                    &base,
                    "g0",
                    &[at("p0", ""), at("q0", "OU=a"), at("q1", "OU=deep,OU=a")],
                ),
                group(server, &base, "g1", &[at("g0", ""), at("p1", "")]),
            ]
            .join("\n"),
        );
        let mut follower = Follower::begin(directory(server, &base, changes)).await;
        let mut from_the_start = Follower::begin(directory(server, &base, changes)).await;
        let disable = match server.kind {
            Kind::Ds389 => "replace: nsAccountLock\nnsAccountLock: true",
            Kind::OpenLdap => "replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z",
            Kind::SambaAd => "replace: userAccountControl\nuserAccountControl: 546",
        };
        let steps = [
            (
                "a name",
                modify(&at("p0", ""), "replace: displayName\ndisplayName: Ünïcode, Inc."),
            ),
            (
                "a rename",
                rename(&at("p0", ""), &format!("{cn}=p0 renamed"), &base),
            ),
            (
                "a move",
                rename(&at("p1", ""), &format!("{cn}=p1"), &format!("OU=b,{base}")),
            ),
            ("a disabled account", modify(&at("p2", ""), disable)),
            (
                "a member more",
                modify(&at("g0", ""), &format!("add: member\nmember: {}", at("p2", ""))),
            ),
            (
                "a member less",
                modify(
                    &at("g0", ""),
                    &format!("delete: member\nmember: {}", at("q0", "OU=a")),
                ),
            ),
            (
                "a moved unit",
                rename(
                    &format!("OU=deep,OU=a,{base}"),
                    "OU=deep",
                    &format!("OU=b,{base}"),
                ),
            ),
            ("a renamed unit", rename(&format!("OU=b,{base}"), "OU=c", &base)),
            ("somebody new", person(server, &format!("OU=c,{base}"), "q2")),
            (
                "a cycle",
                modify(&at("g0", ""), &format!("add: member\nmember: {}", at("g1", ""))),
            ),
            (
                "a renamed group",
                rename(&at("g1", ""), &format!("{cn}=g1 renamed"), &base),
            ),
            (
                "a deleted member",
                format!("dn: {}\nchangetype: delete\n", at("p2", "")),
            ),
            (
                "a deleted group",
                format!("dn: {}\nchangetype: delete\n", at("g1 renamed", "")),
            ),
            ("somebody who came back", person(server, &base, "p2")),
            (
                "somebody moved out of sight",
                rename(&at("q0", "OU=a"), &format!("{cn}=q0"), &server.suffix),
            ),
        ];
        for (what, ldif) in &steps {
            server.modify(ldif);
            follower.catches_up(what).await;
        }
        // Once more, all of it at once.
        from_the_start.catches_up("all of it").await;
        server.modify(&format!("dn: {cn}=q0,{}\nchangetype: delete\n", server.suffix));
    });
}

#[test]
fn changes_lead_to_what_there_is_on_openldap() {
    let Some(server) = servers::openldap() else { return };
    history(server, ChangeStrategy::ContentSync);
}

/// With a session log of two operations, most refreshes are present phases.
#[test]
fn changes_lead_to_what_there_is_in_present_phases() {
    let Some(server) = servers::start(Kind::OpenLdap, &["--users", "0", "--session-log", "2"]) else {
        return;
    };
    history(&server, ChangeStrategy::ContentSync);
}

#[test]
fn changes_lead_to_what_there_is_on_samba_ad() {
    let Some(server) = servers::samba_ad() else { return };
    history(server, ChangeStrategy::DirSync);
}

#[test]
fn changes_lead_to_what_there_is_on_ds389() {
    let Some(server) = servers::start(Kind::Ds389, &["--users", "0", "--member-of-everywhere"]) else {
        return;
    };
    history(&server, ChangeStrategy::ContentSync);
}

/// Of many deletions at once the server names all but some.
#[test]
fn many_deletions_are_all_seen_on_ds389() {
    let Some(server) = servers::start(Kind::Ds389, &["--users", "0"]) else {
        return;
    };
    on_tokio(async {
        let base = server.fresh_base();
        server.modify(&people(&server, &base, 60));
        let mut follower = Follower::begin(directory(&server, &base, ChangeStrategy::ContentSync)).await;
        let deletions = (0..60).map(|n| format!("dn: cn=p{n},{base}\nchangetype: delete\n"));
        server.modify(&deletions.collect::<Vec<_>>().join("\n"));
        follower.goes_on_or_begins_anew().await;
        assert_eq!(follower.state, follower.whole().await);
    });
}

/// What the server recorded and has dropped since, it does not miss itself.
#[test]
fn what_the_changelog_has_dropped_is_seen_on_ds389() {
    let Some(server) = servers::start(Kind::Ds389, &["--users", "0", "--changelog-seconds", "1"]) else {
        return;
    };
    on_tokio(async {
        let base = server.fresh_base();
        server.modify(&people(&server, &base, 2));
        let mut follower = Follower::begin(directory(&server, &base, ChangeStrategy::ContentSync)).await;
        server.modify(&format!("dn: cn=p0,{base}\nchangetype: delete\n"));
        server.modify(&modify(
            &format!("cn=p1,{base}"),
            "replace: displayName\ndisplayName: Somebody",
        ));
        let deadline = Instant::now() + PATIENCE;
        while !server
            .search("cn=changelog", "(changeType=delete)", &["1.1"])
            .is_empty()
        {
            assert!(Instant::now() < deadline, "the changelog keeps everything");
            tokio::time::sleep(PAUSE).await;
        }
        follower.goes_on_or_begins_anew().await;
        assert_eq!(follower.state, follower.whole().await);
    });
}

/// Polling sees what is new and what was modified; what is gone waits for a read of everything.
#[test]
fn polling_sees_what_is_there() {
    for server in [servers::openldap(), servers::samba_ad(), servers::ds389()]
        .into_iter()
        .flatten()
    {
        on_tokio(async {
            let base = server.fresh_base();
            let cn = rdn(server);
            server.modify(&people(server, &base, 3));
            server.modify(&group(server, &base, "g", &[format!("{cn}=p0,{base}")]));
            let mut follower = Follower::begin(directory(server, &base, ChangeStrategy::Poll)).await;
            server.modify(&modify(
                &format!("{cn}=g,{base}"),
                &format!("add: member\nmember: {cn}=p1,{base}"),
            ));
            server.modify(&person(server, &base, "p3"));
            follower.catches_up("additions").await;

            server.modify(&format!("dn: {cn}=p2,{base}\nchangetype: delete\n"));
            let step = follower.go_on().await;
            assert!(step.changes <= 1, "nothing tells who is gone");
            let contents = follower.directory.contents().await.unwrap();
            let now = DirectoryState::of(system(), contents.changes);
            assert_eq!(
                now.principals().len() + 1,
                follower.state.principals().len(),
                "{}",
                server.kind
            );
        });
    }
}

/// The persist phase wakes whoever waits.
#[test]
fn waiting_ends_with_a_change() {
    let Some(server) = servers::openldap() else { return };
    on_tokio(async {
        let base = server.fresh_base();
        let follower = Follower::begin(directory(server, &base, ChangeStrategy::ContentSync)).await;
        let (waiting, cursor) = (follower.directory.clone(), follower.cursor.clone());
        let waiter = tokio::spawn(async move { waiting.changed(&cursor).await });
        tokio::task::yield_now().await;
        server.modify(&person(server, &base, "p0"));
        waiter.await.unwrap().unwrap();

        let unknown = follower.directory.changed(&Cursor::new("unknown")).await;
        assert_eq!(unknown.unwrap_err().kind(), ErrorKind::CursorExpired);
    });
}

/// A server that goes away while it is read leaves a partial read, with no cursor.
#[test]
fn promise_09_a_server_that_dies_leaves_a_partial_read() {
    let Some(server) = servers::start(Kind::OpenLdap, &["--users", "3000"]) else {
        return;
    };
    on_tokio(async {
        let mut profile = profile(&server, &server.base);
        profile.limits.page = 50;
        let directory = LdapDirectory::new(system(), LdapClient::new(as_admin(&server)), profile);
        let mut stream = directory.read(None, &sample_context());
        assert!(stream.next().await.unwrap().is_ok());
        server.stop();
        let mut end = None;
        while let Some(event) = stream.next().await {
            if let Ok(usersync_connector::ReadEvent::End(found)) = event {
                end = Some(found);
            }
        }
        let end = end.expect("the read began, so that it ends with a verdict");
        assert!(!end.verdict.is_complete());
        assert!(end.cursor.is_none());

        let error = directory.contents().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    });
}
