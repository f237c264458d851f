//! What a client is started with.

use std::time::Duration;

use im_proto::{ClientConfig, Credentials, FormatId, RUSTCRYPTO, ServerPublicKey, SuiteId};

use crate::tls::Tls;
use crate::url::ServerUrl;

/// What a [`Client`](crate::Client) is started with.
///
/// ```
/// use im_client::{Credentials, FormatId, Options, ServerPublicKey, SuiteId};
/// let key = ServerPublicKey::from_bytes([9; 32]); // the server prints it when it starts
/// let alice = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
/// let mut options = Options::new("tcp://127.0.0.1:6001".parse()?, key, alice)
///     .suites(&[SuiteId::CHACHA20_POLY1305])
///     .formats(&[FormatId::JSON, FormatId::PROTOBUF]);
/// options.config.receive_max = 16;
/// # Ok::<(), im_client::UrlError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where the server is.
    pub url: ServerUrl,
    /// The protocol's settings: key, credentials, limits, back-off.
    pub config: ClientConfig,
    /// Whether to connect again after a connection ended or could not be made. On by default.
    pub reconnect: bool,
    /// Whom to trust where the address asks for TLS.
    pub tls: Tls,
    /// Bound for one attempt to reach the server. 10 s by default.
    pub dial_timeout: Duration,
}

impl Options {
    /// Options with the defaults of the protocol.
    pub fn new(url: ServerUrl, server_key: ServerPublicKey, credentials: Credentials) -> Self {
        let config = ClientConfig::new(&RUSTCRYPTO, server_key, credentials);
        Self { url, config, reconnect: true, tls: Tls::default(), dial_timeout: Duration::from_secs(10) }
    }

    /// Offers only these suites, most preferred first.
    #[must_use]
    pub fn suites(mut self, suites: &[SuiteId]) -> Self {
        self.config.suites = suites.to_vec();
        self
    }

    /// Offers only these serializations, most preferred first. Ids that are not compiled in are left out.
    #[must_use]
    pub fn formats(mut self, formats: &[FormatId]) -> Self {
        self.config.formats = self.config.formats.select(formats);
        self
    }

    /// Sets whom to trust where the address asks for TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets whether to connect again.
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }
}
