use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_license::Quantities;
use usersync_model::{Digest, ObjectId, OperationId, SubscriptionResource, SystemId, TenantId};

use super::{context, system};
use crate::test_clock::TestClock;
use crate::wrap::{RetryPolicy, Wrap};
use crate::{
    Applied, BookingChange, CallContext, ErrorKind, Result, Secret, SubscriptionAdmin, Subscriptions, Token,
    TokenKey, TokenStore,
};

/// Answers nothing, ever, and counts how often it is asked.
#[derive(Debug)]
struct Silent {
    system: SystemId,
    calls: AtomicUsize,
}

impl Silent {
    async fn silence<T>(&self) -> Result<T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[async_trait]
impl Subscriptions for Silent {
    fn system(&self) -> &SystemId {
        &self.system
    }

    async fn booked(&self, _: &ObjectId, _: &CallContext) -> Result<Quantities> {
        self.silence().await
    }
}

#[async_trait]
impl SubscriptionAdmin for Silent {
    async fn adjust(&self, _: &ObjectId, _: &BookingChange, _: &CallContext) -> Result<Applied> {
        self.silence().await
    }
}

#[async_trait]
impl TokenStore for Silent {
    async fn keep(&self, _: &TenantId, _: &TokenKey, _: Secret, _: Option<DateTime<Utc>>) -> Result<()> {
        self.silence().await
    }

    async fn revoke(&self, _: &TenantId, _: &TokenKey) -> Result<()> {
        self.silence().await
    }

    async fn token(&self, _: &TenantId, _: &TokenKey) -> Result<Token> {
        self.silence().await
    }
}

/// What is asked is asked again; what may have had an effect is not repeated, and its outcome is unknown.
#[test]
fn bookings_and_tokens_that_are_never_answered_are_given_up() {
    let clock = TestClock::new();
    let silent = Arc::new(Silent {
        system: system(),
        calls: AtomicUsize::new(0),
    });
    let wrapped = Wrap::new(Arc::clone(&clock) as _)
        .retry(RetryPolicy::default())
        .timeout(Duration::from_secs(1))
        .wrap(Arc::clone(&silent));
    let (context, organisation) = (context(), ObjectId::new("o").unwrap());
    let id = OperationId::from_digest(&Digest::of("test", b"1"));
    let change = BookingChange {
        id,
        resource: SubscriptionResource::new("users").unwrap(),
        seen: 1,
        wanted: 2,
    };
    let key = TokenKey::Activation(id);
    let secret = || Secret::new("canary");
    let tenant = &context.tenant;
    for (effect, error) in [
        (
            false,
            clock.run(wrapped.booked(&organisation, &context)).unwrap_err(),
        ),
        (
            true,
            clock
                .run(wrapped.adjust(&organisation, &change, &context))
                .unwrap_err(),
        ),
        (
            true,
            clock.run(wrapped.keep(tenant, &key, secret(), None)).unwrap_err(),
        ),
        (true, clock.run(wrapped.revoke(tenant, &key)).unwrap_err()),
        (false, clock.run(wrapped.token(tenant, &key)).unwrap_err()),
    ] {
        assert_eq!(
            (error.kind(), error.outcome_unknown()),
            (ErrorKind::TimedOut, effect)
        );
    }
    let reads = 2 * RetryPolicy::default().attempts.get() as usize;
    assert_eq!(silent.calls.load(Ordering::SeqCst), reads + 3);
    assert_eq!(Subscriptions::system(&wrapped), &system());
}
