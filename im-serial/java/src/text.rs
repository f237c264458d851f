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

/// Appends the text unit by unit. Nearly all of it is copied as it is: only what is longer than three bytes changes.
pub(crate) fn write(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((before, from)) = rest.bytes().position(|byte| byte >= 0xf0).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(before.as_bytes());
        let mut characters = from.chars();
        for unit in characters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(&[
                0xe0 | (*unit >> 12) as u8,
                0x80 | (*unit >> 6 & 0x3f) as u8,
                0x80 | (*unit & 0x3f) as u8,
            ]);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Takes the bytes of `units` UTF-16 units from the reader. Whether they are text is for [`decode`] to say.
pub(crate) fn take<'a>(reader: &mut Reader<'a>, units: usize) -> Result<&'a [u8], Problem> {
    const BLOCK: usize = 32;
    let begins = |byte: &u8| *byte & 0xc0 != 0x80;
    let rest = reader.rest();
    let (mut at, mut left) = (0usize, units);
    // As many whole blocks as cannot end behind the string: the compiler looks at many bytes at once.
    while left > BLOCK
        && let Some(block) = rest.get(at..at + BLOCK)
    {
        left -= block.iter().map(|byte| usize::from(begins(byte))).sum::<usize>();
        at += BLOCK;
    }
    // The rest of a unit that began in the last block.
    while at > 0
        && let Some(byte) = rest.get(at)
        && !begins(byte)
    {
        at += 1;
    }
    for _ in 0..left {
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
    // Four bytes are no unit; 0xed begins the three bytes of a surrogate, 0xc0 the two of JDK's NUL. Without an early
    // end, so that the compiler can look at many bytes at once.
    let (long, special) = bytes.iter().fold((false, false), |(long, special), byte| {
        (long | (*byte >= 0xf0), special | (*byte == 0xed) | (*byte == 0xc0))
    });
    if long {
        Err(Problem::BadString)
    } else if special {
        decode_units(bytes, budget)
    } else {
        budget.utf8(bytes)
    }
}

fn decode_units(bytes: &[u8], budget: &mut Budget) -> Result<String, Problem> {
    budget.alloc(bytes.len())?;
    // No character is longer as UTF-8 than as units, so this is the only allocation.
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        // Up to a surrogate or JDK's NUL it is plain UTF-8. 0xed begins other characters too.
        let special = |pair: &[u8]| matches!(pair, [0xed, 0xa0..=0xbf] | [0xc0, _]);
        let at = rest.windows(2).position(special).unwrap_or(rest.len());
        let (plain, from) = rest.split_at_checked(at).ok_or(Problem::BadString)?;
        text.push_str(core::str::from_utf8(plain).map_err(|_| Problem::BadString)?);
        rest = from;
        if rest.is_empty() {
            break;
        }
        match unit(&mut rest).ok_or(Problem::BadString)? {
            0 => text.push('\0'),
            high @ 0xd800..=0xdbff => match unit(&mut rest).ok_or(Problem::BadString)? {
                low @ 0xdc00..=0xdfff => {
                    text.extend(char::from_u32(0x10000 + ((high & 0x3ff) << 10 | low & 0x3ff)));
                }
                // Half a pair alone is no character.
                _ => return Err(Problem::BadString),
            },
            _ => return Err(Problem::BadString),
        }
    }
    budget.units(units(&text))?;
    Ok(text)
}

/// The next unit. Longer forms than needed are refused, as in UTF-8, except for JDK's NUL.
fn unit(rest: &mut &[u8]) -> Option<u32> {
    let (unit, least, tail) = match **rest {
        [a @ 0..=0x7f, ref tail @ ..] => (u32::from(a), 0, tail),
        [a @ 0xc0..=0xdf, b @ 0x80..=0xbf, ref tail @ ..] => {
            (u32::from(a & 0x1f) << 6 | u32::from(b & 0x3f), 0x80, tail)
        }
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
        // What follows may look like the rest of a character.
        let followed = [&out[..], &[0x80, 0xbf]].concat();
        assert_eq!(take(&mut Reader::new(&followed), units(text)).unwrap(), out);
        assert_eq!(decode(&out, &mut Budget::new(&Limits::default())).unwrap(), text);
    }

    #[test]
    fn text_survives_and_an_emoji_is_six_bytes() {
        for text in ["", "ascii", "a\0b", "é 你好 \u{ffff}", "😀", "x😀y", "\u{d7ff}\u{e000}"] {
            for times in 0..40 {
                round(&text.repeat(times));
            }
        }
        let mut out = Vec::new();
        write("😀", &mut out);
        assert_eq!(out, [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let budget = || Budget::new(&Limits::default());
        for bytes in [
            &b"\xed\xa0\xbd"[..],
            b"\xed\xb8\x80\xed\xa0\xbd",
            b"\xff",
            b"\xed\xa0",
            b"\xf0\x9f\x98\x80\xed",
            b"\xed\xa0\xbdx",
            b"\xc1\x81\xc0\x80",
            b"\xe0\x80\x80\xc0\x80",
            "😀".as_bytes(),
        ] {
            assert_eq!(decode(bytes, &mut budget()), Err(Problem::BadString), "{bytes:02x?}");
        }
        assert_eq!(decode(b"\xc0\x80", &mut budget()).unwrap(), "\0", "JDK's NUL");
        assert_eq!(decode(&[b'x'; 17], &mut Budget::new(&Limits::new(16))), Err(Problem::StringTooLong));
    }
}
