//! Packets in the binary messages of a WebSocket.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::task::{Poll, ready};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use im_proto::{CloseCode, Framing, Limits, frame_len};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_websockets::{Config, Message, ServerBuilder, WebSocketStream};

use super::{Input, LINGER, Transport};

/// Longest reason in a close frame, in bytes (RFC 6455 section 5.5).
const MAX_REASON: usize = 123;

pub(crate) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    limits: Limits,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A WebSocket whose upgrade is done. A message over `limits` is refused by its header, before it is read.
    pub(crate) fn new(stream: S, limits: Limits) -> Self {
        let frames = tokio_websockets::Limits::default().max_payload_len(Some(limits.max_packet()));
        let config = Config::default().flush_threshold(64 * 1024);
        Self { stream: ServerBuilder::new().limits(frames).config(config).serve(stream), limits }
    }
}

fn io_error(error: tokio_websockets::Error) -> Error {
    if let tokio_websockets::Error::Io(error) = error { error } else { Error::new(ErrorKind::InvalidData, error) }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for WebSocket<S> {
    const NAME: &'static str = "ws";

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<Input> {
        loop {
            let message = match self.stream.next().await {
                None => return Ok(Input::End),
                Some(Ok(message)) => message,
                Some(Err(tokio_websockets::Error::Io(error))) => return Err(error),
                // A broken or too large frame. The library has a close frame ready, which `close` pushes out.
                Some(Err(error)) => {
                    tracing::debug!(%error, "a WebSocket broke its protocol");
                    return Ok(Input::End);
                }
            };
            if message.is_close() {
                return Ok(Input::End);
            }
            if message.is_text() {
                return Ok(Input::Refused(CloseCode::PROTOCOL, "a text message: packets travel in binary messages"));
            }
            if message.is_binary() {
                let payload = message.as_payload();
                // What is not a packet at all is left to the connection, which names what is wrong with it.
                if let Ok(framing) = frame_len(payload, &self.limits)
                    && framing != Framing::Complete(payload.len())
                {
                    let reason = "a binary message must be exactly one packet";
                    return Ok(Input::Refused(CloseCode::PROTOCOL, reason));
                }
                into.extend_from_slice(payload);
                return Ok(Input::Bytes);
            }
            // Pings are answered by the library.
        }
    }

    async fn write(&mut self, packets: &[u8]) -> Result<usize> {
        poll_fn(|cx| {
            let mut taken = 0;
            while let Some(rest) = packets.get(taken..).filter(|rest| !rest.is_empty()) {
                let room = self.stream.poll_ready_unpin(cx);
                if room.is_pending() && taken > 0 {
                    break;
                }
                ready!(room).map_err(io_error)?;
                // The connection made these bytes, so they are whole packets.
                let Ok(Framing::Complete(len)) = frame_len(rest, &Limits::new(u32::MAX)) else {
                    return Poll::Ready(Err(Error::from(ErrorKind::InvalidData)));
                };
                let packet = Bytes::copy_from_slice(rest.get(..len).unwrap_or(rest));
                self.stream.start_send_unpin(Message::binary(packet)).map_err(io_error)?;
                taken += len;
            }
            Poll::Ready(Ok(taken))
        })
        .await
    }

    async fn flush(&mut self) -> Result<()> {
        self.stream.flush().await.map_err(io_error)
    }

    async fn close(mut self, code: CloseCode, reason: &str) {
        let goodbye = async {
            // The protocol's codes lie in the private range. Others, which only a peer can have sent, are not repeated:
            // some must not stand in a frame. If the peer closed the WebSocket first, the library answers instead.
            if (4000..5000).contains(&code.0)
                && let Ok(code) = code.0.try_into()
            {
                let end = reason.floor_char_boundary(MAX_REASON);
                let reason = reason.get(..end).unwrap_or_default();
                let _ = self.stream.feed(Message::close(Some(code), reason)).await;
            }
            self.stream.close().await
        };
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }
}
