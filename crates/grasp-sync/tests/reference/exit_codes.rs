//! The page of exit codes: every code, and which command ends with it.

use std::fmt::Write;

use grasp_sync::exit::{ENDS, Exit};

pub(crate) fn page() -> String {
    let mut text = "# Exit codes\n\n\
        Data goes to stdout, logs and the reason of a failure to stderr. Codes keep their meaning from release to release.\n\n\
        | code | meaning | commands |\n|---|---|---|\n"
        .to_owned();
    for exit in Exit::ALL {
        let commands: Vec<String> =
            ENDS.iter().filter(|(_, ends)| ends.contains(&exit)).map(|(command, _)| format!("`{command}`")).collect();
        let commands = if commands.len() == ENDS.len() { "every one".to_owned() } else { commands.join(", ") };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| {} | {} | {commands} |", exit.code(), exit.meaning());
    }
    text
}
