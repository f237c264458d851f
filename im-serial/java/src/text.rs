//! Java's strings: a sequence of UTF-16 units, each written as one to three bytes. A character beyond U+FFFF is two
//! units and so six bytes. What is all below that is plain UTF-8.

use alloc::string::String;
use alloc::vec::Vec;

use im_serial::Problem;
use im_serial::class::{Budget, Reader};

/// Length in UTF-16 units, as Java's `String.length()`.
pub(crate) fn units(text: &str) -> usize {
    // A unit for every byte that begins a character, and a second one where four bytes begin.
    text.bytes().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

/// As [`units`], of what [`write`] wrote.
#[cfg(feature = "hessian")]
pub(crate) fn encoded_units(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Appends the text unit by unit.
pub(crate) fn write(text: &str, out: &mut Vec<u8>) {
    if !text.bytes().any(|byte| byte >= 0xf0) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.reserve(text.len() + text.len() / 2);
    for character in text.chars() {
        let mut buffer = [0; 4];
        if character.len_utf8() < 4 {
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let mut pair = [0; 2];
        for unit in character.encode_utf16(&mut pair) {
            out.extend_from_slice(&[
                0xe0 | (*unit >> 12) as u8,
                0x80 | (*unit >> 6 & 0x3f) as u8,
                0x80 | (*unit & 0x3f) as u8,
            ]);
        }
    }
}

/// Takes the bytes of `units` UTF-16 units from the reader, without decoding them.
pub(crate) fn take<'a>(reader: &mut Reader<'a>, units: usize) -> Result<&'a [u8], Problem> {
    let rest = reader.rest();
    if let Some(ascii) = rest.get(..units)
        && ascii.is_ascii()
    {
        return reader.take(units);
    }
    let mut at = 0usize;
    for _ in 0..units {
        at += match rest.get(at).ok_or(Problem::Truncated)? {
            0..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => return Err(Problem::BadString),
        };
    }
    reader.take(at)
}

/// Decodes what [`write`] wrote. Half a surrogate pair is a [`Problem::BadString`]: it is no Unicode text.
pub(crate) fn decode(bytes: &[u8], budget: &mut Budget) -> Result<String, Problem> {
    // 0xed begins the three bytes of a surrogate; 0xc0 the two of JDK's NUL.
    if bytes.iter().any(|byte| matches!(byte, 0xed | 0xc0)) { decode_units(bytes, budget) } else { budget.utf8(bytes) }
}

fn decode_units(bytes: &[u8], budget: &mut Budget) -> Result<String, Problem> {
    budget.alloc(bytes.len())?;
    // No character is longer as UTF-8 than as units, so this is the only allocation.
    let mut text = String::with_capacity(bytes.len());
    let (mut rest, mut high, mut units) = (bytes, None, 0);
    while !rest.is_empty() {
        let unit = unit(&mut rest).ok_or(Problem::BadString)?;
        units += 1;
        match (high.take(), unit) {
            (None, 0xd800..=0xdbff) => high = Some(unit & 0x3ff),
            (Some(high), 0xdc00..=0xdfff) => {
                text.extend(char::from_u32(0x10000 + (high << 10 | unit & 0x3ff)));
            }
            // Half a pair alone is no character.
            (None, _) => text.push(char::from_u32(unit).ok_or(Problem::BadString)?),
            (Some(_), _) => return Err(Problem::BadString),
        }
    }
    if high.is_some() {
        return Err(Problem::BadString);
    }
    budget.units(units)?;
    Ok(text)
}

/// The next unit. Longer forms than needed are refused, as in UTF-8, except for JDK's NUL.
fn unit(rest: &mut &[u8]) -> Option<u32> {
    let (unit, least, tail) = match **rest {
        [a @ 0..=0x7f, ref tail @ ..] => (u32::from(a), 0, tail),
        [a @ 0xc0..=0xdf, b @ 0x80..=0xbf, ref tail @ ..] => (u32::from(a & 0x1f) << 6 | u32::from(b & 0x3f), 0x80, tail),
        [a @ 0xe0..=0xef, b @ 0x80..=0xbf, c @ 0x80..=0xbf, ref tail @ ..] => {
            (u32::from(a & 0x0f) << 12 | u32::from(b & 0x3f) << 6 | u32::from(c & 0x3f), 0x800, tail)
        }
        _ => return None,
    };
    let nul = rest.starts_with(&[0xc0, 0x80]);
    *rest = tail;
    (unit >= least || nul).then_some(unit)
}

/// The longest beginning with at most `units` UTF-16 units that ends between characters, and what follows it.
#[cfg(feature = "hessian")]
pub(crate) fn split(text: &str, units: usize) -> (&str, &str) {
    let mut left = units;
    let at = text.char_indices().find_map(|(at, character)| match left.checked_sub(character.len_utf16()) {
        Some(less) => {
            left = less;
            None
        }
        None => Some(at),
    });
    at.and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// How many bytes [`write_jdk`] appends.
#[cfg(feature = "jdk")]
pub(crate) fn jdk_len(text: &str) -> usize {
    text.bytes().map(|byte| 1 + usize::from(byte == 0) + 2 * usize::from(byte >= 0xf0)).sum()
}

/// Appends the text unit by unit in JDK's way, which is [`write`]'s except that NUL is two bytes.
#[cfg(feature = "jdk")]
pub(crate) fn write_jdk(text: &str, out: &mut Vec<u8>) {
    let mut parts = text.split('\0');
    write(parts.next().unwrap_or_default(), out);
    for part in parts {
        out.extend_from_slice(&[0xc0, 0x80]);
        write(part, out);
    }
}

#[cfg(test)]
mod tests {
    use im_serial::Limits;

    use super::*;

    fn round(text: &str) {
        let mut out = Vec::new();
        write(text, &mut out);
        assert_eq!(units(text), text.encode_utf16().count());
        let mut reader = Reader::new(&out);
        assert_eq!(take(&mut reader, units(text)).unwrap(), out);
        assert_eq!(decode(&out, &mut Budget::new(&Limits::default())).unwrap(), text);
    }

    #[test]
    fn text_survives_and_an_emoji_is_six_bytes() {
        for text in ["", "ascii", "a\0b", "é 你好 \u{ffff}", "😀", "x😀y", "\u{d7ff}\u{e000}"] {
            round(text);
        }
        let mut out = Vec::new();
        write("😀", &mut out);
        assert_eq!(out, [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let budget = || Budget::new(&Limits::default());
        for bytes in [&b"\xed\xa0\xbd"[..], b"\xed\xb8\x80\xed\xa0\xbd", b"\xff", b"\xed\xa0", b"\xf0\x9f\x98\x80\xed", b"\xed\xa0\xbdx",
            b"\xc1\x81\xc0\x80", b"\xe0\x80\x80\xc0\x80"]
        {
            assert_eq!(decode(bytes, &mut budget()), Err(Problem::BadString), "{bytes:02x?}");
        }
        assert_eq!(decode(b"\xc0\x80", &mut budget()).unwrap(), "\0", "JDK's NUL");
        assert_eq!(decode(&[b'x'; 17], &mut Budget::new(&Limits::new(16))), Err(Problem::StringTooLong));
    }
}
