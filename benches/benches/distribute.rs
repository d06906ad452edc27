//! One collection copied to many: the scenarios `distribute/…` of the library beside.

fn main() {
    usersync_benches::bench::family("distribute");
}
