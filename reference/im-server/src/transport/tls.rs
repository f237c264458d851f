//! Packets on a TCP stream inside TLS.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::Poll;

use im_proto::CloseCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Begun, Input, LINGER, READ, Transport};

/// TLS with the few bytes by which it was told what travels inside.
pub(crate) type Tunnel = Begun<TlsStream<TcpStream>>;

pub(crate) struct Tls(pub(crate) Tunnel);

impl Transport for Tls {
    const NAME: &'static str = "tcps";

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<Input> {
        let before = into.len();
        poll_fn(|cx| {
            // On the stack, so that no buffer is held while nothing comes.
            let mut chunk = [0; 4096];
            loop {
                let mut chunk = ReadBuf::new(&mut chunk);
                let read = Pin::new(&mut self.0).poll_read(cx, &mut chunk);
                let some = into.len() > before;
                match read {
                    // What is there is handed over first; an end or an error shows again in the next read.
                    Poll::Pending | Poll::Ready(Err(_)) if some => return Poll::Ready(Ok(Input::Bytes)),
                    Poll::Pending => return Poll::Pending,
                    // The end without TLS's goodbye: the session's own close is authenticated and tells.
                    Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Ok(Input::End));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) if chunk.filled().is_empty() => {
                        return Poll::Ready(Ok(if some { Input::Bytes } else { Input::End }));
                    }
                    Poll::Ready(Ok(())) => {
                        into.extend_from_slice(chunk.filled());
                        if into.len() - before >= READ {
                            return Poll::Ready(Ok(Input::Bytes));
                        }
                    }
                }
            }
        })
        .await
    }

    async fn write(&mut self, packets: &[u8]) -> Result<usize> {
        match self.0.write(packets).await? {
            0 => Err(Error::from(ErrorKind::WriteZero)),
            len => Ok(len),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(mut self, _code: CloseCode, _reason: &str) {
        let goodbye = async {
            self.0.shutdown().await?;
            let mut rest = [0; 1024];
            while self.0.read(&mut rest).await? > 0 {}
            Result::Ok(())
        };
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }
}
