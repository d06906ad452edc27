//! Whole runs with little to do: the scenarios `run/…` of the library beside.

fn main() {
    usersync_benches::bench::family("run");
}
