//! Records of any class, filled at random: proptest strategies made from the class table.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use im_serial::class::{Class, Declared, Record, Type, Value};
use im_serial::v1::*;
use im_serial::{Kind, record};
use proptest::collection::vec;
use proptest::prelude::*;

record! {
    /// One answer of a poll.
    pub struct Answer: "com.example.poll.Answer", suid 7 {
        1 => pub text: Option<String>;
        2 => pub votes: u32;
        3 => pub voters: Vec<String>;
    }
}

record! {
    /// A body of an application: nested records, lists of them, lists of strings, every type.
    pub struct Poll: "com.example.poll.Poll", suid 8 {
        1 => pub id: u64;
        2 => pub question: String;
        3 => pub is_open: bool = "isOpen" / "open";
        4 => pub best: Option<Answer>;
        5 => pub first: Answer;
        6 => pub answers: Vec<Answer>;
        7 => pub others: Option<Vec<Option<Answer>>>;
        8 => pub tags: Option<Vec<Option<String>>>;
        9 => pub picture: Option<Vec<u8>>;
        10 => pub level: i8;
    }
}

/// Every class of version 1, of version 2, and of the application above.
pub fn classes() -> Vec<&'static Class> {
    let one = [
        HeartBeatMessage::CLASS,
        LoginMessage::CLASS,
        PChatMessage::CLASS,
        GChatMessage::CLASS,
        AcknowledgeMessage::CLASS,
        PushMessage::CLASS,
        ResponseMessage::CLASS,
    ];
    one.into_iter().chain(Kind::ALL.iter().map(|kind| kind.class())).chain([Poll::CLASS]).collect()
}

pub fn any_record() -> impl Strategy<Value = Box<dyn Record>> {
    proptest::strategy::Union::new(classes().into_iter().map(of_class))
}

pub fn of_class(class: &'static Class) -> BoxedStrategy<Box<dyn Record>> {
    let fields: Vec<_> = class.all().map(|(_, field)| value(field.ty)).collect();
    fields
        .prop_map(|values| {
            let mut record = (class.new)();
            for (number, value) in values.into_iter().enumerate() {
                record.set(number, value).expect("fits");
            }
            record
        })
        .boxed()
}

fn value(ty: Type) -> BoxedStrategy<Value> {
    let null = || Just(()).prop_map(|()| Value::Null);
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Byte => any::<i8>().prop_map(Value::Byte).boxed(),
        Type::Int | Type::UInt => prop_oneof![any::<i32>(), -70..70i32].prop_map(Value::Int).boxed(),
        Type::Long | Type::ULong | Type::Id => prop_oneof![any::<i64>(), -70..70i64].prop_map(Value::Long).boxed(),
        Type::Str | Type::Any => prop_oneof![1 => null(), 4 => text().prop_map(Value::Str)].boxed(),
        Type::Bytes => prop_oneof![1 => null(), 4 => vec(any::<u8>(), 0..200).prop_map(Value::Bytes)].boxed(),
        Type::Record(class) => prop_oneof![1 => null(), 2 => of_class(class).prop_map(Value::Record)].boxed(),
        Type::List(element) => prop_oneof![1 => null(), 3 => vec(value(*element), 0..5).prop_map(Value::List)].boxed(),
        _ => null().boxed(),
    }
}

/// Text of the lengths and characters at which the forms of a string change.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,70}",
        "[\\PC\u{0}-\u{1f}]{0,20}",
        vec(any::<char>(), 0..70).prop_map(|characters| characters.into_iter().collect()),
        "[a-z😀é你\u{d7ff}\u{e000}]{0,8}",
    ]
}
