//! The engine on files of your own: keeps the members in a roster file (JSON) in step with what was selected from an LDIF export
//! of a directory, and remembers in a state file (SQLite) whom it put there.
//!
//! `sync_ldif --help` says how it is used. `app.rs` puts the engine together, `selection.rs` makes a catalog of what was selected,
//! `target.rs` a membership target of the roster, and `state.rs` lets previews read a state file without writing to it.

mod app;
mod arguments;
mod export;
mod outcome;
mod roster;
mod selection;
mod show;
mod state;
mod target;

use std::env;
use std::process::ExitCode;

use outcome::{Outcome, Status};

fn main() -> ExitCode {
    let status = sync().unwrap_or_else(|stop| {
        show::complain(&stop.message);
        if stop.status == Status::Usage {
            show::complain("see --help");
        }
        stop.status
    });
    status.code()
}

fn sync() -> Outcome {
    match arguments::parse(env::args_os().skip(1))? {
        None => {
            show::print(arguments::HELP);
            Ok(Status::InSync)
        }
        Some(arguments) => {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build()?.block_on(app::run(arguments))
        }
    }
}
