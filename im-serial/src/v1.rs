//! The message classes of version 1, OUYU-IM master: names, tags and `serialVersionUID`s are its own.
//!
//! The fields of [`Message`] belong to its cluster. A server ignores them from clients and clears them before a message
//! goes to one.

use alloc::string::String;
use alloc::vec::Vec;

use crate::class::{Any, Class, Declared};
use crate::record;

record! {
    /// A node on a message's way through the cluster.
    pub struct RoutingTable: "com.ouyu.im.entity.RoutingTable", suid -5_746_334_030_627_905_959 {
        /// The node.
        1 => pub server_address: Option<String> = "serverAddress" / "serverAddress";
        /// The node before it.
        2 => pub pre_server_address: Option<String> = "preServerAddress" / "preServerAddress";
        /// The nodes that it tried.
        3 => pub routed_server_addresses: Option<Vec<Option<String>>> = "routedServerAddresses" / "routedServerAddresses";
    }
}

record! {
    /// What every message carries for the cluster.
    pub struct Message: "com.ouyu.im.packet.message.Message", suid 421_911_779_237_626_317 {
        /// How often it was sent again.
        10 => pub current_retry: i32 = "currentRetry" / "currentRetry";
        /// `host:port` of the node that it goes to.
        11 => pub target_server_address: Option<String> = "targetServerAddress" / "targetServerAddress";
        /// The way that it took.
        12 => pub routing_tables: Option<Vec<Option<RoutingTable>>> = "routingTables" / in "routingTables";
        /// It comes from another node. From a client this must never be believed.
        13 => pub is_delivery: bool = "isDelivery" / "delivery";
    }
}

record! {
    /// A private message; message type 7.
    pub struct PChatMessage: "com.ouyu.im.packet.message.PChatMessage", suid 5_949_960_601_558_169_364, extends base: Message {
        /// Who sends it.
        1 => pub from: Option<String>;
        /// Who gets it.
        2 => pub to: Option<String>;
        /// When, in Unix milliseconds, by the sender's clock.
        3 => pub create_time: i64 = "createTime" / "createTime";
        /// 1 text, 2 picture, 3 audio, 4 video, 0 other.
        4 => pub content_type: i32 = "contentType" / "contentType";
        /// Text as UTF-8, or a URL or bytes.
        5 => pub content: Option<Vec<u8>>;
    }
}

record! {
    /// A group message; message type 8.
    pub struct GChatMessage: "com.ouyu.im.packet.message.GChatMessage", suid 7_700_091_957_132_994_967, extends base: Message {
        /// Who sends it.
        1 => pub from: Option<String>;
        /// The group.
        2 => pub to: Option<String>;
        /// As in [`PChatMessage`].
        3 => pub content_type: i32 = "contentType" / "contentType";
        /// As in [`PChatMessage`].
        4 => pub content: Option<Vec<u8>>;
        /// When, in Unix milliseconds, by the sender's clock.
        5 => pub create_time: i64 = "createTime" / "createTime";
    }
}

record! {
    /// A login; message type 5.
    pub struct LoginMessage: "com.ouyu.im.packet.message.LoginMessage", suid 33_050_912_720_271_168, extends base: Message {
        /// Who logs in.
        1 => pub identity: Option<String>;
        /// Which application.
        2 => pub app_key: Option<String> = "appKey" / "appKey";
        /// Over application, identity, time and the application's secret.
        3 => pub signature: Option<String>;
        /// 0 none, 1 MD5.
        4 => pub signature_algorithm: i8 = "signatureAlgorithm" / "signatureAlgorithm";
        /// Whether the client sends heartbeats.
        5 => pub is_open_heart_beat: bool = "isOpenHeartBeat" / "openHeartBeat";
        /// In seconds.
        6 => pub heart_beat_read_timeout: i32 = "heartBeatReadTimeout" / "heartBeatReadTimeout";
        /// When, in Unix milliseconds, by the client's clock.
        7 => pub create_time: i64 = "createTime" / "createTime";
    }
}

record! {
    /// A heartbeat of a client (`PING`, `PONG`; message type 6) or of a node (`SYN`, `ACK`; message type 1).
    pub struct HeartBeatMessage: "com.ouyu.im.packet.message.HeartBeatMessage", suid -5_192_365_554_105_095_222, extends base: Message {
        /// Who sends it.
        1 => pub from: Option<String>;
        /// Who gets it.
        2 => pub to: Option<String>;
        /// Which of the four it is.
        3 => pub content: Option<String>;
    }
}

record! {
    /// The ack of a packet; message type 10.
    pub struct AcknowledgeMessage: "com.ouyu.im.packet.message.AcknowledgeMessage", suid -375_698_592_067_279_269, extends base: Message,
        copies { "data" = 2 }
    {
        /// Who acks.
        1 => pub from: Option<String>;
        /// Who sent the packet.
        2 => pub to: Option<String>;
        /// The packet id as decimal text.
        3 => pub content: Option<String>;
        /// When, in Unix milliseconds.
        4 => pub create_time: i64 = "createTime" / "createTime";
    }
}

record! {
    /// A friend or group event; message types 11 and 12.
    pub struct PushMessage: "com.ouyu.im.packet.message.PushMessage", suid 5_513_279_348_716_337_001, extends base: Message {
        /// Who sends it.
        1 => pub from: Option<String>;
        /// Who gets it.
        2 => pub to: Option<String>;
        /// As in [`PChatMessage`].
        3 => pub content_type: i32 = "contentType" / "contentType";
        /// `REQ`, `RESOLVE`, `REJECT` or `DELETE`.
        4 => pub content: Option<String>;
        /// When, in Unix milliseconds, by the sender's clock.
        5 => pub create_time: i64 = "createTime" / "createTime";
    }
}

record! {
    /// An answer; deprecated, no message type carries it.
    pub struct ResponseMessage: "com.ouyu.im.packet.message.ResponseMessage", suid 8_451_950_268_260_139_528 {
        /// 200 or 500.
        1 => pub code: i32;
        /// What it says.
        2 => pub data: Any;
        /// When, in Unix milliseconds.
        3 => pub timestamp: i64;
    }
}

/// The class of a version 1 message type (byte 19), or `None` for a type without one.
///
/// ```
/// assert_eq!(im_serial::v1::class(7).unwrap().name, "PChatMessage");
/// assert!(im_serial::v1::class(9).is_none());
/// ```
pub const fn class(message_type: u8) -> Option<&'static Class> {
    Some(match message_type {
        1 | 6 => HeartBeatMessage::CLASS,
        5 => LoginMessage::CLASS,
        7 => PChatMessage::CLASS,
        8 => GChatMessage::CLASS,
        10 => AcknowledgeMessage::CLASS,
        11 | 12 => PushMessage::CLASS,
        _ => return None,
    })
}
