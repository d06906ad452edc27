//! Nothing secret is sent where it may be read, and nothing goes on where TLS failed.

use usersync_connector::{ErrorKind, Secret};

use super::super::guard::operation::{BIND, EXTENDED, EXTENDED_RESPONSE};
use super::super::{LdapClient, LdapServer};
use super::fake::{Fake, message, outcome, result};
use super::{kind, search};

const CANARY: &str = "canary-7f3a";

fn with_password(url: &str) -> LdapServer {
    LdapServer::new(url)
        .unwrap()
        .with_password("cn=sync", Secret::new(CANARY))
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Whatever a server answers to StartTLS but a plain yes, no credential follows.
#[tokio::test]
async fn a_failed_start_tls_ends_before_the_bind() {
    type Answer = fn(i64) -> Vec<u8>;
    let answers: [(&str, Answer); 8] = [
        ("refused", |id| result(id, EXTENDED_RESPONSE, 2, "no")),
        ("unavailable", |id| result(id, EXTENDED_RESPONSE, 52, "")),
        ("a success that goes on in the clear", |id| {
            [result(id, EXTENDED_RESPONSE, 0, ""), result(2, 0x61, 0, "")].concat()
        }),
        ("a success of another message", |_| {
            result(9, EXTENDED_RESPONSE, 0, "")
        }),
        ("a success of a bind", |id| result(id, 0x61, 0, "")),
        ("a success, and then no TLS", |id| {
            result(id, EXTENDED_RESPONSE, 0, "")
        }),
        ("no LDAP", |_| b"220 ready\r\n".to_vec()),
        ("too much", |id| {
            message(id, EXTENDED_RESPONSE, &outcome(0, &"x".repeat(40_000)), &[])
        }),
    ];
    for (what, answer) in answers {
        let fake = Fake::start(move |tag, id| (tag == EXTENDED).then(|| answer(id))).await;
        let client = LdapClient::new(with_password(&fake.url()));
        let error = search(&client).await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Unauthenticated | ErrorKind::Unavailable | ErrorKind::TimedOut
            ),
            "{what}: {error}"
        );
        let heard = fake.received();
        assert!(!holds(&heard, CANARY) && !holds(&heard, "cn=sync"), "{what}");
        assert!(!format!("{error:?}").contains(CANARY), "{what}");
    }
}

#[tokio::test]
async fn a_password_is_not_sent_in_the_clear_unless_asked_for() {
    let fake = Fake::start(|tag, id| (tag == BIND).then(|| result(id, 0x61, 49, "wrong"))).await;
    let refused = LdapClient::new(with_password(&fake.url()).without_tls());
    assert_eq!(kind(search(&refused).await), ErrorKind::Unauthenticated);
    assert_eq!(fake.received(), b"");

    let allowed = LdapClient::new(
        with_password(&fake.url())
            .without_tls()
            .with_passwords_in_clear_text(),
    );
    let error = search(&allowed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(holds(&fake.received(), CANARY));
    let shown = format!("{error} {error:?} {allowed:?} {:?}", allowed.server());
    assert!(!shown.contains(CANARY), "{shown}");
}

/// A bind without a password succeeds at many servers, as nobody.
#[tokio::test]
async fn an_empty_password_is_refused() {
    let fake = Fake::start(|tag, id| (tag == BIND).then(|| result(id, 0x61, 0, ""))).await;
    for (name, password) in [("cn=sync", ""), ("", CANARY), ("", "")] {
        let server = LdapServer::new(&fake.url())
            .unwrap()
            .with_password(name, Secret::new(password))
            .without_tls()
            .with_passwords_in_clear_text();
        assert_eq!(
            kind(search(&LdapClient::new(server)).await),
            ErrorKind::Unauthenticated
        );
    }
    assert_eq!(fake.received(), b"");
}

#[test]
fn addresses() {
    for (url, want) in [
        ("ldap://host", Some("host:389")),
        ("LDAP://host:3890", Some("host:3890")),
        ("ldaps://host/", Some("host:636")),
        ("ldaps://[::1]:1636", Some("::1:1636")),
        ("ldap://[::1]", Some("::1:389")),
        ("ldapi://%2Frun%2Fslapd%2Fldapi", Some("/run/slapd/ldapi")),
        ("", None),
        ("host", None),
        ("http://host", None),
        ("ldap://", None),
        ("ldap://host:", None),
        ("ldap://host:0", None),
        ("ldap://host:65536", None),
        ("ldap://host:389:389", None),
        ("ldap://host/dc=example", None),
        ("ldap://user@host", None),
        ("ldap://host?x", None),
        ("ldap://ho st", None),
        ("ldap://[::1", None),
        ("ldapi://%2", None),
        ("ldapi://%ff%fe", None),
    ] {
        let got = LdapServer::new(url).ok().map(|server| server.place());
        assert_eq!(got.as_deref(), want, "{url}");
    }
}

#[test]
fn certificates_that_cannot_be_read_are_errors() {
    let server = || LdapServer::new("ldaps://host").unwrap();
    for pem in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    ] {
        assert!(
            server().with_certificate_authorities(pem.as_bytes()).is_err(),
            "{pem:?}"
        );
        assert!(
            server().with_client_certificate(pem.as_bytes(), b"").is_err(),
            "{pem:?}"
        );
    }
    assert!(server().with_certificate_name("not a name").is_err());
}
