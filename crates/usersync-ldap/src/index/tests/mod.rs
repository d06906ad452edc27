//! What the index says, against itself and against a plain reading of all entries.

use std::cell::Cell;

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// Counts how often an entry is looked at.
pub(super) fn count_look() {
    LOOKS.with(|looks| looks.set(looks.get() + 1));
}
