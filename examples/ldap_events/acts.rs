//! Three runs on a throw-away server.

use std::path::Path;

use usersync::engine::RunEnd;
use usersync::ldap::ChangeStrategy;
use usersync::reconcile::Mode;
use usersync_examples::live::{Started, ThrowAway};
use usersync_examples::screen::{Outcome, Screen, check};

use crate::app::App;

/// Nested groups, an organisational unit, and a role.
const GROUPS: [&str; 3] = [
    "cn=office,ou=groups,dc=example,dc=test",
    "ou=Optics",
    "keyholders",
];

/// What people do at the server: one joins a group that is nested in another, one moves to another unit, and the account of one is
/// locked.
const CHANGES: &str = "\
dn: cn=first-aiders,ou=groups,dc=example,dc=test
changetype: modify
add: member
member: uid=juniper.quillshaw,ou=services,ou=people,dc=example,dc=test

dn: uid=mallow.velvetcroft,ou=services,ou=people,dc=example,dc=test
changetype: modrdn
newrdn: uid=mallow.velvetcroft
deleteoldrdn: 1
newsuperior: ou=optics,ou=people,dc=example,dc=test

dn: uid=elder.velvetshaw,ou=sales,ou=people,dc=example,dc=test
changetype: modify
add: pwdAccountLockedTime
pwdAccountLockedTime: 000001010000Z
";

pub(crate) async fn play(screen: &Screen) -> Outcome {
    let entries = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/branch.ldif");
    let server = match ThrowAway::start(&entries)? {
        Started::Up(server) => server,
        Started::Skipped(why) => {
            screen.say(format_args!(
                "skipped: {why}. With a server of your own: --url URL --profile openldap|ad|389 --base DN --look; see --help"
            ));
            return Ok(());
        }
    };
    let place = server.place("sync")?;
    let groups = GROUPS.map(str::to_owned);
    let mut app = App::new(&place, &groups, Mode::Managed, ChangeStrategy::Automatic).await?;

    screen.act(1, "The first run reads everything");
    let first = app.run(screen).await?;
    check(
        first.report.end == RunEnd::Changed,
        "the first run fills the events",
    )?;
    let entries = first.traffic.entries;
    check(entries > 50, "it reads all entries")?;
    // Two teams and two first-aiders of Services; ten in the unit; three hold keys.
    app.expect(&[24, 10, 3])?;

    screen.act(2, "Something changes at the server");
    screen.say(
        "One joins the first-aiders, one moves from Services to Optics, the account of one is locked.\n",
    );
    server.modify(CHANGES)?;
    let second = app.run(screen).await?;
    check(second.report.end == RunEnd::Changed, "the second run follows")?;
    check(
        second.traffic.entries < entries / 4,
        "it reads what changed, and little more",
    )?;
    // The one who is locked was in the office and held a key.
    app.expect(&[24, 11, 2])?;

    screen.act(3, "Nothing changes");
    let third = app.run(screen).await?;
    check(third.report.end == RunEnd::InSync, "there is nothing to do")?;
    check(third.traffic.entries == 0, "it reads no entry")?;
    app.expect(&[24, 11, 2])
}
