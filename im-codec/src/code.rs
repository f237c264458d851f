//! The one-byte and two-byte codes of the header. Every code keeps its number, known or not, so that parse and emit are
//! the identity and an unknown code can be named in an error.

use core::fmt;

macro_rules! code {
    (
        $(#[$doc:meta])* $name:ident($int:ty) {
            $( $(#[$cdoc:meta])* $konst:ident = $value:literal, $text:literal; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $( $(#[$cdoc])* pub const $konst: Self = Self($value); )*

            /// The name of a known code.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($text), )*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
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

code! {
    /// How the packet travels; two bytes at offset 1. Informative: a receiver knows its own transport.
    ///
    /// ```
    /// # use im_codec::Protocol;
    /// assert_eq!(Protocol::TCP.to_string(), "tcp (5)");
    /// assert_eq!(Protocol(999).to_string(), "unknown (999)");
    /// ```
    Protocol(u16) {
        /// WebSocket without TLS.
        WS = 1, "ws";
        /// WebSocket over TLS.
        WSS = 2, "wss";
        /// HTTP without TLS.
        HTTP = 3, "http";
        /// HTTP over TLS.
        HTTPS = 4, "https";
        /// A TCP stream, with or without TLS.
        TCP = 5, "tcp";
    }
}

code! {
    /// The layout version; one byte at offset 3.
    Version(u8) {
        /// A negotiated session with sealed packets.
        V2 = 2, "version 2";
    }
}

code! {
    /// What kind of device sent the packet; one byte at offset 12. Zero in sealed packets.
    DeviceType(u8) {
        /// Not given.
        UNSPECIFIED = 0, "unspecified";
    }
}

code! {
    /// How the body is encrypted; one byte at offset 17. 1 to 9 are names without an implementation in OUYU-IM and are
    /// always refused.
    EncryptionId(u8) {
        /// The body is not encrypted.
        NONE = 0, "none";
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

code! {
    /// How the body is serialized; one byte at offset 18. Zero where the packet type fixes the layout of its body.
    SerializationId(u8) {
        /// The packet type fixes the layout.
        FIXED = 0, "fixed";
        /// JSON.
        JSON = 2, "json";
        /// Protocol Buffers.
        PROTOBUF = 6, "protobuf";
        /// MessagePack.
        MSGPACK = 16, "msgpack";
    }
}

code! {
    /// What the packet is for; one byte at offset 19. These are the codes of version 2; 128 to 191 belong to
    /// applications.
    MessageType(u8) {
        /// First packet of a client: offer and first handshake message.
        HELLO = 1, "hello";
        /// First packet of a server: choice and second handshake message.
        HELLO_REPLY = 2, "hello-reply";
        /// A sealed packet; the true type is inside.
        SEALED = 4, "sealed";
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
    }
}
