//! The commands: argv -> exit code.
//!
//! Every command says what happened and what to do next. The only room that
//! uses `anyhow` and that prints. No command decides anything by itself: they
//! call `app`, or talk to the admin port like anyone else.

mod admin;
mod args;
mod backup;
mod check;
mod credential;
mod credential_args;
mod credential_change;
mod demo;
mod examples;
mod explain;
mod failure;
mod inventory;
mod key;
mod logging;
mod notify;
mod out;
mod port;
mod reload;
mod serve;
mod stdin;
mod table;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use args::{Arguments, Command};
use failure::{DONE, Outcome};

/// Runs the command of this process's arguments. Returns the exit code.
pub fn run() -> i32 {
    let parsed = Arguments::command().try_get_matches();
    let parsed = parsed.and_then(|all| Ok((Arguments::from_arg_matches(&all)?, wants_json(&all))));
    let (arguments, json) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version come this way too, for standard output and with 0.
            let _ = error.print();
            return error.exit_code();
        }
    };
    match dispatch(&arguments.command) {
        Ok(code) => i32::from(code),
        Err(error) => {
            if json {
                out::note(failure::json(&error));
            } else {
                out::note(failure::words(&error));
            }
            i32::from(failure::code(&error))
        }
    }
}

/// Whether the command was given `--json`, wherever it stands.
fn wants_json(matches: &ArgMatches) -> bool {
    let here = matches.try_get_one::<bool>("json").ok().flatten().copied();
    here.unwrap_or(false) || matches.subcommand().is_some_and(|(_, matches)| wants_json(matches))
}

fn dispatch(command: &Command) -> Outcome {
    match command {
        Command::Serve(file) => serve::serve(&file.config),
        Command::Check { config, output } => check::check(&config.config, output.json),
        Command::Explain(args) => explain::explain(args),
        Command::Admin(command) => admin::admin(command),
        Command::Key(command) => key::key(command),
        Command::Credential(command) => credential::credential(command),
        Command::Token(command) => credential::token(command),
        Command::Audit(command) => credential::audit(command),
        Command::Backup(command) => backup::backup(command),
        Command::Restore(command) => backup::restore(command),
        Command::Demo { once, json } => demo::demo(*once, *json),
        Command::Reload { port } => key::reload(port),
        Command::Openapi => {
            out::answer(crate::api::openapi());
            Ok(DONE)
        }
    }
}
