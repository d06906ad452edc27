//! Leases and the clock by which they expire.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use usersync_store::{Fence, FencingToken, Lease, LeaseName, StoreError, StoreErrorKind};

use crate::database::Database;
use crate::error::{Result, corrupt};
use crate::names::Names;

/// The newest lease of a name, held or not. It stays for ever, so that its token is never given again.
struct Newest {
    token: i64,
    expires: i64,
    holder: String,
    released: bool,
}

pub(crate) fn acquire(
    db: &Database,
    names: &mut Names,
    name: &LeaseName,
    holder: &str,
    ttl: Duration,
    now: DateTime<Utc>,
) -> Result<Lease> {
    let tenant = names.tenants.find(db, &name.tenant)?;
    let newest = match tenant {
        Some(tenant) => newest(db, tenant, name)?,
        None => None,
    };
    let token = match newest {
        Some(newest) if !newest.released && now < time(newest.expires)? => {
            let until = time(newest.expires)?;
            return Err(StoreError::new(
                StoreErrorKind::Held,
                format!("by {:?} until {until}; try again then", newest.holder),
            )
            .into());
        }
        Some(newest) => newest.token.saturating_add(1),
        None => 1,
    };
    let tenant = names.tenants.intern(db, &name.tenant)?;
    let expires = after(now, ttl);
    let params = (
        tenant,
        name.key.as_str(),
        token,
        expires.timestamp_micros(),
        holder,
    );
    db.execute(&db.sql.lease_set, params)?;
    Ok(Lease {
        name: name.clone(),
        token: FencingToken(token.cast_unsigned()),
        expires,
    })
}

pub(crate) fn renew(
    db: &Database,
    names: &mut Names,
    lease: &Lease,
    ttl: Duration,
    now: DateTime<Utc>,
) -> Result<Lease> {
    let tenant = check(db, names, &lease.fence())?;
    let expires = after(now, ttl);
    let params = (tenant, lease.name.key.as_str(), expires.timestamp_micros());
    db.execute(&db.sql.lease_extend, params)?;
    Ok(Lease {
        expires,
        ..lease.clone()
    })
}

pub(crate) fn release(db: &Database, names: &mut Names, lease: &Lease) -> Result<()> {
    if let Some(tenant) = names.tenants.find(db, &lease.name.tenant)? {
        let token = lease.token.0.cast_signed();
        db.execute(&db.sql.lease_release, (tenant, lease.name.key.as_str(), token))?;
    }
    Ok(())
}

/// Whether the lease is still the newest of its name, and not released. Answers with its tenant.
pub(crate) fn check(db: &Database, names: &mut Names, fence: &Fence) -> Result<i64> {
    if let Some(tenant) = names.tenants.find(db, &fence.name.tenant)?
        && let Some(newest) = newest(db, tenant, &fence.name)?
        && newest.token.cast_unsigned() == fence.token.0
        && !newest.released
    {
        return Ok(tenant);
    }
    Err(StoreError::new(StoreErrorKind::Fenced, "take the lease again and begin anew").into())
}

/// A time that was stored.
pub(crate) fn time(micros: i64) -> Result<DateTime<Utc>> {
    Ok(DateTime::from_timestamp_micros(micros).ok_or_else(|| corrupt("a time is none"))?)
}

/// `duration` after `moment`, in microseconds; the last moment there is, if that is later.
fn after(moment: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let micros = TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| moment.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .timestamp_micros();
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn newest(db: &Database, tenant: i64, name: &LeaseName) -> Result<Option<Newest>> {
    Ok(db.find(&db.sql.lease, (tenant, name.key.as_str()), |row| {
        Ok(Newest {
            token: row.get(0)?,
            expires: row.get(1)?,
            holder: row.get(2)?,
            released: row.get(3)?,
        })
    })?)
}
