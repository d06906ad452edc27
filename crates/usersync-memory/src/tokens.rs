//! Secrets, in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{Clock, Result, Secret, Token, TokenKey, TokenStore};
use usersync_model::TenantId;

use crate::call::{CallKind, CallSite};
use crate::shared::lock;
use crate::sync::Mutex;
use crate::tap::{Tap, tapped};

/// Keeps secrets. Clones share them. `Debug` and the record of calls show none.
#[derive(Clone)]
pub struct MemoryTokens {
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<Kept>>,
    tap: Tap,
}

/// `None`: it was taken back.
type Kept = BTreeMap<(TenantId, TokenKey), Option<(Secret, Option<DateTime<Utc>>)>>;

tapped!(MemoryTokens);

impl MemoryTokens {
    /// Nothing is kept; what is expires by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            kept: Arc::default(),
            tap: Tap::default(),
        }
    }

    /// One of its own with the same content, without faults and with an empty record of calls.
    #[must_use]
    pub fn fork(&self) -> Self {
        let kept = lock(&self.kept).clone();
        Self {
            clock: Arc::clone(&self.clock),
            kept: Arc::new(Mutex::new(kept)),
            tap: self.tap.fork(),
        }
    }
}

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn keep(
        &self,
        tenant: &TenantId,
        key: &TokenKey,
        secret: Secret,
        expires: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let site = CallSite::new(CallKind::Keep).tenant(tenant);
        self.tap
            .call(site, || {
                let key = (tenant.clone(), key.clone());
                lock(&self.kept).insert(key, Some((secret, expires)));
                Ok(())
            })
            .await
    }

    async fn revoke(&self, tenant: &TenantId, key: &TokenKey) -> Result<()> {
        let site = CallSite::new(CallKind::Revoke).tenant(tenant);
        self.tap
            .call(site, || {
                lock(&self.kept).insert((tenant.clone(), key.clone()), None);
                Ok(())
            })
            .await
    }

    async fn token(&self, tenant: &TenantId, key: &TokenKey) -> Result<Token> {
        let site = CallSite::new(CallKind::Token).tenant(tenant);
        self.tap
            .call(site, || {
                let now = self.clock.now();
                Ok(match lock(&self.kept).get(&(tenant.clone(), key.clone())) {
                    None => Token::Missing,
                    Some(None) => Token::Revoked,
                    Some(Some((_, Some(expires)))) if *expires <= now => Token::Expired,
                    Some(Some((secret, _))) => Token::Valid(secret.clone()),
                })
            })
            .await
    }
}

impl fmt::Debug for MemoryTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTokens")
            .field("kept", &lock(&self.kept).len())
            .finish_non_exhaustive()
    }
}
