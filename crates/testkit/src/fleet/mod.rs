//! A fleet on this machine: Postgres and NATS of its own, and any number of processes of the real binary, each killed, stopped or
//! cut off at will.
//!
//! It knows the binary by its path, its settings by their names in the environment, and its store by its tables; nothing that it
//! starts may look up a name or dial beyond the loopback. Whether a fleet has done well is judged by its tests.

mod process;
mod tables;

pub use process::{Ended, Process, Reply};
pub use tables::{names_to_look_for, tables_of_postgres, tables_of_sqlite};

use crate::{ChaosProxy, Nats, PostgresServer};
use process::Recipe;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What every process is told, unless a test tells it otherwise. Leases as short as operators may have them, for tests wait for
/// them to end.
const SETTINGS: [(&str, &str); 6] = [
    ("GRASP_SYNC_ALLOW_NON_PUBLIC", "127.0.0.0/8"),
    ("GRASP_SYNC_LOOK_UP_NAMES", "false"),
    ("GRASP_SYNC_DISCOVERY_WINDOW", "200ms"),
    ("GRASP_SYNC_LEASE_TTL", "6s"),
    ("GRASP_SYNC_LEASE_BEAT", "2s"),
    ("GRASP_SYNC_LOG", "info"),
];

/// What a process of a fleet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Owns the database.
    State,
    /// Decides what is asked for.
    Planner,
    /// Holds the sockets to relays.
    Connector,
}

impl Role {
    /// The role in the words of the binary.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Planner => "planner",
            Self::Connector => "connector",
        }
    }
}

/// What is particular about one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wiring<'a> {
    /// It reaches NATS through this.
    pub nats: Option<&'a ChaosProxy>,
    /// It reaches Postgres through this; only a state does.
    pub postgres: Option<&'a ChaosProxy>,
    /// Variables of its environment; they win over all others.
    pub settings: &'a [(&'a str, &'a str)],
}

/// What a fleet is to be like.
#[derive(Debug, Clone)]
pub struct Blueprint {
    binary: PathBuf,
    home: String,
    bootstrap: Vec<String>,
    settings: BTreeMap<String, String>,
}

/// A running fleet. Dropping it kills every process that it has started, then its servers, and removes their files.
#[derive(Debug)]
pub struct Fleet {
    blueprint: Blueprint,
    started: Vec<Process>,
    /// Its database server, to be stopped and killed by the test.
    pub postgres: PostgresServer,
    /// Its bus, to be killed and wiped by the test.
    pub nats: Nats,
    directory: TempDir,
}

impl Fleet {
    /// A fleet of this program (`env!("CARGO_BIN_EXE_…")`), to be described further and started.
    pub fn of(binary: impl AsRef<Path>) -> Blueprint {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Blueprint { binary: binary.as_ref().to_owned(), home: String::new(), bootstrap: Vec::new(), settings }
    }

    /// Starts one more process, and does not wait until it is ready.
    pub fn add(&mut self, role: Role) -> Process {
        self.add_with(role, Wiring::default())
    }

    /// Starts one more process, wired in a way of its own.
    pub fn add_with(&mut self, role: Role, wiring: Wiring<'_>) -> Process {
        let name = format!("{}-{}", role.as_str(), self.started.len() + 1);
        let addr = format!("127.0.0.1:{}", crate::free_port());
        let settings = self.settings_of(role, &name, &addr, wiring);
        self.run(Recipe { name, addr, settings })
    }

    /// Starts a process that has ended once more: under the same name, on the same port, wired as it was.
    ///
    /// # Panics
    /// While it runs.
    pub fn start_again(&mut self, ended: &Process) -> Process {
        assert!(!ended.is_running(), "{} runs already", ended.name());
        self.run(ended.recipe().clone())
    }

    /// Every process that was ever started, in that order.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.started
    }

    /// Runs SQL on the fleet's database, past any proxy. A row is its columns as text, between `|`; NULL is `NULL`.
    ///
    /// # Panics
    /// When the database cannot be reached or refuses it.
    pub async fn sql(&self, statement: &str) -> Vec<String> {
        tables::rows_of(&self.postgres.url(), statement).await
    }

    /// The tables that hold what a sync has come to, as text: equal to those of any other deployment, or embedded process
    /// ([`tables_of_sqlite`]), that has settled on the same network.
    ///
    /// # Panics
    /// When the database cannot be read.
    pub async fn final_tables(&self) -> String {
        tables_of_postgres(&self.postgres.url()).await
    }

    fn run(&mut self, recipe: Recipe) -> Process {
        let log = self.directory.path().join(format!("{}-{}.log", self.started.len() + 1, recipe.name));
        let process = Process::start(&self.blueprint.binary, recipe, log);
        self.started.push(process.clone());
        process
    }

    fn settings_of(&self, role: Role, name: &str, addr: &str, wiring: Wiring<'_>) -> BTreeMap<String, String> {
        let nats = wiring.nats.map_or_else(|| self.nats.url(), |proxy| format!("nats://{}", proxy.addr()));
        let mut own = vec![
            ("GRASP_SYNC_ROLE", role.as_str().to_owned()),
            ("GRASP_SYNC_NAME", name.to_owned()),
            ("GRASP_SYNC_LISTEN", addr.to_owned()),
            ("GRASP_SYNC_NATS_URL", nats),
        ];
        if role == Role::State {
            let through = wiring.postgres.map_or_else(|| self.postgres.addr(), ChaosProxy::addr);
            own.push(("GRASP_SYNC_DATABASE_URL", self.postgres.url_at(&through)));
            own.push(("GRASP_SYNC_BOOTSTRAP", self.blueprint.bootstrap.join(" ")));
        }
        if role != Role::Planner {
            own.push(("GRASP_SYNC_HOME", self.blueprint.home.clone()));
        }
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.blueprint.settings.clone()).chain(wiring.settings.iter().map(owned)).collect()
    }

    /// Runs `<binary> migrate` to its end.
    async fn migrate(&self) {
        let mut settings = self.blueprint.settings.clone();
        settings.insert("GRASP_SYNC_DATABASE_URL".to_owned(), self.postgres.url());
        let recipe = Recipe { name: "migrate".to_owned(), addr: String::new(), settings };
        let migrate =
            Process::start_command(&self.blueprint.binary, "migrate", recipe, self.directory.path().join("migrate.log"));
        let ended = migrate.ends().await;
        assert!(ended.status.success(), "migrate ended with {}:\n{}", ended.status, migrate.log());
    }
}

impl Blueprint {
    /// The home relay's URL.
    #[must_use]
    pub fn keeping(mut self, home: &str) -> Self {
        home.clone_into(&mut self.home);
        self
    }

    /// More bootstrap relays.
    #[must_use]
    pub fn pulling_from(mut self, bootstrap: &[String]) -> Self {
        self.bootstrap.extend_from_slice(bootstrap);
        self
    }

    /// A variable of every process's environment.
    #[must_use]
    pub fn with(mut self, setting: &str, value: &str) -> Self {
        self.settings.insert(setting.to_owned(), value.to_owned());
        self
    }

    /// Starts Postgres and NATS and prepares the database; no process runs yet.
    ///
    /// # Panics
    /// When a server is not installed or does not come up, or when `migrate` fails.
    pub async fn started(self) -> Fleet {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (postgres, nats) = tokio::join!(PostgresServer::start(), Nats::start());
        let fleet = Fleet { blueprint: self, started: Vec::new(), postgres, nats, directory };
        fleet.migrate().await;
        fleet
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.started.iter().for_each(Process::tell_last_words);
        }
        self.started.iter().for_each(Process::kill_at_once);
    }
}
