//! Names and addresses change hands; ids decide.

use std::collections::BTreeSet;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::engine::{Chosen, LinkOutcome};
use usersync::reconcile::Situation;
use usersync_tests::edit::cases;
use usersync_tests::tenant;

use crate::linking::{Office, context, object, plain, principal};

/// Pairs that are linked from the beginning.
const LINKED: usize = 4;

/// An address: of one of the pairs, or of nobody so far; in small letters or not.
fn address(n: usize, is_loud: bool) -> String {
    let text = format!("person{n}@acme.example");
    if is_loud { text.to_uppercase() } else { text }
}

/// As many linked pairs.
fn linked() -> Office {
    let office = Office::new(20).with_pairs(LINKED);
    office.stage();
    office.save(&Chosen::All);
    assert_eq!(office.list().len(), LINKED);
    office
}

fn addresses() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((0..LINKED * 2, any::<bool>()), LINKED * 2)
}

proptest! {
    #![proptest_config(cases(256))]

    /// Everybody has another name and whatever address, on both sides: who is linked stays so with the same account, and nothing is
    /// written.
    #[test]
    fn promise_19_whatever_address_they_have_now_links_stay(rounds in proptest::collection::vec(addresses(), 1..4)) {
        let office = linked();
        let before = office.store.snapshot(&tenant());
        for round in rounds {
            for n in 0..LINKED {
                let (of_person, of_account) = (round[n], round[LINKED + n]);
                office.people.put(plain(&format!("p{n}"), &address(of_person.0, of_person.1)));
                office.mail.put(plain(&format!("a{n}"), &address(of_account.0, of_account.1)));
            }
            office.stage();
            office.save(&Chosen::All);
            block_on(office.links().follow_departures(&context(), None)).expect("it works");
            prop_assert_eq!(office.store.snapshot(&tenant()), before.clone());
        }
        office.check();
    }

    /// Others come with addresses that linked people or accounts have, or had when they were linked, on either side or on both:
    /// they are disputed, nothing is written for them, and whoever has an address of nobody's is linked all the same.
    #[test]
    fn promise_20_whoever_comes_with_a_linked_address_is_disputed(
        moved in proptest::collection::btree_set(0..LINKED, 0..LINKED),
        newcomers in proptest::collection::vec((0..LINKED * 2, any::<bool>()), 1..5),
        rivals in proptest::collection::vec((0..LINKED * 2, any::<bool>()), 0..4),
    ) {
        let office = linked();
        // Some of the linked have another address by now; what they had is given to others.
        for n in &moved {
            office.people.put(plain(&format!("p{n}"), &format!("moved{n}@acme.example")));
            office.mail.put(plain(&format!("a{n}"), &format!("moved{n}@acme.example")));
        }
        let before = office.store.snapshot(&tenant());
        for (at, (n, is_loud)) in rivals.iter().enumerate() {
            office.mail.put(plain(&format!("b{at}"), &address(*n, *is_loud)));
        }
        for (at, (n, is_loud)) in newcomers.iter().enumerate() {
            office.people.put(plain(&format!("p{}", LINKED + at), &address(*n, *is_loud)));
        }
        let staged = office.stage();
        let saved = office.save(&Chosen::All);
        let mut free = BTreeSet::new();
        for (at, (n, _)) in newcomers.iter().enumerate() {
            let who = principal(LINKED + at);
            if *n < LINKED {
                let is_disputed = matches!(staged.of(&who), Some(LinkOutcome::Unfit(Situation::Disputed(_))));
                prop_assert!(is_disputed, "{:?}", staged.of(&who));
                prop_assert!(saved.of(&who).is_none_or(|outcome| outcome.code() != "saved"));
            }
            let alone = |all: &[(usize, bool)]| all.iter().filter(|(other, _)| other == n).count() == 1;
            if *n >= LINKED && alone(&newcomers) && alone(&rivals) {
                let account = rivals.iter().position(|(other, _)| other == n).expect("there is one");
                free.insert((object(&format!("p{}", LINKED + at)), object(&format!("b{account}"))));
            }
        }
        let links: BTreeSet<_> = office
            .list()
            .into_iter()
            .map(|entry| (entry.link.principal().object.clone(), entry.link.account().object.clone()))
            .collect();
        let kept = (0..LINKED).map(|n| (object(&format!("p{n}")), object(&format!("a{n}"))));
        let expected: BTreeSet<_> = kept.chain(free.iter().cloned()).collect();
        prop_assert_eq!(links, expected);
        if free.is_empty() {
            prop_assert_eq!(office.store.snapshot(&tenant()), before);
        }
        office.check();
    }
}
