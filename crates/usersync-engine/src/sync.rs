//! What is shared between threads: as the standard library has it, and under `--cfg shuttle` so that every order can be tried.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
