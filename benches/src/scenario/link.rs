//! Scenario 5, `link`: principals and accounts with four fifths of their addresses in common, 2 % and 3 % of them twice, 30 %
//! in mixed case; against making each address comparable and hashing it once, and the usual map.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::rc::Rc;

use usersync_model::{Activity, AttributeName, ObjectId, PrincipalKind, Value};
use usersync_reconcile::{MatchRule, Matching, Party, Side, Situation, match_accounts};

use super::{Aim, Scenario, Target};
use crate::random::SplitMix64;
use crate::way::{Part, Way, measured};

const HASHED: &str = "make each comparable, hash it once";
const OURS: &str = "match";
const SIDES: &str = "put both sides in the order of their ids, match";
const MAPS: &str = "HashMap of lower case texts";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "link/by address",
        item: "row",
        sizes: [20_000, 200_000, 2_000_000],
        counted: Some([2000, 20_000]),
        targets: &[
            Target {
                way: OURS,
                aim: Aim::AtMost(4.0, HASHED),
            },
            Target {
                way: OURS,
                aim: Aim::Faster(8.0, MAPS),
            },
        ],
        prepare: ways,
    }]
}

/// Ids and addresses of one side, in any order.
struct People {
    ids: Vec<ObjectId>,
    addresses: Vec<[String; 1]>,
    attributes: BTreeMap<AttributeName, Value>,
}

impl People {
    /// One for each number from `first` on, `twice` of a hundred with the address of the one before.
    fn new(system: &str, first: u32, len: u32, twice: u32, random: &mut SplitMix64) -> Self {
        let mut rows = Vec::with_capacity(len as usize);
        for n in first..first + len {
            let number = if random.below(100) < twice && n > first {
                n - 1
            } else {
                n
            };
            let address = if random.below(10) < 3 {
                format!("Given.Family{number:07}@Example.org")
            } else {
                format!("given.family{number:07}@example.org")
            };
            let id =
                ObjectId::new(format!("{system}-{:016x}", random.next_u64())).expect("the text is an id");
            rows.push((id, [address]));
        }
        random.shuffle(&mut rows);
        let (ids, addresses) = rows.into_iter().unzip();
        Self {
            ids,
            addresses,
            attributes: BTreeMap::new(),
        }
    }

    fn side(&self) -> Side<'_> {
        let parties = self.ids.iter().zip(&self.addresses).map(|(id, addresses)| Party {
            id,
            kind: PrincipalKind::User,
            activity: Activity::Active,
            privileged: false,
            ineligible: None,
            addresses,
            attributes: &self.attributes,
        });
        Side::new(parties, true, true)
    }
}

fn usersync(principals: &Side<'_>, accounts: &Side<'_>) -> Matching {
    match_accounts(principals, accounts, &[], &MatchRule::DEFAULT)
}

/// Who is the only one on either side with an address.
fn naive(principals: &People, accounts: &People) -> usize {
    let index = |people: &People| {
        let mut by_address: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, [address]) in people.addresses.iter().enumerate() {
            by_address.entry(address.to_lowercase()).or_default().push(at);
        }
        by_address
    };
    let (principals, accounts) = (index(principals), index(accounts));
    let is_only = |(address, found): &(&String, &Vec<usize>)| {
        found.len() == 1 && accounts.get(*address).is_some_and(|found| found.len() == 1)
    };
    principals.iter().filter(is_only).count()
}

fn ways(rows: u64) -> Vec<Way> {
    let len = (rows / 2) as u32;
    let mut random = SplitMix64::new(5);
    let principals = People::new("p", 0, len, 2, &mut random);
    let accounts = People::new("a", len / 5, len, 3, &mut random);
    let is_proposed = |situation: &Situation| matches!(situation, Situation::Proposed { .. });
    let matching = usersync(&principals.side(), &accounts.side());
    let situations = matching.principals.iter().map(|one| &one.situation);
    let proposed = situations.filter(|one| is_proposed(one)).count();
    assert_eq!(proposed, naive(&principals, &accounts), "the ways disagree");
    let sides = Rc::new((principals, accounts));
    let way = |part, name, work: fn(&People, &People) -> usize| {
        let sides = Rc::clone(&sides);
        Way::new(part, name, move || work(&sides.0, &sides.1))
    };
    let ours = Rc::clone(&sides);
    let all = Rc::clone(&sides);
    vec![
        way(Part::Limit, HASHED, |principals, accounts| {
            let state = foldhash::quality::RandomState::default();
            let mut text = String::new();
            let addresses = principals.addresses.iter().chain(&accounts.addresses);
            addresses.fold(0, |sum, [address]| {
                text.clone_from(address);
                text.make_ascii_lowercase();
                sum ^ state.hash_one(text.as_str())
            }) as usize
        }),
        // The usual way takes both sides as they come, and tells nothing in the order of anything.
        Way::timed(Part::Usersync, OURS, move || {
            let (principals, accounts) = (ours.0.side(), ours.1.side());
            measured(|| usersync(&principals, &accounts)).1
        }),
        Way::new(Part::Usersync, SIDES, move || {
            usersync(&all.0.side(), &all.1.side())
        }),
        way(Part::Usual, MAPS, naive),
    ]
}
