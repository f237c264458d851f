//! Value layouts. Each value starts with a version byte; numbers are big-endian, names have a u16 length, and what must
//! be at the end is checked to be at the end.

use std::sync::Arc;

use super::keys::{self, Table};
use crate::store::{Head, NewMessage, Receipt, StoreError, StoredMessage};

/// The version of all record layouts in this file.
const VERSION: u8 = 1;

/// The format of the store as a whole: tables, keys and records.
pub(super) const FORMAT: u32 = 1;

pub(super) fn encode_format(format: u32) -> Vec<u8> {
    format.to_be_bytes().to_vec()
}

/// The format record has no version byte: it must be readable for ever.
pub(super) fn decode_format(value: &[u8]) -> Result<u32, StoreError> {
    let bytes = value.first_chunk::<4>();
    bytes
        .map(|b| u32::from_be_bytes(*b))
        .ok_or_else(|| StoreError::corrupt(Table::Meta.name(), keys::FORMAT, "the value is too short"))
}

pub(super) fn encode_head(head: Head) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&head.epoch.to_be_bytes());
    out.extend_from_slice(&head.seq.to_be_bytes());
    out
}

pub(super) fn decode_head(key: &[u8], value: &[u8]) -> Result<Head, StoreError> {
    let mut r = Reader::new(Table::Heads, key, value)?;
    let head = Head { epoch: r.u64()?, seq: r.u64()? };
    r.end()?;
    Ok(head)
}

pub(super) fn encode_cursor(seq: u64) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&seq.to_be_bytes());
    out
}

pub(super) fn decode_cursor(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let mut r = Reader::new(Table::Cursors, key, value)?;
    let seq = r.u64()?;
    r.end()?;
    Ok(seq)
}

/// A membership row says all in its key.
pub(super) fn encode_member() -> Vec<u8> {
    vec![VERSION]
}

/// What was stored under a packet id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dedup {
    pub(super) digest: [u8; 32],
    pub(super) receipt: Receipt,
    pub(super) conversation: Arc<str>,
}

pub(super) fn encode_dedup(message: &NewMessage, receipt: Receipt) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + 32 + 24 + 2 + message.conversation.as_str().len());
    out.push(VERSION);
    out.extend_from_slice(&message.digest);
    out.extend_from_slice(&receipt.message_id.to_be_bytes());
    out.extend_from_slice(&receipt.seq.to_be_bytes());
    out.extend_from_slice(&receipt.time_ms.to_be_bytes());
    push_name(&mut out, message.conversation.as_str());
    out
}

pub(super) fn decode_dedup(key: &[u8], value: &[u8]) -> Result<Dedup, StoreError> {
    let mut r = Reader::new(Table::Dedup, key, value)?;
    let digest = r.array()?;
    let receipt = Receipt { message_id: r.u64()?, seq: r.u64()?, time_ms: r.u64()? };
    let conversation = r.name()?;
    r.end()?;
    Ok(Dedup { digest, receipt, conversation })
}

pub(super) fn encode_message(message: &NewMessage) -> Vec<u8> {
    let names = message.from.len() + message.device.len();
    let mut out = Vec::with_capacity(1 + 24 + 2 + 4 + names + message.content.len());
    out.push(VERSION);
    out.extend_from_slice(&message.message_id.to_be_bytes());
    out.extend_from_slice(&message.time_ms.to_be_bytes());
    out.extend_from_slice(&message.packet_id.to_be_bytes());
    out.extend_from_slice(&message.content_type.to_be_bytes());
    push_name(&mut out, &message.from);
    push_name(&mut out, &message.device);
    out.extend_from_slice(&message.content);
    out
}

pub(super) fn decode_message(key: &[u8], value: &[u8]) -> Result<StoredMessage, StoreError> {
    let mut r = Reader::new(Table::Log, key, value)?;
    Ok(StoredMessage {
        seq: keys::log_seq(key)?,
        message_id: r.u64()?,
        time_ms: r.u64()?,
        packet_id: r.u64()?,
        content_type: u16::from_be_bytes(r.array()?),
        from: r.name()?,
        device: r.name()?,
        content: r.rest.to_vec(),
    })
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// Takes a value apart from the front; knows where it came from, for the error.
struct Reader<'a> {
    table: Table,
    key: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(table: Table, key: &'a [u8], value: &'a [u8]) -> Result<Self, StoreError> {
        let mut reader = Self { table, key, rest: value };
        if reader.array::<1>()? == [VERSION] { Ok(reader) } else { Err(reader.corrupt("an unknown record version")) }
    }

    fn corrupt(&self, problem: &'static str) -> StoreError {
        StoreError::corrupt(self.table.name(), self.key, problem)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.corrupt("the value is too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn name(&mut self) -> Result<Arc<str>, StoreError> {
        let len = usize::from(u16::from_be_bytes(self.array()?));
        let (name, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.corrupt("the value is too short"))?;
        self.rest = rest;
        std::str::from_utf8(name).map(Arc::from).map_err(|_| self.corrupt("a name is not UTF-8"))
    }

    fn end(&self) -> Result<(), StoreError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt("the value is too long")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConversationKey;

    fn message() -> NewMessage {
        NewMessage {
            conversation: ConversationKey::new("ann:bob").unwrap(),
            members: Vec::new(),
            from: "ann".into(),
            device: "phone".into(),
            packet_id: 3,
            digest: [9; 32],
            message_id: 4,
            time_ms: 5,
            content_type: 6,
            content: b"hi".to_vec(),
        }
    }

    #[test]
    fn records_come_back_as_written() {
        let (m, receipt) = (message(), Receipt { message_id: 4, seq: 8, time_ms: 5 });
        let stored = decode_message(&keys::log(&m.conversation, 8), &encode_message(&m)).unwrap();
        assert_eq!((stored.seq, stored.message_id, stored.time_ms, stored.packet_id), (8, 4, 5, 3));
        assert_eq!(
            (&*stored.from, &*stored.device, stored.content_type, &*stored.content),
            ("ann", "phone", 6, &b"hi"[..])
        );
        let dedup = decode_dedup(b"k", &encode_dedup(&m, receipt)).unwrap();
        assert_eq!(dedup, Dedup { digest: [9; 32], receipt, conversation: "ann:bob".into() });
        let head = Head { seq: 2, epoch: 7 };
        assert_eq!(decode_head(b"k", &encode_head(head)), Ok(head));
        assert_eq!(decode_cursor(b"k", &encode_cursor(11)), Ok(11));
        assert_eq!(decode_format(&encode_format(12)), Ok(12));
    }

    #[test]
    fn every_cut_and_every_other_version_is_an_error() {
        let m = message();
        let receipt = Receipt { message_id: 4, seq: 8, time_ms: 5 };
        let (log, dedup) = (encode_message(&m), encode_dedup(&m, receipt));
        let (head, cursor) = (encode_head(Head { seq: 1, epoch: 1 }), encode_cursor(1));
        let key = keys::log(&m.conversation, 8);
        for end in 0..log.len() - m.content.len() {
            assert!(matches!(decode_message(&key, &log[..end]), Err(StoreError::Corrupt(_))), "cut at {end}");
        }
        for end in 0..dedup.len() {
            assert!(matches!(decode_dedup(b"k", &dedup[..end]), Err(StoreError::Corrupt(_))), "cut at {end}");
        }
        for end in 0..head.len() {
            assert!(decode_head(b"k", &head[..end]).is_err(), "cut at {end}");
        }
        for end in 0..cursor.len() {
            assert!(decode_cursor(b"k", &cursor[..end]).is_err(), "cut at {end}");
        }
        let newer = [&[2], &head[1..]].concat();
        assert!(decode_head(b"k", &newer).is_err());
        assert!(decode_head(b"k", &[&head[..], &[0]].concat()).is_err());
    }
}
