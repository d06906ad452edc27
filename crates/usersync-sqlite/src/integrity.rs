//! Whether what is stored is whole and agrees with itself.

use std::fmt;

use rusqlite::Row;
use usersync_store::Table;

use crate::database::Database;
use crate::error::Result;
use crate::ledger;
use crate::names::Names;
use crate::values;
use crate::worker::Worker;

/// Something stored that is damaged or contradicts something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IntegrityProblem {
    /// SQLite found damage in its file.
    Damaged {
        /// What SQLite says.
        message: String,
    },
    /// Ledger rows name a container, an object or a content that is not there, or a content that cannot be read.
    RowsUnreadable {
        /// How many.
        rows: u64,
    },
    /// Ledger rows are claimed by no job.
    RowsWithoutClaims {
        /// How many.
        rows: u64,
    },
    /// A tenant's seats and the counters of seats differ.
    SeatsDisagree {
        /// The tenant.
        tenant: String,
        /// How many seats are taken.
        seats: u64,
        /// How many the counters tell.
        counted: u64,
    },
    /// A log has an entry above the last sequence given, or a value or a row a revision above the last one given: it would be given again.
    SequenceAhead {
        /// The tenant.
        tenant: String,
    },
    /// Values, counters, entries, containers or leases are of a tenant that is not there.
    TenantUnknown {
        /// How many.
        rows: u64,
    },
}

impl IntegrityProblem {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::RowsUnreadable { .. } => "rows_unreadable",
            Self::RowsWithoutClaims { .. } => "rows_without_claims",
            Self::SeatsDisagree { .. } => "seats_disagree",
            Self::SequenceAhead { .. } => "sequence_ahead",
            Self::TenantUnknown { .. } => "tenant_unknown",
        }
    }
}

impl fmt::Display for IntegrityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { message } => {
                write!(f, "the database is damaged: {message}; restore it from a backup")
            }
            Self::RowsUnreadable { rows } => {
                write!(
                    f,
                    "{rows} ledger rows cannot be read; restore the database from a backup"
                )
            }
            Self::RowsWithoutClaims { rows } => {
                write!(
                    f,
                    "{rows} ledger rows are claimed by no job; run the jobs that wrote them"
                )
            }
            Self::SeatsDisagree {
                tenant,
                seats,
                counted,
            } => write!(
                f,
                "{} has {seats} seats taken, but {counted} counted; restore the database from a backup",
                tenant.escape_debug()
            ),
            Self::SequenceAhead { tenant } => write!(
                f,
                "{} has entries, values or rows newer than the last one; restore the database from a backup",
                tenant.escape_debug()
            ),
            Self::TenantUnknown { rows } => write!(
                f,
                "{rows} rows are of a tenant that is not there; restore the database from a backup"
            ),
        }
    }
}

/// All problems, in the order of the checks.
pub(crate) fn check(worker: &mut Worker) -> Result<Vec<IntegrityProblem>> {
    let (prefix, is_own) = (worker.prefix().to_owned(), worker.is_own());
    worker.in_one_read(|db, names| {
        let mut check = Check {
            db,
            prefix,
            found: Vec::new(),
        };
        check.damage(is_own)?;
        // What is damaged contradicts itself anyhow.
        if check.found.is_empty() {
            check.tenants()?;
            check.rows(names)?;
            check.sequences()?;
            check.seats()?;
        }
        Ok(check.found)
    })
}

struct Check<'a> {
    db: &'a Database,
    prefix: String,
    found: Vec<IntegrityProblem>,
}

impl Check<'_> {
    /// The whole file if it is the store's own, else the store's tables.
    fn damage(&mut self, is_own: bool) -> Result<()> {
        let tables = if is_own {
            vec![String::new()]
        } else {
            // The host's own tables are its own affair.
            let query =
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, length(?1)) = ?1
                ORDER BY name";
            self.all(query, [&self.prefix], |row| row.get(0))?
        };
        for table in tables {
            let query = if table.is_empty() {
                "PRAGMA integrity_check".to_owned()
            } else {
                format!("PRAGMA integrity_check('{}')", table.replace('\'', "''"))
            };
            let messages: Vec<String> = self.all(&query, (), |row| row.get(0))?;
            let damage = messages.into_iter().filter(|message| message != "ok");
            self.found
                .extend(damage.map(|message| IntegrityProblem::Damaged { message }));
        }
        Ok(())
    }

    fn tenants(&mut self) -> Result<()> {
        let mut rows = 0;
        for table in ["container", "counter", "entry", "lease", "sequence", "value"] {
            rows += self.count(&format!(
                "SELECT count(*) FROM {{p}}{table} WHERE tenant NOT IN (SELECT id FROM {{p}}tenant)"
            ))?;
        }
        self.report(rows, |rows| IntegrityProblem::TenantUnknown { rows });
        Ok(())
    }

    fn rows(&mut self, names: &mut Names) -> Result<()> {
        // Contents are few, rows are many: contents are read, rows are counted by them.
        let ids: Vec<i64> = self.all("SELECT id FROM {p}content", (), |row| row.get(0))?;
        // What is cached may be readable no more.
        names.forget();
        let (mut unclaimed, mut unreadable) = (Vec::new(), Vec::new());
        for id in ids {
            match ledger::content(self.db, names, id) {
                Ok(row) if row.claims().is_empty() => unclaimed.push(id),
                Ok(_) => {}
                Err(_) => unreadable.push(id),
            }
        }
        let mut dangling = self.count(
            "SELECT count(*) FROM {p}ledger
             WHERE container NOT IN (SELECT id FROM {p}container)
                OR subject >> 1 NOT IN (SELECT object.id FROM {p}object AS object
                    JOIN {p}system AS system ON system.id = object.system)
                OR content NOT IN (SELECT id FROM {p}content)",
        )?;
        for id in unreadable {
            dangling += self.count(&format!("SELECT count(*) FROM {{p}}ledger WHERE content = {id}"))?;
        }
        self.report(dangling, |rows| IntegrityProblem::RowsUnreadable { rows });
        let mut rows = 0;
        for id in unclaimed {
            rows += self.count(&format!("SELECT count(*) FROM {{p}}ledger WHERE content = {id}"))?;
        }
        self.report(rows, |rows| IntegrityProblem::RowsWithoutClaims { rows });
        Ok(())
    }

    fn sequences(&mut self) -> Result<()> {
        let query = "SELECT name FROM {p}tenant AS tenant
            WHERE EXISTS (SELECT 1 FROM {p}value AS value
                    WHERE value.tenant = tenant.id AND value.revision > tenant.revision)
                OR EXISTS (SELECT 1 FROM {p}ledger AS ledger
                    JOIN {p}container AS container ON container.id = ledger.container
                    WHERE container.tenant = tenant.id AND ledger.revision > tenant.revision)
                OR EXISTS (SELECT 1 FROM {p}entry AS entry
                    LEFT JOIN {p}sequence AS head ON head.tenant = entry.tenant AND head.log = entry.log
                    WHERE entry.tenant = tenant.id AND entry.sequence > coalesce(head.last, 0))
            ORDER BY name";
        let tenants = self.all(query, (), |row| row.get(0))?;
        let ahead = tenants.into_iter();
        self.found
            .extend(ahead.map(|tenant| IntegrityProblem::SequenceAhead { tenant }));
        Ok(())
    }

    /// A seat is a value, and is counted by one of the counters whose first part is `seats`.
    fn seats(&mut self) -> Result<()> {
        let tenants: Vec<(i64, String)> =
            self.all("SELECT id, name FROM {p}tenant ORDER BY name", (), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        for (id, tenant) in tenants {
            let query = "SELECT count(*) FROM {p}value WHERE tenant = ?1 AND kind = ?2";
            let seats: Vec<i64> = self.all(query, (id, Table::Seat.code()), |row| row.get(0))?;
            let seats: u64 = seats.into_iter().map(i64::cast_unsigned).sum();
            let query = "SELECT name, value FROM {p}counter WHERE tenant = ?1";
            let counters: Vec<(String, i64)> = self.all(query, [id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut counted = 0_u64;
            for (name, value) in counters {
                if values::key(&name)?.parts().next() == Some("seats") {
                    counted = counted.saturating_add(value.cast_unsigned());
                }
            }
            if seats != counted {
                self.found.push(IntegrityProblem::SeatsDisagree {
                    tenant,
                    seats,
                    counted,
                });
            }
        }
        Ok(())
    }

    fn report(&mut self, rows: u64, problem: fn(u64) -> IntegrityProblem) {
        if rows > 0 {
            self.found.push(problem(rows));
        }
    }

    fn count(&self, query: &str) -> Result<u64> {
        let counts: Vec<i64> = self.all(query, (), |row| row.get(0))?;
        Ok(counts.into_iter().map(i64::cast_unsigned).sum())
    }

    fn all<T>(
        &self,
        query: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.db.conn.prepare(&query.replace("{p}", &self.prefix))?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
