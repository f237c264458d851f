//! `im inspect`: the fields of one packet, and where it stops being one.

use std::fmt::Write as _;
use std::io::Read;
use std::net::Ipv4Addr;

use im_codec::{
    DecodeError, Fault, HARD_MAX_BODY, HEADER_LEN, Header, Limits, MessageError, Version, Versions, parse_message,
};

use crate::cli::{Exit, InspectArgs};
use crate::print;

/// The hex of the largest packet, with as much white space.
const MAX_STDIN: u64 = 4 * (HARD_MAX_BODY as u64 + HEADER_LEN as u64);

pub(crate) fn run(args: &InspectArgs) -> Result<Exit, Box<dyn std::error::Error>> {
    let text = match args.hex.as_slice() {
        [dash] if dash == "-" => {
            let mut text = String::new();
            std::io::stdin().take(MAX_STDIN).read_to_string(&mut text).map_err(|_| "stdin is not text")?;
            text
        }
        words => words.concat(),
    };
    let bytes = parse_hex(&text)?;
    let (report, error) = inspect(&bytes);
    if !report.is_empty() {
        print::line(report.trim_end())?;
    }
    match error {
        None => Ok(Exit::Done),
        Some(error) => {
            eprintln!("im: byte {}: {error} ({})", error.offset(), fault(error.fault()));
            Ok(Exit::Failed)
        }
    }
}

const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::PeerViolated => "the sender's fault",
        Fault::PeerIncompatible => "the sender speaks something else",
        Fault::CallerMisused | Fault::LocalLimit => "over a limit",
    }
}

fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (at, char) in text.chars().enumerate().filter(|(_, char)| !char.is_whitespace()) {
        let digit = char.to_digit(16).ok_or_else(|| {
            format!("character {} ({char:?}) is not a hex digit: give the packet as 0-9, a-f and white space", at + 1)
        })? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err("an odd number of hex digits: the last byte is half".into()),
    }
}

/// What the bytes say as far as they are a packet, and what is wrong with them.
fn inspect(bytes: &[u8]) -> (String, Option<MessageError>) {
    let limits = Limits::new(HARD_MAX_BODY).with_versions(Versions::V1AndV2);
    let error = parse_message(bytes, &limits).err();
    let mut out = String::new();
    // Fields of another layout would be nonsense.
    if matches!(error, Some(MessageError::Packet(DecodeError::Magic { .. } | DecodeError::OuyuncLayout { .. }))) {
        return (out, error);
    }
    // A header that is cut short is filled up for its names; only what is there is shown.
    let mut raw = [0; HEADER_LEN];
    for (to, from) in raw.iter_mut().zip(bytes) {
        *to = *from;
    }
    let (header, len) = Header::from_bytes(&raw);
    let mut at = 0;
    for (width, name, value) in fields(&header, len) {
        let Some(field) = bytes.get(at..at + width) else { break };
        let hex: String = field.iter().map(|byte| format!("{byte:02x} ")).collect();
        let line = format!("{at:>6}  {hex:<24}  {name:<14} {value}");
        let _ = writeln!(out, "{}", line.trim_end());
        at += width;
    }
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    let body = body.get(..len as usize).unwrap_or(body);
    for (line, bytes) in body.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text: String =
            bytes.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }).collect();
        let _ = writeln!(out, "{:>6}  {hex:<48}  {text}", HEADER_LEN + line * 16);
    }
    (out, error)
}

/// Width in bytes, name and value of each field, in wire order.
fn fields(header: &Header, len: u32) -> [(usize, &'static str, String); 10] {
    let message_type = match header.message_name() {
        Some(name) => format!("{name} ({})", header.message_type.0),
        None => format!("unknown ({})", header.message_type.0),
    };
    let version = match header.version {
        Version::V1 => "1 (OUYU-IM)".to_owned(),
        other => other.0.to_string(),
    };
    let ip = match header.ip {
        0 => "not given".to_owned(),
        ip => Ipv4Addr::from(ip).to_string(),
    };
    [
        (1, "magic", String::new()),
        (2, "protocol", header.protocol.to_string()),
        (1, "version", version),
        (8, "packet id", header.packet_id.to_string()),
        (1, "device", header.device.to_string()),
        (4, "ip", ip),
        (1, "encryption", header.encryption.to_string()),
        (1, "serialization", header.serialization.to_string()),
        (1, "message type", message_type),
        (4, "body length", len.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_of_version_1_is_shown_field_by_field() {
        let hex = "660001010c89b929b2fef34e07c0a8010a 00 06 06 00000014 0a0636353433323112001a0450494e4750006800";
        let (report, error) = inspect(&parse_hex(hex).unwrap());
        assert_eq!(error, None);
        let want = "     0  66                        magic\n     1  00 01                     protocol       ws (1)
     3  01                        version        1 (OUYU-IM)
     4  0c 89 b9 29 b2 fe f3 4e   packet id      903456789012345678
    12  07                        device         pc_windows (7)
    13  c0 a8 01 0a               ip             192.168.1.10
    17  00                        encryption     none (0)
    18  06                        serialization  protobuf (6)
    19  06                        message type   IM_PING_PONG (6)
    20  00 00 00 14               body length    20
    24  0a 06 36 35 34 33 32 31 12 00 1a 04 50 49 4e 47   ..654321....PING
    40  50 00 68 00                                       P.h.\n";
        assert_eq!(report, want);
    }

    #[test]
    fn names_go_by_version_and_unknown_codes_are_numbers() {
        let (report, _) = inspect(&parse_hex("660005020000000000000007000000000015ff2000000000").unwrap());
        assert!(report.contains("SM4-GCM (21)") && report.contains("unknown (255)") && report.contains("send (32)"));
        assert!(report.contains("not given"));
    }

    #[test]
    fn what_is_there_is_shown_before_the_error() {
        let whole = parse_hex("6600050200000000000000070000000000000020000000026869").unwrap();
        let (report, error) = inspect(&whole[..25]);
        assert_eq!(error, Some(MessageError::Truncated { len: 25, missing: 1 }));
        assert!(report.contains("body length    2") && report.ends_with("h\n"), "{report}");
        let (report, error) = inspect(&whole[..5]);
        assert_eq!(error, Some(MessageError::Truncated { len: 5, missing: 19 }));
        assert!(report.contains("version        2") && !report.contains("packet id"), "{report}");
        let (report, error) = inspect(&[&whole[..], b"x"].concat());
        assert_eq!(error, Some(MessageError::Trailing { end: 26, extra: 1 }));
        assert!(report.ends_with("hi\n"), "{report}");
        let (report, error) = inspect(b"GET / HTTP/1.1");
        assert_eq!((report.as_str(), error.unwrap().offset()), ("", 0));
    }

    #[test]
    fn hex_that_is_none_is_refused_where_it_stands() {
        assert_eq!(parse_hex(" 6\n6\t0 0").unwrap(), [0x66, 0]);
        assert!(parse_hex("66zz").unwrap_err().starts_with("character 3 ('z')"));
        assert!(parse_hex("660").unwrap_err().starts_with("an odd number"));
    }
}
