//! What may be registered, what is refused, and transcoding.
#![cfg(all(feature = "json", feature = "protobuf", feature = "msgpack", feature = "v1"))]

use im_serial::class::{Declared, Record};
use im_serial::v1::{self, PChatMessage};
use im_serial::*;

im_serial::record! {
    /// A body of an application.
    pub struct Poll: "com.example.Poll", suid 1 {
        /// What is asked.
        1 => pub question: String;
    }
}

/// A format that is not told from JSON but by its id.
struct Named(u8);

impl Format for Named {
    fn id(&self) -> FormatId {
        FormatId(self.0)
    }
    fn name(&self) -> &'static str {
        "named"
    }
    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Json.encode_record(record, out)
    }
    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        Json.decode_record(record, bytes, limits)
    }
}

#[test]
fn formats_have_an_id_of_the_protocol_or_of_an_application() {
    for id in 0..=u8::MAX {
        let allowed = matches!(id, 1..=8 | 16..=19 | 64..=127);
        assert_eq!(Registry::empty().with(Named(id)).is_ok(), allowed, "{id}");
    }
    let registry = Registry::default().with(Named(100)).unwrap().with(Named(2)).unwrap();
    assert_eq!(registry.get(FormatId::JSON).unwrap().name(), "named", "replaced in its place");
    assert_eq!(registry.ids().last(), Some(&FormatId(100)));
    let error = Registry::empty().with(Named(9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "serialization FormatId(9) is reserved: a format of an application has an id from 64 to 127"
    );
    for (index, id) in FormatId::KNOWN.iter().enumerate() {
        assert!(id.known_name().is_some() && FormatId::KNOWN[..index].iter().all(|other| other != id));
    }
}

#[test]
fn bodies_have_a_message_type_of_an_application() {
    for code in 0..=u8::MAX {
        let registered = Registry::empty().with_body::<Poll>(code);
        assert_eq!(registered.is_ok(), matches!(code, 128..=191), "{code}");
    }
    let registry = Registry::empty().with_body::<Poll>(128).unwrap();
    assert_eq!(registry.clone().with_body::<PChatMessage>(128).unwrap_err(), RegisterError::Taken(128));
    assert_eq!(registry.class(128), Ok(Poll::CLASS));
    assert_eq!(registry.class(32), Ok(Kind::Send.class()));
    assert_eq!(registry.class(7), Err(Unknown::MessageType(7)), "version 1 is off");
    assert_eq!(registry.select(&[]).with_version1().class(7), Ok(PChatMessage::CLASS));
    for code in 0..=u8::MAX {
        assert!(v1::class(code).is_none() || Kind::from_code(code).is_none(), "{code} is of one version");
    }
}

#[test]
fn what_is_not_registered_is_refused_by_name() {
    let registry = Registry::default();
    let mut out = b"as it was".to_vec();
    let mut refuse = |from, to, code| {
        registry
            .transcode(FormatId(from), FormatId(to), code, b"{}", &Limits::default(), &mut out)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refuse(1, 2, 19), "serialization 1 (jdk) is not enabled here");
    assert_eq!(refuse(2, 5, 19), "serialization 5 (kryo) is not enabled here");
    assert_eq!(refuse(2, 77, 19), "serialization 77 is not known here");
    assert_eq!(refuse(2, 6, 150), "message type 150 has no body that is known here");
    assert_eq!(refuse(6, 2, 19), "the protobuf body of a Ping packet cannot be read: it ends early (at byte 1)");
    assert_eq!(out, b"as it was");
}

#[test]
fn only_a_body_that_decodes_is_passed_on_and_only_in_its_own_format() {
    let registry = Registry::default().with_version1();
    let limits = Limits::default();
    let transcode = |from, to, bytes: &[u8]| {
        let mut out = Vec::new();
        registry.transcode(from, to, 7, bytes, &limits, &mut out).map(|()| out)
    };
    // In the same format as it came, spaces, order and unknown properties included.
    let json = br#" {"new":1,"to":"b","from":"a"} "#;
    assert_eq!(transcode(FormatId::JSON, FormatId::JSON, json).unwrap(), json);
    let protobuf = transcode(FormatId::JSON, FormatId::PROTOBUF, json).unwrap();
    assert_eq!(protobuf, b"\x0a\x01a\x12\x01b\x18\0\x20\0\x50\0\x68\0");
    let mut limits = Limits::default();
    limits.max_body = json.len() - 1;
    let mut out = Vec::new();
    let error = registry.transcode(FormatId::JSON, FormatId::JSON, 7, json, &limits, &mut out).unwrap_err();
    assert!(matches!(error, Error::Decode(DecodeError { problem: Problem::TooLarge, .. })));
    for bad in [&b"{} {}"[..], b"{", b"[]"] {
        assert!(matches!(transcode(FormatId::JSON, FormatId::JSON, bad), Err(Error::Decode(_))));
    }
}

#[test]
fn a_body_must_be_of_its_message_types_class() {
    let registry = Registry::default().with_version1();
    let mut out = Vec::new();
    let error = registry.encode(FormatId::JSON, 8, &PChatMessage::default(), &mut out).unwrap_err();
    assert_eq!(error, Error::Encode(EncodeError { format: "json", class: PChatMessage::CLASS }));
    assert!(out.is_empty());
}
