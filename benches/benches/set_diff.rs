//! Who is desired against who is there, as texts: the scenarios `set_diff/…` of the library beside.

fn main() {
    usersync_benches::bench::family("set_diff");
}
