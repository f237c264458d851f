//! Headers and packets for logs and tools. Codes are their numbers, with their names beside them in packets; content is never
//! written.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::packet::{Packet, PacketRef};

/// The fields with their names, and the body's length. The body is content: it does not go into diagnostics.
///
/// ```
/// use im_codec::{Header, Limits, MessageType, encode_packet, parse};
/// let mut wire = Vec::new();
/// encode_packet(&mut wire, &Header::new(MessageType::PING), b"secret", &Limits::default())?;
/// let packet = parse(&wire, &Limits::default())?.expect("a whole packet");
/// let json = serde_json::to_value(packet)?;
/// assert_eq!((&json["message_type"], &json["message_name"]), (&19.into(), &"ping".into()));
/// assert_eq!(json["body_len"], 6);
/// // A header goes both ways, as numbers.
/// let header: Header = serde_json::from_value(serde_json::to_value(packet.header())?)?;
/// assert_eq!(header, packet.header());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Serialize for PacketRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let header = self.header();
        let mut out = serializer.serialize_struct("Packet", 14)?;
        out.serialize_field("protocol", &header.protocol)?;
        out.serialize_field("protocol_name", &header.protocol.name())?;
        out.serialize_field("version", &header.version)?;
        out.serialize_field("packet_id", &header.packet_id)?;
        out.serialize_field("device", &header.device)?;
        out.serialize_field("device_name", &header.device.name())?;
        out.serialize_field("ip", &header.ip)?;
        out.serialize_field("encryption", &header.encryption)?;
        out.serialize_field("encryption_name", &header.encryption.name())?;
        out.serialize_field("serialization", &header.serialization)?;
        out.serialize_field("serialization_name", &header.serialization.name())?;
        out.serialize_field("message_type", &header.message_type)?;
        out.serialize_field("message_name", &header.message_name())?;
        out.serialize_field("body_len", &self.body().len())?;
        out.end()
    }
}

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(serializer)
    }
}
