//! Value layouts. Each value starts with a version byte; numbers are big-endian, names have a u16 length, and what must
//! be at the end is checked to be at the end.

use std::sync::Arc;

use im_proto::rights::MemberRole;

use super::keys::{self, Table};
use crate::store::{
    Append, ConversationKey, DeadLetter, EntryKind, Head, Member, NewEntry, OutboxEvent, Positions, Receipt, Standing,
    StoreError, StoredEntry,
};

/// The version of a record layout, unless said otherwise.
const VERSION: u8 = 1;
/// Entries, members and heads have a second layout. The first is read for ever: an entry without a kind is a message, a member
/// without a standing is an ordinary one from the beginning, a head without a first seq is of a log that begins at 1.
const VERSION_2: u8 = 2;

/// The format of the store as a whole: tables, keys and records.
///
/// - 1: messages between two users.
/// - 2: kinds of entries, the index of edits, members with a standing and their list, positions of users.
/// - 3: logs that begin later than at 1, and packet ids that outlive their entry. The first batch that trims raises the format,
///   so a program that knows 2 still opens a store in which nothing was trimmed.
pub(super) const FORMAT: u32 = 3;
/// The format of a store in which nothing was trimmed.
pub(super) const FORMAT_UNTRIMMED: u32 = 2;

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
    let Head { seq, first, epoch } = head;
    let mut out = vec![if first == 1 { VERSION } else { VERSION_2 }];
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    if first != 1 {
        out.extend_from_slice(&first.to_be_bytes());
    }
    out
}

pub(super) fn decode_head(key: &[u8], value: &[u8]) -> Result<Head, StoreError> {
    let (mut r, version) = Reader::versioned(Table::Heads, key, value, VERSION_2)?;
    let (epoch, seq) = (r.u64()?, r.u64()?);
    let first = if version == VERSION { 1 } else { r.u64()? };
    r.end()?;
    if first == 0 || first.checked_sub(1).is_some_and(|before| before > seq) {
        return Err(r.corrupt("the log begins beyond its head"));
    }
    Ok(Head { seq, first, epoch })
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

pub(super) fn encode_member(member: &Member) -> Vec<u8> {
    let Standing { role, muted, banned } = member.standing;
    let role = match role {
        MemberRole::Member => 0,
        MemberRole::Admin => 1,
        MemberRole::Owner => 2,
    };
    let mut out = vec![VERSION_2, role, u8::from(muted), u8::from(banned)];
    out.extend_from_slice(&member.since.to_be_bytes());
    out
}

pub(super) fn decode_member(key: &[u8], value: &[u8]) -> Result<Member, StoreError> {
    let (mut r, version) = Reader::versioned(Table::Members, key, value, VERSION_2)?;
    if version == VERSION {
        return r.end().map(|()| Member { standing: Standing::default(), since: 0 });
    }
    let role = match r.byte()? {
        0 => MemberRole::Member,
        1 => MemberRole::Admin,
        2 => MemberRole::Owner,
        _ => return Err(r.corrupt("an unknown role")),
    };
    let standing = Standing { role, muted: r.flag()?, banned: r.flag()? };
    let member = Member { standing, since: r.u64()? };
    r.end().map(|()| member)
}

/// A row that says all in its key: of the list of members, of the index of edits, and of packet ids without an entry.
pub(super) fn encode_mark() -> Vec<u8> {
    vec![VERSION]
}

pub(super) fn check_mark(table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    Reader::new(table, key, value)?.end()
}

pub(super) fn encode_positions(positions: &Positions) -> Vec<u8> {
    let mut out = vec![VERSION];
    for number in [positions.epoch, positions.delivered, positions.read] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out
}

pub(super) fn decode_positions(key: &[u8], value: &[u8]) -> Result<Positions, StoreError> {
    let mut r = Reader::new(Table::Positions, key, value)?;
    let positions = Positions { epoch: r.u64()?, delivered: r.u64()?, read: r.u64()? };
    r.end().map(|()| positions)
}

/// What was stored under a packet id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dedup {
    pub(super) digest: [u8; 32],
    pub(super) receipt: Receipt,
    pub(super) conversation: Arc<str>,
}

impl Dedup {
    /// How an entry with this packet id is answered now.
    pub(super) fn outcome(&self, entry: &NewEntry) -> Append {
        let same = self.digest == entry.digest && *self.conversation == *entry.conversation.as_str();
        if same { Append::AlreadyStored(self.receipt) } else { Append::Conflict(self.receipt) }
    }
}

pub(super) fn encode_dedup(message: &NewEntry, receipt: Receipt) -> Vec<u8> {
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

/// A new entry as its row.
pub(super) fn encode_new(entry: &NewEntry, recalled: bool) -> Vec<u8> {
    let NewEntry { message_id, time_ms, packet_id, kind, content_type, .. } = *entry;
    let content: &[u8] = if recalled { &[] } else { &entry.content };
    let content_type = if recalled { 0 } else { content_type };
    encode(&[message_id, time_ms, packet_id], (kind, recalled), content_type, [&entry.from, &entry.device], content)
}

/// The row that is left of an entry whose content was recalled.
pub(super) fn encode_erased(entry: &StoredEntry) -> Vec<u8> {
    let StoredEntry { message_id, time_ms, packet_id, kind, .. } = *entry;
    encode(&[message_id, time_ms, packet_id], (kind, true), 0, [&entry.from, &entry.device], &[])
}

fn encode(
    numbers: &[u64; 3],
    (kind, recalled): (EntryKind, bool),
    content_type: u16,
    names: [&str; 2],
    content: &[u8],
) -> Vec<u8> {
    let (code, about) = kind_code(kind);
    let mut out = Vec::with_capacity(1 + 24 + 10 + 2 + 4 + names[0].len() + names[1].len() + content.len());
    out.push(VERSION_2);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
    out.extend_from_slice(&[code, u8::from(recalled)]);
    out.extend_from_slice(&about.to_be_bytes());
    out.extend_from_slice(&content_type.to_be_bytes());
    names.iter().for_each(|name| push_name(&mut out, name));
    out.extend_from_slice(content);
    out
}

/// The kinds of the wire, see `docs/spec/session.md`.
const fn kind_code(kind: EntryKind) -> (u8, u64) {
    match kind {
        EntryKind::Message => (0, 0),
        EntryKind::Recall { about } => (1, about),
        EntryKind::Edit { about } => (2, about),
        EntryKind::React { about } => (3, about),
        EntryKind::Unreact { about } => (4, about),
        EntryKind::Sealed => (7, 0),
    }
}

pub(super) fn decode_entry(key: &[u8], value: &[u8]) -> Result<StoredEntry, StoreError> {
    let (entry, content) = decode_place(key, value)?;
    Ok(StoredEntry { content: content.to_vec(), ..entry })
}

/// An entry, and its content apart: for who has no use for a copy of that.
pub(super) fn decode_place<'a>(key: &[u8], value: &'a [u8]) -> Result<(StoredEntry, &'a [u8]), StoreError> {
    let (mut r, version) = Reader::versioned(Table::Log, key, value, VERSION_2)?;
    let (message_id, time_ms, packet_id) = (r.u64()?, r.u64()?, r.u64()?);
    let (kind, recalled) = if version == VERSION {
        (EntryKind::Message, false)
    } else {
        let (code, recalled, about) = (r.byte()?, r.flag()?, r.u64()?);
        let kind = match code {
            0 => EntryKind::Message,
            1 => EntryKind::Recall { about },
            2 => EntryKind::Edit { about },
            3 => EntryKind::React { about },
            4 => EntryKind::Unreact { about },
            7 => EntryKind::Sealed,
            _ => return Err(r.corrupt("an unknown kind of entry")),
        };
        (kind, recalled)
    };
    let entry = StoredEntry {
        seq: keys::log_seq(key)?,
        message_id,
        time_ms,
        packet_id,
        kind,
        recalled,
        content_type: u16::from_be_bytes(r.array()?),
        from: r.name()?,
        device: r.name()?,
        content: Vec::new(),
    };
    Ok((entry, r.rest))
}

pub(super) fn encode_event(event: &OutboxEvent) -> Vec<u8> {
    let mut out = vec![VERSION];
    push_event(&mut out, event);
    out
}

pub(super) fn decode_event(key: &[u8], value: &[u8]) -> Result<OutboxEvent, StoreError> {
    let mut r = Reader::new(Table::Outbox, key, value)?;
    let event = r.event()?;
    r.end().map(|()| event)
}

pub(super) fn encode_dead_letter(letter: &DeadLetter) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&letter.answer.to_be_bytes());
    push_event(&mut out, &letter.event);
    out
}

pub(super) fn decode_dead_letter(key: &[u8], value: &[u8]) -> Result<DeadLetter, StoreError> {
    let mut r = Reader::new(Table::DeadLetters, key, value)?;
    let answer = u16::from_be_bytes(r.array()?);
    let event = r.event()?;
    r.end().map(|()| DeadLetter { event, answer })
}

fn push_event(out: &mut Vec<u8>, event: &OutboxEvent) {
    for number in [event.message_id, event.seq, event.since_ms] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    push_name(out, event.conversation.as_str());
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// Takes a value apart from the front; knows where it came from, for the error.
struct Reader<'k, 'a> {
    table: Table,
    key: &'k [u8],
    rest: &'a [u8],
}

impl<'k, 'a> Reader<'k, 'a> {
    fn new(table: Table, key: &'k [u8], value: &'a [u8]) -> Result<Self, StoreError> {
        Self::versioned(table, key, value, VERSION).map(|(reader, _)| reader)
    }

    /// For a record with several layouts: the reader, and which one it is.
    fn versioned(table: Table, key: &'k [u8], value: &'a [u8], latest: u8) -> Result<(Self, u8), StoreError> {
        let mut reader = Self { table, key, rest: value };
        let version = reader.byte()?;
        if (VERSION..=latest).contains(&version) {
            Ok((reader, version))
        } else {
            Err(reader.corrupt("an unknown record version"))
        }
    }

    fn byte(&mut self) -> Result<u8, StoreError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, StoreError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt("a flag is neither 0 nor 1")),
        }
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

    fn event(&mut self) -> Result<OutboxEvent, StoreError> {
        let number = keys::event_number(self.table, self.key)?;
        let (message_id, seq, since_ms) = (self.u64()?, self.u64()?, self.u64()?);
        let conversation = ConversationKey::new(self.name()?).map_err(|_| self.corrupt("it names no conversation"))?;
        Ok(OutboxEvent { number, conversation, seq, message_id, since_ms })
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

    fn message() -> NewEntry {
        NewEntry {
            conversation: ConversationKey::new("ann:bob").unwrap(),
            members: Vec::new(),
            from: "ann".into(),
            device: "phone".into(),
            packet_id: 3,
            digest: [9; 32],
            message_id: 4,
            time_ms: 5,
            kind: EntryKind::Edit { about: 2 },
            content_type: 6,
            content: b"hi".to_vec(),
        }
    }

    #[test]
    fn records_come_back_as_written() {
        let (m, receipt) = (message(), Receipt { message_id: 4, seq: 8, time_ms: 5 });
        let key = keys::log(&m.conversation, 8);
        let stored = decode_entry(&key, &encode_new(&m, false)).unwrap();
        assert_eq!((stored.kind, stored.recalled), (m.kind, false));
        let erased = decode_entry(&key, &encode_erased(&stored)).unwrap();
        assert_eq!(erased, StoredEntry { recalled: true, content_type: 0, content: Vec::new(), ..stored.clone() });
        assert_eq!(decode_entry(&key, &encode_new(&m, true)).unwrap(), erased);
        assert_eq!((stored.seq, stored.message_id, stored.time_ms, stored.packet_id), (8, 4, 5, 3));
        assert_eq!(
            (&*stored.from, &*stored.device, stored.content_type, &*stored.content),
            ("ann", "phone", 6, &b"hi"[..])
        );
        let dedup = decode_dedup(b"k", &encode_dedup(&m, receipt)).unwrap();
        assert_eq!(dedup, Dedup { digest: [9; 32], receipt, conversation: "ann:bob".into() });
        for first in [1, 2, 3] {
            let head = Head { seq: 2, first, epoch: 7 };
            assert_eq!(decode_head(b"k", &encode_head(head)), Ok(head));
        }
        for first in [0, 4, u64::MAX] {
            assert!(decode_head(b"k", &encode_head(Head { seq: 2, first, epoch: 7 })).is_err(), "{first}");
        }
        assert_eq!(decode_cursor(b"k", &encode_cursor(11)), Ok(11));
        assert_eq!(decode_format(&encode_format(12)), Ok(12));
        let positions = Positions { epoch: 1, delivered: 3, read: 2 };
        assert_eq!(decode_positions(b"k", &encode_positions(&positions)), Ok(positions));
        let event = OutboxEvent { number: 9, conversation: m.conversation.clone(), seq: 8, message_id: 4, since_ms: 5 };
        let letter = DeadLetter { event: event.clone(), answer: 503 };
        assert_eq!(decode_event(&keys::event(9), &encode_event(&event)), Ok(event));
        assert_eq!(decode_dead_letter(&keys::event(9), &encode_dead_letter(&letter)), Ok(letter));
        let member = Member { standing: Standing { muted: true, ..Standing::of(MemberRole::Admin) }, since: 9 };
        assert_eq!(decode_member(b"k", &encode_member(&member)), Ok(member));
        assert_eq!(decode_member(b"k", &[VERSION]), Ok(Member { standing: Standing::default(), since: 0 }));
    }

    #[test]
    fn every_cut_and_every_other_version_is_an_error() {
        let m = message();
        let receipt = Receipt { message_id: 4, seq: 8, time_ms: 5 };
        let (log, dedup) = (encode_new(&m, false), encode_dedup(&m, receipt));
        let (head, cursor) = (encode_head(Head { seq: 1, first: 2, epoch: 1 }), encode_cursor(1));
        let key = keys::log(&m.conversation, 8);
        for end in 0..log.len() - m.content.len() {
            assert!(matches!(decode_entry(&key, &log[..end]), Err(StoreError::Corrupt(_))), "cut at {end}");
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
        let newer = [&[3], &head[1..]].concat();
        assert!(decode_head(b"k", &newer).is_err());
        assert!(decode_head(b"k", &[&head[..], &[0]].concat()).is_err());
    }
}
