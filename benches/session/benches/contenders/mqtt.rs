//! mqtt-protocol-core: PUBLISH with QoS 1 and its PUBACK, without encryption.

use mqtt::common::Cursor;
use mqtt::connection::{Connection, Event, role};
use mqtt::packet::{GenericPacketTrait, Packet, Qos, v5_0};
use mqtt_protocol_core::mqtt;

use super::{CONTENT, Contender, WINDOW};

/// A client publishes, the server's answer is automatic.
pub(crate) struct Qos1 {
    client: Connection<role::Client>,
    server: Connection<role::Server>,
    content: Vec<u8>,
    up: Vec<u8>,
    down: Vec<u8>,
}

fn sent(events: Vec<Event>, out: &mut Vec<u8>) {
    for event in events {
        if let Event::RequestSendPacket { packet, .. } = event {
            for part in packet.to_buffers() {
                out.extend_from_slice(&part);
            }
        }
    }
}

impl Qos1 {
    pub(crate) fn new() -> Self {
        let mut client = Connection::<role::Client>::new(mqtt::Version::V5_0);
        let mut server = Connection::<role::Server>::new(mqtt::Version::V5_0);
        server.set_auto_pub_response(true);
        let mut wire = Vec::new();
        let connect = v5_0::Connect::builder().client_id("alice").expect("an id").clean_start(true).build();
        sent(client.checked_send(connect.expect("a packet")), &mut wire);
        server.recv(&mut Cursor::new(&wire));
        wire.clear();
        let reason = mqtt::result_code::ConnectReasonCode::Success;
        let connack = v5_0::Connack::builder().session_present(false).reason_code(reason).build();
        sent(server.checked_send(connack.expect("a packet")), &mut wire);
        client.recv(&mut Cursor::new(&wire));
        Self { client, server, content: vec![b'x'; CONTENT], up: Vec::new(), down: Vec::new() }
    }
}

impl Contender for Qos1 {
    fn batch(&mut self) {
        let Self { client, server, content, up, down } = self;
        for _ in 0..WINDOW {
            let publish = v5_0::Publish::builder()
                .topic_name("bob")
                .expect("a topic")
                .qos(Qos::AtLeastOnce)
                .packet_id(client.acquire_packet_id().expect("an id"))
                .payload(&content[..])
                .build()
                .expect("a packet");
            sent(client.checked_send(publish), up);
        }
        let mut received = 0;
        let mut input = Cursor::new(&up[..]);
        while (input.position() as usize) < up.len() {
            let events = server.recv(&mut input);
            let publish = |event: &&Event| matches!(event, Event::NotifyPacketReceived(Packet::V5_0Publish(_)));
            received += events.iter().filter(publish).count();
            sent(events, down);
        }
        let mut released = 0;
        let mut input = Cursor::new(&down[..]);
        while (input.position() as usize) < down.len() {
            let events = client.recv(&mut input);
            released += events.iter().filter(|event| matches!(event, Event::NotifyPacketIdReleased(_))).count();
        }
        assert_eq!((received, released), (WINDOW, WINDOW));
        up.clear();
        down.clear();
    }
}
