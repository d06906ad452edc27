//! An account directory that keeps everything in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use usersync_connector::{
    Account, AccountCapabilities, AccountDirectory, AccountEntry, CallContext, Cursor, ReadStream,
};
use usersync_model::{ObjectId, SystemId};

use crate::call::{CallKind, CallSite};
use crate::feed::{Feed, fed};
use crate::shared::{entries, lock};
use crate::sync::Mutex;
use crate::tap::{Read, Tap, tapped};

/// An account directory that keeps everything in memory. Clones share it.
///
/// It offers a change feed and vouches for its addresses only if told so.
#[derive(Clone, Debug)]
pub struct MemoryAccounts {
    system: SystemId,
    vouches_for_addresses: bool,
    state: Arc<Mutex<State>>,
    tap: Tap,
}

#[derive(Clone, Debug)]
struct State {
    accounts: Arc<BTreeMap<ObjectId, Arc<Account>>>,
    feed: Feed<ObjectId>,
}

tapped!(MemoryAccounts);
fed!(MemoryAccounts);

impl MemoryAccounts {
    /// A directory without accounts.
    #[must_use]
    pub fn new(system: SystemId) -> Self {
        Self {
            system,
            vouches_for_addresses: false,
            state: Arc::new(Mutex::new(State {
                accounts: Arc::default(),
                feed: Feed::new(),
            })),
            tap: Tap::default(),
        }
    }

    /// The same directory, vouching for its addresses.
    #[must_use]
    pub fn with_vouched_addresses(mut self) -> Self {
        self.vouches_for_addresses = true;
        self
    }

    /// A directory of its own with the same content, without faults and with an empty record of calls. It knows the cursors
    /// that were given before. Takes constant time: the two share what neither of them has changed since.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            system: self.system.clone(),
            vouches_for_addresses: self.vouches_for_addresses,
            state: Arc::new(Mutex::new(lock(&self.state).clone())),
            tap: self.tap.fork(),
        }
    }

    /// Makes the account, or lets it look like this.
    pub fn put(&self, account: Account) {
        let mut state = lock(&self.state);
        if state.accounts.get(&account.id).map(|known| &**known) != Some(&account) {
            state.feed.touch(|| account.id.clone());
            Arc::make_mut(&mut state.accounts).insert(account.id.clone(), Arc::new(account));
        }
    }

    /// Ends an account; tells whether it was there.
    pub fn remove(&self, id: &ObjectId) -> bool {
        let mut state = lock(&self.state);
        let known = state.accounts.contains_key(id);
        if known {
            state.feed.touch(|| id.clone());
            Arc::make_mut(&mut state.accounts).remove(id);
        }
        known
    }

    /// An account as it is now.
    #[must_use]
    pub fn account(&self, id: &ObjectId) -> Option<Account> {
        let state = lock(&self.state);
        state.accounts.get(id).map(|account| Account::clone(account))
    }

    /// Everything, to compare. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<ObjectId, Account> {
        entries(Arc::clone(&lock(&self.state).accounts))
            .map(|(id, account)| (id, Account::clone(&account)))
            .collect()
    }
}

impl AccountDirectory for MemoryAccounts {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> AccountCapabilities {
        AccountCapabilities {
            changes: lock(&self.state).feed.enabled,
            vouches_for_addresses: self.vouches_for_addresses,
        }
    }

    fn accounts(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<AccountEntry> {
        let site = CallSite::new(CallKind::Accounts)
            .on(&self.system)
            .context(context);
        self.tap.read(site, || {
            let state = lock(&self.state);
            let accounts = Arc::clone(&state.accounts);
            let upsert = |account: &Arc<Account>| AccountEntry::Upsert(Account::clone(account));
            let read = match since {
                None => Read::full(entries(accounts).map(move |(_, account)| upsert(&account))),
                Some(since) => {
                    let touched = state.feed.since(&since, &context.tenant, None)?;
                    Read::changes(touched.into_iter().map(move |id| match accounts.get(&id) {
                        Some(account) => upsert(account),
                        None => AccountEntry::Removed(id),
                    }))
                }
            };
            Ok(read.with_cursor(state.feed.cursor(&context.tenant, None)))
        })
    }
}
