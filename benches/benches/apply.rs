//! What the engine adds to the calls that it makes: the scenarios `apply/…` of the library beside.

fn main() {
    usersync_benches::bench::family("apply");
}
