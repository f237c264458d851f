//! What carries packets: a TCP stream, the same inside TLS, or a WebSocket with one packet per binary message.

mod begun;
mod tcp;
mod tls;
mod websocket;

use std::future::Future;
use std::io;

use im_proto::CloseCode;

pub(crate) use begun::{Begun, START};
pub(crate) use tcp::Tcp;
pub(crate) use tls::{Tls, Tunnel};
pub(crate) use websocket::WebSocket;

/// What a read brought.
#[derive(Debug)]
pub(crate) enum Input {
    /// Bytes were appended.
    Bytes,
    /// The peer will send nothing more.
    End,
    /// The peer broke the rules of this transport: close with this code and reason.
    Refused(CloseCode, &'static str),
}

/// One peer's transport. All futures are cancel-safe: dropped before they are ready, they did nothing.
pub(crate) trait Transport: Send + 'static {
    /// Its name for the log.
    const NAME: &'static str;

    /// Waits for bytes and appends what is there, at most one packet more than [`READ`].
    fn read(&mut self, into: &mut Vec<u8>) -> impl Future<Output = io::Result<Input>> + Send;

    /// Takes some of `packets`, which begin where the last call ended, and says how many bytes.
    fn write(&mut self, packets: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;

    /// Pushes out what `write` took.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Says goodbye in the transport's own way and waits for the peer's, so that what was written last is not lost.
    fn close(self, code: CloseCode, reason: &str) -> impl Future<Output = ()> + Send;
}

/// How much one read of a stream asks for, in bytes.
pub(crate) const READ: usize = 16 * 1024;

/// How long a closed transport waits for the peer to close too. A stream that is dropped while bytes come in is reset,
/// which throws away what the peer has not read yet.
pub(crate) const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
