//! Records of every class at random, and what a format keeps of them.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use std::sync::Arc;

use im_serial::class::{Class, Declared, List, Presence, Record, Type, Value, ValueRef};
use im_serial::{Format, FormatId, Kind, Registry, v1};
use proptest::collection::vec;
use proptest::prelude::*;

im_serial::record! {
    /// Everything that a body of an application may have.
    pub struct Everything: "com.example.Everything", suid 3, extends base: Part {
        900 => pub flag: bool = "isFlag" / "flag";
        41 => pub byte: i8;
        42 => pub int: i32;
        43 => pub unsigned: u32;
        44 => pub long: i64;
        45 => pub big: u64;
        30 => pub text: String;
        31 => pub bytes: Vec<u8>;
        32 => pub part: Part;
        33 => pub parts: Vec<Part>;
        34 => pub names: Vec<String>;
        35 => pub numbers: Vec<i64>;
        36 => pub flags: Vec<bool>;
        16 => pub blobs: Option<Vec<Option<Vec<u8>>>>;
        17 => pub maybe: Option<Part>;
    }
}

im_serial::record! {
    /// Something in it.
    pub struct Part: "com.example.Part", suid 2 {
        1 => pub name: Option<String>;
        2 => pub is_set: bool = "isSet" / "set";
        3 => pub nothing: Nothing;
    }
}

im_serial::record! {
    /// Without any field.
    #[allow(missing_copy_implementations, reason = "a body")]
    pub struct Nothing: "com.example.Nothing", suid 1 {}
}

im_serial::record! {
    /// As many elements of no size as one likes.
    pub struct Voids: "com.example.Voids", suid 1 {
        1 => pub voids: Vec<Nothing>;
    }
}

pub fn classes() -> Vec<&'static Class> {
    let own = [
        v1::PChatMessage::CLASS,
        v1::GChatMessage::CLASS,
        v1::LoginMessage::CLASS,
        v1::HeartBeatMessage::CLASS,
        v1::AcknowledgeMessage::CLASS,
        v1::PushMessage::CLASS,
        v1::ResponseMessage::CLASS,
        v1::RoutingTable::CLASS,
        Everything::CLASS,
        Part::CLASS,
        Nothing::CLASS,
        Voids::CLASS,
    ];
    Kind::ALL.iter().map(|kind| kind.class()).chain(own).collect()
}

pub fn formats() -> Vec<Arc<dyn Format>> {
    let registry = Registry::default();
    registry.ids().into_iter().map(|id| registry.get(id).expect("listed").clone()).collect()
}

/// Any record of a class.
pub fn record(class: &'static Class) -> BoxedStrategy<Arc<dyn Record>> {
    let fields: Vec<_> = class.all().map(|(_, field)| value(field.ty, class.presence)).collect();
    let make = move |values: Vec<Value>| {
        let mut record = (class.new)();
        for (number, value) in values.into_iter().enumerate() {
            record.set(number, value).expect("of its type");
        }
        Arc::from(record)
    };
    fields.prop_map(make).boxed()
}

/// Any record of any class.
pub fn any_record() -> BoxedStrategy<Arc<dyn Record>> {
    proptest::strategy::Union::new(classes().into_iter().map(record)).boxed()
}

fn value(ty: Type, presence: Presence) -> BoxedStrategy<Value> {
    let text = || prop_oneof!["[ -~]{0,12}", ".{0,20}", Just("a\0😀".to_owned())];
    let plain = match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Byte => any::<i8>().prop_map(Value::Byte).boxed(),
        Type::Int | Type::UInt => prop_oneof![Just(0), any::<i32>()].prop_map(Value::Int).boxed(),
        Type::Long | Type::ULong | Type::Id => prop_oneof![Just(0), any::<i64>()].prop_map(Value::Long).boxed(),
        Type::Str | Type::Any => text().prop_map(Value::Str).boxed(),
        Type::Bytes => vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed(),
        Type::Record(class) => record(class).prop_map(|record| Value::Record(copy(&*record, Loss::default()))).boxed(),
        Type::List(element) => vec(value(*element, presence), 0..20).prop_map(Value::List).boxed(),
        _ => unreachable!("a type that this test does not know"),
    };
    let number = matches!(plain_type(ty), PlainType::Number);
    if number || presence == Presence::Default {
        return plain;
    }
    prop_oneof![1 => Just(()).prop_map(|()| Value::Null), 4 => plain].boxed()
}

enum PlainType {
    Number,
    Other,
}

fn plain_type(ty: Type) -> PlainType {
    match ty {
        Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_) => PlainType::Other,
        _ => PlainType::Number,
    }
}

/// What a format does not keep.
#[derive(Clone, Copy, Default)]
pub struct Loss {
    /// Fields that Jackson has no getter for.
    pub unwritten: bool,
    /// Nulls in lists.
    pub null_elements: bool,
    /// Lists without elements.
    pub empty_lists: bool,
}

impl Loss {
    pub fn of(id: FormatId) -> Self {
        Self {
            unwritten: matches!(id, FormatId::JSON | FormatId::MSGPACK),
            null_elements: matches!(id, FormatId::PROTOBUF | FormatId::THRIFT),
            empty_lists: id == FormatId::PROTOBUF,
        }
    }
}

/// The record as it comes back from a format.
pub fn copy(record: &dyn Record, loss: Loss) -> Box<dyn Record> {
    let mut copy = (record.class().new)();
    for (number, field) in record.class().all() {
        if !loss.unwritten || field.json_written {
            copy.set(number, owned(record.get(number), loss)).expect("of its type");
        }
    }
    copy
}

fn owned(value: ValueRef<'_>, loss: Loss) -> Value {
    match value {
        ValueRef::Bool(value) => Value::Bool(value),
        ValueRef::Byte(value) => Value::Byte(value),
        ValueRef::Int(value) => Value::Int(value),
        ValueRef::Long(value) => Value::Long(value),
        ValueRef::Str(text) => Value::Str(text.into()),
        ValueRef::Bytes(bytes) => Value::Bytes(bytes.into()),
        ValueRef::Record(record) => Value::Record(copy(record, loss)),
        ValueRef::List(list) => {
            let elements: Vec<_> = elements(list)
                .filter(|value| !loss.null_elements || !matches!(value, ValueRef::Null))
                .map(|value| owned(value, loss))
                .collect();
            if loss.empty_lists && elements.is_empty() { Value::Null } else { Value::List(elements) }
        }
        _ => Value::Null,
    }
}

fn elements(list: &dyn List) -> impl Iterator<Item = ValueRef<'_>> {
    (0..list.len()).map(|index| list.get(index))
}
