//! The command line: what is typed, as values. Runs nothing and judges no setting; `config` does that for all layers.

mod bench;
mod demo;
mod verify;

use std::borrow::Cow;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{FlagValue, Key, Secret, Value};
use crate::exit::Exit;
use crate::telemetry;
pub use bench::{
    BenchOutput, BenchWork, DensityArgs, HistoryArgs, LedgerArgs, LineArgs, LiveArgs, NetworkPlan, PlannerArgs, RestartArgs,
    ResyncArgs,
};
pub use demo::{CheckArgs, DemoArgs, NetworkArgs, Part, PublishArgs, Separately, ServeArgs, SizeArgs};
pub use verify::VerifyArgs;

/// Keeps a Nostr relay complete.
///
/// grasp-sync finds the git repositories that a relay (home) hosts, finds every other relay on which they live, and
/// brings all their events home: history first, proved complete, then live, for ever.
#[derive(Clone, Debug, Parser)]
#[command(name = "grasp-sync", version, long_version = BUILT, after_long_help = long_help_tail())]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Keep home complete until a signal asks for an end
    #[command(after_help = RUN_EXAMPLES)]
    Run(SettingFlags),
    /// Sync a made-up network inside this process, without any network, and count what arrived
    #[command(after_help = demo::EXAMPLES)]
    Demo(DemoArgs),
    /// Measure the system against relays of its own, or against yours
    #[command(subcommand, after_help = bench::EXAMPLES)]
    Bench(BenchWork),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show how complete home is
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Say what is known of one event, repository or upstream, and why it stands as it does
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Compare home with every relay that its announcements name: what does it lack, and why? For any relay, without a fleet
    #[command(after_help = verify::EXAMPLES)]
    Verify(VerifyArgs),
    /// Bring the schema of the database up to date, before the processes of a fleet start
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(SettingFlags),
    /// Look at everything that this configuration needs, and say what is risky or wrong, with its remedy; changes nothing
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Ask the process that runs with this configuration whether it is ready: 0 if so, else 1 and why on stderr
    #[command(after_help = HEALTHCHECK_EXAMPLES)]
    Healthcheck(SettingFlags),
    /// Print what a shell reads to complete this command line
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// bash, elvish, fish, powershell or zsh
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page of a command, or write those of all commands into a folder
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

impl Command {
    /// The words that it is called with.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Demo(_) => "demo",
            Self::Bench(_) => "bench",
            Self::Config(ConfigCommand::Show(_)) => "config show",
            Self::Status(_) => "status",
            Self::Explain(_) => "explain",
            Self::Verify(_) => "verify",
            Self::Migrate(_) => "migrate",
            Self::Doctor(_) => "doctor",
            Self::Healthcheck(_) => "healthcheck",
            Self::Completions { .. } => "completions",
            Self::Man(_) => "man",
        }
    }
}

/// What is to be done with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration and where each value comes from
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
}

/// Settings that have a flag. A flag is stronger than the environment, which is stronger than the file.
#[derive(Clone, Default, Debug, Args)]
pub struct SettingFlags {
    /// The relay to keep complete: its URL, or builtin for a relay inside this process [env: GRASP_SYNC_HOME]
    #[arg(long, value_name = "URL|builtin")]
    pub home: Option<String>,
    /// An upstream to pull from whatever the announcements say; ws://, any port and any host; repeatable [env:
    /// GRASP_SYNC_BOOTSTRAP, separated by blanks or commas]
    #[arg(long, value_name = "URL")]
    pub bootstrap: Vec<String>,
    /// The directory of everything that survives a restart [env: GRASP_SYNC_DATA_DIR] [default: ./grasp-sync-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The Postgres database that holds the state: postgres://user:password@host:port/database; without it, the state is a
    /// SQLite file in the data directory [env: GRASP_SYNC_DATABASE_URL, or GRASP_SYNC_DATABASE_URL_FILE]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<Secret>,
    /// The NATS server on which the processes of a fleet meet: nats://user:password@host:port, or tls:// [env:
    /// GRASP_SYNC_NATS_URL, or GRASP_SYNC_NATS_URL_FILE]
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<Secret>,
    /// Which services run in this process: all, state, planner or connector [env: GRASP_SYNC_ROLE] [default: all]
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// The config file (TOML) [env: GRASP_SYNC_CONFIG] [default: ./grasp-sync.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A network that is not public, in which announced upstreams are dialed all the same; repeatable [env:
    /// GRASP_SYNC_ALLOW_NON_PUBLIC, separated by blanks or commas]
    #[arg(long, value_name = "CIDR")]
    pub allow_non_public: Vec<String>,
    /// Where the page, /livez, /readyz and /metrics are served [env: GRASP_SYNC_LISTEN] [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
}

/// How much is logged.
#[derive(Clone, Copy, Default, Debug, Args)]
pub struct Verbosity {
    /// Log more, to stderr: -v debug, -vv trace [env: GRASP_SYNC_LOG, a level or a list like info,connector=debug]
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Log less: -q warnings and errors, -qq errors, -qqq nothing
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub quiet: u8,
}

/// How the configuration is shown.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Print one JSON document instead of TOML
    #[arg(long)]
    pub json: bool,
}

/// How the status is shown.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
    /// Show it again every two seconds, until Ctrl-C: redrawn on a terminal, block after block elsewhere, with --json a line each
    #[arg(long)]
    pub watch: bool,
}

/// How the findings are shown.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Print one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

/// What is explained, and how.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// An upstream's URL, an event (64 hex digits, note1…, nevent1…) or a repository (30617:<pubkey>:<identifier>, naddr1…)
    #[arg(value_name = "WHAT")]
    pub what: String,
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// Which pages of the manual are wanted.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// The command, in its words; without one it is the page of grasp-sync itself
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write every page into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// What `--version` says; `-V` says its first line.
const BUILT: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("GRASP_SYNC_COMMIT"),
    "\nrustc: ",
    env!("GRASP_SYNC_RUSTC"),
    "\ntarget: ",
    env!("GRASP_SYNC_TARGET"),
);

const RUN_EXAMPLES: &str = "\
Examples:
  grasp-sync run --home wss://relay.example
  grasp-sync run --home ws://localhost:7777 --bootstrap wss://other.example --bootstrap wss://third.example
  grasp-sync run --config /etc/grasp-sync.toml -v
  GRASP_SYNC_HOME=builtin grasp-sync run --data-dir /var/lib/grasp-sync
  GRASP_SYNC_NATS_URL_FILE=/run/secrets/nats grasp-sync run --role connector --home wss://relay.example";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  grasp-sync migrate --database-url postgres://sync@db.example/sync
  GRASP_SYNC_DATABASE_URL_FILE=/run/secrets/database grasp-sync migrate

A process in role all brings its schema up to date by itself; one in role state waits until this command has done it.
Without a database URL it is the SQLite file in the data directory.";

const SHOW_EXAMPLES: &str = "\
Examples:
  grasp-sync config show
  grasp-sync config show > grasp-sync.toml
  grasp-sync config show --config /etc/grasp-sync.toml --json";

const STATUS_EXAMPLES: &str = "\
Examples:
  grasp-sync status
  grasp-sync status --watch
  grasp-sync status --data-dir /var/lib/grasp-sync --json";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  grasp-sync explain wss://relay.example
  grasp-sync explain 30617:aa4fc8665f5696e33db7e1a572e3b0f5b3d615837b0f362dcb1c8068b098c7b4:project
  grasp-sync explain --data-dir /var/lib/grasp-sync --json nevent1…

Ends with 8 if nothing is known of it; what is printed then says where it would be expected.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  grasp-sync doctor --home wss://relay.example
  grasp-sync doctor --config /etc/grasp-sync.toml --json

Ends with 10 if there is something without which the system does not work; what is only risky is said, and ends with 0.";

const HEALTHCHECK_EXAMPLES: &str = "\
Examples:
  grasp-sync healthcheck
  grasp-sync healthcheck --config /etc/grasp-sync.toml
  grasp-sync healthcheck --listen 127.0.0.1:9465";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  grasp-sync completions bash > /usr/share/bash-completion/completions/grasp-sync
  grasp-sync completions zsh > /usr/share/zsh/site-functions/_grasp-sync
  grasp-sync completions fish > ~/.config/fish/completions/grasp-sync.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  grasp-sync man run | man -l -
  grasp-sync man --dir /usr/local/share/man/man1";

fn long_help_tail() -> String {
    format!(
        "\
Examples:
  grasp-sync demo
  grasp-sync run --home wss://relay.example --bootstrap wss://other.example
  grasp-sync config show

Settings come from flags, then the environment (GRASP_SYNC_…), then the config file, then defaults. A variable
with _FILE behind its name holds the path of a file with the value, for secrets.
Data goes to stdout, logs and errors to stderr.

Exit codes:
{}",
        Exit::table()
    )
}

impl SettingFlags {
    /// The settings that were given, in the words of the configuration.
    pub fn values(&self) -> Vec<FlagValue> {
        let text = |key, flag, text: &Option<String>| {
            let value = Value::Text(Cow::Owned(text.clone()?));
            Some(FlagValue { key, flag, value })
        };
        let bootstrap = (!self.bootstrap.is_empty()).then(|| FlagValue {
            key: Key::Bootstrap,
            flag: "--bootstrap",
            value: Value::List(self.bootstrap.clone()),
        });
        let allow = (!self.allow_non_public.is_empty()).then(|| FlagValue {
            key: Key::AllowNonPublic,
            flag: "--allow-non-public",
            value: Value::List(self.allow_non_public.clone()),
        });
        let secret = |key, flag, secret: &Option<Secret>| {
            let value = Value::Secret(secret.clone()?);
            Some(FlagValue { key, flag, value })
        };
        let given = [
            text(Key::Home, "--home", &self.home),
            text(Key::DataDir, "--data-dir", &self.data_dir),
            secret(Key::DatabaseUrl, "--database-url", &self.database_url),
            secret(Key::NatsUrl, "--nats-url", &self.nats_url),
            text(Key::Role, "--role", &self.role),
            text(Key::Listen, "--listen", &self.listen),
            bootstrap,
            allow,
        ];
        given.into_iter().flatten().collect()
    }
}

impl Verbosity {
    /// The log filter that the flags ask for, if they do.
    pub fn values(self) -> Vec<FlagValue> {
        let flag = if self.verbose > self.quiet { "-v" } else { "-q" };
        telemetry::filter_for(self.verbose, self.quiet)
            .map(|filter| FlagValue { key: Key::Log, flag, value: Value::Text(Cow::Borrowed(filter)) })
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::config::SETTINGS;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_exists_and_says_which_variable_sets_it_too() {
        let mut cli = Cli::command();
        cli.build();
        let run = cli.find_subcommand("run").unwrap();
        for setting in &SETTINGS {
            let Some(flag) = setting.flag else { continue };
            let is_this = |arg: &&clap::Arg| {
                let long = arg.get_long().map(|long| format!("--{long}"));
                let short = arg.get_short().map(|short| format!("-{short}"));
                long.as_deref() == Some(flag) || short.as_deref() == Some(flag)
            };
            let arg = run.get_arguments().find(is_this).expect(flag);
            let help = arg.get_help().unwrap().to_string();
            assert!(help.contains(setting.env), "{flag}: {help}");
        }
    }

    #[test]
    fn flags_become_values_under_the_flag_that_was_typed() {
        let typed = "grasp-sync run --home builtin --bootstrap a --bootstrap b --allow-non-public 127.0.0.0/8 -vv \
             --role state --nats-url nats://bus --database-url postgres:///sync --listen [::1]:0";
        let cli = Cli::parse_from(typed.split(' '));
        let Command::Run(flags) = &cli.command else { panic!("{cli:?}") };
        let given: Vec<_> = flags.values().into_iter().map(|given| (given.flag, given.value)).collect();
        let expected = [
            ("--home", Value::Text("builtin".into())),
            ("--database-url", Value::Secret("postgres:///sync".to_owned().into())),
            ("--nats-url", Value::Secret("nats://bus".to_owned().into())),
            ("--role", Value::Text("state".into())),
            ("--listen", Value::Text("[::1]:0".into())),
            ("--bootstrap", Value::List(vec!["a".to_owned(), "b".to_owned()])),
            ("--allow-non-public", Value::List(vec!["127.0.0.0/8".to_owned()])),
        ];
        assert_eq!(given, expected);
        assert_eq!(cli.verbosity.values()[0].flag, "-v");
    }

    #[test]
    fn every_exit_code_is_in_the_long_help() {
        let help = Cli::command().render_long_help().to_string();
        for exit in Exit::ALL {
            let line = format!("{:>3}  {}", exit.code(), exit.meaning());
            assert!(help.contains(&line), "{line}");
        }
    }
}
