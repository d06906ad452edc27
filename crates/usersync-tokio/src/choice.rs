//! Which of the jobs that are due can be begun.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use usersync_model::SystemId;

use crate::runner::JobName;

/// A job that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) name: JobName,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
    /// When its last run of all that was due began, if that ended.
    pub(crate) done: Option<DateTime<Utc>>,
    /// What it reads.
    pub(crate) sources: BTreeSet<SystemId>,
    /// What it fills.
    pub(crate) target: SystemId,
    /// Another process has it: it cannot be begun here, and is waited for all the same.
    pub(crate) is_elsewhere: bool,
}

/// Those jobs of a tenant, given in the order of its agenda, that read nothing that is being `filled` or about to be. What fills a
/// system again and again, as a feed asks for, goes first once: then it waits for what reads the system and waits for those that
/// are filling it. O(n log n) in the jobs and what they read.
pub(crate) fn chosen(due: &[Due], filled: &BTreeSet<SystemId>) -> Vec<Due> {
    // When those that fill a system were last done: the earliest time, of those that come before a job.
    let mut fillers: HashMap<&SystemId, Option<DateTime<Utc>>> = HashMap::new();
    let mut is_next = Vec::with_capacity(due.len());
    for one in due {
        // What ran since the job became due is not waited for once more.
        let is_done = |source| fillers.get(source).is_none_or(|done| *done >= Some(one.since));
        is_next.push(one.sources.iter().all(is_done));
        let done = fillers.entry(&one.target).or_insert(one.done);
        *done = one.done.min(*done);
    }
    // Since when those are due that read a system and wait for who is filling another one, or it: the earliest time, of those that
    // come behind a job.
    let mut overdue: HashMap<&SystemId, DateTime<Utc>> = HashMap::new();
    let mut chosen = Vec::new();
    for (one, _) in due
        .iter()
        .zip(is_next)
        .rev()
        .filter(|(one, is_next)| *is_next && !one.is_elsewhere)
    {
        if one.sources.iter().any(|source| filled.contains(source)) {
            for source in &one.sources {
                let since = overdue.entry(source).or_insert(one.since);
                *since = one.since.min(*since);
            }
        } else if overdue
            .get(&one.target)
            .is_none_or(|since| one.done < Some(*since))
        {
            chosen.push(one.clone());
        }
    }
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usersync_model::{JobId, TenantId};

    use super::*;

    fn at(minute: u8) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::from(minute) * 60, 0).unwrap()
    }

    fn system(number: u8) -> SystemId {
        SystemId::new(format!("s{number}")).unwrap()
    }

    /// `a s1 s2>s3 5 4`: reads s1 and s2, fills s3, is due since 5, and was done at 4 or, for `-`, never; `!` behind it: elsewhere.
    fn due(text: &str) -> Due {
        let (reads, rest) = text.split_once('>').unwrap();
        let mut reads = reads.split_whitespace();
        let job = reads.next().unwrap();
        let mut rest = rest.split_whitespace();
        let system = |name: &str| SystemId::new(name).unwrap();
        Due {
            name: JobName {
                tenant: TenantId::new("acme").unwrap(),
                job: JobId::new(job).unwrap(),
            },
            sources: reads.map(system).collect(),
            target: system(rest.next().unwrap()),
            since: at(rest.next().unwrap().parse().unwrap()),
            done: rest.next().unwrap().parse().ok().map(at),
            is_elsewhere: rest.next() == Some("!"),
        }
    }

    #[test]
    fn readers_wait_for_fillers_and_overdue_ones_are_waited_for() {
        for (jobs, filled, want) in [
            (&["f x>s 5 -", "r s>y 5 -"][..], "", "f"),
            (&["f x>s 5 4", "r s>y 5 -"], "", "f"),
            // It ran since the reader became due, and comes again.
            (&["f x>s 7 6", "r s>y 5 -"], "", "f r"),
            (&["f x>s 7 6", "r s>y 5 -"], "s", ""),
            (&["f x>s 7 6", "r s y>z 5 -"], "y", ""),
            (&["f x>s 7 4", "r s>y 5 -"], "s", "f"),
            (&["f x>s 5 -", "g x>t 5 -", "r s>y 5 -"], "", "f g"),
            // Another process has it.
            (&["f x>s 5 - !", "r s>y 5 -"], "", ""),
            (&["f x>s 5 6 !", "r s>y 5 -"], "", "r"),
            (&["f x>s 7 6", "r s>y 5 - !"], "s", "f"),
            // Jobs that read what each other fill.
            (&["a s>t 5 -", "b t>s 5 -"], "", "a"),
        ] {
            let jobs: Vec<Due> = jobs.iter().map(|text| due(text)).collect();
            let filled = filled
                .split_whitespace()
                .map(|name| SystemId::new(name).unwrap())
                .collect();
            let chosen = chosen(&jobs, &filled);
            let names: Vec<_> = chosen.iter().map(|one| one.name.job.as_str()).collect();
            assert_eq!(names.join(" "), want, "{jobs:?}");
        }
    }

    /// Pair by pair.
    fn naive(due: &[Due], filled: &BTreeSet<SystemId>) -> Vec<Due> {
        let waits = |reader: &Due, filler: &Due| reader.sources.contains(&filler.target);
        let has_waited = |reader: &Due, filler: &Due| {
            waits(reader, filler) && filler.done.is_some_and(|done| done >= reader.since)
        };
        let is_next = |place: usize| {
            let (reader, before) = (&due[place], &due[..place]);
            before
                .iter()
                .all(|filler| !waits(reader, filler) || has_waited(reader, filler))
        };
        let reads_filled = |one: &Due| !one.sources.is_disjoint(filled);
        let is_chosen = |place: &usize| {
            let one = &due[*place];
            let gives_way = (place + 1..due.len()).any(|behind| {
                let reader = &due[behind];
                is_next(behind) && !reader.is_elsewhere && reads_filled(reader) && has_waited(reader, one)
            });
            is_next(*place) && !one.is_elsewhere && !reads_filled(one) && !gives_way
        };
        let places = (0..due.len()).filter(is_chosen);
        places.map(|place| due[place].clone()).collect()
    }

    fn any_due() -> impl Strategy<Value = Vec<Due>> {
        let sources = proptest::collection::btree_set((0..5_u8).prop_map(system), 0..3);
        let done = proptest::option::of(0..4_u8);
        let one = (
            sources,
            (0..5_u8).prop_map(system),
            0..4_u8,
            done,
            proptest::bool::weighted(0.2),
        );
        let all = proptest::collection::vec(one, 0..10);
        all.prop_map(|all| {
            let due =
                |(n, (sources, target, since, done, is_elsewhere)): (usize, (_, _, _, Option<u8>, _))| Due {
                    name: JobName {
                        tenant: TenantId::new("acme").unwrap(),
                        job: JobId::new(format!("j{n}")).unwrap(),
                    },
                    since: at(since),
                    done: done.map(at),
                    sources,
                    target,
                    is_elsewhere,
                };
            all.into_iter().enumerate().map(due).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn as_naively(jobs in any_due(), filled in proptest::collection::btree_set((0..5_u8).prop_map(system), 0..2)) {
            prop_assert_eq!(chosen(&jobs, &filled), naive(&jobs, &filled));
        }
    }
}
