//! Whether the rows of all tables are there, decode, and agree with each other. Each walk streams over one table of one
//! snapshot and looks up what a row points to, so memory does not grow with the store.
//!
//! ```text
//!             full                                               quick, at open
//! heads       the entries at its ends are there, none outside    the same
//! log         dense from its first, decodes, has its packet id,  the same for the last entries of each conversation
//!             what was recalled is erased, edits are indexed
//! dedup       points at the entry with this packet id, or at     those of these entries
//!             one that was trimmed, and is going to expire then
//! edits       points at an edit of that message
//! members     has a row in the roster, and a roster row has one here
//! cursors,    not beyond the head
//! positions
//! outbox      its entry is there, or was trimmed
//! expiring    its packet id is there, and points at what was trimmed
//! ```

#[cfg(test)]
mod tests;

use ::fjall::{Readable, Snapshot};

use super::{
    directory::{self, Tables},
    keys::{self, Table},
    record,
};
use crate::store::{ConversationKey, EntryKind, Head, OutboxEvent, StoreError, StoredEntry, Verification};

/// The quick check looks at so many entries at the end of each log.
const TAIL: u64 = 8;
/// So many rows are a line in the log.
const PROGRESS: u64 = 1_000_000;

type Checked = Result<(), StoreError>;

/// What the journal of an unclean end could have touched: the head of each conversation with its last entries and their
/// packet ids. Those are written by every append, in one atomic batch, so a batch that is there in part shows here. The first
/// damage is the error.
pub(super) fn quick(tables: &Tables) -> Checked {
    let check = Check { tables, snapshot: tables.db.snapshot() };
    let mut conversations = 0_u64;
    check.each(Table::Heads, |key, value| {
        let (conversation, head) = check.head_row(key, value)?;
        let mut expected = head.seq.saturating_sub(TAIL).max(head.trimmed()).saturating_add(1);
        let range = keys::log(&conversation, expected)..=keys::log(&conversation, head.seq);
        for row in check.snapshot.range(tables.keyspace(Table::Log), range) {
            let (key, value) = row.into_inner().map_err(directory::engine)?;
            if keys::log_seq(&key)? != expected {
                return Err(missing_before(&key));
            }
            let entry = record::decode_entry(&key, &value)?;
            check.packet_id(&conversation, &entry)?;
            expected = expected.saturating_add(1);
        }
        conversations = conversations.saturating_add(1);
        if conversations.is_multiple_of(PROGRESS / 10) {
            tracing::info!(conversations, "checking the message store");
        }
        Ok(())
    })?;
    tracing::info!(conversations, "the message store was checked: heads and last entries agree");
    Ok(())
}

/// Everything. Only an error that is not about one record ends it early.
pub(super) fn full(tables: &Tables) -> Result<Verification, StoreError> {
    let check = Check { tables, snapshot: tables.db.snapshot() };
    let mut found = Verification::default();
    check.log(&mut found)?;
    for table in Table::DATA.into_iter().filter(|table| *table != Table::Log) {
        check.each(table, |key, value| {
            count(&mut found);
            let outcome = match table {
                Table::Heads => {
                    found.conversations = found.conversations.saturating_add(1);
                    check.head_row(key, value).map(drop)
                }
                Table::Dedup => check.dedup_row(key, value),
                Table::Edits => check.edit_row(key, value),
                Table::Members => check.member_row(key, value),
                Table::Roster => check.roster_row(key, value),
                Table::Cursors => check.cursor_row(key, value),
                Table::Positions => check.positions_row(key, value),
                Table::Outbox => check.event_row(table, key, record::decode_event(key, value)),
                Table::DeadLetters => {
                    check.event_row(table, key, record::decode_dead_letter(key, value).map(|letter| letter.event))
                }
                Table::Expiring => check.expiring_row(key, value),
                Table::Meta | Table::Log => Ok(()),
            };
            found.note(outcome).map(drop)
        })?;
    }
    Ok(found)
}

fn count(found: &mut Verification) {
    found.rows = found.rows.saturating_add(1);
    if found.rows.is_multiple_of(PROGRESS) {
        tracing::info!(rows = found.rows, damaged = found.damaged, "verifying the message store");
    }
}

/// One state of the store.
struct Check<'a> {
    tables: &'a Tables,
    snapshot: Snapshot,
}

impl Check<'_> {
    fn each(&self, table: Table, mut row: impl FnMut(&[u8], &[u8]) -> Checked) -> Checked {
        for found in self.snapshot.iter(self.tables.keyspace(table)) {
            let (key, value) = found.into_inner().map_err(|error| in_table(table, error))?;
            self.tables.check_open()?;
            row(&key, &value)?;
        }
        Ok(())
    }

    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        decode: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let value = self.snapshot.get(self.tables.keyspace(table), key).map_err(|error| in_table(table, error))?;
        value.map(|value| decode(key, &value)).transpose()
    }

    /// The head that a row of another table needs.
    fn head(&self, conversation: &ConversationKey) -> Result<Head, StoreError> {
        let key = keys::head(conversation);
        let head = self.get(Table::Heads, &key, record::decode_head)?;
        head.ok_or_else(|| corrupt(Table::Heads, &key, "it is missing, and other rows are of this conversation"))
    }

    /// The entry, if it is there and not itself damaged, which is told where the log is walked.
    fn entry(&self, conversation: &ConversationKey, seq: u64) -> Result<Option<StoredEntry>, StoreError> {
        match self.get(Table::Log, &keys::log(conversation, seq), record::decode_entry) {
            Err(StoreError::Corrupt(_)) => Ok(None),
            entry => entry,
        }
    }

    /// Up to where a log was trimmed; 0 where the head is damaged or missing, which is told elsewhere.
    fn trimmed(&self, conversation: &ConversationKey) -> Result<u64, StoreError> {
        match self.get(Table::Heads, &keys::head(conversation), record::decode_head) {
            Ok(head) => Ok(head.unwrap_or_default().trimmed()),
            Err(StoreError::Corrupt(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Walks all logs: one conversation after the other, each from its first seq.
    fn log(&self, found: &mut Verification) -> Checked {
        let mut current: Option<(ConversationKey, u64)> = None;
        self.each(Table::Log, |key, value| {
            count(found);
            let Some((conversation, seq)) = found.note(keys::log_parts(key))? else { return Ok(()) };
            let before = match current.take() {
                Some((same, before)) if same == conversation => before,
                _ => {
                    found.note(self.head(&conversation))?;
                    self.trimmed(&conversation)?
                }
            };
            // What lies before the beginning is told with the head.
            if seq > before && seq != before.saturating_add(1) {
                found.note::<()>(Err(missing_before(key)))?;
            }
            if let Some(entry) = found.note(record::decode_entry(key, value))? {
                found.note(self.packet_id(&conversation, &entry))?;
                found.note(self.effects(&conversation, key, &entry))?;
            }
            current = Some((conversation, seq.max(before)));
            Ok(())
        })
    }

    /// The row that tells a retry of this entry.
    fn packet_id(&self, conversation: &ConversationKey, entry: &StoredEntry) -> Checked {
        let key = keys::dedup(&entry.from, &entry.device, entry.packet_id);
        let Some(row) = self.get(Table::Dedup, &key, record::decode_dedup)? else {
            return Err(corrupt(Table::Dedup, &key, "it is missing, and the log has the entry"));
        };
        let place = (row.receipt.seq, row.receipt.message_id, &*row.conversation);
        if place != (entry.seq, entry.message_id, conversation.as_str()) {
            return Err(corrupt(Table::Dedup, &key, "it points at another entry than the one with this packet id"));
        }
        Ok(())
    }

    /// What an entry must have left elsewhere.
    fn effects(&self, conversation: &ConversationKey, key: &[u8], entry: &StoredEntry) -> Checked {
        if entry.recalled && !entry.content.is_empty() {
            return Err(corrupt(Table::Log, key, "it was recalled and still has content"));
        }
        match entry.kind {
            EntryKind::Edit { about } if !entry.recalled => {
                let key = keys::edit(conversation, about, entry.seq);
                let row = self.get(Table::Edits, &key, |key, value| record::check_mark(Table::Edits, key, value))?;
                row.ok_or_else(|| corrupt(Table::Edits, &key, "it is missing, and the log has the edit"))
            }
            EntryKind::Recall { about } => {
                let target = self.entry(conversation, about)?.filter(|target| target.kind.is_message());
                if target.is_some_and(|target| !target.recalled) {
                    let key = keys::log(conversation, about);
                    return Err(corrupt(Table::Log, &key, "it was recalled and is not erased"));
                }
                Ok(())
            }
            EntryKind::Message
            | EntryKind::Sealed
            | EntryKind::Edit { .. }
            | EntryKind::React { .. }
            | EntryKind::Unreact { .. } => Ok(()),
        }
    }

    fn head_row(&self, key: &[u8], value: &[u8]) -> Result<(ConversationKey, Head), StoreError> {
        let conversation = keys::head_conversation(key)?;
        let head = record::decode_head(key, value)?;
        if head.epoch == 0 {
            return Err(corrupt(Table::Heads, key, "it has no epoch"));
        }
        let last = keys::log(&conversation, head.seq);
        let end = keys::log(&conversation, u64::MAX);
        let log = self.tables.keyspace(Table::Log);
        let there = self.snapshot.contains_key(log, &last).map_err(|error| in_table(Table::Log, error))?;
        if head.seq >= head.first && !there {
            return Err(corrupt(Table::Log, &last, "it is missing, and the head of its conversation is there"));
        }
        let first = keys::log(&conversation, head.first);
        if let Some(row) = self.snapshot.range(log, keys::log(&conversation, 0)..first).next() {
            let key = row.key().map_err(|error| in_table(Table::Log, error))?;
            return Err(corrupt(Table::Log, &key, "it lies before the beginning of its log"));
        }
        let mut beyond = self.snapshot.range(log, keys::log(&conversation, head.seq.saturating_add(1))..=end);
        if head.seq < u64::MAX
            && let Some(row) = beyond.next()
        {
            let key = row.key().map_err(|error| in_table(Table::Log, error))?;
            return Err(corrupt(Table::Log, &key, "it lies beyond the head of its conversation"));
        }
        Ok((conversation, head))
    }

    fn dedup_row(&self, key: &[u8], value: &[u8]) -> Checked {
        let (user, device, packet_id) = keys::dedup_parts(key)?;
        let row = record::decode_dedup(key, value)?;
        let conversation = ConversationKey::new(row.conversation)
            .map_err(|_| corrupt(Table::Dedup, key, "it names no conversation"))?;
        let log_key = keys::log(&conversation, row.receipt.seq);
        let entry = match self.get(Table::Log, &log_key, record::decode_entry) {
            Ok(Some(entry)) => entry,
            Ok(None) if row.receipt.seq <= self.trimmed(&conversation)? => {
                let expiring = keys::expiring(row.receipt.time_ms, key);
                let listed = self.get(Table::Expiring, &expiring, |_, _| Ok(()))?;
                return listed
                    .ok_or_else(|| corrupt(Table::Expiring, &expiring, "it is missing, and the entry was trimmed"));
            }
            Ok(None) => return Err(corrupt(Table::Dedup, key, "there is no entry where it points")),
            // Told where the log is walked.
            Err(StoreError::Corrupt(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let same = (&entry.from, &entry.device, entry.packet_id, entry.message_id)
            == (&user, &device, packet_id, row.receipt.message_id);
        if same { Ok(()) } else { Err(corrupt(Table::Dedup, key, "it points at an entry with another packet id")) }
    }

    fn expiring_row(&self, key: &[u8], value: &[u8]) -> Checked {
        record::check_mark(Table::Expiring, key, value)?;
        let (time_ms, dedup) = keys::expiring_parts(key)?;
        keys::dedup_parts(dedup)?;
        let row = match self.get(Table::Dedup, dedup, record::decode_dedup) {
            Ok(row) => row.filter(|row| row.receipt.time_ms == time_ms),
            // Told with that table.
            Err(StoreError::Corrupt(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let conversation = row.as_ref().and_then(|row| ConversationKey::new(row.conversation.clone()).ok());
        let (Some(row), Some(conversation)) = (row, conversation) else {
            return Err(corrupt(Table::Expiring, key, "there is no packet id where it points"));
        };
        let trimmed = row.receipt.seq <= self.trimmed(&conversation)?;
        if trimmed { Ok(()) } else { Err(corrupt(Table::Expiring, key, "the entry of its packet id was not trimmed")) }
    }

    fn edit_row(&self, key: &[u8], value: &[u8]) -> Checked {
        let (conversation, about, seq) = keys::edit_parts(key)?;
        record::check_mark(Table::Edits, key, value)?;
        let log_key = keys::log(&conversation, seq);
        let entry = match self.get(Table::Log, &log_key, record::decode_entry) {
            Ok(entry) => entry.ok_or_else(|| corrupt(Table::Edits, key, "there is no entry where it points"))?,
            Err(StoreError::Corrupt(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if entry.kind != (EntryKind::Edit { about }) {
            return Err(corrupt(Table::Edits, key, "it points at an entry that is no edit of this message"));
        }
        let recalled = self.entry(&conversation, about)?.is_some_and(|message| message.recalled);
        if recalled && !entry.recalled {
            return Err(corrupt(Table::Log, &log_key, "its message was recalled and it is not erased"));
        }
        Ok(())
    }

    fn member_row(&self, key: &[u8], value: &[u8]) -> Checked {
        let (user, conversation) = keys::member_parts(Table::Members, key)?;
        let member = record::decode_member(key, value)?;
        if member.since > self.head(&conversation)?.seq {
            return Err(corrupt(Table::Members, key, "the user came in beyond the head of the conversation"));
        }
        let listed = keys::roster(&conversation, &user);
        let row = self.get(Table::Roster, &listed, |_, _| Ok(()))?;
        row.ok_or_else(|| corrupt(Table::Roster, &listed, "it is missing, and the user is a member"))
    }

    fn roster_row(&self, key: &[u8], value: &[u8]) -> Checked {
        let (conversation, user) = keys::roster_parts(key)?;
        record::check_mark(Table::Roster, key, value)?;
        let member = keys::member(&user, &conversation);
        let row = self.get(Table::Members, &member, |_, _| Ok(()))?;
        row.ok_or_else(|| corrupt(Table::Members, &member, "it is missing, and the roster has the user"))
    }

    fn cursor_row(&self, key: &[u8], value: &[u8]) -> Checked {
        let conversation = keys::cursor_conversation(key)?;
        let cursor = record::decode_cursor(key, value)?;
        let beyond = cursor > self.head(&conversation)?.seq;
        if beyond { Err(corrupt(Table::Cursors, key, "it is beyond the head of the conversation")) } else { Ok(()) }
    }

    fn event_row(&self, table: Table, key: &[u8], event: Result<OutboxEvent, StoreError>) -> Checked {
        let OutboxEvent { conversation, seq, message_id, .. } = event?;
        match self.get(Table::Log, &keys::log(&conversation, seq), record::decode_entry) {
            Ok(Some(entry)) if entry.message_id == message_id => Ok(()),
            Ok(None) if seq <= self.trimmed(&conversation)? => Ok(()),
            Ok(_) => Err(corrupt(table, key, "there is no such entry where it points")),
            // Told where the log is walked.
            Err(StoreError::Corrupt(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn positions_row(&self, key: &[u8], value: &[u8]) -> Checked {
        let (_, conversation) = keys::member_parts(Table::Positions, key)?;
        let positions = record::decode_positions(key, value)?;
        let head = self.head(&conversation)?;
        // Those of another epoch count as none.
        if positions.epoch == head.epoch && positions.delivered.max(positions.read) > head.seq {
            return Err(corrupt(Table::Positions, key, "it is beyond the head of the conversation"));
        }
        Ok(())
    }
}

fn corrupt(table: Table, key: &[u8], problem: &'static str) -> StoreError {
    StoreError::corrupt(table.name(), key, problem)
}

fn missing_before(key: &[u8]) -> StoreError {
    corrupt(Table::Log, key, "entries before it are missing")
}

/// The engine finds damage too, by its checksums, and does not say where.
fn in_table(table: Table, error: ::fjall::Error) -> StoreError {
    let error = directory::engine(error);
    if let StoreError::Engine(why) = error {
        StoreError::Engine(format!("in the table {}: {why}", table.name()).into())
    } else {
        error
    }
}
