//! Records of a class, filled at random.

use im_serial::class::{Class, Record, Type, Value};

/// A record with a value in each field.
pub(crate) fn record(class: &'static Class, random: &mut fastrand::Rng) -> Box<dyn Record> {
    let mut record = (class.new)();
    for (number, field) in class.all() {
        let value = value(field.ty, random);
        // The value is of the field's own type.
        let _ = record.set(number, value);
    }
    record
}

fn value(ty: Type, random: &mut fastrand::Rng) -> Value {
    let nullable = matches!(ty, Type::Str | Type::Any | Type::Bytes | Type::Record(_) | Type::List(_));
    if nullable && random.u8(..5) == 0 {
        return Value::Null;
    }
    match ty {
        Type::Bool => Value::Bool(random.bool()),
        Type::Byte => Value::Byte(random.i8(..)),
        Type::Int | Type::UInt => Value::Int(random.i32(..) >> random.u32(..32)),
        // Debian's Jackson does not read numbers of 19 digits; `login_extreme` has them for the other formats.
        Type::Long | Type::ULong | Type::Id => {
            Value::Long((random.i64(..) >> random.u32(..64)) % 1_000_000_000_000_000_000)
        }
        Type::Str | Type::Any => Value::Str(text(random)),
        Type::Bytes => Value::Bytes((0..length(random)).map(|_| random.u8(..)).collect()),
        Type::Record(class) => Value::Record(record(class, random)),
        Type::List(element) => Value::List((0..random.usize(..4)).map(|_| value(*element, random)).collect()),
        _ => Value::Null,
    }
}

/// Mostly short; sometimes around the lengths at which the formats change their form.
fn length(random: &mut fastrand::Rng) -> usize {
    match random.u8(..40) {
        0 => 1020 + random.usize(..10),
        1 => 32_760 + random.usize(..16),
        2 => 65_530 + random.usize(..10),
        _ => random.usize(..70),
    }
}

fn text(random: &mut fastrand::Rng) -> String {
    let kind = random.u8(..4);
    let length = if kind == 0 { length(random) } else { random.usize(..20) };
    (0..length)
        .map(|_| match random.u8(..8) {
            _ if kind == 0 => random.char(' '..='~'),
            0 => random.char('\0'..='\u{1f}'),
            1 => random.char('\u{80}'..='\u{7ff}'),
            2 => random.char('\u{4e00}'..='\u{9fff}'),
            3 => random.char('\u{1f600}'..='\u{1f64f}'),
            4 => ['\u{d7ff}', '\u{e000}', '\u{ffff}', '\u{10ffff}', '"', '\\', '/', '\u{2028}'][random.usize(..8)],
            _ => random.char(' '..='~'),
        })
        .collect()
}
