//! The synchronizer that everybody writes first.
