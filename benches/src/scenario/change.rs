//! Scenario 3, `change`: what one changed membership costs while a thousand selections are kept resolved.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use usersync_model::{DirectoryChange, DirectoryGraph, LiveSelections, ResolvePolicy};

use super::{Aim, Scenario, Target};
use crate::changes::{self, Pair};
use crate::directory::{Directory, system};
use crate::way::{Part, Way, measured};

const JOINED: &str = "membership added";
const LEFT: &str = "membership removed";
const NESTED: &str = "nesting added";
const PARTED: &str = "nesting removed";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "change/1,000 selections",
        item: "membership",
        sizes: [100_000, 1_000_000, 10_000_000],
        counted: None,
        targets: &[
            Target {
                way: JOINED,
                aim: Aim::Within(20e3, 200e3),
            },
            Target {
                way: LEFT,
                aim: Aim::Within(20e3, 200e3),
            },
            Target {
                way: PARTED,
                aim: Aim::Within(97e3, 26e6),
            },
        ],
        prepare: ways,
    }]
}

/// What was resolved, kept so; the ways take turns in changing it.
struct Kept {
    graph: DirectoryGraph,
    live: LiveSelections,
}

impl Kept {
    fn change(&mut self, change: &DirectoryChange) -> Duration {
        let Self { graph, live } = self;
        measured(|| black_box(live.apply(graph, &system(), change))).1
    }
}

fn ways(memberships: u64) -> Vec<Way> {
    let directory = Directory::generate((memberships / 10) as u32);
    let mut kept = Kept {
        graph: directory.graph(),
        live: LiveSelections::new(ResolvePolicy::default()),
    };
    for selection in directory.selections() {
        kept.live.insert(&kept.graph, selection);
    }
    let kept = Rc::new(RefCell::new(kept));
    let direct = Rc::new(changes::of_users(&changes::memberships(&directory, 10_000)));
    let nested = Rc::new(changes::of_groups(&changes::nestings(&directory, 1000)));
    vec![
        one(JOINED, &kept, &direct, 0),
        one(LEFT, &kept, &direct, 1),
        one(NESTED, &kept, &nested, 0),
        one(PARTED, &kept, &nested, 1),
    ]
}

/// Makes the next change and takes it back, and times one of both.
fn one(name: &'static str, kept: &Rc<RefCell<Kept>>, pairs: &Rc<Vec<Pair>>, timed: usize) -> Way {
    let (kept, pairs, mut next) = (Rc::clone(kept), Rc::clone(pairs), 0);
    Way::timed(Part::Usersync, name, move || {
        let pair = &pairs[next % pairs.len()];
        next += 1;
        let mut kept = kept.borrow_mut();
        pair.each_ref().map(|change| kept.change(change))[timed]
    })
}
