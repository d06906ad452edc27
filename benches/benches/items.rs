//! Contacts on two systems kept in step: the scenarios `items/…` of the library beside.

fn main() {
    usersync_benches::bench::family("items");
}
