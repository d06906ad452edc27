//! What calls at the same time share: as the standard library has it, and under `--cfg shuttle` so that every order can be tried.

#[cfg(not(shuttle))]
pub(super) use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

#[cfg(shuttle)]
pub(super) use shuttle::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};
