//! A format and a body of an application's own: `cargo run -p im-serial --example extend`.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]

use im_serial::class::{Record, Type, Value, ValueRef};
use im_serial::{DecodeError, EncodeError, Error, Format, FormatId, Limits, Problem, RegisterError, Registry, Unknown};

im_serial::record! {
    /// A question to a group, with answers to choose from.
    pub struct Poll: "com.example.Poll", suid 1 {
        /// What is asked.
        1 => pub question: String;
        /// What may be answered.
        2 => pub answers: Vec<String>;
        /// How many may be chosen.
        3 => pub choices: u32;
    }
}

/// The message type of a [`Poll`]; 128 to 191 are for applications.
const POLL: u8 = 130;

/// `name=value` lines, for the fields that are text or numbers.
struct Lines;

impl Lines {
    const ID: FormatId = FormatId(64);
}

impl Format for Lines {
    fn id(&self) -> FormatId {
        Self::ID
    }

    fn name(&self) -> &'static str {
        "lines"
    }

    fn encode_record(&self, record: &dyn Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut text = String::new();
        for (number, field) in record.class().all() {
            let value = match record.get(number) {
                ValueRef::Str(value) if !value.contains('\n') => value.to_owned(),
                ValueRef::Int(value) => value.to_string(),
                ValueRef::Null | ValueRef::List(_) => continue,
                _ => return Err(EncodeError { format: self.name(), class: record.class() }),
            };
            text += &format!("{}={value}\n", field.name);
        }
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn decode_record(&self, record: &mut dyn Record, bytes: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let class = record.class();
        let error = |problem| DecodeError::new("lines", class, problem, None);
        if bytes.len() > limits.max_body {
            return Err(error(Problem::TooLarge));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| error(Problem::BadString))?;
        for line in text.lines() {
            let (name, value) = line.split_once('=').ok_or(error(Problem::Malformed))?;
            let Some((number, field)) = class.all().find(|(_, field)| field.name == name) else { continue };
            let value = match field.ty {
                Type::Str => Value::Str(value.to_owned()),
                Type::Int | Type::UInt => Value::Int(value.parse().map_err(|_| error(Problem::Malformed))?),
                _ => return Err(error(Problem::Unsupported)),
            };
            record.set(number, value).map_err(|_| error(Problem::Malformed))?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::default().with(Lines)?.with_body::<Poll>(POLL)?;
    let limits = Limits::default();
    let poll = Poll { question: "Tea or coffee?".into(), answers: vec!["tea".into(), "coffee".into()], choices: 1 };

    // The body goes through every format; what came in one is handed on in another.
    for id in registry.ids() {
        let mut bytes = Vec::new();
        registry.encode(id, POLL, &poll, &mut bytes)?;
        let read = registry.decode(id, POLL, &bytes, &limits)?;
        let mut lines = Vec::new();
        registry.transcode(id, Lines::ID, POLL, &bytes, &limits, &mut lines)?;
        assert_eq!(lines, b"question=Tea or coffee?\nchoices=1\n");
        println!("{:>9}: {:3} bytes, {read:?}", registry.format(id)?.name(), bytes.len());
    }

    // What is not registered is refused by name.
    let refused = registry.decode(FormatId::KRYO, POLL, b"", &limits).unwrap_err();
    assert_eq!(refused, Error::Unknown(Unknown::Format(FormatId::KRYO)));
    println!("{refused}");
    println!("{}", registry.decode(FormatId::JSON, 131, b"{}", &limits).unwrap_err());

    // What is reserved cannot be taken.
    let taken = Registry::empty().with_body::<Poll>(32).unwrap_err();
    assert_eq!(taken, RegisterError::MessageType(32));
    println!("{taken}");
    Ok(())
}
