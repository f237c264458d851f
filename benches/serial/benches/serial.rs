//! Each format beside the raw crate that it wraps, on the same struct in one run:
//! `cargo bench -p im-serial-benches`; then `cargo run -p im-serial-benches --example ratios` prints the tables.

use std::hint::black_box;

use criterion::Criterion;
use im_bench_rounds::Fastest;
use im_serial::body::{Conversation, Deliver, Send};
use im_serial::{Bincode, Body, Cbor, Format, Json, Kind, Limits, MsgPack, Postcard, Protobuf, Thrift};
use im_serial_benches::{deliver, send};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thrift::protocol::{
    TCompactInputProtocol, TCompactOutputProtocol, TFieldIdentifier, TInputProtocol, TOutputProtocol,
    TStructIdentifier, TType,
};

/// One format and one struct: encode and decode, ours and raw. The raw encode appends to the same vector.
fn pair<T>(
    c: &mut Criterion,
    format: &dyn Format,
    kind: Kind,
    value: &T,
    write: impl Fn(&T, &mut Vec<u8>),
    read: impl Fn(&[u8]) -> T,
) where
    T: Clone + PartialEq + std::fmt::Debug + Into<Body>,
{
    let body: Body = value.clone().into();
    let (mut out, mut raw) = (Vec::new(), Vec::new());
    format.encode(&body, &mut out).expect("encodes");
    write(value, &mut raw);
    assert_eq!(out, raw, "the raw crate writes the same");
    assert_eq!(read(&raw), *value);
    let limits = Limits::default();
    let mut group = c.benchmark_group(format!("{} {}", format.name(), kind.name()));
    group.bench_function("encode", |b| {
        b.iter_fastest(|| {
            out.clear();
            format.encode(black_box(&body), &mut out)
        });
    });
    group.bench_function("encode raw", |b| {
        b.iter_fastest(|| {
            raw.clear();
            write(black_box(value), &mut raw);
        });
    });
    let bytes = raw.clone();
    group.bench_function("decode", |b| b.iter_fastest(|| format.decode(kind, black_box(&bytes), &limits)));
    group.bench_function("decode raw", |b| b.iter_fastest(|| read(black_box(&bytes))));
    group.finish();
}

/// What both structs are written and read with by thrift's own crate.
trait ByThrift: Sized {
    fn write(&self, to: &mut dyn TOutputProtocol) -> thrift::Result<()>;
    fn read(from: &mut dyn TInputProtocol) -> thrift::Result<Self>;
}

fn field(to: &mut dyn TOutputProtocol, ty: TType, id: i16) -> thrift::Result<()> {
    to.write_field_begin(&TFieldIdentifier::new("", ty, id))
}

impl ByThrift for Conversation {
    fn write(&self, to: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        to.write_struct_begin(&TStructIdentifier::new(""))?;
        field(to, TType::I32, 1)?;
        to.write_i32(self.kind as i32)?;
        field(to, TType::String, 2)?;
        to.write_string(&self.id)?;
        to.write_field_stop()?;
        to.write_struct_end()
    }
    fn read(from: &mut dyn TInputProtocol) -> thrift::Result<Self> {
        let mut value = Self::default();
        from.read_struct_begin()?;
        loop {
            let found = from.read_field_begin()?;
            match (found.field_type, found.id) {
                (TType::Stop, _) => break,
                (_, Some(1)) => value.kind = from.read_i32()? as u32,
                (_, Some(2)) => value.id = from.read_string()?.into(),
                (ty, _) => from.skip(ty)?,
            }
        }
        from.read_struct_end()?;
        Ok(value)
    }
}

impl ByThrift for Send {
    fn write(&self, to: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        to.write_struct_begin(&TStructIdentifier::new(""))?;
        field(to, TType::Struct, 1)?;
        self.to.write(to)?;
        field(to, TType::I32, 2)?;
        to.write_i32(self.content_type as i32)?;
        field(to, TType::String, 3)?;
        to.write_bytes(&self.content)?;
        to.write_field_stop()?;
        to.write_struct_end()
    }
    fn read(from: &mut dyn TInputProtocol) -> thrift::Result<Self> {
        let mut value = Self::default();
        from.read_struct_begin()?;
        loop {
            let found = from.read_field_begin()?;
            match (found.field_type, found.id) {
                (TType::Stop, _) => break,
                (_, Some(1)) => value.to = Conversation::read(from)?,
                (_, Some(2)) => value.content_type = from.read_i32()? as u32,
                (_, Some(3)) => value.content = from.read_bytes()?,
                (ty, _) => from.skip(ty)?,
            }
        }
        from.read_struct_end()?;
        Ok(value)
    }
}

impl ByThrift for Deliver {
    fn write(&self, to: &mut dyn TOutputProtocol) -> thrift::Result<()> {
        to.write_struct_begin(&TStructIdentifier::new(""))?;
        field(to, TType::Struct, 1)?;
        self.conversation.write(to)?;
        field(to, TType::String, 2)?;
        to.write_string(&self.from)?;
        for (id, number) in [(3, self.message_id), (4, self.seq), (5, self.time_ms)] {
            field(to, TType::I64, id)?;
            to.write_i64(number as i64)?;
        }
        field(to, TType::I32, 6)?;
        to.write_i32(self.content_type as i32)?;
        field(to, TType::String, 7)?;
        to.write_bytes(&self.content)?;
        to.write_field_stop()?;
        to.write_struct_end()
    }
    fn read(from: &mut dyn TInputProtocol) -> thrift::Result<Self> {
        let mut value = Self::default();
        from.read_struct_begin()?;
        loop {
            let found = from.read_field_begin()?;
            match (found.field_type, found.id) {
                (TType::Stop, _) => break,
                (_, Some(1)) => value.conversation = Conversation::read(from)?,
                (_, Some(2)) => value.from = from.read_string()?.into(),
                (_, Some(3)) => value.message_id = from.read_i64()? as u64,
                (_, Some(4)) => value.seq = from.read_i64()? as u64,
                (_, Some(5)) => value.time_ms = from.read_i64()? as u64,
                (_, Some(6)) => value.content_type = from.read_i32()? as u32,
                (_, Some(7)) => value.content = from.read_bytes()?,
                (ty, _) => from.skip(ty)?,
            }
        }
        from.read_struct_end()?;
        Ok(value)
    }
}

/// A vector whose end bincode writes to.
struct Append<'a>(&'a mut Vec<u8>);
impl bincode::enc::write::Writer for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn every<T>(c: &mut Criterion, kind: Kind, value: &T)
where
    T: Clone + PartialEq + std::fmt::Debug + Into<Body> + Serialize + DeserializeOwned + Message + Default + ByThrift,
{
    let (to, from) = ("to a vector", "what was written");
    let config = bincode::config::standard().with_limit::<{ 16 << 20 }>();
    pair(
        c,
        &Json,
        kind,
        value,
        |v, out| serde_json::to_writer(out, v).expect(to),
        |b| serde_json::from_slice(b).expect(from),
    );
    pair(c, &Protobuf, kind, value, |v, out| v.encode(out).expect(to), |b| T::decode(b).expect(from));
    pair(
        c,
        &MsgPack,
        kind,
        value,
        |v, out| rmp_serde::encode::write_named(out, v).expect(to),
        |b| rmp_serde::from_slice(b).expect(from),
    );
    pair(
        c,
        &Postcard,
        kind,
        value,
        |v, out| *out = postcard::to_extend(v, std::mem::take(out)).expect(to),
        |b| postcard::from_bytes(b).expect(from),
    );
    pair(
        c,
        &Cbor,
        kind,
        value,
        |v, out| *out = cbor4ii::serde::to_vec(std::mem::take(out), v).expect(to),
        |b| cbor4ii::serde::from_slice(b).expect(from),
    );
    pair(
        c,
        &Bincode,
        kind,
        value,
        |v, out| bincode::serde::encode_into_writer(v, Append(out), config).expect(to),
        |b| bincode::serde::decode_from_slice(b, config).expect(from).0,
    );
    pair(
        c,
        &Thrift,
        kind,
        value,
        |v, out| v.write(&mut TCompactOutputProtocol::new(out)).expect(to),
        |b| T::read(&mut TCompactInputProtocol::new(b)).expect(from),
    );
}

fn version2(c: &mut Criterion) {
    every(c, Kind::Send, &send());
    every(c, Kind::Deliver, &deliver());
}

fn main() {
    im_bench_rounds::run(&[version2]);
}
