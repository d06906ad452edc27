//! Reading ahead.

use std::hint::black_box;

/// For how many items it pays to read ahead.
pub(super) const BLOCK: usize = 32;

/// Reads bytes that are needed soon, all at once: memory answers many questions in the time of one, but what is done with each
/// byte keeps the processor from asking for the next.
pub(super) fn fetch(bytes: impl Iterator<Item = u8>) {
    black_box(bytes.fold(0, |all, byte| all ^ byte));
}
