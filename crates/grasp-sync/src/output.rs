//! The only place that writes to stdout, which carries data only, and the place for plain words on stderr.
//!
//! A reader that goes away (`grasp-sync config show | head -1`) is not a failure.

use std::io::{self, Write};

use serde::Serialize;

/// Writes `text` to stdout and flushes it.
///
/// # Errors
/// Whatever stdout reports, but for a broken pipe.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    forgive_broken_pipe(write_all(&mut stdout, text))
}

/// Writes `text` to stdout and flushes it; false where nobody reads any more.
///
/// # Errors
/// As [`print`].
pub fn print_to_reader(text: &str) -> io::Result<bool> {
    let written = write_all(&mut io::stdout().lock(), text);
    let is_broken = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    forgive_broken_pipe(written).map(|()| !is_broken)
}

/// Writes `document` to stdout as indented JSON and a line break.
///
/// # Errors
/// As [`print`], and whatever the document's serialisation reports.
pub fn print_json(document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    print(&format!("{text}\n"))
}

/// Tells a person on stderr why the process ends. A closed stderr leaves nobody to tell.
pub fn complain(text: &str) {
    let mut stderr = io::stderr().lock();
    let _nobody_listens = writeln!(stderr, "error: {text}");
}

/// Tells a person on stderr how far something is. A closed stderr leaves nobody to tell.
pub fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    let _nobody_listens = writeln!(stderr, "{text}");
}

fn write_all(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

fn forgive_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_success_and_a_full_disk_is_not() {
        let broken = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(forgive_broken_pipe(broken).is_ok());
        let full = Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(forgive_broken_pipe(full).is_err());
    }
}
