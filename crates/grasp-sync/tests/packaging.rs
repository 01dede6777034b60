//! What a package is made of: completions, manual pages, and where a build says that it comes from.

#![allow(clippy::unwrap_used)]

#[path = "../build/checkout.rs"]
mod checkout;

use std::path::Path;
use std::process::{Command, Output};

fn grasp_sync(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grasp-sync")).args(arguments).env_clear().output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = grasp_sync(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A commit of everything in `folder`, by nobody's configuration.
fn commit(folder: &Path) {
    let git = |arguments: &[&str]| {
        let who = ["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"];
        let mut run = Command::new("git");
        run.arg("-C").arg(folder).args(who).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = run.output().expect("git is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands_and_their_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for word in ["healthcheck", "bootstrap", "data-dir"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(grasp_sync(&["completions", "csh"]).status.code(), Some(2));
}

#[test]
fn bash_reads_its_script() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("grasp-sync.bash");
    std::fs::write(&script, printed(&["completions", "bash"])).unwrap();
    let asked = "source \"$0\"; bound=$(complete -p grasp-sync); bound=${bound#*-F }; COMP_WORDS=(grasp-sync heal); COMP_CWORD=1; \
         ${bound%% *} grasp-sync heal grasp-sync; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", asked]).arg(&script).output().expect("bash is installed");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "healthcheck", "{output:?}");
}

#[test]
fn the_manual_is_printed_page_by_page_or_written_into_a_folder() {
    assert!(printed(&["man", "config", "show"]).contains(".TH grasp-sync-config-show 1"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(printed(&["man", "--dir", folder.path().to_str().unwrap()]), "");
    assert!(folder.path().join("grasp-sync-run.1").is_file());
    let unknown = grasp_sync(&["man", "runn"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(2), 0), "{unknown:?}");
    let taken = folder.path().join("grasp-sync.1");
    assert_eq!(grasp_sync(&["man", "--dir", taken.to_str().unwrap()]).status.code(), Some(1));
}

#[test]
fn the_version_says_what_it_was_built_from() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed(&["-V"]), format!("grasp-sync {version}\n"));
    let long = printed(&["--version"]);
    let lines: Vec<&str> = long.lines().collect();
    let [name, commit, rustc, target] = lines[..] else { panic!("{long}") };
    assert_eq!(name, format!("grasp-sync {version}"));
    let id = commit.strip_prefix("commit: ").unwrap();
    assert!(id == "none" || id.len() == 12, "{commit}");
    assert!(rustc.starts_with("rustc: 1."), "{rustc}");
    assert!(target.starts_with("target: ") && target.contains(std::env::consts::ARCH), "{target}");
}

#[test]
fn sources_under_version_control_know_their_commit_and_what_tells_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
    commit(folder.path());
    let first = checkout::of(folder.path()).unwrap();
    assert!(first.commit.len() == 12 && first.commit.chars().all(|digit| digit.is_ascii_hexdigit()), "{first:?}");
    assert!(!first.changes_with.is_empty() && first.changes_with.iter().all(|file| file.exists()), "{first:?}");
    let read = |files: &[std::path::PathBuf]| files.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>();
    let before = read(&first.changes_with);
    commit(folder.path());
    assert_ne!(read(&first.changes_with), before, "a commit that no watched file shows would never be noticed");
}

#[test]
fn unpacked_sources_have_no_commit_even_inside_somebody_elses_repository() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Cargo.toml"), "").unwrap();
    assert!(checkout::of(folder.path()).is_none());
    commit(folder.path());
    let unpacked = folder.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    std::fs::write(unpacked.join("Cargo.toml"), "").unwrap();
    assert!(checkout::of(&unpacked).is_none(), "it is not that repository's");
}
