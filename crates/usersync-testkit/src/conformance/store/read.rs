//! The points of `StateRead` about values and the ledger, and its clock.

use usersync_model::{
    ContainerRef, LedgerRow, MAX_ID_BYTES, MemberFacets, MembershipState, Origin, PrincipalRef, RecordRef,
    Role, Subject as About,
};
use usersync_store::{Key, LedgerEntry, LedgerKey, Log, Table, Write};

use super::StoreHarness;
use super::subject::{
    Checked, MINUTE, Subject, add, append, container, counter, member_key, one_of_each, put, read_point, row,
};

/// Point 1 of `StateRead`, with tenants whose names begin alike.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_tenants_are_apart(harness: &dyn StoreHarness) -> Checked {
    let acme = Subject::fresh(harness, read_point(1)).await;
    let others = [acme.of("acm"), acme.of("acme-2"), acme.of("ACME")];
    acme.commit("wrote something of every kind", Vec::new(), one_of_each())
        .await?;
    let told = acme.everything("read the tenant that wrote").await?;
    for other in &others {
        let done = format!("wrote for the tenant acme and read the tenant {}", other.tenant);
        let seen = other.everything(&done).await?;
        let nothing = acme
            .of("nobody")
            .everything("read a tenant that never wrote")
            .await?;
        acme.point.equal(&done, &nothing, &seen)?;
        let key = Key::of(&["link", "1"]);
        let value = other.value(&done, Table::Link, &key).await?;
        acme.point.holds(value.is_none(), &done, "no value", value)?;
        let row = other
            .store
            .ledger_row(&other.tenant, &member_key("team", "ada"))
            .await;
        let row = acme.succeeds(&done, row)?;
        acme.point.holds(row.is_none(), &done, "no ledger row", row)?;
    }
    for other in &others {
        let done = format!("changed the tenant {}", other.tenant);
        let writes = vec![
            Write::Delete {
                table: Table::Link,
                key: Key::of(&["link", "1"]),
            },
            Write::Ledger {
                key: member_key("team", "ada"),
                row: None,
            },
            add(&counter(), 40),
            Write::Deliver {
                log: Log::Outbox,
                sequence: told.logs.last().map_or(1, |(_, e)| e.sequence),
            },
        ];
        other.commit(&done, Vec::new(), writes).await?;
        let seen = acme.everything(&done).await?;
        acme.point.equal(format!("{done}; what acme has"), &told, &seen)?;
    }
    Ok(())
}

/// Point 2 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_a_transaction_is_seen_by_every_kind_of_read(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, read_point(2)).await;
    let done = "committed one write of every kind";
    subject.commit(done, Vec::new(), one_of_each()).await?;
    let all = subject.everything(done).await?;
    let seen = (all.values.len(), all.ledger.len(), all.counter, all.logs.len());
    let what = format!("{done}; values, ledger rows, the counter, log entries");
    subject.point.equal(what, &(1, 1, 3, 2), &seen)?;
    let value = subject.value(done, Table::Link, &Key::of(&["link", "1"])).await?;
    subject
        .point
        .equal(done, &all.values.values().next().cloned(), &value)?;
    let seen = subject
        .store
        .ledger_row(&subject.tenant, &member_key("team", "ada"))
        .await;
    let seen = subject.succeeds(done, seen)?;
    let seen = seen.map(|entry| entry.row);
    subject.point.equal(done, &Some(row(Origin::Ours, "job")), &seen)
}

/// Point 3 of `StateRead`: byte for byte, in many chunks.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_values_ascend_and_come_once(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(3)).await;
    let mut keys: Vec<_> = (0..3000).map(|n| Key::of(&["n", &n.to_string()])).collect();
    // Of these, other orders than that of the bytes give another order: by language, by case, by UTF-16.
    let texts = [
        "a",
        "B",
        "Z",
        "z",
        "é",
        "e",
        "-",
        "10",
        "9",
        "\u{ffee}",
        "\u{10000}",
    ];
    keys.extend(texts.map(|text| Key::of(&[text])));
    let writes = keys
        .iter()
        .rev()
        .map(|key| put(Table::Base, key, key.as_str().as_bytes()))
        .collect();
    let done = "wrote 3011 values and read all of them";
    subject.commit(done, Vec::new(), writes).await?;
    keys.sort();
    let values = subject.values(done, Table::Base, &Key::of(&[])).await?;
    let wrong = values
        .iter()
        .find(|(key, stored)| stored.bytes != key.as_str().as_bytes());
    subject
        .point
        .holds(wrong.is_none(), done, "each key with its own value", wrong)?;
    let seen: Vec<_> = values.into_iter().map(|(key, _)| key).collect();
    let first = seen.iter().zip(&keys).position(|(seen, key)| seen != key);
    let expected = "every key once, ascending by its bytes; the first that differs";
    subject.point.holds(
        seen == keys,
        done,
        expected,
        (seen.len(), first.map(|at| (&keys[at], &seen[at]))),
    )
}

/// Point 3 of `StateRead`, with look-alikes.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_only_keys_with_the_prefix_are_given(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(3)).await;
    let keys: Vec<_> = [
        ["a"].as_slice(),
        &["a", "1"],
        &["a", "1", "x"],
        &["a", "12"],
        &["A", "1"],
        &["ab"],
        &["ab", "1"],
        &["a%", "1"],
        &["a_", "1"],
        &["aé", "1"],
        &["b", "a"],
        &["_", "1"],
        &["%", "1"],
        &["\u{10ffff}", "1"],
    ]
    .map(Key::of)
    .into();
    let writes = keys.iter().map(|key| put(Table::Link, key, b"")).collect();
    subject
        .commit("wrote keys that look alike", Vec::new(), writes)
        .await?;
    for prefix in [
        ["a"].as_slice(),
        &["a", "1"],
        &["a%"],
        &["_"],
        &["%"],
        &["ab"],
        &["\u{10ffff}"],
        &["missing"],
        &[],
    ]
    .map(Key::of)
    {
        let done = format!("read the keys that start with {prefix:?}");
        let mut expected: Vec<_> = keys
            .iter()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect();
        expected.sort();
        let values = subject.values(&done, Table::Link, &prefix).await?;
        let seen = values.into_iter().map(|(key, _)| key).collect();
        subject.point.equal(done, &expected, &seen)?;
    }
    Ok(())
}

/// Point 3 of `StateRead`: keys of the longest ids, which differ at their ends, and which no index can compress.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_long_keys_are_told_apart(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(3)).await;
    let mut digits = 0x9e37_79b9_7f4a_7c15_u64;
    let text: String = (1..MAX_ID_BYTES)
        .map(|_| {
            digits ^= digits << 13;
            digits ^= digits >> 7;
            digits ^= digits << 17;
            char::from(b'a' + (digits % 26) as u8)
        })
        .collect();
    let ids = ["a", "b"].map(|end| format!("{text}{end}"));
    let keys = ids
        .each_ref()
        .map(|id| Key::of(&[&text, &text, &text, &text, id]));
    let rows = ids.each_ref().map(|id| member_key(id, id));
    let done = "wrote and read values and ledger rows of keys that are as long as ids can make them";
    let mut writes: Vec<_> = keys
        .iter()
        .map(|key| put(Table::Base, key, key.as_str().as_bytes()))
        .collect();
    writes.extend(keys.iter().map(|key| add(key, 1)));
    writes.extend(keys.iter().map(|key| append(Log::Outbox, key, b"")));
    writes.extend(rows.iter().map(|key| Write::Ledger {
        key: key.clone(),
        row: Some(row(Origin::Ours, "job")),
    }));
    subject.commit(done, Vec::new(), writes).await?;
    for key in &keys {
        let seen = subject.bytes(done, Table::Base, key).await?;
        subject
            .point
            .equal(done, &Some(key.as_str().as_bytes().to_vec()), &seen)?;
        subject
            .point
            .equal(done, &1, &subject.counter(done, key).await?)?;
    }
    let prefix = Key::of(&[&text, &text]);
    let values = subject.values(done, Table::Base, &prefix).await?;
    let seen = values.into_iter().map(|(key, _)| key).collect();
    subject.point.equal(done, &keys.to_vec(), &seen)?;
    let entries = subject.log(done, Log::Outbox, 0).await?;
    let seen = entries.into_iter().map(|entry| entry.key).collect();
    subject.point.equal(done, &keys.to_vec(), &seen)?;
    let ledger = subject.ledger(done, None).await?;
    let seen = ledger.into_iter().map(|entry| entry.key).collect();
    subject.point.equal(done, &rows.to_vec(), &seen)
}

/// Point 3 of `StateRead`: tables are apart, as their documentation says.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_tables_are_apart(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(3)).await;
    let key = Key::of(&["same"]);
    let writes = Table::ALL.map(|table| put(table, &key, table.code().as_bytes()));
    let done = "wrote one key into every table, and deleted it from one";
    subject.commit(done, Vec::new(), writes.into()).await?;
    let delete = Write::Delete {
        table: Table::Link,
        key: key.clone(),
    };
    subject.commit(done, Vec::new(), vec![delete]).await?;
    for table in Table::ALL {
        let expected = (table != Table::Link).then(|| table.code().as_bytes().to_vec());
        let seen = subject.bytes(done, table, &key).await?;
        subject.point.equal(done, &expected, &seen)?;
        let seen = subject.values(done, table, &Key::of(&[])).await?;
        let seen = seen.into_iter().map(|(_, stored)| stored.bytes).next();
        subject.point.equal(done, &expected, &seen)?;
    }
    Ok(())
}

/// Point 3 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_ledger_rows_ascend_and_come_once(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(3)).await;
    let entries = ledger_sample();
    let done = "wrote ledger rows of five containers and read all of them";
    write_ledger(&subject, done, &entries).await?;
    let seen = subject.ledger(done, None).await?;
    same_rows(&subject, done, &entries, seen)?;
    let done = "read one of many ledger rows";
    for (key, row) in entries.iter().step_by(397) {
        let seen = subject.store.ledger_row(&subject.tenant, key).await;
        let seen = subject.succeeds(done, seen)?.map(|entry| (entry.key, entry.row));
        subject
            .point
            .equal(done, &Some((key.clone(), row.clone())), &seen)?;
    }
    Ok(())
}

/// Point 3 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_ledger_rows_are_of_the_containers_asked_for(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, read_point(3)).await;
    let entries = ledger_sample();
    write_ledger(&subject, "wrote ledger rows of five containers", &entries).await?;
    for asked in [
        vec!["team"],
        vec!["team-2", "team"],
        vec!["zoo", "gone", "team", "zoo"],
        vec!["gone"],
    ] {
        let containers: Vec<_> = asked.iter().map(|name| container(name)).collect();
        let done = format!("read the ledger rows of {asked:?}");
        let expected: Vec<_> = entries
            .iter()
            .filter(|(key, _)| containers.contains(&key.container))
            .cloned()
            .collect();
        let seen = subject.ledger(&done, Some(containers)).await?;
        same_rows(&subject, &done, &expected, seen)?;
    }
    Ok(())
}

/// Point 4 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_04_a_counter_never_written_is_zero(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(4)).await;
    let done = "read a counter that was never written, beside one that was";
    subject.commit(done, Vec::new(), vec![add(&counter(), 7)]).await?;
    let other = subject.counter(done, &Key::of(&["seats"])).await?;
    subject.point.equal(done, &0, &other)?;
    let written = subject.counter(done, &counter()).await?;
    subject
        .point
        .equal("read a counter that was set to 7", &7, &written)
}

/// Point 6 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_06_the_clock_never_goes_back(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(6)).await;
    let mut last = subject.succeeds("read the clock", subject.store.now().await)?;
    for _ in 0..50 {
        let now = subject.succeeds("read the clock again", subject.store.now().await)?;
        subject.point.holds(
            now >= last,
            "read the clock again",
            format!("{last} or later"),
            now,
        )?;
        last = now;
    }
    if harness.advance(MINUTE).await.is_ok() {
        let now = subject.succeeds("read the clock", subject.store.now().await)?;
        let least = last + MINUTE;
        subject.point.holds(
            now >= least,
            "read the clock a minute later",
            format!("{least} or later"),
            now,
        )?;
    }
    Ok(())
}

/// Rows of members and records in containers that look alike, ascending, more than fit in a chunk: each id is that of members of two
/// systems and of a record, and each name of a container may be one in two systems.
fn ledger_sample() -> Vec<(LedgerKey, LedgerRow)> {
    const FIXED: &str = "the suite's own ids hold no control characters";
    let elsewhere = ContainerRef::parse("elsewhere", "team").expect(FIXED);
    let containers = ["team", "team-2", "tea", "zoo"].map(container);
    let mut entries = Vec::new();
    for of in containers.into_iter().chain([elsewhere]) {
        for n in 0..400 {
            let id = format!("user-{n}");
            let subjects = ["directory", "other"].map(|system| {
                let principal = PrincipalRef::parse(system, &id).expect(FIXED);
                About::Principal(principal)
            });
            let record = About::Record(RecordRef::parse("directory", &id).expect(FIXED));
            for (place, subject) in subjects.into_iter().chain([record]).enumerate() {
                let key = LedgerKey {
                    container: of.clone(),
                    subject,
                };
                entries.push((key, sample_row(n, place)));
            }
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

/// Of either origin, with one claim or two, and with the facets that memberships can have.
fn sample_row(number: u32, place: usize) -> LedgerRow {
    let origin = match number % 2 {
        0 => Origin::Ours,
        _ => Origin::Foreign,
    };
    let mut sample = row(origin, &format!("job-{number}-{place}"));
    if number.is_multiple_of(3) {
        sample = sample.claimed(&row(origin, "another").claims()[0]);
    }
    match (number % 5, place) {
        (0, 0 | 1) => sample.with_facets(MemberFacets {
            role: Role::Manager,
            state: MembershipState::Active,
        }),
        (1, 0 | 1) => sample.with_facets(MemberFacets {
            role: Role::Member,
            state: MembershipState::Pending,
        }),
        _ => sample,
    }
}

async fn write_ledger(subject: &Subject, done: &str, entries: &[(LedgerKey, LedgerRow)]) -> Checked {
    let writes = entries.iter().rev().map(|(key, row)| Write::Ledger {
        key: key.clone(),
        row: Some(row.clone()),
    });
    subject.commit(done, Vec::new(), writes.collect()).await
}

fn same_rows(
    subject: &Subject,
    done: &str,
    expected: &[(LedgerKey, LedgerRow)],
    seen: Vec<LedgerEntry>,
) -> Checked {
    let seen: Vec<_> = seen.into_iter().map(|entry| (entry.key, entry.row)).collect();
    let first = expected
        .iter()
        .zip(&seen)
        .find(|(expected, seen)| expected != seen);
    let told = format!(
        "{} rows, ascending by their keys; the first that differs",
        expected.len()
    );
    subject
        .point
        .holds(expected == seen, done, told, (seen.len(), first))
}
