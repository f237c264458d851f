//! The messages that are measured, and the formats.

use std::sync::Arc;

use im_serial::body::{Conversation, Deliver, Send};
use im_serial::v1::{PChatMessage, PushMessage};
use im_serial::{Format, Registry};
use im_serial_java::{Fst, Hessian, Hessian2, Jdk, Kryo, KryoVersion, Options};

/// 152 bytes of UTF-8.
pub const TEXT: &str = "The quick brown fox jumps over the lazy dog 敏捷的棕色狐狸跳过了懒狗。 Ça va très bien merci \
                        Быстрая лиса прыгает. 😀";

/// A format, what the tables call it, and the folder of the vectors that Java wrote, if there are any.
pub struct Entry {
    /// The name in tables.
    pub name: &'static str,
    /// The format.
    pub format: Arc<dyn Format>,
    /// A folder's parent and its name.
    pub vectors: Option<(&'static str, &'static str)>,
}

/// Every format, in the order of the ids.
pub fn formats() -> Vec<Entry> {
    const NATIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../im-serial/tests/vectors");
    let registry = Registry::default();
    let native = registry.ids().into_iter().filter_map(|id| registry.get(id).cloned()).map(|format| {
        let folder = match format.name() {
            "json" => Some("json"),
            "protobuf" => Some("protostuff_protobuf"),
            "thrift" => Some("thrift_compact"),
            "msgpack" => Some("msgpack_jackson"),
            _ => None,
        };
        Entry { name: format.name(), vectors: folder.map(|folder| (NATIVE, folder)), format }
    });
    let mut formats: Vec<_> = native.chain(java_formats()).collect();
    formats.sort_by_key(|entry| entry.format.id());
    formats
}

/// The formats of Java.
pub fn java_formats() -> impl Iterator<Item = Entry> {
    const JAVA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../im-serial/java/tests/vectors");
    let formats: [(&str, Arc<dyn Format>, &str); 6] = [
        ("jdk", Arc::new(Jdk::default()), "jdk"),
        ("hessian", Arc::new(Hessian::default()), "hessian1_4.0.7"),
        ("hessian2", Arc::new(Hessian2::default()), "hessian2_4.0.38"),
        ("kryo5", Arc::new(Kryo::default()), "kryo_5.0.0-RC9"),
        ("kryo4", Arc::new(Kryo::new(KryoVersion::V4, Options::default())), "kryo_4.0.2"),
        ("fst", Arc::new(Fst::default()), "fst_json"),
    ];
    formats.into_iter().map(|(name, format, folder)| Entry { name, format, vectors: Some((JAVA, folder)) })
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
        kind: 0,
        about: 0,
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
