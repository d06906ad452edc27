//! Reference implementation, in memory, of every connector and store trait, with fault injection.
