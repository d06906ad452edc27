//! What contradicts itself is found.

use futures::executor::block_on;
use usersync::engine::{Chosen, LinkReport, check_links};
use usersync::store::{Key, StateRead, StateStore, Table, Transaction, Write};
use usersync_tests::tenant;

use crate::linking::{Office, context};

fn problems(office: &Office) -> Vec<&'static str> {
    let problems = block_on(check_links(&office.store, &tenant())).expect("the store works");
    assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    problems.iter().map(usersync::engine::LinkProblem::code).collect()
}

/// A saved link whose owner was asked, with all that belongs to it; and the same with one thing gone or added.
#[test]
fn each_contradiction_is_found() {
    let mut base = Office::new(2);
    base.settings.needs_consent = true;
    let base = base.with_pairs(1);
    base.stage();
    base.save(&Chosen::All);
    block_on(base.links().request_consent(&context(), &Chosen::All)).expect("it works");
    assert_eq!(problems(&base), [""; 0]);
    let key = |part: &str| {
        let values = base.store.snapshot(&tenant()).values[&Table::Link].clone();
        let mut of = values.into_keys().filter(|key| key.parts().next() == Some(part));
        of.next().expect("there is one")
    };
    let delete = |part: &str| Write::Delete {
        table: Table::Link,
        key: key(part),
    };
    let seat = base.store.snapshot(&tenant()).values[&Table::Seat]
        .keys()
        .next()
        .expect("one")
        .clone();
    let damage = |table, key: &Key| Write::Put {
        table,
        key: key.clone(),
        bytes: b"{}".to_vec(),
    };
    let count = |delta| Write::Add {
        counter: Key::of(&["seats", "user"]),
        delta,
    };
    for (write, want) in [
        (delete("account"), vec!["unclaimed"]),
        (delete("consent"), vec!["unclaimed"]),
        (delete("link"), vec!["dangling", "seat_without_link"]),
        (
            Write::Delete {
                table: Table::Seat,
                key: seat.clone(),
            },
            vec!["no_seat", "seats_miscounted"],
        ),
        (
            damage(Table::Seat, &seat),
            vec!["no_seat", "seats_miscounted", "unreadable"],
        ),
        (
            damage(Table::Link, &key("link")),
            vec!["dangling", "seat_without_link", "unreadable"],
        ),
        (count(1), vec!["seats_miscounted"]),
        (count(-1), vec!["seats_miscounted"]),
        (damage(Table::Link, &Key::of(&["link", "x"])), vec!["unreadable"]),
    ] {
        let office = base.fork();
        let mut transaction = Transaction::new(tenant());
        transaction.write(write.clone());
        block_on(office.store.commit(transaction)).expect("the store works");
        assert_eq!(problems(&office), want, "{write:?}");
    }
    // A link under another's key is none.
    let office = base.fork();
    let stored = block_on(office.store.value(&tenant(), Table::Link, &key("link"))).expect("it works");
    let mut transaction = Transaction::new(tenant());
    transaction.write(Write::Put {
        table: Table::Link,
        key: Key::of(&["link", "crm", "p9", "mail"]),
        bytes: stored.expect("it is there").bytes,
    });
    block_on(office.store.commit(transaction)).expect("the store works");
    assert_eq!(problems(&office), ["unreadable"]);
    assert!(
        block_on(office.links().list(&context())).is_err(),
        "and nothing is built on it"
    );
}

/// What one value says and another one beside it does not, as after a store was restored in part: each call that rests on it ends,
/// changes nothing and says where to look.
#[test]
fn a_call_that_meets_a_contradiction_ends() {
    let commit = |office: &Office, write: Write| {
        let mut transaction = Transaction::new(tenant());
        transaction.write(write);
        block_on(office.store.commit(transaction)).expect("the store works");
    };
    let refused = |office: &Office, result: usersync::engine::Result<LinkReport>| {
        let error = result.expect_err("it contradicts itself");
        assert!(format!("{error:?}").contains("check_links"), "{error:?}");
        assert_ne!(problems(office), [""; 0]);
    };
    let office = Office::new(2).with_pairs(1);
    office.stage();
    // Seats that nobody has are counted.
    let counter = Key::of(&["seats", "user"]);
    commit(&office, Write::Add { counter, delta: 2 });
    let before = office.list();
    let saved = block_on(office.links().save_added(&context(), &Chosen::All));
    refused(&office, saved);
    assert_eq!(office.list(), before);

    // A claim that no link knows.
    let office = Office::new(2).with_pairs(1);
    office.stage();
    let values = office.store.snapshot(&tenant()).values[&Table::Link].clone();
    let (key, _) = values
        .into_iter()
        .find(|(key, _)| key.parts().next() == Some("link"))
        .expect("one is staged");
    let table = Table::Link;
    commit(&office, Write::Delete { table, key });
    let staged = block_on(office.links().stage(&context(), &Chosen::All));
    refused(&office, staged);
    assert_eq!(office.list(), []);
}
