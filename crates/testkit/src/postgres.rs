//! A throw-away Postgres: one server for all tests of a process, one database for each.
//!
//! It listens on a loopback port, keeps nothing safe (fsync is off), and is gone with the process that started it, however
//! that ends: a shell waits for the end of a pipe that only this process holds open, then stops the server and removes its
//! files. Postgres refuses to run as root; root's tests run it as `nobody`.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is said when there is none to start.
const INSTALLED_BY: &str = "scripts/install-test-servers";

/// From the start of the process to the first answer, on a machine that is busy with other tests.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Where distributions and builds from source put a server that is not on the path.
const OFF_THE_PATH: [&str; 2] = ["/usr/lib/postgresql", "/usr/local/pgsql"];

const USER: &str = "test";

/// Runs the server (`$2…`) until standard input ends, then stops it at once and removes its directory (`$1`).
const LIFE: &str =
    r#"directory=$1; shift; "$@" & server=$!; cat >/dev/null; kill -QUIT "$server"; wait "$server"; rm -rf "$directory""#;

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The running server. Nobody drops it: the end of the process closes the pipe.
#[derive(Debug)]
struct Server {
    programs: PathBuf,
    port: u16,
    _life: Child,
}

/// A user that may run a server.
struct Account {
    user: u32,
    group: u32,
}

/// Makes an empty database on the server of this process, which the first call starts; answers with its URL.
///
/// # Panics
/// When Postgres is not installed (the message names the command), or does not come up.
#[must_use]
pub fn database() -> String {
    let server = SERVER.get_or_init(start);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server.run(&format!("CREATE DATABASE {name}")).unwrap_or_else(|said| panic!("cannot make a database: {said}"));
    format!("postgres://{USER}@127.0.0.1:{}/{name}?sslmode=disable", server.port)
}

fn start() -> Server {
    let programs = programs(&path_directories()).unwrap_or_else(|| {
        panic!("no Postgres server (initdb, postgres, psql) is installed: run {INSTALLED_BY} from the top of the repository")
    });
    let account = unprivileged();
    let port = crate::free_port();
    let directory = server_directory(account.as_ref(), port);
    let data = directory.join("data");
    let mut initdb = command_as(account.as_ref(), &programs.join("initdb"));
    initdb.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale", "--username", USER, "--pgdata"]).arg(&data);
    checked(&mut initdb).unwrap_or_else(|said| panic!("initdb failed: {said}"));
    let log = directory.join("log");
    let life = live(&server_command(account.as_ref(), &programs, &data, port), &directory, &log);
    let mut server = Server { programs, port, _life: life };
    server.wait_until_ready(&log);
    server
}

fn server_command(account: Option<&Account>, programs: &Path, data: &Path, port: u16) -> Command {
    let mut command = command_as(account, &programs.join("postgres"));
    command.arg("-D").arg(data).arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
        "max_connections=300",
    ] {
        command.args(["-c", setting]);
    }
    command
}

/// Starts the shell that keeps the server alive, in a process group of its own: what a terminal sends is not meant for it.
fn live(server: &Command, directory: &Path, log: &Path) -> Child {
    let output = File::create(log).expect("the log can be written");
    let errors = output.try_clone().expect("a file handle can be doubled");
    let mut shell = Command::new("sh");
    shell.args(["-c", LIFE, "sh"]).arg(directory).arg(server.get_program()).args(server.get_args());
    shell.stdin(Stdio::piped()).stdout(output).stderr(errors).process_group(0);
    shell.spawn().expect("a shell can be started")
}

impl Server {
    fn wait_until_ready(&mut self, log: &Path) {
        let deadline = Instant::now() + READY_LIMIT;
        while let Err(said) = self.run("SELECT 1") {
            let words = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < deadline, "Postgres is not ready after {READY_LIMIT:?}: {said}\n{}", words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&self, sql: &str) -> Result<(), String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-h", "127.0.0.1", "-U", USER, "-d", "postgres", "-c", sql])
            .arg("-p")
            .arg(self.port.to_string());
        checked(&mut psql)
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
    fn every_database_is_another_one_on_the_same_server() {
        let (one, other) = (database(), database());
        assert_ne!(one, other);
        let server = |url: &str| url.rsplit_once('/').unwrap().0.to_owned();
        assert_eq!(server(&one), server(&other));
        let server = SERVER.get().unwrap();
        assert!(server.run("SELECT 1 FROM no_such_table").unwrap_err().contains("no_such_table"), "it answers");
    }

    #[test]
    fn a_server_ends_with_the_pipe_and_leaves_no_files() {
        let directory = tempfile::tempdir().unwrap();
        let of_the_server = directory.path().join("server");
        std::fs::create_dir(&of_the_server).unwrap();
        // A shell's background child ignores SIGQUIT until it sets a handler, as Postgres does.
        let mut sleeper = Command::new("env");
        sleeper.args(["--default-signal=QUIT", "sleep", "60"]);
        let mut life = live(&sleeper, &of_the_server, &directory.path().join("log"));
        drop(life.stdin.take());
        let ended = life.wait().unwrap();
        assert!(ended.success() && !of_the_server.exists(), "{ended}");
    }

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
