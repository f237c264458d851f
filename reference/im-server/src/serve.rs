//! `im-server serve`: from settings to a running server, and back down.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use im_server::auth::{Authenticator, OpenLoopback};
use im_server::store::{FileBans, FjallConfig, FjallStore, OutboxConfig, StoreError};
use im_server::{Files, ListenerConfig, Security, ServeError, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::check::{Pem, Prepared, how_to_verify, prepare, read_tls, which_file};
use crate::cli::ServeArgs;
use crate::control::Control;
use crate::settings::Settings;
use crate::{Failure, files};

pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let prepared = prepare(args)?;
    let Settings { log, log_json, .. } = &prepared.settings;
    let filter = EnvFilter::try_new(log)
        .map_err(|error| Failure::settings(format!("the log filter {log:?} is not one: {error}")))?;
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if *log_json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(colours).init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?.block_on(run(prepared))
}

async fn run(prepared: Prepared) -> Result<(), Failure> {
    let Prepared { settings, tokens, service_keys, tls, pem, notes, expired, webhooks } = prepared;
    for note in notes {
        tracing::warn!("{note}");
    }
    if let Some(problem) = expired {
        tracing::error!("{problem}; clients will refuse it");
    }
    let mut listeners = listeners(&settings).await?;
    let Some(address) = listeners.first().map(|first| first.address) else {
        return Err(Failure::run("there is no listener"));
    };
    let metrics_listener = match &settings.metrics_listen {
        Some(listen) => Some(bind("metrics-listen", listen).await?.0),
        None => None,
    };
    let verified = tokens.is_some();
    let authenticator = match tokens {
        Some(tokens) => Arc::new(tokens) as Arc<dyn Authenticator>,
        None => {
            // Every listener is asked about when it is served; this one says what to do.
            Arc::new(OpenLoopback::new(address).map_err(|error| Failure::settings(how_to_verify(&error)))?)
        }
    };
    let key = im_server::server_key(&settings.data)?;
    let outbox = settings
        .webhooks
        .as_ref()
        .map(|wanted| OutboxConfig { kinds: wanted.kinds.clone(), max_waiting: wanted.max_waiting });
    let config = FjallConfig { check: settings.store_check, outbox, ..FjallConfig::default() };
    let store = Arc::new(FjallStore::open(&settings.data, &config).map_err(|error| {
        if matches!(error, StoreError::Corrupt(_)) {
            Failure::damaged(format!("{error}. To serve what is good meanwhile: --store-check never"))
        } else {
            Failure::run(error.to_string())
        }
    })?);
    // Serving counts more than being asked for a backup.
    let control = Control::open(&settings.data, &store).inspect_err(
        |error| tracing::error!(%error, "there is no control socket; backup and verify need this server stopped"),
    );
    let bans = FileBans::open(&settings.data.join(files::BANS)).map_err(|error| Failure::run(error.to_string()))?;
    let mut builder = Server::builder(store.clone(), authenticator, key)
        .service_keys(service_keys)
        .broadcasts(settings.channels.iter().cloned())
        .bans(Arc::new(bans))
        .connections(settings.max_connections, settings.max_connections_per_address)
        .connection_bytes(u64::from(settings.max_connection_mib) << 20)
        .refused_logins(settings.max_refused_logins)
        .stall(settings.stall)
        .return_after(settings.return_after)
        .http_idle(settings.http_idle)
        .allow_origins(settings.allow_origins.iter().cloned())
        .configure(|config| config.login_timeout = settings.login_timeout);
    if let Some(config) = settings.files.clone() {
        builder = builder.files(Files::open(config).await.map_err(|error| Failure::run(error.to_string()))?);
    }
    let with_tls = tls.is_some();
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
    let server = builder.build().map_err(|error| Failure::settings(error.to_string()))?;
    // Before the banner, so that whoever waits for it may send a signal.
    let cannot = |error| Failure::run(format!("cannot wait for signals: {error}"));
    let (stop, hang_up) = (stop_signal().map_err(cannot)?, signal(SignalKind::hangup()).map_err(cannot)?);
    let banner = banner(&settings, &listeners, &server.public_key().to_string(), verified, with_tls);
    let mut stdout = std::io::stdout();
    // A closed stdout is no reason not to serve.
    let _ = stdout.write_all(banner.as_bytes()).and_then(|()| stdout.flush());

    let mut serving: JoinSet<Result<(), ServeError>> = JoinSet::new();
    for Bound { listener, config, .. } in listeners.drain(..) {
        let server = server.clone();
        serving.spawn(async move { server.serve_with(listener, config).await });
    }
    if let Some(listener) = metrics_listener {
        let server = server.clone();
        serving.spawn(async move {
            server.serve_metrics(listener).await;
            Ok(())
        });
    }
    if let Some(webhooks) = webhooks {
        let server = server.clone();
        serving.spawn(async move {
            server.send_webhooks(store, &webhooks).await;
            Ok(())
        });
    }
    if let Some(retention) = settings.retention {
        let server = server.clone();
        serving.spawn(async move {
            server.keep_for(retention).await;
            Ok(())
        });
    }
    if let Some(keep) = settings.keep_files {
        let server = server.clone();
        serving.spawn(async move {
            server.keep_files_for(keep).await;
            Ok(())
        });
    }
    let files = settings.tls_files.clone().zip(pem);
    let reloading = tokio::spawn(reload(server.clone(), files, settings.tls_check, hang_up));
    let ended = tokio::select! {
        signal = stop => {
            tracing::info!(signal, "stopping");
            None
        }
        // None ends by itself, unless it may not serve.
        Some(ended) = serving.join_next() => Some(ended),
    };
    if ended.is_none() && !settings.drain.is_zero() {
        server.drain();
        tracing::info!(seconds = settings.drain.as_secs(), "draining: /readyz says 503");
        tokio::time::sleep(settings.drain).await;
    }
    reloading.abort();
    drop(control);
    let stopped = server.shutdown().await.map_err(|error| Failure::run(error.to_string()));
    let mut results: Vec<_> = ended.into_iter().collect();
    while let Some(ended) = serving.join_next().await {
        results.push(ended);
    }
    for result in results {
        result.map_err(|error| Failure::run(error.to_string()))?.map_err(|error| Failure::run(error.to_string()))?;
    }
    stopped
}

/// A listener that is bound.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    config: ListenerConfig,
}

async fn bind(flag: &str, listen: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let variable = flag.replace('-', "_").to_uppercase();
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::run(format!(
            "cannot listen on {listen}: {error}; choose another address with --{flag} or IM_{variable}"
        ))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::run(error.to_string()))?;
    Ok((listener, address))
}

async fn listeners(settings: &Settings) -> Result<Vec<Bound>, Failure> {
    let all = [
        ("listen", Some(&settings.listen), Security::Either),
        ("listen-tls", settings.listen_tls.as_ref(), Security::TlsOnly),
        ("listen-plain", settings.listen_plain.as_ref(), Security::PlainOnly),
    ];
    let mut listeners = Vec::new();
    for (flag, listen, security) in all {
        let Some(listen) = listen else { continue };
        let (listener, address) = bind(flag, listen).await?;
        let mut config = ListenerConfig::default();
        config.security = security;
        config.proxies.clone_from(&settings.proxies);
        listeners.push(Bound { listener, address, config });
    }
    Ok(listeners)
}

/// Takes TLS files that are not as they were when they were read first or last, at intervals and when SIGHUP asks.
async fn reload(
    server: Server,
    mut tls: Option<((PathBuf, PathBuf), Pem)>,
    every: std::time::Duration,
    mut hang_up: Signal,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every), if tls.is_some() => {}
            _ = hang_up.recv() => tracing::info!(tls = tls.is_some(), "SIGHUP: looking for changed TLS files"),
        }
        let Some(((chain, key), tried)) = &mut tls else { continue };
        let now = match read_tls(chain, key) {
            Ok(now) => now,
            Err(problem) => {
                tracing::error!("{problem}; the certificate of before stays");
                continue;
            }
        };
        if *tried == now {
            continue;
        }
        match server.replace_certificate(&now.0, &now.1) {
            Ok(()) => tracing::info!(file = %chain.display(), "a new certificate is in use"),
            // One of the two files may be written a moment before the other.
            Err(error) => tracing::error!("{}; the certificate of before stays", which_file(chain, key, &error)),
        }
        *tried = now;
    }
}

fn banner(settings: &Settings, listeners: &[Bound], key: &str, verified: bool, tls: bool) -> String {
    let Some(Bound { address, .. }) = listeners.first() else { return String::new() };
    // An unspecified address is one to listen on, not one to connect to.
    let mut at = *address;
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
    let speaks = if tls { "tcp, ws and http, each also over TLS," } else { "tcp, ws and http" };
    let more: String = listeners.iter().skip(1).fold(String::new(), |more, Bound { address, config, .. }| {
        let only = if config.security == Security::TlsOnly { "with TLS only" } else { "without TLS" };
        format!("{more}and on {address} ({only})\n")
    });
    format!(
        "im-server {version} listening on {address} ({speaks} on one port, health at http://{at}/healthz)\n\
         {more}\
         data: {data}   server key: {key}\n\
         {login}\n\
         Try it in two other terminals:\n\
         \x20 {alice}{im} --server tcp://{at} --server-key {key} --user alice --to bob\n\
         \x20 {bob}{im} --server ws://{at}/im --server-key {key} --user bob --to alice\n",
        version = env!("CARGO_PKG_VERSION"),
        data = settings.data.display(),
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
