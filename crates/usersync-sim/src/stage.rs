//! Who goes on next, and when time passes.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;

use crate::choice::Stream;
use crate::core::Core;
use crate::executor::{Executor, Process};
use crate::fault::FaultKind;

/// Futures of processes, polled in an order that the seed picks, in a time that passes only where nobody can go on.
pub(crate) struct Stage {
    core: Core,
    executor: Executor,
    /// Until when workers stand still.
    paused: BTreeMap<Process, DateTime<Utc>>,
    turn: usize,
}

impl Stage {
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            core: core.clone(),
            executor: Executor::new(),
            paused: BTreeMap::new(),
            turn: 0,
        }
    }

    pub(crate) fn spawn(&mut self, process: Process, future: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(process, future.boxed());
    }

    /// Whether a process has anything to do.
    pub(crate) fn is_busy(&self, process: Process) -> bool {
        self.executor.count(process) > 0
    }

    /// Polls somebody, or lets time pass where nobody can go on. `false`: nothing can happen any more.
    pub(crate) fn step(&mut self) -> bool {
        let now = self.core.now();
        self.paused.retain(|_, until| *until > now);
        let paused = &self.paused;
        let ready = self.executor.ready(|process| paused.contains_key(&process));
        self.core.lock().history.step += 1;
        if ready.is_empty() {
            return self.pass_time();
        }
        let choice = self.core.lock().choices.below(Stream::Schedule, ready.len());
        self.turn = self.turn.wrapping_add(1);
        let task = ready[(choice + self.turn) % ready.len()];
        let process = self.executor.process(task);
        self.core.say(format_args!("poll {} of {process:?}", task.0));
        self.executor.poll(task);
        let spawned = std::mem::take(&mut self.core.lock().spawned);
        for (process, future) in spawned {
            self.executor.spawn(process, future);
        }
        true
    }

    /// Steps until a process has nothing to do any more, at most so many. `false`: it goes on.
    pub(crate) fn run_out(&mut self, process: Process, left: &mut u64) -> bool {
        while self.is_busy(process) {
            *left = left.saturating_sub(1);
            if *left == 0 || !self.step() {
                return false;
            }
        }
        true
    }

    /// Moves the clock to the next moment that somebody waits for.
    pub(crate) fn pass_time(&self) -> bool {
        let wakes = self.paused.values().min().copied();
        let next = [self.core.clock.next_deadline(), wakes]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next else { return false };
        self.core.say(format_args!("it is {next}"));
        self.core.clock.set(next);
        true
    }

    /// A process stands still for a while.
    pub(crate) fn pause(&mut self, process: Process) {
        const SECONDS: [i64; 4] = [10, 60, 130, 400];
        let choice = self.core.lock().choices.below(Stream::Schedule, SECONDS.len());
        let until = self.core.now() + TimeDelta::seconds(SECONDS[choice]);
        self.core
            .fired(FaultKind::Paused, &format!("{process:?} until {until}"));
        self.paused.insert(process, until);
    }

    /// Nobody stands still any more.
    pub(crate) fn wake_all(&mut self) {
        self.paused.clear();
    }

    pub(crate) fn kill(&mut self, process: Process) {
        self.executor.kill(process);
        self.paused.remove(&process);
    }
}
