//! One property for every serialization: any bytes are a body of a class or a typed error, and what was read is written
//! and read again as the same.

use std::sync::LazyLock;

use im_serial::class::{Class, Declared, Field, Record, Type, Value};
use im_serial::{Bincode, Cbor, Format, Json, Kind, Limits, MsgPack, Postcard, Protobuf, Thrift, v1};
use im_serial_java::{Fst, Hessian, Hessian2, Jdk, Kryo, KryoVersion, Options};

im_serial::record! {
    /// The types that a body of an application may have and those of the protocol do not.
    pub struct Everything: "com.example.Everything", suid 2 {
        /// A long number in front.
        900 => pub flag: bool;
        /// Java's int.
        41 => pub unsigned: u32;
        /// Java's long.
        45 => pub big: u64;
        /// A record.
        32 => pub part: Part;
        /// Records.
        33 => pub parts: Vec<Part>;
        /// Strings, some of them null.
        34 => pub names: Option<Vec<Option<String>>>;
    }
}

im_serial::record! {
    /// Something in it.
    pub struct Part: "com.example.Part", suid 1 {
        /// What it is called.
        1 => pub name: Option<String>;
    }
}

/// Every class: version 2, version 1, and one of an application.
fn classes() -> Vec<&'static Class> {
    let version1 = (0..16).filter_map(v1::class);
    Kind::ALL.iter().map(|kind| kind.class()).chain(version1).chain([Everything::CLASS]).collect()
}

/// The first byte says which class; the rest is the body. `properties` says that the format leaves out what Jackson has no
/// getter for.
fn check(format: &dyn Format, properties: bool, data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let classes = classes();
    let class = classes[usize::from(*which) % classes.len()];
    let mut first = (class.new)();
    let read = format.decode_record(&mut *first, bytes, &Limits::new(bytes.len()));
    if let Some(kind) = Kind::ALL.iter().find(|kind| kind.class() == class) {
        // The derived way takes what the class table takes, and reads the same.
        let derived = format.decode(*kind, bytes, &Limits::new(bytes.len()));
        if read.is_ok() {
            assert_eq!(*derived.unwrap().as_record(), *first);
        }
    }
    if let Err(error) = read {
        assert!(error.offset().is_none_or(|at| at <= bytes.len()), "{error}");
        return;
    }
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    format.encode_record(&*first, &mut once).unwrap();
    let mut second = (class.new)();
    // Back-references were written out, so the second body may be longer than the first.
    format.decode_record(&mut *second, &once, &Limits::new(once.len().max(1 << 16))).unwrap();
    format.encode_record(&*second, &mut twice).unwrap();
    assert_eq!(once, twice);
    if !properties {
        assert_eq!(*first, *second);
    }
}

/// Every class empty and filled, in one format.
fn seeds(format: &dyn Format) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (which, class) in classes().into_iter().enumerate() {
        for record in [(class.new)(), filled(class)] {
            let mut seed = vec![which as u8];
            format.encode_record(&*record, &mut seed).unwrap();
            seeds.push(seed);
        }
    }
    seeds
}

fn filled(class: &'static Class) -> Box<dyn Record> {
    let mut record = (class.new)();
    for (number, Field { ty, .. }) in class.all() {
        record.set(number, value(ty)).unwrap();
    }
    record
}

fn value(ty: &Type) -> Value {
    match ty {
        Type::Bool => Value::Bool(true),
        Type::Byte => Value::Byte(-1),
        Type::Int | Type::UInt => Value::Int(-70_000),
        Type::Long | Type::ULong | Type::Id => Value::Long(1_700_000_000_123),
        Type::Str => Value::Str("text, 你好 😀".into()),
        Type::Bytes => Value::Bytes(vec![0, 1, 128, 255]),
        Type::Record(class) => Value::Record(filled(class)),
        Type::List(element) => Value::List(vec![value(element), value(element)]),
        Type::Any | _ => unreachable!("no class here has a {ty:?}"),
    }
}

macro_rules! formats {
    ($($name:ident, $seeds:ident, $format:expr, $properties:literal;)*) => {
        $(
            #[doc = concat!("Bodies in ", stringify!($name), ".")]
            pub fn $name(data: &[u8]) {
                // One for all bodies, as in a program: what it works out for each class takes far longer than a body.
                static FORMAT: LazyLock<Box<dyn Format>> = LazyLock::new(|| Box::new($format));
                check(&**FORMAT, $properties, data);
            }

            #[doc = concat!("Every class in ", stringify!($name), ".")]
            pub fn $seeds() -> Vec<Vec<u8>> {
                seeds(&$format)
            }
        )*
    };
}

formats! {
    json, json_seeds, Json, true;
    protobuf, protobuf_seeds, Protobuf, false;
    msgpack, msgpack_seeds, MsgPack, true;
    thrift, thrift_seeds, Thrift, false;
    postcard, postcard_seeds, Postcard, false;
    cbor, cbor_seeds, Cbor, false;
    bincode, bincode_seeds, Bincode, false;
    jdk, jdk_seeds, Jdk::default(), false;
    hessian, hessian_seeds, Hessian::default(), false;
    hessian2, hessian2_seeds, Hessian2::default(), false;
    kryo5, kryo5_seeds, Kryo::default(), false;
    kryo4, kryo4_seeds, Kryo::new(KryoVersion::V4, Options::default()), false;
    fst, fst_seeds, Fst::default(), false;
}
