//! TLS, binds and secrets against a live server.
#![cfg(feature = "client")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail a test by them"
)]

mod bound;
mod live;
mod servers;

use std::fs;
use std::sync::Mutex;

use bound::{at, bound};
use live::{as_admin, on_tokio, profile, system};
use servers::Server;
use usersync_connector::{Error, ErrorKind, Secret};
use usersync_ldap::{LdapClient, LdapDirectory, LdapServer};
use usersync_model::Completeness;

/// The seed, as whoever the server is described for sees it.
fn directory(server: &Server, description: LdapServer) -> LdapDirectory {
    let profile = profile(server, &server.base);
    LdapDirectory::new(system(), LdapClient::new(description), profile)
}

fn read(server: &Server, description: LdapServer) -> Result<usize, Error> {
    let directory = directory(server, description);
    let contents = on_tokio(directory.contents())?;
    assert!(contents.verdict.is_complete(), "{:?}", contents.verdict);
    Ok(contents.entries)
}

#[test]
fn every_way_in_shows_the_same() {
    let Some(server) = servers::openldap() else { return };
    let ca = fs::read(&server.ca).unwrap();
    let (certificate, key) = server.client_certificate.as_ref().unwrap();
    let (certificate, key) = (fs::read(certificate).unwrap(), fs::read(key).unwrap());
    let trusted = |url: &str| at(url).with_certificate_authorities(&ca).unwrap();
    let with_certificate = |url: &str| trusted(url).with_client_certificate(&certificate, &key).unwrap();
    let password = || Secret::new(server.admin_password.clone());
    let want = read(server, as_admin(server)).unwrap();
    assert!(want >= server.users, "{want}");
    let ways = [
        (
            "StartTLS",
            trusted(&server.uri).with_password(&server.admin_dn, password()),
        ),
        (
            "the socket",
            at(server.ldapi.as_ref().unwrap()).with_external_identity(),
        ),
        (
            "a client certificate",
            with_certificate(&server.ldaps).with_external_identity(),
        ),
        (
            "StartTLS and a client certificate",
            with_certificate(&server.uri).with_external_identity(),
        ),
        (
            "no TLS, in so many words",
            at(&server.uri)
                .without_tls()
                .with_passwords_in_clear_text()
                .with_password(&server.admin_dn, password()),
        ),
        (
            "another name in the certificate, which it has",
            trusted(server.misnamed.as_ref().unwrap())
                .with_certificate_name("127.0.0.1")
                .unwrap()
                .with_password(&server.admin_dn, password()),
        ),
    ];
    for (way, description) in ways {
        assert_eq!(read(server, description).unwrap(), want, "by {way}");
    }
}

#[test]
fn whoever_is_not_trusted_hears_nothing() {
    let Some(server) = servers::openldap() else { return };
    let stranger = fs::read(&server.stranger).unwrap();
    let ca = fs::read(&server.ca).unwrap();
    let misnamed = server.misnamed.as_ref().unwrap();
    let cases = [
        ("another CA", &server.ldaps, &stranger),
        ("another CA by StartTLS", &server.uri, &stranger),
        ("another name", misnamed, &ca),
    ];
    for (what, url, ca) in cases {
        let description = at(url)
            .with_certificate_authorities(ca)
            .unwrap()
            .with_password(&server.admin_dn, Secret::new(server.admin_password.clone()));
        let error = read(server, description).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{what}: {error}");
        assert!(
            error.message().contains("nothing else was said"),
            "{what}: {error}"
        );
    }
}

#[test]
fn a_wrong_password_is_an_error_and_no_empty_directory() {
    let Some(server) = servers::openldap() else { return };
    for (name, password) in [
        (server.admin_dn.as_str(), "wrong"),
        ("cn=nobody,dc=test", "wrong"),
    ] {
        let error = read(server, bound(server, &server.ldaps, name, password)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    }
}

/// The account sees a hundred entries of thousands.
#[test]
fn promise_09_a_size_limit_makes_the_read_partial() {
    let Some(server) = servers::openldap() else { return };
    let limited = format!("cn=limited,ou=services,{}", server.suffix);
    let directory = directory(server, bound(server, &server.ldaps, &limited, "limited"));
    match on_tokio(directory.contents()) {
        Ok(contents) => assert!(
            matches!(&contents.verdict, Completeness::Partial(reason) if reason.kind.code() == "limit"),
            "{:?}",
            contents.verdict
        ),
        Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}"),
    }
}

/// All that is logged, at every level.
struct Recorder(Mutex<String>);

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push_str(&record.args().to_string());
    }

    fn flush(&self) {}
}

static LOG: Recorder = Recorder(Mutex::new(String::new()));

/// Promises of secrecy are kept where things go wrong: each scenario is run with a password that is looked for in everything
/// that came out, what the protocol client and TLS log at the level of traces included.
#[test]
fn a_password_shows_up_nowhere() {
    const CANARY: &str = "canary-5d21e0";
    let Some(server) = servers::openldap() else { return };
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    log::trace!("the recorder works");
    let stranger = fs::read(&server.stranger).unwrap();
    let admin = server.admin_dn.as_str();
    let canary = |url: &str| bound(server, url, admin, CANARY);
    let scenarios = [
        canary(&server.ldaps),
        canary(&server.uri),
        canary(&server.uri).without_tls(),
        canary(&server.uri).without_tls().with_passwords_in_clear_text(),
        canary(server.misnamed.as_ref().unwrap()),
        canary(&server.ldaps)
            .with_certificate_authorities(&stranger)
            .unwrap(),
        canary("ldaps://127.0.0.1:1"),
        bound(server, &server.ldaps, CANARY, CANARY),
    ];
    let mut shown = String::new();
    for (number, description) in scenarios.into_iter().enumerate() {
        shown += &format!("{description:?}");
        let directory = directory(server, description);
        let error = on_tokio(directory.contents()).unwrap_err();
        shown += &format!("{number} {error} {error:?} {error:#?} {directory:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            shown += &format!("{error} {error:?}");
            source = error.source();
        }
    }
    let log = LOG.0.lock().unwrap().clone();
    assert!(log.contains("the recorder works"));
    // The last scenario uses it as a name, too, which is no secret, and is shown with the server's description.
    let named = format!("name: \"{CANARY}\"");
    for (what, text) in [("output", shown.replace(&named, "")), ("log", log)] {
        assert!(
            !text.contains(CANARY),
            "{what}: …{}",
            &text[text.find(CANARY).unwrap_or(0)..]
        );
    }
}
