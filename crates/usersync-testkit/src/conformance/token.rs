//! The contract of [`TokenStore`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{Secret, Token, TokenKey, TokenStore};
use usersync_model::{AccountRef, Digest, OperationId, TenantId};

use super::{Cannot, Point, Violation, sample_context, suite};

/// Gives token stores to check.
#[async_trait]
pub trait TokenHarness: Send + Sync {
    /// A store without anything in it. What else the harness does is done to the store given last.
    async fn fresh(&self) -> Arc<dyn TokenStore>;

    /// The time by which the store's secrets expire.
    fn now(&self) -> DateTime<Utc>;

    /// Moves that time on by this much, or waits until it has moved.
    async fn advance(&self, duration: Duration);

    /// Makes the store unable to answer from now on.
    async fn disconnect(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `TokenStore`.
    ///
    /// Takes the name of the module, an expression for a [`TokenHarness`](crate::conformance::token::TokenHarness), which is evaluated for each
    /// test, and, if the store needs a runtime, an expression that is called with a check's future and runs it to its end.
    token_store_conformance, token, TokenHarness, [
    point_01_what_was_kept_last_is_told,
    point_01_a_token_expires,
    point_02_what_was_taken_back_is_revoked,
    point_03_keys_and_tenants_are_apart,
    point_04_a_store_that_cannot_answer_is_an_error,
    point_05_no_secret_is_shown,
]);

const fn point(number: u8) -> Point {
    Point("TokenStore", number)
}

const SPAN: Duration = Duration::from_secs(60);

fn account(name: &str) -> TokenKey {
    TokenKey::Account(
        AccountRef::parse("mail", name).expect("the suite's own ids hold no control characters"),
    )
}

fn activation(name: &str) -> TokenKey {
    TokenKey::Activation(OperationId::from_digest(&Digest::of(
        "conformance",
        name.as_bytes(),
    )))
}

/// Tokens can be told apart without being shown: a violation must not show a secret either.
fn name(token: &Token) -> String {
    match token {
        Token::Expired => "expired".to_owned(),
        Token::Missing => "missing".to_owned(),
        Token::Revoked => "revoked".to_owned(),
        Token::Valid(secret) => format!("valid, {} bytes long", secret.expose().len()),
    }
}

async fn is(
    point: Point,
    store: &dyn TokenStore,
    tenant: &TenantId,
    key: &TokenKey,
    done: &str,
    want: &Token,
) -> Checked {
    let seen = point.succeeds(done, store.token(tenant, key).await)?;
    point.holds(seen == *want, done, name(want), name(&seen))
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_what_was_kept_last_is_told(harness: &dyn TokenHarness) -> Checked {
    let store = harness.fresh().await;
    let tenant = sample_context().tenant;
    for key in [account("a"), activation("a")] {
        for text in ["first", "second, \u{e9} and \"'\n", ""] {
            let done = format!("kept a secret of {} bytes and asked for it", text.len());
            let kept = store.keep(&tenant, &key, Secret::new(text), None).await;
            point(1).succeeds(&done, kept)?;
            is(
                point(1),
                store.as_ref(),
                &tenant,
                &key,
                &done,
                &Token::Valid(Secret::new(text)),
            )
            .await?;
        }
    }
    harness.advance(SPAN * 1000).await;
    let done = "asked much later for a secret that does not expire";
    is(
        point(1),
        store.as_ref(),
        &tenant,
        &account("a"),
        done,
        &Token::Valid(Secret::new("")),
    )
    .await
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_token_expires(harness: &dyn TokenHarness) -> Checked {
    let store = harness.fresh().await;
    let tenant = sample_context().tenant;
    let key = account("a");
    let expires = harness.now() + SPAN;
    let kept = store.keep(&tenant, &key, Secret::new("one"), Some(expires)).await;
    point(1).succeeds("kept a secret that expires", kept)?;
    let before = Token::Valid(Secret::new("one"));
    is(
        point(1),
        store.as_ref(),
        &tenant,
        &key,
        "asked before it expires",
        &before,
    )
    .await?;
    harness.advance(SPAN).await;
    is(
        point(1),
        store.as_ref(),
        &tenant,
        &key,
        "asked at the time it expires",
        &Token::Expired,
    )
    .await?;
    let kept = store.keep(&tenant, &key, Secret::new("two"), None).await;
    point(1).succeeds("kept another one in its place", kept)?;
    let after = Token::Valid(Secret::new("two"));
    is(
        point(1),
        store.as_ref(),
        &tenant,
        &key,
        "kept another one in its place",
        &after,
    )
    .await
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_what_was_taken_back_is_revoked(harness: &dyn TokenHarness) -> Checked {
    let store = harness.fresh().await;
    let tenant = sample_context().tenant;
    let key = account("a");
    let expires = Some(harness.now() + SPAN);
    for done in ["took back what was never kept", "took back what was kept"] {
        point(2).succeeds(done, store.revoke(&tenant, &key).await)?;
        is(point(2), store.as_ref(), &tenant, &key, done, &Token::Revoked).await?;
        let kept = store.keep(&tenant, &key, Secret::new("one"), expires).await;
        let done = "kept a secret after one was taken back";
        point(2).succeeds(done, kept)?;
        let valid = Token::Valid(Secret::new("one"));
        is(point(2), store.as_ref(), &tenant, &key, done, &valid).await?;
    }
    point(2).succeeds("took it back again", store.revoke(&tenant, &key).await)?;
    harness.advance(SPAN).await;
    let done = "took a secret back, and asked after it would have expired";
    is(point(2), store.as_ref(), &tenant, &key, done, &Token::Revoked).await
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_keys_and_tenants_are_apart(harness: &dyn TokenHarness) -> Checked {
    let store = harness.fresh().await;
    let tenant = sample_context().tenant;
    let other = TenantId::new("another").expect("the suite's own ids hold no control characters");
    let kept = store.keep(&tenant, &account("a"), Secret::new("one"), None).await;
    point(3).succeeds("kept a secret", kept)?;
    point(3).succeeds("took another one back", store.revoke(&other, &account("b")).await)?;
    let done = "kept a secret under one key of one tenant and asked for another";
    for (tenant, key) in [
        (&tenant, account("b")),
        (&tenant, account("A")),
        (&tenant, activation("a")),
        (&other, account("a")),
    ] {
        is(point(3), store.as_ref(), tenant, &key, done, &Token::Missing).await?;
    }
    Ok(())
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_store_that_cannot_answer_is_an_error(harness: &dyn TokenHarness) -> Checked {
    let store = harness.fresh().await;
    if harness.disconnect().await.is_err() {
        return Ok(());
    }
    let seen = store.token(&sample_context().tenant, &account("a")).await;
    let done = "asked a store that cannot answer";
    point(4).holds(
        seen.is_err(),
        done,
        "an error",
        seen.map(|token| name(&token)).ok(),
    )
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_no_secret_is_shown(harness: &dyn TokenHarness) -> Checked {
    let store = harness.fresh().await;
    let tenant = sample_context().tenant;
    let secret = "canary-81c9";
    let kept = store
        .keep(&tenant, &account("a"), Secret::new(secret), None)
        .await;
    point(5).succeeds("kept a secret", kept)?;
    let mut shown = vec![format!("{store:?} {store:#?}")];
    if harness.disconnect().await.is_ok() {
        let failed = store
            .keep(&tenant, &account("a"), Secret::new(secret), None)
            .await;
        shown.push(format!(
            "{failed:?} {:?}",
            failed.as_ref().map_err(ToString::to_string)
        ));
        shown.push(format!("{:?}", store.token(&tenant, &account("a")).await));
    }
    let done = "kept a secret, and looked at what the store and its errors show of themselves";
    point(5).holds(
        !shown.concat().contains(secret),
        done,
        "no secret in it",
        "the secret is in it",
    )
}
