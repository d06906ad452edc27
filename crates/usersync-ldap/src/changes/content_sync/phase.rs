//! The phases of a refresh (RFC 4533, section 3.3.2), as a machine without I/O.

use std::collections::BTreeSet;

use usersync_connector::Error;

use super::super::expired;
use super::codec::{State, SyncDone, SyncInfo, SyncState, Uuid};

/// How many deletions 389 Directory Server sends at once. The one after so many it forgets.
const DELETIONS_OF_389: usize = 50;

/// What differs between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// 389 Directory Server: has no present phase, but calls every phase one; does not say when an entry stops to match
    /// the filter; returns attributes of its own choice; leaves out deletions where there are many.
    Ds389,
    Standard,
}

/// What a message makes of what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Gone(Vec<Uuid>),
    Nothing,
    OnlyTheseRemain(BTreeSet<Uuid>),
    /// The entry that the message came with.
    Shown(Uuid),
}

/// A refresh under way.
#[derive(Clone, Debug)]
pub(crate) struct Refresh {
    dialect: Dialect,
    /// The last one that the server gave: it covers all messages until then.
    cookie: Option<Vec<u8>>,
    /// What the phase showed or called present, unless it cannot be a present phase.
    there: BTreeSet<Uuid>,
    /// Whether something was called present.
    presents: bool,
    /// Whether the phase can only be a delete phase.
    deletes: bool,
}

impl Refresh {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            cookie: None,
            there: BTreeSet::new(),
            presents: false,
            deletes: false,
        }
    }

    /// The last cookie so far.
    pub(crate) fn cookie(&self) -> Option<&[u8]> {
        self.cookie.as_deref()
    }

    /// How many entries it remembers.
    pub(crate) fn size(&self) -> usize {
        self.there.len()
    }

    pub(crate) fn entry(&mut self, entry: &SyncState<'_>) -> Result<Effect, Error> {
        let effect = match entry.state {
            State::Add | State::Modify => {
                self.note(entry.uuid);
                Effect::Shown(entry.uuid)
            }
            State::Delete => {
                self.there.remove(&entry.uuid);
                Effect::Gone(vec![entry.uuid])
            }
            State::Present => {
                self.present(&[entry.uuid])?;
                Effect::Nothing
            }
        };
        self.take(entry.cookie);
        Ok(effect)
    }

    pub(crate) fn info(&mut self, info: SyncInfo<'_>) -> Result<Effect, Error> {
        let (cookie, effect) = match info {
            SyncInfo::NewCookie(cookie) => (Some(cookie), Effect::Nothing),
            SyncInfo::IdSet {
                cookie,
                refresh_deletes: true,
                uuids,
            } => {
                if self.dialect == Dialect::Ds389 && uuids.len() >= DELETIONS_OF_389 {
                    return Err(expired("the server does not name all of many deletions"));
                }
                for uuid in &uuids {
                    self.there.remove(uuid);
                }
                (cookie, Effect::Gone(uuids))
            }
            SyncInfo::IdSet {
                cookie,
                refresh_deletes: false,
                uuids,
            } => {
                self.present(&uuids)?;
                (cookie, Effect::Nothing)
            }
            SyncInfo::RefreshPresent { cookie, .. } => {
                let effect = self.end_present()?;
                self.deletes = true;
                (cookie, effect)
            }
            SyncInfo::RefreshDelete { cookie, .. } => {
                if self.presents {
                    return Err(expired("the server ended a phase as another one"));
                }
                self.deletes = true;
                (cookie, Effect::Nothing)
            }
        };
        self.take(cookie);
        Ok(effect)
    }

    /// Answers what the end means, and the cookie to go on from, if the server gave any.
    pub(crate) fn done(mut self, done: SyncDone<'_>) -> Result<(Effect, Option<Vec<u8>>), Error> {
        let effect = match (done.refresh_deletes, self.deletes, self.presents) {
            (true, _, true) => {
                return Err(expired("the server ended a phase as another one"));
            }
            (true, _, false) => Effect::Nothing,
            (false, false, _) => self.end_present()?,
            // Some end what follows a present phase like the present phase itself.
            (false, true, _) => return Err(expired("the server ended a phase as another one")),
        };
        self.take(done.cookie);
        Ok((effect, self.cookie))
    }

    /// Absence is concluded only where something was said to be present: a server that says nothing may have nothing to
    /// say, or have answered with everything there is. A full read tells.
    fn end_present(&mut self) -> Result<Effect, Error> {
        if self.presents {
            self.presents = false;
            return Ok(Effect::OnlyTheseRemain(std::mem::take(&mut self.there)));
        }
        match self.dialect {
            Dialect::Ds389 => Ok(Effect::Nothing),
            Dialect::Standard => Err(expired("the server cannot say what changed")),
        }
    }

    fn present(&mut self, uuids: &[Uuid]) -> Result<(), Error> {
        if self.deletes {
            return Err(expired("the server mixed phases"));
        }
        self.presents = true;
        self.there.extend(uuids);
        Ok(())
    }

    fn note(&mut self, uuid: Uuid) {
        if !self.deletes {
            self.there.insert(uuid);
        }
    }

    fn take(&mut self, cookie: Option<&[u8]>) {
        if let Some(cookie) = cookie {
            self.cookie = Some(cookie.to_vec());
        }
    }
}
