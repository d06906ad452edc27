//! Records of ten attributes: the scenarios `records/…` of the library beside.

fn main() {
    usersync_benches::bench::family("records");
}
