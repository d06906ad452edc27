//! Three-way reconciliation: decision table, guards, plan, approval and renderings, as pure functions.
