//! An authority of the test's own, and clients of `im-client`.

use std::net::SocketAddr;
use std::sync::Arc;

use im_client::{Client, Credentials, Event, Events, Message, Options, Tls as ClientTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TestServer, within};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `localhost` and its key.
    pub fn issue(&self) -> (String, String) {
        self.issue_with(|_| {})
    }

    pub fn issue_with(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub fn server_tls(&self) -> im_server::Tls {
        let (chain, key) = self.issue();
        im_server::Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    pub fn client_tls(&self) -> ClientTls {
        ClientTls::authorities(self.pem.as_bytes()).unwrap()
    }
}

/// A bare TLS connection to `localhost`.
pub async fn connect(
    authority: &Authority,
    address: SocketAddr,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = within(TcpStream::connect(address)).await?;
    within(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream)).await
}

/// A running client of the client library.
pub struct Member {
    pub client: Client,
    pub events: Events,
}

impl Member {
    pub fn start(server: &TestServer, url: &str, user: &str, tls: ClientTls) -> Self {
        let credentials = Credentials { user: user.into(), device: "test".into(), token: String::new() };
        let options = Options::new(url.parse().unwrap(), server.server.public_key(), credentials).tls(tls);
        let (client, events) = Client::start(options.reconnect(false)).unwrap();
        Self { client, events }
    }

    pub async fn say(&self, to: &str, text: &str) -> u64 {
        within(self.client.send(Message::text(to, text))).await.unwrap().seq
    }

    /// The next message, acked.
    pub async fn text(&mut self) -> String {
        loop {
            match within(self.events.next()).await.unwrap() {
                Event::Message(delivery) => {
                    let text = String::from_utf8(delivery.entry.content().to_vec()).unwrap();
                    self.client.ack(delivery.token).await;
                    return text;
                }
                Event::Disconnected { closed, .. } => panic!("{closed}"),
                Event::DialFailed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Why it ended.
    pub async fn ended(&mut self) -> String {
        loop {
            match self.events.next().await {
                Some(Event::Disconnected { closed, .. }) => return closed.to_string(),
                Some(Event::DialFailed { error, .. }) => return error,
                Some(_) => {}
                None => return "it ended".into(),
            }
        }
    }
}
