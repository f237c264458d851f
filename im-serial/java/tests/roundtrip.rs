//! Every record survives every format, also when the peer's classes have other names or `serialVersionUID`s, so that
//! nothing in the body is where it usually is.
#![cfg(all(feature = "jdk", feature = "hessian"))]

use im_serial::class::{Class, Declared, Record, Type, Value};
use im_serial::{Format, Kind, Limits, Problem, record, v1};
use im_serial_java::{Hessian, Hessian2, Jdk, Options};
use proptest::prelude::*;

record! {
    /// A record of an application, with everything that a field may be.
    struct Poll: "com.example.vote.Poll", suid 42, extends base: Item {
        1 => question: Option<String>;
        2 => votes: u32;
        3 => weight: i8 = "gewichtÄ" / "weight";
        4 => opened: u64;
        5 => is_open: bool = "isOpen" / "open";
        6 => first: Option<Choice>;
        7 => choices: Vec<Option<Choice>>;
        8 => labels: Option<Vec<Option<String>>>;
        9 => blobs: Vec<Vec<u8>>;
        10 => matrix: Vec<Vec<Choice>>;
        11 => picture: Option<Vec<u8>>;
    }
}

record! {
    /// A superclass.
    struct Item: "com.example.Item", suid -1 {
        20 => id: i64;
        21 => last: Choice;
        22 => number: i32;
    }
}

record! {
    /// One of the answers to choose from.
    struct Choice: "com.example.vote.Choice", suid 43 {
        1 => text: String;
        2 => by: Vec<String>;
    }
}

fn value(ty: &'static Type) -> BoxedStrategy<Value> {
    let text = prop_oneof![
        4 => any::<String>(),
        2 => "[ -~]{0,40}",
        1 => "[\0-\u{7f}é你😀]{0,60}",
        1 => (1000..1100_usize).prop_map(|n| "é".repeat(n)),
    ];
    let bytes = prop_oneof![8 => prop::collection::vec(any::<u8>(), 0..40), 1 => prop::collection::vec(any::<u8>(), 1000..1100)];
    let int = prop_oneof![-300_000..300_000, any::<i32>(), -20..50, Just(i32::MIN)];
    let long = prop_oneof![int.clone().prop_map(i64::from), any::<i64>()];
    let some = match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Byte => any::<i8>().prop_map(Value::Byte).boxed(),
        Type::Int | Type::UInt => int.prop_map(Value::Int).boxed(),
        Type::Long | Type::ULong | Type::Id => long.prop_map(Value::Long).boxed(),
        Type::Str | Type::Any => text.prop_map(Value::Str).boxed(),
        Type::Bytes => bytes.prop_map(Value::Bytes).boxed(),
        Type::Record(class) => fields(class).prop_map(Value::Record).boxed(),
        Type::List(item) => prop::collection::vec(value(item), 0..10).prop_map(Value::List).boxed(),
        other => panic!("{other:?}"),
    };
    // A field that cannot be null takes its default.
    prop_oneof![1 => Just(()).prop_map(|()| Value::Null), 7 => some].boxed()
}

fn fields(class: &'static Class) -> BoxedStrategy<Box<dyn Record>> {
    let values: Vec<_> = class.all().map(|(_, field)| value(&field.ty)).collect();
    values
        .prop_map(|values| {
            let mut record = (class.new)();
            for (number, value) in values.into_iter().enumerate() {
                record.set(number, value).unwrap();
            }
            record
        })
        .boxed()
}

fn classes() -> Vec<&'static Class> {
    let mut classes: Vec<_> = [1, 5, 7, 8, 10, 11].into_iter().filter_map(v1::class).collect();
    classes.extend(Kind::ALL.iter().map(|kind| kind.class()));
    classes.extend([v1::RoutingTable::CLASS, v1::ResponseMessage::CLASS, Poll::CLASS, Item::CLASS, Choice::CLASS]);
    classes
}

fn other_names() -> Options {
    classes().into_iter().chain([v1::Message::CLASS]).enumerate().fold(Options::default(), |options, (at, class)| {
        options.alias(class, format!("other.C{at}")).suid(class, at as i64)
    })
}

/// A format, and the same for a peer that is set up differently.
type Pair = (Box<dyn Format>, Box<dyn Format>);

fn check(formats: &[Pair], record: &dyn Record) {
    let mut limits = Limits::new(1 << 20);
    limits.max_elements = 100_000;
    for (usual, other) in formats {
        for writer in [usual, other] {
            let mut out = Vec::new();
            writer.encode_record(record, &mut out).unwrap();
            let mut read = (record.class().new)();
            writer.decode_record(&mut *read, &out, &limits).unwrap();
            assert_eq!(&*read, record, "{}", writer.name());
        }
        // With aliases the usual names still read, though the body looks unusual.
        let mut out = Vec::new();
        usual.encode_record(record, &mut out).unwrap();
        let mut read = (record.class().new)();
        other.decode_record(&mut *read, &out, &limits).unwrap();
        assert_eq!(&*read, record, "{} in its general way", usual.name());
    }
}

fn formats() -> Vec<Pair> {
    vec![
        (Box::new(Jdk::default()), Box::new(Jdk::new(other_names()))),
        (Box::new(Hessian::default()), Box::new(Hessian::new(other_names()))),
        (Box::new(Hessian2::default()), Box::new(Hessian2::new(other_names()))),
        (
            Box::new(Jdk::default().with_class(Poll::CLASS)),
            Box::new(Jdk::new(Options::default().suid(v1::Message::CLASS, 3).suid(Poll::CLASS, 4))),
        ),
        (Box::new(Hessian::default().with_class(Poll::CLASS)), Box::new(Hessian::default())),
        (Box::new(Hessian2::default().with_class(Poll::CLASS)), Box::new(Hessian2::default())),
    ]
}

#[test]
fn every_record_survives_every_format() {
    let formats = formats();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    for class in classes() {
        runner
            .run(&fields(class), |record| {
                check(&formats, &*record);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", class.name));
    }
}

#[test]
fn long_strings_and_bytes_survive() {
    let formats = formats();
    let pairs = "x".to_owned() + &"😀".repeat(40_000);
    for len in [0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0000, 0x1_8000, 0x1_8001] {
        let poll = Poll {
            question: Some("q".repeat(len)),
            labels: Some(vec![Some("é".repeat(len)), Some(pairs.clone())]),
            picture: Some(vec![7; len]),
            ..Poll::default()
        };
        check(&formats, &poll);
    }
}

#[test]
fn chunks_end_between_characters_at_javas_length() {
    let text = "x".repeat(0x7fff) + "😀y";
    let record = v1::HeartBeatMessage { from: Some(text), ..Default::default() };
    for (format, tag) in [(&Hessian::default() as &dyn Format, [b's', b'S']), (&Hessian2::default(), [b'R', 3])] {
        let mut out = Vec::new();
        format.encode_record(&record, &mut out).unwrap();
        let start = out.windows(4).position(|part| part == [tag[0], 0x7f, 0xff, b'x']).unwrap();
        let rest = &out[start + 3 + 0x7fff..];
        let last = if tag[1] == 3 { &[3][..] } else { &[b'S', 0, 3] };
        assert!(rest.strip_prefix(last).unwrap().starts_with(b"\xed\xa0\xbd\xed\xb8\x80y"));
    }
}

#[test]
fn unsigned_numbers_travel_with_the_same_bits() {
    // Java writes the numbers in the order of their names, so each is looked for where it comes first.
    let login = im_serial::body::Login { receive_max: u32::MAX, receive_bytes: u32::MAX, ..Default::default() };
    let body = im_serial::Body::from(login);
    for (format, minus_one) in [
        (&Jdk::default() as &dyn Format, &b"xp\xff\xff\xff\xff"[..]),
        (&Hessian::default(), b"receive_maxI\xff\xff\xff\xff"),
        (&Hessian2::default(), b"\x8f"),
    ] {
        let mut out = Vec::new();
        format.encode(&body, &mut out).unwrap();
        assert!(out.windows(minus_one.len()).any(|part| part == minus_one), "{out:02x?}");
        assert_eq!(format.decode(Kind::Login, &out, &Limits::default()).unwrap(), body);
    }
}

/// Another declaration of a class of version 1, as an application may have for a newer peer.
mod newer {
    im_serial::record! {
        pub(super) struct Beat: "com.ouyu.im.packet.message.HeartBeatMessage", suid 5 {
            1 => pub(super) mood: i64;
            2 => pub(super) from: Option<String>;
        }
    }
}

#[test]
fn a_class_may_be_declared_again_with_other_fields() {
    let beat = newer::Beat { mood: -5, from: Some("x".into()) };
    for (format, _) in formats() {
        let mut out = Vec::new();
        format.encode_record(&beat, &mut out).unwrap();
        let mut again = newer::Beat::default();
        format.decode_record(&mut again, &out, &Limits::default()).unwrap();
        assert_eq!(again, beat);
        let mut old = v1::HeartBeatMessage::default();
        format.decode_record(&mut old, &out, &Limits::default()).unwrap();
        assert_eq!(old, v1::HeartBeatMessage { from: Some("x".into()), ..Default::default() });
        out.clear();
        format.encode_record(&old, &mut out).unwrap();
        let result = format.decode_record(&mut again, &out, &Limits::default());
        // JDK names the superclass, which the newer class does not have.
        let problem = (format.name() == "jdk").then_some(Problem::WrongClass);
        assert_eq!(result.err().map(|error| error.problem), problem);
    }
    // Registered as known, both are told apart.
    let format = Hessian2::default().with_class(newer::Beat::CLASS);
    let mut out = Vec::new();
    format.encode_record(&beat, &mut out).unwrap();
    assert!(out.windows(5).any(|part| part == b"\x04mood"));
}
