//! How it goes when nobody disturbs it.

use std::collections::BTreeSet;

use crate::inspect::{Late, Lines, difference, inspect, touched};
use crate::process::{Folder, Worker};
use crate::scene::WEEKS;

/// All weeks of one seed, undisturbed.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) seed: u64,
    /// As things were when this many weeks were done.
    folders: Vec<Folder>,
    ends: Vec<Lines>,
    /// What was passed in each week.
    passed: Vec<Vec<String>>,
    /// Who was ever a member of what.
    pub(crate) touched: BTreeSet<(String, String)>,
}

impl Base {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = Folder::new();
        let (_, end) = Worker::start(&folder, seed, 0, "settle", None).end();
        assert_eq!(end, "end: done");
        let mut base = Self {
            seed,
            folders: vec![folder.copy()],
            ends: vec![Lines::new()],
            passed: Vec::new(),
            touched: BTreeSet::new(),
        };
        for week in 0..=WEEKS {
            let (passed, end) = Worker::start(&folder, seed, week + 1, "settle", None).end();
            assert_eq!(end, "end: done", "seed {seed}");
            base.passed.push(passed);
            base.ends.push(inspect(&folder, seed, Late::Nobody));
            base.folders.push(folder.copy());
        }
        base.touched = touched(&folder);
        base
    }

    /// What is passed in a week.
    pub(crate) fn passed(&self, week: usize) -> &[String] {
        &self.passed[week]
    }

    /// The names of what is passed in a week.
    pub(crate) fn names(&self, week: usize) -> BTreeSet<&str> {
        self.passed[week].iter().map(String::as_str).collect()
    }

    /// How often a point is passed in a week.
    pub(crate) fn times(&self, week: usize, name: &str) -> usize {
        self.passed[week].iter().filter(|point| *point == name).count()
    }

    /// Where everything stands after this many weeks.
    pub(crate) fn end(&self, weeks: usize) -> &Lines {
        &self.ends[weeks]
    }

    /// Things as they are before a week, to be disturbed.
    pub(crate) fn before(&self, week: usize) -> Folder {
        self.folders[week].copy()
    }

    /// Ends the weeks in `folder`, whoever died there.
    pub(crate) fn resume(&self, folder: &Folder, weeks: usize) {
        folder.let_leases_expire();
        let (_, end) = Worker::start(folder, self.seed, weeks, "settle", None).end();
        assert_eq!(end, "end: done");
    }

    /// Everything is as it would be if nobody had disturbed it, but for what people added by hand.
    pub(crate) fn check(&self, folder: &Folder, weeks: usize, late: Late, by_hand: &Lines) {
        let expected: Lines = self.end(weeks).union(by_hand).cloned().collect();
        let found = inspect(folder, self.seed, late);
        let difference = difference(&expected, &found);
        assert!(
            difference.is_empty(),
            "{difference}left in {}",
            folder.path().display()
        );
    }
}
