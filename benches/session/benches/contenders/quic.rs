//! quinn-proto: QUIC with AES-128-GCM by ring, packets of 1452 bytes, time that stands still but for the acks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ServerConfig,
    StreamEvent, StreamId, TransportConfig, VarInt,
};

use super::{CONTENT, Contender, WINDOW};

const ANSWER: usize = 16;

struct End {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    inbound: Vec<BytesMut>,
}

/// Both ends and what is between them.
struct Ends {
    now: Instant,
    client: End,
    server: End,
    buffer: Vec<u8>,
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.initial_mtu(1452).mtu_discovery_config(None);
    transport.max_concurrent_bidi_streams(VarInt::from_u32(4096));
    Arc::new(transport)
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 4433))
}

impl End {
    /// Takes what arrived, then moves what there is to send to `to`.
    fn turn(&mut self, now: Instant, from: SocketAddr, to: &mut Vec<BytesMut>, buffer: &mut Vec<u8>) {
        for datagram in self.inbound.drain(..) {
            match self.endpoint.handle(now, from, None, None, datagram, buffer) {
                Some(DatagramEvent::NewConnection(incoming)) => {
                    self.connection = self.endpoint.accept(incoming, now, buffer, None).ok();
                }
                Some(DatagramEvent::ConnectionEvent(_, event)) => {
                    if let Some((_, connection)) = &mut self.connection {
                        connection.handle_event(event);
                    }
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
            buffer.clear();
        }
        let Some((handle, connection)) = &mut self.connection else { return };
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(transmit) = connection.poll_transmit(now, 10, buffer) {
            let segment = transmit.segment_size.unwrap_or(transmit.size);
            to.extend(buffer[..transmit.size].chunks(segment).map(BytesMut::from));
            buffer.clear();
        }
    }

    fn connection(&mut self) -> &mut Connection {
        &mut self.connection.as_mut().expect("connected").1
    }
}

impl Ends {
    fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let certificate = issued.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = [&rustls::version::TLS13];
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .expect("a key for the certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).expect("a certificate");
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).expect("a QUIC suite")));
        server.transport_config(transport());
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("a QUIC suite")));
        client.transport_config(transport());

        #[expect(clippy::disallowed_methods, reason = "its time is the standard library's")]
        let now = Instant::now();
        let config = Arc::new(EndpointConfig::default());
        let end = |server| End {
            endpoint: Endpoint::new(Arc::clone(&config), server, false, None),
            connection: None,
            inbound: Vec::new(),
        };
        let (mut near, far) = (end(None), end(Some(Arc::new(server))));
        near.connection = near.endpoint.connect(now, client, address(2), "localhost").ok();
        let mut ends = Self { now, client: near, server: far, buffer: Vec::new() };
        ends.settle();
        assert!(!ends.client.connection().is_handshaking(), "the handshake is over");
        ends
    }

    fn up(&mut self) {
        self.client.turn(self.now, address(2), &mut self.server.inbound, &mut self.buffer);
        self.server.turn(self.now, address(1), &mut self.client.inbound, &mut self.buffer);
    }

    fn down(&mut self) {
        self.server.turn(self.now, address(1), &mut self.client.inbound, &mut self.buffer);
        self.client.turn(self.now, address(2), &mut self.server.inbound, &mut self.buffer);
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            self.now += Duration::from_millis(1);
            self.up();
            if self.client.inbound.is_empty() && self.server.inbound.is_empty() {
                break;
            }
        }
    }
}

/// Reads what there is of a stream: how many bytes, and whether it ended.
fn read(connection: &mut Connection, id: StreamId, into: &mut Vec<Bytes>) -> (usize, bool) {
    let mut stream = connection.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return (0, false) };
    let (mut bytes, mut ended) = (0, false);
    loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => {
                bytes += chunk.bytes.len();
                into.push(chunk.bytes);
            }
            Ok(None) => {
                ended = true;
                break;
            }
            Err(_) => break,
        }
    }
    let _ = chunks.finalize();
    (bytes, ended)
}

/// All messages on one stream, and on its other half an answer for each.
pub(crate) struct OneStream {
    ends: Ends,
    stream: StreamId,
    message: Vec<u8>,
    answers: bool,
    chunks: Vec<Bytes>,
}

impl OneStream {
    pub(crate) fn new(answers: bool) -> Self {
        let mut ends = Ends::new();
        let stream = ends.client.connection().streams().open(Dir::Bi).expect("a stream");
        Self { ends, stream, message: vec![b'x'; CONTENT], answers, chunks: Vec::new() }
    }
}

impl Contender for OneStream {
    fn batch(&mut self) {
        let Self { ends, stream, message, answers, chunks } = self;
        for _ in 0..WINDOW {
            let written = ends.client.connection().send_stream(*stream).write(message).expect("room");
            assert_eq!(written, CONTENT);
        }
        let (mut bytes, mut answered, wanted) = (0, 0, if *answers { ANSWER * WINDOW } else { 0 });
        let mut told = 0;
        for _ in 0..1000 {
            if bytes == CONTENT * WINDOW && answered == wanted {
                break;
            }
            ends.now += Duration::from_millis(1);
            ends.up();
            let server = ends.server.connection();
            while server.poll().is_some() {}
            let _ = server.streams().accept(Dir::Bi);
            bytes += read(server, *stream, chunks).0;
            chunks.clear();
            while *answers && told < bytes / CONTENT {
                told += 1;
                server.send_stream(*stream).write(&[b'a'; ANSWER]).expect("room");
            }
            ends.down();
            let client = ends.client.connection();
            while client.poll().is_some() {}
            if *answers {
                answered += read(client, *stream, chunks).0;
                chunks.clear();
            }
        }
        assert_eq!((bytes, answered), (CONTENT * WINDOW, wanted));
    }
}

/// A stream for each message, and its answer on the other half.
pub(crate) struct StreamEach {
    ends: Ends,
    message: Vec<u8>,
    chunks: Vec<Bytes>,
    open: HashMap<StreamId, ()>,
}

impl StreamEach {
    pub(crate) fn new() -> Self {
        Self { ends: Ends::new(), message: vec![b'x'; CONTENT], chunks: Vec::new(), open: HashMap::new() }
    }
}

impl Contender for StreamEach {
    fn batch(&mut self) {
        let Self { ends, message, chunks, open } = self;
        for _ in 0..WINDOW {
            let client = ends.client.connection();
            let id = client.streams().open(Dir::Bi).expect("a stream");
            let mut stream = client.send_stream(id);
            stream.write(message).expect("room");
            stream.finish().expect("it is open");
            open.insert(id, ());
        }
        for _ in 0..1000 {
            if open.is_empty() {
                break;
            }
            ends.now += Duration::from_millis(1);
            ends.up();
            let server = ends.server.connection();
            while server.poll().is_some() {}
            while let Some(id) = server.streams().accept(Dir::Bi) {
                let (bytes, ended) = read(server, id, chunks);
                chunks.clear();
                assert!(bytes == CONTENT && ended, "a message comes in one piece here");
                let mut stream = server.send_stream(id);
                stream.write(&[b'a'; ANSWER]).expect("room");
                stream.finish().expect("it is open");
            }
            ends.down();
            let client = ends.client.connection();
            while let Some(event) = client.poll() {
                if let Event::Stream(StreamEvent::Readable { id }) = event
                    && read(client, id, chunks).1
                {
                    open.remove(&id);
                }
                chunks.clear();
            }
        }
        assert!(open.is_empty());
    }
}
