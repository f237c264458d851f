//! What Java wrote is read as listed, and what is written is what Java writes.
#![cfg(all(feature = "v1", feature = "json", feature = "protobuf", feature = "msgpack", feature = "thrift"))]

mod golden;

use im_serial::class::Record;
use im_serial::v1::PushMessage;
use im_serial::*;

fn decode(format: &dyn Format, like: &dyn Record, bytes: &[u8]) -> Result<Box<dyn Record>, DecodeError> {
    let mut record = (like.class().new)();
    format.decode_record(&mut *record, bytes, &Limits::default())?;
    Ok(record)
}

fn encode(format: &dyn Format, record: &dyn Record) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode_record(record, &mut out).expect("encodes");
    out
}

/// What of an object is on the wire at all: Jackson has no getter for the routing tables; protostuff writes neither an
/// empty list nor a null in one.
fn seen(record: &dyn Record, format: &str) -> Box<dyn Record> {
    let mut copy = (record.class().new)();
    // CBOR and the positional formats keep everything; thrift here only what its own vectors have.
    Cbor.decode_record(&mut *copy, &encode(&Cbor, record), &Limits::default()).expect("its own");
    let Some((number, _)) = record.class().all().find(|(_, field)| field.name == "routingTables") else { return copy };
    match format {
        "json" | "msgpack_jackson" => copy.set(number, class::Value::Null).expect("nullable"),
        _ => {
            let plain = encode(&Protobuf, record);
            copy = decode(&Protobuf, record, &plain).expect("its own");
        }
    }
    copy
}

#[test]
fn json_and_messagepack_are_jacksons() {
    for (case, record) in golden::cases() {
        for (format, name) in [(&Json as &dyn Format, "json"), (&MsgPack, "msgpack_jackson")] {
            let java = golden::vector(name, case);
            assert_eq!(*decode(format, &*record, &java).expect(case), *seen(&*record, name), "{name} {case}");
            let ours = encode(format, &*record);
            // Jackson escapes what is beyond U+FFFF, which JSON need not.
            if (name, case) == ("json", "push_unicode") {
                let java = String::from_utf8(java).expect("UTF-8");
                assert_eq!(String::from_utf8(ours).expect("UTF-8"), java.replace("\\uD83D\\uDE00", "😀"));
            } else {
                assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&java), "{name} {case}");
                assert_eq!(ours, java, "{name} {case}");
            }
        }
    }
    for (sample, record) in golden::tsv_cases() {
        let java = golden::row("json", sample);
        assert_eq!(*decode(&Json, &*record, &java).expect(sample), *seen(&*record, "json"), "{sample}");
        assert_eq!(encode(&Json, &*record), java, "{sample}");
    }
}

#[test]
fn protobuf_is_protostuffs() {
    for (case, record) in golden::cases() {
        let java = golden::vector("protostuff_protobuf", case);
        assert_eq!(encode(&Protobuf, &*record), java, "{case}");
        let read = decode(&Protobuf, &*record, &java).expect(case);
        // Null elements and empty lists are not on the wire; everything else is.
        if !matches!(case, "pchat_emptylist" | "pchat_nullelem") {
            assert_eq!(*read, *record, "{case}");
        }
        assert_eq!(encode(&Protobuf, &*read), java, "{case}");
    }
    for (sample, record) in golden::tsv_cases() {
        let java = golden::row("protostuff", sample);
        assert_eq!(encode(&Protobuf, &*record), java, "{sample}");
        assert_eq!(*decode(&Protobuf, &*record, &java).expect(sample), *record, "{sample}");
    }
}

/// protobuf-java's schema is OUYU-IM's, without the cluster's fields, and has no null.
#[test]
fn protobuf_reads_what_protobuf_java_writes() {
    for (case, record) in golden::cases() {
        let read = decode(&Protobuf, &*record, &golden::vector("protobuf_java", case)).expect(case);
        for (number, field) in record.class().all().filter(|(_, field)| field.tag < 10) {
            let empty = matches!(record.get(number), class::ValueRef::Str("") | class::ValueRef::Bytes([]));
            let want = if empty { class::ValueRef::Null } else { record.get(number) };
            assert_eq!(read.get(number), want, "{case} {}", field.name);
        }
    }
}

#[test]
fn thrift_is_libthrifts() {
    let cases = golden::cases();
    let (case, record) = &cases[0];
    let java = golden::vector("thrift_compact", case);
    assert_eq!(encode(&Thrift, &**record), java);
    assert_eq!(*decode(&Thrift, &**record, &java).expect("reads"), **record);
}

#[test]
fn half_of_a_surrogate_pair_is_a_bad_string() {
    let problem = |format: &dyn Format, name| {
        let bytes = golden::vector(name, golden::LONE_SURROGATE);
        decode(format, &PushMessage::default(), &bytes).map(|_| ()).map_err(|error| error.problem)
    };
    assert_eq!(problem(&Json, "json"), Err(Problem::BadString));
    assert_eq!(problem(&Protobuf, "protostuff_protobuf"), Err(Problem::BadString));
    // These two wrote a question mark in its place.
    assert_eq!(problem(&Protobuf, "protobuf_java"), Ok(()));
    assert_eq!(problem(&MsgPack, "msgpack_jackson"), Ok(()));
}
