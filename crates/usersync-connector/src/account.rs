//! Systems whose accounts are linked with principals.

use std::collections::BTreeMap;
use std::fmt;

use usersync_model::{Activity, AttributeName, ObjectId, PrincipalKind, SystemId, Value};

use crate::context::CallContext;
use crate::read::{Cursor, ReadStream};

/// What an account directory offers and vouches for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCapabilities {
    /// Reads continue from a cursor.
    pub changes: bool,
    /// Addresses are verified and their holders cannot edit them: the condition for linking by address
    /// without a person's confirmation.
    pub vouches_for_addresses: bool,
}

/// An account that a principal can be linked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The immutable id.
    pub id: ObjectId,
    /// User or resource.
    pub kind: PrincipalKind,
    /// The name shown to people.
    pub name: String,
    /// Mail addresses as the system writes them, the primary one first.
    pub addresses: Vec<String>,
    /// Whether it is enabled.
    pub activity: Activity,
    /// Whether it is an administrator's: never linked without a person's confirmation.
    pub privileged: bool,
    /// Why it cannot be linked, if it cannot: no mailbox, no login …
    pub ineligible: Option<String>,
    /// Further attributes that matching rules may use.
    pub attributes: BTreeMap<AttributeName, Value>,
}

/// One entry of a read of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountEntry {
    /// The account is gone; only in a read of changes.
    Removed(ObjectId),
    /// The account exists and looks like this.
    Upsert(Account),
}

/// A system whose accounts are linked with principals.
///
/// # Behavior
/// 1. `accounts` shows every account; `Complete` only if nothing was left out.
/// 2. Ids are immutable: a new address or name keeps the id.
/// 3. Cursors follow the rules of [`Directory`](crate::Directory), points 6 to 8.
/// 4. `vouches_for_addresses` is claimed only for verified addresses that their holders cannot edit.
pub trait AccountDirectory: fmt::Debug + Send + Sync + 'static {
    /// The system that has the accounts.
    fn system(&self) -> &SystemId;

    /// What it offers.
    fn capabilities(&self) -> AccountCapabilities;

    /// Reads everything, or what changed since a cursor.
    fn accounts(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<AccountEntry>;
}
