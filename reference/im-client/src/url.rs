//! Where a server is and how to talk to it.

use std::fmt;
use std::str::FromStr;

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Carrier {
    /// A stream of packets.
    Stream,
    /// One packet per binary WebSocket message.
    WebSocket,
    /// Batches of packets in HTTP requests.
    Http,
}

/// A server's address: `tcp://host:port`, `ws://host[:port][/path]` or `http://host[:port][/path]`, and the same over TLS:
/// `tcps://`, `wss://` and `https://`. Without a path, WebSocket goes to `/` and HTTP to `/im`.
///
/// ```
/// use im_client::{ServerUrl, UrlError};
/// let url: ServerUrl = "wss://chat.example/im".parse()?;
/// assert_eq!((url.host(), url.port(), url.is_tls()), ("chat.example", 443, true));
/// assert_eq!(url.to_string(), "wss://chat.example:443/im");
/// assert!(matches!("mqtt://chat.example".parse::<ServerUrl>(), Err(UrlError::Scheme(_))));
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    host: String,
    port: u16,
    carrier: Carrier,
    tls: bool,
    /// The path and query of a WebSocket, the path of HTTP; empty for a stream.
    path: String,
}

/// Why a text is not a server's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("'{0}' has no scheme: write tcp://host:port, ws://host:port/path or http://host:port")]
    NoScheme(String),
    /// Some other scheme.
    #[error("unknown scheme '{0}': use tcp, ws or http, or over TLS tcps, wss or https")]
    Scheme(String),
    /// There is no host, or it has characters that a host cannot have.
    #[error("'{0}' does not name a host: write tcp://host:port, with [brackets] around an IPv6 address")]
    Host(String),
    /// There is no port, or it is not a number from 1 to 65535.
    #[error("'{0}' does not name a port from 1 to 65535: write host:port")]
    Port(String),
    /// A path where none can be, or a query where none can be.
    #[error("'{0}' has a path or query that this scheme does not know: leave it out")]
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
        self.carrier == Carrier::WebSocket
    }

    /// Whether packets travel in HTTP requests.
    pub fn is_http(&self) -> bool {
        self.carrier == Carrier::Http
    }

    /// Whether the transport is encrypted with TLS. Packets are encrypted between client and server in any case.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn carrier(&self) -> Carrier {
        self.carrier
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, as HTTP names them.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.carrier, self.tls) {
            (Carrier::Stream, false) => "tcp",
            (Carrier::Stream, true) => "tcps",
            (Carrier::WebSocket, false) => "ws",
            (Carrier::WebSocket, true) => "wss",
            (Carrier::Http, false) => "http",
            (Carrier::Http, true) => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
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
        let (carrier, tls) = match scheme.as_str() {
            "tcp" => (Carrier::Stream, false),
            "tcps" | "tls" | "tcp+tls" => (Carrier::Stream, true),
            "ws" => (Carrier::WebSocket, false),
            "wss" => (Carrier::WebSocket, true),
            "http" => (Carrier::Http, false),
            "https" => (Carrier::Http, true),
            _ => return Err(UrlError::Scheme(scheme)),
        };
        let (host, port) = split_host(authority)?;
        // A fragment never goes to a server.
        let path = path.split('#').next().unwrap_or("");
        let (port, path) = match carrier {
            Carrier::Stream if matches!(path, "" | "/") => {
                (port.ok_or_else(|| UrlError::Port(authority.into()))?, String::new())
            }
            Carrier::Http if !path.contains('?') => {
                let path = path.trim_end_matches('/');
                (port.unwrap_or(if tls { 443 } else { 80 }), if path.is_empty() { "/im" } else { path }.into())
            }
            Carrier::Stream | Carrier::Http => return Err(UrlError::Path(text.into())),
            Carrier::WebSocket => {
                let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
                (port.unwrap_or(if tls { 443 } else { 80 }), path)
            }
        };
        Ok(Self { host, port, carrier, tls, path })
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
            ("wss://h", "wss://h:443/"),
            ("tls://h:1", "tcps://h:1"),
            ("tcp+tls://h:1", "tcps://h:1"),
            ("http://h", "http://h:80/im"),
            ("https://[::1]/a/b/", "https://[::1]:443/a/b"),
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
        for text in ["tcp://:6001", "tcp://a b:1", "tcp://[::1:6001", "tcp://[1]:2", "tcp://u@h:1", "ws:///x"] {
            assert!(matches!(error(text), UrlError::Host(_)), "{text}");
        }
        for text in ["tcp://h", "tcp://h:", "tcp://h:0", "tcp://h:65536", "tcp://::1:6001", "ws://h:x/"] {
            assert!(matches!(error(text), UrlError::Port(_) | UrlError::Host(_)), "{text}");
        }
        for text in ["tcp://h:1/x", "tcps://h:1?x", "http://h/im?x"] {
            assert!(matches!(error(text), UrlError::Path(_)), "{text}");
        }
    }
}
