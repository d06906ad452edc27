//! In which order jobs run of which some fill what others read.

use std::collections::{BTreeSet, HashMap};

use usersync_model::SystemId;

use crate::job::Job;

/// The jobs, each after those whose target it reads; otherwise in the order given. Jobs that read each other's targets have
/// no order: the first goes first. O(n log n), and the pairs of a job that fills and one that reads.
pub(crate) fn in_order(jobs: Vec<Job>) -> Vec<Job> {
    let mut readers: HashMap<&SystemId, Vec<usize>> = HashMap::new();
    for (place, job) in jobs.iter().enumerate() {
        for source in job.reads() {
            readers.entry(source).or_default().push(place);
        }
    }
    // How many jobs that still wait fill what this one reads.
    let mut blocked = vec![0_usize; jobs.len()];
    let others = |filler: usize| {
        let readers = readers.get(&jobs[filler].target).map_or(&[][..], Vec::as_slice);
        readers.iter().copied().filter(move |reader| *reader != filler)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usersync_model::{JobId, PrincipalRef, TenantId};

    use super::*;

    /// A job as text: `a: x y > z` reads x and y and fills z.
    fn job(text: &str) -> Job {
        let (id, rest) = text.split_once(": ").unwrap();
        let (sources, target) = rest.split_once('>').unwrap();
        let system = |name: &str| SystemId::new(name.trim()).unwrap();
        Job::new(
            TenantId::new("acme").unwrap(),
            JobId::new(id).unwrap(),
            id,
            sources.split_whitespace().map(system),
            system(target),
            PrincipalRef::parse("hr", "boss").unwrap(),
        )
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
