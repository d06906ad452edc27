//! Licence entitlement, seats, the waiting list and the over-use report, as pure values.
