//! The Rust side of the live check against Java; `.ci/java` runs both sides. See the README.
//!
//! `im-java-check write DIR` writes `DIR/rust/<format>/<case>.<Class>.bin` and the expected values as
//! `DIR/rust/<case>.<Class>.json`. Java reads them and writes `DIR/java/<format>/<case>.<Class>.bin`, and what it understood
//! as `.json` beside it. `im-java-check compare DIR` then fails at the first thing that is not as it was.
#![expect(clippy::disallowed_methods, reason = "a program that reads and writes files")]

#[path = "../../../im-serial/tests/golden/mod.rs"]
mod golden;
mod random;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use im_serial::class::{Class, Record, ValueRef};
use im_serial::{Format, Json, Limits, MsgPack, Protobuf, Thrift};
use im_serial_java::{Hessian, Hessian2, Jdk};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// See [`Exchange::identical`].
const SHORT: usize = 4000;

/// How many random messages of each class.
const RANDOM: usize = 30;

/// A format that both sides speak.
struct Exchange {
    name: &'static str,
    format: Box<dyn Format>,
    /// Java writes the same bytes. For bodies of up to [`SHORT`] bytes, because Hessian's chunks depend on the library's buffer.
    identical: bool,
    /// What the Java side cannot bring over, by field: JSON has no `routingTables` in its output, protobuf no empty list.
    loses: fn(&mut Value),
}

fn exchanges() -> Vec<Exchange> {
    let exchange = |name, format, identical, loses| Exchange { name, format, identical, loses };
    fn nothing(_: &mut Value) {}
    fn routes(value: &mut Value) {
        if let Some(fields) = value.as_object_mut()
            && fields.contains_key("routingTables")
        {
            fields.insert("routingTables".into(), Value::Null);
        }
    }
    vec![
        exchange("jdk", Box::<Jdk>::default(), true, nothing as fn(&mut Value)),
        exchange("hessian", Box::<Hessian>::default(), true, nothing),
        exchange("hessian2", Box::<Hessian2>::default(), true, nothing),
        // Jackson escapes some characters that JSON need not, and others in capital letters.
        exchange("json", Box::new(Json), false, routes),
        exchange("msgpack", Box::new(MsgPack), true, routes),
        exchange("protobuf", Box::new(Protobuf), true, empty_lists),
        exchange("thrift", Box::new(Thrift), true, null_elements),
    ]
}

/// In protobuf and thrift a list has no null elements.
fn null_elements(value: &mut Value) {
    match value {
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(null_elements);
        }
        Value::Object(fields) => fields.values_mut().for_each(null_elements),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// In protobuf an empty list is no list either.
fn empty_lists(value: &mut Value) {
    null_elements(value);
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(empty_lists),
        Value::Object(fields) => fields.values_mut().for_each(empty_lists),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if value.as_array().is_some_and(Vec::is_empty) {
        *value = Value::Null;
    }
}

/// The golden objects and as many random ones of each class.
fn cases() -> BTreeMap<String, Box<dyn Record>> {
    let golden = golden::cases().into_iter().map(|(case, record)| (format!("golden_{case}"), record));
    let listed = golden::tsv_cases().into_iter().map(|(case, record)| (format!("listed_{case}"), record));
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let classes: Vec<&'static Class> = (0..=u8::MAX).filter_map(im_serial::v1::class).collect();
    let random = (0..RANDOM * classes.len()).map(|number| {
        let class = classes[number % classes.len()];
        (format!("random_{number:03}"), random::record(class, &mut random))
    });
    golden.chain(listed).chain(random).filter(|(_, record)| record.class().parent.is_some()).collect()
}

/// A record as plain JSON under the names of the Java fields, byte strings as hex, `long`s as text.
fn neutral(record: &dyn Record) -> Value {
    record.class().all().map(|(number, field)| (field.name.to_owned(), value(record.get(number)))).collect()
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Bool(value) => value.into(),
        ValueRef::Byte(value) => value.into(),
        ValueRef::Int(value) => value.into(),
        ValueRef::Long(value) => value.to_string().into(),
        ValueRef::Str(text) => text.into(),
        ValueRef::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        ValueRef::Record(record) => neutral(record),
        ValueRef::List(list) => (0..list.len()).map(|index| self::value(list.get(index))).collect(),
        ValueRef::Null | _ => Value::Null,
    }
}

fn file(dir: &Path, side: &str, format: &str, case: &str, record: &dyn Record, extension: &str) -> PathBuf {
    dir.join(side).join(format).join(format!("{case}.{}.{extension}", record.class().name))
}

fn write(dir: &Path) -> Result<()> {
    let mut written = 0;
    for exchange in exchanges() {
        fs::create_dir_all(dir.join("rust").join(exchange.name))?;
        for (case, record) in cases().iter().filter(|(case, _)| !skipped(&exchange, case)) {
            let mut out = Vec::new();
            exchange.format.encode_record(&**record, &mut out)?;
            fs::write(file(dir, "rust", exchange.name, case, &**record, "bin"), out)?;
            written += 1;
        }
    }
    println!("Rust wrote {written} bodies");
    Ok(())
}

fn compare(dir: &Path) -> Result<()> {
    let mut failures = Vec::new();
    for exchange in exchanges() {
        let (mut read, mut same) = (0, 0);
        for (case, record) in cases().iter().filter(|(case, _)| !skipped(&exchange, case)) {
            match compare_one(dir, &exchange, case, &**record) {
                Ok(identical) => same += usize::from(identical),
                Err(error) => failures.push(format!("{} {case}: {error}", exchange.name)),
            }
            read += 1;
        }
        println!("{}: {read} bodies there and back, {same} with the same bytes", exchange.name);
    }
    for failure in failures.iter().take(30) {
        eprintln!("{failure}");
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("{} bodies differ", failures.len()).into()) }
}

/// Jackson does not read the smallest `long` from JSON, which it writes itself.
fn skipped(exchange: &Exchange, case: &str) -> bool {
    exchange.name == "json" && case == "golden_login_extreme"
}

/// Whether Java wrote the same bytes.
fn compare_one(dir: &Path, exchange: &Exchange, case: &str, record: &dyn Record) -> Result<bool> {
    let name = exchange.name;
    let ours = fs::read(file(dir, "rust", name, case, record, "bin"))?;
    let java = fs::read(file(dir, "java", name, case, record, "bin"))?;
    let mut expected = neutral(record);
    let understood: Value = serde_json::from_slice(&fs::read(file(dir, "java", name, case, record, "json"))?)?;
    (exchange.loses)(&mut expected);
    let mut both = understood.clone();
    (exchange.loses)(&mut both);
    if both != expected {
        return Err(format!("Java understood {understood}, not {expected}").into());
    }
    let mut back = (record.class().new)();
    exchange.format.decode_record(&mut *back, &java, &Limits::new(1 << 20))?;
    let mut back = neutral(&*back);
    (exchange.loses)(&mut back);
    if back != expected {
        return Err(format!("Java wrote {back}, not {expected}").into());
    }
    // Java has one empty string, to which its own format refers when it comes again.
    let shared = name == "jdk" && empty_strings(&expected) > 1;
    if ours != java && exchange.identical && ours.len() <= SHORT && !shared {
        return Err(json!({"ours": hex(&ours), "java": hex(&java)}).to_string().into());
    }
    Ok(ours == java)
}

fn empty_strings(value: &Value) -> usize {
    match value {
        Value::String(text) => usize::from(text.is_empty()),
        Value::Array(elements) => elements.iter().map(empty_strings).sum(),
        Value::Object(fields) => fields.values().map(empty_strings).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", dir] => write(Path::new(dir)),
        ["compare", dir] => compare(Path::new(dir)),
        _ => Err("usage: im-java-check write|compare DIR".into()),
    }
}
