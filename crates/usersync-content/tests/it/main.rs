//! Texts compared by meaning and patched line by line.

mod compared;
mod generate;
mod hostile;
mod patched;
