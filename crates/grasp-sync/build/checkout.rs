//! Which commit a folder of sources is at. Knows nothing where git does not, and nothing of a repository that only happens to
//! lie around unpacked sources.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A commit, and how to notice that it is another one.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The first 12 hex digits.
    pub(crate) commit: String,
    /// Files of the repository that are written when HEAD moves. All of them exist: cargo would build anew for one that does not.
    pub(crate) changes_with: Vec<PathBuf>,
}

/// The checkout that has `sources`' Cargo.toml under version control.
pub(crate) fn of(sources: &Path) -> Option<Checkout> {
    git(sources, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let commit = git(sources, &["rev-parse", "--short=12", "HEAD"])?;
    let branch = git(sources, &["rev-parse", "--symbolic-full-name", "HEAD"])?;
    // The log moves where the branch is packed and has no file; the branch where there is no log.
    let names = ["HEAD", "logs/HEAD", &branch];
    let files = names.iter().filter_map(|name| git(sources, &["rev-parse", "--git-path", name]));
    let changes_with = files.map(|file| sources.join(file)).filter(|file| file.exists()).collect();
    Some(Checkout { commit, changes_with })
}

fn git(sources: &Path, arguments: &[&str]) -> Option<String> {
    let asked = Command::new("git").arg("-C").arg(sources).args(arguments).output().ok()?;
    let said = String::from_utf8(asked.stdout).ok()?;
    asked.status.success().then(|| said.trim().to_owned())
}
