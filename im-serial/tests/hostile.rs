//! Hostile bodies end in a typed error, without allocating more than the limit: a counting allocator looks.
#![cfg(all(
    feature = "bincode",
    feature = "cbor",
    feature = "json",
    feature = "msgpack",
    feature = "postcard",
    feature = "protobuf",
    feature = "thrift",
    feature = "v1"
))]

mod golden;
mod records;

use allocation_counter::measure;
use im_serial::class::{Class, Declared};
use im_serial::v1::{PChatMessage, PushMessage};
use im_serial::*;
use records::{Voids, formats};

/// What an error of serde and the reader of a crate may take besides.
const SLACK: u64 = 1024;

/// Reads both ways, where there are both, and gives the problem of the class table's and the most that it allocated at
/// once. A derived way may take a multiple of the body.
fn read(format: &dyn Format, class: &'static Class, bytes: &[u8], limits: &Limits) -> (Option<Problem>, u64) {
    let mut problem = None;
    let mut record = (class.new)();
    let by_table = measure(|| {
        problem = format.decode_record(&mut *record, bytes, limits).err().map(|error| error.problem);
    });
    if let Some(kind) = Kind::ALL.iter().find(|kind| kind.class() == class) {
        let derived = measure(|| drop(format.decode(*kind, bytes, limits)));
        let most = Limits::new(bytes.len()).max_total_alloc as u64;
        assert!(derived.bytes_max <= most, "{} {class:?} allocates {}", format.name(), derived.bytes_max);
    }
    (problem, by_table.bytes_max)
}

fn limits() -> Limits {
    let mut limits = Limits::new(2 << 20);
    limits.max_total_alloc = 64 << 10;
    limits
}

fn refuse(format: &dyn Format, class: &'static Class, bytes: &[u8], want: &[Problem]) {
    let (problem, most) = read(format, class, bytes, &limits());
    let start = &bytes[..bytes.len().min(40)];
    let problem = problem.unwrap_or_else(|| panic!("{} reads {start:02x?} as {class:?}", format.name()));
    assert!(want.contains(&problem), "{} {class:?} {problem:?} {start:02x?}", format.name());
    assert!(most <= 64 << 10, "{} {class:?} allocates {most} for {start:02x?}", format.name());
}

/// The LEB128 form of 2^40, and the 64 bits.
const VARINT: &[u8] = b"\x80\x80\x80\x80\x80\x20";

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn declared_lengths_allocate_nothing() {
    let be = (1u64 << 40).to_be_bytes();
    let le = (1u64 << 40).to_le_bytes();
    let push = PushMessage::CLASS;
    let chat = PChatMessage::CLASS;
    let v2 = Kind::Deliver.class();
    let truncated = &[Problem::Truncated];
    // A string, byte string, list and unknown field of 2^40, or of 2^32 - 1 where that is all.
    for (tag, class) in [(b"\x0a", push), (b"\x2a", chat), (b"\x12", v2), (b"\x62", push), (b"\x7a", push)] {
        refuse(&Protobuf, class, &cat(&[tag, VARINT]), &[Problem::Truncated, Problem::Malformed]);
    }
    for (head, class) in [
        (&b"\x18"[..], push),
        (b"\x58", chat),
        (b"\x28", v2),
        (b"\xc9\xfc", push),
        (b"\xf9\xfc", push),
        (b"\xfb", push),
    ] {
        refuse(&Thrift, class, &cat(&[head, VARINT]), truncated);
    }
    for marker in [b"\xdb", b"\xc6", b"\xdd", b"\xdf", b"\xc9"] {
        for (key, class) in [
            (&b"\xa4from"[..], push),
            (b"\xa7content", chat),
            (b"\xa4from", v2),
            (b"\xadroutingTables", push),
            (b"\xa1?", push),
        ] {
            refuse(
                &MsgPack,
                class,
                &cat(&[b"\x81", key, marker, b"\xff\xff\xff\xff"]),
                &[Problem::Truncated, Problem::Malformed],
            );
        }
    }
    for major in [b"\x5b", b"\x7b", b"\x9b", b"\xbb"] {
        for (key, class) in [
            (&b"\x64from"[..], push),
            (b"\x67content", chat),
            (b"\x64from", v2),
            (b"\x6droutingTables", push),
            (b"\x61?", push),
        ] {
            refuse(&Cbor, class, &cat(&[b"\xa1", key, major, &be]), &[Problem::Truncated, Problem::Malformed]);
        }
    }
    refuse(&Cbor, push, &cat(&[b"\xbb", &be]), truncated);
    // from; content; the routing tables after all that is before them.
    refuse(&Postcard, push, &cat(&[b"\x01", VARINT]), truncated);
    refuse(&Postcard, chat, &cat(&[b"\0\0\0\0\x01", VARINT]), truncated);
    refuse(&Postcard, chat, &cat(&[b"\0\0\0\0\0\0\0\x01", VARINT]), truncated);
    refuse(&Postcard, v2, &cat(&[b"\0", VARINT]), truncated);
    refuse(&Bincode, push, &cat(&[b"\x01\xfd", &le]), truncated);
    refuse(&Bincode, chat, &cat(&[b"\0\0\0\0\x01\xfd", &le]), truncated);
    refuse(&Bincode, chat, &cat(&[b"\0\0\0\0\0\0\0\x01\xfd", &le]), truncated);
    refuse(&Bincode, v2, &cat(&[b"\0\xfd", &le]), truncated);
    // Below the crate's own limit, and yet more than there is.
    refuse(&Bincode, v2, b"\0\xfc\0\0\xf0\0", truncated);
    refuse(&Bincode, chat, b"\0\0\0\0\x01\xfc\0\0\xf0\0", truncated);
}

#[test]
fn a_megabyte_of_nesting_is_too_deep() {
    let deep = |head: &[u8], one: &[u8]| cat(&[head, &one.repeat((1 << 20) / one.len())]);
    let push = PushMessage::CLASS;
    let depth = &[Problem::TooDeep];
    for (key, want) in
        [("?", &[Problem::TooDeep][..]), ("from", &[Problem::Malformed]), ("routingTables", &[Problem::Malformed])]
    {
        for one in ["[", "{\"a\":"] {
            refuse(&Json, push, &deep(format!("{{\"{key}\":").as_bytes(), one.as_bytes()), want);
        }
        let key = key.as_bytes();
        for one in [&b"\x91"[..], b"\x81\xa1a"] {
            refuse(&MsgPack, push, &deep(&cat(&[b"\x81", &[0xa0 | key.len() as u8], key]), one), want);
        }
        for one in [&b"\x81"[..], b"\x9f", b"\xa1\x61a", b"\xc1"] {
            refuse(&Cbor, push, &deep(&cat(&[b"\xa1", &[0x60 | key.len() as u8], key]), one), want);
        }
    }
    // serde_json skips an unknown field of version 2 without recursion, however deep.
    refuse(&Json, Kind::Ping.class(), &deep(b"{\"?\":", b"["), depth);
    refuse(&MsgPack, Kind::Ping.class(), &deep(b"\x81\xa1?", b"\x91"), depth);
    refuse(&Cbor, Kind::Ping.class(), &deep(b"\xa1\x61?", b"\x81"), depth);
    refuse(&Protobuf, push, &deep(b"", b"\xa3\x06"), depth);
    refuse(&Protobuf, Kind::Ping.class(), &deep(b"", b"\xa3\x06"), depth);
    for one in [b"\xfc", b"\x1c"] {
        refuse(&Thrift, push, &deep(b"\xfc", one), depth);
    }
    refuse(&Thrift, push, &deep(b"\xf9", b"\x19"), depth);
}

#[test]
fn a_million_elements_are_too_many() {
    let million = 1usize << 20;
    let push = PushMessage::CLASS;
    let many = &[Problem::TooManyElements, Problem::AllocationBudget];
    let be = (million as u32).to_be_bytes();
    let json = |key: &str| cat(&[b"{\"", key.as_bytes(), b"\":[", &b"null,".repeat(million / 4), b"null]}"]);
    let varint = b"\x80\x80\x40";
    for key in ["?", "routingTables"] {
        refuse(&Json, push, &json(key), many);
        refuse(
            &MsgPack,
            push,
            &cat(&[b"\x81", &[0xa0 | key.len() as u8], key.as_bytes(), b"\xdd", &be, &vec![0xc0; million]]),
            many,
        );
        let cbor = cat(&[b"\xa1", &[0x60 | key.len() as u8], key.as_bytes(), b"\x9a", &be, &vec![0xf6; million]]);
        // What is skipped counts as steps of the reader.
        refuse(&Cbor, push, &cbor, &[Problem::TooManyElements, Problem::AllocationBudget, Problem::TooDeep]);
    }
    refuse(&Protobuf, push, &b"\x62\0".repeat(million), many);
    refuse(&Protobuf, push, &b"\x78\0".repeat(million), many);
    refuse(&Thrift, push, &cat(&[b"\xc9\xfc", varint, &vec![0; million]]), many);
    refuse(&Thrift, push, &cat(&[b"\xf9\xf3", varint, &vec![0; million]]), many);
    let head = [0; 7];
    refuse(&Postcard, PChatMessage::CLASS, &cat(&[&head, b"\x01", varint, &vec![0; million]]), many);
    refuse(&Bincode, PChatMessage::CLASS, &cat(&[&head, b"\x01\xfc\0\0\x10\0", &vec![0; million]]), many);
    // Elements of no size at all, and so of any number.
    refuse(&Postcard, Voids::CLASS, &cat(&[b"\x01", VARINT, &vec![1; 8192]]), many);
    refuse(
        &Bincode,
        Voids::CLASS,
        &cat(&[b"\x01\xfd", &(1u64 << 40).to_le_bytes(), &vec![1; 8192]]),
        &[Problem::TooManyElements, Problem::AllocationBudget, Problem::Truncated],
    );
}

/// Whatever the bytes are: at most the budget, and of version 2 at most a small multiple of the body.
#[test]
fn damaged_bodies_stay_within_the_budget() {
    let mut bodies: Vec<(&'static Class, Vec<u8>, std::sync::Arc<dyn Format>)> = Vec::new();
    for (_, record) in golden::cases().into_iter().chain(golden::tsv_cases()) {
        for format in formats() {
            let mut bytes = Vec::new();
            format.encode_record(&*record, &mut bytes).unwrap();
            bodies.push((record.class(), bytes, format));
        }
    }
    for (class, bytes, format) in bodies {
        let limits = Limits::new(bytes.len());
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xdd, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let (_, most) = read(&*format, class, &bytes, &limits);
                assert!(
                    most <= limits.max_total_alloc as u64 + SLACK,
                    "{} {class:?} {at} {value} {most}",
                    format.name()
                );
            }
            let (problem, _) = read(&*format, class, &bytes[..at], &limits);
            // Protobuf has no end: a body that is cut between two fields is a body.
            assert!(problem.is_some() || format.id() == FormatId::PROTOBUF, "{} {at}", format.name());
        }
    }
}

#[test]
fn the_counter_counts() {
    assert!(measure(|| drop(std::hint::black_box(vec![0u8; 1 << 20]))).bytes_max >= 1 << 20);
}
