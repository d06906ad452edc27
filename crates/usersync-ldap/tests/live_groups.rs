//! Groups of live servers as targets: the published suite, and what is special about directories.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod groups;
mod servers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use groups::{Harness, Way, World, apply, changed, members, object, on_tokio, operation, people, read};
use servers::{Kind, Server};
use usersync_connector::{ErrorKind, MemberChange, MembershipRead, ReadEnd};
use usersync_ldap::{Dn, GroupSettings, IdAttribute, IdEncoding, LastMember};
use usersync_model::{MemberFacets, PartialKind, PrincipalRef};
use usersync_testkit::conformance::sample_context;

macro_rules! suite {
    ($module:ident, $server:ident, $way:ident) => {
        usersync_testkit::membership_target_conformance!(
            $module,
            match servers::$server() {
                Some(server) => Harness::new(server, Way::$way),
                None => return,
            },
            on_tokio
        );
    };
}

suite!(openldap_group_of_names, openldap, GroupOfNames);
suite!(openldap_group_of_unique_names, openldap, GroupOfUniqueNames);
suite!(openldap_posix_group, openldap, PosixGroup);
suite!(samba_ad_group, samba_ad, Group);
suite!(ds389_group_of_names, ds389, GroupOfNames);
suite!(ds389_group_of_unique_names, ds389, GroupOfUniqueNames);

/// Which of the servers there are, each with the usual groups.
fn worlds() -> Vec<World> {
    let servers = [servers::openldap(), servers::samba_ad(), servers::ds389()];
    servers.into_iter().flatten().map(usual).collect()
}

fn usual(server: &'static Server) -> World {
    let way = if server.kind == Kind::SambaAd {
        Way::Group
    } else {
        Way::GroupOfNames
    };
    World::new(server, way)
}

/// The settings of the server's own ids, with groups of the seed.
fn of_the_seed(world: &World) -> GroupSettings {
    world
        .settings()
        .with_group_base(Dn::parse(&world.server.base).unwrap())
        .with_group_id(usersync_ldap::IdAttribute::new(
            "cn",
            usersync_ldap::IdEncoding::Text,
        ))
}

/// The ids that the members of a group have by the administrator's own look-ups.
fn expected(world: &World, group: &str) -> Vec<String> {
    let dn = format!("cn={group},ou=groups,{}", world.server.base);
    let entry = world.server.entry(&dn, &["member"]).unwrap();
    let names: BTreeSet<_> = world
        .server
        .search(&world.server.base, &format!("(memberOf={dn})"), &["1.1"])
        .into_iter()
        .map(|found| found.dn)
        .collect();
    assert_eq!(entry.texts("member").len(), names.len());
    let people = people(world.server).iter();
    let mut ids: Vec<_> = people
        .filter(|person| names.contains(&person.dn))
        .map(|person| person.id.clone())
        .collect();
    ids.sort();
    ids
}

#[test]
fn five_thousand_members_are_read_and_changed_with_bounded_effort() {
    for world in worlds() {
        on_tokio(async {
            let client = world.client();
            let groups = world.groups_with(client.clone(), of_the_seed(&world));
            let before = client.traffic();
            let (mut seen, end) = read(&groups, &["everyone"]).await;
            let traffic = client.traffic().since(before);
            assert_eq!(end, ReadEnd::complete());
            let seen = seen.remove("everyone").flatten().unwrap();
            assert_eq!(seen.len(), 5_000);
            let ids: BTreeSet<_> = seen.iter().cloned().collect();
            let known: BTreeSet<_> = people(world.server)
                .iter()
                .map(|person| person.id.clone())
                .collect();
            assert!(ids.len() == 5_000 && ids.is_subset(&known));
            // Active Directory brings ids with the values, and 389 Directory Server dereferences.
            let searches = if world.server.kind == Kind::OpenLdap {
                5_010
            } else {
                160
            };
            assert!(traffic.searches <= searches, "{traffic:?}");
            assert_eq!(traffic.connections, 1);

            // The plugin of 389 Directory Server that keeps memberOf takes its time.
            let most = if world.server.kind == Kind::Ds389 {
                1_000
            } else {
                5_000
            };
            world.group("large", 0..1);
            let groups = world.groups_with(client.clone(), world.settings());
            let before = client.traffic();
            for from in (1..most).step_by(500) {
                let batch: Vec<_> = (from..(from + 500).min(most)).map(|n| world.add(n)).collect();
                let changed = changed(&groups, "large", &batch).await;
                assert!(changed.iter().all(|&changed| changed));
            }
            let traffic = client.traffic().since(before);
            // For each batch one for the group, one for each fifty people, perhaps one for the placeholder, and the change.
            assert!(
                traffic.requests <= u64::from(most / 500) * (1 + 10 + 1 + 1),
                "{traffic:?}"
            );
            assert_eq!(world.values("large").len(), most as usize);
            assert_eq!(members(&groups, "large").await.len(), most as usize);
        });
    }
}

#[test]
fn groups_are_known_by_the_ids_that_servers_give() {
    for world in worlds() {
        on_tokio(async {
            world.group("team", [100]);
            let id = world.own_id("team");
            let groups = world.groups_with(world.client(), world.settings_of_own_ids());
            assert_eq!(
                changed(&groups, &id, &[world.add(101), world.add(100)]).await,
                [true, false]
            );
            let other = id.replace(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], "f");
            let (seen, end) = read(&groups, &[&id, &other, "team"]).await;
            assert_eq!(end, ReadEnd::complete());
            assert_eq!(seen[&id].as_ref().map(Vec::len), Some(2));
            assert_eq!((&seen[&other], &seen["team"]), (&None, &None));
            assert_eq!(changed(&groups, &id, &[world.remove(100)]).await, [true]);
            assert_eq!(world.values("team"), [world.value(101)]);
        });
    }
}

#[test]
fn many_groups_are_read_together() {
    for world in worlds() {
        on_tokio(async {
            let client = world.client();
            let groups = world.groups_with(client.clone(), of_the_seed(&world));
            let names: Vec<_> = (0..40).map(|n| format!("leaf{n:04}")).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let before = client.traffic();
            let (seen, end) = read(&groups, &names).await;
            let traffic = client.traffic().since(before);
            assert_eq!(end, ReadEnd::complete());
            assert_eq!(seen.len(), 40);
            for (name, members) in seen {
                let mut members = members.unwrap();
                members.sort();
                if name == "leaf0001" {
                    assert_eq!(members, expected(&world, &name));
                }
                assert_eq!(members.len(), 20, "{name}");
            }
            let look_ups = if world.server.kind == Kind::OpenLdap {
                800
            } else {
                0
            };
            assert!(traffic.searches <= look_ups + 20, "{traffic:?}");
        });
    }
}

#[test]
fn odd_names_are_members_like_others() {
    for world in worlds() {
        on_tokio(async {
            let odd: Vec<u32> = (0..)
                .take_while(|&n| world.person(n).dn.to_lowercase().contains("ou=odd"))
                .collect();
            assert!(odd.len() > 5, "{}", odd.len());
            world.group("odd", [100]);
            let groups = world.groups();
            let add: Vec<_> = odd.iter().map(|&n| world.add(n)).collect();
            assert_eq!(changed(&groups, "odd", &add).await, vec![true; odd.len()]);
            assert_eq!(changed(&groups, "odd", &add).await, vec![false; odd.len()]);
            let mut ids: Vec<_> = odd
                .iter()
                .chain([&100])
                .map(|&n| world.person(n).id.clone())
                .collect();
            ids.sort();
            assert_eq!(members(&groups, "odd").await, ids);
            for &n in &odd {
                let member = groups
                    .member(&object("odd"), &world.principal(n), &sample_context())
                    .await;
                assert!(member.unwrap().is_some(), "{}", world.person(n).dn);
            }
            let remove: Vec<_> = odd.iter().map(|&n| world.remove(n)).collect();
            assert_eq!(changed(&groups, "odd", &remove).await, vec![true; odd.len()]);
            assert_eq!(members(&groups, "odd").await, [world.person(100).id.clone()]);
        });
    }
}

#[test]
fn the_last_member_stays_or_leaves_a_placeholder() {
    let Some(server) = servers::openldap() else { return };
    for way in [Way::GroupOfNames, Way::GroupOfUniqueNames] {
        let world = World::new(server, way);
        on_tokio(async {
            world.group("strict", [10, 11]);
            let refusing = world.settings().with_last_member(LastMember::Refuse);
            let groups = world.groups_with(world.client(), refusing);
            let results = apply(&groups, "strict", &[world.remove(10), world.remove(11)]).await;
            assert!(results[0].as_ref().unwrap().changed);
            let error = results[1].as_ref().unwrap_err();
            assert_eq!(
                (error.kind(), error.outcome_unknown()),
                (ErrorKind::InvalidData, false)
            );
            assert!(error.message().contains("LastMember::Placeholder"), "{error}");
            assert_eq!(world.values("strict"), [world.value(11)]);
            // In exchange, he goes.
            assert_eq!(
                changed(&groups, "strict", &[world.remove(11), world.add(12)]).await,
                [true, true]
            );

            let groups = world.groups();
            world.group("team", [10, 11]);
            assert_eq!(
                changed(&groups, "team", &[world.remove(10), world.remove(11)]).await,
                [true, true]
            );
            assert_eq!(world.values("team"), [world.placeholder()]);
            assert!(members(&groups, "team").await.is_empty());
            assert_eq!(changed(&groups, "team", &[world.remove(10)]).await, [false]);
            assert_eq!(
                changed(&groups, "team", &[world.add(12), world.remove(10)]).await,
                [true, false]
            );
            assert_eq!(world.values("team"), [world.value(12)]);
            // A person puts somebody beside the placeholder, which goes with the next addition.
            assert_eq!(changed(&groups, "team", &[world.remove(12)]).await, [true]);
            world.by_hand("team", "add", world.value(13)).unwrap();
            assert_eq!(members(&groups, "team").await, [world.person(13).id.clone()]);
            assert_eq!(
                changed(&groups, "team", &[world.add(14), world.add(13)]).await,
                [true, false]
            );
            assert_eq!(world.values("team").len(), 2);
            // The empty name, with which others satisfy the schema, is nobody, too.
            if way == Way::GroupOfNames {
                world.by_hand("team", "add", "").unwrap();
                assert_eq!(members(&groups, "team").await.len(), 2);
            }
        });
    }
}

#[test]
fn what_people_change_meanwhile_stays() {
    for world in worlds() {
        let world = Arc::new(world);
        world.group("team", 100..120);
        let done = Arc::new(AtomicBool::new(false));
        // Adds people one by one and removes every third again, and adds those on whom we work, too.
        let person = thread::spawn({
            let (world, done) = (Arc::clone(&world), Arc::clone(&done));
            move || {
                let mut stay = BTreeSet::new();
                for number in 200..300 {
                    world.by_hand("team", "add", world.value(number)).unwrap();
                    if number % 3 == 0 {
                        world.by_hand("team", "delete", world.value(number)).unwrap();
                    } else {
                        stay.insert(number);
                    }
                    let _ = world.by_hand("team", "add", world.value(1_000 + number % 10));
                    if done.load(Ordering::Acquire) {
                        break;
                    }
                }
                stay
            }
        });
        on_tokio(async {
            let groups = world.groups();
            let ours: Vec<u32> = (100..110).chain(400..450).chain(1_000..1_010).collect();
            for round in 0..12 {
                let change = |&number| {
                    if round % 2 == 0 {
                        world.add(number)
                    } else {
                        world.remove(number)
                    }
                };
                let operations: Vec<_> = ours.iter().map(change).collect();
                let changed = changed(&groups, "team", &operations).await;
                // On the second ten nobody else works.
                assert_eq!(changed[10..60], vec![true; 50], "{round}");
            }
            done.store(true, Ordering::Release);
            let stay = person.join().unwrap();
            assert!(!stay.is_empty());
            let expected: BTreeSet<_> = (110..120)
                .chain(stay)
                .map(|number| world.person(number).id.clone())
                .collect();
            let shared: BTreeSet<_> = (1_000..1_010)
                .map(|number| world.person(number).id.clone())
                .collect();
            let seen: BTreeSet<_> = members(&groups, "team").await.into_iter().collect();
            assert_eq!(
                seen.difference(&shared).cloned().collect::<BTreeSet<_>>(),
                expected
            );
        });
    }
}

#[test]
fn without_rights_nothing_changes() {
    for world in worlds() {
        on_tokio(async {
            world.group("team", 100..110);
            let before = world.values("team");
            let account = if world.server.kind == Kind::SambaAd {
                "plain"
            } else {
                "sync"
            };
            let client = world.client_of(account);
            let groups = world.groups_with(client.clone(), world.settings());
            assert_eq!(members(&groups, "team").await.len(), 10);
            let operations: Vec<_> = (100..110)
                .map(|n| world.remove(n))
                .chain((200..500).map(|n| world.add(n)))
                .collect();
            let traffic = client.traffic();
            let results = apply(&groups, "team", &operations).await;
            for result in results {
                let error = result.unwrap_err();
                assert_eq!(
                    (error.kind(), error.outcome_unknown()),
                    (ErrorKind::PermissionDenied, false)
                );
            }
            assert_eq!(world.values("team"), before);
            let traffic = client.traffic().since(traffic);
            assert!(traffic.requests < 40, "{traffic:?}");
        });
    }
}

#[test]
fn what_may_not_be_seen_is_not_absent() {
    for world in worlds() {
        on_tokio(async {
            let groups = world.groups_with(world.client_of("restricted"), of_the_seed(&world));
            let (_, end) = read(&groups, &["veiled", "mixed", "leaf0001"]).await;
            assert!(end.verdict.is_complete());
            let partial: Vec<_> = end
                .partial
                .iter()
                .map(|(id, reason)| (id.as_str(), reason.kind))
                .collect();
            let veiled = ("veiled", PartialKind::Unreadable);
            // Active Directory shows the ids of members whose entries may not be seen.
            let expected = match world.server.kind {
                Kind::Ds389 => vec![("mixed", PartialKind::Unreadable), veiled],
                Kind::OpenLdap => vec![("mixed", PartialKind::UnknownMember), veiled],
                Kind::SambaAd => vec![veiled],
            };
            assert_eq!(partial, expected, "{}", world.server.kind);

            let dn = format!("cn=veiled,ou=groups,{}", world.server.base);
            let values = world.server.entry(&dn, &["member"]).unwrap().texts("member");
            let number = |dn: &String| {
                people(world.server)
                    .iter()
                    .position(|person| person.dn == *dn)
                    .unwrap()
            };
            let member = world.principal(u32::try_from(number(&values[0])).unwrap());
            let member = groups.member(&object("veiled"), &member, &sample_context()).await;
            match (world.server.kind, member) {
                // The other end of the link may be read.
                (Kind::SambaAd, member) => assert!(member.unwrap().is_some()),
                (_, member) => assert_eq!(member.unwrap_err().kind(), ErrorKind::PermissionDenied),
            }
        });
    }
}

#[test]
fn a_renamed_or_moved_group_is_the_same() {
    for world in worlds() {
        on_tokio(async {
            world.group("team", [100]);
            world.group("other", [101]);
            let groups = world.groups();
            assert_eq!(changed(&groups, "team", &[world.add(102)]).await, [true]);
            let rename = |from: &str, to: &str| {
                world.server.modify(&format!(
                    "dn: {}\nchangetype: modrdn\nnewrdn: cn={to}\ndeleteoldrdn: 1\n",
                    world.dn(from)
                ));
            };
            rename("team", "old-team");
            // Another group has its name now, and still is another group.
            rename("other", "team");
            assert_eq!(changed(&groups, "team", &[world.add(103)]).await, [true]);
            assert_eq!(world.values("old-team").len(), 3);
            assert_eq!(world.values("team").len(), 1);
            assert_eq!(members(&groups, "team").await.len(), 3);
        });
    }
}

#[test]
fn promise_09_groups_below_a_base_that_is_gone_are_not_gone() {
    for world in worlds() {
        on_tokio(async {
            world.group("team", [100, 101]);
            let groups = world.groups();
            assert_eq!(members(&groups, "team").await.len(), 2);
            let away = format!("gone-{}", world.base.split([',', '=']).nth(1).unwrap());
            world.server.modify(&format!(
                "dn: {}\nchangetype: modrdn\nnewrdn: ou={away}\ndeleteoldrdn: 1\n",
                world.base
            ));
            let (seen, end) = read(&groups, &["team"]).await;
            assert_eq!((seen.len(), end.partial.len()), (0, 1), "{}", world.server.kind);
            let member = groups
                .member(&object("team"), &world.principal(100), &sample_context())
                .await;
            assert_eq!(member.unwrap_err().kind(), ErrorKind::NotFound);
            let results = apply(&groups, "team", &[world.remove(100)]).await;
            assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
        });
    }
}

#[test]
fn operations_on_those_who_cannot_be_members_fail_alone() {
    for world in worlds() {
        on_tokio(async {
            world.group("team", [100]);
            let groups = world.groups();
            let add = || MemberChange::Add(MemberFacets::default());
            let nobody = match world.server.kind {
                Kind::Ds389 => "00000000-00000000-00000000-00000000",
                Kind::OpenLdap | Kind::SambaAd => "00000000-0000-4000-8000-000000000000",
            };
            let nobody = PrincipalRef::parse("directory", nobody).unwrap();
            let malformed = PrincipalRef::parse("directory", "*)(objectClass=*").unwrap();
            let foreign = PrincipalRef::parse("elsewhere", &world.person(101).id).unwrap();
            let operations = [
                operation(nobody.clone(), add()),
                world.add(101),
                operation(malformed, add()),
                operation(foreign.clone(), add()),
                operation(nobody.clone(), MemberChange::Remove),
                world.add(101),
                world.remove(101),
                world.add(102),
            ];
            let results = apply(&groups, "team", &operations).await;
            let seen: Vec<_> = results
                .iter()
                .map(|result| {
                    result
                        .as_ref()
                        .map(|applied| applied.changed)
                        .map_err(usersync_connector::Error::kind)
                })
                .collect();
            let expected = [
                Err(ErrorKind::NotFound),
                Ok(true),
                Err(ErrorKind::NotFound),
                Err(ErrorKind::InvalidData),
                Ok(false),
                Ok(false),
                Ok(true),
                Ok(true),
            ];
            assert_eq!(seen, expected);
            let member = groups.member(&object("team"), &nobody, &sample_context()).await;
            assert_eq!(member.unwrap(), None);
            let member = groups.member(&object("team"), &foreign, &sample_context()).await;
            assert_eq!(member.unwrap_err().kind(), ErrorKind::InvalidData);
            if world.server.kind == Kind::SambaAd {
                return;
            }
            // With a member who cannot be told, nobody knows who that is.
            world
                .by_hand("team", "add", &format!("uid=gone,{}", world.server.base))
                .unwrap();
            let results = apply(
                &groups,
                "team",
                &[operation(nobody.clone(), MemberChange::Remove)],
            )
            .await;
            assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
            let member = groups.member(&object("team"), &nobody, &sample_context()).await;
            assert_eq!(member.unwrap_err().kind(), ErrorKind::NotFound);
            let (seen, end) = read(&groups, &["team"]).await;
            assert_eq!(end.partial.len(), 1);
            assert_eq!(end.partial[0].1.kind, PartialKind::UnknownMember);
            assert_eq!(seen["team"].as_ref().map(Vec::len), Some(2));
        });
    }
}

#[test]
fn logins_are_compared_without_regard_to_case() {
    let Some(server) = servers::openldap() else { return };
    let world = World::new(server, Way::PosixGroup);
    on_tokio(async {
        world.group("team", [100, 101]);
        let groups = world.groups();
        let other_case = world.value(102).to_uppercase();
        assert_ne!(other_case, world.value(102));
        world.by_hand("team", "add", &other_case).unwrap();
        let ids: BTreeSet<_> = (100..103).map(|n| world.person(n).id.clone()).collect();
        assert_eq!(
            members(&groups, "team")
                .await
                .into_iter()
                .collect::<BTreeSet<_>>(),
            ids
        );
        let member = groups
            .member(&object("team"), &world.principal(102), &sample_context())
            .await;
        assert!(member.unwrap().is_some());
        assert_eq!(changed(&groups, "team", &[world.add(102)]).await, [false]);
        assert_eq!(
            changed(&groups, "team", &[world.remove(102), world.remove(102)]).await,
            [true, false]
        );
        assert_eq!(world.values("team").len(), 2);
        // The same one after another.
        let there_and_back = [
            world.add(103),
            world.remove(103),
            world.add(103),
            world.remove(100),
            world.remove(101),
        ];
        assert_eq!(changed(&groups, "team", &there_and_back).await, [true; 5]);
        assert_eq!(world.values("team"), [world.value(103)]);
        assert_eq!(changed(&groups, "team", &[world.remove(103)]).await, [true]);
        assert!(members(&groups, "team").await.is_empty());
    });
}

#[test]
fn members_by_primary_group_are_members() {
    let Some(server) = servers::samba_ad() else { return };
    let world = usual(server);
    on_tokio(async {
        let groups = world.groups_with(world.client(), of_the_seed(&world));
        let dn = format!("CN=primary,OU=Groups,{}", server.base);
        let sid = server
            .entry(&dn, &["primaryGroupToken"])
            .unwrap()
            .texts("primaryGroupToken")
            .remove(0);
        let ids: Vec<_> = server.search(&server.base, &format!("(primaryGroupID={sid})"), &["1.1"]);
        let numbers: Vec<_> = ids
            .iter()
            .map(|found| {
                people(server)
                    .iter()
                    .position(|person| person.dn == found.dn)
                    .unwrap() as u32
            })
            .collect();
        assert_eq!(numbers.len(), 2);
        let seen = members(&groups, "primary").await;
        for &number in &numbers {
            assert!(seen.contains(&world.person(number).id));
            let member = groups
                .member(&object("primary"), &world.principal(number), &sample_context())
                .await;
            assert!(member.unwrap().is_some());
            let results = apply(&groups, "primary", &[world.add(number), world.remove(number)]).await;
            assert!(!results[0].as_ref().unwrap().changed);
            let error = results[1].as_ref().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("primary group"), "{error}");
        }
        assert_eq!(members(&groups, "primary").await, seen);

        // By an id that comes with each entry they are members wherever they are; by another one they have to be told.
        let rooms = Dn::parse(&format!("OU=Rooms,{}", server.base)).unwrap();
        let settings = of_the_seed(&world).with_member_base(rooms.clone());
        let groups = world.groups_with(world.client(), settings);
        assert_eq!(members(&groups, "primary").await, seen);
        let by = |name: &str| of_the_seed(&world).with_member_id(IdAttribute::new(name, IdEncoding::Text));
        for (settings, expected, why) in [
            (by("sAMAccountName"), seen.len(), None),
            (by("employeeNumber"), 0, Some(PartialKind::Unreadable)),
            (
                by("sAMAccountName").with_member_base(rooms),
                0,
                Some(PartialKind::UnknownMember),
            ),
        ] {
            let (shown, end) = read(&world.groups_with(world.client(), settings), &["primary"]).await;
            assert_eq!(shown["primary"].as_ref().map(Vec::len), Some(expected));
            let partial = end.partial.first().map(|(_, reason)| reason);
            assert_eq!(partial.map(|reason| reason.kind), why, "{end:?}");
            // One is named by the group.
            let all_are_told = partial.is_none_or(|reason| reason.detail.contains("and 2 others"));
            assert!(all_are_told, "{end:?}");
        }
    });
}

#[test]
fn members_of_other_domains_make_a_group_partial_unless_their_ids_are_told() {
    let Some(server) = servers::samba_ad() else { return };
    let world = usual(server);
    on_tokio(async {
        // By the id that comes with each value they are told from everybody else.
        let groups = world.groups_with(world.client(), of_the_seed(&world));
        let (seen, end) = read(&groups, &["foreign"]).await;
        assert_eq!(seen["foreign"].as_ref().map(Vec::len), Some(2));
        assert_eq!(end.partial, []);

        let by_login =
            || of_the_seed(&world).with_member_id(IdAttribute::new("sAMAccountName", IdEncoding::Text));
        let groups = world.groups_with(world.client(), by_login());
        let (seen, end) = read(&groups, &["foreign"]).await;
        assert_eq!(seen["foreign"].as_ref().map(Vec::len), Some(1));
        let [(group, reason)] = end.partial.as_slice() else {
            panic!("{:?}", end.partial)
        };
        assert_eq!(
            (group.as_str(), reason.kind),
            ("foreign", PartialKind::UnknownMember)
        );
        assert!(reason.detail.contains("another domain"), "{reason}");
        assert!(!reason.detail.contains("others"), "{reason}");
        // Whom the base for members leaves out.
        let settings = by_login().with_member_base(Dn::parse(&format!("OU=Rooms,{}", server.base)).unwrap());
        let (_, end) = read(&world.groups_with(world.client(), settings), &["leaf0001"]).await;
        assert!(end.partial[0].1.detail.contains("outside"), "{:?}", end.partial);
    });
}
