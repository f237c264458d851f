//! Packets on a TCP stream.

use std::io::{Error, ErrorKind, Result};

use im_proto::CloseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Begun, Input, LINGER, READ, Transport};

pub(crate) struct Tcp {
    stream: TcpStream,
    /// What was taken from it to see what it carries.
    start: Vec<u8>,
}

impl From<Begun<TcpStream>> for Tcp {
    fn from(begun: Begun<TcpStream>) -> Self {
        Self { start: begun.start().to_vec(), stream: begun.into_inner() }
    }
}

impl Transport for Tcp {
    const NAME: &'static str = "tcp";

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<Input> {
        if !self.start.is_empty() {
            into.append(&mut self.start);
            return Ok(Input::Bytes);
        }
        loop {
            // No buffer is held while nothing comes.
            self.stream.readable().await?;
            into.reserve(READ);
            match self.stream.try_read_buf(into) {
                Ok(0) => return Ok(Input::End),
                Ok(_) => return Ok(Input::Bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&mut self, packets: &[u8]) -> Result<usize> {
        match self.stream.write(packets).await? {
            0 => Err(Error::from(ErrorKind::WriteZero)),
            len => Ok(len),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(mut self, _code: CloseCode, _reason: &str) {
        let goodbye = async {
            self.stream.shutdown().await?;
            let mut rest = [0; 1024];
            while self.stream.read(&mut rest).await? > 0 {}
            Result::Ok(())
        };
        // Whatever happens now, the connection is over.
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }
}
