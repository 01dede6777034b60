//! The binary: command line → configuration → command → exit code. Decides nothing else.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Error;
use clap::Parser;
use grasp_sync::cli::{Cli, Command, ConfigCommand, SettingFlags, ShowArgs, Verbosity};
use grasp_sync::config::{Config, Effective, Key, Sources, find_file};
use grasp_sync::exit::Exit;
use grasp_sync::lifecycle::Shutdown;
use grasp_sync::telemetry::SetUp;
use grasp_sync::{bench, demo, doctor, explain, healthcheck, manual, migrate, output, run, status, telemetry, verify};

/// An error and the code that it ends the process with.
type Failed = (Exit, Error);

/// How long a command that is over waits for its blocking threads (files, name look-ups).
const RUNTIME_GRACE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.name();
    let exit = execute(cli).unwrap_or_else(|(exit, error)| {
        output::complain(&format!("{error:#}"));
        exit
    });
    exit.of(command).into()
}

fn execute(cli: Cli) -> Result<Exit, Failed> {
    let verbosity = cli.verbosity;
    match cli.command {
        Command::Config(ConfigCommand::Show(args)) => show(&args, verbosity),
        Command::Run(flags) => {
            let config = effective(&flags, verbosity).config().map_err(usage)?;
            let telemetry = telemetry::init(set_up(&config)).map_err(unexpected)?;
            let metrics = telemetry.metrics();
            // However it ends, `telemetry` is dropped after it, and flushes.
            block_on(async |shutdown| {
                let ended = run::run(config, metrics, shutdown).await;
                ended.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Demo(args) => {
            start_demo_log(verbosity)?;
            block_on(async |shutdown| {
                let ended = demo::demo(args, shutdown).await;
                ended.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Bench(work) => {
            start_demo_log(verbosity)?;
            block_on(async |shutdown| {
                let ended = bench::bench(work, &shutdown).await;
                ended.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Status(args) => {
            let places = effective(&args.settings, verbosity).places().map_err(usage)?;
            let manner = status::Manner { json: args.json, watch: args.watch };
            block_on(async |shutdown| {
                let shown = status::show(&places, manner, &shutdown.soft).await;
                shown.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Explain(args) => {
            let places = effective(&args.settings, verbosity).places().map_err(usage)?;
            block_on(async |_| {
                let shown = explain::show(&places, &args.what, args.json).await;
                shown.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Verify(args) => {
            let config = effective(&args.settings, verbosity).config().map_err(usage)?;
            block_on(async |shutdown| {
                let verified = verify::verify(&config, &args.wanted(), shutdown).await;
                verified.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Migrate(flags) => {
            let places = effective(&flags, verbosity).places().map_err(usage)?;
            block_on(async |_| {
                let migrated = migrate::migrate(&places).await;
                migrated.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Doctor(args) => {
            let effective = effective(&args.settings, verbosity);
            block_on(async |_| {
                let looked = doctor::doctor(&effective, &environment(), args.json).await;
                looked.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Healthcheck(flags) => {
            let listen = effective(&flags, verbosity).listen().map_err(usage)?;
            block_on(async |_| {
                let asked = healthcheck::healthcheck(listen).await;
                asked.map_err(|error| (error.exit(), error.into()))
            })
        }
        Command::Completions { shell } => manual::completions(shell).map_err(|error| (error.exit(), error.into())),
        Command::Man(args) => manual::man(&args).map_err(|error| (error.exit(), error.into())),
    }
}

fn show(args: &ShowArgs, verbosity: Verbosity) -> Result<Exit, Failed> {
    let effective = effective(&args.settings, verbosity);
    effective.check().map_err(usage)?;
    let printed = if args.json { output::print_json(&effective.to_json()) } else { output::print(&effective.to_toml()) };
    printed.map(|()| Exit::Ok).map_err(unexpected)
}

fn set_up(config: &Config) -> SetUp<'_> {
    SetUp {
        filter: &config.log,
        format: config.log_format,
        otlp_endpoint: config.otlp_endpoint.as_deref(),
        role: config.role.as_str(),
    }
}

fn effective(flags: &SettingFlags, verbosity: Verbosity) -> Effective {
    let environment = environment();
    let file = find_file(flags.config.clone(), &environment, Path::new("."));
    let flags = [flags.values(), verbosity.values()].concat();
    Effective::gather(Sources { file, environment, flags })
}

/// A demonstration has a configuration of its own: environment and flags choose its log only.
fn start_demo_log(verbosity: Verbosity) -> Result<(), Failed> {
    let is_log = |(name, _): &(String, String)| name.starts_with("GRASP_SYNC_LOG");
    let mut environment: Vec<_> = environment().into_iter().filter(is_log).collect();
    let filter = Key::Log.setting().env;
    if !environment.iter().any(|(name, _)| name.strip_suffix("_FILE").unwrap_or(name) == filter) {
        // It shows its progress itself, so its log complains only.
        environment.push((filter.to_owned(), "warn".to_owned()));
    }
    let logging = Effective::gather(Sources { environment, flags: verbosity.values(), ..Sources::default() });
    let (filter, format) = logging.log().map_err(usage)?;
    telemetry::init_log(&filter, format).map_err(unexpected)
}

fn environment() -> Vec<(String, String)> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Runs a command until it ends or a second signal arrives.
fn block_on(command: impl AsyncFnOnce(Shutdown) -> Result<Exit, Failed>) -> Result<Exit, Failed> {
    let runtime = tokio::runtime::Runtime::new().map_err(unexpected)?;
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(unexpected)?;
        let hard = shutdown.hard.clone();
        tokio::select! {
            biased;
            () = hard.cancelled() => Ok(Exit::Aborted),
            ended = command(shutdown) => ended,
        }
    });
    match ended {
        Ok(Exit::Aborted) => runtime.shutdown_background(),
        _ => runtime.shutdown_timeout(RUNTIME_GRACE),
    }
    ended
}

fn usage(error: impl Into<Error>) -> Failed {
    (Exit::Usage, error.into())
}

fn unexpected(error: impl Into<Error>) -> Failed {
    (Exit::Failure, error.into())
}
