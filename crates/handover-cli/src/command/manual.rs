//! `handover completions` and `handover man`: made from the arguments, so never out of date.

use crate::args::Cli;
use crate::error::CliError;
use crate::exit::{self, ExitCode};
use crate::output::{Output, say};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io;
use std::path::Path;

pub(super) fn completions(shell: Shell) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "handover", &mut script);
    print(script)
}

/// The page of the command itself, or all pages into a directory.
pub(super) fn pages(dir: Option<&Path>) -> Result<ExitCode, CliError> {
    let Some(dir) = dir else {
        let page = render(Cli::command(), "handover").map_err(CliError::Stdout)?;
        return print(page);
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut command = Cli::command();
    command.build();
    let mut pages = vec![("handover".to_owned(), command.clone())];
    collect("handover", &command, &mut pages);
    for (name, command) in &pages {
        let path = dir.join(format!("{name}.1"));
        let page = render(command.clone(), name).map_err(failed(&path))?;
        std::fs::write(&path, page).map_err(failed(&path))?;
    }
    say(&format!("{} pages in {}", pages.len(), dir.display()));
    Ok(ExitCode::Done)
}

fn collect(prefix: &str, command: &clap::Command, pages: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands() {
        if sub.is_hide_set() || sub.get_name() == "help" {
            continue;
        }
        let name = format!("{prefix}-{}", sub.get_name());
        pages.push((name.clone(), sub.clone()));
        collect(&name, sub, pages);
    }
}

fn render(command: clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let command = command.after_help(exit::HELP);
    clap_mangen::Man::new(command)
        .title(name.to_owned())
        .render(&mut page)?;
    Ok(page)
}

fn print(bytes: Vec<u8>) -> Result<ExitCode, CliError> {
    let text = String::from_utf8_lossy(&bytes);
    Output::stdout().write(&text).map_err(CliError::Stdout)?;
    Ok(ExitCode::Done)
}
