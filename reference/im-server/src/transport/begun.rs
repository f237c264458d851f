//! A stream of which the first bytes were taken to see what it carries.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// As many bytes as it takes to tell what a connection carries.
pub(crate) const START: usize = 3;

/// What was taken is read first.
pub(crate) struct Begun<S> {
    stream: S,
    start: [u8; START],
    len: usize,
    read: usize,
}

impl<S> Begun<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, start: [0; START], len: 0, read: 0 }
    }

    /// What was taken and not read yet.
    pub(crate) fn start(&self) -> &[u8] {
        self.start.get(self.read..self.len).unwrap_or_default()
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Takes what comes, up to [`START`] bytes in all, before anything is read; 0 at the end. Cancel-safe.
    pub(crate) async fn take(&mut self) -> Result<usize> {
        let taken = self.stream.read(self.start.get_mut(self.len..).unwrap_or_default()).await?;
        self.len += taken;
        Ok(taken)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let len = self.start().len().min(into.remaining());
        if len == 0 {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        into.put_slice(self.start().get(..len).unwrap_or_default());
        self.read += len;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
