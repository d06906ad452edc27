//! What people want to know.

use std::path::Path;
use std::{fs, process};

use futures::executor::block_on;
use usersync::engine::{Engine, Scope};
use usersync::reconcile::{Plan, RenderOptions, render_html};

use super::{Stage, check};
use crate::Outcome;

impl Stage<'_> {
    pub(super) fn explanations(&self, engine: &Engine) -> Outcome {
        let (host, screen) = (&self.host, self.screen);
        screen.act(7, "Why do they attend, and why not?");
        let book = self.february()?;
        let preview = block_on(engine.preview(&host.tenant, &host.job, &Scope::Everything))?;
        let cases = [
            ("Juniper Coppercombe", &host.entries.fire_drill, "selected"),
            ("Quince Quillbrook", &host.entries.town_hall, "excluded"),
            ("Medlar Quillbrook", &host.entries.town_hall, "inactive"),
            ("Acorn Candleham", &host.entries.ideas, "not_selected"),
        ];
        for (name, entry, expected) in cases {
            let who = book.person(name)?;
            let answer = preview
                .explain(entry, &who)
                .ok_or("the preview covers every entry")?;
            screen.answer(name, entry.object.as_str(), &answer);
            let found = answer.absent.first().map_or("selected", |absence| absence.code());
            check(
                found == expected,
                &format!("{name} is {expected}, and not {found}"),
            )?;
        }
        Ok(())
    }

    pub(super) fn page(&self, plan: &Plan, folder: &Path) -> Outcome {
        self.screen.act(9, "The plan of act 6 as a page");
        let path = folder.join("plan.html");
        let page = render_html(plan, &RenderOptions::default());
        // Renamed when it is whole, so that two programs at once do not write into one file.
        let new = folder.join(format!("plan-{}.new", process::id()));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&new, page))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| format!("could not write {}: {error}", path.display()))?;
        self.screen.say(format_args!("  {}", path.display()));
        Ok(())
    }
}
