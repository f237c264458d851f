//! The PROXY protocol, versions 1 and 2: a proxy that passes TCP on says who the client is.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::net::SocketAddr;

use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header of version 1 (section 2.1), and what is read of version 2: addresses and a few hundred bytes of
/// TLVs, which are not looked at.
const MAX_V1: usize = 107;
const MAX_V2: usize = 1024;
const START_V1: &[u8] = b"PROXY ";
/// Up to the length (section 2.2).
const START_V2: usize = 16;

/// Whether this peer says who its clients are.
pub(crate) fn is_trusted(peer: SocketAddr, proxies: &[IpNet]) -> bool {
    let address = peer.ip().to_canonical();
    proxies.iter().any(|proxy| proxy.contains(&address))
}

/// Takes the header from the start of a connection and nothing behind it. The client's address; `None` when the proxy
/// speaks for itself, as in its health checks.
pub(crate) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::with_capacity(MAX_V1);
    take(stream, &mut header, START_V1.len()).await?;
    if header == START_V1 {
        // It ends with a line feed, and its length is not known before.
        while header.last() != Some(&b'\n') {
            if header.len() >= MAX_V1 {
                return Err(bad(&"a header of version 1 is longer than 107 bytes"));
            }
            take(stream, &mut header, 1).await?;
        }
        let header = v1::Header::try_from(header.as_slice()).map_err(|error| bad(&error))?;
        return Ok(match header.addresses {
            v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Unknown => None,
        });
    }
    if !v2::PROTOCOL_PREFIX.starts_with(&header) {
        return Err(bad(&"the connection does not begin with a PROXY header"));
    }
    let rest = START_V2 - header.len();
    take(stream, &mut header, rest).await?;
    let len = match header.as_slice() {
        [.., high, low] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    if len > MAX_V2 {
        return Err(bad(&"a header of version 2 is longer than 1024 bytes"));
    }
    take(stream, &mut header, len).await?;
    let header = v2::Header::try_from(header.as_slice()).map_err(|error| bad(&error))?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(of)) => Some((of.source_address, of.source_port).into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(of)) => Some((of.source_address, of.source_port).into()),
        (v2::Command::Proxy | v2::Command::Local, _) => None,
    })
}

async fn take(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>, len: usize) -> io::Result<()> {
    let before = header.len();
    header.resize(before + len, 0);
    stream.read_exact(header.get_mut(before..).unwrap_or_default()).await.map(|_| ())
}

fn bad(error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), String> {
        let mut rest = bytes;
        let address = read_header(&mut rest).await.map_err(|error| error.to_string())?;
        Ok((address, rest.len()))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    #[tokio::test]
    async fn headers_of_both_versions_give_the_client_and_leave_the_rest() {
        let client = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let with = |header: &[u8]| [header, b"\x66rest"].concat();
        let v4 = [10, 1, 2, 3, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 7;
        for (header, expected) in [
            (b"PROXY TCP4 10.1.2.3 127.0.0.1 4660 80\r\n".to_vec(), client("10.1.2.3:4660")),
            (b"PROXY TCP6 2001:db8::1 ::1 7 80\r\n".to_vec(), client("[2001:db8::1]:7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(1, 0x11, &v4), client("10.1.2.3:4660")),
            (v2(1, 0x11, &[v4.as_slice(), &[4, 0, 2, 9, 9]].concat()), client("10.1.2.3:4660")),
            (v2(1, 0x21, &v6), client("[::1]:7")),
            (v2(0, 0x00, &[]), None),
        ] {
            assert_eq!(read(&with(&header)).await, Ok((expected, 5)), "{header:?}");
            for cut in 0..header.len() {
                assert!(read(&header[..cut]).await.is_err(), "{cut} of {header:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for wrong in [
            b"\x66\0\x01\x02 a packet, and not a header".to_vec(),
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 10.1.2.3 127.0.0.1 4660 99999\r\n".to_vec(),
            [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
            v2(1, 0x11, &[0; 3]),
            v2(1, 0x11, &[0; 1_025]),
            v2(9, 0x11, &[0; 12]),
        ] {
            assert!(read(&wrong).await.is_err(), "{}", String::from_utf8_lossy(&wrong));
        }
    }

    #[test]
    fn only_named_networks_are_trusted() {
        let proxies: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"].map(|net| net.parse().unwrap()).into();
        for (peer, trusted) in [
            ("10.9.9.9:1", true),
            ("[::ffff:10.9.9.9]:1", true),
            ("11.0.0.1:1", false),
            ("[2001:db8::5]:1", true),
            ("127.0.0.2:1", false),
        ] {
            assert_eq!(is_trusted(peer.parse().unwrap(), &proxies), trusted, "{peer}");
        }
    }
}
