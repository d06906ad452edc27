//! Nested groups: the scenarios `closure/…` of the library beside.

fn main() {
    usersync_benches::bench::family("closure");
}
