//! Java's own object streams.

mod read;
mod write;

use alloc::vec::Vec;

use im_serial::class::{Class, Field, Record, Type};
use im_serial::{DecodeError, EncodeError, Format, FormatId, Limits};

use crate::table::{Shape, Table, same};
use crate::{Options, text};

const NAME: &str = "jdk";

/// The bytes that stand for kinds of values; from `java.io.ObjectStreamConstants`, as is what follows.
mod tag {
    pub(super) const NULL: u8 = 0x70;
    pub(super) const REFERENCE: u8 = 0x71;
    pub(super) const CLASS_DESC: u8 = 0x72;
    pub(super) const OBJECT: u8 = 0x73;
    pub(super) const STRING: u8 = 0x74;
    pub(super) const ARRAY: u8 = 0x75;
    pub(super) const CLASS: u8 = 0x76;
    pub(super) const BLOCK_DATA: u8 = 0x77;
    pub(super) const END_BLOCK_DATA: u8 = 0x78;
    pub(super) const RESET: u8 = 0x79;
    pub(super) const BLOCK_DATA_LONG: u8 = 0x7a;
    pub(super) const EXCEPTION: u8 = 0x7b;
    pub(super) const LONG_STRING: u8 = 0x7c;
    pub(super) const PROXY_CLASS_DESC: u8 = 0x7d;
    pub(super) const ENUM: u8 = 0x7e;
}

mod flag {
    pub(super) const WRITE_METHOD: u8 = 1;
    pub(super) const SERIALIZABLE: u8 = 2;
    pub(super) const EXTERNALIZABLE: u8 = 4;
    pub(super) const BLOCK_DATA: u8 = 8;
}

/// Magic number and version.
const HEADER: [u8; 4] = [0xac, 0xed, 0, 5];
const FIRST_HANDLE: u32 = 0x7e_0000;
const ARRAY_LIST: &[u8] = b"java.util.ArrayList";
const ARRAY_LIST_SUID: i64 = 0x7881_d21d_99c7_619d;
const BYTE_ARRAY: &[u8] = b"[B";
const BYTE_ARRAY_SUID: i64 = -0x530c_e807_f9f7_ab20;

const SHAPE: Shape = Shape { order, text: name };

/// Java's own `ObjectOutputStream`: serialization id 1.
///
/// ```
/// use im_serial::{Format, Limits, class::Declared, v1::HeartBeatMessage};
/// use im_serial_java::Jdk;
/// let ping = HeartBeatMessage { content: Some("PING".into()), ..HeartBeatMessage::default() };
/// let mut out = Vec::new();
/// Jdk::default().encode_record(&ping, &mut out).unwrap();
/// assert!(out.starts_with(b"\xac\xed\0\x05sr\0\x2bcom.ouyu.im.packet.message.HeartBeatMessage"));
/// let mut again = HeartBeatMessage::default();
/// Jdk::default().decode_record(&mut again, &out, &Limits::default()).unwrap();
/// assert_eq!(again, ping);
/// ```
#[derive(Clone, Debug)]
pub struct Jdk {
    options: Options,
    tables: Tables,
}

impl Jdk {
    /// With the options of a deployment.
    pub fn new(options: Options) -> Self {
        let table = Table::known(&options, SHAPE);
        let tables = Tables::new(table, &options);
        Self { options, tables }
    }

    /// Prepares for an application's class, which is otherwise done anew for every body.
    #[must_use]
    pub fn with_class(mut self, class: &'static Class) -> Self {
        let mut table = self.tables.table;
        table.add(class, &self.options, SHAPE);
        self.tables = Tables::new(table, &self.options);
        self
    }

    fn with_tables<T>(&self, class: &'static Class, with: impl FnOnce(&Tables, usize) -> T) -> T {
        if let Some(root) = self.tables.table.find(class) {
            return with(&self.tables, root);
        }
        let mut table = Table::default();
        let root = table.add(class, &self.options, SHAPE);
        with(&Tables::new(table, &self.options), root)
    }
}

impl Default for Jdk {
    /// OUYU-IM's own names and `serialVersionUID`s.
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Format for Jdk {
    fn id(&self) -> FormatId {
        FormatId(1)
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        self.with_tables(record.class(), |tables, root| write::body(record, root, tables, out)).map_err(|_| {
            out.truncate(start);
            EncodeError { format: NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        self.with_tables(class, |tables, root| read::body(record, root, tables, &self.tables, bytes, limits))
            .map_err(|(problem, at)| DecodeError::new(NAME, class, problem, Some(at)))
    }
}

/// The value cannot be written.
struct Unwritable;

/// What the format knows of all classes.
#[derive(Clone, Debug, Default)]
struct Tables {
    table: Table,
    /// Every class and superclass once.
    layers: Vec<Layer>,
    /// The layers of each plan, the class itself first, each with the number of its first field.
    chains: Vec<Vec<(usize, usize)>>,
    /// The types of fields that are not primitive, each once: `[B`, `Ljava/lang/String;`, ...
    types: Vec<Vec<u8>>,
    /// What begins the stream of each plan's objects.
    heads: Vec<Head>,
}

/// A class without its superclass.
#[derive(Clone, Debug)]
struct Layer {
    class: &'static Class,
    names: Vec<Vec<u8>>,
    suid: i64,
    /// Type code, encoded name and place in `types`, in Java's order.
    fields: Vec<(u8, Vec<u8>, Option<usize>)>,
}

/// The bytes up to the first value of the outermost object, and what they define: the same in every body of a class, so
/// that they are compared and copied as a whole.
#[derive(Clone, Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    handles: write::Handles,
    defined: read::Defined,
}

impl Tables {
    fn new(table: Table, options: &Options) -> Self {
        let mut tables = Self { table, ..Self::default() };
        for plan in &tables.table.plans {
            let (mut class, mut number, mut chain) = (Some(plan.class), 0, Vec::new());
            while let Some(layer) = class {
                let at = match tables.layers.iter().position(|known| same(known.class, layer)) {
                    Some(at) => at,
                    None => {
                        let layer = Layer::new(layer, options, &mut tables.types);
                        tables.layers.push(layer);
                        tables.layers.len() - 1
                    }
                };
                chain.push((at, number));
                number += layer.fields.len();
                class = layer.parent;
            }
            tables.chains.push(chain);
        }
        tables.heads = (0..tables.table.plans.len())
            .map(|plan| {
                let (bytes, handles) = write::head(plan, &tables).unwrap_or_default();
                let defined = read::defined(plan, &tables, &bytes);
                Head { bytes, handles, defined }
            })
            .collect();
        tables
    }
}

impl Layer {
    fn new(class: &'static Class, options: &Options, types: &mut Vec<Vec<u8>>) -> Self {
        let mut names = alloc::vec![name(options.java_name(class)), name(class.java)];
        names.dedup();
        let fields = sorted(class.fields)
            .into_iter()
            .map(|(_, field)| {
                let ty = signature(&field.ty, options).map(|ty| match types.iter().position(|known| *known == ty) {
                    Some(at) => at,
                    None => {
                        types.push(ty);
                        types.len() - 1
                    }
                });
                (code(&field.ty), name(field.name), ty)
            })
            .collect();
        Self { class, names, suid: options.java_suid(class), fields }
    }
}

/// Superclasses first, each class's fields as [`sorted`].
fn order(class: &'static Class) -> Vec<usize> {
    let mut numbers = class.parent.map(order).unwrap_or_default();
    for number in &mut numbers {
        *number += class.fields.len();
    }
    numbers.extend(sorted(class.fields).into_iter().map(|(number, _)| number));
    numbers
}

/// Primitive fields by name, then the others by name.
fn sorted(fields: &'static [Field]) -> Vec<(usize, &'static Field)> {
    let mut sorted: Vec<_> = fields.iter().enumerate().collect();
    sorted.sort_by(|(_, a), (_, b)| {
        let primitive = |field: &Field| !is_object(code(&field.ty));
        primitive(b).cmp(&primitive(a)).then_with(|| a.name.encode_utf16().cmp(b.name.encode_utf16()))
    });
    sorted
}

fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text::write_jdk(name, &mut out);
    out
}

const fn code(ty: &Type) -> u8 {
    match ty {
        Type::Bool => b'Z',
        Type::Byte => b'B',
        Type::Int | Type::UInt => b'I',
        Type::Long | Type::ULong | Type::Id => b'J',
        Type::Bytes => b'[',
        Type::Str | Type::Record(_) | Type::List(_) | Type::Any | _ => b'L',
    }
}

const fn is_object(code: u8) -> bool {
    matches!(code, b'[' | b'L')
}

/// How Java names the type of a field that is not primitive.
fn signature(ty: &Type, options: &Options) -> Option<Vec<u8>> {
    Some(match ty {
        Type::Str => name("Ljava/lang/String;"),
        Type::Any => name("Ljava/lang/Object;"),
        Type::Bytes => BYTE_ARRAY.to_vec(),
        Type::List(_) => name("Ljava/util/List;"),
        Type::Record(class) => name(&alloc::format!("L{};", options.java_name(class).replace('.', "/"))),
        Type::Bool | Type::Byte | Type::Int | Type::UInt | Type::Long | Type::ULong | Type::Id | _ => return None,
    })
}
