//! `grasp-sync completions` and `grasp-sync man`: what a package puts beside the binary, made of the command line itself.
//!
//! Never: a word of its own about a command; what is wrong here is wrong in `--help` too.

use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, ManArgs};
use crate::exit::Exit;
use crate::output;

/// Why there is no manual.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    #[error("there is no command {0:?}; `grasp-sync --help` lists them")]
    NoSuchCommand(String),
    #[error("{} cannot be written: {why}", path.display())]
    Pages { path: PathBuf, why: io::Error },
    #[error("it could not be printed: {0}")]
    Output(#[from] io::Error),
}

impl ManualError {
    /// The code that the process ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoSuchCommand(_) => Exit::Usage,
            Self::Pages { .. } | Self::Output(_) => Exit::Failure,
        }
    }
}

/// Prints what `shell` reads to complete the command line.
///
/// # Errors
/// stdout cannot be written.
pub fn completions(shell: Shell) -> Result<Exit, ManualError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "grasp-sync", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

/// Prints the page of one command in roff, or writes those of all of them into a folder.
///
/// # Errors
/// There is no such command, or the pages cannot be written.
pub fn man(args: &ManArgs) -> Result<Exit, ManualError> {
    match &args.dir {
        Some(dir) => write_all(dir)?,
        None => output::print(&page(&args.command)?)?,
    }
    Ok(Exit::Ok)
}

fn write_all(dir: &Path) -> Result<(), ManualError> {
    let unwritable = |why| ManualError::Pages { path: dir.to_owned(), why };
    std::fs::create_dir_all(dir).map_err(unwritable)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(unwritable)
}

fn page(words: &[String]) -> Result<String, ManualError> {
    // Built, each command knows its whole name.
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let command = words.iter().try_fold(&root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| ManualError::NoSuchCommand(words.join(" ")))
    })?;
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_page_is_of_the_command_that_was_named() {
        let run = page(&words("run")).unwrap();
        assert!(run.contains(".TH grasp-sync-run 1") && run.contains("bootstrap"), "{run}");
        let show = page(&words("config show")).unwrap();
        assert!(show.contains(".TH grasp-sync-config-show 1") && show.contains("Print one JSON document"), "{show}");
        assert!(matches!(page(&words("run away")), Err(ManualError::NoSuchCommand(name)) if name == "run away"));
    }

    #[test]
    fn the_first_page_names_every_command_and_every_exit_code() {
        let text = page(&[]).unwrap();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(
                text.contains(&format!("grasp\\-sync\\-{name}(1)")) || text.contains(&format!("grasp-sync-{name}(1)")),
                "{name}:\n{text}"
            );
        }
        for exit in Exit::ALL {
            assert!(text.replace("\\-", "-").contains(exit.meaning()), "{}", exit.meaning());
        }
    }

    #[test]
    fn a_folder_holds_a_page_for_every_command() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("man1");
        write_all(&wanted).unwrap();
        for name in ["grasp-sync.1", "grasp-sync-run.1", "grasp-sync-config-show.1", "grasp-sync-demo.1"] {
            assert!(wanted.join(name).is_file(), "{name}");
        }
    }
}
