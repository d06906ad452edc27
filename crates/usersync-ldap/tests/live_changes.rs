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

use std::time::Instant;

use futures::StreamExt;
use live::{Follower, PATIENCE, PAUSE, as_admin, directory, on_tokio, profile, system};
use servers::{Kind, Server};
use usersync_connector::{Cursor, Directory, ErrorKind, ReadEvent};
use usersync_ldap::{ChangeStrategy, LdapClient, LdapDirectory};
use usersync_model::ObjectId;
use usersync_testkit::conformance::sample_context;
use usersync_testkit::generate::DirectoryState;

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

/// Roles say who has them, and nobody else does.
#[test]
fn roles_are_followed_on_ds389() {
    let Some(server) = servers::start(Kind::Ds389, &["--users", "0"]) else {
        return;
    };
    on_tokio(async {
        let base = server.fresh_base();
        let at = |name: &str| format!("cn={name},{base}");
        server.modify(&people(&server, &base, 4));
        let role = |name: &str, kind: &str, more: &str| {
            format!(
                "dn: {}\nchangetype: add\nobjectClass: ldapSubEntry\nobjectClass: nsRoleDefinition\n{kind}{more}\n",
                at(name)
            )
        };
        let managed = "objectClass: nsSimpleRoleDefinition\nobjectClass: nsManagedRoleDefinition\n";
        let filtered = "objectClass: nsComplexRoleDefinition\nobjectClass: nsFilteredRoleDefinition\n";
        let nested = "objectClass: nsComplexRoleDefinition\nobjectClass: nsNestedRoleDefinition\n";
        server.modify(&role("managed", managed, ""));
        server.modify(&role("filtered", filtered, "nsRoleFilter: (sn=p0)\n"));
        let mut follower = Follower::begin(directory(&server, &base, ChangeStrategy::ContentSync)).await;
        let steps = [
            modify(&at("p1"), &format!("add: nsRoleDN\nnsRoleDN: {}", at("managed"))),
            modify(&at("filtered"), "replace: nsRoleFilter\nnsRoleFilter: (sn=p2)"),
            modify(&at("p3"), "replace: sn\nsn: p2"),
            role("nested", nested, &format!("nsRoleDN: {}\n", at("managed"))),
            modify(
                &at("nested"),
                &format!("add: nsRoleDN\nnsRoleDN: {}", at("filtered")),
            ),
            rename(&at("filtered"), "cn=renamed", &base),
            modify(
                &at("nested"),
                &format!("delete: nsRoleDN\nnsRoleDN: {}", at("managed")),
            ),
            format!("dn: {}\nchangetype: delete\n", at("renamed")),
            format!("dn: {}\nchangetype: delete\n", at("managed")),
        ];
        for step in &steps {
            server.modify(step);
            let deadline = Instant::now() + PATIENCE;
            // The server itself learns of its roles a little later.
            loop {
                follower.goes_on_or_begins_anew().await;
                let whole = follower.whole().await;
                if follower.state == whole {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "members {:?}\nnot {:?}\nafter {step}",
                    follower.state.members(),
                    whole.members()
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
}

/// Whoever is moved between two groups while pages are read, at whichever page, is seen in one of them.
#[test]
fn promise_09_whoever_is_moved_between_pages_is_in_a_group() {
    for server in [servers::openldap(), servers::samba_ad(), servers::ds389()]
        .into_iter()
        .flatten()
    {
        for changes in [ChangeStrategy::Automatic, ChangeStrategy::Poll] {
            on_tokio(async {
                let base = server.fresh_base();
                let cn = rdn(server);
                let person = format!("{cn}=p0,{base}");
                server.modify(&people(server, &base, 1));
                server.modify(&group(server, &base, "g0", std::slice::from_ref(&person)));
                server.modify(&group(server, &base, "g1", &[]));
                let mut profile = profile(server, &base);
                profile.changes = changes;
                profile.limits.page = 1;
                let directory = LdapDirectory::new(system(), LdapClient::new(as_admin(server)), profile);
                let (mut from, mut to) = ("g0", "g1");
                for moved_at in 0..6 {
                    let mut stream = directory.read(None, &sample_context());
                    let (mut seen, mut events, mut ended) = (Vec::new(), 0, None);
                    while let Some(event) = stream.next().await {
                        match event.unwrap() {
                            ReadEvent::Begin(_) => {}
                            ReadEvent::Chunk(chunk) => seen.extend(chunk),
                            ReadEvent::End(end) => ended = Some(end),
                        }
                        if events == moved_at {
                            let change = |group: &str, how: &str| {
                                let group = format!("{cn}={group},{base}");
                                modify(&group, &format!("{how}: member\nmember: {person}"))
                            };
                            server.modify(&change(to, "add"));
                            server.modify(&change(from, "delete"));
                            std::mem::swap(&mut from, &mut to);
                        }
                        events += 1;
                    }
                    let end = ended.unwrap();
                    assert!(end.verdict.is_complete(), "{end:?}");
                    let state = DirectoryState::of(system(), seen);
                    // The unit has him as well.
                    let is_group = |id: &ObjectId| state.principals()[id].kind.code() == "user_group";
                    let mut groups = state.members().iter().filter(|(group, _)| is_group(group));
                    assert!(
                        groups.any(|(_, members)| !members.is_empty()) || !end.partial.is_empty(),
                        "{}, {changes:?}, moved at {moved_at} of {events}: {state:?}",
                        server.kind
                    );
                }
            });
        }
    }
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
