//! What went wrong with other synchronizers, replayed: each scenario sets up the situation of a public record, shows what a
//! synchronizer that was written without thinking of it does, and then what this one does. `docs/failures.md` lists them all.

mod naive;
mod reads;
