//! The peers, each in its own wire format, with the same body and in the leanest way its interface allows: encode into a
//! buffer that is kept, decode without a copy where there is a way.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::connection::{PacketBuildResult, PacketBuilder, PacketData};
use prost::Message;
use rumqttc::mqttbytes::{self, QoS, v4};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// A topic as short as a user's name.
const TOPIC: &str = "bob";
const MAX: usize = 1 << 20;

/// rumqtt: PUBLISH with QoS 1; the payload shares the buffer's memory.
pub(crate) mod rumqtt {
    use super::*;

    pub(crate) fn message(body: &Bytes) -> v4::Publish {
        let mut publish = v4::Publish::new(TOPIC, QoS::AtLeastOnce, []);
        publish.payload = body.clone();
        publish.pkid = 42;
        publish
    }

    pub(crate) fn encode(out: &mut BytesMut, message: &v4::Publish) {
        message.write(out).expect("a valid packet");
    }

    pub(crate) fn decode(wire: Bytes) -> v4::Publish {
        let header = mqttbytes::check(wire.iter(), MAX).expect("a whole packet");
        v4::Publish::read(header, wire).expect("a publish")
    }

    pub(crate) fn next(buffer: &mut BytesMut) -> Option<v4::Publish> {
        match v4::Packet::read(buffer, MAX) {
            Ok(v4::Packet::Publish(publish)) => Some(publish),
            _ => None,
        }
    }
}

/// mqtt-protocol-core: PUBLISH with QoS 1; the packet builder copies into an `Arc<[u8]>`, there is no other way in.
pub(crate) mod mqtt_core {
    use super::*;
    pub(crate) use mqtt::common::Cursor;
    use mqtt::packet::v3_1_1::Publish;

    pub(crate) fn message(body: &[u8]) -> Publish {
        let builder = Publish::builder().topic_name(TOPIC).expect("a topic").qos(mqtt::packet::Qos::AtLeastOnce);
        builder.packet_id(42u16).payload(body).build().expect("a valid packet")
    }

    pub(crate) fn encode(out: &mut Vec<u8>, message: &Publish) {
        for part in message.to_buffers() {
            out.extend_from_slice(&part);
        }
    }

    pub(crate) fn next(builder: &mut PacketBuilder, input: &mut Cursor<&[u8]>) -> Option<Publish> {
        match builder.feed(input) {
            PacketBuildResult::Complete(raw) => match raw.data {
                PacketData::Publish(ref data) => Some(Publish::parse(raw.flags(), data.clone()).expect("a publish").0),
                PacketData::Normal(_) => None,
            },
            PacketBuildResult::Incomplete | PacketBuildResult::Error(_) => None,
        }
    }
}

/// tungstenite: an unmasked binary frame; the payload stays in the buffer.
pub(crate) mod websocket {
    use super::*;

    pub(crate) fn encode(out: &mut Vec<u8>, body: &[u8]) {
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        header.format(body.len() as u64, out).expect("a vector takes all");
        out.extend_from_slice(body);
    }

    pub(crate) fn next<'a>(input: &mut Cursor<&'a [u8]>) -> Option<(FrameHeader, &'a [u8])> {
        let (header, len) = FrameHeader::parse(input).expect("a frame")?;
        let start = input.position() as usize;
        let payload = input.get_ref().get(start..start + len as usize)?;
        input.set_position((start + payload.len()) as u64);
        Some((header, payload))
    }

    /// With the payload shared, as tungstenite hands it out.
    pub(crate) fn decode(wire: &Bytes) -> Frame {
        let mut cursor = Cursor::new(&wire[..]);
        let (header, _) = FrameHeader::parse(&mut cursor).expect("a frame").expect("a whole one");
        let start = cursor.position() as usize;
        Frame::from_payload(header, wire.slice(start..))
    }
}

/// prost: a length-delimited message with one bytes field, which shares the buffer's memory.
pub(crate) mod protobuf {
    use super::*;

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Packet {
        #[prost(bytes = "bytes", tag = "1")]
        pub(crate) body: Bytes,
    }

    pub(crate) fn encode(out: &mut Vec<u8>, message: &Packet) {
        message.encode_length_delimited(out).expect("a vector takes all");
    }

    pub(crate) fn next(input: &mut impl Buf) -> Option<Packet> {
        input.has_remaining().then(|| Packet::decode_length_delimited(input).expect("a message"))
    }
}
