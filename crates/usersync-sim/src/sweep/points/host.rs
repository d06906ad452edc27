//! What the host provides beside systems.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use usersync_connector::{
    ActorDirectory, ActorState, Clock, EntitlementSource, Notification, Notifier, Recipient, Result, Secret,
    Token, TokenKey, TokenStore,
};
use usersync_license::Entitlement;
use usersync_memory::{Call, CallKind, Fault, ManualClock, Moment};
use usersync_model::{PrincipalRef, Subject, TenantId};

use super::Points;

impl Points {
    /// Points around whoever knows who may act.
    #[must_use]
    pub fn actors(&self, inner: Arc<dyn ActorDirectory>) -> Arc<dyn ActorDirectory> {
        Arc::new(Service {
            points: self.clone(),
            inner,
        })
    }

    /// The [time](Self::time) as processes wait by it.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(Service {
            points: self.clone(),
            inner: Arc::new(self.time()),
        })
    }

    /// Points around whoever knows entitlements.
    #[must_use]
    pub fn entitlement(&self, inner: Arc<dyn EntitlementSource>) -> Arc<dyn EntitlementSource> {
        Arc::new(Service {
            points: self.clone(),
            inner,
        })
    }

    /// Points around whoever delivers notifications.
    #[must_use]
    pub fn notifier(&self, inner: Arc<dyn Notifier>) -> Arc<dyn Notifier> {
        Arc::new(Service {
            points: self.clone(),
            inner,
        })
    }

    /// Points around whoever keeps secrets.
    #[must_use]
    pub fn tokens(&self, inner: Arc<dyn TokenStore>) -> Arc<dyn TokenStore> {
        Arc::new(Service {
            points: self.clone(),
            inner,
        })
    }
}

/// Points around a service.
#[derive(Debug)]
struct Service<T: ?Sized> {
    points: Points,
    inner: Arc<T>,
}

fn of_tenant(kind: CallKind, tenant: &TenantId) -> Call {
    let mut call = Call::new(kind);
    call.tenant = Some(tenant.clone());
    call
}

#[async_trait]
impl ActorDirectory for Service<dyn ActorDirectory> {
    async fn state(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        let mut call = of_tenant(CallKind::State, tenant);
        call.subject = Some(Subject::Principal(principal.clone()));
        self.points.call(call, self.inner.state(tenant, principal)).await
    }
}

impl Clock for Service<ManualClock> {
    fn now(&self) -> DateTime<Utc> {
        self.inner.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // From when it was asked for, as with any clock.
        let (points, sleep) = (self.points.clone(), self.inner.sleep(duration));
        Box::pin(async move {
            match points.meet(&Call::new(CallKind::Sleep)).await {
                Some(Fault::Hang(Moment::Before)) => points.die().await,
                fault => {
                    sleep.await;
                    if fault.is_some() {
                        points.die().await
                    }
                }
            }
        })
    }
}

#[async_trait]
impl EntitlementSource for Service<dyn EntitlementSource> {
    async fn entitlement(&self, tenant: &TenantId) -> Result<Entitlement> {
        let call = of_tenant(CallKind::Entitlement, tenant);
        self.points.call(call, self.inner.entitlement(tenant)).await
    }
}

#[async_trait]
impl Notifier for Service<dyn Notifier> {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let mut call = of_tenant(CallKind::Notify, &notification.tenant);
        call.operation = Some(notification.key);
        if let Recipient::Principal(principal) = &notification.recipient {
            call.subject = Some(Subject::Principal(principal.clone()));
        }
        let deliver = async {
            self.inner.notify(notification).await?;
            self.points.witness(|witness| witness.delivered(notification));
            Ok(())
        };
        self.points.call(call, deliver).await
    }
}

#[async_trait]
impl TokenStore for Service<dyn TokenStore> {
    async fn keep(
        &self,
        tenant: &TenantId,
        key: &TokenKey,
        secret: Secret,
        expires: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let call = of_tenant(CallKind::Keep, tenant);
        self.points
            .call(call, self.inner.keep(tenant, key, secret, expires))
            .await
    }

    async fn revoke(&self, tenant: &TenantId, key: &TokenKey) -> Result<()> {
        let call = of_tenant(CallKind::Revoke, tenant);
        self.points.call(call, self.inner.revoke(tenant, key)).await
    }

    async fn token(&self, tenant: &TenantId, key: &TokenKey) -> Result<Token> {
        let call = of_tenant(CallKind::Token, tenant);
        self.points.call(call, self.inner.token(tenant, key)).await
    }
}
