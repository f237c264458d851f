//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use im_client::{Credentials, FormatId, Options, ServerPublicKey, ServerUrl, SuiteId, Tls};

/// The client of the instant-messaging protocol.
#[derive(Debug, Parser)]
#[command(name = "im", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    refused, or the connection ended for good (stderr says why)
  2    wrong usage
  3    no answer in time: the outcome of the message is unknown (send)
  130  interrupted with Ctrl-C

With RUST_LOG=im_client=debug the connection's steps are logged to stderr.";

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Unknown,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unknown => 3,
            Exit::Interrupted => 130,
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Talk with a user: each line of stdin is a message, incoming ones are printed.
    #[command(after_help = EXIT_CODES)]
    Chat(ChatArgs),
    /// Send one message, print `stored seq=N id=M`, and exit.
    #[command(after_help = EXIT_CODES)]
    Send(SendArgs),
    /// Print what arrives, a line `CONVERSATION #SEQ FROM: TEXT` for each message, and ack it.
    #[command(after_help = EXIT_CODES)]
    Listen(ListenArgs),
    /// Print the fields of a packet given as hex, or say at which byte it is none and what to do. Needs no server.
    #[command(after_help = EXIT_CODES)]
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The user to talk with.
    #[arg(long, value_name = "USER")]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The user to send to.
    #[arg(long, value_name = "USER")]
    pub(crate) to: String,
    /// Give up after so many seconds without an outcome.
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    pub(crate) timeout: u64,
    /// The message; several words are joined with spaces, and `-` alone reads it from stdin.
    #[arg(required = true, value_name = "TEXT")]
    pub(crate) text: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Exit after so many messages, when their acks went out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The packet in hex digits, with or without white space; `-` alone reads it from stdin.
    #[arg(required = true, value_name = "HEX")]
    pub(crate) hex: Vec<String>,
}

/// What every subcommand that connects needs.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where the server is: tcp://host:port, ws://host:port/path or http://host:port; over TLS tcps, wss and https.
    #[arg(long, env = "IM_SERVER", value_name = "URL", default_value = "tcp://127.0.0.1:6001")]
    server: ServerUrl,
    /// The server's public key, 64 hex digits. The server prints it when it starts; ask its operator for it.
    #[arg(long, env = "IM_SERVER_KEY", value_name = "HEX")]
    server_key: ServerPublicKey,
    /// Trust only the authorities in this PEM file where the address asks for TLS; the public ones by default.
    #[arg(long, env = "IM_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Who logs in.
    #[arg(long, env = "IM_USER", value_name = "NAME")]
    user: String,
    /// The device's name, stable over runs: the server keeps what each device has. "cli-send" for send, else "cli".
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// The login token. As a flag it can be seen in the process list: prefer IM_TOKEN or --token-file.
    #[arg(long, env = "IM_TOKEN", hide_env_values = true, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the login token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Offer this suite, by name or id (AES-128-GCM, 18, ...). Repeat it in order of preference; all by default.
    #[arg(long, value_name = "NAME|ID", value_parser = parse_suite)]
    suite: Vec<SuiteId>,
    /// Offer this serialization: json, protobuf or msgpack. Repeat it in order of preference; all by default.
    #[arg(long, value_name = "NAME", value_parser = parse_format)]
    format: Vec<FormatId>,
}

const SUITES: [SuiteId; 3] = [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305];

fn parse_suite(text: &str) -> Result<SuiteId, String> {
    let wanted = |suite: &SuiteId| {
        text.parse() == Ok(suite.0) || suite.name().is_some_and(|name| name.eq_ignore_ascii_case(text))
    };
    SUITES.into_iter().find(wanted).ok_or_else(|| {
        let known: Vec<_> = SUITES.iter().map(ToString::to_string).collect();
        format!("known suites: {}", known.join(", "))
    })
}

fn parse_format(text: &str) -> Result<FormatId, String> {
    match text {
        "json" => Ok(FormatId::JSON),
        "protobuf" => Ok(FormatId::PROTOBUF),
        "msgpack" => Ok(FormatId::MSGPACK),
        _ => Err("known serializations: json, protobuf, msgpack".into()),
    }
}

impl Common {
    /// The client's options.
    pub(crate) fn options(&self, default_device: &str) -> Result<Options, String> {
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read the token from {}: {error}", path.display()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            None => self.token.clone().unwrap_or_default(),
        };
        let device = self.device.clone().unwrap_or_else(|| default_device.into());
        let credentials = Credentials { user: self.user.clone(), device, token };
        let mut options = Options::new(self.server.clone(), self.server_key, credentials);
        if let Some(path) = &self.ca_file {
            let pem =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            options =
                options.tls(Tls::authorities(pem.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?);
        }
        if !self.suite.is_empty() {
            options = options.suites(&self.suite);
        }
        if !self.format.is_empty() {
            options = options.formats(&self.format);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn suites_go_by_name_or_id() {
        assert_eq!(parse_suite("chacha20-poly1305"), Ok(SuiteId::CHACHA20_POLY1305));
        assert_eq!(parse_suite("17"), Ok(SuiteId::AES_256_GCM));
        assert!(parse_suite("RC4").unwrap_err().contains("AES-128-GCM (16)"));
        assert!(parse_suite("0").is_err() && parse_format("xml").is_err());
    }
}
