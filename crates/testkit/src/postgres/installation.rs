//! The Postgres that is installed here: where its programs are, whom they may run as, where they may keep their data.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is said when there is none to start.
const INSTALLED_BY: &str = "scripts/install-test-servers";

/// Where distributions and builds from source put a server that is not on the path.
const OFF_THE_PATH: [&str; 2] = ["/usr/lib/postgresql", "/usr/local/pgsql"];

/// The one user of every server, who may do everything and needs no password.
const USER: &str = "test";

/// The programs, and the user that they run as.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    programs: PathBuf,
    account: Option<Account>,
}

/// A user that may run a server.
#[derive(Debug, Clone)]
struct Account {
    user: u32,
    group: u32,
}

/// The URL of a database at a `host:port`.
pub(super) fn url(addr: &str, database: &str) -> String {
    format!("postgres://{USER}@{addr}/{database}?sslmode=disable")
}

impl Installation {
    /// # Panics
    /// When there is none; with the command that installs it.
    pub(super) fn find() -> Self {
        let programs = programs(&path_directories()).unwrap_or_else(|| {
            panic!(
                "no Postgres server (initdb, postgres, psql) is installed: run {INSTALLED_BY} from the top of the repository"
            )
        });
        Self { programs, account: unprivileged() }
    }

    /// Makes a directory with an empty cluster in it.
    pub(super) fn new_cluster(&self, port: u16) -> PathBuf {
        let directory = server_directory(self.account.as_ref(), port);
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale", "--username", USER, "--pgdata"]);
        checked(initdb.arg(directory.join("data"))).unwrap_or_else(|said| panic!("initdb failed: {said}"));
        directory
    }

    /// The server of a cluster, on a loopback port. What it has committed survives its own death, not that of the machine.
    pub(super) fn server(&self, directory: &Path, port: u16) -> Command {
        let mut command = self.command("postgres");
        command.arg("-D").arg(directory.join("data")).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
            "max_connections=300",
        ] {
            command.args(["-c", setting]);
        }
        command
    }

    /// Runs one statement on the server at a port; an error is in the server's words.
    pub(super) fn run(&self, port: u16, sql: &str) -> Result<(), String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-h", "127.0.0.1", "-U", USER, "-d", "postgres", "-c", sql]).arg("-p").arg(port.to_string());
        checked(&mut psql)
    }

    fn command(&self, program: &str) -> Command {
        command_as(self.account.as_ref(), &self.programs.join(program))
    }
}

fn checked(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn path_directories() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// The directory that holds every program we need: links on the path are followed, then the usual places are looked
/// through, the newest version first.
fn programs(path: &[PathBuf]) -> Option<PathBuf> {
    let linked = |directory: &PathBuf| Some(directory.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    let on_the_path = path.iter().filter_map(linked);
    let elsewhere = OFF_THE_PATH.iter().flat_map(|top| versions(Path::new(top)));
    on_the_path.chain(elsewhere).find(|directory| ["initdb", "postgres", "psql"].iter().all(|one| directory.join(one).exists()))
}

fn versions(top: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> =
        entries.map(|entry| (entry.file_name().to_string_lossy().parse().unwrap_or(0), entry.path().join("bin"))).collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, bin)| bin).chain([top.join("bin")]).collect()
}

/// Whom the server runs as when we are root.
fn unprivileged() -> Option<Account> {
    (number_of(&["-u"]) == 0).then(|| Account { user: number_of(&["-u", "nobody"]), group: number_of(&["-g", "nobody"]) })
}

fn number_of(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id can be run");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("id {arguments:?} gave no number"))
}

fn command_as(account: Option<&Account>, program: &Path) -> Command {
    let Some(Account { user, group }) = account else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg("--").arg(program);
    command
}

/// A directory that the server's user can enter and write: among the other test servers, or else a temporary one.
fn server_directory(account: Option<&Account>, port: u16) -> PathBuf {
    let name = format!("postgres-{}-{port}", std::process::id());
    let places = [crate::server_process::servers_directory(), std::env::temp_dir()];
    let usable = |place: &PathBuf| {
        let directory = place.join(&name);
        std::fs::create_dir_all(&directory).ok()?;
        let directory = directory.canonicalize().ok()?;
        if let Some(Account { user, group }) = account {
            std::os::unix::fs::chown(&directory, Some(*user), Some(*group)).ok()?;
        }
        let entered = checked(command_as(account, Path::new("touch")).arg(directory.join("entered")));
        entered.ok().map(|()| directory)
    };
    places.iter().find_map(usable).expect("the server's user can write a temporary directory")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_version_off_the_path_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        for version in ["9", "17", "16"] {
            std::fs::create_dir_all(directory.path().join(version)).unwrap();
        }
        let newest = versions(directory.path()).into_iter().next().unwrap();
        assert_eq!(newest, directory.path().join("17/bin"));
    }
}
