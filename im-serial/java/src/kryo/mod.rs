//! Kryo, as OUYU-IM sets it up: `writeClassAndObject`, references on, registration not required.
//!
//! Values stand one after another, without names or types: first the class by name, then its fields and its superclass's,
//! sorted by name. Every object (strings, byte arrays and lists too) has a marker before it: 0 null, 1 new, n + 2 the
//! n-th object again.

mod read;
mod write;

use alloc::boxed::Box;
use alloc::vec::Vec;

use im_serial::class::{Class, Record, Type};
use im_serial::{DecodeError, EncodeError, Format, FormatId, Limits, Problem};

use crate::Options;
use crate::plan::Plans;

const NAME: &str = "kryo";

/// Which Kryo the peers run. The two write lists differently, and what one wrote cannot be told from what the other did
/// but by failing to read it; so the version is configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KryoVersion {
    /// Kryo 5 (5.0.0-RC9 to 5.6.2 write the same): what OUYU-IM runs.
    #[default]
    V5,
    /// Kryo 4: what OUYU-IM runs when its two Kryo jars stand on the class path in the other order.
    V4,
}

/// Kryo's wire format; serialization id 5. Keep one value for all bodies: it remembers what it worked out per class.
///
/// ```
/// use im_serial::{Format, Limits, v1::HeartBeatMessage};
/// use im_serial_java::{Kryo, KryoVersion, Options};
/// let kryo = Kryo::new(KryoVersion::V5, Options::default());
/// let ping = HeartBeatMessage { from: Some("u1001".into()), content: Some("PING".into()), ..Default::default() };
/// let mut out = Vec::new();
/// kryo.encode_record(&ping, &mut out)?;
/// assert!(out.starts_with(b"\x01\x00com.ouyu.im.packet.message.HeartBeatMessag\xe5"));
/// let mut read = HeartBeatMessage::default();
/// kryo.decode_record(&mut read, &out, &Limits::default()).unwrap();
/// assert_eq!(read, ping);
/// # Ok::<(), im_serial::EncodeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Kryo {
    version: KryoVersion,
    options: Options,
    plans: Plans<Plan>,
}

/// How Kryo 5 writes empty lists and lists of strings.
#[derive(Clone, Copy, PartialEq)]
enum Lists {
    /// As Java does. Kryo 4 may have written the same bytes for something else.
    AsJava,
    /// So that Kryo 4 did not write them: for a body that would read as one of Kryo 4 too, which our own reader refuses. Somebody
    /// who chooses a text can make it so, and it must not be refused by whom it is sent on to. Java reads both alike.
    Certain,
}

/// Whether there is a list that Kryo 4 may have written.
#[derive(Clone, Copy, PartialEq)]
enum Doubt {
    None,
    Some,
}

/// The fields in the order on the wire, and the class name as it stands there.
struct Plan {
    steps: Box<[(usize, Type)]>,
    name: Box<[u8]>,
}

impl Kryo {
    /// For peers that run this version.
    pub fn new(version: KryoVersion, options: Options) -> Self {
        Self { version, options, plans: Plans::default() }
    }

    /// The version it was made for.
    pub const fn version(&self) -> KryoVersion {
        self.version
    }

    fn plan(&self, class: &'static Class) -> &Plan {
        self.plans.get(class, || {
            let mut fields: Vec<_> = class.all().collect();
            fields.sort_by_key(|(_, field)| field.name);
            let mut name = Vec::new();
            write::class_name(self.version, self.options.java_name(class), &mut name);
            Plan { steps: fields.into_iter().map(|(number, field)| (number, field.ty)).collect(), name: name.into() }
        })
    }
}

impl Format for Kryo {
    fn id(&self) -> FormatId {
        FormatId(5)
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let mut written = write::body(self, record, Lists::AsJava, out);
        let body = out.get(start..).unwrap_or_default();
        if written == Ok(Doubt::Some) && read::may_be_version_4(self, record.class(), body) {
            out.truncate(start);
            written = write::body(self, record, Lists::Certain, out);
        }
        written.map(drop).map_err(|write::TooLong| {
            out.truncate(start);
            EncodeError { format: NAME, class: record.class() }
        })
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        // Offsets are kept in 30 bits.
        if bytes.len() > limits.max_body || bytes.len() >= 1 << 30 {
            return Err(DecodeError::new(NAME, class, Problem::TooLarge, None));
        }
        read::body(self, record, bytes, limits)
            .map_err(|(problem, offset)| DecodeError::new(NAME, class, problem, Some(offset)))
    }
}
