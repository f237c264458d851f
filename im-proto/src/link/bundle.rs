//! Several bodies in one sealed packet, each with its type and packet id: small messages under load cost one seal together.

use alloc::vec::Vec;

use im_codec::MessageType;

/// Most bodies in a bundle.
pub(crate) const MAX_ITEMS: usize = 64;
/// A sealed packet takes no further body beyond so many bytes of plaintext: what arrives is opened before it is long.
pub(crate) const MAX_LEN: usize = 4096;
/// Bodies below this type are about the connection itself, and stand alone.
pub(crate) const FIRST_TYPE: u8 = 22;

/// Type, packet id, length.
pub(crate) const HEAD_LEN: usize = 1 + 8 + 2;

/// A body in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) packet_id: u64,
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

fn head(kind: u8, packet_id: u64, len: u16) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    let [id @ .., high, low] = &mut head;
    if let Some((first, id)) = id.split_first_mut() {
        *first = kind;
        id.copy_from_slice(&packet_id.to_be_bytes());
    }
    [*high, *low] = len.to_be_bytes();
    head
}

/// Makes a bundle of a packet that has a single body so far, whose type stands at `at` and whose bytes end at `end`.
pub(crate) fn begin(out: &mut Vec<u8>, at: usize, packet_id: u64, end: usize) -> Option<()> {
    let kind = *out.get(at)?;
    let len = u16::try_from(end.checked_sub(at + 1)?).ok()?;
    *out.get_mut(at)? = MessageType::BUNDLE.0;
    out.splice(at + 1..at + 1, head(kind, packet_id, len));
    Some(())
}

/// Room for the head of another body, which begins where `out` ends then.
pub(crate) fn open(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; HEAD_LEN]);
}

/// Fills in the head of the body that begins at `body`. `None` if it is too long.
pub(crate) fn close(out: &mut [u8], body: usize, kind: u8, packet_id: u64) -> Option<()> {
    let len = u16::try_from(out.len().checked_sub(body)?).ok()?;
    out.get_mut(body.checked_sub(HEAD_LEN)?..body)?.copy_from_slice(&head(kind, packet_id, len));
    Some(())
}

/// The bodies of a bundle; `None` in the place of what is not one.
pub(crate) fn items(mut rest: &[u8]) -> impl Iterator<Item = Option<Item<'_>>> {
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let item = split(&mut rest);
        if item.is_none() {
            rest = &[];
        }
        Some(item)
    })
}

fn split<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let (kind, after) = rest.split_first()?;
    let (id, after) = after.split_first_chunk::<8>()?;
    let (len, after) = after.split_first_chunk::<2>()?;
    let (body, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
    *rest = after;
    Some(Item { packet_id: u64::from_be_bytes(*id), kind: *kind, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_put_in_comes_out_and_every_cut_is_noticed() {
        let mut out = vec![7, 7, 32];
        out.extend(b"first");
        let end = out.len();
        begin(&mut out, 2, 5, end).unwrap();
        for (kind, id, body) in [(33, u64::MAX, &b""[..]), (35, 0, b"third")] {
            open(&mut out);
            let at = out.len();
            out.extend(body);
            close(&mut out, at, kind, id).unwrap();
        }
        assert_eq!(out[..3], [7, 7, MessageType::BUNDLE.0]);
        let bundle = &out[3..];
        let all: Vec<_> = items(bundle).collect();
        let item = |kind, packet_id, body| Some(Item { packet_id, kind, body });
        assert_eq!(all, [item(32, 5, &b"first"[..]), item(33, u64::MAX, b""), item(35, 0, b"third")]);
        let ends = [0, 16, 27, 43];
        for cut in 0..=bundle.len() {
            let whole = items(&bundle[..cut]).all(|item| item.is_some());
            assert_eq!(whole, ends.contains(&cut), "{cut}");
        }
    }

    #[test]
    fn a_body_that_is_too_long_for_a_head_is_not_put_in() {
        let mut out = vec![32; 65_537];
        assert!(begin(&mut out, 0, 1, 65_537).is_none());
        out.pop();
        assert!(begin(&mut out.clone(), 0, 1, 65_536).is_some());
        open(&mut out);
        let at = out.len();
        out.extend([0; 65_536]);
        assert!(close(&mut out, at, 32, 1).is_none());
    }
}
