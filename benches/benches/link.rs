//! Linking by address: the scenarios `link/…` of the library beside.

fn main() {
    usersync_benches::bench::family("link");
}
