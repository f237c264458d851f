//! The settings of the command: flags, environment, file and defaults, in this order, and what is allowed in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use im_server::store::{CheckAtOpen, EventKind};
use im_server::{FilesConfig, IpNet, Retention};
use serde::Deserialize;

use crate::{Failure, files};

/// Settings as they are written, in flags, in variables or in the file. The texts here stand in the README too.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// Address of the port for everything: packets, WebSocket and HTTP, and all of it in TLS with a certificate
    #[arg(long, env = "IM_LISTEN")]
    pub(crate) listen: Option<String>,
    /// Another address, for TLS only
    #[arg(long, env = "IM_LISTEN_TLS")]
    pub(crate) listen_tls: Option<String>,
    /// Another address, without TLS only
    #[arg(long, env = "IM_LISTEN_PLAIN")]
    pub(crate) listen_plain: Option<String>,
    /// Another address, for /metrics, /healthz and /readyz only; /metrics is then only there
    #[arg(long, env = "IM_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<String>,
    /// Data directory, made on the first run: messages and the server's key
    #[arg(long, env = "IM_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// When the message store is checked as it is opened: after an unclean end, always or never
    #[arg(long, env = "IM_STORE_CHECK")]
    pub(crate) store_check: Option<String>,
    /// How long messages and other entries are kept, in days; 0 is for ever
    #[arg(long, env = "IM_RETENTION_DAYS")]
    pub(crate) retention_days: Option<u64>,
    /// Certificate chain in PEM, the server's own certificate first
    #[arg(long, env = "IM_TLS_CERTIFICATE_FILE")]
    pub(crate) tls_certificate_file: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, env = "IM_TLS_KEY_FILE")]
    pub(crate) tls_key_file: Option<PathBuf>,
    /// How often to look whether the two TLS files have changed, in seconds; SIGHUP looks at once
    #[arg(long, env = "IM_TLS_CHECK_SECS")]
    pub(crate) tls_check_secs: Option<u64>,
    /// Verify login tokens with the HS256 secret in this file, at least 32 bytes
    #[arg(long, env = "IM_JWT_HS256_SECRET_FILE", conflicts_with = "jwt_eddsa_public_key_file")]
    pub(crate) jwt_hs256_secret_file: Option<PathBuf>,
    /// Verify login tokens with the Ed25519 public key in this PEM file
    #[arg(long, env = "IM_JWT_EDDSA_PUBLIC_KEY_FILE")]
    pub(crate) jwt_eddsa_public_key_file: Option<PathBuf>,
    /// Accept only tokens whose aud claim names this
    #[arg(long, env = "IM_JWT_AUDIENCE")]
    pub(crate) jwt_audience: Option<String>,
    /// Names, hashes and rights of the services that may use the API below /api/v1, as `im-server service-key` prints them
    #[arg(long, env = "IM_SERVICE_KEYS_FILE")]
    pub(crate) service_keys_file: Option<PathBuf>,
    /// Broadcast channels that every user reads; services say something there
    #[arg(long, env = "IM_CHANNELS", value_delimiter = ',')]
    pub(crate) channels: Option<Vec<String>>,
    /// Origins whose web pages may connect besides the server's own, like `https://app.example`; `*` for all
    #[arg(long, env = "IM_ALLOW_ORIGINS", value_delimiter = ',')]
    pub(crate) allow_origins: Option<Vec<String>>,
    /// Networks of proxies that begin each connection with a PROXY header, version 1 or 2
    #[arg(long, env = "IM_PROXIES", value_delimiter = ',')]
    pub(crate) proxies: Option<Vec<String>>,
    /// The most connections and sessions
    #[arg(long, env = "IM_MAX_CONNECTIONS")]
    pub(crate) max_connections: Option<u64>,
    /// The most of them from one IPv4 address or IPv6 /64
    #[arg(long, env = "IM_MAX_CONNECTIONS_PER_ADDRESS")]
    pub(crate) max_connections_per_address: Option<u64>,
    /// What all connections may hold together before no other one is let in, in MiB
    #[arg(long, env = "IM_MAX_CONNECTION_MIB")]
    pub(crate) max_connection_mib: Option<u64>,
    /// Logins of one address that may be refused in a minute before its connections are, for a while
    #[arg(long, env = "IM_MAX_REFUSED_LOGINS")]
    pub(crate) max_refused_logins: Option<u64>,
    /// How long a connection may take to begin, and then to log in, in seconds
    #[arg(long, env = "IM_LOGIN_TIMEOUT_SECS")]
    pub(crate) login_timeout_secs: Option<u64>,
    /// How long a peer may take nothing of what waits for it before it is cut, in seconds
    #[arg(long, env = "IM_STALL_SECS")]
    pub(crate) stall_secs: Option<u64>,
    /// How long a session over HTTP lives without a request, in seconds
    #[arg(long, env = "IM_HTTP_IDLE_SECS")]
    pub(crate) http_idle_secs: Option<u64>,
    /// How long /readyz says 503 before sessions are closed when the server stops, in seconds
    #[arg(long, env = "IM_DRAIN_SECS")]
    pub(crate) drain_secs: Option<u64>,
    /// When clients of a server that stopped are told to come back, in seconds: each at a moment between this and twice this
    #[arg(long, env = "IM_RETURN_SECS")]
    pub(crate) return_secs: Option<u64>,
    /// The largest file that users may share, in MiB; 0 for no files at all
    #[arg(long, env = "IM_MAX_FILE_MIB")]
    pub(crate) max_file_mib: Option<u64>,
    /// What all files of one user may take, in MiB
    #[arg(long, env = "IM_MAX_USER_FILES_MIB")]
    pub(crate) max_user_files_mib: Option<u64>,
    /// What all files together may take, in MiB
    #[arg(long, env = "IM_MAX_FILES_MIB")]
    pub(crate) max_files_mib: Option<u64>,
    /// After how many days files are deleted; 0 keeps them for ever
    #[arg(long, env = "IM_FILES_DAYS")]
    pub(crate) files_days: Option<u64>,
    /// Where what is stored is told to, with http or https
    #[arg(long, env = "IM_WEBHOOK_URL")]
    pub(crate) webhook_url: Option<String>,
    /// The secret that signs it, in this file, like whsec_ and then base64; a second line is a second secret
    #[arg(long, env = "IM_WEBHOOK_SECRET_FILE")]
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// The events that are told
    #[arg(long, env = "IM_WEBHOOK_EVENTS", value_delimiter = ',')]
    pub(crate) webhook_events: Option<Vec<String>>,
    /// Whether the content of messages is told too
    #[arg(long, env = "IM_WEBHOOK_CONTENT")]
    pub(crate) webhook_content: Option<bool>,
    /// Trust only the authorities in this PEM file, for webhooks
    #[arg(long, env = "IM_WEBHOOK_CA_FILE")]
    pub(crate) webhook_ca_file: Option<PathBuf>,
    /// How long a try may take, in seconds
    #[arg(long, env = "IM_WEBHOOK_TIMEOUT_SECS")]
    pub(crate) webhook_timeout_secs: Option<u64>,
    /// How long an event is tried before it is given up, in hours
    #[arg(long, env = "IM_WEBHOOK_MAX_AGE_HOURS")]
    pub(crate) webhook_max_age_hours: Option<u64>,
    /// The most events that wait; beyond that the oldest is dropped and counted
    #[arg(long, env = "IM_WEBHOOK_MAX_WAITING")]
    pub(crate) webhook_max_waiting: Option<u64>,
    /// What to log to stderr, like info or im_server=debug; never content, tokens or keys
    #[arg(long, env = "IM_LOG")]
    pub(crate) log: Option<String>,
    /// How to log: text, or json with one object a line
    #[arg(long, env = "IM_LOG_FORMAT")]
    pub(crate) log_format: Option<String>,
}

/// What a key may be.
#[cfg_attr(not(test), expect(dead_code, reason = "what is allowed in a text is for the README, which a test compares"))]
pub(crate) enum Values {
    /// Something with this default; the second text says what is allowed.
    Text(&'static str, &'static str),
    /// A number with this default, smallest and largest value.
    Number(u64, u64, u64),
}

/// Every key of the file. The flag is the key with dashes, the variable the key in capitals behind `IM_`.
pub(crate) const KEYS: &[(&str, Values)] = &[
    ("listen", Values::Text("127.0.0.1:6001", "address and port; beyond loopback with token verification only")),
    ("listen_tls", Values::Text("", "address and port")),
    ("listen_plain", Values::Text("", "address and port")),
    ("metrics_listen", Values::Text("", "address and port that only your monitoring reaches")),
    ("data", Values::Text("./im-data", "a directory")),
    ("store_check", Values::Text("unclean", "`unclean`, `always` or `never`")),
    ("retention_days", Values::Number(0, 0, 36_500)),
    ("tls_certificate_file", Values::Text("", "a file, with `tls_key_file`")),
    ("tls_key_file", Values::Text("", "a file, with `tls_certificate_file`")),
    ("tls_check_secs", Values::Number(60, 1, 86_400)),
    ("jwt_hs256_secret_file", Values::Text("", "a file")),
    ("jwt_eddsa_public_key_file", Values::Text("", "a file; one of the two")),
    ("jwt_audience", Values::Text("", "any text")),
    ("service_keys_file", Values::Text("", "a file")),
    ("channels", Values::Text("", "a list; separated by commas in flag and variable")),
    ("allow_origins", Values::Text("", "a list; separated by commas in flag and variable")),
    ("proxies", Values::Text("", "a list of networks like 10.0.0.0/8, or addresses; with token verification only")),
    ("max_connections", Values::Number(10_000, 1, 1_000_000)),
    ("max_connections_per_address", Values::Number(1_000, 1, 1_000_000)),
    ("max_connection_mib", Values::Number(1024, 1, 1_048_576)),
    ("max_refused_logins", Values::Number(60, 1, 100_000)),
    ("login_timeout_secs", Values::Number(10, 1, 120)),
    ("stall_secs", Values::Number(30, 1, 600)),
    ("http_idle_secs", Values::Number(60, 1, 3_600)),
    ("drain_secs", Values::Number(0, 0, 300)),
    ("return_secs", Values::Number(2, 0, 1_800)),
    ("max_file_mib", Values::Number(25, 0, 65_536)),
    ("max_user_files_mib", Values::Number(1_024, 1, 16_777_216)),
    ("max_files_mib", Values::Number(10_240, 1, 16_777_216)),
    ("files_days", Values::Number(0, 0, 36_500)),
    ("webhook_url", Values::Text("", "an address, with `webhook_secret_file`")),
    ("webhook_secret_file", Values::Text("", "a file, with `webhook_url`")),
    (
        "webhook_events",
        Values::Text(
            "all",
            "a list of `message.stored`, `message.recalled`, `message.edited`, `reaction.added`, `reaction.removed`, or `all`",
        ),
    ),
    ("webhook_content", Values::Text("true", "`true` or `false`")),
    ("webhook_ca_file", Values::Text("", "a file; default the public authorities")),
    ("webhook_timeout_secs", Values::Number(10, 1, 60)),
    ("webhook_max_age_hours", Values::Number(72, 1, 720)),
    ("webhook_max_waiting", Values::Number(1_000_000, 1, 100_000_000)),
    ("log", Values::Text("info", "a filter of the tracing crate")),
    ("log_format", Values::Text("text", "`text` or `json`")),
];

/// Settings as they are used.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) listen_tls: Option<String>,
    pub(crate) listen_plain: Option<String>,
    pub(crate) metrics_listen: Option<String>,
    pub(crate) data: PathBuf,
    pub(crate) store_check: CheckAtOpen,
    /// `None` is for ever.
    pub(crate) retention: Option<Retention>,
    pub(crate) tls_files: Option<(PathBuf, PathBuf)>,
    pub(crate) tls_check: Duration,
    pub(crate) jwt_hs256_secret_file: Option<PathBuf>,
    pub(crate) jwt_eddsa_public_key_file: Option<PathBuf>,
    pub(crate) jwt_audience: Option<String>,
    pub(crate) service_keys_file: Option<PathBuf>,
    pub(crate) channels: Vec<String>,
    pub(crate) allow_origins: Vec<String>,
    pub(crate) proxies: Vec<IpNet>,
    pub(crate) max_connections: u32,
    pub(crate) max_connections_per_address: u32,
    pub(crate) max_connection_mib: u32,
    pub(crate) max_refused_logins: u32,
    pub(crate) login_timeout: Duration,
    pub(crate) stall: Duration,
    pub(crate) http_idle: Duration,
    pub(crate) drain: Duration,
    pub(crate) return_after: Duration,
    /// `None` for no files at all.
    pub(crate) files: Option<FilesConfig>,
    pub(crate) keep_files: Option<Duration>,
    pub(crate) webhooks: Option<WebhookSettings>,
    pub(crate) log: String,
    pub(crate) log_json: bool,
}

/// What is told, and to whom.
#[derive(Debug)]
pub(crate) struct WebhookSettings {
    pub(crate) url: String,
    pub(crate) secret_file: PathBuf,
    pub(crate) kinds: BTreeSet<EventKind>,
    pub(crate) content: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) max_age: Duration,
    pub(crate) max_waiting: u64,
}

impl Options {
    /// These, and where they say nothing those of the file.
    fn or(self, file: Self) -> Self {
        // Either key of the two says how tokens are verified, so a flag for one takes the place of the file's other one.
        let tokens = self.jwt_hs256_secret_file.is_some() || self.jwt_eddsa_public_key_file.is_some();
        let (hs256, eddsa) = if tokens {
            (self.jwt_hs256_secret_file, self.jwt_eddsa_public_key_file)
        } else {
            (file.jwt_hs256_secret_file, file.jwt_eddsa_public_key_file)
        };
        Self {
            listen: self.listen.or(file.listen),
            listen_tls: self.listen_tls.or(file.listen_tls),
            listen_plain: self.listen_plain.or(file.listen_plain),
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            data: self.data.or(file.data),
            store_check: self.store_check.or(file.store_check),
            retention_days: self.retention_days.or(file.retention_days),
            tls_certificate_file: self.tls_certificate_file.or(file.tls_certificate_file),
            tls_key_file: self.tls_key_file.or(file.tls_key_file),
            tls_check_secs: self.tls_check_secs.or(file.tls_check_secs),
            jwt_hs256_secret_file: hs256,
            jwt_eddsa_public_key_file: eddsa,
            jwt_audience: self.jwt_audience.or(file.jwt_audience),
            service_keys_file: self.service_keys_file.or(file.service_keys_file),
            channels: self.channels.or(file.channels),
            allow_origins: self.allow_origins.or(file.allow_origins),
            proxies: self.proxies.or(file.proxies),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_address: self.max_connections_per_address.or(file.max_connections_per_address),
            max_connection_mib: self.max_connection_mib.or(file.max_connection_mib),
            max_refused_logins: self.max_refused_logins.or(file.max_refused_logins),
            login_timeout_secs: self.login_timeout_secs.or(file.login_timeout_secs),
            stall_secs: self.stall_secs.or(file.stall_secs),
            http_idle_secs: self.http_idle_secs.or(file.http_idle_secs),
            drain_secs: self.drain_secs.or(file.drain_secs),
            return_secs: self.return_secs.or(file.return_secs),
            max_file_mib: self.max_file_mib.or(file.max_file_mib),
            max_user_files_mib: self.max_user_files_mib.or(file.max_user_files_mib),
            max_files_mib: self.max_files_mib.or(file.max_files_mib),
            files_days: self.files_days.or(file.files_days),
            webhook_url: self.webhook_url.or(file.webhook_url),
            webhook_secret_file: self.webhook_secret_file.or(file.webhook_secret_file),
            webhook_events: self.webhook_events.or(file.webhook_events),
            webhook_content: self.webhook_content.or(file.webhook_content),
            webhook_ca_file: self.webhook_ca_file.or(file.webhook_ca_file),
            webhook_timeout_secs: self.webhook_timeout_secs.or(file.webhook_timeout_secs),
            webhook_max_age_hours: self.webhook_max_age_hours.or(file.webhook_max_age_hours),
            webhook_max_waiting: self.webhook_max_waiting.or(file.webhook_max_waiting),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
        }
    }
}

/// The settings of these flags, variables and file; every problem is told.
pub(crate) fn resolve(options: &Options, config: Option<&Path>) -> Result<Settings, Vec<String>> {
    let file = config.map(read_file).transpose()?.unwrap_or_default();
    let options = options.clone().or(file);
    let mut problems = Vec::new();
    let mut number = |name: &str, value: Option<u64>| {
        let known = KEYS.iter().find(|(key, _)| *key == name);
        let Some((_, Values::Number(default, min, max))) = known else { return 0 };
        let value = value.unwrap_or(*default);
        if !(*min..=*max).contains(&value) {
            problems.push(format!("{name} is {value}: give a number from {min} to {max}"));
        }
        u32::try_from(value).unwrap_or(u32::MAX)
    };
    let secs = |number: u32| Duration::from_secs(number.into());
    let retention = Retention::days(number("retention_days", options.retention_days));
    let tls_check = secs(number("tls_check_secs", options.tls_check_secs));
    let max_connections = number("max_connections", options.max_connections);
    let max_connections_per_address = number("max_connections_per_address", options.max_connections_per_address);
    let max_connection_mib = number("max_connection_mib", options.max_connection_mib);
    let max_refused_logins = number("max_refused_logins", options.max_refused_logins);
    let login_timeout = secs(number("login_timeout_secs", options.login_timeout_secs));
    let stall = secs(number("stall_secs", options.stall_secs));
    let http_idle = secs(number("http_idle_secs", options.http_idle_secs));
    let drain = secs(number("drain_secs", options.drain_secs));
    let return_after = secs(number("return_secs", options.return_secs));
    let mib = |number: u32| u64::from(number) << 20;
    let (max_file, max_user_files, max_files) = (
        mib(number("max_file_mib", options.max_file_mib)),
        mib(number("max_user_files_mib", options.max_user_files_mib)),
        mib(number("max_files_mib", options.max_files_mib)),
    );
    let files_days = number("files_days", options.files_days);
    let webhook_timeout = secs(number("webhook_timeout_secs", options.webhook_timeout_secs));
    let webhook_max_age = secs(number("webhook_max_age_hours", options.webhook_max_age_hours)).saturating_mul(3600);
    let webhook_max_waiting = number("webhook_max_waiting", options.webhook_max_waiting).into();
    let text = |name: &str, value: Option<String>| {
        let known = KEYS.iter().find(|(key, _)| *key == name);
        value.unwrap_or_else(|| match known {
            Some((_, Values::Text(default, _))) => (*default).into(),
            Some((_, Values::Number(..))) | None => String::new(),
        })
    };
    let log_format = text("log_format", options.log_format);
    if !matches!(log_format.as_str(), "text" | "json") {
        problems.push(format!("log_format is {log_format:?}: give \"text\" or \"json\""));
    }
    let store_check = match text("store_check", options.store_check).as_str() {
        "unclean" => CheckAtOpen::AfterUncleanEnd,
        "always" => CheckAtOpen::Always,
        "never" => CheckAtOpen::Never,
        other => {
            problems.push(format!("store_check is {other:?}: give \"unclean\", \"always\" or \"never\""));
            CheckAtOpen::default()
        }
    };
    let tls_files = match (options.tls_certificate_file, options.tls_key_file) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            problems.push("tls_certificate_file is set and tls_key_file is not: TLS needs both".into());
            None
        }
        (None, Some(_)) => {
            problems.push("tls_key_file is set and tls_certificate_file is not: TLS needs both".into());
            None
        }
    };
    if options.jwt_hs256_secret_file.is_some() && options.jwt_eddsa_public_key_file.is_some() {
        problems.push("jwt_hs256_secret_file and jwt_eddsa_public_key_file are both set: choose one".into());
    }
    let channels = options.channels.unwrap_or_default();
    for channel in channels.iter().filter(|channel| !im_proto::valid_name(channel)) {
        problems.push(format!("channels names {channel:?}: a name has 1 to 128 bytes without control characters"));
    }
    let mut proxies = Vec::new();
    for proxy in options.proxies.unwrap_or_default() {
        let address = || proxy.parse::<std::net::IpAddr>().map(IpNet::from);
        match proxy.parse().or_else(|_| address()) {
            Ok(network) => proxies.push(network),
            Err(_) => problems.push(format!("proxies names {proxy:?}: give a network like 10.0.0.0/8, or an address")),
        }
    }
    let mut kinds = BTreeSet::new();
    for name in options.webhook_events.unwrap_or_else(|| vec!["all".into()]) {
        match EventKind::from_name(&name) {
            Some(kind) => _ = kinds.insert(kind),
            None if name == "all" => kinds.extend(EventKind::ALL),
            None => {
                let all = EventKind::ALL.map(EventKind::name).join(", ");
                problems.push(format!("webhook_events names {name:?}: give all, or of {all}"));
            }
        }
    }
    let webhooks = match (options.webhook_url, options.webhook_secret_file) {
        (Some(url), Some(secret_file)) => Some(WebhookSettings {
            url,
            secret_file,
            kinds,
            content: options.webhook_content.unwrap_or(true),
            ca_file: options.webhook_ca_file,
            timeout: webhook_timeout,
            max_age: webhook_max_age,
            max_waiting: webhook_max_waiting,
        }),
        (None, None) => None,
        (Some(_), None) => {
            problems.push("webhook_url is set and webhook_secret_file is not: what is told must be signed".into());
            None
        }
        (None, Some(_)) => {
            problems.push("webhook_secret_file is set and webhook_url is not: name the address too".into());
            None
        }
    };
    let data = options.data.unwrap_or_else(|| text("data", None).into());
    let files = (max_file > 0).then(|| FilesConfig {
        max_bytes: max_file,
        max_user_bytes: max_user_files,
        max_total_bytes: max_files,
        ..FilesConfig::new(data.join("files"))
    });
    let settings = Settings {
        webhooks,
        files,
        keep_files: (files_days > 0).then(|| secs(86_400).saturating_mul(files_days)),
        listen: text("listen", options.listen),
        listen_tls: options.listen_tls,
        listen_plain: options.listen_plain,
        metrics_listen: options.metrics_listen,
        data,
        store_check,
        retention,
        tls_files,
        tls_check,
        jwt_hs256_secret_file: options.jwt_hs256_secret_file,
        jwt_eddsa_public_key_file: options.jwt_eddsa_public_key_file,
        jwt_audience: options.jwt_audience,
        service_keys_file: options.service_keys_file,
        channels,
        allow_origins: options.allow_origins.unwrap_or_default(),
        proxies,
        max_connections,
        max_connections_per_address,
        max_connection_mib,
        max_refused_logins,
        login_timeout,
        stall,
        http_idle,
        drain,
        return_after,
        log: text("log", options.log),
        log_json: log_format == "json",
    };
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn read_file(path: &Path) -> Result<Options, Vec<String>> {
    let in_file = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let text = files::read(path).map_err(|Failure { message, .. }| vec![message])?;
    let text = String::from_utf8(text).map_err(|_| vec![in_file(&"the configuration is not text in UTF-8")])?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| vec![in_file(&error)])?;
    let unknown: Vec<_> = table
        .keys()
        .filter(|key| !KEYS.iter().any(|(known, _)| known == key))
        .map(|key| in_file(&unknown_key(key)))
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    toml::from_str(&text).map_err(|error| vec![in_file(&error)])
}

fn unknown_key(key: &str) -> String {
    let near = KEYS
        .iter()
        .map(|(known, _)| (strsim::normalized_damerau_levenshtein(key, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.5);
    match near {
        Some((_, known)) => format!("there is no key {key:?}; {known:?} is near"),
        None => format!("there is no key {key:?}; the README of im-server lists all"),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
