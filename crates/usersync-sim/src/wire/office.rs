//! What linking needs: two systems of accounts, what a tenant is entitled to, and where tokens are kept.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{
    AccountCapabilities, AccountDirectory, AccountEntry, CallContext, Cursor, EntitlementSource, ReadStream,
    Result, Secret, Token, TokenKey, TokenStore, failed_read,
};
use usersync_license::Entitlement;
use usersync_memory::{MemoryAccounts, MemoryEntitlement, MemoryTokens};
use usersync_model::{SystemId, TenantId};

use super::Wire;
use super::read::Entry;
use crate::fault::FaultKind;

impl Entry for AccountEntry {}

/// A system of accounts, one for each tenant.
#[derive(Clone, Debug)]
pub(crate) struct WireAccounts {
    pub(crate) wire: Wire<MemoryAccounts>,
    pub(crate) system: SystemId,
    pub(crate) capabilities: AccountCapabilities,
}

impl AccountDirectory for WireAccounts {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> AccountCapabilities {
        self.capabilities
    }

    fn accounts(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<AccountEntry> {
        let accounts = match self.wire.of(&context.tenant) {
            Ok(accounts) => accounts,
            Err(error) => return failed_read(error),
        };
        let site = self.wire.site("accounts", context);
        let context = context.clone();
        self.wire
            .core
            .read(site, move || accounts.accounts(since, &context), || None, |_| {})
    }
}

/// What a caller was told that a tenant is entitled to when it asked last; `None` if it asked in vain.
pub(crate) type Entitled = Arc<Mutex<Option<Entitlement>>>;

/// What each tenant is entitled to, as one caller sees it.
#[derive(Clone, Debug)]
pub(crate) struct WireEntitlement {
    pub(crate) wire: Wire<MemoryEntitlement>,
    pub(crate) told: Entitled,
}

impl WireEntitlement {
    /// What the caller knows from now on.
    fn note(&self, answer: Option<Entitlement>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

#[async_trait]
impl EntitlementSource for WireEntitlement {
    async fn entitlement(&self, tenant: &TenantId) -> Result<Entitlement> {
        let source = self.wire.of(tenant)?;
        // Whoever asks again and gets no answer goes on as one who was told nothing, and not by what was so before.
        self.note(None);
        let call = source.entitlement(tenant);
        let answer = self
            .wire
            .core
            .call(FaultKind::OF_CALLS, "entitlement", call)
            .await?;
        self.note(Some(answer));
        Ok(answer)
    }
}

/// Where the tokens of each tenant are kept.
#[derive(Clone, Debug)]
pub(crate) struct WireTokens(pub(crate) Wire<MemoryTokens>);

#[async_trait]
impl TokenStore for WireTokens {
    async fn keep(
        &self,
        tenant: &TenantId,
        key: &TokenKey,
        secret: Secret,
        expires: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let tokens = self.0.of(tenant)?;
        let call = tokens.keep(tenant, key, secret, expires);
        self.0.core.call(FaultKind::OF_CALLS, "keep a token", call).await
    }

    async fn revoke(&self, tenant: &TenantId, key: &TokenKey) -> Result<()> {
        let tokens = self.0.of(tenant)?;
        let call = tokens.revoke(tenant, key);
        self.0
            .core
            .call(FaultKind::OF_CALLS, "revoke a token", call)
            .await
    }

    async fn token(&self, tenant: &TenantId, key: &TokenKey) -> Result<Token> {
        let tokens = self.0.of(tenant)?;
        let call = tokens.token(tenant, key);
        self.0.core.call(FaultKind::OF_CALLS, "token", call).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::choice::{Choices, EDITION, Place};
    use crate::core::Core;
    use crate::executor::Process;

    /// As for whoever takes back a link: it asks, looks again since somebody was faster, and goes on without an answer.
    #[test]
    fn who_asks_again_in_vain_is_told_nothing() {
        let tenant = TenantId::new("acme").expect("an id");
        let source = MemoryEntitlement::new();
        let core = Core::new(Choices::of_seed(1, Place::Office, EDITION), false);
        let entitlements = WireEntitlement {
            wire: Wire::new(&core, Process::Worker(0, 0), [(tenant.clone(), source.clone())]),
            told: Entitled::default(),
        };
        let told = || *entitlements.told.lock().expect("nobody panicked");
        source.set(&tenant, Some(Entitlement::new(2)));
        assert!(block_on(entitlements.entitlement(&tenant)).is_ok());
        assert_eq!(told(), Some(Entitlement::new(2)));
        source.set(&tenant, None);
        assert!(block_on(entitlements.entitlement(&tenant)).is_err());
        assert_eq!(told(), None);
    }
}
