//! Runs over the durable store: the scenarios `sqlite/…` of the library beside.

fn main() {
    usersync_benches::bench::family("sqlite");
}
