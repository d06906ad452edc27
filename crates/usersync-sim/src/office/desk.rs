//! What one tenant of an office has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use usersync_connector::{Account, ActorState, ItemCollection, ItemStore, TargetCapabilities};
use usersync_engine::{CronExpression, Interval, ItemJob, Job, LinkSettings, Schedule, Zone};
use usersync_license::{Entitlement, ExtraSeats, ResourcePlacement};
use usersync_memory::{
    MemoryAccounts, MemoryActors, MemoryEntitlement, MemoryItems, MemoryNotifier, MemoryTokens, Rewriting,
};
use usersync_model::{
    Activity, ItemKind, JobId, ObjectId, PrincipalKind, PrincipalRef, ResourceKind, TenantId,
};
use usersync_reconcile::{Guards, ItemConflict, Mode, Policy};

use super::cron::{CLOCKS, CRONS, Clocks, Cron};
use crate::choice::Stream;
use crate::core::Core;
use crate::plug::Parts;
use crate::world::{object, principal, system};

/// How many persons there are at most, and how many rooms.
const PERSONS: usize = 3;
const ROOMS: usize = 2;

/// What one tenant has.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) id: TenantId,
    pub(super) persons: MemoryAccounts,
    pub(super) mailboxes: MemoryAccounts,
    pub(super) entitlement: MemoryEntitlement,
    pub(super) tokens: MemoryTokens,
    /// The CRM and the mail system, as people see them.
    pub(super) sides: [MemoryItems; 2],
    /// The same, as workers come to them.
    pub(super) connectors: [Arc<dyn ItemStore>; 2],
    pub(super) actors: MemoryActors,
    pub(super) notifier: MemoryNotifier,
    pub(super) settings: LinkSettings,
    /// Whether owners consent by mail, and not to the store of tokens.
    pub(super) by_mail: bool,
    pub(super) job: JobId,
    /// What its items are.
    kind: ItemKind,
    pub(super) cron: Option<(Cron, Clocks)>,
    /// How many there are: first persons, then rooms.
    pub(super) persons_and_rooms: (usize, usize),
    guards: Guards,
    pub(super) words: Mutex<Words>,
}

/// What people wrote into items and nobody took away: words that are written once each.
#[derive(Debug, Default)]
pub(super) struct Words {
    written: u64,
    /// With whose items they belong to.
    alive: BTreeMap<String, usize>,
}

impl Words {
    /// A new word.
    pub(super) fn next(&mut self, whose: usize) -> String {
        self.written += 1;
        let word = format!("w{}w", self.written);
        self.alive.insert(word.clone(), whose);
        word
    }

    /// Somebody saw this text, and replaced or deleted it.
    pub(super) fn forget(&mut self, text: &str) {
        self.alive.retain(|word, _| !text.contains(word.as_str()));
    }

    /// Those of one person.
    pub(super) fn of(&self, whose: usize) -> impl Iterator<Item = &str> {
        let words = self.alive.iter();
        words.filter_map(move |(word, of)| (*of == whose).then_some(word.as_str()))
    }
}

impl Desk {
    pub(super) fn new(
        core: &Core,
        name: &str,
        parts: &Parts,
        capabilities: TargetCapabilities,
        has_changes: bool,
    ) -> Self {
        let pick = |bound: usize| core.lock().choices.below(Stream::World, bound);
        let counts = (1 + pick(PERSONS), pick(ROOMS + 1));
        let accounts = |name: &str| MemoryAccounts::new(system(name)).with_vouched_addresses();
        let items = |name: &str| {
            let items = MemoryItems::new(system(name), capabilities);
            let items = match pick(3) {
                2 => items.with_rewriting(Rewriting::thorough()),
                _ => items,
            };
            match has_changes {
                true => items.with_changes(),
                false => items,
            }
        };
        let sides = [items("crm"), items("mail")];
        let mut settings = LinkSettings::default();
        settings.needs_consent = pick(2) == 1;
        settings.placement = [ResourcePlacement::ExtraThenUser, ResourcePlacement::ExtraOnly][pick(2)];
        let by_mail = pick(2) == 0;
        let guards = match pick(2) {
            0 => Guards {
                container: None,
                emptied: false,
                ..Guards::default()
            },
            _ => Guards::default(),
        };
        let kind = ItemKind::ALL[pick(ItemKind::ALL.len())];
        let cron = (pick(3) != 0).then(|| (CRONS[pick(CRONS.len())], CLOCKS[pick(CLOCKS.len())]));
        let desk = Self {
            id: TenantId::new(name).expect("names of the simulator hold no control characters"),
            persons: accounts("crm"),
            mailboxes: accounts("mail"),
            entitlement: MemoryEntitlement::new(),
            tokens: MemoryTokens::new(Arc::new(core.clock.clone())),
            connectors: sides.clone().map(|items| (parts.items)(items)),
            sides,
            actors: MemoryActors::new(),
            notifier: MemoryNotifier::new(),
            settings,
            by_mail,
            job: JobId::new("items").expect("names of the simulator hold no control characters"),
            kind,
            cron,
            persons_and_rooms: counts,
            guards,
            words: Mutex::default(),
        };
        for name in ["boss", "admin"] {
            desk.actors
                .set(&desk.id, principal(&system("hr"), name), ActorState::Active);
        }
        for number in 0..desk.count() {
            for (side, items) in desk.sides.iter().enumerate() {
                items.create_collection(desk.collection(side, number));
            }
            desk.persons.put(desk.account(0, number));
            desk.mailboxes.put(desk.account(1, number));
        }
        let entitled = Entitlement::new(1).with_extra(ExtraSeats::new(1).expect("1 is not more than 5"));
        desk.entitle(core, entitled);
        let mut state = core.lock();
        let office = &mut state.history.tenant(&desk.id).office;
        office.is_extra_only = desk.settings.placement == ResourcePlacement::ExtraOnly;
        drop(state);
        desk
    }

    /// Its job, which keeps both when people change one item on both sides.
    pub(super) fn items(&self) -> Job {
        let items = ItemJob::new(system("crm"), system("mail")).with_conflict(ItemConflict::KeepBoth);
        let owner = principal(&system("hr"), "boss");
        let policy = Policy {
            guards: self.guards.clone(),
            ..Policy::new(Mode::Managed)
        };
        let schedule = match self.cron {
            Some((cron, clocks)) => Schedule::cron(
                CronExpression::new(cron.text).expect("the expressions are right"),
                Zone::new(clocks.zone()).expect("the zones are known"),
            ),
            None => {
                let often = std::time::Duration::from_secs(60);
                Schedule::every(Interval::new(often).expect("a minute is whole seconds"))
            }
        };
        Job::items(self.id.clone(), self.job.clone(), "items", owner, items)
            .with_policy(policy)
            .with_schedule(schedule)
    }

    pub(super) fn entitle(&self, core: &Core, entitled: Entitlement) {
        self.entitlement.set(&self.id, Some(entitled));
        core.lock().history.set_entitled(&self.id, entitled);
    }

    /// How many persons and rooms there are.
    pub(super) fn count(&self) -> usize {
        self.persons_and_rooms.0 + self.persons_and_rooms.1
    }

    /// A person or a mailbox: the same address on both sides.
    pub(super) fn account(&self, side: usize, number: usize) -> Account {
        let is_person = number < self.persons_and_rooms.0;
        Account {
            id: account(side, number),
            kind: match is_person {
                true => PrincipalKind::User,
                false => PrincipalKind::Resource(ResourceKind::Room),
            },
            name: format!("account {number}"),
            addresses: vec![format!("person{number}@acme.example")],
            activity: Activity::Active,
            privileged: false,
            ineligible: None,
            attributes: BTreeMap::new(),
        }
    }

    /// The items of a person, or of the mailbox of the same number.
    pub(super) fn collection(&self, side: usize, number: usize) -> ItemCollection {
        ItemCollection {
            account: account(side, number),
            kind: self.kind,
        }
    }

    /// What people write into items.
    pub(super) fn properties(&self) -> [&'static str; 3] {
        match self.kind {
            ItemKind::Contact => ["FN", "TEL", "NOTE"],
            ItemKind::Diary | ItemKind::Task => ["SUMMARY", "LOCATION", "DESCRIPTION"],
        }
    }

    /// An item with this word.
    pub(super) fn new_item(&self, uid: &str, word: &str) -> String {
        let [first, second, _] = self.properties();
        let said = format!("UID:{uid}\r\n{first}:{word}\r\n{second}:1\r\n");
        let entry = |name: &str| {
            let begin = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//sim//EN\r\nBEGIN:{name}\r\n");
            let times = "DTSTAMP:20260101T000000Z\r\nDTSTART:20260102T090000Z\r\n";
            format!("{begin}{times}{said}END:{name}\r\nEND:VCALENDAR\r\n")
        };
        match self.kind {
            ItemKind::Contact => format!("BEGIN:VCARD\r\nVERSION:4.0\r\n{said}END:VCARD\r\n"),
            ItemKind::Diary => entry("VEVENT"),
            ItemKind::Task => entry("VTODO"),
        }
    }

    /// The items of one side, with where they are, and each property on one line.
    pub(super) fn texts(&self, side: usize, number: usize) -> Vec<(ObjectId, String)> {
        let texts = self.sides[side].texts_of(&self.collection(side, number));
        let texts = texts.unwrap_or_default().into_iter();
        texts
            .map(|(href, text)| (href, String::from_utf8_lossy(&text).replace("\r\n ", "")))
            .collect()
    }
}

/// A person, or the mailbox of the same number.
pub(super) fn account(side: usize, number: usize) -> ObjectId {
    object(&format!("{}{number}", ["p", "a"][side]))
}

/// A person.
pub(super) fn person(number: usize) -> PrincipalRef {
    PrincipalRef::new(system("crm"), account(0, number))
}

/// What an item says.
pub(super) fn values(text: &str, property: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values: Vec<String> = lines
        .filter(|(name, _)| *name == property)
        .map(|(_, value)| value.to_owned())
        .collect();
    values.sort();
    values
}
