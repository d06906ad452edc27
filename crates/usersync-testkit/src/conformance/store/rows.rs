//! The points about the revisions of ledger rows.

use usersync_model::{LedgerRow, Origin};
use usersync_store::{Check, LedgerKey, Write};

use super::StoreHarness;
use super::subject::{Checked, Subject, member_key, point, row};

/// Point 1, as the documentation of [`Check::Ledger`] says.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_row_that_was_written_since_is_another_one(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let (ada, bob) = (member_key("team", "ada"), member_key("team", "bob"));
    let alone = row(Origin::Ours, "job");
    let both = LedgerRow::new(
        Origin::Ours,
        alone
            .claims()
            .iter()
            .chain(row(Origin::Ours, "other").claims())
            .cloned(),
    );
    let write = |key: &LedgerKey, row: &LedgerRow| {
        vec![Write::Ledger {
            key: key.clone(),
            row: Some(row.clone()),
        }]
    };
    let check = |row: Option<&LedgerRow>, as_of| {
        vec![Check::Ledger {
            key: ada.clone(),
            row: row.cloned(),
            as_of,
        }]
    };
    let set = "set two rows, one after the other";
    subject.commit(set, Vec::new(), write(&ada, &alone)).await?;
    subject.commit(set, Vec::new(), write(&bob, &alone)).await?;
    let rows = subject.ledger(set, None).await?;
    let newest = rows.iter().map(|entry| entry.revision).max();
    let done = "checked a row that nobody wrote since the newest of the rows";
    subject
        .commit(done, check(Some(&alone), newest), Vec::new())
        .await?;
    let done = "checked that a row is not there, as of some write";
    let absent = Check::Ledger {
        key: member_key("team", "cleo"),
        row: None,
        as_of: newest,
    };
    subject.commit(done, vec![absent], Vec::new()).await?;
    let done = "had another job claim a row and release it, so that it is again what it was";
    subject.commit(done, Vec::new(), write(&ada, &both)).await?;
    subject.commit(done, Vec::new(), write(&ada, &alone)).await?;
    let done = format!("{done}; then checked it as of before");
    subject
        .conflicts(&done, 0, check(Some(&alone), newest), write(&ada, &both))
        .await?;
    let done = "checked it by what it says alone";
    subject.commit(done, check(Some(&alone), None), Vec::new()).await
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_revisions_of_ledger_rows_rise_over_all_rows(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(3)).await;
    let set = |who, of| Write::Ledger {
        key: member_key(of, who),
        row: Some(row(Origin::Ours, "job")),
    };
    let forget = |who, of| Write::Ledger {
        key: member_key(of, who),
        row: None,
    };
    let mut highest = None;
    for (done, writes, key) in [
        ("set a row", vec![set("ada", "team")], ("ada", "team")),
        ("set another row", vec![set("bob", "team")], ("bob", "team")),
        (
            "set the first one to what it is",
            vec![set("ada", "team")],
            ("ada", "team"),
        ),
        (
            "set a row of another container",
            vec![set("ada", "album")],
            ("ada", "album"),
        ),
        (
            "removed it and set the one before",
            vec![forget("ada", "album"), set("bob", "team")],
            ("bob", "team"),
        ),
        (
            "removed a row and set it again",
            vec![forget("ada", "team"), set("ada", "team")],
            ("ada", "team"),
        ),
    ] {
        subject.commit(done, Vec::new(), writes).await?;
        let entry = subject
            .store
            .ledger_row(&subject.tenant, &member_key(key.1, key.0))
            .await;
        let entry = subject.succeeds(done, entry)?;
        let revision = entry.as_ref().map(|entry| entry.revision);
        let listed = subject.ledger(done, None).await?;
        subject.point.equal(
            done,
            &entry,
            &listed
                .into_iter()
                .find(|listed| listed.key == member_key(key.1, key.0)),
        )?;
        let expected = format!("a revision higher than {highest:?}");
        subject
            .point
            .holds(revision > highest, done, expected, revision)?;
        highest = revision;
    }
    Ok(())
}
