//! Every class, filled at random, there and back.
#![cfg(all(feature = "kryo", feature = "fst"))]

mod support;

use im_serial::body::LoginOk;
use im_serial::class::{Declared, Record, ValueRef};
use im_serial::v1::{HeartBeatMessage, PChatMessage, RoutingTable};
use im_serial::{Body, Format, FormatId, Kind, Limits, Problem, Registry};
use im_serial_java::{Fst, Kryo, KryoVersion, Options};
use proptest::prelude::*;

fn kryo_4() -> Kryo {
    Kryo::new(KryoVersion::V4, Options::default())
}

fn encode(format: &dyn Format, record: &dyn Record) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode_record(record, &mut out).expect("writes");
    out
}

/// The class's fields, or those of what it holds, have a list in them that is not null.
fn has_list(record: &dyn Record) -> bool {
    (0..record.class().len()).any(|field| match record.get(field) {
        ValueRef::List(_) => true,
        ValueRef::Record(inner) => has_list(inner),
        ValueRef::Null | _ => false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_reads_back(record in support::any_record()) {
        let formats: [&dyn Format; 3] = [&Kryo::default(), &kryo_4(), &Fst::default()];
        for format in formats {
            let bytes = encode(format, &*record);
            let mut read = (record.class().new)();
            prop_assert_eq!(format.decode_record(&mut *read, &bytes, &Limits::default()), Ok(()), "{}", format.name());
            prop_assert_eq!(&*read, &*record);
        }
    }

    /// Nobody reads a list of the other version as something else.
    #[test]
    fn a_list_of_the_other_kryo_is_an_error(record in support::any_record()) {
        let (five, four) = (Kryo::default(), kryo_4());
        for (writer, reader) in [(&five, &four), (&four, &five)] {
            let bytes = encode(writer, &*record);
            let mut read = (record.class().new)();
            let result = reader.decode_record(&mut *read, &bytes, &Limits::default());
            if has_list(&*record) {
                prop_assert!(result.is_err(), "{:?} as {:?}: {read:?}", writer.version(), reader.version());
            } else {
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(&*read, &*record);
            }
        }
    }

    #[test]
    fn bytes_are_a_body_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in any::<prop::sample::Index>()) {
        let class = *which.get(&support::classes());
        let formats: [&dyn Format; 3] = [&Kryo::default(), &kryo_4(), &Fst::default()];
        for format in formats {
            let _ = format.decode_record(&mut *(class.new)(), &bytes, &Limits::default());
        }
    }
}

/// The case in which Kryo 5 reads what Kryo 4 wrote to the last byte, and takes the class name for a string.
#[test]
fn a_kryo_4_list_that_kryo_5_reads_to_the_end_is_refused() {
    let mut message = HeartBeatMessage { to: Some("u1002".into()), ..Default::default() };
    message.base.routing_tables = Some(vec![Some(RoutingTable::default())]);
    let bytes = encode(&kryo_4(), &message);
    let error = Kryo::default().decode_record(&mut message, &bytes, &Limits::default()).unwrap_err();
    assert_eq!(error.problem, Problem::Malformed);
}

/// A name can be chosen so that the body with an empty list reads as one of Kryo 4 too. What comes of it must not be refused by
/// whom it is sent on to.
#[test]
fn a_text_that_looks_like_kryo_4_is_written_so_that_it_reads() {
    let bytes = |list: &[u8]| {
        let [before, after]: [&[u8]; 2] = [&[219, 28, 0], &[0, 13, 123, 9, 1, 1, 0, b'i', b'm', b'y' | 0x80]];
        [b"\x01\0im.LoginO\xeb\x01", before, list, after].concat()
    };
    let kryo = Kryo::default();
    let read = |bytes: &[u8]| {
        let mut read = LoginOk::default();
        kryo.decode_record(&mut read, bytes, &Limits::default()).map(|()| read)
    };
    let list = |len| [b"\x01\x01java.util.ArrayLis\xf4\x01".as_slice(), &[len]].concat();
    let login = read(&bytes(&[0])).unwrap();
    assert_eq!(login.user, "\x01\0imy");
    assert_eq!(read(&bytes(&list(1))).unwrap_err().problem, Problem::Malformed);
    assert_eq!(encode(&kryo, &login), bytes(&list(0x81)));
    assert_eq!(read(&encode(&kryo, &login)).unwrap(), login);
    // Any other name: as Java writes it.
    let usual = LoginOk { user: "alice".into(), ..login };
    assert!(encode(&kryo, &usual).windows(4).any(|part| part == [0xf4, 1, 1, 0]));
}

#[test]
fn bodies_of_version_2_go_through_a_registry() {
    let formats = Registry::empty().with(Kryo::default()).unwrap().with(Fst::default()).unwrap();
    assert_eq!(formats.ids(), [FormatId(5), FormatId(8)]);
    for id in formats.ids() {
        for kind in Kind::ALL {
            let body = Body::from_record(*kind, |_| Ok::<_, ()>(())).unwrap();
            let format = formats.get(id).unwrap();
            let mut bytes = Vec::new();
            format.encode(&body, &mut bytes).unwrap();
            assert_eq!(format.decode(*kind, &bytes, &Limits::default()).unwrap(), body);
        }
    }
}

#[test]
fn aliases_are_written_and_both_names_read() {
    let options = || {
        Options::default()
            .alias(PChatMessage::CLASS, "org.example.chat.Private")
            .alias(RoutingTable::CLASS, "org.example.Hop")
    };
    let mut message = PChatMessage::default();
    message.base.routing_tables = Some(vec![Some(RoutingTable::default())]);
    let pairs: [(Box<dyn Format>, Box<dyn Format>); 3] = [
        (Box::new(Kryo::new(KryoVersion::V5, options())), Box::new(Kryo::default())),
        (Box::new(Kryo::new(KryoVersion::V4, options())), Box::new(kryo_4())),
        (Box::new(Fst::new(options())), Box::new(Fst::default())),
    ];
    for (renamed, plain) in pairs {
        let bytes = encode(&*renamed, &message);
        for name in ["org.example.chat.Privat", "org.example.Ho"] {
            assert!(bytes.windows(name.len()).any(|at| at == name.as_bytes()), "{name}");
        }
        let mut read = PChatMessage::default();
        renamed.decode_record(&mut read, &bytes, &Limits::default()).unwrap();
        assert_eq!(read, message);
        let problem = plain.decode_record(&mut read, &bytes, &Limits::default()).unwrap_err().problem;
        assert_eq!(problem, Problem::UnknownClass, "{}", plain.name());
        renamed.decode_record(&mut read, &encode(&*plain, &message), &Limits::default()).unwrap();
        assert_eq!(read, message);
    }
}
