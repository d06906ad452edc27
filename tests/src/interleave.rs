//! Polls workers against each other in every order, up to a number of preemptions.
//!
//! A worker goes on until it ends, or is preempted: after any of its polls another one may go on in its place. Most mistakes
//! of interleaving need very few preemptions, and with a bound on them every order there is can be tried. Who goes on where one
//! ended is chosen in every way, too, and is no preemption.

use std::fmt;

use usersync_testkit::generate::SplitMix64;

use crate::yielding::Workers;

/// One order in which workers are polled.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// Where it is not the worker polled last that goes on, ascending.
    switches: Vec<Switch>,
    /// The choices that were there, once it was driven.
    choices: Vec<Choice>,
}

#[derive(Clone, Copy, Debug)]
struct Switch {
    poll: usize,
    worker: usize,
}

/// What a poll was chosen from.
#[derive(Clone, Debug)]
struct Choice {
    /// Those that had not ended.
    open: Vec<usize>,
    chosen: usize,
    /// Whether who was polled before could have gone on.
    preempts: bool,
}

/// How much was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// How many orders, each another one.
    pub schedules: usize,
    /// The most polls that one of them took.
    pub polls: usize,
}

impl Schedule {
    /// Polls the workers in this order until all have ended; answers what they came to.
    pub fn drive<T>(&mut self, mut workers: Workers<'_, T>) -> Vec<T> {
        let mut open: Vec<usize> = (0..workers.count()).collect();
        let mut switches = self.switches.iter().peekable();
        let mut last = None;
        self.choices.clear();
        while !open.is_empty() {
            assert!(self.choices.len() < 100_000, "the workers never end: {self}");
            let poll = self.choices.len();
            let preempts = last.is_some_and(|last| open.contains(&last));
            let by_itself = last.filter(|_| preempts).unwrap_or(open[0]);
            let chosen = switches
                .next_if(|switch| switch.poll == poll)
                .map(|switch| switch.worker)
                .filter(|worker| open.contains(worker))
                .unwrap_or(by_itself);
            self.choices.push(Choice {
                open: open.clone(),
                chosen,
                preempts,
            });
            if workers.step(chosen) {
                open.retain(|worker| *worker != chosen);
            }
            last = Some(chosen);
        }
        workers.finish(&[])
    }

    /// The orders that differ from this one in one more switch, behind all of its own, each with its number of preemptions.
    fn next(&self, preemptions: usize) -> impl Iterator<Item = (Self, usize)> {
        let from = self.switches.last().map_or(0, |switch| switch.poll + 1);
        let choices = self.choices.iter().enumerate().skip(from);
        choices.flat_map(move |(poll, choice)| {
            let others = choice.open.iter().filter(|worker| **worker != choice.chosen);
            others.map(move |worker| {
                let mut switches = self.switches.clone();
                let worker = *worker;
                switches.push(Switch { poll, worker });
                let choices = Vec::new();
                (
                    Self { switches, choices },
                    preemptions + usize::from(choice.preempts),
                )
            })
        })
    }
}

/// Plays `scene` in every order of at most so many preemptions. The scene makes its workers, has the schedule drive them, and looks at
/// what came of it; it is the same scene each time.
pub fn explore(preemptions: usize, mut scene: impl FnMut(&mut Schedule)) -> Explored {
    let mut explored = Explored::default();
    let mut left = vec![(Schedule::default(), 0)];
    while let Some((mut schedule, preempted)) = left.pop() {
        scene(&mut schedule);
        explored.schedules += 1;
        explored.polls = explored.polls.max(schedule.choices.len());
        left.extend(
            schedule
                .next(preempted)
                .filter(|(_, preempted)| *preempted <= preemptions),
        );
    }
    explored
}

/// Plays `scene` in so many orders of `preemptions` each, by chance: the same ones for the same seed.
pub fn wander(seed: u64, rounds: u64, preemptions: usize, mut scene: impl FnMut(&mut Schedule)) -> Explored {
    let mut explored = Explored::default();
    let mut first = Schedule::default();
    scene(&mut first);
    let polls = first.choices.len();
    let workers = first.choices.first().map_or(0, |choice| choice.open.len());
    for round in 0..rounds {
        let mut rng = SplitMix64::keyed(seed, round);
        let mut switches: Vec<Switch> = (0..preemptions)
            .map(|_| Switch {
                poll: rng.index(polls),
                worker: rng.index(workers),
            })
            .collect();
        switches.sort_by_key(|switch| switch.poll);
        switches.dedup_by_key(|switch| switch.poll);
        let mut schedule = Schedule {
            switches,
            choices: Vec::new(),
        };
        scene(&mut schedule);
        explored.schedules += 1;
        explored.polls = explored.polls.max(schedule.choices.len());
    }
    explored
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.switches.is_empty() {
            return f.write_str("one after the other");
        }
        for (number, switch) in self.switches.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}worker {} from poll {}", switch.worker, switch.poll)?;
        }
        Ok(())
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} orders of up to {} polls", self.schedules, self.polls)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::yielding::Turn;

    /// Each worker notes its name and waits, `polls` times.
    fn notes(schedule: &mut Schedule, workers: usize, polls: usize) -> Vec<usize> {
        let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut all = Workers::default();
        for worker in 0..workers {
            let seen = Arc::clone(&seen);
            all.add(async move {
                for poll in 0..polls {
                    seen.lock().expect("nobody panics").push(worker);
                    if poll + 1 < polls {
                        Turn::default().await;
                    }
                }
            });
        }
        let _ = schedule.drive(all);
        std::mem::take(&mut *seen.lock().expect("nobody panics"))
    }

    /// With as many preemptions as there can be, every order comes once: as many as there are ways to mix the polls.
    #[test]
    fn every_order_comes_once() {
        let mut orders = BTreeSet::new();
        let explored = explore(6, |schedule| {
            let order = notes(schedule, 2, 3);
            assert!(orders.insert(order), "{schedule} came twice");
        });
        assert_eq!((explored.schedules, explored.polls), (20, 6));
        let mut orders = BTreeSet::new();
        let explored = explore(9, |schedule| {
            assert!(orders.insert(notes(schedule, 3, 2)), "{schedule} came twice");
        });
        assert_eq!((explored.schedules, orders.len()), (90, 90));
    }

    #[test]
    fn few_preemptions_are_few_orders() {
        let mut orders = Vec::new();
        let _ = explore(0, |schedule| orders.push(notes(schedule, 2, 2)));
        orders.sort();
        assert_eq!(orders, [[0, 0, 1, 1], [1, 1, 0, 0]]);
        let mut orders = Vec::new();
        let _ = explore(1, |schedule| orders.push(notes(schedule, 2, 2)));
        orders.sort();
        assert_eq!(orders, [[0, 0, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0]]);
    }

    #[test]
    fn chance_is_the_same_for_a_seed() {
        let wander = |seed| {
            let mut orders = Vec::new();
            let _ = wander(seed, 10, 3, |schedule| orders.push(notes(schedule, 3, 4)));
            orders
        };
        assert_eq!(wander(7), wander(7));
        assert_ne!(wander(7), wander(8));
    }
}
