//! A place where items of linked persons and mailboxes are kept in step: with resources that need seats, owners who consent, and a job
//! that runs by wall clocks.
//!
//! It is a world of its own beside that of groups and records, with a store, workers and a time of its own: its choices come from
//! streams of their own, so that what happens here makes nothing of the other world another.

mod course;
mod cron;
mod desk;
mod people;
mod rest;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use usersync_connector::{AccountDirectory, Error, TargetCapabilities};
use usersync_engine::{Engine, LinkSettings, Links, Options, RandomSource};
use usersync_memory::{MemoryAccounts, MemoryCatalog};
use usersync_store::StateStore;

use self::course::Course;
use self::desk::Desk;
use crate::choice::Stream;
use crate::config::Config;
use crate::core::Core;
use crate::executor::Process;
use crate::plug::Parts;
use crate::wire::{
    Entitled, Wire, WireAccounts, WireActors, WireEntitlement, WireItems, WireNotifier, WireStore, WireTokens,
};
use crate::world::{principal, system};

/// In so many worlds there is one.
const ONE_IN: usize = 3;

/// Lets what the choices of `core` make of it happen.
pub(crate) fn run(core: &Core, config: &Config, parts: &Parts) {
    if core.lock().choices.below(Stream::World, ONE_IN) + 1 < ONE_IN {
        return;
    }
    let mut course = Course::new(Office::new(core, config, parts));
    course.begin();
    course.go_on(config.steps / 3);
    course.come_to_rest();
    // What is in step by now, people change and delete.
    course.begin_again();
    course.go_on(config.steps / 3);
    course.come_to_rest();
}

/// What there is.
#[derive(Debug)]
struct Office {
    core: Core,
    desks: Vec<Desk>,
    workers: usize,
    store: Arc<dyn StateStore>,
    options: Options,
    random: Arc<Counter>,
}

impl Office {
    fn new(core: &Core, config: &Config, parts: &Parts) -> Self {
        let pick = |bound: usize| core.lock().choices.below(Stream::World, bound);
        const BEGINNINGS: [&str; 3] = [
            "1970-01-01T00:00:00Z",
            "2026-03-28T23:20:00Z",
            "2026-10-24T23:20:00Z",
        ];
        let beginning = BEGINNINGS[pick(BEGINNINGS.len())].parse();
        core.clock.set(beginning.expect("the beginnings are times"));
        let workers = 1 + pick(config.workers);
        let capabilities = TargetCapabilities {
            idempotency_key: pick(2) == 0,
            point_read: pick(3) != 2,
            // Without, what people write while a run writes is lost.
            conditional_write: true,
            max_batch: NonZeroUsize::new(1 + pick(3)).expect("1 and more is not zero"),
            updates: true,
        };
        let has_changes = pick(2) == 1;
        let mut options = Options::default();
        options.batch = NonZeroUsize::new(1 + pick(4)).expect("1 and more is not zero");
        options.concurrency = NonZeroUsize::new(1 + pick(3)).expect("1 and more is not zero");
        let desks = ["acme", "umbrella"][..=pick(config.tenants.min(2))]
            .iter()
            .map(|name| Desk::new(core, name, parts, capabilities, has_changes))
            .collect();
        core.choose_faults(config);
        Self {
            core: core.clone(),
            desks,
            workers,
            store: (parts.store)(&core.clock),
            options,
            random: Arc::default(),
        }
    }

    fn engine(&self, process: Process) -> Engine {
        let items = |side: usize| {
            let first = &self.desks[0].connectors[side];
            WireItems {
                wire: self.wire(process, |desk| Arc::clone(&desk.connectors[side])),
                system: first.system().clone(),
                capabilities: first.capabilities(),
            }
        };
        Engine::builder(
            Arc::new(self.store(process, Entitled::default())),
            Arc::new(self.core.clock.clone()),
            Arc::new(MemoryCatalog::default()),
            Arc::new(WireActors(self.wire(process, |desk| desk.actors.clone()))),
            Arc::new(WireNotifier(self.wire(process, |desk| desk.notifier.clone()))),
        )
        .items(Arc::new(items(0)))
        .items(Arc::new(items(1)))
        .administrator(principal(&system("hr"), "admin"))
        .options(self.options)
        .worker(format!("{process:?}"))
        .build()
    }

    /// What links people of tenants with these settings, as one caller of a process sees it.
    fn links(&self, process: Process, settings: LinkSettings) -> Links {
        let told = Entitled::default();
        let accounts = |part: fn(&Desk) -> &MemoryAccounts| {
            let first = part(&self.desks[0]);
            Arc::new(WireAccounts {
                wire: self.wire(process, |desk| part(desk).clone()),
                system: AccountDirectory::system(first).clone(),
                capabilities: AccountDirectory::capabilities(first),
            })
        };
        let entitlements = WireEntitlement {
            wire: self.wire(process, |desk| desk.entitlement.clone()),
            told: Arc::clone(&told),
        };
        Links::new(
            Arc::new(self.store(process, told)),
            Arc::new(self.core.clock.clone()),
            accounts(|desk| &desk.persons),
            accounts(|desk| &desk.mailboxes),
            Arc::new(entitlements),
        )
        .with_settings(settings)
        .with_tokens(Arc::new(WireTokens(
            self.wire(process, |desk| desk.tokens.clone()),
        )))
        .with_random(Arc::clone(&self.random) as Arc<_>)
    }

    fn store(&self, process: Process, entitled: Entitled) -> WireStore {
        WireStore {
            core: self.core.clone(),
            process,
            inner: Arc::clone(&self.store),
            entitled,
        }
    }

    fn wire<T: Clone>(&self, process: Process, part: impl Fn(&Desk) -> T) -> Wire<T> {
        let parts = self.desks.iter().map(|desk| (desk.id.clone(), part(desk)));
        Wire::new(&self.core, process, parts)
    }
}

/// Gives other bytes each time, and the same ones to the same course of events.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl RandomSource for Counter {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = number[place % number.len()];
        }
        Ok(())
    }
}
