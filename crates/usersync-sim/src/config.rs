//! How large and how hostile worlds are.

use crate::choice::EDITION;

/// How large and how hostile worlds are. Sizes are limits: the seed picks within them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Containers of each tenant.
    pub containers: usize,
    /// Groups of each directory.
    pub groups: usize,
    /// Which worlds seeds make: the newest ones. What simulations learned since an earlier edition is nowhere in its worlds, so that a
    /// seed that was kept goes on to make the world that it made with the number of then.
    pub edition: u32,
    /// Keeps every line of the trace; costs time and memory.
    pub keep_trace: bool,
    /// In so many of a thousand calls something goes wrong; the seed picks how many of these really. 0: never, and no process
    /// dies or stands still.
    pub faults: u32,
    /// How many steps there are before the world is left alone.
    pub steps: u64,
    /// Tenants.
    pub tenants: usize,
    /// Users of each directory.
    pub users: usize,
    /// Workers.
    pub workers: usize,
}

impl Default for Config {
    /// Small worlds: what goes wrong mostly goes wrong in them, too.
    fn default() -> Self {
        Self {
            containers: 4,
            edition: EDITION,
            groups: 2,
            keep_trace: false,
            faults: 15,
            steps: 3000,
            tenants: 2,
            users: 7,
            workers: 3,
        }
    }
}
