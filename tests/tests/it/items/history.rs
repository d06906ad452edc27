//! Histories of what two people do on both sides, against a model that only knows what they wrote.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usersync::reconcile::ItemConflict;

use crate::items::{EVERY, Home, SIDES, Where, card, place};

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    Run,
    New {
        mail: bool,
    },
    Edit {
        mail: bool,
        pick: usize,
        property: usize,
    },
    Delete {
        mail: bool,
        pick: usize,
    },
    Move {
        mail: bool,
        pick: usize,
    },
}

/// The last is one that only the mail system keeps.
const PROPERTIES: [&str; 4] = ["FN", "TEL", "NOTE", "X-LOCAL"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Run),
        2 => any::<bool>().prop_map(|mail| Step::New { mail }),
        6 => (any::<bool>(), 0..8_usize, 0..4_usize)
            .prop_map(|(mail, pick, property)| Step::Edit { mail, pick, property }),
        1 => (any::<bool>(), 0..8_usize).prop_map(|(mail, pick)| Step::Delete { mail, pick }),
        1 => (any::<bool>(), 0..8_usize).prop_map(|(mail, pick)| Step::Move { mail, pick }),
    ]
}

/// What people wrote and nobody took away: words that are each written once.
#[derive(Debug, Default)]
struct Words {
    written: u64,
    alive: BTreeSet<String>,
    local: BTreeSet<String>,
}

impl Words {
    fn next(&mut self, property: &str) -> String {
        self.written += 1;
        let word = format!("w{}w", self.written);
        match property {
            "X-LOCAL" => self.local.insert(word.clone()),
            _ => self.alive.insert(word.clone()),
        };
        word
    }

    /// Somebody saw this text and replaced it, or deleted it.
    fn forget(&mut self, text: &str) {
        self.alive.retain(|word| !text.contains(word.as_str()));
        self.local.retain(|word| !text.contains(word.as_str()));
    }
}

fn act(home: &Home, step: &Step, words: &mut Words) {
    let picked = |mail: bool, pick: usize| {
        let cards = home.cards(place(mail));
        let count = cards.len();
        cards.into_iter().nth(pick.checked_rem(count)?)
    };
    match *step {
        Step::Run => {
            home.run();
        }
        Step::New { mail } => {
            let (name, number) = (words.next("FN"), words.next("TEL"));
            let uid = format!("uid-{}", words.written);
            home.put(place(mail), &uid, &card(&uid, &[("FN", &name), ("TEL", &number)]));
        }
        Step::Edit { mail, pick, property } => {
            let property = PROPERTIES[property];
            // The CRM's server keeps no properties that it does not know, so nobody writes any there.
            if let Some((uid, card)) = picked(mail, pick).filter(|_| mail || property != "X-LOCAL") {
                if let Some(old) = card.get(property) {
                    words.forget(old);
                }
                let word = words.next(property);
                home.edit(place(mail), &uid, &[(property, &word)]);
            }
        }
        Step::Delete { mail, pick } => {
            if let Some((uid, card)) = picked(mail, pick) {
                card.values().for_each(|text| words.forget(text));
                home.remove(place(mail), &uid);
                // What only the mail system keeps of an item goes with it.
                if !mail && let Some(there) = home.cards(Where::Mail).get(&uid) {
                    there
                        .get("X-LOCAL")
                        .into_iter()
                        .for_each(|text| words.forget(text));
                }
            }
        }
        Step::Move { mail, pick } => {
            if let Some((uid, _)) = picked(mail, pick) {
                let (place, from) = (place(mail), home.href(place(mail), &uid).unwrap());
                words.written += 1;
                let to = crate::items::object(&format!("moved-{}", words.written));
                let contacts = crate::items::collection(place, 0, usersync::model::ItemKind::Contact);
                home.side(place).move_by_hand(&contacts, &from, to);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Keeping both: whatever somebody wrote and nobody took away is on both sides, and once nobody writes any more, nothing is
    /// written.
    #[test]
    fn nothing_is_lost_and_it_comes_to_rest(
        steps in prop::collection::vec(step(), 1..40),
        offers in prop::sample::select(&EVERY[..]),
    ) {
        let home = Home::new(1, offers).with_conflict(ItemConflict::KeepBoth);
        let mut words = Words::default();
        for step in &steps {
            act(&home, step, &mut words);
        }
        home.settle();
        home.is_still();
        let [crm, mail] = SIDES.map(|side| home.cards(side));
        prop_assert_eq!(crm.keys().collect::<Vec<_>>(), mail.keys().collect::<Vec<_>>());
        for (uid, card) in &crm {
            for property in ["FN", "TEL", "NOTE"] {
                prop_assert_eq!(card.get(property), mail[uid].get(property), "{} of {}", property, uid);
            }
        }
        let [crm, mail] = [crm, mail].map(|cards| format!("{cards:?}"));
        for word in &words.alive {
            prop_assert!(crm.contains(word) && mail.contains(word), "{} is lost\n{}\n{}", word, crm, mail);
        }
        for word in &words.local {
            prop_assert!(mail.contains(word), "{} is lost, which only this system keeps\n{}", word, mail);
        }
    }

    /// Any policy comes to rest; only what is reported differs.
    #[test]
    fn every_policy_comes_to_rest(
        steps in prop::collection::vec(step(), 1..30),
        offers in prop::sample::select(&EVERY[..]),
        conflict in prop::sample::select(&[ItemConflict::FirstWins, ItemConflict::SecondWins, ItemConflict::Report][..]),
    ) {
        let home = Home::new(1, offers).with_conflict(conflict);
        let mut words = Words::default();
        for step in &steps {
            act(&home, step, &mut words);
        }
        home.run();
        home.is_still();
    }
}
