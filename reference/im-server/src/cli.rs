//! The command line, and the environment variables that stand for its flags.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use im_server::Right;

use crate::settings::Options;

/// The reference instant-messaging server.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until SIGTERM or Ctrl-C; also what happens without a command
    Serve(ServeArgs),
    /// Say what is wrong with the settings, without starting; exit code 2 if something is
    Check(ServeArgs),
    /// Print a login token for a user
    Token(TokenArgs),
    /// Check every record of the message store; exit code 3 if something is damaged
    Verify(StoreArgs),
    /// Copy the message store in one state, from the running server or by itself if none runs
    Backup(BackupArgs),
    /// List the events for webhooks that were given up
    DeadLetters(DeadLettersArgs),
    /// Print the public key that clients pin, making the key if there is none
    Key(KeyArgs),
    /// Make a key for a service that uses the API, and the line for service_keys_file
    ServiceKey(ServiceKeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A file with settings in TOML; flags count more than variables, and both more than the file
    #[arg(long, env = "IM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The user that the token lets in
    pub(crate) user: String,
    /// How long it is good: a number with s, m, h or d
    #[arg(long, default_value = "30d")]
    pub(crate) ttl: Lifetime,
    /// Good for this device only
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Sign with the HS256 secret in this file
    #[arg(long, env = "IM_JWT_HS256_SECRET_FILE")]
    pub(crate) jwt_hs256_secret_file: Option<PathBuf>,
    /// Sign with the Ed25519 private key in this PEM file
    #[arg(long, env = "IM_JWT_EDDSA_PRIVATE_KEY_FILE")]
    pub(crate) jwt_eddsa_private_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// A file with settings in TOML, for its data
    #[arg(long, env = "IM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory
    #[arg(long, env = "IM_DATA")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Where the copy goes: a directory that does not exist yet, which the server may write to
    #[arg(long)]
    pub(crate) to: PathBuf,
    /// Copy server.key too: who has it can pass for the server
    #[arg(long)]
    pub(crate) with_key: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Send them again, behind the others
    #[arg(long)]
    pub(crate) retry: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Data directory with the server's key
    #[arg(long, env = "IM_DATA", default_value = "./im-data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceKeyArgs {
    /// Whose key it is: letters, digits, dots, dashes and underscores
    pub(crate) name: String,
    /// What it may do
    #[arg(long, value_delimiter = ',', default_value = "push,groups,users")]
    pub(crate) rights: Vec<Right>,
}

/// A time span like `90s`, `15m`, `12h` or `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(pub(crate) Duration);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
        units
            .into_iter()
            .find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, secs)))
            .and_then(|(number, secs)| number.parse::<u64>().ok()?.checked_mul(secs))
            .map(|secs| Self(Duration::from_secs(secs)))
            .ok_or_else(|| "give a number with s, m, h or d, like 12h or 30d".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lifetimes_need_a_unit() {
        assert_eq!("30d".parse(), Ok(Lifetime(Duration::from_secs(2_592_000))));
        assert_eq!("90s".parse(), Ok(Lifetime(Duration::from_secs(90))));
        for wrong in ["", "30", "d", "1.5h", "-1d", "99999999999999999999d", "1w"] {
            assert!(wrong.parse::<Lifetime>().is_err(), "{wrong}");
        }
    }
}
