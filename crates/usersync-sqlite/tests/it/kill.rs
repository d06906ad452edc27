//! A process killed at any moment: what it was told is committed is there, and nothing is there in part.
//!
//! `USERSYNC_KILL_ROUNDS` sets how often, `USERSYNC_KILL_SEED` where to begin.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::executor::block_on;
use futures::stream::{FuturesUnordered, StreamExt};
use usersync_store::{Key, Log, StateRead, StateStore, Table, Transaction, Write};

use crate::support::{
    Folder, Random, acme, add, all, child, key, member, open, ours, put, rows, transaction,
};

const VARIABLE: &str = "USERSYNC_SQLITE_KILLED";

/// How many transactions wait together.
const TOGETHER: u64 = 8;

/// The nth transaction: something of every kind, all of it named by n.
fn numbered(n: u64) -> Transaction {
    let mut writes = vec![
        put(&format!("{n:08}"), &vec![n as u8; (n % 50 * 100) as usize]),
        add("count", 1),
        Write::Append {
            log: Log::Outbox,
            key: key(&n.to_string()),
            bytes: vec![],
        },
    ];
    writes.extend((0..n % 7 + 1).map(|m| Write::Ledger {
        key: member(&format!("team-{}", n % 11), &format!("user-{n}-{m}")),
        row: Some(ours(&format!("job-{}", n % 13))),
    }));
    transaction(writes)
}

/// Commits one numbered transaction after the other, and tells of each on the standard output once it is acknowledged.
fn commit_until_killed(path: &Path) {
    let store = open(path);
    let mut next = block_on(store.counter(&acme(), &key("next"))).unwrap();
    let commit = |n| {
        let store = &store;
        async move {
            let mut transaction = numbered(n);
            transaction.write(add("next", 1));
            store.commit(transaction).await.unwrap();
            n
        }
    };
    let mut out = std::io::stdout().lock();
    block_on(async {
        let mut waiting = FuturesUnordered::new();
        loop {
            while (waiting.len() as u64) < TOGETHER {
                waiting.push(commit(next));
                next += 1;
            }
            if let Some(n) = waiting.next().await {
                writeln!(out, "acknowledged {n}").unwrap();
                out.flush().unwrap();
            }
        }
    });
}

/// Which numbers are there, after a check that each is there whole.
fn committed(path: &Path, told: &str) -> Vec<u64> {
    let store = open(path);
    assert_eq!(block_on(store.check_integrity()).unwrap(), [], "{told}");
    let values = all(store.values(&acme(), Table::Base, &Key::of(&[]))).unwrap();
    let numbers: Vec<u64> = values
        .iter()
        .map(|(key, _)| key.parts().next().unwrap().parse().unwrap())
        .collect();
    let mut entries: Vec<u64> = all(store.log(&acme(), Log::Outbox, 0))
        .unwrap()
        .iter()
        .map(|entry| entry.key.parts().next().unwrap().parse().unwrap())
        .collect();
    entries.sort_unstable();
    assert_eq!(numbers, entries, "{told}");
    let count = block_on(store.counter(&acme(), &key("count"))).unwrap();
    assert_eq!(numbers.len() as u64, count, "{told}");
    let mut expected: Vec<_> = numbers
        .iter()
        .flat_map(|n| numbered(*n).writes)
        .filter_map(|write| match write {
            Write::Ledger { key, .. } => Some(key),
            _ => None,
        })
        .collect();
    expected.sort();
    let seen: Vec<_> = rows(&store).into_iter().map(|entry| entry.key).collect();
    assert!(seen == expected, "{told}: other ledger rows");
    for ((_, stored), n) in values.iter().zip(&numbers) {
        assert_eq!(stored.bytes.len() as u64, n % 50 * 100, "{told}");
    }
    numbers
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_nothing_is_there_in_part() {
    if let Some(path) = std::env::var_os(VARIABLE) {
        commit_until_killed(Path::new(&path));
    }
    let first = variable("USERSYNC_KILL_SEED", 1);
    let rounds = variable("USERSYNC_KILL_ROUNDS", 20);
    let mut folder = Folder::new();
    let (mut acknowledged, mut kills, mut total) = (Vec::new(), 0, 0);
    for seed in first..first + rounds {
        // Files stay small enough to be read after each kill.
        if acknowledged.len() > 5000 {
            total += acknowledged.len();
            (folder, acknowledged, kills) = (Folder::new(), Vec::new(), 0);
        }
        let mut random = Random::new(seed);
        let mut process = child(
            "kill::what_was_acknowledged_survives_a_kill_and_nothing_is_there_in_part",
            VARIABLE,
            folder.file().as_os_str(),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        // Some rounds end while the file is opened, most soon after that, some after the log was taken into the file.
        let enough = match random.below(4) {
            0 => random.below(3000),
            _ => random.below(100),
        };
        let moment = Duration::from_micros(random.below(3000));
        let mut lines = out.lines().map_while(Result::ok);
        let number = |line: String| {
            line.rsplit_once("acknowledged ")
                .map(|(_, n)| n.parse::<u64>().unwrap())
        };
        if enough > 0 {
            let heard = lines.by_ref().filter_map(number).take(enough as usize);
            acknowledged.extend(heard);
        }
        std::thread::sleep(moment);
        process.kill().unwrap();
        acknowledged.extend(lines.filter_map(number));
        process.wait().unwrap();
        kills += 1;
        let told = format!("killed with seed {seed}");
        println!("{told} after {} acknowledgements", acknowledged.len());
        let present = committed(&folder.file(), &told);
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|n| present.binary_search(n).is_err())
            .collect();
        assert!(lost.is_empty(), "{told}: lost {lost:?}");
        // A number that was not acknowledged may be there, but not more of them than had been asked for.
        assert!(
            present.len() as u64 <= acknowledged.len() as u64 + TOGETHER * kills,
            "{told}"
        );
    }
    total += acknowledged.len();
    assert!(total as u64 >= rounds, "too few transactions to tell anything");
}
