//! Packets on a TCP stream.

use std::io::{Error, ErrorKind, Result};

use im_proto::CloseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Input, LINGER, READ, Transport};

pub(crate) struct Tcp(pub(crate) TcpStream);

impl Transport for Tcp {
    const NAME: &'static str = "tcp";

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<Input> {
        loop {
            // No buffer is held while nothing comes.
            self.0.readable().await?;
            into.reserve(READ);
            match self.0.try_read_buf(into) {
                Ok(0) => return Ok(Input::End),
                Ok(_) => return Ok(Input::Bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&mut self, packets: &[u8]) -> Result<usize> {
        match self.0.write(packets).await? {
            0 => Err(Error::from(ErrorKind::WriteZero)),
            len => Ok(len),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(mut self, _code: CloseCode, _reason: &str) {
        let goodbye = async {
            self.0.shutdown().await?;
            let mut rest = [0; 1024];
            while self.0.read(&mut rest).await? > 0 {}
            Result::Ok(())
        };
        // Whatever happens now, the connection is over.
        let _ = tokio::time::timeout(LINGER, goodbye).await;
    }
}
