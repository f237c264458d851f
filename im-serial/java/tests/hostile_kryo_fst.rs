//! Hostile bodies: a typed error each, within the allocation budget, which a counting allocator measures.
#![cfg(all(feature = "kryo", feature = "fst"))]

#[path = "../../tests/golden/mod.rs"]
mod golden;

use im_serial::class::{Declared, Record};
use im_serial::v1::{GChatMessage, HeartBeatMessage, PChatMessage, PushMessage};
use im_serial::{Format, Limits, Problem};
use im_serial_java::{Fst, Kryo, KryoVersion, Options};

/// Decodes and checks what that allocated in all. The format has met the class before.
fn decode(
    format: &dyn Format,
    record: &mut dyn Record,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), (Problem, Option<usize>)> {
    let mut result = Ok(());
    let used = allocation_counter::measure(|| {
        result = format.decode_record(record, bytes, limits);
    });
    assert!(
        used.bytes_total <= limits.max_total_alloc as u64,
        "{} allocated {} of {} bytes for {} ({result:?})",
        format.name(),
        used.bytes_total,
        limits.max_total_alloc,
        record.class().name,
    );
    result.map_err(|error| (error.problem, error.offset()))
}

fn formats() -> [(&'static str, Box<dyn Format>); 3] {
    [
        ("kryo_5.0.0-RC9", Box::new(Kryo::default())),
        ("kryo_4.0.2", Box::new(Kryo::new(KryoVersion::V4, Options::default()))),
        ("fst_json", Box::new(Fst::default())),
    ]
}

/// The first decode of a class also makes its plan.
fn warm(format: &dyn Format) {
    for (_, record) in golden::cases() {
        let mut out = Vec::new();
        format.encode_record(&*record, &mut out).unwrap();
        format.decode_record(&mut *(record.class().new)(), &out, &Limits::default()).unwrap();
    }
}

fn problem(format: &dyn Format, record: &mut dyn Record, bytes: &[u8]) -> Problem {
    warm(format);
    decode(format, record, bytes, &Limits::new(bytes.len())).expect_err("refused").0
}

#[test]
fn every_truncation_and_every_changed_byte_of_every_vector() {
    for (folder, format) in formats() {
        warm(&*format);
        for (case, record) in golden::cases() {
            let java = golden::vector(folder, case);
            let class = record.class();
            let limits = Limits::new(java.len());
            for end in 0..java.len() {
                let (problem, offset) = decode(&*format, &mut *(class.new)(), &java[..end], &limits)
                    .expect_err("a truncated body was read");
                assert!(offset.is_some_and(|at| at <= end), "{folder} {case} cut at {end}: {problem:?} at {offset:?}");
            }
            let mut changed = java.clone();
            for at in 0..java.len() {
                for byte in 0..=u8::MAX {
                    changed[at] = byte;
                    let mut read = (class.new)();
                    if decode(&*format, &mut *read, &changed, &limits).is_ok() {
                        // What was read is a record of this class, which can be written.
                        format.encode_record(&*read, &mut Vec::new()).unwrap();
                    }
                }
                changed[at] = java[at];
            }
        }
    }
}

#[test]
fn trailing_bytes_and_large_bodies() {
    for (folder, format) in formats() {
        warm(&*format);
        for (case, record) in golden::cases() {
            let mut java = golden::vector(folder, case);
            let len = java.len();
            let error = format.decode_record(&mut *(record.class().new)(), &java, &Limits::new(len - 1)).unwrap_err();
            assert_eq!(error.problem, Problem::TooLarge);
            java.push(b'0');
            let error = decode(&*format, &mut *(record.class().new)(), &java, &Limits::default()).unwrap_err();
            assert_eq!(error, (Problem::TrailingBytes, Some(len)), "{folder} {case}");
        }
    }
}

#[test]
fn other_classes() {
    for (folder, format) in formats() {
        let java = golden::vector(folder, "pchat_routed");
        assert_eq!(problem(&*format, &mut GChatMessage::default(), &java), Problem::WrongClass, "{folder}");
        let find = |name: &str| java.windows(name.len()).position(|at| at == name.as_bytes()).expect(name);
        // A class name of the same length that is in no table.
        let mut unknown = java.clone();
        unknown[find("com.ouyu")] = b'k';
        assert_eq!(problem(&*format, &mut PChatMessage::default(), &unknown), Problem::UnknownClass, "{folder}");
        let mut unknown = java.clone();
        unknown[find("com.ouyu.im.entity")] = b'k';
        assert_eq!(problem(&*format, &mut PChatMessage::default(), &unknown), Problem::UnknownClass, "{folder}");
        if folder != "fst_json" {
            let mut unknown = java.clone();
            unknown[find("java.util")] = b'k';
            assert_eq!(problem(&*format, &mut PChatMessage::default(), &unknown), Problem::UnknownClass, "{folder}");
        }
    }
}

/// A Kryo body: the head, then what follows the marker of the object.
fn kryo_body(name: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![1, 0];
    out.extend_from_slice(format!("com.ouyu.im.packet.message.{name}").as_bytes());
    *out.last_mut().unwrap() |= 0x80;
    out.push(1);
    out.extend(fields.concat());
    out
}

const ARRAY_LIST: &[u8] = b"\x01\x01java.util.ArrayLis\xf4\x01";
const HOP: &[u8] = b"\x01\x02com.ouyu.im.entity.RoutingTabl\xe5";

#[test]
fn kryo_back_references_cost_what_they_repeat() {
    let kryo = Kryo::default();
    // HeartBeat: content, currentRetry, from, isDelivery, routingTables, targetServerAddress, to. The list of strings in a
    // routing table refers 2,000 times to one string of 8,000 characters: 16 MB from 12 KB.
    let mut strings = vec![0x40 | (2001u32 & 0x3f) as u8, (2001u32 >> 6) as u8];
    strings.extend([3u8; 2000]);
    let content = [1, 0xc0 | (8001u32 & 0x3f) as u8, (8001u32 >> 6) as u8];
    let content = [&content[..], &[b'x'; 8000]].concat();
    let bomb = kryo_body(
        "HeartBeatMessage",
        &[&content, &[0, 0, 0], ARRAY_LIST, &[0x82], HOP, &[0, 1, 0], b"\x01\x01\x01", &strings, &[0, 0, 0]],
    );
    assert_eq!(problem(&kryo, &mut HeartBeatMessage::default(), &bomb), Problem::AllocationBudget);

    // A list whose element, and a field whose value, is an object or list that came before.
    let head = [1, b'P', 0xc9, 0, 0, 0];
    for (list, what) in [
        (&[0x82, 0, 2][..], "the body itself"),
        (&[0x82, 0, 4], "the list"),
        (&[0x83, 0, 1, 0, 0, 0, 5], "the first element"),
    ] {
        let (len, rest) = list.split_at(1);
        let body = kryo_body("HeartBeatMessage", &[&head, ARRAY_LIST, len, HOP, rest, &[0; 4]]);
        assert_eq!(problem(&kryo, &mut HeartBeatMessage::default(), &body), Problem::BackReference, "{what}");
    }
    for (marker, expected) in [(2, Problem::BackReference), (3, Problem::Malformed), (0x7f, Problem::Malformed)] {
        let body = kryo_body("HeartBeatMessage", &[&[marker, 0, 0, 0, 0, 0, 0]]);
        assert_eq!(problem(&kryo, &mut HeartBeatMessage::default(), &body), expected);
    }
    // A byte[] where a string is due.
    let body = kryo_body("PChatMessage", &[&[1, 2, b'x', 0, 0, 0, 3, 0, 0, 0, 0]]);
    assert_eq!(problem(&kryo, &mut PChatMessage::default(), &body), Problem::Malformed);
}

#[test]
fn kryo_declared_lengths() {
    for version in [KryoVersion::V5, KryoVersion::V4] {
        let kryo = Kryo::new(version, Options::default());
        // Lengths of 2^31 - 2 and 2^32 - 2; longer ones do not fit the format.
        for (varint, flagged) in [
            (b"\xff\xff\xff\xff\x07".as_slice(), b"\xff\xff\xff\xff\x0f".as_slice()),
            (b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x0f"),
        ] {
            let body = kryo_body("PChatMessage", &[&[1], varint]);
            assert_eq!(problem(&kryo, &mut PChatMessage::default(), &body), Problem::Truncated, "byte[]");
            let body = kryo_body("PushMessage", &[&[1], flagged]);
            assert_eq!(problem(&kryo, &mut PushMessage::default(), &body), Problem::Truncated, "string");
            let list = if version == KryoVersion::V5 { flagged } else { varint };
            let body = kryo_body("HeartBeatMessage", &[&[0, 0, 0, 0], ARRAY_LIST, list, HOP, &[0]]);
            assert_eq!(problem(&kryo, &mut HeartBeatMessage::default(), &body), Problem::Truncated, "list");
        }
        for varint in [b"\xff\xff\xff\xff\xff\x0f".as_slice(), b"\xff\xff\xff\xff\x10"] {
            let body = kryo_body("PChatMessage", &[&[1], varint, &[0; 40]]);
            assert_eq!(problem(&kryo, &mut PChatMessage::default(), &body), Problem::Malformed);
        }
        let body = kryo_body("PushMessage", &[&[1, b'a'], &[b'a'; 100]]);
        assert_eq!(problem(&kryo, &mut PushMessage::default(), &body), Problem::Truncated, "no end of ASCII");
    }
    // Only Kryo 5 says that all elements are null, and so needs no byte for them.
    let body = kryo_body("HeartBeatMessage", &[&[0, 0, 0, 0], ARRAY_LIST, b"\xff\xff\xff\xff\x0f", &[0, 0, 0]]);
    assert_eq!(problem(&Kryo::default(), &mut HeartBeatMessage::default(), &body), Problem::TooManyElements);
}

#[test]
fn kryo_4_lists_as_kryo_5_and_the_reverse() {
    let [(five, kryo_5), (four, kryo_4), _] = formats();
    for (format, folder) in [(kryo_5, four), (kryo_4, five)] {
        for case in ["pchat_routed", "pchat_emptylist", "pchat_nullelem"] {
            let java = golden::vector(folder, case);
            let problem = problem(&*format, &mut PChatMessage::default(), &java);
            assert!(matches!(problem, Problem::Malformed | Problem::Truncated | Problem::TrailingBytes), "{problem:?}");
        }
    }
}

fn fst_body(fields: &str) -> String {
    format!(r#"{{"typ":"{}","obj":{{{fields}}}}}"#, PChatMessage::CLASS.java)
}

#[test]
fn fst_shapes() {
    let fst = Fst::default();
    let name = PChatMessage::CLASS.java;
    let hop = r#"{"typ":"com.ouyu.im.entity.RoutingTable","obj":{"serverAddress":"h"}}"#;
    let list = |elements: &str| fst_body(&format!(r#""routingTables":{{"typ":"list","obj":[{elements}]}}"#));
    let good = [
        fst_body(""),
        fst_body(
            r#""isDelivery":true,"contentType":1,"from":"\u0061","later":{"x":[1,2.5,null,"\n",{}]},"content":["byte",-1]"#,
        ),
        list(&format!("2,{hop},null")),
    ];
    for good in good {
        warm(&fst);
        decode(&fst, &mut PChatMessage::default(), good.as_bytes(), &Limits::default()).expect(&good);
    }
    use Problem::*;
    let bad = [
        (format!(r#"{{"obj":{{}},"typ":"{name}"}}"#), Malformed),
        (format!(r#"{{"typ":"{name}"}}"#), Malformed),
        (format!(r#"{{"typ":"{name}","obj":{{}},"more":1}}"#), Malformed),
        (format!(r#"{{"typ":"{name}","obj":null}}"#), Malformed),
        ("null".into(), Malformed),
        ("[]".into(), Malformed),
        ("{}".into(), Malformed),
        ("".into(), Truncated),
        (fst_body("") + "{}", TrailingBytes),
        (r#"{"typ":"list","obj":[0]}"#.into(), WrongClass),
        (r#"{"typ":"java.util.HashMap","obj":[0]}"#.into(), UnknownClass),
        (format!(r#"{{"typ":"{}","obj":{{}}}}"#, "x".repeat(3000)), UnknownClass),
        (fst_body(r#""contentType":3.0"#), Malformed),
        (fst_body(r#""contentType":1e3"#), Malformed),
        (fst_body(r#""contentType":2147483648"#), Malformed),
        (fst_body(r#""createTime":9223372036854775808"#), Malformed),
        (fst_body(r#""contentType":"1""#), Malformed),
        (fst_body(r#""contentType":null"#), Malformed),
        (fst_body(r#""isDelivery":2"#), Malformed),
        (fst_body(r#""from":1"#), Malformed),
        (fst_body(r#""content":[1,2]"#), Malformed),
        (fst_body(r#""content":["byte",128]"#), Malformed),
        (fst_body(r#""content":["byte",1.0]"#), Malformed),
        (fst_body(r#""content":"aGk=""#), Malformed),
        (fst_body(r#""routingTables":[]"#), Malformed),
        (fst_body(r#""routingTables":{"typ":"set","obj":[0]}"#), UnknownClass),
        (fst_body(r#""routingTables":{"typ":"com.ouyu.im.entity.RoutingTable","obj":{}}"#), WrongClass),
        (fst_body(r#""routingTables":{"obj":[0],"typ":"list"}"#), Malformed),
        (list(""), Malformed),
        (list("1"), Malformed),
        (list("0,null"), Malformed),
        (list("-1"), Malformed),
        (list("2147483648"), Truncated),
        (list("1099511627776"), Malformed),
        (list(r#"1,"x""#), Malformed),
        (list(&format!(r#"1,{{"typ":"{name}","obj":{{}}}}"#)), WrongClass),
        (list(r#"1,{"typ":"list","obj":[0]}"#), WrongClass),
        (fst_body(r#""from":"\ud800""#), BadString),
        (fst_body(r#""from":"\ud800x""#), BadString),
        (fst_body(r#""from":"\udc00""#), BadString),
        (fst_body(r#""later":"\ud800""#), BadString),
    ];
    for (bad, expected) in bad {
        assert_eq!(problem(&fst, &mut PChatMessage::default(), bad.as_bytes()), expected, "{bad}");
    }
    let invalid = fst_body("\"from\":\"\u{1}\"").replace('\u{1}', "~");
    let invalid: Vec<u8> = invalid.bytes().map(|byte| if byte == b'~' { 0xff } else { byte }).collect();
    assert_eq!(problem(&fst, &mut PChatMessage::default(), &invalid), BadString);
    let offset = decode(&fst, &mut PChatMessage::default(), fst_body("\n\n\"from\":1").as_bytes(), &Limits::default());
    assert_eq!(offset, Err((Malformed, Some(fst_body("\n\n\"from\":1").len() - 3))));
}

#[test]
fn fst_nests_and_counts_within_the_limits() {
    let fst = Fst::default();
    let deep = 1 << 20;
    for open in ["[", "{\"a\":", r#"{"typ":"list","obj":[1,"#] {
        let nested = open.repeat(deep / open.len());
        for body in [
            nested.clone(),
            fst_body(&format!(r#""later":{nested}"#)),
            fst_body(&format!(r#""routingTables":{nested}"#)),
            fst_body(&format!(r#""content":{nested}"#)),
            format!(r#"{{"typ":{nested}"#),
        ] {
            let problem = problem(&fst, &mut PChatMessage::default(), body.as_bytes());
            assert!(matches!(problem, Problem::TooDeep | Problem::Malformed | Problem::WrongClass), "{problem:?}");
        }
        let later = fst_body(&format!(r#""later":{nested}"#));
        assert_eq!(problem(&fst, &mut PChatMessage::default(), later.as_bytes()), Problem::TooDeep);
        // With every limit lifted serde_json's own holds.
        let mut limits = Limits::new(later.len());
        limits.max_depth = usize::MAX;
        let error = decode(&fst, &mut PChatMessage::default(), later.as_bytes(), &limits).unwrap_err();
        assert_eq!(error.0, Problem::TooDeep);
    }
    let many = fst_body(&format!(r#""later":[{}0]"#, "0,".repeat(5000)));
    assert_eq!(problem(&fst, &mut PChatMessage::default(), many.as_bytes()), Problem::TooManyElements);
    let keys = fst_body(&"\"later\":0,".repeat(5000));
    assert_eq!(problem(&fst, &mut PChatMessage::default(), keys.as_bytes()), Problem::TooManyElements);
    let list = |count: usize| {
        let nulls = ",null".repeat(count);
        fst_body(&format!(r#""routingTables":{{"typ":"list","obj":[{count}{nulls}]}}"#))
    };
    assert_eq!(problem(&fst, &mut PChatMessage::default(), list(4090).as_bytes()), Problem::AllocationBudget);
    // Strings that serde_json must put together: one long one, after others that used the budget.
    for body in [
        fst_body(&format!(r#""from":"{}""#, "\\n".repeat(30_000))),
        fst_body(&format!(r#""from":"{}""#, "aaaaaaaaaaaaaaa\\n".repeat(3_800))),
        fst_body(&format!(r#""later":"{}","{}":0"#, "a\\n".repeat(10_000), "b\\n".repeat(11_000))),
        fst_body(&format!(
            r#"{}"to":"{}""#,
            "\"from\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxx\",".repeat(800),
            "\\n".repeat(16_000)
        )),
    ] {
        let _ = decode(&fst, &mut PChatMessage::default(), body.as_bytes(), &Limits::default());
    }
}
