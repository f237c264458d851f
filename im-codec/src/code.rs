//! The one-byte and two-byte codes of the header. Every code keeps its number, known or not, so that parse and emit are
//! the identity and an unknown code can be named in an error.

use core::fmt;

macro_rules! code {
    (
        $(#[$doc:meta])* $name:ident($int:ty) $(, application $low:literal..=$high:literal)? {
            $( $(#[$cdoc:meta])* $konst:ident = $value:literal, $text:literal; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        pub struct $name(pub $int);

        impl $name {
            $( $(#[$cdoc])* pub const $konst: Self = Self($value); )*

            $(
                /// Whether the code belongs to applications:
                #[doc = concat!(stringify!($low), " to ", stringify!($high), ". This protocol never gives these a meaning.")]
                pub const fn is_application(self) -> bool {
                    matches!(self.0, $low..=$high)
                }
            )?

            const fn known(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($text), )*
                    $( $low..=$high => Some("application"), )?
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.known() {
                    Some(name) => write!(f, "{name} ({})", self.0),
                    None => write!(f, "unknown ({})", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

/// The single way to a name: the code's own table.
macro_rules! named {
    ($($name:ident)*) => { $(
        impl $name {
            /// The name of a known code; `"application"` in the range that belongs to applications.
            pub const fn name(self) -> Option<&'static str> {
                self.known()
            }
        }
    )* };
}
named! { Protocol Version DeviceType EncryptionId SerializationId }

code! {
    /// How the packet travels; two bytes at offset 1, the same codes in both versions. Informative: a receiver knows its
    /// own transport. Application codes stay below 256, so that byte 1 is 0 and the layouts of OUYUNC 2 to 5, which have
    /// their protocol code in byte 1, stay recognisable.
    ///
    /// ```
    /// # use im_codec::Protocol;
    /// assert_eq!(Protocol::TCP.to_string(), "tcp (5)");
    /// assert_eq!(Protocol(999).to_string(), "unknown (999)");
    /// assert!(Protocol(130).is_application());
    /// ```
    Protocol(u16), application 128..=191 {
        /// WebSocket without TLS. OUYU-IM's clients use it with TLS too.
        WS = 1, "ws";
        /// WebSocket over TLS.
        WSS = 2, "wss";
        /// HTTP without TLS.
        HTTP = 3, "http";
        /// HTTP over TLS.
        HTTPS = 4, "https";
        /// A TCP stream, with or without TLS; OUYU-IM calls it OU_YU_IM.
        TCP = 5, "tcp";
    }
}

code! {
    /// The layout version; one byte at offset 3. The two versions share the 24-byte layout and differ in what the message
    /// types mean, and in whether a session is negotiated.
    ///
    /// ```
    /// # use im_codec::Version;
    /// assert_eq!(Version::V1.to_string(), "version 1 (1)");
    /// ```
    Version(u8) {
        /// OUYU-IM 1.0: nothing is negotiated, nothing is encrypted. Off unless [`crate::Versions`] switches it on.
        V1 = 1, "version 1";
        /// A negotiated session with sealed packets.
        V2 = 2, "version 2";
    }
}

code! {
    /// What kind of device sent the packet; one byte at offset 12. Version 1 only: zero in version 2. The names are
    /// OUYU-IM's.
    ///
    /// ```
    /// # use im_codec::DeviceType;
    /// assert_eq!(DeviceType::PC_WINDOWS.to_string(), "pc_windows (7)");
    /// ```
    DeviceType(u8) {
        /// Not given.
        UNSPECIFIED = 0, "unspecified";
        /// Android phone.
        M_ANDROID = 1, "m_android";
        /// iPhone.
        M_IOS = 2, "m_ios";
        /// Windows phone.
        M_WINDOWS = 3, "m_windows";
        /// webOS phone.
        M_WEBOS = 4, "m_webos";
        /// MeeGo phone.
        M_MEEGO = 5, "m_meego";
        /// Mac.
        PC_MAC = 6, "pc_mac";
        /// Windows PC; OUYU-IM's JavaScript client always says so.
        PC_WINDOWS = 7, "pc_windows";
        /// Linux PC; OUYU-IM's server says so in its acks.
        PC_LINUX = 8, "pc_linux";
        /// HarmonyOS PC.
        PC_HARMONYOS = 9, "pc_harmonyos";
        /// No device: the client inside OUYU-IM's cluster.
        NONE = 10, "none";
    }
}

code! {
    /// How the body is encrypted; one byte at offset 17. 1 to 9 are names without an implementation in OUYU-IM and are
    /// always refused by the layers above.
    ///
    /// ```
    /// # use im_codec::EncryptionId;
    /// assert_eq!(EncryptionId::AES_128_GCM.to_string(), "AES-128-GCM (16)");
    /// assert!(EncryptionId::RC4.is_placeholder() && !EncryptionId::SM4_GCM.is_placeholder());
    /// ```
    EncryptionId(u8) {
        /// The body is not encrypted.
        NONE = 0, "none";
        /// Placeholder of OUYU-IM.
        DES = 1, "des";
        /// Placeholder of OUYU-IM.
        TRIPLE_DES = 2, "3des";
        /// Placeholder of OUYU-IM.
        AES = 3, "aes";
        /// Placeholder of OUYU-IM.
        SM1 = 4, "sm1";
        /// Placeholder of OUYU-IM.
        SMS4 = 5, "sms4";
        /// Placeholder of OUYU-IM.
        PBE = 6, "pbe";
        /// Placeholder of OUYU-IM.
        RC2 = 7, "rc2";
        /// Placeholder of OUYU-IM.
        RC4 = 8, "rc4";
        /// Placeholder of OUYU-IM.
        RC5 = 9, "rc5";
        /// AES-128-GCM.
        AES_128_GCM = 16, "AES-128-GCM";
        /// AES-256-GCM.
        AES_256_GCM = 17, "AES-256-GCM";
        /// ChaCha20-Poly1305.
        CHACHA20_POLY1305 = 18, "ChaCha20-Poly1305";
        /// SM4-GCM.
        SM4_GCM = 21, "SM4-GCM";
    }
}

impl EncryptionId {
    /// Whether OUYU-IM reserves the code for a cipher that it never implemented (1 to 9). Nothing can be compatible with
    /// these: use a negotiated suite (16 and up) instead.
    pub const fn is_placeholder(self) -> bool {
        matches!(self.0, 1..=9)
    }
}

code! {
    /// How the body is serialized; one byte at offset 18, the same codes in both versions. Zero where the packet type
    /// fixes the layout of its body.
    ///
    /// ```
    /// # use im_codec::SerializationId;
    /// assert_eq!(SerializationId::PROTOBUF.to_string(), "protobuf (6)");
    /// assert!(SerializationId(64).is_application());
    /// ```
    SerializationId(u8), application 64..=127 {
        /// The packet type fixes the layout.
        FIXED = 0, "fixed";
        /// Java object streams.
        JDK = 1, "jdk";
        /// JSON.
        JSON = 2, "json";
        /// Hessian 1.0.
        HESSIAN = 3, "hessian";
        /// Hessian 2.0.
        HESSIAN2 = 4, "hessian2";
        /// Kryo 5.
        KRYO = 5, "kryo";
        /// Protocol Buffers; OUYU-IM's protoStuff writes the same bytes.
        PROTOBUF = 6, "protobuf";
        /// Thrift, compact protocol.
        THRIFT = 7, "thrift";
        /// FST in its JSON form.
        FST = 8, "fst";
        /// MessagePack.
        MSGPACK = 16, "msgpack";
        /// Postcard.
        POSTCARD = 17, "postcard";
        /// CBOR.
        CBOR = 18, "cbor";
        /// Bincode 2, standard layout.
        BINCODE = 19, "bincode";
    }
}

code! {
    /// What the packet is for; one byte at offset 19. A code means different things in the two versions, so a name needs
    /// the version: [`name`](Self::name). The constants here, `Display` and the application range are those of version 2;
    /// [`crate::v1`] has the constants of version 1.
    ///
    /// ```
    /// # use im_codec::{MessageType, Version, v1};
    /// assert_eq!(MessageType::SEND.to_string(), "send (32)");
    /// assert_eq!(v1::LOGIN.name(Version::V1), Some("IM_LOGIN"));
    /// assert_eq!(v1::LOGIN.name(Version::V2), Some("hello-end"));
    /// // An application's own type: checked when it is compiled.
    /// const ORDER_SHIPPED: MessageType = MessageType(130);
    /// const _: () = assert!(ORDER_SHIPPED.is_application());
    /// ```
    MessageType(u8), application 128..=191 {
        /// First packet of a client: offer and first handshake message.
        HELLO = 1, "hello";
        /// First packet of a server: choice and second handshake message.
        HELLO_REPLY = 2, "hello-reply";
        /// Instead of the reply: say hello again, in another way or with a cookie.
        RETRY = 3, "retry";
        /// A sealed packet; the true type is inside.
        SEALED = 4, "sealed";
        /// Third packet of the handshake XX: the client trusts the server's key and shows its own.
        HELLO_END = 5, "hello-end";
        /// Who the client is; first packet inside the sealed channel.
        LOGIN = 16, "login";
        /// The login was accepted.
        LOGIN_OK = 17, "login-ok";
        /// Last packet of a side: code and reason.
        CLOSE = 18, "close";
        /// Asks for a sign of life.
        PING = 19, "ping";
        /// Answers a ping.
        PONG = 20, "pong";
        /// The sender's key changes after this packet; inside a sealed packet only.
        KEY_UPDATE = 21, "key-update";
        /// A ticket for a later connection.
        TICKET = 22, "ticket";
        /// The epoch of a conversation's log.
        EPOCH = 23, "epoch";
        /// Several bodies in one sealed packet.
        BUNDLE = 24, "bundle";
        /// A message to be stored and delivered.
        SEND = 32, "send";
        /// The message is durable.
        STORED = 33, "stored";
        /// The message was not stored.
        REFUSED = 34, "refused";
        /// A stored message for this device.
        DELIVER = 35, "deliver";
        /// This device has all messages of a conversation up to a seq.
        DELIVERED = 36, "delivered";
        /// Takes a message back.
        RECALL = 37, "recall";
        /// Gives a message other content.
        EDIT = 38, "edit";
        /// Adds a reaction to a message or takes it away.
        REACTION = 39, "reaction";
        /// A message whose content is encrypted for each device of its own.
        SEND_SEALED = 40, "send-sealed";
        /// How far the user has read a conversation.
        READ = 48, "read";
        /// How far a user has read a conversation, told to others.
        READ_BY = 49, "read-by";
        /// How far a device of a user has a conversation, told to others.
        DELIVERED_TO = 50, "delivered-to";
        /// Somebody types.
        TYPING = 56, "typing";
        /// Whether somebody is there.
        PRESENCE = 57, "presence";
        /// Asks to be told of somebody's presence.
        WATCH = 58, "watch";
        /// What a device says in a call.
        CALL_SIGNAL = 64, "call-signal";
        /// The answer to a call signal.
        CALL_ANSWER = 65, "call-answer";
        /// What a device is told of a call.
        CALL_NOTICE = 66, "call-notice";
        /// Asks to come into a room.
        ROOM_JOIN = 72, "room-join";
        /// The connection is in the room.
        ROOM_JOINED = 73, "room-joined";
        /// Leaves a room.
        ROOM_LEAVE = 74, "room-leave";
        /// The connection is in the room no more.
        ROOM_LEFT = 75, "room-left";
        /// A message of a room.
        ROOM_MESSAGE = 76, "room-message";
        /// Content that comes piece by piece begins.
        STREAM_OPEN = 80, "stream-open";
        /// The next piece of a stream.
        STREAM_DELTA = 81, "stream-delta";
        /// A stream is complete, or is given up.
        STREAM_END = 82, "stream-end";
        /// Asks the other side to do something.
        REQUEST = 88, "request";
        /// The answer to a request.
        RESPONSE = 89, "response";
    }
}

impl MessageType {
    /// The name of a known code in `version`; `"application"` for 128 to 191 of version 2.
    pub const fn name(self, version: Version) -> Option<&'static str> {
        match version {
            Version::V1 => crate::v1::name(self),
            Version::V2 => self.known(),
            _ => None,
        }
    }
}
