//! Two months of HR on a throw-away server.

use std::fs;
use std::path::{Path, PathBuf};

use usersync_examples::live::{Place, Started, ThrowAway};
use usersync_examples::scratch::Folder;
use usersync_examples::screen::{Outcome, Screen, check};

use crate::app::{self, Status, Step, Work};
use crate::hr::Key;

const GROUPS: [&str; 4] = ["leads", "optics-files", "sales-crm", "service-desk"];

/// Somebody gets the account that was missing.
const ACCOUNT: &str = "\
dn: uid=nutmeg.thimbleshaw,ou=sales,ou=people,dc=example,dc=test
changetype: add
objectClass: inetOrgPerson
uid: nutmeg.thimbleshaw
cn: Nutmeg Thimbleshaw
sn: Thimbleshaw
employeeNumber: 20033
";

/// And somebody else is made a member by hand.
const BY_HAND: &str = "\
dn: cn=optics-files,ou=groups,dc=example,dc=test
changetype: modify
add: member
member: uid=hazel.needlecombe,ou=services,ou=people,dc=example,dc=test
";

struct Stage<'s> {
    server: ThrowAway,
    place: Place,
    folder: Folder,
    screen: &'s Screen,
}

pub(crate) async fn play(screen: &Screen) -> Outcome {
    let server = match ThrowAway::start(&data("branch.ldif"))? {
        Started::Up(server) => server,
        Started::Skipped(why) => {
            screen.say(format_args!(
                "skipped: {why}. With a server of your own: --url URL --profile openldap|ad|389 --base DN …; see --help"
            ));
            return Ok(());
        }
    };
    let stage = Stage {
        place: server.place("writer")?,
        server,
        folder: Folder::temporary()?,
        screen,
    };
    stage.january().await?;
    stage.nothing().await?;
    stage.february().await
}

impl Stage<'_> {
    async fn january(&self) -> Outcome {
        let january = data("hr-2026-01.csv");
        self.screen.act(1, "A preview writes nothing");
        let before = self.members()?;
        let status = self.step(&january, Step::Preview).await?;
        check(
            status == Status::Held,
            "a row without an entry makes Sales partial",
        )?;
        check(self.members()? == before, "the groups are as they were")?;
        check(!self.state().exists(), "nothing is remembered")?;

        self.screen.act(2, "The same, applied");
        let status = self.step(&january, Step::Apply { approve: None }).await?;
        check(status == Status::Held, "Sales is partial still")?;
        let members = self.members()?;
        check(
            members.map(|members| members.len()) == [3 + 1, 10 + 1, 12 + 1, 10],
            "everybody is where they belong, beside who was there before",
        )?;

        self.screen.act(3, "Again");
        let members = self.members()?;
        self.step(&january, Step::Apply { approve: None }).await?;
        check(self.members()? == members, "there is nothing to do")
    }

    async fn nothing(&self) -> Outcome {
        self.screen.act(4, "An export without rows");
        let members = self.members()?;
        let empty = self.folder.join("empty.csv");
        fs::write(&empty, "employee_number,name,department,role\n")?;
        let status = self.step(&empty, Step::Apply { approve: None }).await?;
        check(status == Status::Held, "it is not believed")?;
        check(self.members()? == members, "nobody is removed")
    }

    async fn february(&self) -> Outcome {
        let february = data("hr-2026-02.csv");
        self.screen.act(5, "The next month");
        self.screen.say("Chervil left, Foxglove left Sales, Bryony moved to Sales, Amberly leads, and Services were given up.");
        self.screen
            .say("Meanwhile somebody made Hazel a member of optics-files by hand.\n");
        self.server.modify(BY_HAND)?;
        let status = self.step(&february, Step::Apply { approve: None }).await?;
        check(status == Status::Held, "much waits")?;
        let [leads, optics, sales, desk] = self.members()?;
        check(leads.len() == 4 + 1, "Amberly is a lead")?;
        check(optics.len() == 8 + 1 + 1, "two left Optics, and Hazel is there")?;
        check(
            optics.iter().any(|dn| dn.starts_with("uid=hazel.")),
            "Hazel stays",
        )?;
        check(
            sales.len() == 14 + 1,
            "two joined Sales, and nobody left it: a row of Sales has no entry",
        )?;
        check(
            desk.len() == 10,
            "nobody left the service desk without an approval",
        )?;

        self.screen
            .act(6, "The missing account is there, and the departure is approved");
        self.server.modify(ACCOUNT)?;
        let plan = app::plan(&self.place, &self.work(&february)).await?;
        let digest = plan.held_digest().ok_or("the service desk waits")?;
        self.screen.say(format_args!("--approve {digest}\n"));
        let approve = Some(digest);
        let status = self.step(&february, Step::Apply { approve }).await?;
        check(status == Status::Changed, "all is well")?;
        let [leads, optics, sales, desk] = self.members()?;
        check([leads.len(), optics.len()] == [5, 10], "these two are as before")?;
        check(sales.len() == 14 + 1, "one came, one went")?;
        check(
            !sales.iter().any(|dn| dn.starts_with("uid=foxglove.")),
            "Foxglove left",
        )?;
        check(
            sales.iter().any(|dn| dn.starts_with("uid=newsletter.robot")),
            "the robot stays",
        )?;
        check(desk.is_empty(), "nobody is at the service desk")?;
        let status = self.step(&february, Step::Apply { approve: None }).await?;
        check(status == Status::InSync, "there is nothing to do")
    }

    async fn step(&self, hr: &Path, step: Step) -> Outcome<Status> {
        app::work(&self.place, &self.work(hr), &step, self.screen).await
    }

    fn work(&self, hr: &Path) -> Work {
        Work {
            hr: hr.to_owned(),
            rules: data("hr-groups.json"),
            state: self.state(),
            key: Key::default(),
            skip_unmatched: false,
            placeholder: true,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state.sqlite")
    }

    /// Who is in the groups, by another client's account.
    fn members(&self) -> Outcome<[Vec<String>; 4]> {
        let mut members = [const { Vec::new() }; 4];
        for (members, group) in members.iter_mut().zip(GROUPS) {
            let dn = format!("cn={group},ou=groups,dc=example,dc=test");
            *members = self.server.values(&dn, "member")?;
        }
        Ok(members)
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}
