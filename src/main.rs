//! Start-up and shutdown.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use relance::settings::Settings;

/// Serves YOLO image classifiers over HTTP.
///
/// Every option can also be set by the environment variable shown beside it.
#[derive(Parser)]
#[command(name = "relance", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (what happens without a command)
    Serve(Box<Settings>),
    /// Classify files and folders, without a server
    Classify(Box<commands::classify::Args>),
    /// Ask the instance on this machine whether it is ready; exits 0 if it is (for container probes)
    Healthcheck(commands::healthcheck::Args),
    /// Make an API key: prints the key once, and the entry for `API_KEYS`
    Key(commands::key::Args),
    /// Print the OpenAPI description
    Openapi,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => commands::serve::run(cli.settings),
        Some(Command::Classify(args)) => return exit(commands::classify::run(&args)),
        Some(Command::Serve(settings)) => commands::serve::run(*settings),
        Some(Command::Healthcheck(args)) => commands::healthcheck::run(&args),
        Some(Command::Key(args)) => commands::key::run(&args),
        Some(Command::Openapi) => commands::openapi(),
    };
    exit(outcome.map(|()| ExitCode::SUCCESS))
}

fn exit(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("relance: {error:#}");
            ExitCode::FAILURE
        }
    }
}
