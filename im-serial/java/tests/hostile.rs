//! Bodies that nobody honest writes, and bodies that only newer or other peers write: a value or a typed error, never a
//! panic, and never more memory than the limits allow. The allocator of this test binary counts.
#![cfg(all(feature = "jdk", feature = "hessian"))]

#[path = "../../tests/golden/mod.rs"]
mod golden;

use std::sync::LazyLock;

use im_serial::class::{Class, Declared, Record};
use im_serial::v1::{self, HeartBeatMessage, Message, PChatMessage, PushMessage, RoutingTable};
use im_serial::{DecodeError, Format, Limits, Problem};
use im_serial_java::{Hessian, Hessian2, Jdk, Options};

static JDK: LazyLock<Jdk> = LazyLock::new(Jdk::default);
static HESSIAN: LazyLock<Hessian> = LazyLock::new(Hessian::default);
static HESSIAN2: LazyLock<Hessian2> = LazyLock::new(Hessian2::default);

/// Decodes, and checks what was allocated in all: also what was freed again counts.
fn decode_into(
    format: &dyn Format,
    record: &mut dyn Record,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), DecodeError> {
    let mut result = Ok(());
    let allocated = allocation_counter::measure(|| result = format.decode_record(record, bytes, limits)).bytes_total;
    let allowed = limits.max_total_alloc as u64;
    assert!(allocated <= allowed, "{}: {allocated} of {allowed} bytes: {bytes:02x?}", format.name());
    result
}

fn decode<T: Declared>(format: &dyn Format, bytes: &[u8]) -> Result<T, Problem> {
    let mut record = T::default();
    decode_into(format, &mut record, bytes, &Limits::new(bytes.len())).map_err(|error| {
        assert!(error.offset().is_some_and(|at| at <= bytes.len()), "{error}");
        error.problem
    })?;
    Ok(record)
}

/// The formats with the folders of their vectors.
fn formats() -> [(&'static dyn Format, &'static str); 3] {
    [(&*JDK, "jdk"), (&*HESSIAN, "hessian1_4.0.7"), (&*HESSIAN2, "hessian2_4.0.7")]
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

// The general parts of each format.

/// A name or string with the length before it in two bytes.
fn utf(text: &str) -> Vec<u8> {
    cat(&[&(text.len() as u16).to_be_bytes(), text.as_bytes()])
}

/// A JDK class description without what comes after it. Fields: type code, name, and for objects the type.
fn desc(name: &str, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = cat(&[&[0x72], &utf(name), &[9; 8], &[flags], &(fields.len() as u16).to_be_bytes()]);
    for (ty, name) in fields {
        out.push(ty.as_bytes()[0]);
        out.extend(utf(name));
        if ty.starts_with(['L', '[']) {
            out.push(0x74);
            out.extend(utf(ty));
        }
    }
    out.push(0x78);
    out
}

const PCHAT: &str = PChatMessage::CLASS.java;
const ROUTING: &str = RoutingTable::CLASS.java;
const STRING: &str = "Ljava/lang/String;";

/// A JDK stream with a chat message of these fields and no superclass.
fn jdk_chat(fields: &[(&str, &str)], values: &[u8]) -> Vec<u8> {
    cat(&[b"\xac\xed\0\x05s", &desc(PCHAT, 2, fields), b"p", values])
}

fn jdk_str(text: &str) -> Vec<u8> {
    cat(&[b"t", &utf(text)])
}

/// A JDK list up to its elements.
fn jdk_list(len: i32) -> Vec<u8> {
    cat(&[b"s", &desc("java.util.ArrayList", 3, &[("I", "size")]), b"p", &len.to_be_bytes(), b"w\x04\0\0\0\0"])
}

/// A JDK stream with a chat message whose only field is the list of the superclass, given as its bytes.
fn jdk_routed(list: &[u8]) -> Vec<u8> {
    let message = desc(Message::CLASS.java, 2, &[("Ljava/util/List;", "routingTables")]);
    cat(&[b"\xac\xed\0\x05s", &desc(PCHAT, 2, &[]), &message, b"p", list])
}

/// A Hessian 1 chat message with these names and values.
fn one_chat(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = cat(&[b"Mt", &utf(PCHAT)]);
    for (name, value) in fields {
        out.extend(cat(&[b"S", &utf(name), value]));
    }
    out.push(b'z');
    out
}

/// A short Hessian 2 string.
fn two_str(text: &str) -> Vec<u8> {
    cat(&[&[0x30, text.len() as u8], text.as_bytes()])
}

fn two_def(name: &str, fields: &[&str]) -> Vec<u8> {
    let mut out = cat(&[b"C", &two_str(name), &[0x90 + fields.len() as u8]]);
    out.extend(fields.iter().flat_map(|name| two_str(name)));
    out
}

/// A Hessian 2 chat message with these names and values.
fn two_chat(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let mut out = two_def(PCHAT, &names);
    out.push(0x60);
    out.extend(fields.iter().flat_map(|(_, value)| *value));
    out
}

#[test]
fn damaged_vectors_are_values_or_errors() {
    for (format, folder) in formats() {
        for (case, record) in golden::cases() {
            let bytes = golden::vector(folder, case);
            let limits = Limits::new(bytes.len());
            let class = record.class();
            for end in 0..bytes.len() {
                let error = decode_into(format, &mut *(class.new)(), &bytes[..end], &limits).unwrap_err();
                let expected = [Problem::Truncated, Problem::Malformed];
                assert!(expected.contains(&error.problem), "{folder} {case} {end}: {error}");
            }
            let longer = cat(&[&bytes, b"\0"]);
            let error = decode_into(format, &mut *(class.new)(), &longer, &Limits::new(longer.len())).unwrap_err();
            assert_eq!((error.problem, error.offset()), (Problem::TrailingBytes, Some(bytes.len())), "{folder} {case}");
            let error = decode_into(format, &mut *(class.new)(), &longer, &limits).unwrap_err();
            assert_eq!(error.problem, Problem::TooLarge);

            let mut damaged = bytes.clone();
            for at in 0..bytes.len() {
                for flip in 1..=255 {
                    damaged[at] = bytes[at] ^ flip;
                    let mut read = (class.new)();
                    if decode_into(format, &mut *read, &damaged, &limits).is_ok() && flip.is_power_of_two() {
                        let mut written = Vec::new();
                        format.encode_record(&*read, &mut written).unwrap();
                        let mut again = (class.new)();
                        format.decode_record(&mut *again, &written, &Limits::default()).unwrap();
                        assert_eq!(&*again, &*read, "{folder} {case} {at} {flip}");
                    }
                }
                damaged[at] = bytes[at];
            }
        }
    }
}

#[test]
fn a_reference_bomb_is_an_error() {
    // Four levels of fifty lists, each list again and again the one before: 2 GB for a reader that copies.
    let element = |level: u32| cat(&[b"q", &(0x7e_0000_u32 + level).to_be_bytes()]);
    let mut list = jdk_list(50);
    for level in 0..4 {
        for _ in 1..50 {
            list.extend(element(4 + level));
        }
        list.extend(b"sq\0\x7e\0\x02\0\0\0\x32w\x04\0\0\0\0");
    }
    let body = jdk_routed(&list);
    assert!(body.len() > 1000);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::BackReference);
    // The same in a field that nobody knows.
    let body = jdk_chat(&[("Ljava/util/List;", "new")], &list);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::BackReference);

    let mut list = Vec::new();
    for level in 0..4_i32 {
        list.extend(b"Vl\0\0\0\x32");
        for _ in 1..50 {
            list.extend(cat(&[b"R", &(level + 1).to_be_bytes()]));
        }
    }
    for field in ["routingTables", "new"] {
        let body = one_chat(&[(field, &list)]);
        assert!(body.len() > 1000);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &body).unwrap_err(), Problem::BackReference);
    }
    let mut list = Vec::new();
    for level in 0..4_u8 {
        list.extend([0x58, 0xc8, 50]);
        for _ in 1..50 {
            list.extend([0x51, 0xc8, level + 1, 0x51, 0x91]);
        }
    }
    for field in ["routingTables", "new"] {
        let body = two_chat(&[(field, &list)]);
        assert!(body.len() > 1000);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::BackReference);
    }
    for (format, reference) in
        [(&*HESSIAN as &dyn Format, &b"R\0\0\0\0"[..]), (&*HESSIAN2, b"Q\x90"), (&*JDK, b"\xac\xed\0\x05q\0\x7e\0\0")]
    {
        assert_eq!(decode::<PChatMessage>(format, reference).unwrap_err(), Problem::BackReference);
    }
}

#[test]
fn every_reference_to_a_string_is_charged() {
    let text = "x".repeat(1000);
    let tables = |references: usize| {
        let mut list = jdk_list(1);
        let routing = desc(ROUTING, 2, &[("Ljava/util/List;", "routedServerAddresses")]);
        // Handles: 0 chat, 1 message, 2 its type, 3 ArrayList, 4 list, 5 routing, 6 its type, 7 object, 8 list, 9 text.
        list.extend(cat(&[b"s", &routing, b"p", b"sq\0\x7e\0\x03"]));
        list.extend((references as i32 + 1).to_be_bytes());
        list.extend(b"w\x04\0\0\0\0");
        list.extend(jdk_str(&text));
        list.extend(b"q\0\x7e\0\x09".repeat(references));
        list.extend(b"xx");
        jdk_routed(&list)
    };
    let body = tables(2);
    let read: PChatMessage = decode(&*JDK, &body).unwrap();
    let read = read.base.routing_tables.unwrap().remove(0).unwrap().routed_server_addresses.unwrap();
    assert_eq!(read, vec![Some(text.clone()); 3]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &tables(1000)).unwrap_err(), Problem::AllocationBudget);

    // A byte array may be shared too, and neither is taken for the other.
    let fields = [("[B", "content"), ("[B", "again")];
    let array = cat(&[b"u", &desc("[B", 2, &[]), b"p\0\0\0\x02hi"]);
    let body = cat(&[b"\xac\xed\0\x05s", &desc(PCHAT, 2, &[fields[1], fields[0]]), b"p", &array, b"q\0\x7e\0\x05"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap().content.unwrap(), b"hi");
    let body = jdk_chat(&[("[B", "content"), (STRING, "from")], &cat(&[&array, b"q\0\x7e\0\x05"]));
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::Malformed);
    for (handle, problem) in [
        (&b"q\0\x7e\0\x00"[..], Problem::BackReference),
        (b"q\0\x7e\0\x02", Problem::BackReference),
        (b"q\0\x7e\0\x7f", Problem::Malformed),
        (b"q\0\x00\0\x00", Problem::Malformed),
        (b"q\xff\xff\xff\xff", Problem::Malformed),
    ] {
        assert_eq!(decode::<PChatMessage>(&*JDK, &jdk_chat(&[(STRING, "from")], handle)).unwrap_err(), problem);
    }
    let own_type: PChatMessage = decode(&*JDK, &jdk_chat(&[(STRING, "from")], b"q\0\x7e\0\x01")).unwrap();
    assert_eq!(own_type.from.as_deref(), Some(STRING), "the type's name is a string like any other");
}

#[test]
fn declared_lengths_are_checked_before_they_are_believed() {
    let bad = [Problem::Truncated, Problem::Malformed];
    for length in [1 << 31, 1 << 32, 1 << 40, u64::MAX, u64::from(u32::MAX)] {
        let long = cat(&[&[0x7c], &length.to_be_bytes(), b"text"]);
        assert_eq!(decode::<PChatMessage>(&*JDK, &cat(&[b"\xac\xed\0\x05", &long])).unwrap_err(), Problem::Malformed);
        for field in ["from", "new"] {
            let body = jdk_chat(&[(STRING, field)], &long);
            assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::Truncated);
        }
    }
    for length in [i32::MAX, i32::MIN, -1, 1 << 30, 100_000] {
        let length = length.to_be_bytes();
        for element in ["[B", "[J", "[Ljava.lang.String;", "[[B"] {
            let array = cat(&[b"u", &desc(element, 2, &[]), b"p", &length, b"rest"]);
            for field in ["content", "new"] {
                let problem = decode::<PChatMessage>(&*JDK, &jdk_chat(&[("[B", field)], &array)).unwrap_err();
                assert!(bad.contains(&problem), "{problem:?}");
            }
        }
        let body = jdk_routed(&cat(&[&jdk_list(i32::from_be_bytes(length)), b"rest"]));
        assert!(bad.contains(&decode::<PChatMessage>(&*JDK, &body).unwrap_err()));
        let annotation = cat(&[b"s", &desc("x", 3, &[]), b"p\x7a", &length]);
        let body = jdk_chat(&[("Lx;", "new")], &annotation);
        assert!(bad.contains(&decode::<PChatMessage>(&*JDK, &body).unwrap_err()));

        for field in ["routingTables", "new"] {
            let body = one_chat(&[(field, &cat(&[b"Vl", &length, b"NNz"]))]);
            assert!(bad.contains(&decode::<PChatMessage>(&*HESSIAN, &body).unwrap_err()));
            let body = two_chat(&[(field, &cat(&[b"XI", &length, b"NN"]))]);
            assert!(bad.contains(&decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err()));
            let body = two_chat(&[(field, &cat(&[b"V\x07[objectI", &length, b"NN"]))]);
            assert!(bad.contains(&decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err()));
        }
        // A definition with so many fields, an object of such a definition, a type of such a number.
        for body in [
            cat(&[b"C", &two_str(PCHAT), b"I", &length, b"\x04from"]),
            cat(&[&two_def(PCHAT, &[]), b"OI", &length]),
            cat(&[b"MI", &length, b"Z"]),
        ] {
            assert!(bad.contains(&decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err()));
        }
    }
    // Lists that say less or more than they have.
    for length in [0, 1, 3] {
        let body = one_chat(&[("routingTables", &cat(&[b"Vl\0\0\0", &[length], b"NNz"]))]);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &body).unwrap_err(), Problem::Malformed);
    }
    // A class with 65,535 fields, of which none comes, or all with an empty name.
    let mut body = cat(&[b"\xac\xed\0\x05sr", &utf(PCHAT), &[0; 8], b"\x02\xff\xff"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::Truncated);
    body.extend(b"I\0\0".repeat(65_535));
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::TooManyElements);
}

#[test]
fn nesting_and_chains_end_at_the_limit() {
    let deep = |unit: &[u8]| unit.repeat((1 << 20) / unit.len());
    for (unit, problem) in [
        (&b"V"[..], Problem::TooDeep),
        (b"MN", Problem::TooDeep),
        (b"M", Problem::TooDeep),
        (b"Mt\0\0S\0\x01a", Problem::TooDeep),
    ] {
        let body = one_chat(&[("new", &deep(unit))]);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &body).unwrap_err(), problem);
    }
    for unit in [&b"W"[..], b"H", b"y", b"HN", b"M\0"] {
        let body = two_chat(&[("new", &deep(unit))]);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::TooDeep);
    }
    let mut body = two_def("x", &["a"]);
    body.extend(two_def(PCHAT, &["new"]));
    body.push(0x61);
    body.extend(deep(b"\x60"));
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::TooDeep);
    // Definitions without end, and elements.
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &deep(b"C\0\x90")).unwrap_err(), Problem::TooManyElements);
    let body = two_chat(&[("new", &cat(&[b"W", &deep(b"N"), b"Z"]))]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::TooManyElements);
    let body = two_chat(&[("routingTables", &cat(&[b"W", &deep(b"N"), b"Z"]))]);
    let problem = decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err();
    assert!(matches!(problem, Problem::TooManyElements | Problem::AllocationBudget));
    let body = one_chat(&[("new", &cat(&[b"V", &deep(b"N"), b"z"]))]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN, &body).unwrap_err(), Problem::TooManyElements);

    // An array of arrays, objects in what a class's own method wrote, classes in the description of a class.
    let arrays = cat(&[b"u", &desc("[[I", 2, &[]), b"p\0\0\0\x01", &deep(b"uq\0\x7e\0\x03\0\0\0\x01")]);
    let objects = cat(&[b"s", &desc("x", 3, &[]), b"p", &deep(b"sq\0\x7e\0\x03")]);
    let described = deep(b"sr\0\x01x\0\0\0\0\0\0\0\0\x02\0\0");
    for value in [arrays, objects, described] {
        let body = jdk_chat(&[("Lx;", "new")], &value);
        assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::TooDeep);
    }
    // A class with a million superclasses.
    let classes = cat(&[b"s", &deep(&desc("x", 2, &[]))]);
    let body = jdk_chat(&[("Lx;", "new")], &classes);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::TooManyElements);
    let classes = cat(&[b"s", &desc("x", 2, &[]).repeat(17), b"p"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &jdk_chat(&[("Lx;", "new")], &classes)).unwrap_err(), Problem::TooDeep);
    // A class that is its own superclass.
    let classes = cat(&[b"s", &desc("x", 2, &[]), b"q\0\x7e\0\x03"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &jdk_chat(&[("Lx;", "new")], &classes)).unwrap_err(), Problem::TooDeep);
    let own = cat(&[b"\xac\xed\0\x05s", &desc(PCHAT, 2, &[]), b"q\0\x7e\0\0"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &own).unwrap_err(), Problem::TooDeep);
}

#[test]
fn only_the_class_of_the_message_type_is_read() {
    let classes: Vec<&Class> = [1, 5, 7, 8, 10, 11].into_iter().filter_map(v1::class).collect();
    for (format, folder) in formats() {
        for (case, record) in golden::cases() {
            let bytes = golden::vector(folder, case);
            for class in classes.iter().filter(|class| **class != record.class()) {
                let error = format.decode_record(&mut *(class.new)(), &bytes, &Limits::default()).unwrap_err();
                assert_eq!(error.problem, Problem::WrongClass, "{folder} {case} as {}", class.name);
            }
            for (old, new) in [("Message", "Massage"), ("com.ouyu", "org.evil")] {
                let text = bytes.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
                let mut other = bytes.clone();
                other[text..text + old.len()].copy_from_slice(new.as_bytes());
                let error = format.decode_record(&mut *(record.class().new)(), &other, &Limits::default()).unwrap_err();
                assert_eq!(error.problem, Problem::UnknownClass, "{folder} {case}");
            }
        }
    }
    // A superclass, an element and a list of another class.
    let other = cat(&[b"\xac\xed\0\x05s", &desc(PCHAT, 2, &[]), &desc("x.Base", 2, &[]), b"p"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &other).unwrap_err(), Problem::UnknownClass);
    for (name, problem) in [
        (PushMessage::CLASS.java, Problem::WrongClass),
        (PCHAT, Problem::WrongClass),
        ("java.util.ArrayList", Problem::WrongClass),
        ("java.util.HashMap", Problem::UnknownClass),
        ("[B", Problem::WrongClass),
    ] {
        let element = cat(&[b"s", &desc(name, 2, &[]), b"p"]);
        let body = jdk_routed(&cat(&[&jdk_list(1), &element, b"x"]));
        assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), problem, "{name}");
    }
    for (name, problem) in [("java.util.LinkedList", Problem::UnknownClass), (ROUTING, Problem::WrongClass)] {
        let body = jdk_routed(&cat(&[b"s", &desc(name, 3, &[("I", "size")]), b"p\0\0\0\0w\x04\0\0\0\0x"]));
        assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), problem, "{name}");
    }
    let long = "x".repeat(257);
    let mut bodies = vec![(&*JDK as &dyn Format, cat(&[b"\xac\xed\0\x05s", &desc(&long, 2, &[]), b"p"]))];
    bodies.push((&*HESSIAN, cat(&[b"Mt", &utf(&long), b"z"])));
    for list in ["V", "M"] {
        let value = cat(&[list.as_bytes(), b"t", &utf(&long), b"z"]);
        bodies.push((&*HESSIAN, one_chat(&[("new", &value)])));
    }
    let long = cat(&[b"\x31\x01", long.as_bytes()]);
    bodies.push((&*HESSIAN2, cat(&[b"C", &long, b"\x90\x60"])));
    bodies.push((&*HESSIAN2, cat(&[b"M", &long, b"Z"])));
    for (format, body) in bodies {
        assert_eq!(decode::<PChatMessage>(format, &body).unwrap_err(), Problem::UnknownClass);
    }
    let list = two_chat(&[("routingTables", &cat(&[b"q", &two_str("java.util.HashMap"), b"N"]))]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &list).unwrap_err(), Problem::UnknownClass);
    let list = one_chat(&[("routingTables", b"Vt\0\x03x.Yz")]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN, &list).unwrap_err(), Problem::UnknownClass);
    for (name, problem) in [(PushMessage::CLASS.java, Problem::WrongClass), ("x", Problem::UnknownClass)] {
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &cat(&[b"Mt", &utf(name), b"z"])).unwrap_err(), problem);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &cat(&[b"M", &two_str(name), b"Z"])).unwrap_err(), problem);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &cat(&[&two_def(name, &[]), b"\x60"])).unwrap_err(), problem);
    }
    // Of classes that are known but not the one in this place.
    let body = two_chat(&[("routingTables", b"\x79\x60")]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::WrongClass);
}

#[test]
fn jdk_passes_over_unknown_fields_of_every_type() {
    let fields = [
        ("B", "b"),
        ("C", "c"),
        ("D", "d"),
        ("F", "f"),
        ("I", "i"),
        ("J", "j"),
        ("S", "s"),
        ("Z", "z"),
        ("L1;", "v1"),
        ("L2;", "v2"),
        ("L3;", "v3"),
        ("L4;", "v4"),
        ("L5;", "v5"),
        ("L6;", "v6"),
        ("L7;", "v7"),
        ("L8;", "v8"),
        ("L9;", "v9"),
        ("L10;", "v10"),
        (STRING, "from"),
    ];
    let number = desc("java.lang.Number", 2, &[]);
    let integer = cat(&[b"s", &desc("java.lang.Integer", 2, &[("I", "value")]), &number, b"p\0\0\0\x07"]);
    let map = cat(&[
        b"s",
        &desc("java.util.HashMap", 3, &[("F", "loadFactor"), ("I", "threshold")]),
        b"p\x3f\x40\0\0\0\0\0\x0cw\x08\0\0\0\x10\0\0\0\x01",
        &jdk_str("key"),
        &integer,
        b"x",
    ]);
    let constant = cat(&[b"~", &desc("x.Kind", 0x12, &[]), &desc("java.lang.Enum", 0x12, &[]), b"p", &jdk_str("ONE")]);
    let external = cat(&[b"s", &desc("x.External", 0x0c, &[]), b"pw\x02hiz\0\0\0\x02hix"]);
    let longs = cat(&[b"u", &desc("[J", 2, &[]), b"p\0\0\0\x02", &[1; 16]]);
    let strings = cat(&[b"u", &desc("[Ljava.lang.String;", 2, &[]), b"p\0\0\0\x02", &jdk_str("x"), b"p"]);
    let class = cat(&[b"v", &desc("x.Y", 2, &[]), b"p"]);
    let description = cat(&[&desc("x.Z", 2, &[]), b"p"]);
    let values = cat(&[
        &[1; 1 + 2 + 8 + 4 + 4 + 8 + 2 + 1],
        b"p",
        &integer,
        &map,
        &constant,
        &external,
        &longs,
        &strings,
        &class,
        &description,
        &jdk_str("skipped"),
        &jdk_str("u1001"),
    ]);
    let body = jdk_chat(&fields, &values);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap().from.as_deref(), Some("u1001"));
    for end in 0..body.len() {
        decode::<PChatMessage>(&*JDK, &body[..end]).unwrap_err();
    }
    // A string that was passed over may be referred to; its handle counts all that came before.
    let body = jdk_chat(&[("Lx;", "new"), (STRING, "from")], &cat(&[&jdk_str("shared"), b"q\0\x7e\0\x04"]));
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap().from.as_deref(), Some("shared"));
    // A message with a method of its own wrote more than fields; an annotated class.
    let body = cat(&[b"\xac\xed\0\x05s", &desc(PCHAT, 3, &[("I", "contentType")]), b"p\0\0\0\x05w\x01!", &integer, b"x"]);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap().content_type, 5);
    // What nobody can pass over.
    for value in [&b"y"[..], b"{", b"}", b"s}\0\0\0\0", b"sp", b"vp", b"up", b"\x7f", b"x", b"w\x01\x01"] {
        let problem = decode::<PChatMessage>(&*JDK, &jdk_chat(&[("Lx;", "new")], value)).unwrap_err();
        assert!(matches!(problem, Problem::Unsupported | Problem::Malformed), "{problem:?}");
    }
    let external = cat(&[b"s", &desc("x.External", 4, &[]), b"p"]);
    let body = jdk_chat(&[("Lx;", "new")], &external);
    assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::Unsupported);
}

#[test]
fn jdk_fields_may_be_missing_and_must_have_javas_types() {
    let empty = jdk_chat(&[], b"");
    assert_eq!(decode::<PChatMessage>(&*JDK, &empty).unwrap(), PChatMessage::default());
    assert_eq!(decode::<PChatMessage>(&*JDK, &jdk_routed(b"p")).unwrap(), PChatMessage::default());
    for (ty, name) in [("J", "contentType"), ("I", "createTime"), ("I", "from"), ("Lx;", "createTime"), ("Q", "new")] {
        let problem = decode::<PChatMessage>(&*JDK, &jdk_chat(&[(ty, name)], &[0; 8])).unwrap_err();
        assert_eq!(problem, Problem::Malformed, "{ty} {name}");
    }
    let enumeration = cat(&[b"~", &desc("x", 0x12, &[]), b"p", &jdk_str("X")]);
    for (value, problem) in [
        (&b"y"[..], Problem::Unsupported),
        (b"w\0", Problem::Malformed),
        (b"x", Problem::Malformed),
        (&enumeration, Problem::Unsupported),
        (b"up", Problem::Malformed),
    ] {
        assert_eq!(decode::<PChatMessage>(&*JDK, &jdk_chat(&[(STRING, "from")], value)).unwrap_err(), problem);
    }
    // A list that does not look as Java's.
    for (flags, fields, rest) in [
        (2, &[("I", "size")][..], &b"\0\0\0\0"[..]),
        (3, &[], b"w\x04\0\0\0\0x"),
        (3, &[("I", "size")], b"\0\0\0\0xxxxxx"),
        (3, &[("J", "size")], b"\0\0\0\0\0\0\0\0w\x04\0\0\0\0x"),
        (12, &[("I", "size")], b"\0\0\0\0w\x04\0\0\0\0x"),
    ] {
        let body = jdk_routed(&cat(&[b"s", &desc("java.util.ArrayList", flags, fields), b"p", rest]));
        assert_eq!(decode::<PChatMessage>(&*JDK, &body).unwrap_err(), Problem::Malformed);
    }
}

#[test]
fn other_names_and_suids_are_options() {
    let options = || Options::default().alias(HeartBeatMessage::CLASS, "x.Beat").suid(HeartBeatMessage::CLASS, 7);
    let beat = HeartBeatMessage { content: Some("PING".into()), ..Default::default() };
    let others: [&dyn Format; 3] = [&Jdk::new(options()), &Hessian::new(options()), &Hessian2::new(options())];
    for ((format, _), other) in formats().into_iter().zip(others) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        format.encode_record(&beat, &mut ours).unwrap();
        other.encode_record(&beat, &mut theirs).unwrap();
        assert!(theirs.windows(6).any(|part| part == b"x.Beat"));
        assert_eq!(decode::<HeartBeatMessage>(other, &theirs).unwrap(), beat);
        assert_eq!(decode::<HeartBeatMessage>(other, &ours).unwrap(), beat, "the old name still reads");
        assert_eq!(decode::<HeartBeatMessage>(format, &theirs).unwrap_err(), Problem::UnknownClass);
        assert_eq!(decode::<PChatMessage>(other, &theirs).unwrap_err(), Problem::WrongClass);
    }
    let suid = Jdk::new(Options::default().suid(HeartBeatMessage::CLASS, 7).suid(Message::CLASS, 8));
    let mut bytes = Vec::new();
    suid.encode_record(&beat, &mut bytes).unwrap();
    let name = HeartBeatMessage::CLASS.java.len();
    assert_eq!(bytes[8 + name..16 + name], 7_i64.to_be_bytes());
    assert_eq!(decode::<HeartBeatMessage>(&*JDK, &bytes).unwrap(), beat);
}

/// A value of every kind that Hessian 1 has.
const ONE_VALUES: [&[u8]; 17] = [
    b"N",
    b"T",
    b"F",
    b"I\0\0\0\x01",
    b"L\0\0\0\0\0\0\0\x01",
    b"D\x3f\xf0\0\0\0\0\0\0",
    b"d\0\0\0\0\0\0\0\x01",
    b"s\0\x01as\0\0S\0\x01b",
    b"x\0\x01aX\0\0",
    b"b\0\x01aB\0\x01b",
    b"Vz",
    b"VNTz",
    b"Vt\0\x04[intl\0\0\0\x02I\0\0\0\x01I\0\0\0\x02z",
    b"Mz",
    b"Mt\0\x13java.util.HashtableS\0\x01aTI\0\0\0\x01Mzz",
    b"VVVzzVzz",
    b"MS\0\x01aVMzzz",
];

#[test]
fn hessian_1_passes_over_unknown_fields_of_every_type() {
    for value in ONE_VALUES {
        let body = one_chat(&[("new", value), ("contentType", b"I\0\0\0\x05"), ("newer", value)]);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &body).map(|chat| chat.content_type), Ok(5), "{value:02x?}");
        for end in 0..body.len() {
            decode::<PChatMessage>(&*HESSIAN, &body[..end]).unwrap_err();
        }
        // A key that is no string.
        let mut body = cat(&[b"M", value, value]);
        body.extend(b"S\0\x0bcontentTypeI\0\0\0\x05z");
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &body).map(|chat| chat.content_type), Ok(5), "{value:02x?}");
    }
    for value in [&b"rt\0\x01xS\0\x01u"[..], b"q", b"\0", b"z", b"l", b"t", b"sN", b"bN"] {
        let problem = decode::<PChatMessage>(&*HESSIAN, &one_chat(&[("new", value)])).unwrap_err();
        assert!(matches!(problem, Problem::Unsupported | Problem::Malformed | Problem::Truncated), "{problem:?}");
    }
}

#[test]
fn hessian_1_accepts_what_java_accepts() {
    for body in [&b"Mz"[..], b"Mt\0\0z", &one_chat(&[])] {
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, body).unwrap(), PChatMessage::default());
    }
    // Any order, the same name again, chunks, XML strings, integers in the other width.
    let body = one_chat(&[
        ("content", b"b\0\x02heb\0\0B\0\x01y"),
        ("createTime", b"I\xff\xff\xff\xff"),
        ("contentType", b"L\0\0\0\0\x7f\xff\xff\xff"),
        ("from", b"S\0\x01x"),
        ("from", b"s\0\x02a\xed\xa0\xbds\0\0S\0\x01\xed\xb8\x80"),
        ("to", b"X\0\x01\xc0\x80"),
        ("isDelivery", b"N"),
        ("routingTables", b"Vt\0\x13java.util.ArrayListNMS\0\x0dserverAddressS\0\x01hzMt\0\0zz"),
    ]);
    let chat: PChatMessage = decode(&*HESSIAN, &body).unwrap();
    assert_eq!((chat.from.as_deref(), chat.to.as_deref()), (Some("a😀"), Some("\0")));
    assert_eq!((chat.create_time, chat.content_type, chat.content.as_deref()), (-1, i32::MAX, Some(&b"hey"[..])));
    let tables = chat.base.routing_tables.unwrap();
    assert_eq!(tables[0], None);
    assert_eq!(tables[1].as_ref().unwrap().server_address.as_deref(), Some("h"));
    assert_eq!(tables[2], Some(RoutingTable::default()));

    for (name, value, problem) in [
        ("contentType", &b"L\0\0\0\0\x80\0\0\0"[..], Problem::Malformed),
        ("contentType", b"D\0\0\0\0\0\0\0\0", Problem::Malformed),
        ("contentType", b"S\0\x011", Problem::Malformed),
        ("isDelivery", b"I\0\0\0\x01", Problem::Malformed),
        ("content", b"S\0\x01x", Problem::Malformed),
        ("from", b"B\0\x01x", Problem::Malformed),
        ("from", b"I\0\0\0\x01", Problem::Malformed),
        ("from", b"Vz", Problem::Malformed),
        ("from", b"S\0\x01\xed\xa0\xbd", Problem::BadString),
        ("from", b"s\0\x01\xed\xa0\xbdS\0\x01x", Problem::BadString),
        ("from", b"S\0\x01\xff", Problem::BadString),
        ("routingTables", b"Mz", Problem::Malformed),
        ("routingTables", b"VTz", Problem::Malformed),
        ("routingTables", b"VVzz", Problem::Malformed),
    ] {
        assert_eq!(decode::<PChatMessage>(&*HESSIAN, &one_chat(&[(name, value)])).unwrap_err(), problem, "{name}");
    }
    let login = |value: i32| {
        let mut body = b"MS\0\x12signatureAlgorithmI".to_vec();
        body.extend(value.to_be_bytes());
        body.push(b'z');
        decode::<v1::LoginMessage>(&*HESSIAN, &body).map(|login| login.signature_algorithm)
    };
    assert_eq!(login(-128), Ok(-128));
    assert_eq!([login(128), login(-129), login(255)], [Err(Problem::Malformed); 3]);
}

/// A value of every kind and form that Hessian 2 has.
fn two_values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        &b"N"[..],
        b"T",
        b"F",
        b"I\0\0\0\x01",
        b"L\0\0\0\0\0\0\0\x01",
        b"Y\0\0\0\x01",
        b"D\x3f\xf0\0\0\0\0\0\0",
        b"\x5b",
        b"\x5c",
        b"\x5d\x01",
        b"\x5e\0\x01",
        b"\x5f\0\0\0\x01",
        b"J\0\0\0\0\0\0\0\x01",
        b"K\0\0\0\x01",
        b"S\0\x01a",
        b"R\0\x01aR\0\0\x01b",
        b"R\0\x01a\x30\x01b",
        b"R\0\x01aS\0\x01b",
        b"B\0\x01a",
        b"A\0\x01aA\0\0\x21b",
        b"A\0\x01a\x34\x01b",
        b"A\0\x01aB\0\x01b",
        b"WZ",
        b"WNTZ",
        b"U\x04[intNZ",
        b"V\x04[int\x92\x91\x92",
        b"X\x92NN",
        b"HZ",
        b"H\x01aT\x91\x92Z",
        b"M\x13java.util.HashtableHZNZ",
        b"C\x01x\x92\x01a\x01bO\x91NN",
    ]
    .map(<[u8]>::to_vec)
    .into();
    values.extend((0..=0x1f_u8).map(|tag| cat(&[&[tag], &vec![b'a'; tag.into()]])));
    values.extend((0x20..=0x2f_u8).map(|tag| cat(&[&[tag], &vec![b'a'; usize::from(tag - 0x20)]])));
    for tag in 0x30..=0x33_u8 {
        values.push(cat(&[&[tag, 1], &vec![b'a'; usize::from(tag - 0x30) * 256 + 1]]));
        values.push(cat(&[&[tag + 4, 1], &vec![b'a'; usize::from(tag - 0x30) * 256 + 1]]));
    }
    values.extend((0x38..=0x3f).map(|tag| vec![tag, 0, 0]));
    values.extend((0x70..=0x77_u8).map(|tag| cat(&[&[tag], b"\x04[int", &vec![b'N'; usize::from(tag - 0x70)]])));
    values.extend((0x78..=0x7f_u8).map(|tag| cat(&[&[tag], &vec![b'N'; usize::from(tag - 0x78)]])));
    values.extend((0x80..=0xbf_u8).chain(0xd8..=0xef).map(|tag| vec![tag]));
    values.extend((0xc0..=0xcf_u8).chain(0xf0..=0xff).map(|tag| vec![tag, 1]));
    values.extend((0xd0..=0xd7_u8).map(|tag| vec![tag, 1, 2]));
    values
}

#[test]
fn hessian_2_passes_over_unknown_fields_of_every_type() {
    for value in two_values() {
        let body = two_chat(&[("new", &value), ("contentType", b"\x95"), ("newer", &value)]);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).map(|chat| chat.content_type), Ok(5), "{value:02x?}");
        for end in 0..body.len() {
            decode::<PChatMessage>(&*HESSIAN2, &body[..end]).unwrap_err();
        }
        let definition = two_def("y", &[]);
        let body = cat(&[&definition, b"H", &value, &value, b"\x0bcontentType\x95\x00", &value, b"Z"]);
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).map(|chat| chat.content_type), Ok(5), "{value:02x?}");
    }
    for value in [&b"\x40"[..], b"\x45", b"\x47", b"\x50", b"Z", b"\x6f", b"O\x99", b"ON", b"R\0\x01aN", b"A\0\x01aN"] {
        let problem = decode::<PChatMessage>(&*HESSIAN2, &two_chat(&[("new", value)])).unwrap_err();
        assert_eq!(problem, Problem::Malformed, "{value:02x?}");
    }
    // Names and types in several chunks do not occur.
    for body in [cat(&[b"CR\0\x01x\0\x90"]), two_chat(&[("new", b"pR\0\x01x\0")])] {
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::Unsupported);
    }
}

#[test]
fn hessian_2_accepts_what_java_accepts() {
    for body in [&b"HZ"[..], b"M\0Z", &two_chat(&[]), &cat(&[b"M", &two_str(PCHAT), b"Z"])] {
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, body).unwrap(), PChatMessage::default());
    }
    let routing = two_def(ROUTING, &["serverAddress"]);
    // Every form of a list; two of them name their type by number.
    let lists: [&[u8]; 7] = [
        b"WN\x61\x01hHZZ",
        b"X\x93N\x61\x01hHZ",
        b"\x7bN\x61\x01hHZ",
        b"U\x13java.util.ArrayListN\x61\x01hHZZ",
        b"V\x13java.util.ArrayList\x93N\x61\x01hHZ",
        b"s\x13java.util.ArrayListN\x61\x01hHZ",
        b"V\x13java.util.ArrayList\x93N\x61\x01hM\x00Z",
    ];
    for list in lists {
        let body = two_chat(&[("routingTables", &cat(&[&routing, list]))]);
        let tables = decode::<PChatMessage>(&*HESSIAN2, &body).unwrap().base.routing_tables.unwrap();
        assert_eq!(tables[0], None);
        assert_eq!(tables[1].as_ref().unwrap().server_address.as_deref(), Some("h"));
        assert_eq!(tables[2], Some(RoutingTable::default()));
    }
    let typed = cat(&[b"p\x13java.util.ArrayList"]);
    let body = two_chat(&[("new", &typed), ("newer", b"p\x90"), ("routingTables", b"q\x90N")]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap().base.routing_tables, Some(vec![None]));
    let body = two_chat(&[("routingTables", b"q\x90N")]);
    assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &body).unwrap_err(), Problem::Malformed);

    // A pair of surrogates across chunks, chunks of bytes, the same name twice, a field in the middle of others.
    let body = two_chat(&[
        ("from", b"R\0\x02a\xed\xa0\xbdR\0\0\x01\xed\xb8\x80"),
        ("to", b"\x30\x01\xc0\x80"),
        ("content", b"A\0\x02heA\0\0\x34\x01y"),
        ("content", b"A\0\x02heB\0\x01y"),
        ("isDelivery", b"N"),
    ]);
    let chat: PChatMessage = decode(&*HESSIAN2, &body).unwrap();
    assert_eq!((chat.from.as_deref(), chat.to.as_deref()), (Some("a😀"), Some("\0")));
    assert_eq!(chat.content.as_deref(), Some(&b"hey"[..]));

    for (name, value, problem) in [
        ("contentType", &b"L\0\0\0\0\x80\0\0\0"[..], Problem::Malformed),
        ("contentType", b"D\0\0\0\0\0\0\0\0", Problem::Malformed),
        ("contentType", b"\x5b", Problem::Malformed),
        ("contentType", b"\x011", Problem::Malformed),
        ("isDelivery", b"\x91", Problem::Malformed),
        ("content", b"\x01x", Problem::Malformed),
        ("from", b"\x21x", Problem::Malformed),
        ("from", b"\x91", Problem::Malformed),
        ("from", b"x", Problem::Malformed),
        ("from", b"\x01\xed\xa0\xbd", Problem::BadString),
        ("from", b"R\0\x01\xed\xa0\xbd\x01x", Problem::BadString),
        ("from", b"\x01\xff", Problem::BadString),
        ("routingTables", b"HZ", Problem::Malformed),
        ("routingTables", b"\x79T", Problem::Malformed),
        ("routingTables", b"\x79x", Problem::Malformed),
    ] {
        assert_eq!(decode::<PChatMessage>(&*HESSIAN2, &two_chat(&[(name, value)])).unwrap_err(), problem, "{name}");
    }
    let login = |value: &[u8]| {
        let body = cat(&[b"H\x12signatureAlgorithm", value, b"Z"]);
        decode::<v1::LoginMessage>(&*HESSIAN2, &body).map(|login| login.signature_algorithm)
    };
    assert_eq!(login(b"\xc7\x80"), Ok(-128));
    assert_eq!(login(b"Y\0\0\0\x7f"), Ok(127));
    assert_eq!([login(b"\xc8\x80"), login(b"\xc7\x7f"), login(b"\xc8\xff")], [Err(Problem::Malformed); 3]);
}

#[test]
fn every_form_of_an_integer_has_its_value() {
    let chat = |form: &[u8], name| decode::<PChatMessage>(&*HESSIAN2, &two_chat(&[(name, form)])).unwrap();
    for (form, value) in [
        (&b"\x80"[..], -16),
        (b"\xbf", 47),
        (b"\xc0\0", -2048),
        (b"\xcf\xff", 2047),
        (b"\xd0\0\0", -262_144),
        (b"\xd7\xff\xff", 262_143),
        (b"I\x80\0\0\0", i32::MIN),
        (b"\xd8", -8),
        (b"\xef", 15),
        (b"\xf0\0", -2048),
        (b"\xff\xff", 2047),
        (b"\x38\0\0", -262_144),
        (b"\x3f\xff\xff", 262_143),
        (b"Y\x7f\xff\xff\xff", i32::MAX),
        (b"L\xff\xff\xff\xff\x80\0\0\0", i32::MIN),
    ] {
        assert_eq!(chat(form, "contentType").content_type, value, "{form:02x?}");
        assert_eq!(chat(form, "createTime").create_time, i64::from(value), "{form:02x?}");
    }
    assert_eq!(chat(b"L\x80\0\0\0\0\0\0\0", "createTime").create_time, i64::MIN);
}

#[test]
fn limits_are_those_of_the_caller() {
    let chat = golden::cases().into_iter().find(|(case, _)| *case == "pchat_nullelem").unwrap().1;
    for (format, folder) in formats() {
        let bytes = golden::vector(folder, "pchat_nullelem");
        let fails = |limits: &Limits| decode_into(format, &mut *(chat.class().new)(), &bytes, limits).err().map(|error| error.problem);
        let base = Limits::new(bytes.len());
        assert_eq!(fails(&base), None);
        let mut limits = base;
        limits.max_depth = 3;
        assert_eq!(fails(&limits), Some(Problem::TooDeep), "{folder}: object, list, object, list");
        limits.max_depth = 4;
        assert_eq!(fails(&limits), None, "{folder}");
        limits.max_elements = 10;
        assert_eq!(fails(&limits), Some(Problem::TooManyElements), "{folder}");
        limits = base;
        limits.max_string_units = 2;
        assert_eq!(fails(&limits), Some(Problem::StringTooLong), "{folder}");
        limits = base;
        limits.max_total_alloc = 100;
        assert_eq!(fails(&limits), Some(Problem::AllocationBudget), "{folder}");
    }
}
