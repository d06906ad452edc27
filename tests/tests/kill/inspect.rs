//! Where everything stands, as lines that can be compared, and what must hold wherever it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::executor::block_on;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use usersync::sqlite::{SqliteOptions, SqliteStore, TablePrefix};
use usersync::store::{Chunks, Key, Log, StateRead, Table};

use crate::host::{Host, offers};
use crate::process::Folder;
use crate::scene::{target, tenant};
use crate::tap::Tap;

/// Where everything stands: the target, the ledger, seats, notifications, what the job remembers, and the way there. One line for each
/// fact.
pub(crate) type Lines = BTreeSet<String>;

/// Whose effects may be seen late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// Those of a worker that was stopped, between those of another one.
    Between,
    /// Nobody's: whoever lost a lease was dead by then.
    Nobody,
    /// Those of a worker that was stopped. They have to come to nothing.
    Stopped,
}

/// One line of the host's log of effects.
struct Effect {
    worker: i64,
    token: i64,
    operation: String,
    /// Whose membership, of what.
    key: String,
    change: String,
    is_begun: bool,
    changed: bool,
}

/// Where everything stands in a folder where nobody works. Fails where something does not hold.
pub(crate) fn inspect(folder: &Folder, seed: u64, late: Late) -> Lines {
    let mut lines = Lines::new();
    let store = open(folder, seed);
    assert_eq!(block_on(store.check_integrity()).unwrap(), []);
    assert_eq!(all(store.log(&tenant(), Log::Outbox, 0)), [], "the outbox");
    look_at_ledger(&store, &mut lines);
    look_at_values(&store, &mut lines);
    look_at_counters(&store, &mut lines);
    look_at_audit(&store, &mut lines);
    drop(store);
    let host = Connection::open(folder.path().join("host.db")).unwrap();
    look_at_members(&host, &mut lines);
    look_at_effects(&host, late, &mut lines);
    look_at_notices(&host, &mut lines);
    lines
}

/// What is there and not here, and the other way round; empty if they are equal.
pub(crate) fn difference(expected: &Lines, found: &Lines) -> String {
    let missing = expected
        .difference(found)
        .map(|line| format!("missing: {line}\n"));
    let surplus = found
        .difference(expected)
        .map(|line| format!("surplus: {line}\n"));
    missing.chain(surplus).collect()
}

/// Every row of every table of the store, as it is in the file, but for the clock, which asking for the time moves.
pub(crate) fn dump(folder: &Folder, seed: u64) -> Lines {
    let is_own = seed.is_multiple_of(2);
    let file = if is_own { "state.db" } else { "host.db" };
    let database = Connection::open(folder.path().join(file)).unwrap();
    let sql =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let tables = rows(&database, sql, |row| row.get::<_, String>(0).unwrap());
    let mut dump = Lines::new();
    for table in tables {
        if (is_own || table.starts_with("usersync_")) && !table.ends_with("meta") {
            let sql = format!("SELECT * FROM {table}");
            let width = database.prepare(&sql).unwrap().column_count();
            dump.extend(rows(&database, &sql, |row| {
                let cells: Vec<Value> = (0..width).map(|n| row.get(n).unwrap()).collect();
                format!("{table}: {cells:?}")
            }));
        }
    }
    assert!(dump.len() > 20, "{dump:?}");
    dump
}

/// Who was ever made a member of what by a worker, or is one.
pub(crate) fn touched(folder: &Folder) -> BTreeSet<(String, String)> {
    let host = Connection::open(folder.path().join("host.db")).unwrap();
    let sql = "SELECT container, object FROM effects UNION SELECT container, object FROM members";
    rows(&host, sql, |row| (row.get(0).unwrap(), row.get(1).unwrap()))
        .into_iter()
        .collect()
}

/// The host's tables, for a person to change things.
pub(crate) fn open_host(folder: &Folder) -> Host {
    let file = folder.path().join("host.db");
    Host::open(&file, target(), offers(1, false), Arc::new(Tap::default())).unwrap()
}

/// A seed that can be divided by two has its store in a file of its own.
fn open(folder: &Folder, seed: u64) -> SqliteStore {
    if seed.is_multiple_of(2) {
        return SqliteStore::open(folder.path().join("state.db"), SqliteOptions::default()).unwrap();
    }
    let connection = Connection::open(folder.path().join("host.db")).unwrap();
    let prefix = TablePrefix::new("usersync_").unwrap();
    SqliteStore::with_connection(connection, &prefix, SqliteOptions::default()).unwrap()
}

fn look_at_ledger(store: &SqliteStore, lines: &mut Lines) {
    for entry in all(store.ledger(&tenant(), None)) {
        let (container, subject) = (entry.key.container, entry.key.subject);
        lines.insert(format!("ledger {container} {subject}: {:?}", entry.row));
    }
}

/// Seats, cursors, departures and what the job remembers; that no intent is open.
fn look_at_values(store: &SqliteStore, lines: &mut Lines) {
    for table in Table::ALL {
        // They tell of times and of how often the job ran.
        if matches!(table, Table::Job | Table::Run | Table::Schedule) {
            continue;
        }
        for (key, stored) in all(store.values(&tenant(), table, &Key::of(&[]))) {
            let mut value: serde_json::Value = serde_json::from_slice(&stored.bytes).unwrap();
            if table == Table::JobState {
                // It rises with every run that writes.
                value["value"]["serial"].take();
            }
            if key == Key::of(&["queue"]) {
                // It says when a seat was given back last.
                value["value"].take();
            }
            assert_ne!(table, Table::Intent, "left open: {value}");
            lines.insert(format!("{} {key:?}: {value}", table.code()));
        }
    }
}

fn look_at_counters(store: &SqliteStore, lines: &mut Lines) {
    for kind in ["user", "resource"] {
        let count = block_on(store.counter(&tenant(), &Key::of(&["seats", kind]))).unwrap();
        lines.insert(format!("seats of kind {kind}: {count}"));
    }
    let hour = 1_767_225_600 / 3600;
    let removals: u64 = (hour..hour + 24)
        .map(|hour| Key::of(&["removals", "sync", &hour.to_string()]))
        .map(|key| block_on(store.counter(&tenant(), &key)).unwrap())
        .sum();
    lines.insert(format!("removals in the window: {removals}"));
}

/// What was done, in order for each membership.
fn look_at_audit(store: &SqliteStore, lines: &mut Lines) {
    let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in all(store.log(&tenant(), Log::Audit, 0)) {
        let record: serde_json::Value = serde_json::from_slice(&entry.bytes).unwrap();
        let record = &record["value"];
        if record["outcome"] == "applied" {
            let key = format!("{} {}", record["container"], record["subject"]);
            done.entry(key).or_default().push(record["action"].to_string());
        }
    }
    assert!(!done.is_empty());
    lines.extend(
        done.iter()
            .map(|(key, actions)| format!("audit {key}: {}", actions.join(", "))),
    );
}

fn look_at_members(host: &Connection, lines: &mut Lines) {
    let sql = "SELECT container, system, object, facets FROM members";
    lines.extend(rows(host, sql, |row| {
        let cell = |n| row.get::<_, String>(n).unwrap();
        member_line(&cell(0), &cell(1), &cell(2), &cell(3))
    }));
}

pub(crate) fn member_line(container: &str, system: &str, object: &str, facets: &str) -> String {
    format!("member {container} {system}:{object}: {facets}")
}

/// What had an effect, in order for each membership.
fn look_at_effects(host: &Connection, late: Late, lines: &mut Lines) {
    let sql = "SELECT worker, token, operation, container, system, object, change, phase, changed
        FROM effects WHERE worker <> 0 ORDER BY id";
    let effects = rows(host, sql, |row| Effect {
        worker: row.get(0).unwrap(),
        token: row.get(1).unwrap(),
        operation: row.get(2).unwrap(),
        key: format!(
            "{} {}:{}",
            row.get::<_, String>(3).unwrap(),
            row.get::<_, String>(4).unwrap(),
            row.get::<_, String>(5).unwrap()
        ),
        change: row.get(6).unwrap(),
        is_begun: row.get::<_, String>(7).unwrap() == "begun",
        changed: row.get(8).unwrap(),
    });
    check_turns(&effects, late);
    if late == Late::Nobody {
        check_operations(&effects);
    }
    let mut changes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.changed) {
        changes.entry(&effect.key).or_default().push(&effect.change);
    }
    lines.extend(
        changes
            .iter()
            .map(|(key, changes)| format!("effects {key}: {}", changes.join(", "))),
    );
}

/// Each lease had one worker, and nobody had an effect once somebody with a later lease had one.
fn check_turns(effects: &[Effect], late: Late) {
    let mut holders = BTreeMap::new();
    for effect in effects {
        let holder = holders.entry(effect.token).or_insert(effect.worker);
        assert_eq!(
            *holder, effect.worker,
            "two workers under the token {}",
            effect.token
        );
    }
    if late == Late::Between {
        return;
    }
    let counts = |effect: &&Effect| effect.changed || late == Late::Nobody;
    let turns: Vec<_> = effects.iter().filter(counts).map(|effect| effect.token).collect();
    assert!(turns.is_sorted(), "workers took turns within a lease: {turns:?}");
}

/// What is tried again bears the name of the first attempt until it has its effect, and another one after that.
fn check_operations(effects: &[Effect]) {
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    let mut done = BTreeSet::new();
    for effect in effects {
        let (key, operation) = (effect.key.as_str(), effect.operation.as_str());
        if effect.is_begun {
            let first = open.entry(key).or_insert(operation);
            assert_eq!(*first, operation, "{key} was tried again under another name");
            assert!(
                !done.contains(operation),
                "{key} was tried again after its effect"
            );
        } else if effect.changed {
            open.remove(key);
            assert!(done.insert(operation), "{key}: {operation} had two effects");
        }
    }
}

/// What people were told, once for each key, in order for each person and container.
fn look_at_notices(host: &Connection, lines: &mut Lines) {
    let sql = "SELECT key, place, recipient, news FROM told ORDER BY id";
    let notices = rows(host, sql, |row| {
        let cell = |n| row.get::<_, String>(n).unwrap();
        (cell(0), row.get::<_, i64>(1).unwrap(), cell(2), cell(3))
    });
    let mut known = BTreeMap::new();
    let mut places: BTreeMap<&str, i64> = BTreeMap::new();
    let mut told: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (key, place, recipient, news) in &notices {
        let same = (place, recipient, news);
        if let Some(before) = known.insert(key, same) {
            assert_eq!(before, same, "one key tells two things");
            continue;
        }
        let last = places.insert(recipient, *place).unwrap_or(0);
        assert!(last < *place, "{recipient} was told {place} after {last}");
        let parsed: serde_json::Value = serde_json::from_str(news).unwrap();
        let about = parsed
            .as_object()
            .unwrap()
            .values()
            .map(|news| &news["container"]);
        let about = about.map(ToString::to_string).collect::<String>();
        told.entry(format!("{recipient} about {about}"))
            .or_default()
            .push(news);
    }
    lines.extend(
        told.iter()
            .map(|(who, news)| format!("told {who}: {}", news.join(", "))),
    );
}

fn rows<T>(database: &Connection, sql: &str, mut read: impl FnMut(&Row<'_>) -> T) -> Vec<T> {
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| Ok(read(row))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn all<T>(mut chunks: Chunks<T>) -> Vec<T> {
    block_on(async {
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().await {
            all.extend(chunk.unwrap());
        }
        all
    })
}
