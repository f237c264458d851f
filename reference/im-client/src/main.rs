//! The `im` command: chat, send, listen and inspect from a terminal or a script.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod chat;
mod cli;
mod inspect;
mod listen;
mod print;
mod send;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Quiet unless RUST_LOG asks: stdout belongs to the messages, stderr to the notices.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();

    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("im: cannot start the runtime: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run(&cli)).unwrap_or_else(|error| {
        eprintln!("im: {error}");
        Exit::Failed
    });
    // A read of stdin may still be blocked; waiting for it would hang the command.
    runtime.shutdown_background();
    exit.into()
}

async fn run(cli: &Cli) -> Result<Exit, Box<dyn std::error::Error>> {
    match &cli.command {
        Command::Chat(args) => chat::run(args).await,
        Command::Send(args) => send::run(args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::Inspect(args) => inspect::run(args),
    }
}
