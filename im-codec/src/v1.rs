//! What version 1, OUYU-IM 1.0, calls its message types. The header and every other code are shared with version 2.
//!
//! Version 1 has no application range: codes over 12 are unknown, and an OUYU-IM server fails on them.
//!
//! ```
//! use im_codec::{Header, Limits, SerializationId, Versions, encode_packet, parse, v1};
//!
//! let limits = Limits::default().with_versions(Versions::V1AndV2);
//! let header = Header { serialization: SerializationId::PROTOBUF, ..Header::v1(v1::PING_PONG) };
//! let mut wire = Vec::new();
//! encode_packet(&mut wire, &header, b"\x1a\x04PING", &limits)?;
//! let packet = parse(&wire, &limits)?.expect("a whole packet");
//! assert_eq!(packet.header().message_name(), Some("IM_PING_PONG"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::code::MessageType;

macro_rules! types {
    ($( $(#[$doc:meta])* $konst:ident = $value:literal, $text:literal; )*) => {
        $( $(#[$doc])* pub const $konst: MessageType = MessageType($value); )*

        pub(crate) const fn name(code: MessageType) -> Option<&'static str> {
            match code.0 {
                $( $value => Some($text), )*
                _ => None,
            }
        }
    };
}

types! {
    /// Cluster handshake between servers. Not to be accepted from clients.
    SYN_ACK = 1, "SYN_ACK";
    /// Named by OUYU-IM, never implemented.
    RPC_REQUEST = 2, "RPC_REQUEST";
    /// Named by OUYU-IM, never implemented.
    RPC_RESPONSE = 3, "RPC_RESPONSE";
    /// Named by OUYU-IM, never implemented.
    RPC_HEART_BEAT = 4, "RPC_HEART_BEAT";
    /// Who the client is.
    LOGIN = 5, "IM_LOGIN";
    /// Heartbeat, both ways.
    PING_PONG = 6, "IM_PING_PONG";
    /// A private message.
    PRIVATE_CHAT = 7, "IM_P_CHAT";
    /// A group message; OUYU-IM 1.0 drops it.
    GROUP_CHAT = 8, "IM_G_CHAT";
    /// Named by OUYU-IM, never implemented.
    BROADCAST = 9, "IM_BROADCAST";
    /// Ack of a message, both ways.
    ACKNOWLEDGE = 10, "IM_ACKNOWLEDGE";
    /// Friend request, and the answers to it.
    PUSH_FRIEND = 11, "IM_PUSH_FRIEND";
    /// Group request, and the answers to it.
    PUSH_GROUP = 12, "IM_PUSH_GROUP";
}
