//! Runs synchronization jobs: read, resolve, plan, check, apply, record, notify.
