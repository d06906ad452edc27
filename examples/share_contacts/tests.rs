//! The acts, which check what they show, and the tool on a folder that stays.

use std::sync::Arc;

use usersync::tokio::SystemClock;
use usersync_examples::scratch::Folder;
use usersync_examples::screen::Screen;

use crate::acts;
use crate::app::{self, App, ORGANISATION};
use crate::arguments::{Task, parse};

#[test]
fn every_act_ends_as_it_says() {
    acts::play(&Screen::new(true)).expect("the acts check what they show");
}

/// How many managed copies there are in a folder.
fn copies(folder: &Folder) -> usize {
    let app = App::open(folder, ORGANISATION.as_ref(), Arc::new(SystemClock::new())).expect("an application");
    let books = app.books.collections().expect("address books").into_iter();
    let managed = books.flat_map(|(book, _)| app.books.records_of(&book).expect("records"));
    managed.filter(|(_, is_managed)| *is_managed).count()
}

fn share(folder: &Folder, arguments: &[&str]) -> Result<(), String> {
    let path = folder.join("here");
    let here = ["--folder", path.to_str().expect("a path of text")];
    let arguments = here.iter().chain(arguments).map(Into::into);
    match parse(arguments).expect("the command line is understood").task {
        Task::Share(share) => app::share(&share, &Screen::new(true)).map_err(|error| error.to_string()),
        Task::Help | Task::Play => unreachable!("the arguments name a folder"),
    }
}

/// A preview leaves the address books alone; a swap of all who get copies waits until it is approved.
#[test]
fn a_folder_is_kept_up_to_date() {
    let folder = Folder::temporary().expect("a folder");
    let here = Folder::at(folder.join("here")).expect("a folder");
    share(&folder, &["--to", "ou=Finance", "--preview"]).expect("a preview");
    assert_eq!(copies(&here), 0);
    share(&folder, &["--to", "ou=Finance"]).expect("a run");
    assert_eq!(copies(&here), 180);
    share(&folder, &["--to", "ou=Legal"])
        .expect_err("newcomers get copies, and the others keep theirs for now");
    assert!(copies(&here) > 180);
    let app = App::open(&here, ORGANISATION.as_ref(), Arc::new(SystemClock::new())).expect("an application");
    let held = app
        .preview()
        .expect("a plan")
        .held_digest()
        .expect("the copies of those who left wait");
    drop(app);
    let before = copies(&here);
    share(&folder, &["--to", "ou=Legal", "--approve", &held.to_string()]).expect("a run");
    assert_eq!(copies(&here), before - 180);
}

#[test]
fn what_nobody_can_mean_is_refused() {
    for arguments in [
        &["--folder", "x"][..],
        &["--to", "ou=Finance"],
        &["--bogus"],
        &["--folder", "x", "--to", "y", "--preview", "--approve", "z"],
        &["stray"],
    ] {
        let problem = parse(arguments.iter().map(Into::into));
        assert!(problem.is_err(), "{arguments:?}");
    }
}
