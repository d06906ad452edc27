//! Whatever arrives, there is an error or what was asked for: no panic, no hang, no unbounded memory.

use futures::FutureExt;
use proptest::prelude::*;

use super::super::ber::{self, OCTETS, SEQUENCE};
use super::super::guard::operation::{
    ENTRY, EXTENDED_RESPONSE, INTERMEDIATE, REFERENCE, SEARCH, SEARCH_DONE,
};
use super::super::server::ClientLimits;
use super::super::{LdapClient, LdapServer, PageLimits};
use super::fake::{Fake, entry, message, outcome, page_end, result};
use super::{LIMITS, everything, kind, pages, plain, search};
use usersync_connector::ErrorKind;

/// What a search ends with when this is answered to it.
async fn answered(answer: impl Fn(i64) -> Vec<u8> + Send + 'static) -> String {
    let fake = Fake::start(move |tag, id| (tag == SEARCH).then(|| answer(id))).await;
    match search(&plain(&fake.url())).await {
        Ok((names, code)) => format!("{} entries, code {code}", names.len()),
        Err(error) => error.kind().code().to_owned(),
    }
}

fn nested(depth: usize) -> Vec<u8> {
    // From the inside out; quadratic, but small enough.
    (0..depth).fold(Vec::new(), |inner, _| {
        let mut out = Vec::new();
        ber::push(&mut out, SEQUENCE, &inner);
        out
    })
}

#[tokio::test]
async fn answers_that_are_wrong_end_the_search_with_an_error() {
    let good = |id| [entry(id, "cn=a", "cn", &[b"a"]), result(id, SEARCH_DONE, 0, "")].concat();
    type Answer = Box<dyn Fn(i64) -> Vec<u8> + Send>;
    let cases: Vec<(&str, Answer, &str)> = vec![
        ("a good one", Box::new(good), "1 entries, code 0"),
        (
            "a result code",
            Box::new(|id| result(id, SEARCH_DONE, 4, "too many")),
            "0 entries, code 4",
        ),
        (
            "no LDAP",
            Box::new(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            "invalid_data",
        ),
        (
            "a length of 2 GiB",
            Box::new(|_| vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]),
            "limit_exceeded",
        ),
        (
            "an endless length",
            Box::new(|_| vec![0x30, 0x80, 0, 0]),
            "invalid_data",
        ),
        (
            "a length of nine octets",
            Box::new(|_| vec![0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
            "invalid_data",
        ),
        (
            "deep nesting",
            Box::new(|id| message(id, ENTRY, &nested(5000), &[])),
            "invalid_data",
        ),
        (
            "an entry without attributes",
            Box::new(|id| message(id, ENTRY, &[OCTETS, 0], &[])),
            "invalid_data",
        ),
        (
            "an entry whose name is no DN",
            Box::new(|id| entry(id, "no dn", "cn", &[b"a"])),
            "invalid_data",
        ),
        (
            "an entry whose name is no text",
            Box::new(|id| {
                let mut content = Vec::new();
                ber::push(&mut content, OCTETS, &[0xff, 0xfe]);
                ber::push(&mut content, SEQUENCE, b"");
                message(id, ENTRY, &content, &[])
            }),
            "invalid_data",
        ),
        (
            "a result without text",
            Box::new(|id| message(id, SEARCH_DONE, &[0x0a, 1, 0], &[])),
            "invalid_data",
        ),
        (
            "a result whose text is none",
            Box::new(|id| message(id, SEARCH_DONE, &[0x0a, 1, 0, 4, 0, 4, 1, 0xff], &[])),
            "invalid_data",
        ),
        (
            "a referral of another type",
            Box::new(|id| {
                message(
                    id,
                    SEARCH_DONE,
                    &[&outcome(10, "")[..], &[0x83, 1, 0]].concat(),
                    &[],
                )
            }),
            "invalid_data",
        ),
        (
            "an operation that does not exist",
            Box::new(|id| message(id, 0x7e, b"", &[])),
            "invalid_data",
        ),
        (
            "the answer to another operation",
            Box::new(|id| result(id, 0x67, 0, "")),
            "invalid_data",
        ),
        (
            "the answer to an extended operation",
            Box::new(|id| result(id, EXTENDED_RESPONSE, 0, "")),
            "invalid_data",
        ),
        (
            "a control that is none",
            Box::new(|id| {
                let mut out = Vec::new();
                let inner = [
                    &[2, 1, u8::try_from(id).unwrap(), SEARCH_DONE][..],
                    &[7, 0x0a, 1, 0, 4, 0, 4, 0],
                    &[0xa0, 2, 5, 0],
                ]
                .concat();
                ber::push(&mut out, SEQUENCE, &inner);
                out
            }),
            "invalid_data",
        ),
        (
            "an intermediate response with an unknown part",
            Box::new(|id| message(id, INTERMEDIATE, &[0x85, 0], &[])),
            "invalid_data",
        ),
        (
            "an answer to nobody first",
            Box::new(move |id| [result(77, SEARCH_DONE, 0, ""), good(id)].concat()),
            "1 entries, code 0",
        ),
        (
            "a reference",
            Box::new(|id| {
                let mut content = Vec::new();
                ber::push(&mut content, OCTETS, b"ldap://elsewhere.example");
                [
                    message(id, REFERENCE, &content, &[]),
                    result(id, SEARCH_DONE, 0, ""),
                ]
                .concat()
            }),
            "0 entries, code 0",
        ),
        (
            "a notice of disconnection",
            Box::new(|_| result(0, EXTENDED_RESPONSE, 52, "going down")),
            "unavailable",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, answer, want) in cases {
        let got = answered(answer).await;
        if got != want {
            wrong.push(format!("{what}: {got}, not {want}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_server_that_closes_is_unavailable() {
    for sent in [0, 1, 5, 30] {
        let fake = Fake::start(move |tag, id| {
            let whole = [entry(id, "cn=a", "cn", &[b"a"]), result(id, SEARCH_DONE, 0, "")].concat();
            (tag == SEARCH && sent > 0).then(|| whole[..sent.min(whole.len() - 1)].to_vec())
        })
        .await;
        let silent = sent > 0;
        let mut limits = ClientLimits::default();
        if silent {
            limits.silence = std::time::Duration::from_millis(200);
        }
        let server = LdapServer::new(&fake.url())
            .unwrap()
            .without_tls()
            .with_limits(limits);
        let kind = kind(search(&LdapClient::new(server)).await);
        assert_eq!(
            kind,
            if silent {
                ErrorKind::TimedOut
            } else {
                ErrorKind::Unavailable
            },
            "{sent} bytes"
        );
    }
}

/// Every code that is not success fails a search in pages, whatever it is called.
#[tokio::test]
async fn promise_09_only_success_is_success() {
    for code in (1..=255).chain([4096, 65_536, i64::from(i32::MAX)]) {
        let fake = Fake::start(move |tag, id| {
            let end = result(id, SEARCH_DONE, code, "because");
            (tag == SEARCH).then(|| [entry(id, "cn=a", "cn", &[b"a"]), end].concat())
        })
        .await;
        let error = pages(&plain(&fake.url()), LIMITS).await.unwrap_err();
        assert!(error.to_string().contains("because"), "{code}: {error}");
    }
}

#[tokio::test]
async fn pages_without_end_are_limited() {
    let empty = Fake::start(|tag, id| (tag == SEARCH).then(|| page_end(id, b"more"))).await;
    assert_eq!(
        kind(pages(&plain(&empty.url()), LIMITS).await),
        ErrorKind::LimitExceeded
    );

    let full = Fake::start(|tag, id| {
        (tag == SEARCH).then(|| [entry(id, "cn=a", "cn", &[b"a"]), page_end(id, b"more")].concat())
    })
    .await;
    let error = pages(&plain(&full.url()), LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.message().contains("1000"), "{error}");
}

/// OpenLDAP refuses pages that are larger than the account may ask for.
#[tokio::test]
async fn pages_that_are_refused_are_made_smaller() {
    let mut asked = 0;
    let fake = Fake::start(move |tag, id| {
        asked += 1;
        let refused = result(id, SEARCH_DONE, 11, "illegal pagedResults page size");
        let found = [entry(id, "cn=a", "cn", &[b"a"]), page_end(id, b"")].concat();
        (tag == SEARCH).then_some(if asked < 4 { refused } else { found })
    })
    .await;
    let client = plain(&fake.url());
    let limits = PageLimits { size: 500, ..LIMITS };
    assert_eq!(pages(&client, limits).await.unwrap(), 1);

    let fake = Fake::start(|tag, id| (tag == SEARCH).then(|| result(id, SEARCH_DONE, 11, "never"))).await;
    let client = plain(&fake.url());
    assert_eq!(kind(pages(&client, limits).await), ErrorKind::LimitExceeded);
    assert!(client.traffic().searches < 10);
}

/// Whoever takes the control out of an answer lets a page pass for everything.
#[tokio::test]
async fn promise_09_a_page_without_its_control_is_not_the_last() {
    let fake = Fake::start(|tag, id| {
        (tag == SEARCH).then(|| [entry(id, "cn=a", "cn", &[b"a"]), result(id, SEARCH_DONE, 0, "")].concat())
    })
    .await;
    assert_eq!(
        kind(pages(&plain(&fake.url()), LIMITS).await),
        ErrorKind::InvalidData
    );

    // Where nothing at all was found, there is nothing to take for everything.
    let fake = Fake::start(|tag, id| (tag == SEARCH).then(|| result(id, SEARCH_DONE, 0, ""))).await;
    assert_eq!(pages(&plain(&fake.url()), LIMITS).await.unwrap(), 0);
}

/// What is still on its way would fill the window, and stop whoever comes next.
#[tokio::test]
async fn a_connection_is_not_used_again_after_a_request_was_given_up() {
    let fake = Fake::start(|tag, id| (tag == SEARCH).then(|| page_end(id, b""))).await;
    let client = plain(&fake.url());
    let mut session = client.session().await.unwrap();
    assert!(session.search(&everything()).now_or_never().is_none());
    client.keep(session);
    search(&client).await.unwrap();
    assert_eq!(client.traffic().connections, 2);
}

/// Small on the wire, such a message is large once it is taken apart.
#[tokio::test]
async fn messages_of_very_many_values_are_not_taken() {
    for (count, want) in [(4000_usize, None), (5000, Some(ErrorKind::LimitExceeded))] {
        let fake = Fake::start(move |tag, id| {
            let whole = entry(id, "cn=a", "cn", &vec![&b""[..]; count]);
            (tag == SEARCH).then(|| [whole, result(id, SEARCH_DONE, 0, "")].concat())
        })
        .await;
        let limits = ClientLimits {
            message_bytes: 1 << 16,
            ..ClientLimits::default()
        };
        let server = LdapServer::new(&fake.url())
            .unwrap()
            .without_tls()
            .with_limits(limits);
        let found = search(&LdapClient::new(server)).await;
        assert_eq!(found.err().map(|error| error.kind()), want, "{count}");
    }
}

#[tokio::test]
async fn one_entry_is_not_many() {
    let fake = Fake::start(|tag, id| {
        let entries = (0..50).flat_map(|_| entry(id, "", "vendorName", &[b"a"]));
        (tag == SEARCH).then(|| entries.collect())
    })
    .await;
    let client = plain(&fake.url());
    let mut session = client.session().await.unwrap();
    assert_eq!(kind(client.root_dse(&mut session).await), ErrorKind::InvalidData);
}

/// Each of them is small, and none of them is an entry.
#[tokio::test]
async fn what_is_no_entry_does_not_come_for_ever() {
    for tag in [REFERENCE, INTERMEDIATE] {
        let fake = Fake::start(move |asked, id| {
            let content = if tag == REFERENCE {
                let mut content = Vec::new();
                ber::push(&mut content, OCTETS, b"ldap://a");
                content
            } else {
                Vec::new()
            };
            // More than anybody waits for, and no end.
            (asked == SEARCH).then(|| message(id, tag, &content, &[]).repeat(200_000))
        })
        .await;
        let limits = ClientLimits {
            silence: std::time::Duration::from_secs(5),
            ..ClientLimits::default()
        };
        let server = LdapServer::new(&fake.url())
            .unwrap()
            .without_tls()
            .with_limits(limits);
        let found = pages(&LdapClient::new(server), LIMITS).await;
        assert_eq!(kind(found), ErrorKind::LimitExceeded);
    }
}

/// What a server says is read by people.
#[tokio::test]
async fn texts_of_the_server_do_not_mislead() {
    let fake = Fake::start(|tag, id| {
        (tag == SEARCH).then(|| result(id, SEARCH_DONE, 80, "a\u{202e}b\u{2066}c\u{7}d\u{200b}e\nf"))
    })
    .await;
    let error = pages(&plain(&fake.url()), LIMITS).await.unwrap_err();
    assert!(
        error
            .message()
            .ends_with("a\\u{202e}b\\u{2066}c\\u{7}d\\u{200b}e\\u{a}f"),
        "{error}"
    );
}

#[tokio::test]
async fn all_pages_are_read() {
    let mut page = 0;
    let fake = Fake::start(move |tag, id| {
        page += 1;
        let entries: Vec<u8> = (0..10)
            .flat_map(|n| entry(id, &format!("cn={page}-{n}"), "cn", &[b"a"]))
            .collect();
        let cookie: &[u8] = if page < 7 { b"more" } else { b"" };
        (tag == SEARCH).then(|| [entries, page_end(id, cookie)].concat())
    })
    .await;
    let client = plain(&fake.url());
    assert_eq!(pages(&client, LIMITS).await.unwrap(), 70);
    let traffic = client.traffic();
    assert_eq!(
        (traffic.searches, traffic.entries, traffic.connections),
        (7, 70, 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Noise, and answers with noise in them.
    #[test]
    fn noise_is_an_error(
        noise in prop::collection::vec(any::<u8>(), 0..80),
        cut in 0_usize..60,
        flip in prop::option::of((0_usize..60, 1_u8..=255)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::start(move |tag, id| {
                if tag != SEARCH {
                    return None;
                }
                let mut whole = [entry(id, "cn=a", "cn", &[b"a", b"b"]), page_end(id, b"")].concat();
                if let Some((at, with)) = flip && at < whole.len() {
                    whole[at] ^= with;
                }
                whole.splice(cut.min(whole.len()).., noise.iter().copied());
                Some(whole)
            })
            .await;
            let limits = ClientLimits {
                silence: std::time::Duration::from_millis(30),
                ..ClientLimits::default()
            };
            let server = LdapServer::new(&fake.url()).unwrap().without_tls().with_limits(limits);
            // Whatever it is, it comes back.
            let _ = search(&LdapClient::new(server)).await;
        });
    }
}
