//! An application adds its own message types and serialization, without a fork: `cargo run -p im-codec --example application`.
//!
//! A parcel service runs its tracking events over the same connections as its chat.

use im_codec::{Header, Limits, MessageType, Protocol, SerializationId, encode_packet, parse};

/// Our transport: the serial line of a scanner.
const SCANNER: Protocol = Protocol(128);
/// Our message types.
const PARCEL_SCANNED: MessageType = MessageType(128);
const PARCEL_LOST: MessageType = MessageType(129);
/// Our serialization: a parcel's number, big-endian.
const PARCEL_NUMBER: SerializationId = SerializationId(64);

// The protocol promises never to give these codes a meaning of its own. Checked when this is compiled.
const _: () = assert!(SCANNER.is_application());
const _: () = assert!(PARCEL_SCANNED.is_application() && PARCEL_LOST.is_application());
const _: () = assert!(PARCEL_NUMBER.is_application());

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    let header =
        Header { protocol: SCANNER, packet_id: 1, serialization: PARCEL_NUMBER, ..Header::new(PARCEL_SCANNED) };
    let mut wire = Vec::new();
    encode_packet(&mut wire, &header, &4711u64.to_be_bytes(), &limits)?;

    let packet = parse(&wire, &limits)?.expect("a whole packet");
    match packet.header().message_type {
        PARCEL_SCANNED => {
            let number = packet.body().first_chunk().map(|number| u64::from_be_bytes(*number));
            println!("parcel {} was scanned", number.ok_or("a parcel's number has 8 bytes")?);
        }
        PARCEL_LOST => println!("a parcel was lost"),
        // Chat and everything else goes on to im-proto.
        other => println!("not ours: {other}"),
    }
    assert_eq!(packet.header(), header);
    Ok(())
}
