//! The seeds of the servers, read whole: what is in them is known from the scripts that made them and from OpenLDAP's own
//! clients.
#![cfg(feature = "client")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod live;
mod servers;

use bound::bound;
use live::{Seen, on_tokio, profile, seed, system};
use servers::{Kind, Server};
use usersync_ldap::{LdapClient, LdapDirectory};

fn everything(server: &Server) -> Seen {
    let contents = on_tokio(seed(server).contents()).unwrap();
    assert!(contents.verdict.is_complete(), "{:?}", contents.verdict);
    Seen::new(server, &server.base, contents)
}

/// What a service account sees.
fn seen_by(server: &Server, name: &str, password: &str) -> Seen {
    let client = LdapClient::new(bound(server, &server.ldaps, name, password));
    let directory = LdapDirectory::new(system(), client, profile(server, &server.base));
    let contents = on_tokio(directory.contents()).unwrap();
    Seen::new(server, &server.base, contents)
}

fn codes(seen: &Seen) -> Vec<&'static str> {
    let mut codes: Vec<_> = seen
        .contents
        .warnings
        .iter()
        .map(|warning| warning.code())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// What all of the seeds have, as each server names it.
struct Names {
    people: &'static str,
    groups: &'static str,
    odd: &'static str,
    hidden: &'static str,
    user: fn(usize) -> String,
}

const COMMON: Names = Names {
    people: "ou=people",
    groups: "ou=groups",
    odd: "ou=odd",
    hidden: "ou=hidden",
    user: |number| format!("uid=u{number:05}"),
};

const AD: Names = Names {
    people: "OU=People",
    groups: "OU=Groups",
    odd: "OU=Odd",
    hidden: "OU=Hidden",
    user: |number| format!("CN=User {number:05}"),
};

fn check_common(server: &Server, seen: &Seen, names: &Names) {
    let group = |name: &str| format!("cn={name},{}", names.groups);
    let user = |number| format!("{},{}", (names.user)(number), names.people);
    let users = seen
        .state
        .principals()
        .values()
        .filter(|p| p.kind.code() == "user")
        .count();
    assert!(users >= server.users, "{users}");

    // Contacts of Active Directory are no principals.
    let (everyone, skipped) = match server.kind {
        Kind::SambaAd => (server.users, Some(5000 - server.users)),
        _ => (5000, None),
    };
    assert_eq!(seen.members(&group("everyone")).len(), everyone);
    assert_eq!(seen.partial(&group("everyone")), None);
    assert_eq!(seen.skipped(&group("everyone")), skipped);
    assert_eq!(seen.everybody(&group("top")).len(), server.users);
    assert_eq!(seen.everybody(&group("cyca")), seen.ids([user(0).as_str()]));
    assert_eq!(seen.members(&group("cycb")), seen.ids([group("cyca").as_str()]));
    assert!(!seen.is_active(&user(3)));
    assert!(seen.is_active(&user(0)));

    let odd = server.search(
        &format!("{},{}", names.odd, server.base),
        "(|(objectClass=inetOrgPerson)(objectClass=user))",
        &["1.1"],
    );
    assert_eq!(seen.members(&group("odd")).len(), odd.len());
    assert_eq!(seen.partial(&group("odd")), None, "every odd name was found");
    // By place: whoever is right below the unit, and the units.
    let below = server.search(
        &format!("{},{}", names.people, server.base),
        "(objectClass=*)",
        &["1.1"],
    );
    let everybody = seen.everybody(names.people);
    assert_eq!(everybody.len(), server.users, "{} below", below.len());
    assert_eq!(seen.members(names.hidden).len(), 3);
}

#[test]
fn openldap() {
    let Some(server) = servers::openldap() else { return };
    let seen = everything(server);
    check_common(server, &seen, &COMMON);
    let group = |name: &str| format!("cn={name},ou=groups");
    let people = |range: std::ops::Range<usize>| {
        seen.ids(
            range
                .map(|n| format!("uid=u{n:05},ou=people"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        )
    };
    assert_eq!(seen.members(&group("unique")), people(0..6));
    assert_eq!(seen.members(&group("posix")), people(0..2));
    assert_eq!(seen.partial(&group("posix")), Some("unknown_member"));
    // By query, directly below the unit: the tenth is in another one.
    assert_eq!(seen.members(&group("staff")), people(0..9));
    assert_eq!(seen.partial(&group("staff")), None);
    assert_eq!(seen.members(&group("placeheld")).len(), 0);
    assert_eq!(seen.partial(&group("placeheld")), None);
    assert_eq!(
        seen.members("cn=duty,ou=roles"),
        seen.ids(["uid=u00000,ou=people", "uid=u00007,ou=people"])
    );
    assert_eq!(seen.principal("cn=duty,ou=roles").kind.code(), "role");
    assert_eq!(seen.principal("cn=blue,ou=rooms").kind.code(), "room");
    assert!(
        seen.is_active("uid=u00004,ou=people"),
        "a lock that passes is no disabled account"
    );
    assert_eq!(codes(&seen), ["unknown_members"]);
}

#[test]
fn ds389() {
    let Some(server) = servers::ds389() else { return };
    let seen = everything(server);
    check_common(server, &seen, &COMMON);
    let people = |range: std::ops::Range<usize>| {
        seen.ids(
            range
                .filter(|n| n % 10 != 9)
                .map(|n| format!("uid=u{n:05},ou=people"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str),
        )
    };
    assert_eq!(seen.members("cn=managed"), people(0..5));
    assert!(seen.members("cn=filtered").is_superset(&people(10..19)));
    assert!(seen.members("cn=nested").is_superset(&seen.members("cn=managed")));
    assert_eq!(seen.principal("cn=managed").kind.code(), "role");
    assert_eq!(seen.members("cn=staff,ou=groups"), people(0..9));
}

#[test]
fn samba_ad() {
    let Some(server) = servers::samba_ad() else { return };
    let seen = everything(server);
    check_common(server, &seen, &AD);
    let group = |name: &str| format!("CN={name},OU=Groups");
    let oracle = |name: &str, attribute: &str| {
        let dn = format!("{},{}", group(name), server.base);
        server.entry(&dn, &[attribute]).unwrap().texts(attribute)
    };
    assert_eq!(seen.principal(&group("list")).kind.code(), "distribution_list");
    assert_eq!(seen.principal(&group("local")).kind.code(), "user_group");
    // Two of its three members have it as their primary group, and are not among its values.
    assert_eq!(oracle("primary", "member").len(), 1);
    assert_eq!(
        seen.members(&group("primary")),
        seen.ids(
            [10, 11, 12]
                .map(|n| format!("CN=User {n:05},OU=People"))
                .iter()
                .map(String::as_str)
        )
    );
    assert_eq!(seen.partial(&group("foreign")), Some("unknown_member"));
    assert_eq!(
        seen.members(&group("dynamic")).len(),
        10,
        "by its filter, in all units"
    );
    assert_eq!(
        seen.principal(&group("dynamic")).kind.code(),
        "dynamic_distribution_list"
    );
    let kinds: Vec<_> = seen.state.principals().values().map(|p| p.kind.code()).collect();
    assert!(
        kinds.contains(&"room") && kinds.contains(&"equipment"),
        "rooms by what Exchange writes"
    );
}

/// The whole domain: other naming contexts below it are not missed, and built-in groups do no harm.
#[test]
fn samba_ad_from_the_root_of_the_domain() {
    let Some(server) = servers::samba_ad() else { return };
    let client = LdapClient::new(live::as_admin(server));
    let directory = LdapDirectory::new(system(), client, profile(server, &server.suffix));
    let contents = on_tokio(directory.contents()).unwrap();
    assert!(contents.verdict.is_complete(), "{:?}", contents.verdict);
    let seen = Seen::new(server, &server.suffix, contents);
    let domain_users = seen.members("CN=Domain Users,CN=Users");
    assert!(domain_users.len() > server.users, "{}", domain_users.len());
    assert_eq!(seen.partial("CN=Domain Users,CN=Users"), None);
    assert!(
        seen.everybody("CN=Administrators,CN=Builtin")
            .contains(&seen.id("CN=Administrator,CN=Users"))
    );
}

/// Whoever may not see everything gets partial groups, and no empty ones.
#[test]
fn promise_09_what_may_not_be_seen_is_partial() {
    let Some(server) = servers::openldap() else { return };
    let restricted = format!("cn=restricted,ou=services,{}", server.suffix);
    let seen = seen_by(server, &restricted, "restricted");
    assert!(seen.contents.verdict.is_complete(), "{:?}", seen.contents.verdict);
    assert_eq!(seen.partial("cn=mixed,ou=groups"), Some("unknown_member"));
    assert_eq!(seen.members("cn=mixed,ou=groups").len(), 2);
    assert_eq!(seen.partial("cn=veiled,ou=groups"), Some("unreadable"));
    assert_eq!(seen.partial("cn=top,ou=groups"), None);
}
