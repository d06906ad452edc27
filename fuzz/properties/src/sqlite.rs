//! Rows of SQLite that somebody else wrote.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::DateTime;
use futures::TryStreamExt;
use futures::executor::block_on;
use rusqlite::Connection;
use rusqlite::types::Value;
use usersync::model::{ContainerRef, JobId, LedgerRow, Origin, PrincipalRef, TenantId};
use usersync::sqlite::{SqliteOptions, SqliteStore, TablePrefix};
use usersync::store::{
    Chunks, Key, LeaseName, LedgerKey, Log, Result, StateRead, StateStore, StoreErrorKind, Table,
    Transaction, Write,
};

use crate::is_fit_to_show;

/// What the names of the tables begin with.
const PREFIX: &str = "t_";

/// What a row is put into, by its first letter.
const TABLES: [(u8, &str); 13] = [
    (b'm', "meta"),
    (b't', "tenant"),
    (b's', "system"),
    (b'j', "job"),
    (b'o', "object"),
    (b'c', "container"),
    (b'r', "content"),
    (b'l', "ledger"),
    (b'v', "value"),
    (b'n', "counter"),
    (b'q', "sequence"),
    (b'e', "entry"),
    (b'h', "lease"),
];

/// Rows, one a line: the letter of a table and its columns between tabs, as numbers, `x` and hexadecimal digits, or text.
pub fn sqlite(data: &[u8]) {
    let prefix = TablePrefix::new(PREFIX).expect("a good prefix");
    let clock = || DateTime::from_timestamp(1_700_000_000, 0).expect("a moment");
    let options = SqliteOptions::default().with_clock(clock);
    let connection = tables();
    for line in data.split(|&b| b == b'\n') {
        put(&connection, line);
    }
    let store = match SqliteStore::with_connection(connection, &prefix, options) {
        Ok(store) => store,
        Err(error) => {
            is_fit_to_show(&error);
            return;
        }
    };
    block_on(async {
        let before = seen(&store).await;
        assert_eq!(seen(&store).await, before, "read again");
        let written = write(&store).await;
        if let Ok(row) = written {
            assert_eq!(
                store
                    .ledger_row(&tenant(), &row_key())
                    .await
                    .ok()
                    .flatten()
                    .map(|entry| entry.row),
                Some(row)
            );
            let put = store.value(&tenant(), Table::Job, &Key::of(&["new"])).await;
            assert_eq!(
                put.ok().flatten().map(|stored| stored.bytes),
                Some(b"new".to_vec())
            );
        }
        let _ = seen(&store).await;
        // Whatever is stored, the thread that reads it lives on.
        assert_ne!(
            store.now().await.err().map(|error| error.kind()),
            Some(StoreErrorKind::Unavailable)
        );
    });
}

/// Empty tables of the newest version in a database in memory.
fn tables() -> Connection {
    thread_local! {
        static SCRIPT: String = script();
    }
    let connection = Connection::open_in_memory().expect("memory");
    SCRIPT
        .with(|script| connection.execute_batch(script))
        .expect("tables that were made before");
    connection
}

/// What makes the tables that a store makes.
fn script() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("usersync-fuzzed-{}-{number}.db", std::process::id()));
    let prefix = TablePrefix::new(PREFIX).expect("a good prefix");
    let connection = Connection::open(&path).expect("a database");
    drop(SqliteStore::with_connection(connection, &prefix, SqliteOptions::default()).expect("a store"));
    let connection = Connection::open(&path).expect("the database");
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        .expect("a query");
    let sql = statement
        .query_map((), |row| row.get::<_, String>(0))
        .expect("the tables");
    let sql: Vec<String> = sql.map(|sql| sql.expect("a text")).collect();
    let version: i64 = connection
        .query_row(&format!("SELECT version FROM {PREFIX}meta"), (), |row| row.get(0))
        .expect("a version");
    // What is left over is in the way of nobody.
    let _ = std::fs::remove_file(&path);
    format!(
        "{};\nINSERT INTO {PREFIX}meta (id, version, clock) VALUES (1, {version}, 0);",
        sql.join(";\n")
    )
}

/// Puts a row, if the table takes it.
fn put(connection: &Connection, line: &[u8]) {
    let mut columns = line.split(|&b| b == b'\t');
    let table = columns
        .next()
        .and_then(|letter| TABLES.iter().find(|(known, _)| letter == [*known]));
    let Some((_, table)) = table else {
        return;
    };
    let values: Vec<Value> = columns.map(value).collect();
    let places = vec!["?"; values.len()].join(", ");
    let names = first_columns(connection, &format!("{PREFIX}{table}"), values.len());
    let sql = format!("INSERT OR REPLACE INTO {PREFIX}{table} ({names}) VALUES ({places})");
    let _ = connection.execute(&sql, rusqlite::params_from_iter(values));
}

/// A row from before a column was added has that column's default.
fn first_columns(connection: &Connection, table: &str, count: usize) -> String {
    let mut statement = connection
        .prepare_cached("SELECT name FROM pragma_table_info(?1) ORDER BY cid LIMIT ?2")
        .expect("a query");
    let names = statement
        .query_map((table, i64::try_from(count).unwrap_or(i64::MAX)), |row| {
            row.get(0)
        })
        .expect("the columns");
    let names: Vec<String> = names.map(|name| name.expect("a text")).collect();
    names.join(", ")
}

fn value(text: &[u8]) -> Value {
    let Ok(text) = std::str::from_utf8(text) else {
        return Value::Blob(text.to_vec());
    };
    match (text.parse(), text.strip_prefix("x'")) {
        (Ok(number), _) => Value::Integer(number),
        (_, Some(blob)) => Value::Blob(blob.as_bytes().to_vec()),
        _ => Value::Text(text.to_owned()),
    }
}

/// Everything that can be read, as text.
async fn seen(store: &SqliteStore) -> Vec<String> {
    let mut seen = Vec::new();
    for tenant in [tenant(), TenantId::new("other").expect("short")] {
        for table in Table::ALL {
            let all = all(store.values(&tenant, table, &Key::of(&[]))).await;
            if let Ok(all) = &all {
                assert!(all.is_sorted_by(|a, b| a.0 < b.0), "keys are in order");
                for (key, stored) in all {
                    let one = store.value(&tenant, table, key).await;
                    assert_eq!(one.ok().flatten().as_ref(), Some(stored));
                }
            }
            seen.push(shown(all));
        }
        let rows = all(store.ledger(&tenant, None)).await;
        if let Ok(rows) = &rows {
            assert!(rows.is_sorted_by(|a, b| a.key < b.key), "rows are in order");
            for row in rows {
                let one = store.ledger_row(&tenant, &row.key).await;
                assert_eq!(one.ok().flatten().as_ref(), Some(row));
            }
        }
        seen.push(shown(rows));
        seen.push(shown(all(store.ledger(&tenant, Some(vec![container()]))).await));
        seen.push(shown(store.ledger_row(&tenant, &row_key()).await));
        seen.push(shown(store.counter(&tenant, &Key::of(&["n"])).await));
        for log in [Log::Audit, Log::Outbox] {
            seen.push(shown(all(store.log(&tenant, log, 0)).await));
        }
    }
    let problems = store.check_integrity().await;
    if let Ok(problems) = &problems {
        problems.iter().for_each(is_fit_to_show);
    }
    seen.push(shown(problems));
    seen
}

async fn all<T>(chunks: Chunks<T>) -> Result<Vec<T>> {
    chunks.try_concat().await
}

fn shown<T: Debug>(read: Result<T>) -> String {
    match read {
        Ok(read) => format!("{read:?}"),
        Err(error) => {
            is_fit_to_show(&error);
            assert_ne!(error.kind(), StoreErrorKind::Unavailable, "{error}");
            error.to_string()
        }
    }
}

fn row_key() -> LedgerKey {
    LedgerKey::member(container(), PrincipalRef::parse("s", "u").expect("short"))
}

/// Writes a row, a value and an entry under a lease.
async fn write(store: &SqliteStore) -> Result<LedgerRow> {
    let name = LeaseName {
        tenant: tenant(),
        key: Key::of(&["h"]),
    };
    let lease = store
        .acquire(&name, "me", Duration::from_secs(60))
        .await
        .inspect_err(is_fit_to_show)?;
    let lease = store
        .renew(&lease, Duration::from_secs(90))
        .await
        .inspect_err(is_fit_to_show)?;
    let row = LedgerRow::new(Origin::Ours, [JobId::new("j").expect("short")]);
    let mut transaction = Transaction::new(tenant()).under(lease.fence());
    transaction
        .write(Write::Ledger {
            key: row_key(),
            row: Some(row.clone()),
        })
        .write(Write::Put {
            table: Table::Job,
            key: Key::of(&["new"]),
            bytes: b"new".to_vec(),
        })
        .write(Write::Add {
            counter: Key::of(&["n"]),
            delta: 1,
        })
        .write(Write::Append {
            log: Log::Audit,
            key: Key::of(&["new"]),
            bytes: b"new".to_vec(),
        });
    let committed = store.commit(transaction).await.inspect_err(is_fit_to_show);
    store.release(&lease).await.inspect_err(is_fit_to_show)?;
    committed.map(|()| row)
}

fn tenant() -> TenantId {
    TenantId::new("t").expect("short")
}

fn container() -> ContainerRef {
    ContainerRef::parse("s", "c").expect("short")
}
