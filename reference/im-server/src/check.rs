//! What is needed to serve, made from the settings without starting anything; and `im-server check`, which says what is
//! wrong with it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, SystemTime};

use im_server::auth::{JwtAuthenticator, OpenLoopback};
use im_server::{ServiceKeys, Tls, TlsError, WebhookError, Webhooks};
use tracing_subscriber::EnvFilter;

use crate::cli::ServeArgs;
use crate::settings::{Settings, WebhookSettings, resolve};
use crate::{Failure, files};

/// How long before its end a certificate is spoken of.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate chain and its key, as the files have them.
pub(crate) type Pem = (Vec<u8>, Vec<u8>);

/// What the settings stand for.
pub(crate) struct Prepared {
    pub(crate) settings: Settings,
    pub(crate) tokens: Option<JwtAuthenticator>,
    pub(crate) service_keys: ServiceKeys,
    pub(crate) tls: Option<Tls>,
    /// What the two files of it had in them.
    pub(crate) pem: Option<Pem>,
    /// What works, and should be known.
    pub(crate) notes: Vec<String>,
    /// A certificate that clients will refuse. The server serves the others, and takes a renewed one by itself.
    pub(crate) expired: Option<String>,
    pub(crate) webhooks: Option<Webhooks>,
}

/// `im-server check`.
pub(crate) fn check(args: &ServeArgs) -> Result<(), Failure> {
    let prepared = prepare(args)?;
    if let Some(problem) = prepared.expired {
        return Err(Failure::settings(problem));
    }
    im_server::existing_server_key(&prepared.settings.data)?;
    for note in &prepared.notes {
        println!("note: {note}");
    }
    println!("the settings are good");
    Ok(())
}

/// Everything that can be known before listening. The failure names every problem.
pub(crate) fn prepare(args: &ServeArgs) -> Result<Prepared, Failure> {
    let settings = resolve(&args.options, args.config.as_deref()).map_err(|problems| failure(&problems))?;
    let (mut problems, mut notes, mut expired) = (Vec::new(), Vec::new(), None);
    if let Err(error) = EnvFilter::try_new(&settings.log) {
        problems.push(format!("the log filter {:?} is not one: {error}", settings.log));
    }
    let tokens = token_verification(&settings).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let service_keys = service_keys(settings.service_keys_file.as_deref()).unwrap_or_else(|problem| {
        problems.push(problem);
        ServiceKeys::default()
    });
    let wants_tokens = settings.jwt_hs256_secret_file.is_some() || settings.jwt_eddsa_public_key_file.is_some();
    addresses(&settings, wants_tokens, &mut problems, &mut notes);
    if !service_keys.is_empty() && settings.tls_files.is_none() && beyond_loopback(&settings.listen) {
        let listen = &settings.listen;
        notes.push(format!(
            "keys of services travel to {listen} in the clear: set a certificate, or put a TLS proxy before it"
        ));
    }
    let tls = settings.tls_files.as_ref().and_then(|(chain, key)| match load_tls(chain, key) {
        Ok((tls, pem)) => {
            expired = certificate_time(&tls, chain, &mut notes);
            Some((tls, pem))
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    });
    if settings.listen_tls.is_some() && settings.tls_files.is_none() {
        problems.push("listen_tls is set: set tls_certificate_file and tls_key_file too".into());
    }
    let (tls, pem) = tls.unzip();
    let webhooks = settings.webhooks.as_ref().and_then(|wanted| match webhooks(wanted) {
        Ok(webhooks) => {
            if !webhooks.is_secure() {
                notes.push("webhook_url is without TLS: what is told can be read on its way".into());
            }
            Some(webhooks)
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    });
    if problems.is_empty() {
        Ok(Prepared { settings, tokens, service_keys, tls, pem, notes, expired, webhooks })
    } else {
        Err(failure(&problems))
    }
}

fn failure(problems: &[String]) -> Failure {
    match problems {
        [problem] => Failure::settings(problem.clone()),
        _ => Failure::settings(format!("there are {} problems:\n- {}", problems.len(), problems.join("\n- "))),
    }
}

fn addresses(settings: &Settings, tokens: bool, problems: &mut Vec<String>, notes: &mut Vec<String>) {
    let listens = [
        ("listen", Some(&settings.listen)),
        ("listen_tls", settings.listen_tls.as_ref()),
        ("listen_plain", settings.listen_plain.as_ref()),
    ];
    for (name, listen) in listens {
        let Some(listen) = listen else { continue };
        match look_up(name, listen) {
            Ok(addresses) => {
                let open = addresses.iter().find_map(|address| OpenLoopback::new(*address).err());
                problems.extend(open.filter(|_| !tokens).map(|error| how_to_verify(&error)));
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !settings.proxies.is_empty() && !tokens {
        let why = "proxies is set, and clients behind a proxy come from everywhere: verify login tokens, with \
                   jwt_hs256_secret_file or jwt_eddsa_public_key_file";
        problems.push(why.into());
    }
    if let Some(listen) = &settings.metrics_listen {
        match look_up("metrics_listen", listen) {
            Ok(_) if beyond_loopback(listen) => {
                notes.push(format!("whoever reaches metrics_listen, {listen}, may read the metrics"));
            }
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
    }
}

fn beyond_loopback(listen: &str) -> bool {
    look_up("listen", listen).is_ok_and(|found| found.iter().any(|address| !address.ip().to_canonical().is_loopback()))
}

fn look_up(name: &str, listen: &str) -> Result<Vec<SocketAddr>, String> {
    let bad = |why: &str| format!("{name} is {listen:?}: {why}; give an address and a port, like 127.0.0.1:6001");
    match listen.to_socket_addrs().map(Vec::from_iter) {
        Ok(addresses) if addresses.is_empty() => Err(bad("there is no such address")),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(bad(&error.to_string())),
    }
}

/// The certificate and key of these files; the problem names the file.
fn load_tls(chain: &Path, key: &Path) -> Result<(Tls, Pem), String> {
    let pem = read_tls(chain, key)?;
    let tls = Tls::from_pem(&pem.0, &pem.1).map_err(|error| which_file(chain, key, &error))?;
    Ok((tls, pem))
}

pub(crate) fn read_tls(chain: &Path, key: &Path) -> Result<Pem, String> {
    let read = |path: &Path| files::read(path).map_err(|Failure { message, .. }| message);
    Ok((read(chain)?, read(key)?))
}

pub(crate) fn which_file(chain: &Path, key: &Path, error: &TlsError) -> String {
    match error {
        TlsError::Key(_) => format!("{}: {error}", key.display()),
        TlsError::Mismatch => format!("{} and {}: {error}", chain.display(), key.display()),
        TlsError::Certificate(_) | TlsError::Setup(_) | _ => format!("{}: {error}", chain.display()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the command owns the clock, and compares a certificate with it here")]
fn certificate_time(tls: &Tls, chain: &Path, notes: &mut Vec<String>) -> Option<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let (validity, chain) = (tls.validity(), chain.display());
    if validity.not_after < seconds(now) {
        let hours = (seconds(now) - validity.not_after) / 3600;
        return Some(format!("{chain}: the certificate expired {hours} hours ago; renew it"));
    } else if validity.not_before > seconds(now) {
        let hours = (validity.not_before - seconds(now)) / 3600;
        return Some(format!("{chain}: the certificate is good only in {hours} hours; is the clock right?"));
    } else if validity.not_after < seconds(now + SOON) {
        let hours = (validity.not_after - seconds(now)) / 3600;
        notes.push(format!(
            "{chain}: the certificate ends in {hours} hours; once renewed, the server takes it by itself"
        ));
    }
    None
}

fn token_verification(settings: &Settings) -> Result<Option<JwtAuthenticator>, String> {
    let read = |path: &Path| files::read(path).map_err(|Failure { message, .. }| message);
    let (path, tokens) = match (&settings.jwt_hs256_secret_file, &settings.jwt_eddsa_public_key_file) {
        (Some(path), _) => (path, JwtAuthenticator::hs256(&read(path)?)),
        (None, Some(path)) => (path, JwtAuthenticator::eddsa(&read(path)?)),
        (None, None) => return Ok(None),
    };
    let tokens = tokens.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(match &settings.jwt_audience {
        Some(audience) => tokens.audience(audience),
        None => tokens,
    }))
}

fn service_keys(path: Option<&Path>) -> Result<ServiceKeys, String> {
    let Some(path) = path else { return Ok(ServiceKeys::default()) };
    let text = files::read(path).map_err(|Failure { message, .. }| message)?;
    let text = String::from_utf8(text).map_err(|_| format!("{}: the service keys are not text", path.display()))?;
    ServiceKeys::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn webhooks(wanted: &WebhookSettings) -> Result<Webhooks, String> {
    let read = |path: &Path| files::read(path).map_err(|Failure { message, .. }| message);
    let secrets = read(&wanted.secret_file)?;
    let in_file = |error: &dyn std::fmt::Display| format!("{}: {error}", wanted.secret_file.display());
    let secrets = std::str::from_utf8(&secrets).map_err(|_| in_file(&WebhookError::Secret))?;
    let mut lines = secrets.lines().filter(|line| !line.trim().is_empty());
    let made = Webhooks::new(&wanted.url, lines.next().unwrap_or_default());
    let mut webhooks = made.map_err(|error| {
        if matches!(error, WebhookError::Secret) { in_file(&error) } else { format!("webhook_url: {error}") }
    })?;
    for line in lines {
        webhooks = webhooks.also_secret(line).map_err(|error| in_file(&error))?;
    }
    if let Some(path) = &wanted.ca_file {
        webhooks = webhooks.authorities(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(webhooks.content(wanted.content).timeout(wanted.timeout).max_age(wanted.max_age))
}

pub(crate) fn how_to_verify(error: &im_server::auth::NotLoopback) -> String {
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
