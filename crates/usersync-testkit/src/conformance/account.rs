//! The contract of [`AccountDirectory`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{Account, AccountDirectory, AccountEntry, CallContext, Cursor, Extent, ReadStream};
use usersync_model::{Activity, ObjectId, PrincipalKind, SystemId};

use super::cursors::{Cursors, UpTo};
use super::read::follow;
use super::{Cannot, LeaveOut, Point, Violation, object, sample_context, suite};

/// Gives account directories to check.
#[async_trait]
pub trait AccountHarness: Send + Sync {
    /// The system of the accounts given.
    fn system(&self) -> SystemId;

    /// A connector to a system that has exactly these accounts. What else the harness does is done to the system given last.
    async fn fresh(&self, accounts: Vec<Account>) -> Arc<dyn AccountDirectory>;

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Makes a change behind the connector's back.
    async fn change(&self, _change: AccountEntry) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Tries, with the rights of the account's own holder, to give the account this primary address. Succeeds whether or not the
    /// system allowed it.
    async fn holder_edits_address(&self, _account: &ObjectId, _address: &str) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes every cursor given so far too old.
    async fn expire_cursors(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes reads from now on leave something out; never asked for [`LeaveOut::MembersOf`].
    async fn leave_out(&self, _what: LeaveOut) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;
type Accounts = BTreeMap<ObjectId, Account>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `AccountDirectory`.
    ///
    /// Takes the name of the module, an expression for an [`AccountHarness`](crate::conformance::account::AccountHarness), which is evaluated
    /// for each test, and, if the connector needs a runtime, an expression that is called with a check's future and runs it
    /// to its end.
    account_directory_conformance, account, AccountHarness, [
    point_01_every_account_is_shown,
    point_01_thousands_of_accounts_are_shown,
    point_01_what_is_left_out_makes_the_read_partial,
    point_01_changes_left_out_make_the_read_partial,
    point_02_new_names_and_addresses_keep_the_id,
    point_03_nothing_changed_nothing_shown,
    point_03_changes_show_everything_that_changed,
    point_03_what_changes_during_a_full_read_is_not_lost,
    point_03_unknown_cursors_have_expired,
    point_03_old_cursors_have_expired,
    point_03_without_changes_there_are_no_cursors,
    point_04_addresses_vouched_for_are_not_their_holders_to_edit,
]);

const fn point(number: u8) -> Point {
    Point("AccountDirectory", number)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_every_account_is_shown(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    point(1).equal("asked for the system", &harness.system(), connector.system())?;
    shows(harness, &*connector, point(1), "read three accounts", sample()).await
}

/// Point 1, beyond the page sizes of common servers.
///
/// # Errors
/// The violation found.
pub async fn point_01_thousands_of_accounts_are_shown(harness: &dyn AccountHarness) -> Checked {
    let many: Vec<_> = (0..2500)
        .map(|n| account(&format!("account-{n:04}"), "somebody"))
        .collect();
    let connector = harness.fresh(many.clone()).await;
    shows(harness, &*connector, point(1), "read 2500 accounts", many).await
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_what_is_left_out_makes_the_read_partial(harness: &dyn AccountHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let connector = harness.fresh(sample()).await;
        let done = format!("read accounts of a system that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            let followed = follow(connector.accounts(None, &harness.context())).await;
            followed.well_formed(point(1), &done)?;
            point(1).holds(followed.is_partial(), done, "a partial read", followed.end)?;
        }
    }
    Ok(())
}

/// Point 1, for reads of changes.
///
/// # Errors
/// The violation found.
pub async fn point_01_changes_left_out_make_the_read_partial(harness: &dyn AccountHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let connector = harness.fresh(sample()).await;
        if !connector.capabilities().changes {
            return Ok(());
        }
        let read = reader(harness, &connector);
        let cursors = Cursors {
            point: point(1),
            ..cursors(&read)
        };
        let (state, cursor) = cursors.full().await?;
        if change_all(harness, while_reading()).await.is_err() {
            return Ok(());
        }
        let (now, _) = cursors.full().await?;
        let done = format!("read what changed in a system that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            cursors.show_all_or_say_so(&done, state, cursor, &now).await?;
        }
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_new_names_and_addresses_keep_the_id(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    let mut renamed = account("ada", "Augusta");
    renamed.addresses = vec!["augusta@example.org".to_owned()];
    if harness
        .change(AccountEntry::Upsert(renamed.clone()))
        .await
        .is_err()
    {
        return Ok(());
    }
    let mut expected = sample();
    expected[0] = renamed;
    let done = "gave ada another name and address";
    shows(harness, &*connector, point(2), done, expected).await
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_nothing_changed_nothing_shown(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    if !connector.capabilities().changes {
        return Ok(());
    }
    cursors(&reader(harness, &connector)).show_nothing_new().await
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_changes_show_everything_that_changed(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    if !connector.capabilities().changes {
        return Ok(());
    }
    let read = reader(harness, &connector);
    let cursors = cursors(&read);
    let (mut state, mut cursor) = cursors.full().await?;
    for (what, change) in [
        (
            "an account was renamed",
            AccountEntry::Upsert(account("ada", "Augusta")),
        ),
        ("an account came", AccountEntry::Upsert(account("eve", "Eve"))),
        ("an account was deleted", AccountEntry::Removed(object("bob"))),
    ] {
        if harness.change(change).await.is_err() {
            return Ok(());
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    for (what, changes) in [
        (
            "an account was deleted and came back",
            [
                AccountEntry::Removed(object("cyd")),
                AccountEntry::Upsert(account("cyd", "Cydney")),
            ],
        ),
        (
            "an account came and was deleted",
            [
                AccountEntry::Upsert(account("fay", "Fay")),
                AccountEntry::Removed(object("fay")),
            ],
        ),
    ] {
        if change_all(harness, changes).await.is_err() {
            return Ok(());
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    Ok(())
}

/// Point 3: a cursor is of the time when its read began.
///
/// # Errors
/// The violation found.
pub async fn point_03_what_changes_during_a_full_read_is_not_lost(harness: &dyn AccountHarness) -> Checked {
    for up_to in [UpTo::Begin, UpTo::FirstEntries] {
        let connector = harness.fresh(sample()).await;
        if !connector.capabilities().changes {
            return Ok(());
        }
        let read = reader(harness, &connector);
        let cursors = cursors(&read);
        let begun = cursors.begin(up_to).await;
        if change_all(harness, while_reading()).await.is_err() {
            return Ok(());
        }
        let done = format!("read everything, with changes after its {up_to:?}");
        cursors.show_what_overtook(&done, begun).await?;
    }
    Ok(())
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_unknown_cursors_have_expired(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    if !connector.capabilities().changes {
        return Ok(());
    }
    cursors(&reader(harness, &connector)).refuse_unknown().await
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_old_cursors_have_expired(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    if !connector.capabilities().changes {
        return Ok(());
    }
    let read = reader(harness, &connector);
    let cursors = cursors(&read);
    let (_, cursor) = cursors.full().await?;
    match harness.expire_cursors().await {
        Ok(()) => cursors.refuse_expired(cursor).await,
        Err(Cannot) => Ok(()),
    }
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_without_changes_there_are_no_cursors(harness: &dyn AccountHarness) -> Checked {
    let connector = harness.fresh(sample()).await;
    if connector.capabilities().changes {
        return Ok(());
    }
    cursors(&reader(harness, &connector)).are_not_offered().await
}

/// Point 4, as far as a machine can tell: the part about holders.
///
/// # Errors
/// The violation found.
pub async fn point_04_addresses_vouched_for_are_not_their_holders_to_edit(
    harness: &dyn AccountHarness,
) -> Checked {
    let connector = harness.fresh(sample()).await;
    if !connector.capabilities().vouches_for_addresses {
        return Ok(());
    }
    let edit = harness
        .holder_edits_address(&object("ada"), "bob@example.org")
        .await;
    match edit {
        Ok(()) => {
            shows(
                harness,
                &*connector,
                point(4),
                "ada tried to take bob's address",
                sample(),
            )
            .await
        }
        Err(Cannot) => Ok(()),
    }
}

/// A change, an addition, a deletion.
fn while_reading() -> [AccountEntry; 3] {
    [
        AccountEntry::Upsert(account("ada", "Augusta")),
        AccountEntry::Upsert(account("eve", "Eve")),
        AccountEntry::Removed(object("bob")),
    ]
}

async fn change_all(
    harness: &dyn AccountHarness,
    changes: impl IntoIterator<Item = AccountEntry, IntoIter: Send>,
) -> Result<(), Cannot> {
    for change in changes {
        harness.change(change).await?;
    }
    Ok(())
}

fn sample() -> Vec<Account> {
    vec![
        account("ada", "Ada"),
        account("bob", "Bob"),
        account("cyd", "Cyd"),
    ]
}

fn account(id: &str, name: &str) -> Account {
    Account {
        id: object(id),
        kind: PrincipalKind::User,
        name: name.to_owned(),
        addresses: vec![format!("{id}@example.org")],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: BTreeMap::new(),
    }
}

async fn shows(
    harness: &dyn AccountHarness,
    connector: &dyn AccountDirectory,
    point: Point,
    done: &str,
    expected: Vec<Account>,
) -> Checked {
    let followed = follow(connector.accounts(None, &harness.context())).await;
    let (entries, _) = followed.complete(point, done, Extent::Full)?;
    let mut seen = Accounts::new();
    for entry in entries {
        if let AccountEntry::Removed(id) = entry {
            return Err(point.violated(done, "no removals in a full read", id));
        }
        fold(&mut seen, entry);
    }
    let told = |account: &Account| (account.name.clone(), account.addresses.clone());
    let expected: BTreeMap<_, _> = expected.iter().map(|a| (a.id.clone(), told(a))).collect();
    let seen = seen
        .iter()
        .map(|(id, account)| (id.clone(), told(account)))
        .collect();
    point.equal(done, &expected, &seen)
}

fn reader<'a>(
    harness: &dyn AccountHarness,
    connector: &'a Arc<dyn AccountDirectory>,
) -> impl Fn(Option<Cursor>) -> ReadStream<AccountEntry> + Sync + use<'a> {
    let context = harness.context();
    move |since| connector.accounts(since, &context)
}

fn cursors<'a>(
    read: &'a (dyn Fn(Option<Cursor>) -> ReadStream<AccountEntry> + Sync),
) -> Cursors<'a, AccountEntry, Accounts> {
    Cursors {
        point: point(3),
        read,
        start: Accounts::new(),
        fold,
    }
}

fn fold(accounts: &mut Accounts, entry: AccountEntry) {
    match entry {
        AccountEntry::Removed(id) => {
            accounts.remove(&id);
        }
        AccountEntry::Upsert(account) => {
            accounts.insert(account.id.clone(), account);
        }
    }
}
