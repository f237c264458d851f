//! What each write reads and which rows it makes, on top of the rows of the same batch. Each operation reads all it needs
//! before it stages its first row, so an error leaves nothing half staged.

use std::collections::BTreeMap;

use im_proto::receipts;

use super::{
    keys::{self, Table},
    outbox::OutboxState,
    record,
    writer::Disk,
};
use crate::store::{
    Append, ConversationKey, EntryKind, Head, MAX_EDITS, Member, MemberChange, NewEntry, Positions, Receipt,
    StoreError, StoredEntry,
};

/// Rows to write in one atomic batch; `None` removes one. Later rows of the batch see earlier ones here before they look
/// on disk.
pub(super) type Rows = BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>;

/// The disk with a batch before it.
pub(super) struct Stage<'a, D> {
    pub(super) disk: &'a D,
    pub(super) rows: &'a mut Rows,
    pub(super) outbox: &'a mut OutboxState,
}

impl<D: Disk> Stage<'_, D> {
    pub(super) fn append(&mut self, entry: &NewEntry) -> Result<Append, StoreError> {
        let dedup_key = keys::dedup(&entry.from, &entry.device, entry.packet_id);
        if let Some(value) = self.get(Table::Dedup, &dedup_key)? {
            return record::decode_dedup(&dedup_key, &value).map(|first| first.outcome(entry));
        }
        let head_key = keys::head(&entry.conversation);
        let known = self.head(&head_key)?;
        let head = known.map_or_else(new_head, Ok)?;
        let Some(seq) = head.seq.checked_add(1) else {
            return Err(StoreError::corrupt(Table::Heads.name(), &head_key, "the seq is at its end"));
        };
        let receipt = Receipt { message_id: entry.message_id, seq, time_ms: entry.time_ms };
        let (recalled, effects) = match entry.kind {
            EntryKind::Recall { about } => (false, self.erasures(&entry.conversation, about)?),
            EntryKind::Edit { about } => self.edit(entry, about, seq)?,
            EntryKind::Message | EntryKind::Sealed | EntryKind::React { .. } | EntryKind::Unreact { .. } => {
                (false, Rows::new())
            }
        };
        self.event(entry, receipt)?;

        if known.is_none() {
            for member in &entry.members {
                self.put_member(&entry.conversation, member, &Member { standing: Default::default(), since: 0 });
            }
        }
        self.rows.extend(effects);
        self.put(Table::Dedup, dedup_key, record::encode_dedup(entry, receipt));
        self.put(Table::Heads, head_key, record::encode_head(Head { seq, ..head }));
        self.put(Table::Log, keys::log(&entry.conversation, seq), record::encode_new(entry, recalled));
        Ok(Append::Stored(receipt))
    }

    /// What a recall leaves of a message and of its edits.
    fn erasures(&self, conversation: &ConversationKey, about: u64) -> Result<Rows, StoreError> {
        let mut erased = Rows::new();
        let Some(target) = self.entry(conversation, about)?.filter(|target| target.kind.is_message()) else {
            return Ok(erased);
        };
        let mut erase = |key, entry: &StoredEntry| erased.insert((Table::Log, key), Some(record::encode_erased(entry)));
        erase(keys::log(conversation, about), &target);
        for edit in self.edits(conversation, about)? {
            let seq = keys::log_seq(&edit)?;
            if let Some(entry) = self.entry(conversation, seq)? {
                erase(keys::log(conversation, seq), &entry);
            }
        }
        Ok(erased)
    }

    /// Whether an edit comes too late to be seen, and its row of the index.
    fn edit(&self, entry: &NewEntry, about: u64, seq: u64) -> Result<(bool, Rows), StoreError> {
        let recalled = self.entry(&entry.conversation, about)?.is_some_and(|target| target.recalled);
        if recalled {
            return Ok((true, Rows::new()));
        }
        if self.edits(&entry.conversation, about)?.len() >= MAX_EDITS {
            return Err(StoreError::TooManyEdits);
        }
        let key = keys::edit(&entry.conversation, about, seq);
        Ok((false, Rows::from([((Table::Edits, key), Some(record::encode_mark()))])))
    }

    /// The keys of a message's edits in the index, at most [`MAX_EDITS`].
    fn edits(&self, conversation: &ConversationKey, about: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = keys::edits_of(conversation, about);
        let mut edits = self.disk.keys(Table::Edits, &prefix, MAX_EDITS)?;
        let staged = self.rows.range((Table::Edits, prefix.clone())..);
        let staged = staged.take_while(|((table, key), _)| *table == Table::Edits && key.starts_with(&prefix));
        for ((_, key), value) in staged {
            match value {
                Some(_) if edits.len() < MAX_EDITS => edits.push(key.clone()),
                Some(_) => {}
                // Of an edit that is trimmed in this batch.
                None => edits.retain(|edit| edit != key),
            }
        }
        Ok(edits)
    }

    pub(super) fn advance(
        &mut self,
        user: &str,
        device: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> Result<u64, StoreError> {
        let Some(member) = self.member(user, conversation)? else { return Ok(0) };
        let head = self.head(&keys::head(conversation))?.unwrap_or_default();
        let key = keys::cursor(user, device, conversation);
        let cursor = self.get(Table::Cursors, &key)?.map_or(Ok(0), |value| record::decode_cursor(&key, &value))?;
        let cursor = cursor.max(member.since).max(head.trimmed());
        if epoch != head.epoch {
            return Ok(cursor);
        }
        let Some(to) = receipts::advance(cursor, up_to, head.seq) else { return Ok(cursor) };
        let positions = self.positions(user, conversation, head.epoch)?;
        self.put(Table::Cursors, key, record::encode_cursor(to));
        if to > positions.delivered {
            let key = keys::positions(user, conversation);
            self.put(Table::Positions, key, record::encode_positions(&Positions { delivered: to, ..positions }));
        }
        Ok(to)
    }

    /// The positions, and whether they moved.
    pub(super) fn mark_read(
        &mut self,
        user: &str,
        conversation: &ConversationKey,
        epoch: u64,
        up_to: u64,
    ) -> Result<(Positions, bool), StoreError> {
        let head = self.head(&keys::head(conversation))?.unwrap_or_default();
        if self.member(user, conversation)?.is_none() {
            return Ok((Positions { epoch: head.epoch, ..Positions::default() }, false));
        }
        let positions = self.positions(user, conversation, head.epoch)?;
        let to = receipts::advance(positions.read, up_to, head.seq).filter(|_| epoch == head.epoch);
        let Some(read) = to else { return Ok((positions, false)) };
        let positions = Positions { read, ..positions };
        self.put(Table::Positions, keys::positions(user, conversation), record::encode_positions(&positions));
        Ok((positions, true))
    }

    pub(super) fn set_members(
        &mut self,
        conversation: &ConversationKey,
        changes: &[MemberChange],
    ) -> Result<(), StoreError> {
        let head_key = keys::head(conversation);
        let known = self.head(&head_key)?;
        let head = known.map_or_else(new_head, Ok)?;
        let mut members = Vec::with_capacity(changes.len());
        for change in changes {
            members.push(self.member(&change.user, conversation)?);
        }
        if known.is_none() {
            self.put(Table::Heads, head_key, record::encode_head(head));
        }
        for (MemberChange { user, standing }, member) in changes.iter().zip(members) {
            match standing {
                Some(standing) => {
                    let since = member.map_or(head.seq, |member| member.since);
                    self.put_member(conversation, user, &Member { standing: *standing, since });
                }
                None => {
                    self.remove(Table::Members, keys::member(user, conversation));
                    self.remove(Table::Roster, keys::roster(conversation, user));
                }
            }
        }
        Ok(())
    }

    fn put_member(&mut self, conversation: &ConversationKey, user: &str, member: &Member) {
        self.put(Table::Members, keys::member(user, conversation), record::encode_member(member));
        self.put(Table::Roster, keys::roster(conversation, user), record::encode_mark());
    }

    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert((table, key), Some(value));
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.rows.insert((table, key), None);
    }

    pub(super) fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.get(Table::Heads, key)?.map(|value| record::decode_head(key, &value)).transpose()
    }

    fn entry(&self, conversation: &ConversationKey, seq: u64) -> Result<Option<StoredEntry>, StoreError> {
        let key = keys::log(conversation, seq);
        self.get(Table::Log, &key)?.map(|value| record::decode_entry(&key, &value)).transpose()
    }

    fn member(&self, user: &str, conversation: &ConversationKey) -> Result<Option<Member>, StoreError> {
        let key = keys::member(user, conversation);
        self.get(Table::Members, &key)?.map(|value| record::decode_member(&key, &value)).transpose()
    }

    /// Those of another epoch are void.
    fn positions(&self, user: &str, conversation: &ConversationKey, epoch: u64) -> Result<Positions, StoreError> {
        let key = keys::positions(user, conversation);
        let known =
            self.get(Table::Positions, &key)?.map(|value| record::decode_positions(&key, &value)).transpose()?;
        Ok(known.filter(|known| known.epoch == epoch).unwrap_or(Positions { epoch, ..Positions::default() }))
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.rows.get(&(table, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.disk.get(table, key),
        }
    }
}

/// The start of a log, with an epoch that no other has.
fn new_head() -> Result<Head, StoreError> {
    let epoch = getrandom::u64().map_err(|e| StoreError::Io(e.to_string().into()))?.max(1);
    Ok(Head { seq: 0, first: 1, epoch })
}
