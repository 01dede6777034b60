//! The page of the command line: every command with its arguments, as the parser knows them.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};
use grasp_sync::cli::Cli;

use super::cell;

pub(crate) fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut text = "# The command line\n\n\
        `grasp-sync <command> --help` says the same with examples. `-v`, `-q` and `--help` go with every command; what a flag sets that is\n\
        a setting too is in [configuration.md](configuration.md), how a command ends in [exit-codes.md](exit-codes.md).\n"
        .to_owned();
    describe(&cli, "", &mut text);
    text
}

fn describe(command: &Command, above: &str, text: &mut String) {
    let name = format!("{above}{}", command.get_name());
    if !above.is_empty() && !command.is_subcommand_required_set() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing into a string cannot fail.
        let _ = write!(text, "\n## `{name}`\n\n{about}.\n");
        let own: Vec<&Arg> = command.get_arguments().filter(|one| !one.is_global_set() && one.get_id() != "help").collect();
        if !own.is_empty() {
            text.push_str("\n| argument | what |\n|---|---|\n");
        }
        own.into_iter().for_each(|argument| text.push_str(&row(argument)));
    }
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        describe(below, &format!("{name} "), text);
    }
}

fn row(argument: &Arg) -> String {
    let value: Vec<String> = argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let value = if argument.get_action().takes_values() { value.join(" ") } else { String::new() };
    let name = match (argument.get_long(), argument.get_short()) {
        (Some(long), _) => format!("--{long} {value}"),
        (None, Some(short)) => format!("-{short} {value}"),
        (None, None) => value,
    };
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = match defaults.join(" ") {
        none if none.is_empty() || !argument.get_action().takes_values() => String::new(),
        some => format!(" [default: {some}]"),
    };
    let what = argument.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `{}` | {}{default} |\n", cell(name.trim()), cell(&what))
}
