//! `im-server serve`: from settings to a running server, and back down.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use im_server::Server;
use im_server::auth::{Authenticator, JwtAuthenticator, OpenLoopback};
use im_server::store::{FjallConfig, FjallStore, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::ServeArgs;
use crate::{Failure, files};

pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| Failure::settings(format!("the log filter {:?} is not one: {error}", args.log)))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?.block_on(run(args))
}

async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let tokens = token_verification(args)?;
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| {
        Failure::run(format!(
            "cannot listen on {}: {error}; choose another address with --listen or IM_LISTEN",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::run(error.to_string()))?;
    let verified = tokens.is_some();
    let authenticator = match tokens {
        Some(tokens) => Arc::new(tokens) as Arc<dyn Authenticator>,
        None => Arc::new(OpenLoopback::new(address).map_err(|error| Failure::settings(how_to_verify(&error)))?),
    };
    let key = files::server_key(&args.data)?;
    let store =
        FjallStore::open(&args.data, &FjallConfig::default()).map_err(|error| Failure::run(error.to_string()))?;
    let store: Arc<dyn Store> = Arc::new(store);
    let server = Server::builder(store, authenticator, key)
        .connections(args.max_connections, args.max_connections_per_address)
        .allow_origins(args.allow_origins.iter().cloned())
        .build()
        .map_err(|error| Failure::settings(error.to_string()))?;
    // Before the banner, so that whoever waits for it may send a signal.
    let stop = stop_signal().map_err(|error| Failure::run(format!("cannot wait for signals: {error}")))?;
    let banner = banner(args, address, &server.public_key().to_string(), verified);
    let mut stdout = std::io::stdout();
    // A closed stdout is no reason not to serve.
    let _ = stdout.write_all(banner.as_bytes()).and_then(|()| stdout.flush());

    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(listener).await }
    });
    let signal = stop.await;
    tracing::info!(signal, "stopping");
    let stopped = server.shutdown().await.map_err(|error| Failure::run(error.to_string()));
    match serving.await {
        Ok(Ok(())) => stopped,
        Ok(Err(error)) => Err(Failure::run(error.to_string())),
        Err(error) => Err(Failure::run(error.to_string())),
    }
}

fn token_verification(args: &ServeArgs) -> Result<Option<JwtAuthenticator>, Failure> {
    let (path, tokens) = match (&args.jwt_hs256_secret_file, &args.jwt_eddsa_public_key_file) {
        (Some(path), _) => (path, JwtAuthenticator::hs256(&files::read(path)?)),
        (None, Some(path)) => (path, JwtAuthenticator::eddsa(&files::read(path)?)),
        (None, None) => return Ok(None),
    };
    let tokens = tokens.map_err(|error| Failure::settings(format!("{}: {error}", path.display())))?;
    Ok(Some(match &args.jwt_audience {
        Some(audience) => tokens.audience(audience),
        None => tokens,
    }))
}

fn how_to_verify(error: &im_server::auth::NotLoopback) -> String {
    format!(
        "refusing to start: {error}.\n\
         Either listen on loopback only:\n\
         \x20   im-server --listen 127.0.0.1:6001\n\
         or verify login tokens:\n\
         \x20   (umask 077; openssl rand -hex 32 > im-secret)     # create a secret\n\
         \x20   export IM_JWT_HS256_SECRET_FILE=im-secret         # tell the server\n\
         \x20   im-server token alice --ttl 30d                   # issue a token for each user\n\
         With tokens of your own service, set IM_JWT_EDDSA_PUBLIC_KEY_FILE to its Ed25519 public key (PEM)."
    )
}

fn banner(args: &ServeArgs, address: SocketAddr, key: &str, verified: bool) -> String {
    // An unspecified address is one to listen on, not one to connect to.
    let mut at = address;
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let login = if verified {
        "logins need a token; issue one with: im-server token USER"
    } else {
        "WARNING: no token verification; anybody who reaches this loopback port may log in as any user"
    };
    let token = |user| if verified { format!("IM_TOKEN=TOKEN-OF-{user} ") } else { String::new() };
    let im = "cargo run -q -p im-client --bin im -- chat";
    format!(
        "im-server {version} listening on {address} (tcp and ws on one port, health at http://{at}/healthz)\n\
         data: {data}   server key: {key}\n\
         {login}\n\
         Try it in two other terminals:\n\
         \x20 {alice}{im} --server tcp://{at} --server-key {key} --user alice --to bob\n\
         \x20 {bob}{im} --server ws://{at}/im --server-key {key} --user bob --to alice\n",
        version = env!("CARGO_PKG_VERSION"),
        data = args.data.display(),
        alice = token("ALICE"),
        bob = token("BOB"),
    )
}

/// Registers for both signals now; the future is ready when one of them came.
fn stop_signal() -> std::io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
