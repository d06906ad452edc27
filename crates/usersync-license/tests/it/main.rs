//! Seats, through what is public.

mod allocate;
mod entitlement;
mod properties;
mod subscription;
