//! The application's users: which of them may act, and the messages they got.

use async_trait::async_trait;
use rusqlite::OptionalExtension;
use usersync::connector::{
    ActorDirectory, ActorState, Error, News, Notification, Notifier, Recipient, Result,
};
use usersync::model::{PrincipalRef, TenantId};

use crate::database::{Database, failed, principal};

/// The users with their accounts. Clones share the database.
#[derive(Clone, Debug)]
pub(crate) struct Accounts(Database);

/// What users are told. Clones share the database.
#[derive(Clone, Debug)]
pub(crate) struct Messages(Database);

/// Who was told, and what.
pub(crate) type Message = (String, String);

impl Accounts {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    pub(crate) fn set(&self, who: &PrincipalRef, is_active: bool) -> rusqlite::Result<()> {
        self.put(who, is_active, false)
    }

    /// Makes somebody the administrator, who acts for owners that are gone.
    pub(crate) fn set_administrator(&self, who: &PrincipalRef) -> rusqlite::Result<()> {
        self.put(who, true, true)
    }

    pub(crate) fn administrator(&self) -> rusqlite::Result<PrincipalRef> {
        let query = "SELECT system, who FROM account WHERE is_administrator";
        self.0.lock().query_row(query, (), |row| principal(row, 0))
    }

    fn put(&self, who: &PrincipalRef, is_active: bool, is_administrator: bool) -> rusqlite::Result<()> {
        self.0.lock().execute(
            "INSERT INTO account (system, who, is_active, is_administrator) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET is_active = excluded.is_active, is_administrator = excluded.is_administrator",
            (
                who.system.as_str(),
                who.object.as_str(),
                is_active,
                is_administrator,
            ),
        )?;
        Ok(())
    }
}

#[async_trait]
impl ActorDirectory for Accounts {
    async fn state(&self, _tenant: &TenantId, principal: &PrincipalRef) -> Result<ActorState> {
        let is_active = self
            .0
            .lock()
            .prepare_cached("SELECT is_active FROM account WHERE system = ?1 AND who = ?2")
            .and_then(|mut query| {
                let who = (principal.system.as_str(), principal.object.as_str());
                query.query_row(who, |row| row.get(0)).optional()
            })
            .map_err(failed)?;
        Ok(match is_active {
            None => ActorState::Missing,
            Some(false) => ActorState::Inactive,
            Some(true) => ActorState::Active,
        })
    }
}

impl Messages {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Every message, in the order of those who got them.
    pub(crate) fn all(&self) -> rusqlite::Result<Vec<Message>> {
        let connection = self.0.lock();
        let mut query =
            connection.prepare_cached("SELECT recipient, text FROM message ORDER BY recipient, text")?;
        let messages = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        messages.collect()
    }
}

#[async_trait]
impl Notifier for Messages {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        let recipient = match &notification.recipient {
            Recipient::Administrators => "administrators".to_owned(),
            // This host has neither links nor collections of records.
            Recipient::Account(_) | Recipient::Collection(_) => {
                return Err(Error::unsupported("this recipient"));
            }
            Recipient::Principal(who) => who.to_string(),
        };
        let text = match &notification.news {
            News::MemberAdded { container, .. } => format!("You are invited: {}", container.object),
            News::MemberRemoved { container } => format!("You no longer attend: {}", container.object),
            News::MemberUpdated { container, .. } => format!("You attend otherwise: {}", container.object),
            News::OperationsHeld { count, .. } => format!("{count} changes wait for you"),
            News::JobPaused { reason } | News::JobQuarantined { reason, .. } => {
                format!("The attendees are not kept up to date: {reason}")
            }
            // Whatever a later version tells is refused, and so is seen among the dead letters in the end.
            _ => return Err(Error::unsupported("this news")),
        };
        // News that come again have the key that they had, and are dropped.
        self.0
            .lock()
            .prepare_cached(
                "INSERT INTO message (key, recipient, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )
            .and_then(|mut insert| insert.execute((notification.key.to_string(), recipient, text)))
            .map_err(failed)?;
        Ok(())
    }
}
