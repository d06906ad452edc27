//! Where secrets are kept: the consent of account owners, and what they consent with.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_model::{AccountRef, OperationId, TenantId};

use crate::error::Result;

/// A secret text. It cannot be displayed or serialized, and `Debug` shows nothing of it.
///
/// ```compile_fail,E0277
/// fn display(secret: &usersync_connector::Secret) -> String {
///     secret.to_string()
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn serialize<S: serde::Serializer>(secret: &usersync_connector::Secret, to: S) -> Result<S::Ok, S::Error> {
///     serde::Serialize::serialize(secret, to)
/// }
/// ```
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: to be sent to whom it is for, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    /// Takes as long for secrets that differ early as for those that differ late; lengths are no secret.
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        one.len() == other.len() && std::hint::black_box(differing) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a secret is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TokenKey {
    /// The consent of this account's owner, to work on the account.
    Account(AccountRef),
    /// What the recipient of the notification of this key consents with. The notification does not hold it: the notifier takes it
    /// from here when it writes the mail.
    Activation(OperationId),
}

/// What a token store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// There was one, and its time is over.
    Expired,
    /// There was none ever.
    Missing,
    /// There was one, and it was taken back.
    Revoked,
    /// There is one.
    Valid(Secret),
}

/// Keeps secrets for the SDK, which logs none and stores none itself.
///
/// # Behavior
/// 1. `token` answers what was kept last under this key of this tenant: `Valid` before `expires`, `Expired` from then on. Without
///    `expires` it stays valid.
/// 2. After `revoke` the answer is `Revoked`, whatever was kept before, and until something is kept again.
/// 3. A key under which nothing was kept or revoked is `Missing`. Keys and tenants are apart.
/// 4. A store that cannot be asked is an error, never `Missing`.
/// 5. No secret is shown by its `Debug` or by its errors.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a secret, in place of what was there.
    async fn keep(
        &self,
        tenant: &TenantId,
        key: &TokenKey,
        secret: Secret,
        expires: Option<DateTime<Utc>>,
    ) -> Result<()>;

    /// Takes back what was kept.
    async fn revoke(&self, tenant: &TenantId, key: &TokenKey) -> Result<()>;

    /// What is kept.
    async fn token(&self, tenant: &TenantId, key: &TokenKey) -> Result<Token>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("canary-4711");
        assert_eq!(
            format!("{secret:?} {:#?}", Token::Valid(secret.clone())).find("canary"),
            None
        );
        assert_eq!(secret, Secret::new("canary-4711"));
        assert_ne!(secret, Secret::new("canary-4712"));
        assert_ne!(secret, Secret::new("canary-471"));
        assert_ne!(secret, Secret::new(""));
    }
}
