use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::{Secret, Token, TokenKey, TokenStore};
use usersync_model::TenantId;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::token::{TokenHarness, checks};

use super::*;

#[test]
fn each_check_catches_its_double() {
    prove(
        ["TokenStore", "TokenStore"],
        &checks(),
        &[()],
        |(), flaw| {
            Box::new(Double {
                flaw,
                state: Arc::default(),
            }) as Box<dyn TokenHarness>
        },
        &[
            ("keeps the first", (), "point_01_what_was_kept_last_is_told"),
            ("trims", (), "point_01_what_was_kept_last_is_told"),
            (
                "takes empty for missing",
                (),
                "point_01_what_was_kept_last_is_told",
            ),
            (
                "lets everything expire",
                (),
                "point_01_what_was_kept_last_is_told",
            ),
            ("lets nothing expire", (), "point_01_a_token_expires"),
            ("expires late", (), "point_01_a_token_expires"),
            ("forgets what expired", (), "point_01_a_token_expires"),
            (
                "forgets what was revoked",
                (),
                "point_02_what_was_taken_back_is_revoked",
            ),
            ("revokes for ever", (), "point_02_what_was_taken_back_is_revoked"),
            (
                "lets revoked expire",
                (),
                "point_02_what_was_taken_back_is_revoked",
            ),
            ("mixes tenants", (), "point_03_keys_and_tenants_are_apart"),
            ("folds case", (), "point_03_keys_and_tenants_are_apart"),
            (
                "takes the unreachable for missing",
                (),
                "point_04_a_store_that_cannot_answer_is_an_error",
            ),
            ("shows secrets", (), "point_05_no_secret_is_shown"),
            ("tells secrets in errors", (), "point_05_no_secret_is_shown"),
        ],
    );
}

struct Double {
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    now: Duration,
    broken: bool,
    kept: BTreeMap<(TenantId, String), Option<Kept>>,
}

#[async_trait]
impl TokenHarness for Double {
    async fn fresh(&self) -> Arc<dyn TokenStore> {
        *self.state.lock().unwrap() = State::default();
        Arc::new(Fake {
            flaw: self.flaw,
            state: Arc::clone(&self.state),
        })
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.state.lock().unwrap().now
    }

    async fn advance(&self, duration: Duration) {
        self.state.lock().unwrap().now += duration;
    }

    async fn disconnect(&self) -> std::result::Result<(), Cannot> {
        self.state.lock().unwrap().broken = true;
        Ok(())
    }
}

type Kept = (String, Option<DateTime<Utc>>);

struct Fake {
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

impl Fake {
    fn key(&self, tenant: &TenantId, key: &TokenKey) -> (TenantId, String) {
        let tenant = match self.flaw {
            "mixes tenants" => TenantId::new("all").unwrap(),
            _ => tenant.clone(),
        };
        let key = format!("{key:?}");
        let key = if self.flaw == "folds case" {
            key.to_lowercase()
        } else {
            key
        };
        (tenant, key)
    }

    fn broken(&self, what: &str) -> Error {
        let what = if self.flaw == "tells secrets in errors" {
            what
        } else {
            ""
        };
        Error::new(ErrorKind::Unavailable, format!("no connection {what}"))
    }
}

#[async_trait]
impl TokenStore for Fake {
    async fn keep(
        &self,
        tenant: &TenantId,
        key: &TokenKey,
        secret: Secret,
        expires: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.broken {
            return Err(self.broken(secret.expose()));
        }
        let text = match self.flaw {
            "trims" => secret.expose().trim().to_owned(),
            _ => secret.expose().to_owned(),
        };
        let slot = state.kept.entry(self.key(tenant, key));
        match (self.flaw, slot) {
            ("keeps the first", slot) => {
                slot.or_insert(Some((text, expires)));
            }
            ("revokes for ever", std::collections::btree_map::Entry::Occupied(slot))
                if slot.get().is_none() => {}
            (_, slot) => {
                slot.insert_entry(Some((text, expires)));
            }
        }
        Ok(())
    }

    async fn revoke(&self, tenant: &TenantId, key: &TokenKey) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        let key = self.key(tenant, key);
        match self.flaw {
            "forgets what was revoked" => {
                state.kept.remove(&key);
            }
            "lets revoked expire" => {
                let expires = Some(DateTime::UNIX_EPOCH + state.now + Duration::from_secs(60));
                // Until then it is revoked, and after that it is as if it had expired.
                state.kept.insert(key, Some(("\u{0}revoked".to_owned(), expires)));
            }
            _ => {
                state.kept.insert(key, None);
            }
        }
        Ok(())
    }

    async fn token(&self, tenant: &TenantId, key: &TokenKey) -> Result<Token> {
        let state = self.state.lock().unwrap();
        if state.broken {
            return match self.flaw {
                "takes the unreachable for missing" => Ok(Token::Missing),
                _ => Err(self.broken("")),
            };
        }
        let now = DateTime::UNIX_EPOCH + state.now;
        let now = if self.flaw == "expires late" {
            now - Duration::from_secs(1)
        } else {
            now
        };
        Ok(match state.kept.get(&self.key(tenant, key)) {
            None => Token::Missing,
            Some(None) => Token::Revoked,
            Some(Some(_))
                if self.flaw == "lets everything expire" && state.now > Duration::from_secs(600) =>
            {
                Token::Expired
            }
            Some(Some((_, Some(expires)))) if *expires <= now && self.flaw != "lets nothing expire" => {
                match self.flaw {
                    "forgets what expired" => Token::Missing,
                    _ => Token::Expired,
                }
            }
            Some(Some((text, _))) if text == "\u{0}revoked" => Token::Revoked,
            Some(Some((text, _))) if text.is_empty() && self.flaw == "takes empty for missing" => {
                Token::Missing
            }
            Some(Some((text, _))) => Token::Valid(Secret::new(text.clone())),
        })
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock().unwrap();
        let shown = (self.flaw == "shows secrets").then_some(&state.kept);
        write!(f, "Fake({shown:?})")
    }
}

// The macro itself.
usersync_testkit::token_store_conformance!(
    sound,
    Double {
        flaw: SOUND,
        state: Arc::default(),
    }
);
