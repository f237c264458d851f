//! The server as a value: built from its parts, mounted or served, and stopped.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use im_codec::Snowflake;
use im_proto::call::CallLimits;
use im_proto::policy::{DeviceKind, DevicePolicy};
use im_proto::rights::RightsPolicy;
use im_proto::{ConfigError, RUSTCRYPTO, ServerConfig, ServerKey, ServerPublicKey};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::auth::Authenticator;
use crate::blob::Files;
use crate::broadcast::{self, BroadcastError};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::directory::{Directory, StoredGroups};
use crate::groups::Groups;
use crate::hooks::{AfterCommit, AnswerRequests, BeforeSend, Chains, Hooks};
use crate::hub::Hub;
use crate::keys::ServiceKeys;
use crate::limits::{Bounds, Slots};
use crate::listener::{Door, ListenerConfig, Security};
use crate::metrics::{MeteredStore, Metrics};
use crate::polling::Table;
use crate::retention::Retention;
use crate::session::Services;
use crate::store::{Bans, Outbox, Store, StoreError};
use crate::tickets::Tickets;
use crate::tls::{Tls, TlsError};
use crate::webhook::Webhooks;
use crate::{api, http, listener, retention, webhook};

/// How long a stopping server waits for its sessions, and then for its store.
const STOP_SESSIONS: Duration = Duration::from_secs(4);
const STOP_STORE: Duration = Duration::from_secs(1);

/// A messaging server. Cheap to clone; all clones are the same server.
///
/// ```no_run
/// use std::{path::Path, sync::Arc};
/// use im_proto::{Entropy, RUSTCRYPTO, ServerKey};
/// use im_server::{Server, auth::OpenLoopback, store::{FjallConfig, FjallStore}};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = FjallStore::open(Path::new("./im-data"), &FjallConfig::default())?;
/// let key = ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(&mut getrandom::SysRng)?)?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:6001").await?;
/// let login = OpenLoopback::new(listener.local_addr()?)?;
/// let server = Server::builder(Arc::new(store), Arc::new(login), key).build()?;
/// println!("clients pin {}", server.public_key());
/// server.serve(listener).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    websocket_path: Arc<str>,
}

/// What connections share.
pub(crate) struct Shared {
    pub(crate) services: Arc<Services>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) public_key: ServerPublicKey,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) tls: Option<Tls>,
    /// Sessions over HTTP, and how long one lives without a request.
    pub(crate) polling: Arc<Table>,
    pub(crate) http_idle: Duration,
    /// New clients should go elsewhere.
    pub(crate) draining: AtomicBool,
    /// The last write to the store failed.
    pub(crate) store_failed: Arc<AtomicBool>,
    /// Metrics have a listener of their own.
    pub(crate) metrics_apart: AtomicBool,
    pub(crate) service_keys: ServiceKeys,
    /// Requests to the API that may be under way.
    pub(crate) api_places: Semaphore,
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.services.stopping.borrow()
    }
}

/// Gathers the parts of a [`Server`].
#[must_use = "a builder does nothing until it is built"]
pub struct ServerBuilder {
    store: Arc<dyn Store>,
    authenticator: Arc<dyn Authenticator>,
    directory: Option<Arc<dyn Directory>>,
    rights: RightsPolicy,
    devices: DevicePolicy,
    device_kind: Box<dyn Fn(&str) -> DeviceKind + Send + Sync>,
    channels: Vec<String>,
    config: ServerConfig,
    node: u16,
    bounds: Bounds,
    allowed_origins: Vec<String>,
    websocket_path: String,
    tls: Option<Tls>,
    http_idle: Duration,
    stall: Duration,
    return_after: Duration,
    service_keys: ServiceKeys,
    bans: Option<Arc<dyn Bans>>,
    files: Option<Files>,
    before_send: Option<Arc<dyn BeforeSend>>,
    after_commit: Option<Arc<dyn AfterCommit>>,
    requests: Option<Arc<dyn AnswerRequests>>,
    hook_timeout: Duration,
}

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The authenticator may not guard this listener.
    #[error("{0}")]
    Unguarded(String),
    /// TLS is asked for and there is no certificate.
    #[error("a listener for TLS only needs a certificate: ServerBuilder::tls")]
    NoCertificate,
    /// The listener is not usable.
    #[error("the listener cannot be used: {0}")]
    Listener(#[from] io::Error),
}

/// What was left undone when the server stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The store could not be closed; what was answered as stored is stored.
    #[error("the store could not be closed: {0}")]
    Store(#[from] StoreError),
    /// The store did not close in time; what was answered as stored is stored.
    #[error("the store did not close within {} s; look for a slow or broken disk", STOP_STORE.as_secs())]
    StoreTimeout,
}

impl Server {
    /// A server from a message store, the login policy, and the static key that clients pin. Everything else has a
    /// default.
    pub fn builder(store: Arc<dyn Store>, authenticator: Arc<dyn Authenticator>, key: ServerKey) -> ServerBuilder {
        ServerBuilder {
            store,
            authenticator,
            directory: None,
            rights: RightsPolicy::default(),
            devices: DevicePolicy::default(),
            device_kind: Box::new(|_| DeviceKind(0)),
            channels: Vec::new(),
            config: ServerConfig::new(&RUSTCRYPTO, key),
            node: 0,
            bounds: Bounds { total: 10_000, per_address: 1_000, refused_logins: 60, bytes: 1 << 30 },
            allowed_origins: Vec::new(),
            websocket_path: "/im".into(),
            tls: None,
            http_idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            return_after: Duration::from_secs(2),
            service_keys: ServiceKeys::default(),
            bans: None,
            files: None,
            before_send: None,
            after_commit: None,
            requests: None,
            hook_timeout: Duration::from_secs(3),
        }
    }

    /// The key that clients pin.
    pub fn public_key(&self) -> ServerPublicKey {
        self.shared.public_key
    }

    #[cfg(test)]
    pub(crate) fn services(&self) -> Arc<Services> {
        self.shared.services.clone()
    }

    /// The groups of this server.
    pub fn groups(&self) -> Groups {
        let Services { store, hub, .. } = &*self.shared.services;
        Groups { store: store.clone(), hub: hub.clone() }
    }

    /// Says something to every user: those that are online at once, the others when they come. It is one entry of the
    /// channel's log, whatever the number of users. `from` is the name that it comes from. Gives its seq, when it is durable.
    ///
    /// ```no_run
    /// # async fn example(server: &im_server::Server) -> Result<(), im_server::BroadcastError> {
    /// let text = im_proto::content_type::TEXT;
    /// server.broadcast("news", "service", text, "we restart at noon".into()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BroadcastError`]; only after [`BroadcastError::Unknown`] it may have been said.
    pub async fn broadcast(
        &self,
        channel: &str,
        from: &str,
        content_type: u32,
        content: Vec<u8>,
    ) -> Result<u64, BroadcastError> {
        broadcast::say(&self.shared.services, channel, from, content_type, content).await
    }

    /// The routes, to merge into or nest in an axum application that has its own listener: `GET /healthz`, the WebSocket
    /// at the path that the builder names, and sessions over HTTP at `sessions` below that path. The application must serve HTTP/1.1 with upgrades, as `axum::serve`
    /// does, and is responsible for whom its listener admits. With `into_make_service_with_connect_info::<SocketAddr>()`
    /// the limit per address holds here too.
    pub fn router(&self) -> Router {
        http::router(self.shared.clone(), &self.websocket_path)
    }

    /// Serves raw packets, WebSockets and HTTP on one port, and with [`ServerBuilder::tls`] the same over TLS, until
    /// [`shutdown`](Self::shutdown). May be called for several listeners at once.
    ///
    /// # Errors
    ///
    /// [`ServeError::Unguarded`] when the authenticator may not guard this address, [`ServeError::Listener`].
    pub async fn serve(&self, listener: TcpListener) -> Result<(), ServeError> {
        self.serve_with(listener, ListenerConfig::default()).await
    }

    /// As [`serve`](Self::serve), with settings for this listener: with TLS only, or without.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve), and [`ServeError::NoCertificate`].
    pub async fn serve_with(&self, listener: TcpListener, config: ListenerConfig) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        if config.security == Security::TlsOnly && self.shared.tls.is_none() {
            return Err(ServeError::NoCertificate);
        }
        let authenticator = &self.shared.services.authenticator;
        authenticator.check_listener(address).map_err(ServeError::Unguarded)?;
        if !config.proxies.is_empty() {
            // A proxy's clients come from everywhere, wherever the proxy is.
            let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            let behind = |why| ServeError::Unguarded(format!("clients behind a proxy come from everywhere: {why}"));
            authenticator.check_listener(everywhere).map_err(behind)?;
        }
        let door = Door { shared: self.shared.clone(), router: self.router(), config: Arc::new(config) };
        listener::accept(&listener, &door).await;
        Ok(())
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` alone, until [`shutdown`](Self::shutdown); `/metrics` is then no longer on
    /// the listeners of [`serve`](Self::serve). Whoever reaches this listener may read the numbers: bind it to an address
    /// that only your monitoring reaches.
    pub async fn serve_metrics(&self, listener: TcpListener) {
        self.shared.metrics_apart.store(true, Ordering::Relaxed);
        listener::accept_operators(&listener, &self.shared).await;
    }

    /// Tells what is stored to a service of the application, until [`shutdown`](Self::shutdown): everything that has an event
    /// in this outbox, which is the one of the server's store. Call it once.
    ///
    /// [`Webhooks`] has an example.
    pub async fn send_webhooks(&self, outbox: Arc<dyn Outbox>, webhooks: &Webhooks) {
        webhook::deliver(&self.shared.services, &*outbox, webhooks).await;
    }

    /// Takes what is too old from the front of each log, now and then every hour, until [`shutdown`](Self::shutdown). Call it
    /// once; without it everything is kept.
    ///
    /// ```no_run
    /// # async fn example(server: im_server::Server) {
    /// if let Some(year) = im_server::Retention::days(365) {
    ///     tokio::spawn(async move { server.keep_for(year).await });
    /// }
    /// # }
    /// ```
    pub async fn keep_for(&self, retention: Retention) {
        retention::run(&self.shared.services, retention).await;
    }

    /// Deletes files older than `keep`, now and every hour, until the server stops.
    pub async fn keep_files_for(&self, keep: Duration) {
        const EVERY: Duration = Duration::from_secs(3600);
        let services = &self.shared.services;
        let Some(files) = &services.files else { return };
        let mut stopping = services.stopping.subscribe();
        let work = async {
            loop {
                match files.sweep(keep, crate::clock::unix_ms()).await {
                    Ok(0) => {}
                    Ok(gone) => tracing::info!(gone, "files that were too old were deleted"),
                    Err(error) => {
                        tracing::error!(%error, "old files could not be deleted; it is tried again in an hour");
                    }
                }
                services.metrics.files_used(files.used_bytes());
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    /// Does what [`keep_for`](Self::keep_for) does once, as at this time, in milliseconds since 1970. Gives how many entries went.
    ///
    /// # Errors
    ///
    /// Of the store; what went before it is gone.
    pub async fn trim(&self, retention: Retention, now_ms: u64) -> Result<u64, StoreError> {
        retention::trim(&self.shared.services, retention, now_ms).await
    }

    /// The numbers as Prometheus reads them, for an application with a `/metrics` of its own.
    pub fn metrics(&self) -> String {
        self.shared.services.metrics.text()
    }

    /// Puts another certificate and key in place of those of [`ServerBuilder::tls`], for handshakes from now on, and counts
    /// it. Without TLS it does nothing.
    ///
    /// # Errors
    ///
    /// [`TlsError`]; those before stay then.
    pub fn replace_certificate(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let Some(tls) = &self.shared.tls else { return Ok(()) };
        let replaced = tls.replace(chain, key);
        let metrics = &self.shared.services.metrics;
        metrics.reloaded(replaced.is_ok());
        metrics.certificate(tls.validity().not_after);
        replaced
    }

    /// From now on `/readyz` says that new clients should go elsewhere; all else goes on. Call it some time before
    /// [`shutdown`](Self::shutdown), so that load balancers notice.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Stops: accepts nothing more, answers what was sent before, closes all sessions with
    /// [`GOING_AWAY`](im_proto::CloseCode::GOING_AWAY), and closes the store. Takes about five seconds at most.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] when the store did not close; it is all that can go wrong.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        let Shared { services, slots, .. } = &*self.shared;
        services.stopping.send_replace(true);
        if !slots.all_free(STOP_SESSIONS).await {
            tracing::warn!("some sessions did not end in time and are cut");
        }
        match tokio::time::timeout(STOP_STORE, services.store.close()).await {
            Ok(closed) => Ok(closed?),
            Err(_) => Err(ShutdownError::StoreTimeout),
        }
    }
}

impl ServerBuilder {
    /// Changes settings of the protocol: limits, timeouts, suites, formats.
    ///
    /// ```no_run
    /// # fn example(builder: im_server::ServerBuilder) -> im_server::ServerBuilder {
    /// builder.configure(|config| config.max_content = 8 * 1024)
    /// # }
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Who may write, watch and come in. Default [`StoredGroups`] of the server's store.
    pub fn directory(mut self, directory: Arc<dyn Directory>) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Whose programs may use the API, which is served below `/api/v1` if there is any key. Default none.
    pub fn service_keys(mut self, keys: ServiceKeys) -> Self {
        self.service_keys = keys;
        self
    }

    /// Who may not log in; with it the API can ban. Default nobody is banned.
    ///
    /// ```no_run
    /// # fn example(builder: im_server::ServerBuilder) -> Result<im_server::ServerBuilder, Box<dyn std::error::Error>> {
    /// use im_server::store::FileBans;
    /// let bans = FileBans::open("./im-data/bans.json".as_ref())?;
    /// # Ok(
    /// builder.bans(std::sync::Arc::new(bans))
    /// # )
    /// # }
    /// ```
    pub fn bans(mut self, bans: Arc<dyn Bans>) -> Self {
        self.bans = Some(bans);
        self
    }

    /// What looks at messages before they are stored.
    pub fn before_send(mut self, hook: Arc<dyn BeforeSend>) -> Self {
        self.before_send = Some(hook);
        self
    }

    /// What is told of entries that are stored.
    pub fn after_commit(mut self, hook: Arc<dyn AfterCommit>) -> Self {
        self.after_commit = Some(hook);
        self
    }

    /// Keeps files of users, for what is too large for a message: docs/spec/files.md. Without it their requests are unknown.
    pub fn files(mut self, files: Files) -> Self {
        self.files = Some(files);
        self
    }

    /// What answers the requests of clients. Without it every method is unknown.
    pub fn answer_requests(mut self, hook: Arc<dyn AnswerRequests>) -> Self {
        self.requests = Some(hook);
        self
    }

    /// How long a hook may take for one message. Default 3 s.
    pub fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.hook_timeout = timeout;
        self
    }

    /// For how long messages may be recalled and edited. Default 5 minutes, and a day.
    pub fn rights(mut self, rights: RightsPolicy) -> Self {
        self.rights = rights;
        self
    }

    /// How many devices of a user may be online, of which kinds, and who has to go. `kind` tells a device's kind from its
    /// name, which the login proves. Default five devices of one kind, where the oldest goes.
    ///
    /// ```no_run
    /// use im_server::{DeviceKind, DevicePolicy};
    /// # fn example(builder: im_server::ServerBuilder) -> im_server::ServerBuilder {
    /// let phone = DeviceKind(1);
    /// let policy = DevicePolicy { of_kind: [(phone, 1)].into(), ..DevicePolicy::default() };
    /// builder.devices(policy, move |device| if device.starts_with("phone") { phone } else { DeviceKind(0) })
    /// # }
    /// ```
    pub fn devices(mut self, policy: DevicePolicy, kind: impl Fn(&str) -> DeviceKind + Send + Sync + 'static) -> Self {
        (self.devices, self.device_kind) = (policy, Box::new(kind));
        self
    }

    /// Broadcasts of this server: every user reads each of them, from its first login on, and only
    /// [`Server::broadcast`] writes there. Default none. What is no valid name is left out.
    pub fn broadcasts(mut self, channels: impl IntoIterator<Item = String>) -> Self {
        self.channels.extend(channels);
        self
    }

    /// The node's number in message ids, 0 to 1023; servers that share a store need different ones. Default 0.
    pub fn node(mut self, node: u16) -> Self {
        self.node = node;
        self
    }

    /// The most connections, in all and from one address (one IPv4 address or one IPv6 /64). Default 10,000 and 1,000.
    pub fn connections(mut self, total: u32, per_address: u32) -> Self {
        (self.bounds.total, self.bounds.per_address) = (total, per_address);
        self
    }

    /// The most that all connections hold together, in bytes, before no other one is let in: 4 KiB for each
    /// ([`im_proto::IDLE_BYTES`]), and what waits in it: input, output, entries of the log, signals, requests. What the members of a
    /// room are told, and what waits for the store, is bounded apart. Default 1 GiB.
    pub fn connection_bytes(mut self, bytes: u64) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// How many logins of one address may be refused in a minute, before its connections are refused for a while. Default
    /// 60.
    pub fn refused_logins(mut self, per_minute: u32) -> Self {
        self.bounds.refused_logins = per_minute;
        self
    }

    /// Origins whose pages may open a WebSocket, like `https://app.example`, besides the server's own; `*` allows all.
    /// Programs that are not browsers name no origin and are not affected.
    pub fn allow_origins(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.allowed_origins.extend(origins);
        self
    }

    /// Answers TLS too, with this certificate: raw packets, WebSocket and HTTP inside it, on the same port.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long a session over HTTP lives without a request. Default 60 s; clients wait for packets all the time.
    pub fn http_idle(mut self, idle: Duration) -> Self {
        self.http_idle = idle;
        self
    }

    /// How long a peer may take nothing of what waits for it, before its connection is cut. Default 30 s.
    pub fn stall(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    /// When clients are told to come back after [`shutdown`](Server::shutdown): each at a moment of its own, between this and twice
    /// this, so that they do not all come at once. Default 2 s; zero leaves it to their back-off.
    pub fn return_after(mut self, wait: Duration) -> Self {
        self.return_after = wait;
        self
    }

    /// Where the WebSocket is, and below it the sessions over HTTP. Default `/im`.
    pub fn websocket_path(mut self, path: impl Into<String>) -> Self {
        self.websocket_path = path.into();
        self
    }

    /// The server; it does nothing until it is served or mounted.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the settings that cannot work together.
    pub fn build(self) -> Result<Server, ConfigError> {
        self.config.check()?;
        if self.bounds.total == 0 || self.bounds.per_address == 0 {
            return Err(ConfigError::Zero { name: "connections" });
        }
        if self.bounds.refused_logins == 0 {
            return Err(ConfigError::Zero { name: "refused_logins" });
        }
        let (metrics, store_failed) = (Arc::new(Metrics::new()), Arc::<AtomicBool>::default());
        if let Some(files) = &self.files {
            metrics.files_used(files.used_bytes());
        }
        if let Some(tls) = &self.tls {
            metrics.certificate(tls.validity().not_after);
        }
        let store =
            Arc::new(MeteredStore { inner: self.store, metrics: metrics.clone(), failed: store_failed.clone() });
        let public_key = self.config.keys.first().map(ServerKey::public).ok_or(ConfigError::ServerKeys { count: 0 })?;
        let hooks = Hooks {
            before: self.before_send,
            after: self.after_commit,
            requests: self.requests,
            timeout: self.hook_timeout,
            max_content: self.config.max_content,
            metrics: metrics.clone(),
            chains: Chains::default(),
        };
        let services = Services {
            config: Arc::new(self.config),
            hooks,
            bans: self.bans,
            files: self.files,
            directory: self.directory.unwrap_or_else(|| Arc::new(StoredGroups::new(store.clone()))),
            rights: self.rights,
            device_kind: self.device_kind,
            store,
            authenticator: self.authenticator,
            hub: Arc::new(Hub::new(self.devices)),
            calls: Calls::new(CallLimits::default()),
            channels: self.channels.iter().filter_map(|channel| broadcast::key(channel)).collect(),
            ids: Mutex::new(Snowflake::new(self.node)),
            clock: Clock::new(),
            tickets: Tickets::new(),
            metrics: metrics.clone(),
            stall: self.stall,
            return_after: self.return_after,
            stopping: watch::Sender::new(false),
        };
        let shared = Shared {
            services: Arc::new(services),
            slots: Arc::new(Slots::new(self.bounds, metrics)),
            public_key,
            allowed_origins: self.allowed_origins,
            tls: self.tls,
            polling: Arc::default(),
            http_idle: self.http_idle,
            draining: AtomicBool::new(false),
            store_failed,
            metrics_apart: AtomicBool::new(false),
            service_keys: self.service_keys,
            api_places: Semaphore::new(api::AT_ONCE),
        };
        Ok(Server { shared: Arc::new(shared), websocket_path: self.websocket_path.into() })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
