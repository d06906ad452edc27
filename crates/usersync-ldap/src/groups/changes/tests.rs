//! Against a server in memory that is as strict as real ones, and answers as they do.

use std::collections::BTreeSet;

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;

type Value = Vec<u8>;

/// A server with one group.
#[derive(Clone, Debug, Default)]
struct Server {
    members: BTreeSet<Value>,
    /// Answers as Active Directory does where a value is there already or is not.
    active_directory: bool,
    demands_a_member: bool,
    gone: bool,
    /// More values at once are too many.
    at_most: Option<usize>,
    /// Nobody may add or remove these.
    denied: BTreeSet<Value>,
    /// No entry has these names.
    nobody: BTreeSet<Value>,
    /// What people do before each request: add or remove these.
    people: Vec<(bool, Value)>,
    /// From which request on the connection is broken, and whether that one is carried out.
    breaks_at: Option<(usize, bool)>,
    /// With which code the next request fails, and whether it is carried out all the same.
    fails_by: Option<(u32, bool)>,
    /// After which request the group gets another name.
    moves_after: Option<usize>,
    /// Whether it has one by which it was not found yet.
    moved: bool,
    /// Whether nobody learns who is a member any more.
    present_fails: bool,
    /// How many looks show what was before each wish.
    behind: usize,
    requests: usize,
}

impl Server {
    fn with(members: &[&str]) -> Self {
        Self {
            members: members.iter().map(|member| member.as_bytes().to_vec()).collect(),
            ..Self::default()
        }
    }

    fn has(&self) -> Vec<&str> {
        self.members
            .iter()
            .map(|member| std::str::from_utf8(member).unwrap())
            .collect()
    }

    fn code(&self, request: &Request) -> u32 {
        let (exists, absent) = match self.active_directory {
            true => (ENTRY_ALREADY_EXISTS, UNWILLING_TO_PERFORM),
            false => (ATTRIBUTE_OR_VALUE_EXISTS, NO_SUCH_ATTRIBUTE),
        };
        let all = || request.add.iter().chain(&request.delete);
        if self.gone || self.moved {
            return NO_SUCH_OBJECT;
        }
        if all().any(|value| self.denied.contains(value)) {
            return INSUFFICIENT_ACCESS_RIGHTS;
        }
        if self.at_most.is_some_and(|most| all().count() > most) {
            return 11;
        }
        if request.add.iter().any(|value| self.nobody.contains(value)) {
            return NO_SUCH_OBJECT;
        }
        if request.add.iter().any(|value| self.members.contains(value)) {
            return exists;
        }
        if request.delete.iter().any(|value| !self.members.contains(value)) {
            return absent;
        }
        let left = self.members.len() + request.add.len() - request.delete.len();
        if self.demands_a_member && left == 0 {
            return OBJECT_CLASS_VIOLATION;
        }
        0
    }
}

impl ChangedGroup for Server {
    async fn modify(&mut self, request: Request) -> Result<Code, Error> {
        if let Some((add, value)) = self.people.pop() {
            if add {
                self.members.insert(value);
            } else if self.members.len() > 1 {
                self.members.remove(&value);
            }
        }
        self.requests += 1;
        let broken = self.breaks_at.filter(|(at, _)| self.requests >= *at);
        let code = self.code(&request);
        let fails_by = if code == 0 { self.fails_by.take() } else { None };
        if let Some((code, false)) = fails_by {
            return Ok(Code::new(code, ""));
        }
        if code == 0 && broken.is_none_or(|(at, carried_out)| carried_out && self.requests == at) {
            self.members.extend(request.add);
            request.delete.iter().for_each(|value| {
                self.members.remove(value);
            });
        }
        self.moved |= self.moves_after == Some(self.requests);
        match broken {
            Some(_) => Err(Error::new(ErrorKind::Unavailable, "broken").with_unknown_outcome(true)),
            None => Ok(Code::new(fails_by.map_or(code, |(code, _)| code), "")),
        }
    }

    async fn present(&mut self, wishes: &[&Wish]) -> Result<Option<Vec<bool>>, Error> {
        if self.present_fails {
            return Err(Error::new(ErrorKind::TimedOut, "silence"));
        }
        if self.moved {
            return Ok(None);
        }
        if self.behind > 0 {
            self.behind -= 1;
            return Ok(Some(wishes.iter().map(|wish| !wish.add).collect()));
        }
        let any = |wish: &&Wish| wish.values.iter().any(|value| self.members.contains(value));
        Ok(Some(wishes.iter().map(any).collect()))
    }

    async fn find_again(&mut self) -> Result<Whereabouts, Error> {
        Ok(if self.gone {
            Whereabouts::Gone
        } else if std::mem::take(&mut self.moved) {
            Whereabouts::Moved
        } else {
            Whereabouts::Same
        })
    }
}

/// `+a` adds, `-a` removes.
fn wishes(texts: &[&str]) -> Vec<Wish> {
    let wish = |text: &&str| Wish {
        add: text.starts_with('+'),
        values: vec![text.as_bytes()[1..].to_vec()],
    };
    texts.iter().map(wish).collect()
}

fn fulfilled(server: &mut Server, texts: &[&str], placeholder: Option<&str>) -> Vec<Result<bool, ErrorKind>> {
    let results = block_on(fulfil(server, &wishes(texts), placeholder.map(str::as_bytes)));
    results
        .into_iter()
        .map(|result| result.map_err(|error| error.kind()))
        .collect()
}

/// A server that passes changes on to another one may say that it failed, whatever the other one did.
#[test]
fn what_another_server_may_have_done_is_open() {
    for (code, carried_out, is_open) in [
        (UNAVAILABLE, false, true),
        (UNAVAILABLE, true, true),
        (OTHER, false, false),
        (OTHER, true, true),
        (TIME_LIMIT_EXCEEDED, true, true),
        (BUSY, false, false),
    ] {
        let mut server = Server {
            fails_by: Some((code, carried_out)),
            ..Server::with(&["a"])
        };
        for result in block_on(fulfil(&mut server, &wishes(&["+b", "-a"]), None)) {
            let open = result.as_ref().is_err_and(Error::outcome_unknown);
            assert_eq!(open, is_open, "{code}, {carried_out}: {result:?}");
        }
        assert_eq!(
            server.has(),
            if code == BUSY || !(carried_out || code == OTHER) {
                ["a"]
            } else {
                ["b"]
            }
        );
    }
}

/// What is known to be open stays so, whatever comes of the look at the group.
#[test]
fn promise_16_what_may_have_happened_is_open_until_somebody_sees() {
    for code in [OTHER, TIME_LIMIT_EXCEEDED] {
        let server = Server {
            fails_by: Some((code, true)),
            ..Server::with(&["a"])
        };
        let servers = [
            (
                "no answer",
                Server {
                    present_fails: true,
                    ..server.clone()
                },
            ),
            (
                "another name",
                Server {
                    moves_after: Some(1),
                    ..server.clone()
                },
            ),
            ("an old answer", Server { behind: 1, ..server }),
        ];
        for (what, mut server) in servers {
            for result in block_on(fulfil(&mut server.clone(), &wishes(&["+b", "-a"]), None)) {
                let open = result.as_ref().is_err_and(Error::outcome_unknown);
                assert!(open, "{what}, {code}: {result:?}");
            }
            // What was not sent is not open.
            server.fails_by = Some((code, false));
            server.at_most = Some(1);
            server.moves_after = None;
            let results = block_on(fulfil(&mut server, &wishes(&["+b", "+c"]), None));
            let open = |result: &Result<bool, Error>| result.as_ref().is_err_and(Error::outcome_unknown);
            assert!(!results.last().is_some_and(open), "{what}, {code}: {results:?}");
        }
    }
}

/// Where the group is no more, nothing says who is in it.
#[test]
fn a_group_that_moves_is_asked_where_it_is() {
    let mut server = Server {
        moves_after: Some(1),
        ..Server::with(&["a", "b"])
    };
    assert_eq!(fulfilled(&mut server, &["-a", "-x"], None), [Ok(true), Ok(false)]);
    assert_eq!(server.has(), ["b"]);
}

#[test]
fn what_goes_well_is_one_request() {
    let mut server = Server::with(&["a", "b"]);
    assert_eq!(fulfilled(&mut server, &["-a", "+c", "+d"], None), [Ok(true); 3]);
    assert_eq!((server.requests, server.has()), (1, vec!["b", "c", "d"]));
    assert_eq!(fulfilled(&mut server, &[], None), []);
    assert_eq!(server.requests, 1);
}

#[test]
fn what_is_as_wished_already_is_left_out() {
    for active_directory in [false, true] {
        let mut server = Server {
            active_directory,
            ..Server::with(&["a", "b"])
        };
        let results = fulfilled(&mut server, &["+a", "-x", "+c", "-b"], None);
        assert_eq!(results, [Ok(false), Ok(false), Ok(true), Ok(true)]);
        assert_eq!((server.requests, server.has()), (2, vec!["a", "c"]));
    }
}

#[test]
fn one_that_fails_stops_no_other() {
    for active_directory in [false, true] {
        let mut server = Server {
            active_directory,
            ..Server::with(&["a"])
        };
        server.nobody.insert(b"x".to_vec());
        let results = fulfilled(&mut server, &["+b", "+x", "+c", "+a", "-a"], None);
        assert_eq!(
            results,
            [Ok(true), Err(ErrorKind::NotFound), Ok(true), Ok(false), Ok(true)]
        );
        assert_eq!(server.has(), ["b", "c"]);
    }
}

#[test]
fn what_is_too_much_at_once_is_halved() {
    let mut server = Server {
        at_most: Some(3),
        ..Server::default()
    };
    let names: Vec<_> = (0..10).map(|n| format!("+{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(fulfilled(&mut server, &names, None), vec![Ok(true); 10]);
    assert_eq!(server.members.len(), 10);
    server.at_most = Some(0);
    assert_eq!(
        fulfilled(&mut server, &["+x"], None),
        [Err(ErrorKind::LimitExceeded)]
    );
}

#[test]
fn large_requests_are_not_sent() {
    let value = |n: usize| vec![u8::try_from(n).unwrap(); 40 << 10];
    let wishes: Vec<_> = (0..10)
        .map(|n| Wish {
            add: n % 2 == 0,
            values: vec![value(n)],
        })
        .collect();
    let parts = first_parts(&wishes);
    let order: Vec<_> = parts.iter().rev().flat_map(|part| part.wishes.clone()).collect();
    assert_eq!(order, [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]);
    assert_eq!(parts.iter().map(|part| part.wishes.len()).max(), Some(3));
    // One that is too large by itself is tried all the same.
    let whale = [Wish {
        add: true,
        values: vec![vec![0; 2 * REQUEST_BYTES]],
    }];
    assert_eq!(first_parts(&whale).len(), 1);
}

#[test]
fn denials_are_not_tried_one_by_one() {
    let names: Vec<_> = (0..512).map(|n| format!("+{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut server = Server::with(&["a"]);
    server.denied = (0..512).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(
        fulfilled(&mut server, &names, None),
        vec![Err(ErrorKind::PermissionDenied); 512]
    );
    assert!(server.requests <= 30, "{}", server.requests);

    let mut server = Server::with(&["a"]);
    server.denied.insert(b"7".to_vec());
    let results = fulfilled(&mut server, &names, None);
    let denied = |result: &&Result<bool, ErrorKind>| result.is_err();
    assert_eq!(results.iter().filter(denied).count(), 1);
    assert_eq!(results[7], Err(ErrorKind::PermissionDenied));
}

/// However often it is tried, the order is the same.
#[test]
fn some_denials_keep_nobody_from_what_is_allowed() {
    let names: Vec<_> = (0..64).map(|n| format!("+{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for denied in [vec![0, 1], vec![1, 2, 3], (0..64).step_by(3).collect()] {
        let mut server = Server::with(&["a"]);
        server.denied = denied
            .iter()
            .map(|n: &usize| n.to_string().into_bytes())
            .collect();
        let results = fulfilled(&mut server, &names, None);
        let failed: Vec<_> = (0..64).filter(|&n| results[n].is_err()).collect();
        assert_eq!(failed, denied);
    }
}

#[test]
fn a_group_that_is_gone_has_no_members() {
    let mut server = Server {
        gone: true,
        ..Server::default()
    };
    let results = fulfilled(&mut server, &["+a", "-b", "+c"], None);
    assert_eq!(
        results,
        [Err(ErrorKind::NotFound), Ok(false), Err(ErrorKind::NotFound)]
    );
}

#[test]
fn the_last_member_stays() {
    let mut server = Server {
        demands_a_member: true,
        ..Server::with(&["a", "b"])
    };
    let results = fulfilled(&mut server, &["-a", "-b"], None);
    assert_eq!(results, [Ok(true), Err(ErrorKind::InvalidData)]);
    assert_eq!(server.has(), ["b"]);
    // Not if another one comes with the same request.
    assert_eq!(fulfilled(&mut server, &["-b", "+c"], None), [Ok(true), Ok(true)]);
    assert_eq!(server.has(), ["c"]);

    let results = block_on(fulfil(&mut server, &wishes(&["-c"]), None));
    let message = results[0].as_ref().unwrap_err().message();
    assert!(message.contains("LastMember::Placeholder"), "{message}");
}

#[test]
fn a_placeholder_comes_and_goes() {
    let mut server = Server {
        demands_a_member: true,
        ..Server::with(&["a", "b"])
    };
    assert_eq!(
        fulfilled(&mut server, &["-a", "-b"], Some("p")),
        [Ok(true), Ok(true)]
    );
    assert_eq!((server.requests, server.has()), (2, vec!["p"]));
    assert_eq!(fulfilled(&mut server, &["-a"], Some("p")), [Ok(false)]);
    assert_eq!(server.has(), ["p"]);
    server.requests = 0;
    assert_eq!(
        fulfilled(&mut server, &["+a", "-b"], Some("p")),
        [Ok(true), Ok(false)]
    );
    assert_eq!(server.has(), ["a"]);
    // It is no wish of its own where nobody needs it.
    assert_eq!(
        fulfilled(&mut server, &["+b", "-a"], Some("p")),
        [Ok(true), Ok(true)]
    );
    assert_eq!(server.has(), ["b"]);
    // A part of the removals was fulfilled by others.
    assert_eq!(
        fulfilled(&mut server, &["-b", "-x"], Some("p")),
        [Ok(true), Ok(false)]
    );
    assert_eq!(server.has(), ["p"]);
}

#[test]
fn a_broken_connection_leaves_open_only_what_was_sent() {
    for carried_out in [false, true] {
        let mut server = Server {
            breaks_at: Some((2, carried_out)),
            ..Server::with(&["a"])
        };
        // The first request is refused, the second one is sent, and what was settled stays so.
        let results = block_on(fulfil(&mut server, &wishes(&["+a", "+b"]), None));
        assert!(matches!(results[0], Ok(false)));
        assert!(results[1].as_ref().unwrap_err().outcome_unknown());

        let large: Vec<_> = (b'b'..b'f')
            .map(|n| Wish {
                add: true,
                values: vec![vec![n; 100 << 10]],
            })
            .collect();
        let mut server = Server {
            breaks_at: Some((2, carried_out)),
            ..Server::default()
        };
        let results = block_on(fulfil(&mut server, &large, None));
        let open: Vec<_> = results
            .iter()
            .map(|result| result.as_ref().map_err(Error::outcome_unknown).copied())
            .collect();
        assert_eq!(open, [Ok(true), Err(true), Err(false), Err(false)]);
        assert_eq!(server.members.len(), 1 + usize::from(carried_out));
    }
}

#[test]
fn whoever_fights_with_us_does_not_do_so_for_ever() {
    let mut server = Server::with(&["a"]);
    // Whenever it is to be added, it is there, and whenever somebody looks, it is gone again.
    struct Fickle(Server);
    impl ChangedGroup for Fickle {
        async fn modify(&mut self, _: Request) -> Result<Code, Error> {
            self.0.requests += 1;
            Ok(Code::new(ATTRIBUTE_OR_VALUE_EXISTS, ""))
        }
        async fn present(&mut self, wishes: &[&Wish]) -> Result<Option<Vec<bool>>, Error> {
            Ok(Some(vec![false; wishes.len()]))
        }
        async fn find_again(&mut self) -> Result<Whereabouts, Error> {
            Ok(Whereabouts::Same)
        }
    }
    server.requests = 0;
    let mut fickle = Fickle(server);
    let results = block_on(fulfil(&mut fickle, &wishes(&["+x", "+y"]), None));
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert!(fickle.0.requests < 20);
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn some_names() -> impl Strategy<Value = BTreeSet<Value>> {
    prop::collection::btree_set(prop::sample::select(NAMES.as_slice()), 0..NAMES.len())
        .prop_map(|names| names.into_iter().map(|name| name.as_bytes().to_vec()).collect())
}

fn some_wishes() -> impl Strategy<Value = Vec<Wish>> {
    let each = NAMES.map(|name| {
        prop::option::of(any::<bool>()).prop_map(move |add| {
            add.map(|add| Wish {
                add,
                values: vec![name.as_bytes().to_vec()],
            })
        })
    });
    each.prop_map(|wishes| wishes.into_iter().flatten().collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    /// Each wish by itself, on a set: the oracle.
    #[test]
    fn the_outcome_is_that_of_each_wish_alone(
        members in some_names(),
        denied in some_names(),
        nobody in some_names(),
        wishes in some_wishes(),
        active_directory: bool,
        at_most in prop::option::of(1_usize..4),
    ) {
        let mut server = Server {
            members: members.clone(),
            active_directory,
            at_most,
            nobody,
            denied: denied.into_iter().take(1).collect(),
            ..Server::default()
        };
        let rules = server.clone();
        let results = block_on(fulfil(&mut server, &wishes, None));
        let mut expected = members;
        for (wish, result) in wishes.iter().zip(results) {
            let value = &wish.values[0];
            if rules.denied.contains(value) {
                prop_assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
                continue;
            }
            let as_wished = expected.contains(value) == wish.add;
            if wish.add && rules.nobody.contains(value) && !as_wished {
                prop_assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
                continue;
            }
            if rules.nobody.contains(value) {
                // Whether such a one is refused or found to be there is the server's choice.
                continue;
            }
            prop_assert_eq!(result.ok(), Some(!as_wished));
            if wish.add {
                expected.insert(value.clone());
            } else {
                expected.remove(value);
            }
        }
        let strangers = |set: &BTreeSet<Value>| -> BTreeSet<Value> {
            set.difference(&rules.nobody).cloned().collect()
        };
        prop_assert_eq!(strangers(&server.members), strangers(&expected));
    }

    /// What people do meanwhile to others is not touched, and what is answered was so at some moment.
    #[test]
    fn others_are_not_touched(
        members in some_names(),
        wishes in some_wishes(),
        people in prop::collection::vec((any::<bool>(), prop::sample::select(NAMES.as_slice())), 0..8),
        placeholder: bool,
    ) {
        let mut server = Server {
            members,
            demands_a_member: true,
            people: people.into_iter().map(|(add, name)| (add, name.as_bytes().to_vec())).collect(),
            ..Server::default()
        };
        server.members.insert(b"z".to_vec());
        let concerned: BTreeSet<_> = wishes.iter().map(|wish| wish.values[0].clone()).collect();
        let mut expected = server.clone();
        let results = block_on(fulfil(&mut server, &wishes, placeholder.then_some(b"p")));
        for _ in 0..server.requests {
            if let Some((add, value)) = expected.people.pop() {
                if add {
                    expected.members.insert(value);
                } else if expected.members.len() > 1 {
                    expected.members.remove(&value);
                }
            }
        }
        prop_assert!(results.iter().all(Result::is_ok), "{results:?}");
        let others = |server: &Server| -> BTreeSet<Value> {
            server.members.difference(&concerned).cloned().collect()
        };
        prop_assert_eq!(others(&server), others(&expected));
    }
}
