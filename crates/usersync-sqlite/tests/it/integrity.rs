//! What an integrity check finds, and that it finds nothing in a store that is well.

use futures::executor::block_on;
use rusqlite::Connection;
use usersync_store::{Key, Log, Table, Write};

use crate::support::{Folder, commit, member, open, ours};

/// One of everything.
fn writes() -> Vec<Write> {
    vec![
        Write::Ledger {
            key: member("team", "ada"),
            row: Some(ours("job")),
        },
        Write::Put {
            table: Table::Seat,
            key: Key::of(&["directory", "ada"]),
            bytes: vec![],
        },
        Write::Add {
            counter: Key::of(&["seats", "user"]),
            delta: 1,
        },
        Write::Append {
            log: Log::Outbox,
            key: Key::of(&["news"]),
            bytes: vec![],
        },
    ]
}

#[test]
fn contradictions_are_found() {
    for (damage, expected) in [
        ("SELECT 1", vec![]),
        ("DELETE FROM job", vec!["rows_unreadable"]),
        ("DELETE FROM content", vec!["rows_unreadable"]),
        ("DELETE FROM object", vec!["rows_unreadable"]),
        ("DELETE FROM system", vec!["rows_unreadable"]),
        ("DELETE FROM container", vec!["rows_unreadable"]),
        ("UPDATE content SET origin = 5", vec!["rows_unreadable"]),
        ("UPDATE content SET claims = 'x'", vec!["rows_unreadable"]),
        ("UPDATE content SET facets = '{'", vec!["rows_unreadable"]),
        ("UPDATE content SET claims = ''", vec!["rows_without_claims"]),
        ("UPDATE counter SET value = 2", vec!["seats_disagree"]),
        ("DELETE FROM counter", vec!["seats_disagree"]),
        ("DELETE FROM value", vec!["seats_disagree"]),
        ("UPDATE entry SET sequence = 9", vec!["sequence_ahead"]),
        ("DELETE FROM sequence", vec!["sequence_ahead"]),
        ("UPDATE value SET revision = 9", vec!["sequence_ahead"]),
        ("DELETE FROM tenant", vec!["tenant_unknown"]),
    ] {
        let folder = Folder::new();
        let store = open(&folder.file());
        commit(&store, writes()).unwrap();
        let conn = Connection::open(folder.file()).unwrap();
        conn.execute_batch(damage).unwrap();
        let problems = block_on(store.check_integrity()).unwrap();
        let codes: Vec<_> = problems.iter().map(|problem| problem.code()).collect();
        assert_eq!(codes, expected, "{damage}: {problems:?}");
        for problem in problems {
            assert!(!problem.to_string().contains("ada"), "{problem}");
        }
    }
}
