//! Leases and their tokens.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use usersync_store::{Fence, FencingToken, Lease, LeaseName, Result, StoreError, StoreErrorKind};

use crate::clock::after;

/// The newest lease of every name, held or not: its token is never given again.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases(HashMap<LeaseName, Newest>);

#[derive(Clone, Debug)]
struct Newest {
    token: FencingToken,
    expires: DateTime<Utc>,
    holder: String,
    released: bool,
}

impl Leases {
    pub(super) fn acquire(
        &mut self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> Result<Lease> {
        let token = match self.0.get(name) {
            Some(newest) if !newest.released && now < newest.expires => {
                return Err(StoreError::new(
                    StoreErrorKind::Held,
                    format!("by {:?} until {}; try again then", newest.holder, newest.expires),
                ));
            }
            Some(newest) => FencingToken(newest.token.0.saturating_add(1)),
            None => FencingToken(1),
        };
        let expires = after(now, ttl);
        self.0.insert(
            name.clone(),
            Newest {
                token,
                expires,
                holder: holder.to_owned(),
                released: false,
            },
        );
        Ok(Lease {
            name: name.clone(),
            token,
            expires,
        })
    }

    pub(super) fn renew(&mut self, lease: &Lease, ttl: Duration, now: DateTime<Utc>) -> Result<Lease> {
        self.check(&lease.fence())?;
        let expires = after(now, ttl);
        if let Some(newest) = self.0.get_mut(&lease.name) {
            newest.expires = expires;
        }
        Ok(Lease {
            expires,
            ..lease.clone()
        })
    }

    pub(super) fn release(&mut self, lease: &Lease) {
        if let Some(newest) = self.0.get_mut(&lease.name)
            && newest.token == lease.token
        {
            newest.released = true;
        }
    }

    /// Whether the lease is still the newest of its name, and not released.
    pub(super) fn check(&self, fence: &Fence) -> Result<()> {
        match self.0.get(&fence.name) {
            Some(newest) if newest.token == fence.token && !newest.released => Ok(()),
            _ => Err(fenced("take the lease again and begin anew")),
        }
    }
}

pub(super) fn fenced(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Fenced, message)
}
