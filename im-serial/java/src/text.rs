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
    let mut rest = bytes;
    let units = core::iter::from_fn(|| {
        let (unit, len) = match *rest {
            [] => return None,
            [a @ 0..=0x7f, ..] => (Ok(u16::from(a)), 1),
            [a @ 0xc0..=0xdf, b @ 0x80..=0xbf, ..] => (Ok(u16::from(a & 0x1f) << 6 | u16::from(b & 0x3f)), 2),
            [a @ 0xe0..=0xef, b @ 0x80..=0xbf, c @ 0x80..=0xbf, ..] => {
                (Ok(u16::from(a & 0x0f) << 12 | u16::from(b & 0x3f) << 6 | u16::from(c & 0x3f)), 3)
            }
            _ => (Err(Problem::BadString), rest.len()),
        };
        rest = rest.get(len..).unwrap_or_default();
        Some(unit)
    });
    let mut bad = None;
    let mut count = 0;
    let units = units.map_while(|unit| unit.map_err(|problem| bad = Some(problem)).ok()).inspect(|_| count += 1);
    // No character takes more bytes in UTF-8 than unit by unit, so this is all that is allocated.
    let mut text = String::with_capacity(bytes.len());
    let decoded = char::decode_utf16(units).try_for_each(|character| character.map(|character| text.push(character)));
    if let Some(problem) = bad {
        return Err(problem);
    }
    budget.units(count)?;
    decoded.map(|()| text).map_err(|_| Problem::BadString)
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
        for bytes in [&b"\xed\xa0\xbd"[..], b"\xed\xb8\x80\xed\xa0\xbd", b"\xff", b"\xed\xa0", b"\xf0\x9f\x98\x80\xed"]
        {
            assert_eq!(decode(bytes, &mut budget()), Err(Problem::BadString), "{bytes:02x?}");
        }
        assert_eq!(decode(b"\xc0\x80", &mut budget()).unwrap(), "\0", "JDK's NUL");
        assert_eq!(decode(&[b'x'; 17], &mut Budget::new(&Limits::new(16))), Err(Problem::StringTooLong));
    }
}
