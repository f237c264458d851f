//! FST as OUYU-IM sets it up: `createJsonConfiguration(true, false)`, which is JSON and not FST's binary format.
//!
//! An object is `{"typ": class, "obj": {fields}}`, a list `{"typ": "list", "obj": [count, elements]}`, a `byte[]`
//! `["byte", numbers]`, a boolean 0 or 1.

mod read;
mod write;

use alloc::boxed::Box;
use alloc::vec::Vec;

use im_serial::class::{Class, Field, Record, Type};
use im_serial::{DecodeError, EncodeError, Format, FormatId, Limits, Problem};

use crate::Options;
use crate::plan::Plans;

const NAME: &str = "fst";

/// FST's JSON form; serialization id 8. Writes what Java writes, byte for byte; reads any JSON layout of it. Keep one
/// value for all bodies: it remembers what it worked out per class.
///
/// ```
/// use im_serial::{Format, Limits, v1::HeartBeatMessage};
/// use im_serial_java::{Fst, Options};
/// let fst = Fst::new(Options::default());
/// let compact = br#"{"typ":"com.ouyu.im.packet.message.HeartBeatMessage","obj":{"from":"u1001","isDelivery":0}}"#;
/// let mut read = HeartBeatMessage::default();
/// fst.decode_record(&mut read, compact, &Limits::default()).unwrap();
/// assert_eq!(read, HeartBeatMessage { from: Some("u1001".into()), ..Default::default() });
/// let mut out = Vec::new();
/// fst.encode_record(&read, &mut out)?;
/// assert!(out.starts_with(b"{\n  \"typ\" : \"com.ouyu.im.packet.message.HeartBeatMessage\",\n  \"obj\" : {\n"));
/// # Ok::<(), im_serial::EncodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Fst {
    options: Options,
    plans: Plans<Plan>,
}

/// The fields in the order in which Java writes them, with the text before their values.
struct Plan {
    steps: Box<[Step]>,
    /// `"typ" : "...",`
    typ: Box<[u8]>,
}

struct Step {
    number: usize,
    ty: Type,
    name: &'static str,
    /// The name as the field of a body has it, with the comma and the line break before it.
    key: Box<[u8]>,
}

impl Fst {
    /// With the class names of a deployment.
    pub fn new(options: Options) -> Self {
        Self { options, plans: Plans::default() }
    }

    fn plan(&self, class: &'static Class) -> &Plan {
        self.plans.get(class, || {
            let mut fields: Vec<_> = class.all().collect();
            fields.sort_by_key(|(_, field)| order(field));
            let step = |(number, field): (usize, &'static Field)| {
                let mut key = b",\n    ".to_vec();
                write::string(field.name, &mut key);
                key.extend_from_slice(b" : ");
                Step { number, ty: field.ty, name: field.name, key: key.into() }
            };
            let mut typ = b"\"typ\" : ".to_vec();
            write::string(self.options.java_name(class), &mut typ);
            typ.push(b',');
            Plan { steps: fields.into_iter().map(step).collect(), typ: typ.into() }
        })
    }
}

/// FST's order: booleans, other primitives, objects; in each by the type's simple name, then the field's name.
fn order(field: &Field) -> (u8, &'static str, &'static str) {
    let (group, ty) = match field.ty {
        Type::Bool => (0, "boolean"),
        Type::Byte => (1, "byte"),
        Type::Int | Type::UInt => (1, "int"),
        Type::Long | Type::ULong | Type::Id => (1, "long"),
        Type::Str => (2, "String"),
        Type::Bytes => (2, "byte[]"),
        Type::Record(class) => (2, class.java.rsplit(['.', '$']).next().unwrap_or_default()),
        Type::List(_) => (2, "List"),
        Type::Any | _ => (2, "Object"),
    };
    (group, ty, field.name)
}

impl Format for Fst {
    fn id(&self) -> FormatId {
        FormatId(8)
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        write::body(self, record, out).map_err(|write::Unsupported| {
            out.truncate(start);
            EncodeError { format: NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        if bytes.len() > limits.max_body {
            return Err(DecodeError::new(NAME, class, Problem::TooLarge, None));
        }
        read::body(self, record, bytes, limits)
            .map_err(|(problem, offset)| DecodeError::new(NAME, class, problem, offset))
    }
}
