//! Directories and accounts.

use async_trait::async_trait;
use std::sync::Arc;
use usersync_connector::*;
use usersync_memory::*;
use usersync_model::*;
use usersync_testkit::conformance::account::AccountHarness;
use usersync_testkit::conformance::directory::DirectoryHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

use crate::{Last, fault, system};

struct Directories {
    changes: bool,
    last: Last<MemoryDirectory>,
}

impl Directories {
    fn new(changes: bool) -> Self {
        let last = Last::new();
        Self { changes, last }
    }
}

#[async_trait]
impl DirectoryHarness for Directories {
    fn system(&self) -> SystemId {
        system()
    }

    fn other_system(&self) -> Option<SystemId> {
        Some(SystemId::new("elsewhere").unwrap())
    }

    async fn fresh(&self, content: Vec<DirectoryChange>) -> Arc<dyn Directory> {
        let mut directory = MemoryDirectory::new(system());
        if self.changes {
            directory = directory.with_changes();
        }
        directory.extend(content);
        Arc::new(self.last.set(directory))
    }

    async fn change(&self, change: DirectoryChange) -> Result<(), Cannot> {
        self.last.get().extend([change]);
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }

    async fn heal(&self) -> Result<(), Cannot> {
        self.last.get().faults().heal();
        Ok(())
    }

    async fn another(&self) -> Result<Arc<dyn Directory>, Cannot> {
        Ok(Arc::new(self.last.get().fork()))
    }
}

usersync_testkit::directory_conformance!(directory, Directories::new(false));
usersync_testkit::directory_conformance!(directory_with_changes, Directories::new(true));

struct Accounts {
    changes: bool,
    vouches: bool,
    last: Last<MemoryAccounts>,
}

impl Accounts {
    fn new(changes: bool, vouches: bool) -> Self {
        let last = Last::new();
        Self {
            changes,
            vouches,
            last,
        }
    }
}

#[async_trait]
impl AccountHarness for Accounts {
    fn system(&self) -> SystemId {
        system()
    }

    async fn fresh(&self, accounts: Vec<Account>) -> Arc<dyn AccountDirectory> {
        let mut directory = MemoryAccounts::new(system());
        if self.changes {
            directory = directory.with_changes();
        }
        if self.vouches {
            directory = directory.with_vouched_addresses();
        }
        accounts.into_iter().for_each(|account| directory.put(account));
        Arc::new(self.last.set(directory))
    }

    async fn change(&self, change: AccountEntry) -> Result<(), Cannot> {
        match change {
            AccountEntry::Removed(id) => drop(self.last.get().remove(&id)),
            AccountEntry::Upsert(account) => self.last.get().put(account),
        }
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }
}

usersync_testkit::account_directory_conformance!(accounts, Accounts::new(false, false));
usersync_testkit::account_directory_conformance!(accounts_with_everything, Accounts::new(true, true));
