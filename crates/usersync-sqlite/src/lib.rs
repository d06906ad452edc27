//! Durable store for usersync on one machine: SQLite.
