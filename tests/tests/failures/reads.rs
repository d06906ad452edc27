//! Reads that show less than there is.
