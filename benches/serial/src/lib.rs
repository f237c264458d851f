//! The messages that are measured, and the formats: Java's join the list here.

use std::sync::Arc;

use im_serial::body::{Conversation, Deliver, Send};
use im_serial::v1::{PChatMessage, PushMessage};
use im_serial::{Format, Registry};

/// 152 bytes of UTF-8.
pub const TEXT: &str = "The quick brown fox jumps over the lazy dog 敏捷的棕色狐狸跳过了懒狗。 Ça va très bien merci \
                        Быстрая лиса прыгает. 😀";

/// Every format, each with the folder of its vectors from Java, if there are any.
pub fn formats() -> Vec<(Arc<dyn Format>, Option<&'static str>)> {
    let registry = Registry::default();
    let mut formats: Vec<_> = registry.ids().into_iter().filter_map(|id| registry.get(id).cloned()).collect();
    formats.sort_by_key(|format| format.id());
    let vectors = |name: &str| match name {
        "json" => Some("json"),
        "protobuf" => Some("protostuff_protobuf"),
        "thrift" => Some("thrift_compact"),
        "msgpack" => Some("msgpack_jackson"),
        _ => None,
    };
    formats.into_iter().map(|format| (format.clone(), vectors(format.name()))).collect()
}

/// A message of version 2 on its way up.
pub fn send() -> Send {
    Send { to: Conversation::private("u1002"), content_type: 1, content: TEXT.into() }
}

/// The same on its way down.
pub fn deliver() -> Deliver {
    Deliver {
        conversation: Conversation::private("u1001"),
        from: "u1001".into(),
        message_id: 1_175_430_285_918_216_192,
        seq: 300,
        time_ms: 1_700_000_000_123,
        content_type: 1,
        content: TEXT.into(),
    }
}

/// The same in version 1.
pub fn chat() -> PChatMessage {
    PChatMessage {
        from: Some("u1001".into()),
        to: Some("u1002".into()),
        create_time: 1_700_000_000_123,
        content_type: 1,
        content: Some(TEXT.into()),
        ..Default::default()
    }
}

/// The same with the text as a string.
pub fn push() -> PushMessage {
    PushMessage {
        from: Some("u1001".into()),
        to: Some("u1002".into()),
        content_type: 1,
        content: Some(TEXT.into()),
        create_time: 1_700_000_000_123,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_is_152_bytes() {
        assert_eq!(super::TEXT.len(), 152);
    }
}
