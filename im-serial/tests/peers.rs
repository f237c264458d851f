//! The bytes of thrift and bincode are those of other implementations.
#![cfg(all(feature = "bincode", feature = "thrift", feature = "v1"))]
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

mod records;

use im_serial::body::*;
use im_serial::class::{Presence, Record, Type, ValueRef};
use im_serial::*;
use proptest::prelude::*;
use thrift::protocol::{
    TCompactOutputProtocol, TFieldIdentifier, TListIdentifier, TOutputProtocol, TStructIdentifier, TType,
};
use wincode::config::Configuration;
use wincode::{SchemaRead, SchemaWrite};

fn thrift_type(ty: Type) -> TType {
    match ty {
        Type::Bool => TType::Bool,
        Type::Byte => TType::I08,
        Type::Int | Type::UInt => TType::I32,
        Type::Long | Type::ULong | Type::Id => TType::I64,
        Type::Str | Type::Any | Type::Bytes => TType::String,
        Type::Record(_) => TType::Struct,
        Type::List(_) => TType::List,
        _ => unreachable!("a type that this test does not know"),
    }
}

fn thrift_struct(record: &dyn Record, to: &mut dyn TOutputProtocol) {
    to.write_struct_begin(&TStructIdentifier::new("")).unwrap();
    let mut fields: Vec<_> = record.class().all().collect();
    fields.sort_by_key(|(_, field)| field.tag);
    for (number, field) in fields {
        let value = record.get(number);
        let empty = match value {
            ValueRef::Null => true,
            ValueRef::List(list) => list.is_empty() && record.class().presence == Presence::Default,
            value => {
                record.class().presence == Presence::Default
                    && value == (record.class().new)().get(number)
                    && !matches!(value, ValueRef::Record(_))
            }
        };
        if !empty {
            to.write_field_begin(&TFieldIdentifier::new("", thrift_type(field.ty), field.tag as i16)).unwrap();
            thrift_value(field.ty, value, to);
            to.write_field_end().unwrap();
        }
    }
    to.write_field_stop().unwrap();
    to.write_struct_end().unwrap();
}

fn thrift_value(ty: Type, value: ValueRef<'_>, to: &mut dyn TOutputProtocol) {
    match value {
        ValueRef::Bool(value) => to.write_bool(value).unwrap(),
        ValueRef::Byte(value) => to.write_i8(value).unwrap(),
        ValueRef::Int(value) => to.write_i32(value).unwrap(),
        ValueRef::Long(value) => to.write_i64(value).unwrap(),
        ValueRef::Str(text) => to.write_string(text).unwrap(),
        ValueRef::Bytes(bytes) => to.write_bytes(bytes).unwrap(),
        ValueRef::Record(record) => thrift_struct(record, to),
        ValueRef::List(list) => {
            let Type::List(element) = ty else { unreachable!("a list") };
            let there: Vec<_> =
                (0..list.len()).map(|index| list.get(index)).filter(|value| *value != ValueRef::Null).collect();
            to.write_list_begin(&TListIdentifier::new(thrift_type(*element), there.len() as i32)).unwrap();
            for value in there {
                thrift_value(*element, value, to);
            }
            to.write_list_end().unwrap();
        }
        _ => unreachable!("null is left out"),
    }
}

/// The bodies as wincode's own derive lays them out.
mod mirror {
    use super::{SchemaRead, SchemaWrite};

    #[derive(SchemaRead, SchemaWrite)]
    pub(super) struct Conversation {
        pub(super) kind: u32,
        pub(super) id: String,
    }

    #[derive(SchemaRead, SchemaWrite)]
    pub(super) struct Stored {
        pub(super) conversation: Conversation,
        pub(super) message_id: u64,
        pub(super) seq: u64,
        pub(super) time_ms: u64,
        pub(super) duplicate: bool,
        pub(super) in_stream: bool,
    }

    #[derive(SchemaRead, SchemaWrite)]
    pub(super) struct Send {
        pub(super) to: Conversation,
        pub(super) content_type: u32,
        pub(super) content: Vec<u8>,
    }

    #[derive(SchemaRead, SchemaWrite)]
    pub(super) struct RoutingTable {
        pub(super) server_address: Option<String>,
        pub(super) pre_server_address: Option<String>,
        pub(super) routed_server_addresses: Option<Vec<Option<String>>>,
    }
}

proptest! {
    #[test]
    fn thrift_is_the_thrift_crates(record in records::any_record()) {
        let mut theirs = Vec::new();
        thrift_struct(&*record, &mut TCompactOutputProtocol::new(&mut theirs));
        let mut ours = Vec::new();
        Thrift.encode_record(&*record, &mut ours).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn bincode_is_wincodes(
        kind in any::<u32>(), id in ".{0,300}", content in proptest::collection::vec(any::<u8>(), 0..300),
        numbers in any::<[u64; 3]>(), small in 0..300u64, flag in any::<bool>(),
        routed in proptest::option::of(proptest::collection::vec(proptest::option::of(".{0,9}"), 0..9)),
    ) {
        let config = Configuration::default().with_varint_encoding();
        let conversation = || Conversation { kind, id: Name::from(&id) };
        let mirrored = || mirror::Conversation { kind, id: id.clone() };
        let [message_id, seq, time_ms] = [numbers[0], small, numbers[2]];
        let stored = Stored { conversation: conversation(), message_id, seq, time_ms, duplicate: flag, in_stream: !flag };
        let theirs = mirror::Stored { conversation: mirrored(), message_id, seq, time_ms, duplicate: flag, in_stream: !flag };
        let send = Send { to: conversation(), content_type: small as u32, content: content.clone() };
        let theirs_send = mirror::Send { to: mirrored(), content_type: small as u32, content };
        let routing = v1::RoutingTable { server_address: Some(id.clone()), pre_server_address: None, routed_server_addresses: routed.clone() };
        let theirs_routing = mirror::RoutingTable { server_address: Some(id), pre_server_address: None, routed_server_addresses: routed };
        let pairs: [(&dyn Record, Vec<u8>); 3] = [
            (&stored, wincode::config::serialize(&theirs, config).unwrap()),
            (&send, wincode::config::serialize(&theirs_send, config).unwrap()),
            (&routing, wincode::config::serialize(&theirs_routing, config).unwrap()),
        ];
        for (record, theirs) in pairs {
            let mut ours = Vec::new();
            Bincode.encode_record(record, &mut ours).unwrap();
            prop_assert_eq!(&ours, &theirs);
            let mut read = (record.class().new)();
            Bincode.decode_record(&mut *read, &theirs, &Limits::default()).unwrap();
            prop_assert_eq!(&*read, record);
        }
    }
}
