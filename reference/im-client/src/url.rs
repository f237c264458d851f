//! Where a server is and how to talk to it.

use std::fmt;
use std::str::FromStr;

/// A server's address: `tcp://host:port` or `ws://host[:port][/path]`.
///
/// ```
/// use im_client::{ServerUrl, UrlError};
/// let url: ServerUrl = "ws://chat.example/im".parse()?;
/// assert_eq!((url.host(), url.port()), ("chat.example", 80));
/// assert_eq!(url.to_string(), "ws://chat.example:80/im");
/// assert!(matches!("wss://chat.example/im".parse::<ServerUrl>(), Err(UrlError::NotYet { .. })));
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    host: String,
    port: u16,
    /// The path and query of a WebSocket; `None` for TCP.
    path: Option<String>,
}

/// Why a text is not a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("'{0}' has no scheme: write tcp://host:port or ws://host:port/path")]
    NoScheme(String),
    /// A transport of the protocol that this client cannot use yet.
    #[error("{scheme}:// is not supported by this client yet: use {instead}://, packets are encrypted on it too")]
    NotYet {
        /// The scheme.
        scheme: String,
        /// What to use.
        instead: &'static str,
    },
    /// Some other scheme.
    #[error("unknown scheme '{0}': use tcp://host:port or ws://host:port/path")]
    Scheme(String),
    /// There is no host, or it has characters that a host cannot have.
    #[error("'{0}' does not name a host: write tcp://host:port, with [brackets] around an IPv6 address")]
    Host(String),
    /// There is no port, or it is not a number from 1 to 65535.
    #[error("'{0}' does not name a port from 1 to 65535: write host:port")]
    Port(String),
    /// A `tcp://` address with something behind the port.
    #[error("'{0}' has a path, which tcp:// does not know: leave it out or use ws://")]
    Path(String),
}

impl ServerUrl {
    /// The host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether packets travel as WebSocket messages.
    pub fn is_websocket(&self) -> bool {
        self.path.is_some()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_websocket() { "ws" } else { "tcp" };
        let path = self.path.as_deref().unwrap_or("");
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}{path}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}{path}", self.host, self.port)
        }
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(UrlError::NoScheme(text.into()));
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "tcp" => {
                let (host, port) = split_host(authority)?;
                let port = port.ok_or_else(|| UrlError::Port(authority.into()))?;
                if !matches!(path, "" | "/") {
                    return Err(UrlError::Path(text.into()));
                }
                Ok(Self { host, port, path: None })
            }
            "ws" => {
                let (host, port) = split_host(authority)?;
                // A fragment never goes to a server.
                let path = path.split('#').next().unwrap_or("");
                let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
                Ok(Self { host, port: port.unwrap_or(80), path: Some(path) })
            }
            "wss" | "http" | "https" => Err(UrlError::NotYet { scheme, instead: "ws" }),
            "tls" | "tcps" | "tcp+tls" => Err(UrlError::NotYet { scheme, instead: "tcp" }),
            _ => Err(UrlError::Scheme(scheme)),
        }
    }
}

fn split_host(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    let bad_host = || UrlError::Host(authority.into());
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']').filter(|(host, _)| host.contains(':')).ok_or_else(bad_host)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(allowed) {
        return Err(bad_host());
    }
    let port = match rest.strip_prefix(':') {
        Some(digits) => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            Some(port.ok_or_else(|| UrlError::Port(authority.into()))?)
        }
        None if rest.is_empty() => None,
        None => return Err(bad_host()),
    };
    Ok((host.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_parse() {
        for (text, printed) in [
            ("tcp://127.0.0.1:6001", "tcp://127.0.0.1:6001"),
            ("TCP://im.example:1/", "tcp://im.example:1"),
            ("tcp://[::1]:6001", "tcp://[::1]:6001"),
            ("ws://[::1]", "ws://[::1]:80/"),
            ("ws://h:8080/a/b?c=d#e", "ws://h:8080/a/b?c=d"),
            ("ws://h?x", "ws://h:80/?x"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), printed);
            assert_eq!(printed.parse::<ServerUrl>().unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        let error = |text: &str| text.parse::<ServerUrl>().unwrap_err();
        assert_eq!(error("localhost:6001"), UrlError::NoScheme("localhost:6001".into()));
        assert_eq!(error("ftp://h:1"), UrlError::Scheme("ftp".into()));
        for scheme in ["wss", "http", "https"] {
            let text = error(&format!("{scheme}://h/im")).to_string();
            assert!(text.starts_with(&format!("{scheme}:// is not supported")), "{text}");
        }
        for text in ["tcp://:6001", "tcp://a b:1", "tcp://[::1:6001", "tcp://[1]:2", "tcp://u@h:1", "ws:///x"] {
            assert!(matches!(error(text), UrlError::Host(_)), "{text}");
        }
        for text in ["tcp://h", "tcp://h:", "tcp://h:0", "tcp://h:65536", "tcp://::1:6001", "ws://h:x/"] {
            assert!(matches!(error(text), UrlError::Port(_) | UrlError::Host(_)), "{text}");
        }
        assert!(matches!(error("tcp://h:1/x"), UrlError::Path(_)));
    }
}
