//! The servers that other tests talk to are there, hold what they say, and leave nothing behind. The library has no
//! part in this.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod servers;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use servers::{Kind, Server};

#[test]
fn openldap_is_what_it_says() {
    let Some(server) = servers::openldap() else { return };
    holds_its_seed(server);
    is_trusted_by_its_ca_alone(server);
    has_room_for_tests(server);

    let everyone = format!("cn=everyone,ou=groups,{}", server.base);
    let everyone = server.entry(&everyone, &["member"]).unwrap();
    assert_eq!(everyone.texts("member").len(), 5_000);
    let odd = server.search(&format!("ou=odd,{}", server.base), "(uid=odd1)", &["cn"]);
    assert_eq!(odd[0].texts("cn"), ["Smíth, J++"]);
}

#[test]
fn openldap_knows_clients_by_socket_and_by_certificate() {
    let Some(server) = servers::openldap() else { return };
    let (certificate, key) = server.client_certificate.as_ref().unwrap();
    let who = |uri: &str| {
        let output = Command::new("ldapwhoami")
            .args(["-Q", "-Y", "EXTERNAL", "-H", uri])
            .env("LDAPTLS_CACERT", &server.ca)
            .env("LDAPTLS_CERT", certificate)
            .env("LDAPTLS_KEY", key)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        who(server.ldapi.as_ref().unwrap()).trim(),
        format!("dn:{}", server.admin_dn)
    );
    let sync = format!("dn:cn=sync,ou=services,{}", server.suffix);
    assert_eq!(who(&server.ldaps).trim(), sync);
}

/// Each row: who searches, with what, how many entries come (all of them unless said), and the result code.
#[test]
fn openldap_limits_its_accounts() {
    let Some(server) = servers::openldap() else { return };
    let all = server.entries;
    // Three entries and the unit itself are hidden.
    let seen = all - 4;
    for (name, page, entries, code) in [
        ("sync", None, 500, 4),
        ("sync", Some(200), all, 0),
        ("sync", Some(201), 0, 11),
        ("limited", None, 100, 4),
        ("limited", Some(50), 100, 4),
        ("restricted", Some(200), seen, 0),
    ] {
        let dn = format!("cn={name},ou=services,{}", server.suffix);
        let mut search = server.client_as("ldapsearch", &server.uri, &dn, name);
        search.args(["-LLL", "-o", "ldif-wrap=no", "-b", &server.base]);
        if let Some(page) = page {
            search.args(["-E", &format!("pr={page}/noprompt")]);
        }
        let output = search.arg("1.1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let count = text.lines().filter(|line| line.starts_with("dn:")).count();
        assert_eq!(
            (count, output.status.code()),
            (entries, Some(code)),
            "{name} {page:?}"
        );
    }
}

#[test]
fn openldap_leaves_nothing_behind() {
    leaves_nothing_behind(Kind::OpenLdap, &["--users", "0"]);
}

#[test]
fn samba_ad_is_what_it_says() {
    let Some(server) = servers::samba_ad() else { return };
    holds_its_seed(server);
    is_trusted_by_its_ca_alone(server);
    has_room_for_tests(server);

    let groups = format!("OU=Groups,{}", server.base);
    let count = |name: &str| {
        let entry = server.entry(&format!("CN={name},{groups}"), &["member"]);
        entry.unwrap().texts("member").len()
    };
    assert_eq!(count("everyone"), 5_000);
    // Two more have it as their primary group, and none of them is named.
    assert_eq!(count("primary"), 1);
    assert_eq!(count("foreign"), 3);
    let room = format!("CN=Blue room,OU=Rooms,{}", server.base);
    let room = server.entry(&room, &["msExchRecipientTypeDetails"]).unwrap();
    assert_eq!(room.texts("msExchRecipientTypeDetails"), ["16"]);
}

/// Each row: who searches, how many entries come, and how many members of the veiled group.
#[test]
fn samba_ad_limits_its_accounts() {
    let Some(server) = servers::samba_ad() else { return };
    for (name, hidden, members) in [("plain", 3, 3), ("restricted", 0, 0), ("sync", 3, 3)] {
        let dn = format!("CN={name},OU=Services,{}", server.suffix);
        let count = |base: &str, filter: &str, wanted: &str, attribute: &str| {
            let output = server
                .client_as("ldapsearch", &server.uri, &dn, &server.admin_password)
                .args([
                    "-LLL",
                    "-b",
                    &format!("{base},{}", server.base),
                    filter,
                    attribute,
                ])
                .output()
                .unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().filter(|line| line.starts_with(wanted)).count()
        };
        assert_eq!(
            count("OU=Hidden", "(objectClass=user)", "dn:", "1.1"),
            hidden,
            "{name}"
        );
        assert_eq!(
            count("OU=Groups", "(cn=veiled)", "member:", "member"),
            members,
            "{name}"
        );
    }
}

#[test]
fn samba_ad_leaves_nothing_behind() {
    leaves_nothing_behind(Kind::SambaAd, &[]);
}

#[test]
fn ds389_is_what_it_says() {
    let Some(server) = servers::ds389() else { return };
    holds_its_seed(server);
    is_trusted_by_its_ca_alone(server);
    has_room_for_tests(server);

    let user = format!("uid=u00000,ou=people,{}", server.base);
    let user = server.entry(&user, &["memberOf", "nsRole"]).unwrap();
    let below = |name: &str| format!("{name},{}", server.base);
    assert_eq!(user.texts("nsRole"), [below("cn=managed"), below("cn=nested")]);
    assert!(user.texts("memberOf").contains(&below("cn=top,ou=groups")));
    let everyone = server
        .entry(&below("cn=everyone,ou=groups"), &["member"])
        .unwrap();
    assert_eq!(everyone.texts("member").len(), 5_000);
}

#[test]
fn ds389_leaves_nothing_behind() {
    leaves_nothing_behind(Kind::Ds389, &["--users", "0"]);
}

fn holds_its_seed(server: &Server) {
    let entries = server.search(&server.base, "(objectClass=*)", &["1.1"]);
    assert_eq!(entries.len(), server.entries);
    assert!(server.users >= 2_000, "{}", server.users);
    assert!(server.entries > server.users);
}

fn is_trusted_by_its_ca_alone(server: &Server) {
    let answers = |uri: &str, tls: &[&str], ca: &Path| {
        let mut client = server.client_as("ldapsearch", uri, &server.admin_dn, &server.admin_password);
        client
            .args(tls)
            .args(["-s", "base", "-b", "", "1.1"])
            .env("LDAPTLS_CACERT", ca);
        client.output().unwrap().status.success()
    };
    for (uri, tls) in [(&server.uri, ["-ZZ"].as_slice()), (&server.ldaps, &[])] {
        assert!(answers(uri, tls, &server.ca), "{uri}");
        assert!(!answers(uri, tls, &server.stranger), "{uri}");
    }
    if let Some(misnamed) = &server.misnamed {
        assert!(!answers(misnamed, &[], &server.ca));
    }
}

fn has_room_for_tests(server: &Server) {
    let (one, other) = (server.fresh_base(), server.fresh_base());
    assert_ne!(one, other);
    assert_eq!(server.search(&one, "(objectClass=*)", &["1.1"]).len(), 1);
    server.modify(&format!("dn: {other}\nchangetype: delete\n"));
    assert_eq!(server.entry(&other, &["1.1"]), None);
    assert!(
        server
            .try_modify(&format!("dn: {other}\nchangetype: delete\n"))
            .is_err()
    );
}

fn leaves_nothing_behind(kind: Kind, options: &[&str]) {
    let Some(server) = servers::start(kind, options) else {
        return;
    };
    let (pid, dir) = (server.pid, server.dir.clone());
    let port = server
        .uri
        .trim_start_matches("ldap://")
        .parse::<SocketAddr>()
        .unwrap();
    let process = Path::new("/proc").join(pid.to_string());
    assert!(process.exists() && dir.exists());
    assert!(TcpStream::connect(port).is_ok());

    assert!(server.stop().success());

    assert!(!process.exists());
    assert!(!dir.exists());
    assert!(TcpStream::connect(port).is_err());
}
