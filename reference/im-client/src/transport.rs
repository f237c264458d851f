//! Sockets: a stream of packets over TCP or TLS, one packet per binary WebSocket message, or batches over HTTP.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream as _};
use im_proto::{Framing, Limits, frame_len};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use crate::http::Http;
use crate::tls::{Tls, TlsError};
use crate::url::{Carrier, ServerUrl};

/// How much room one read offers, in bytes, and how much one turn takes in.
const READ_CHUNK: usize = 16 * 1024;
const READ_TURN: usize = 64 * 1024;

/// How long the peer may take to see our last bytes.
const FINISH: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Transport {
    kind: Kind,
    limits: Limits,
    /// Writing failed. What the peer said before may still be there to read, such as why it closed.
    broken: bool,
    /// Reading failed behind bytes that were handed over first.
    failed: Option<TransportError>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    WebSocket(Box<WebSocketStream<Stream>>),
    Http(Box<Http>),
}

/// A socket, or TLS on it.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Duplex for T {}
pub(crate) type Stream = Box<dyn Duplex>;

/// What one turn of [`Transport::turn`] did.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Bytes moved.
    Moved,
    /// The peer will send nothing more.
    Eof,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("WebSocket: {0}")]
    WebSocket(tokio_websockets::Error),
    /// The peer breaks the mapping of packets to messages.
    #[error("{0}")]
    NotOnePacket(&'static str),
}

impl From<tokio_websockets::Error> for TransportError {
    fn from(error: tokio_websockets::Error) -> Self {
        Self::WebSocket(error)
    }
}

/// Sealed bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Where the connection appends. What was sent is let go first.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.sent.min(self.bytes.len()));
        self.sent = 0;
        &mut self.bytes
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.sent >= self.bytes.len() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.rest().len()
    }

    /// The first packet. The connection appends whole ones only.
    pub(crate) fn packet(&self) -> Option<&[u8]> {
        match frame_len(self.rest(), &Limits::new(u32::MAX)) {
            Ok(Framing::Complete(len)) => self.rest().get(..len),
            Ok(Framing::Need(_)) | Err(_) => None,
        }
    }
}

impl Transport {
    /// Reaches the server. Bodies up to `max_body` bytes are taken in.
    pub(crate) async fn dial(url: &ServerUrl, tls: &Tls, max_body: u32) -> Result<Self, TransportError> {
        let limits = Limits::new(max_body);
        let kind = match (url.carrier(), url.is_tls()) {
            (Carrier::Stream, false) => Kind::Tcp(connect(url).await?),
            (Carrier::Stream, true) => Kind::Tls(Box::new(tls.connect(url, connect(url).await?).await?)),
            (Carrier::WebSocket, _) => {
                let stream = secured(url, tls).await?;
                let websocket_limits = tokio_websockets::Limits::default().max_payload_len(Some(limits.max_packet()));
                let builder = ClientBuilder::new()
                    .uri(&url.to_string())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
                    .limits(websocket_limits);
                let (websocket, _response) = builder.connect_on(stream).await?;
                Kind::WebSocket(Box::new(websocket))
            }
            (Carrier::Http, _) => Kind::Http(Box::new(Http::open(url, tls, limits.max_packet()).await?)),
        };
        Ok(Self { kind, limits, broken: false, failed: None })
    }

    /// Waits until bytes can move, then moves what it can both ways. May be cancelled without loss.
    pub(crate) async fn turn(&mut self, input: &mut Vec<u8>, output: &mut Output) -> Result<Turn, TransportError> {
        poll_fn(|cx| self.poll_turn(cx, input, output)).await
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
        output: &mut Output,
    ) -> Poll<Result<Turn, TransportError>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        // Read first: a peer that closes tells why, and a write that fails could be all that is noticed of it.
        let before = (input.len(), output.len());
        let read = match &mut self.kind {
            Kind::Tcp(stream) => read_tcp(stream, cx, input),
            Kind::Tls(stream) => read_tls(Pin::new(stream), cx, input),
            Kind::Http(http) => http.poll_read(cx, input),
            Kind::WebSocket(stream) => read_websocket(Pin::new(stream), cx, input, &self.limits),
        };
        if !self.broken {
            let written = match &mut self.kind {
                Kind::Tcp(stream) => write_tcp(stream, cx, output),
                Kind::Tls(stream) => write_tls(Pin::new(stream), cx, output),
                Kind::Http(http) => http.poll_write(cx, output),
                Kind::WebSocket(stream) => write_websocket(Pin::new(stream), cx, output),
            };
            if let Err(error) = written {
                tracing::debug!(%error, "writing failed");
                self.broken = true;
            }
        }
        if self.broken {
            output.clear();
        }
        let moved = before != (input.len(), output.len());
        match read {
            // What came before the end is handed over first; the end shows again in the next turn.
            Ok(_) if moved => Poll::Ready(Ok(Turn::Moved)),
            Err(error) if moved => {
                self.failed = Some(error);
                Poll::Ready(Ok(Turn::Moved))
            }
            Ok(true) => Poll::Ready(Ok(Turn::Eof)),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Sends what is left, says that nothing more comes, and waits a little for the peer to do the same: a socket that is
    /// dropped with bytes unread resets the connection, and the peer could lose our last packets.
    pub(crate) async fn finish(mut self, mut output: Output) {
        let farewell = async {
            let mut dropped = Vec::new();
            while output.len() > 0 {
                if matches!(self.turn(&mut dropped, &mut output).await?, Turn::Eof) {
                    break;
                }
                dropped.clear();
            }
            match &mut self.kind {
                Kind::Tcp(stream) => end(stream, dropped).await?,
                Kind::Tls(stream) => end(stream, dropped).await?,
                Kind::WebSocket(stream) => stream.close().await?,
                Kind::Http(http) => http.finish().await?,
            }
            Ok::<(), TransportError>(())
        };
        match tokio::time::timeout(FINISH, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the transport ended before the farewell"),
            Err(_) => tracing::debug!("the peer did not end the transport"),
        }
    }
}

async fn connect(url: &ServerUrl) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((url.host(), url.port())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection, with TLS where the address asks for it.
pub(crate) async fn secured(url: &ServerUrl, tls: &Tls) -> Result<Stream, TransportError> {
    let stream = connect(url).await?;
    Ok(if url.is_tls() { Box::new(tls.connect(url, stream).await?) } else { Box::new(stream) })
}

/// Says that nothing more comes, and reads until the peer says so too.
async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), mut dropped: Vec<u8>) -> io::Result<()> {
    stream.shutdown().await?;
    dropped.reserve(READ_CHUNK);
    while stream.read_buf(&mut dropped).await? > 0 {
        dropped.clear();
    }
    Ok(())
}

/// Appends what is there. Whether the peer has ended.
fn read_tcp(stream: &TcpStream, cx: &mut Context<'_>, input: &mut Vec<u8>) -> Result<bool, TransportError> {
    let full = input.len() + READ_TURN;
    while input.len() < full {
        if stream.poll_read_ready(cx)?.is_pending() {
            return Ok(false);
        }
        input.reserve(READ_CHUNK);
        match stream.try_read_buf(input) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            // It was not ready after all; asking again registers the waker.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn write_tcp(stream: &TcpStream, cx: &mut Context<'_>, output: &mut Output) -> Result<(), TransportError> {
    while output.len() > 0 {
        if stream.poll_write_ready(cx)?.is_pending() {
            break;
        }
        match stream.try_write(output.rest()) {
            Ok(n) => output.advance(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn read_tls(
    mut stream: Pin<&mut TlsStream<TcpStream>>,
    cx: &mut Context<'_>,
    input: &mut Vec<u8>,
) -> Result<bool, TransportError> {
    let full = input.len() + READ_TURN;
    while input.len() < full {
        let mut chunk = [0; 4096];
        let mut chunk = ReadBuf::new(&mut chunk);
        match stream.as_mut().poll_read(cx, &mut chunk) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) if chunk.filled().is_empty() => return Ok(true),
            Poll::Ready(Ok(())) => input.extend_from_slice(chunk.filled()),
            // The end without TLS's goodbye. Whether the session was cut, its own authenticated close tells.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Poll::Ready(Err(error)) => return Err(error.into()),
        }
    }
    // More may be there, and nothing would wake this task for it.
    cx.waker().wake_by_ref();
    Ok(false)
}

fn write_tls(
    mut stream: Pin<&mut TlsStream<TcpStream>>,
    cx: &mut Context<'_>,
    output: &mut Output,
) -> Result<(), TransportError> {
    while output.len() > 0 {
        match stream.as_mut().poll_write(cx, output.rest())? {
            Poll::Ready(n) => output.advance(n),
            Poll::Pending => return Ok(()),
        }
    }
    match stream.poll_flush(cx) {
        Poll::Ready(flushed) => Ok(flushed?),
        Poll::Pending => Ok(()),
    }
}

fn read_websocket(
    mut stream: Pin<&mut WebSocketStream<Stream>>,
    cx: &mut Context<'_>,
    input: &mut Vec<u8>,
    limits: &Limits,
) -> Result<bool, TransportError> {
    let full = input.len() + READ_TURN;
    while input.len() < full {
        let message = match stream.as_mut().poll_next(cx)? {
            Poll::Ready(Some(message)) => message,
            Poll::Ready(None) => return Ok(true),
            Poll::Pending => return Ok(false),
        };
        if message.is_binary() {
            let packet: &[u8] = message.as_payload();
            match frame_len(packet, limits) {
                // Bytes that are no packet go to the connection too: it names what they are.
                Ok(Framing::Complete(len)) if len == packet.len() => {}
                Err(_) => {}
                Ok(_) => return Err(TransportError::NotOnePacket("a WebSocket message is not exactly one packet")),
            }
            input.extend_from_slice(packet);
        } else if message.is_text() {
            return Err(TransportError::NotOnePacket("a text message on a WebSocket that carries binary packets"));
        }
    }
    Ok(false)
}

fn write_websocket(
    mut stream: Pin<&mut WebSocketStream<Stream>>,
    cx: &mut Context<'_>,
    output: &mut Output,
) -> Result<(), TransportError> {
    while let Some(packet) = output.packet() {
        if stream.as_mut().poll_ready(cx)?.is_pending() {
            return Ok(());
        }
        let len = packet.len();
        stream.as_mut().start_send(Message::binary(packet.to_vec()))?;
        output.advance(len);
    }
    match stream.poll_flush(cx) {
        Poll::Ready(flushed) => Ok(flushed?),
        Poll::Pending => Ok(()),
    }
}
