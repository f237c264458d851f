//! The `im-server` command.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod check;
mod cli;
mod control;
mod files;
mod maintain;
mod serve;
mod settings;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use im_server::ServiceKeys;
use im_server::auth::TokenIssuer;

use crate::cli::{Cli, Command, ServiceKeyArgs, TokenArgs};

/// Why the command failed: a message that says what to do, and the exit code.
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Something went wrong; the same command may work later.
    fn run(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The message store is damaged.
    fn damaged(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 3 }
    }

    /// The settings must change first.
    fn settings(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

fn main() -> ExitCode {
    let Cli { command, serve } = Cli::parse();
    let result = match command {
        None => serve::serve(&serve),
        Some(Command::Serve(args)) => serve::serve(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Token(args)) => token(&args),
        Some(Command::Verify(args)) => maintain::verify(&args),
        Some(Command::Backup(args)) => maintain::backup(&args),
        Some(Command::DeadLetters(args)) => maintain::dead_letters(&args),
        Some(Command::Key(args)) => {
            im_server::server_key(&args.data).map(|key| println!("{}", key.public())).map_err(Failure::from)
        }
        Some(Command::ServiceKey(args)) => service_key(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("im-server: {message}");
            ExitCode::from(code)
        }
    }
}

fn service_key(args: &ServiceKeyArgs) -> Result<(), Failure> {
    let made = ServiceKeys::generate(&args.name, &args.rights);
    let (key, line) = made.map_err(|error| Failure::settings(error.to_string()))?;
    println!("the key, which is shown once and for the service alone:\n{key}");
    println!("the line for the file that service_keys_file names; it takes effect at the next start:\n{line}");
    Ok(())
}

fn token(args: &TokenArgs) -> Result<(), Failure> {
    let (path, issuer) = match (&args.jwt_hs256_secret_file, &args.jwt_eddsa_private_key_file) {
        (Some(path), None) => (path, TokenIssuer::hs256(&files::read(path)?)),
        (None, Some(path)) => (path, TokenIssuer::eddsa(&files::read(path)?)),
        (None, None) => {
            return Err(Failure::settings(
                "there is nothing to sign a token with: set IM_JWT_HS256_SECRET_FILE or IM_JWT_EDDSA_PRIVATE_KEY_FILE",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Failure::settings("set either an HS256 secret or an EdDSA private key, not both"));
        }
    };
    let issuer = issuer.map_err(|error| Failure::settings(format!("{}: {error}", path.display())))?;
    let lifetime: Duration = args.ttl.0;
    let token = issuer.issue(&args.user, args.device.as_deref(), lifetime);
    println!("{}", token.map_err(|error| Failure::settings(error.to_string()))?);
    Ok(())
}
