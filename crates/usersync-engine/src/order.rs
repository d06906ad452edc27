//! In which order jobs run of which some fill what others read.

use std::collections::{BTreeSet, HashMap};

use usersync_model::{ContainerKind, SystemId};

use crate::job::{Job, JobKind};

/// The jobs, each after those that fill what it reads: after those whose target is another system that it reads, and after those that
/// keep the groups, or make the accounts, that it selects within its own target. Otherwise in the order given. Jobs that read what each other fill have no
/// order: the first goes first. O(n log n), and the pairs of a job that fills and one that reads.
pub(crate) fn in_order(jobs: Vec<Job>) -> Vec<Job> {
    let readers = Readers::among(&jobs);
    // How many jobs that still wait fill what this one reads.
    let mut blocked = vec![0_usize; jobs.len()];
    for filler in 0..jobs.len() {
        for reader in readers.of(filler) {
            blocked[reader] += 1;
        }
    }
    let mut waiting: BTreeSet<usize> = (0..jobs.len()).collect();
    let mut ready: BTreeSet<usize> = waiting
        .iter()
        .copied()
        .filter(|place| blocked[*place] == 0)
        .collect();
    let mut order = Vec::with_capacity(jobs.len());
    while let Some(next) = ready.first().or(waiting.first()).copied() {
        ready.remove(&next);
        waiting.remove(&next);
        order.push(next);
        for reader in readers.of(next) {
            blocked[reader] -= 1;
            if blocked[reader] == 0 && waiting.contains(&reader) {
                ready.insert(reader);
            }
        }
    }
    let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| jobs[place].take()).collect()
}

/// Which jobs read what others fill, by their places.
struct Readers<'a> {
    jobs: &'a [Job],
    /// Of systems that are not their own target.
    elsewhere: HashMap<&'a SystemId, Vec<usize>>,
    within: HashMap<(&'a SystemId, Within), Vec<usize>>,
}

impl<'a> Readers<'a> {
    fn among(jobs: &'a [Job]) -> Self {
        let mut readers = Self {
            jobs,
            elsewhere: HashMap::new(),
            within: HashMap::new(),
        };
        for (place, job) in jobs.iter().enumerate() {
            for source in job.reads().filter(|source| **source != job.target) {
                readers.elsewhere.entry(source).or_default().push(place);
            }
            if let Some(within) = Within::read_by(job) {
                let within = (&job.target, within);
                readers.within.entry(within).or_default().push(place);
            }
        }
        readers
    }

    /// Who reads what this job fills.
    fn of(&self, filler: usize) -> impl Iterator<Item = usize> {
        let job = &self.jobs[filler];
        let filled = Within::ALL.into_iter().filter(|within| within.is_filled_by(job));
        let within = filled.filter_map(|within| self.within.get(&(&job.target, within)));
        let all = self.elsewhere.get(&job.target).into_iter().chain(within);
        all.flatten().copied().filter(move |reader| *reader != filler)
    }
}

/// How many jobs fill what others read within their own target.
pub(crate) struct FillersWithin<'a>(HashMap<(&'a SystemId, Within), usize>);

impl<'a> FillersWithin<'a> {
    pub(crate) fn among(jobs: &'a [Job]) -> Self {
        let mut fillers = HashMap::new();
        for job in jobs {
            for within in Within::ALL.into_iter().filter(|within| within.is_filled_by(job)) {
                *fillers.entry((&job.target, within)).or_default() += 1;
            }
        }
        Self(fillers)
    }

    /// Whether another job fills what `reader`, one of the jobs, reads within its own target.
    pub(crate) fn feed(&self, reader: &Job) -> bool {
        Within::read_by(reader).is_some_and(|within| {
            let fillers = self.0.get(&(&reader.target, within)).copied();
            fillers.unwrap_or(0) > usize::from(within.is_filled_by(reader))
        })
    }
}

/// What a job reads within its own target. What records are copied from is none of it: copies within one system would wait for each
/// other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Within {
    /// Who and what groups there are.
    Directory,
    /// Groups that others keep.
    Groups,
    /// Groups of those that keep nothing else: the others select groups as the job does, which itself keeps groups.
    MereGroups,
}

impl Within {
    const ALL: [Self; 3] = [Self::Directory, Self::Groups, Self::MereGroups];

    fn read_by(job: &Job) -> Option<Self> {
        let reads_target = job.sources.contains(&job.target);
        match (reads_target, selects(job), keeps_groups(job)) {
            (true, ..) if job.kind == JobKind::Members => Some(Self::Directory),
            (true, ..) | (false, true, false) => Some(Self::Groups),
            (false, true, true) => Some(Self::MereGroups),
            (false, false, _) => None,
        }
    }

    fn is_filled_by(self, job: &Job) -> bool {
        match self {
            Self::Directory => keeps_groups(job) || matches!(job.kind, JobKind::Records(_)),
            Self::Groups => keeps_groups(job),
            Self::MereGroups => keeps_groups(job) && !selects(job),
        }
    }
}

/// Whether others may select what the job fills.
fn keeps_groups(job: &Job) -> bool {
    job.kind == JobKind::Members && job.covers(&ContainerKind::Group)
}

/// Whether the job fills something that is no group, for which groups are selected.
fn selects(job: &Job) -> bool {
    let is_other = |kind: &ContainerKind| *kind != ContainerKind::Group;
    let covers_others = || job.covers.as_ref().is_none_or(|kinds| kinds.iter().any(is_other));
    job.kind == JobKind::Members && covers_others()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use usersync_model::{JobId, PrincipalRef, TenantId};

    use super::*;
    use crate::items::ItemJob;
    use crate::records::RecordJob;

    /// A job as text: `a: x y > z` reads x and y and fills z; `a: x > z/g` fills only the groups of z, and `/e` its events.
    /// `a: x *y > z` copies records of y, and `a: +y > z` keeps items of y and z in step.
    fn job(text: &str) -> Job {
        let (id, rest) = text.split_once(": ").unwrap();
        let (sources, target) = rest.split_once('>').unwrap();
        let (target, kinds) = target.split_once('/').unwrap_or((target, ""));
        let system = |name: &str| SystemId::new(name.trim()).unwrap();
        let kind = |letter| match letter {
            'g' => ContainerKind::Group,
            _ => ContainerKind::Event,
        };
        let (special, plain): (Vec<&str>, Vec<&str>) = sources
            .split_whitespace()
            .partition(|source| source.starts_with(['*', '+']));
        let mut job = Job::new(
            TenantId::new("acme").unwrap(),
            JobId::new(id).unwrap(),
            id,
            plain.into_iter().map(system),
            system(target),
            PrincipalRef::parse("hr", "boss").unwrap(),
        );
        if let Some(from) = special.first() {
            let place = system(&from[1..]);
            job.kind = match from.starts_with('*') {
                true => JobKind::Records(RecordJob::import(place, BTreeMap::new())),
                false => JobKind::Items(ItemJob::new(place, system(target))),
            };
        }
        match kinds {
            "" => job,
            kinds => job.covering(kinds.chars().map(kind)),
        }
    }

    fn ordered(jobs: &[&str]) -> String {
        let jobs = in_order(jobs.iter().map(|text| job(text)).collect());
        jobs.iter()
            .map(|job| job.id.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn who_fills_comes_before_who_reads() {
        for (jobs, want) in [
            (&["a: x > y", "b: x > y"][..], "a b"),
            (&["a: y > z", "b: x > y"], "b a"),
            (&["a: z > w", "b: y > z", "c: x > y"], "c b a"),
            (&["a: y > x", "b: x > y", "c: y > z"], "a b c"),
            (&["a: x > x", "b: w > x"], "b a"),
            (&["a: x > x"], "a"),
            (&["a: y > q", "b: x > y", "c: v > w"], "b a c"),
            (&["a: x > y/e", "b: x > y/g"], "b a"),
            (&["a: x > y/e", "b: x > y"], "b a"),
            (&["a: x > y", "b: x > y/g"], "b a"),
            (&["a: x > y/eg", "b: x > y"], "a b"),
            (&["a: x > y/e", "b: x > y/g", "c: x > y"], "b c a"),
            (&["a: x y > y/e", "b: x y > y/g"], "b a"),
            (&["a: x > z/e", "b: x > y/g"], "a b"),
            (&["a: y > z", "b: x > y/e", "c: x > y/g"], "c b a"),
            (&["a: *y > z", "b: x > y"], "b a"),
            (&["a: x *y > z", "b: *x > y"], "b a"),
            (&["a: +y > z", "b: x > y"], "b a"),
            (&["a: y > z", "b: *x > y"], "b a"),
            // Copies within one system wait for no others, and keep no groups.
            (&["a: *y > y", "b: *y > y"], "a b"),
            (&["a: x > y/e", "b: *x > y"], "a b"),
            (&["a: x > y/e", "b: +x > y"], "a b"),
            (&["a: *x > y", "b: x > y/g"], "a b"),
            (&["a: y *y > y", "b: y *y > y"], "a b"),
            // Whom the records are for may be a group of the target, and records may be its accounts.
            (&["a: y *x > y", "b: x > y/g"], "b a"),
            (&["a: y > y/e", "b: *x > y"], "b a"),
            (&["a: y > y/e", "b: +x > y"], "a b"),
        ] {
            assert_eq!(ordered(jobs), want, "{jobs:?}");
        }
    }

    /// Whether `reader` reads what `filler`, another job, fills.
    fn feeds(filler: &Job, reader: &Job) -> bool {
        if filler.target != reader.target {
            return reader.reads().any(|source| *source == filler.target);
        }
        let is_of_members = |job: &Job| job.kind == JobKind::Members;
        let reads_target = reader.sources.contains(&filler.target);
        if let JobKind::Records(_) = filler.kind {
            return reads_target && is_of_members(reader);
        }
        let is_other = |kind: &ContainerKind| *kind != ContainerKind::Group;
        let covers_others = |job: &Job| job.covers.as_ref().is_none_or(|kinds| kinds.iter().any(is_other));
        let covers_both = |job: &Job| job.covers(&ContainerKind::Group) && covers_others(job);
        let selects = is_of_members(reader) && covers_others(reader);
        is_of_members(filler)
            && filler.covers(&ContainerKind::Group)
            && (reads_target || selects && !(covers_both(reader) && covers_both(filler)))
    }

    /// By asking for the first job again and again that reads nothing of those that wait.
    fn naive(mut waiting: Vec<Job>) -> Vec<Job> {
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let reads_another = |job: &Job| {
                waiting
                    .iter()
                    .any(|other| other.id != job.id && feeds(other, job))
            };
            let next = waiting.iter().position(|job| !reads_another(job)).unwrap_or(0);
            order.push(waiting.remove(next));
        }
        order
    }

    fn any_jobs() -> impl Strategy<Value = Vec<Job>> {
        let sources = proptest::collection::btree_set(0..5_u8, 0..3);
        let from = proptest::option::weighted(0.3, (prop_oneof![Just('*'), Just('+')], 0..5_u8));
        let kinds = prop_oneof![Just(""), Just("/g"), Just("/e"), Just("/eg")];
        let raw = proptest::collection::vec((sources, from, 0..5_u8, kinds), 0..12);
        raw.prop_map(|raw| {
            let jobs = raw.iter().enumerate().map(|(n, (sources, from, target, kinds))| {
                let sources = sources.iter().map(|source| format!("s{source}"));
                let from = from.map(|(letter, from)| format!("{letter}s{from}"));
                let reads: Vec<String> = sources.chain(from).collect();
                job(&format!("j{n}: {} > s{target}{kinds}", reads.join(" ")))
            });
            jobs.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn as_naively(jobs in any_jobs()) {
            prop_assert_eq!(in_order(jobs.clone()), naive(jobs));
        }

        /// Each pair of a job that fills and one that reads is looked at once, and no other pair is.
        #[test]
        fn no_pair_is_looked_at_in_vain(jobs in any_jobs()) {
            let readers = Readers::among(&jobs);
            let fillers = FillersWithin::among(&jobs);
            for (place, job) in jobs.iter().enumerate() {
                let others = |other: &&Job| other.id != job.id;
                let mut found: Vec<usize> = readers.of(place).collect();
                found.sort_unstable();
                let expected: Vec<usize> = (0..jobs.len())
                    .filter(|reader| *reader != place && feeds(job, &jobs[*reader]))
                    .collect();
                prop_assert_eq!(found, expected);
                let of_target = jobs.iter().filter(others).filter(|other| other.target == job.target);
                let is_fed = of_target.into_iter().any(|other| feeds(other, job));
                prop_assert_eq!(fillers.feed(job), is_fed);
            }
        }
    }
}
