//! One change while selections are kept resolved: the scenarios `change/…` of the library beside.

fn main() {
    usersync_benches::bench::family("change");
}
