//! The consent of account owners: asked for by mail, given by a token that is good once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use usersync_connector::{CallContext, Secret, Token, TokenKey, TokenStore};
use usersync_model::{
    AccountRef, Authorization, Digest, DigestBuilder, LinkState, OperationId, PrincipalRef, TenantId,
};
use usersync_store::Table;

use super::commit::Tries;
use super::draft::{Action, Draft};
use super::record::{Asked, CONSENT, LinkEntry, LinkId, consent_key};
use super::report::{LinkOutcome, LinkReport};
use super::{Chosen, Links, after};
use crate::error::{EngineError, Result};

/// Random bytes of a token: nobody guesses one among the tokens of all tenants.
const TOKEN_BYTES: usize = 32;

/// An owner consented.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consented {
    /// Whose link it is.
    pub principal: PrincipalRef,
    /// What the link is now.
    pub state: LinkState,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotConsented {
    /// Its time is over.
    #[error("the time to consent is over; ask for another mail")]
    Expired,
    /// It was used, replaced by a newer one, or never given out in this tenant: which of these is not told.
    #[error("this cannot be used to consent, or not any more; ask for another mail")]
    Unknown,
}

impl NotConsented {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }
}

impl Links {
    /// Asks the owners of the chosen links for their consent, where it is needed and not there: with a token that is good once and
    /// for a time, in place of earlier ones. The token goes to the [`TokenStore`] under the key of the notification, and only its
    /// hash into the store.
    ///
    /// # Errors
    /// When there is no token store, when it or the store fails, or when there is no randomness.
    pub async fn request_consent(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        let tokens = self.token_store()?;
        let mut tries = Tries::default();
        loop {
            let book = self.book_of(context, chosen).await?;
            let until = after(self.clock.now(), self.settings.consent_lifetime);
            let mut draft = Draft::default();
            let mut outcomes = self.without_link(&book, chosen);
            for (id, entry) in self.pair(&book).filter(|(id, _)| chosen.has(&id.principal)) {
                let outcome = if !entry.link.is_kept() {
                    LinkOutcome::NoLink
                } else if entry.link.authorization().permits() {
                    LinkOutcome::Unchanged(entry.link.state())
                } else {
                    let token = self.token()?;
                    let hash = hash(&context.tenant, &token);
                    let operation = OperationId::from_digest(&hash_of_hash(&hash));
                    // There before the notification can be delivered.
                    let key = TokenKey::Activation(operation);
                    tokens.keep(&context.tenant, &key, token, Some(until)).await?;
                    let mut after = entry.clone();
                    after.asked = Some(Asked { hash, until });
                    draft.set(after, Action::Ask(operation));
                    LinkOutcome::ConsentRequested
                };
                outcomes.push((id.principal.clone(), outcome));
            }
            if self.commit(context, &book, draft, None, &mut tries).await? {
                return Ok(LinkReport::new(outcomes));
            }
        }
    }

    /// Takes the token of an owner who consents: the link is authorized, and active if nothing else suspends it. The token is of no
    /// use after that.
    ///
    /// The inner result is the answer to the owner.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn consent(
        &self,
        context: &CallContext,
        token: &Secret,
    ) -> Result<std::result::Result<Consented, NotConsented>> {
        let hash = hash(&context.tenant, token);
        let mut tries = Tries::default();
        loop {
            let key = consent_key(&hash);
            let Some(stored) = self.store.value(&context.tenant, Table::Link, &key).await? else {
                return Ok(Err(NotConsented::Unknown));
            };
            let id: LinkId = CONSENT.decode(&stored.bytes)?;
            let book = self.book_of(context, &Chosen::of([id.principal.clone()])).await?;
            let Some(entry) = self
                .pair(&book)
                .find(|(other, _)| **other == id)
                .map(|(_, entry)| entry)
            else {
                return Ok(Err(NotConsented::Unknown));
            };
            let Some(asked) = entry.asked.as_ref().filter(|asked| is_same(&asked.hash, &hash)) else {
                return Ok(Err(NotConsented::Unknown));
            };
            if asked.until <= self.clock.now() {
                return Ok(Err(NotConsented::Expired));
            }
            let mut after = entry.clone();
            after.asked = None;
            // What the token store says by now is older than this.
            if let Some(said) = self.said_of(context, entry.link.account()).await {
                after.followed = said;
            }
            if after.link.authorize().is_err() {
                return Ok(Err(NotConsented::Unknown));
            }
            let state = after.link.state();
            let principal = id.principal;
            let mut draft = Draft::default();
            draft.set(after, Action::Authorize);
            if self.commit(context, &book, draft, None, &mut tries).await? {
                return Ok(Ok(Consented { principal, state }));
            }
        }
    }

    /// Asks the [`TokenStore`] what became of the consent of the chosen links' owners, and lets the links follow: those whose owners
    /// consented are resumed, those whose consent ran out or was taken back are suspended. What it keeps is looked at and dropped.
    /// What it said before, and goes on saying, undoes nothing that was done here since: an owner who consented by mail, or took the
    /// consent back, is not overruled by that.
    ///
    /// # Errors
    /// When there is no token store, or it or the store fails.
    pub async fn follow_tokens(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        let tokens = self.token_store()?;
        let book = self.book_of(context, chosen).await?;
        let mut found = BTreeMap::new();
        for (id, entry) in self.pair(&book) {
            let needs = entry.link.is_kept() && entry.link.authorization() != Authorization::NotNeeded;
            if needs && chosen.has(&id.principal) {
                let key = TokenKey::Account(entry.link.account().clone());
                let said = said(&tokens.token(&context.tenant, &key).await?);
                if said != entry.followed {
                    found.insert(id.principal.clone(), (entry.clone(), said));
                }
            }
        }
        let chosen = Chosen::of(found.keys().cloned());
        self.change(context, &chosen, |entry| {
            let (before, said) = found.get(entry.link.principal())?;
            // What was told before somebody changed the link says nothing of what it is now.
            if entry != before {
                return None;
            }
            entry.followed = *said;
            let action = match said {
                Some(Authorization::Authorized) => authorize(entry),
                Some(Authorization::Expired) => entry.link.expire().ok()?.then_some(Action::Expire),
                // There may be one that only the target knows of.
                None => None,
                Some(_) => revoke(entry),
            };
            Some(action.unwrap_or(Action::Note))
        })
        .await
    }

    /// What the token store says of an account's consent; `None` where that cannot be asked.
    async fn said_of(&self, context: &CallContext, account: &AccountRef) -> Option<Option<Authorization>> {
        let key = TokenKey::Account(account.clone());
        let token = self.tokens.as_ref()?.token(&context.tenant, &key).await;
        Some(said(&token.ok()?))
    }

    /// The consent of the chosen links' owners ran out: the links are suspended until they consent again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expire(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        self.change(context, chosen, |entry| {
            entry.link.expire().ok()?.then_some(Action::Expire)
        })
        .await
    }

    /// The owners of the chosen links took their consent back: the links are suspended, and tokens that were given out for them, or are
    /// kept for their accounts, are of no use any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke(&self, context: &CallContext, chosen: &Chosen) -> Result<LinkReport> {
        let outdated = self.take_back(context, chosen).await?;
        self.change(context, chosen, |entry| {
            let action = revoke(entry)?;
            if let Some(said) = outdated.get(entry.link.account()) {
                entry.followed = Some(*said);
            }
            Some(action)
        })
        .await
    }

    /// Takes back what the token store keeps of the chosen links' accounts. Answers what it goes on saying of them, which is older than
    /// that the consent was taken back: that is possible whether the token store can be asked or not.
    async fn take_back(
        &self,
        context: &CallContext,
        chosen: &Chosen,
    ) -> Result<BTreeMap<AccountRef, Authorization>> {
        let mut outdated = BTreeMap::new();
        let Some(tokens) = &self.tokens else {
            return Ok(outdated);
        };
        let book = self.book_of(context, chosen).await?;
        for (id, entry) in self.pair(&book) {
            if chosen.has(&id.principal) && entry.link.is_kept() {
                let account = entry.link.account();
                let key = TokenKey::Account(account.clone());
                let said = match tokens.token(&context.tenant, &key).await {
                    Ok(Token::Valid(_)) => match tokens.revoke(&context.tenant, &key).await {
                        Ok(()) => Authorization::Revoked,
                        Err(_) => Authorization::Authorized,
                    },
                    Ok(_) => continue,
                    Err(_) => Authorization::Authorized,
                };
                outdated.insert(account.clone(), said);
            }
        }
        Ok(outdated)
    }

    fn token_store(&self) -> Result<&Arc<dyn TokenStore>> {
        self.tokens.as_ref().ok_or(EngineError::NoTokenStore)
    }

    fn token(&self) -> Result<Secret> {
        let mut bytes = [0; TOKEN_BYTES];
        self.random.fill(&mut bytes)?;
        let mut text = String::with_capacity(2 * TOKEN_BYTES);
        for byte in bytes {
            write!(text, "{byte:02x}").expect("a text takes what is written");
        }
        Ok(Secret::new(text))
    }
}

/// What a token says of the consent of its account's owner; `None`: nothing.
fn said(token: &Token) -> Option<Authorization> {
    match token {
        Token::Valid(_) => Some(Authorization::Authorized),
        Token::Expired => Some(Authorization::Expired),
        Token::Revoked => Some(Authorization::Revoked),
        Token::Missing => None,
    }
}

fn authorize(entry: &mut LinkEntry) -> Option<Action> {
    let new = entry.link.authorize().ok()?;
    entry.asked = None;
    new.then_some(Action::Authorize)
}

fn revoke(entry: &mut LinkEntry) -> Option<Action> {
    let new = entry.link.revoke().ok()?;
    let asked = entry.asked.take();
    (new || asked.is_some()).then_some(Action::Revoke)
}

/// What is stored of a token: bound to its tenant, so that it is nothing anywhere else.
fn hash(tenant: &TenantId, token: &Secret) -> Digest {
    DigestBuilder::new("usersync.consent/1")
        .part(tenant.as_str().as_bytes())
        .part(token.expose().as_bytes())
        .finish()
}

/// Names the notification; nobody finds the stored hash by it.
fn hash_of_hash(hash: &Digest) -> Digest {
    Digest::of("usersync.consent_notification/1", hash.as_bytes())
}

/// Takes as long whatever differs.
fn is_same(one: &Digest, other: &Digest) -> bool {
    let differing = one
        .as_bytes()
        .iter()
        .zip(other.as_bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0
}
