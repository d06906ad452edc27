//! In which order jobs run of which some fill what others read.

use std::collections::{BTreeSet, HashMap};

use usersync_model::{ContainerKind, SystemId};

use crate::job::Job;

/// The jobs, each after those that fill what it reads: after those whose target is one of its sources, and after those that keep
/// the groups of its own target. Otherwise in the order given. Jobs that read what each other fill have no order: the first goes
/// first. O(n log n), and the pairs of a job that fills and one that reads.
pub(crate) fn in_order(jobs: Vec<Job>) -> Vec<Job> {
    let mut readers: HashMap<&SystemId, BTreeSet<usize>> = HashMap::new();
    for (place, job) in jobs.iter().enumerate() {
        for source in job.reads().chain([&job.target]) {
            readers.entry(source).or_default().insert(place);
        }
    }
    // How many jobs that still wait fill what this one reads.
    let mut blocked = vec![0_usize; jobs.len()];
    let all = &jobs;
    let others = |filler: usize| {
        let readers = readers.get(&all[filler].target).into_iter().flatten().copied();
        readers.filter(move |reader| *reader != filler && feeds(&all[filler], &all[*reader]))
    };
    for filler in 0..jobs.len() {
        for reader in others(filler) {
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
        for reader in others(next) {
            blocked[reader] -= 1;
            if blocked[reader] == 0 && waiting.contains(&reader) {
                ready.insert(reader);
            }
        }
    }
    let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| jobs[place].take()).collect()
}

/// Whether one of `jobs` keeps the groups that `reader` selects within its own target.
pub(crate) fn selects_from_own_target(reader: &Job, jobs: &[Job]) -> bool {
    let is_filler = |job: &&Job| job.id != reader.id && job.target == reader.target;
    jobs.iter().filter(is_filler).any(|filler| feeds(filler, reader))
}

/// Whether `reader` reads what `filler`, another job, fills.
fn feeds(filler: &Job, reader: &Job) -> bool {
    if filler.target == reader.target {
        let reads_target = reader.sources.contains(&filler.target);
        keeps_groups(filler)
            && (reads_target || selects(reader) && !(keeps_groups(reader) && selects(filler)))
    } else {
        reader.sources.contains(&filler.target)
    }
}

/// Whether others may select what the job fills.
fn keeps_groups(job: &Job) -> bool {
    job.covers(&ContainerKind::Group)
}

/// Whether the job fills something that is no group, for which groups are selected.
fn selects(job: &Job) -> bool {
    let is_other = |kind: &ContainerKind| *kind != ContainerKind::Group;
    job.covers.as_ref().is_none_or(|kinds| kinds.iter().any(is_other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usersync_model::{JobId, PrincipalRef, TenantId};

    use super::*;

    /// A job as text: `a: x y > z` reads x and y and fills z; `a: x > z/g` fills only the groups of z, and `/e` its events.
    fn job(text: &str) -> Job {
        let (id, rest) = text.split_once(": ").unwrap();
        let (sources, target) = rest.split_once('>').unwrap();
        let (target, kinds) = target.split_once('/').unwrap_or((target, ""));
        let system = |name: &str| SystemId::new(name.trim()).unwrap();
        let kind = |letter| match letter {
            'g' => ContainerKind::Group,
            _ => ContainerKind::Event,
        };
        let job = Job::new(
            TenantId::new("acme").unwrap(),
            JobId::new(id).unwrap(),
            id,
            sources.split_whitespace().map(system),
            system(target),
            PrincipalRef::parse("hr", "boss").unwrap(),
        );
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
        ] {
            assert_eq!(ordered(jobs), want, "{jobs:?}");
        }
    }

    /// By asking for the first job again and again that reads nothing of those that wait.
    fn naive(mut waiting: Vec<Job>) -> Vec<Job> {
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let reads_another = |job: &Job| {
                waiting
                    .iter()
                    .any(|other| other.id != job.id && job.sources.contains(&other.target))
            };
            let next = waiting.iter().position(|job| !reads_another(job)).unwrap_or(0);
            order.push(waiting.remove(next));
        }
        order
    }

    proptest! {
        #[test]
        fn as_naively(raw in proptest::collection::vec((proptest::collection::btree_set(0..6_u8, 0..3), 0..6_u8), 0..12)) {
            let jobs: Vec<Job> = raw
                .iter()
                .enumerate()
                .map(|(n, (sources, target))| {
                    let sources: Vec<String> = sources.iter().map(|s| format!("s{s}")).collect();
                    job(&format!("j{n}: {} > s{target}", sources.join(" ")))
                })
                .collect();
            prop_assert_eq!(in_order(jobs.clone()), naive(jobs));
        }
    }
}
