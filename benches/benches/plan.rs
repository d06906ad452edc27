//! Plans over interned people: the scenarios `plan/…` of the library beside.

fn main() {
    usersync_benches::bench::family("plan");
}
