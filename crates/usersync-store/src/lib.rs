//! The traits of usersync's own durable state: ledger, journal, cursors, leases, seats, audit, outbox, approvals.
