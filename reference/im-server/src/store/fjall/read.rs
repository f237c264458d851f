//! Reads, each from one snapshot.

use std::sync::Arc;

use ::fjall::{Readable, Snapshot};

use super::{
    directory::{self, Tables},
    keys::{self, Table},
    record,
};
use crate::store::{ConversationKey, Head, Member, Page, Positions, StoreError, StoredEntry, Unread};

/// Decodes the row with this key, if it is there.
fn get<T>(
    tables: &Tables,
    snapshot: &Snapshot,
    table: Table,
    key: &[u8],
    decode: impl FnOnce(&[u8], &[u8]) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let value = snapshot.get(tables.keyspace(table), key).map_err(directory::engine)?;
    value.map(|value| decode(key, &value)).transpose()
}

pub(super) fn head(tables: &Tables, snapshot: &Snapshot, conversation: &ConversationKey) -> Result<Head, StoreError> {
    let head = get(tables, snapshot, Table::Heads, &keys::head(conversation), record::decode_head)?;
    Ok(head.unwrap_or_default())
}

pub(super) fn member(
    tables: &Tables,
    snapshot: &Snapshot,
    user: &str,
    conversation: &ConversationKey,
) -> Result<Option<Member>, StoreError> {
    get(tables, snapshot, Table::Members, &keys::member(user, conversation), record::decode_member)
}

pub(super) fn cursor(
    tables: &Tables,
    snapshot: &Snapshot,
    user: &str,
    device: &str,
    conversation: &ConversationKey,
    (member, head): (&Member, &Head),
) -> Result<u64, StoreError> {
    let key = keys::cursor(user, device, conversation);
    let cursor = get(tables, snapshot, Table::Cursors, &key, record::decode_cursor)?;
    Ok(cursor.unwrap_or(0).max(member.since).max(head.trimmed()))
}

pub(super) fn positions(
    tables: &Tables,
    snapshot: &Snapshot,
    user: &str,
    conversation: &ConversationKey,
) -> Result<Positions, StoreError> {
    let epoch = head(tables, snapshot, conversation)?.epoch;
    let key = keys::positions(user, conversation);
    let known = get(tables, snapshot, Table::Positions, &key, record::decode_positions)?;
    Ok(known.filter(|known| known.epoch == epoch).unwrap_or(Positions { epoch, ..Positions::default() }))
}

pub(super) fn entries(
    tables: &Tables,
    snapshot: &Snapshot,
    conversation: &ConversationKey,
    after: u64,
    max_messages: usize,
    max_bytes: usize,
) -> Result<Vec<StoredEntry>, StoreError> {
    let mut entries = Vec::new();
    let Some(mut expected) = after.checked_add(1) else { return Ok(entries) };
    let head = head(tables, snapshot, conversation)?;
    if after < head.trimmed() {
        return Err(StoreError::Trimmed { first: head.first });
    }
    let mut bytes = 0_usize;
    let range = keys::log(conversation, expected)..=keys::log(conversation, u64::MAX);
    for row in snapshot.range(tables.keyspace(Table::Log), range) {
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        let entry = record::decode_entry(&key, &value)?;
        if entry.seq != expected {
            return Err(StoreError::corrupt(Table::Log.name(), &key, "entries before it are missing"));
        }
        bytes = bytes.saturating_add(entry.content.len());
        if !entries.is_empty() && bytes > max_bytes {
            break;
        }
        entries.push(entry);
        if entries.len() >= max_messages {
            break;
        }
        expected = expected.saturating_add(1);
    }
    Ok(entries)
}

pub(super) fn page(
    tables: &Tables,
    user: &str,
    device: &str,
    conversation: &ConversationKey,
    after: Option<u64>,
    (max_messages, max_bytes): (usize, usize),
) -> Result<Page, StoreError> {
    let snapshot = tables.db.snapshot();
    let Some(member) = member(tables, &snapshot, user, conversation)?.filter(|member| !member.standing.banned) else {
        return Ok(Page::NotMember);
    };
    let head = head(tables, &snapshot, conversation)?;
    let after = match after {
        Some(after) if after < member.since => return Ok(Page::BeforeJoin),
        Some(after) if after < head.trimmed() => return Ok(Page::TooOld { first: head.first }),
        Some(after) => after,
        None => cursor(tables, &snapshot, user, device, conversation, (&member, &head))?,
    };
    let entries = entries(tables, &snapshot, conversation, after, max_messages, max_bytes)?;
    Ok(Page::Entries { epoch: head.epoch, after, entries })
}

/// Passes the conversations that a user is in and not banned from, after this one, until `each` says that it is enough.
fn each_conversation(
    tables: &Tables,
    snapshot: &Snapshot,
    user: &str,
    after: Option<&ConversationKey>,
    mut each: impl FnMut(ConversationKey, Member) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let prefix = keys::members_of(user);
    let rows = match after {
        // Names are UTF-8, so this byte is greater than any of them and the range stays with this user.
        Some(after) => {
            let end = [prefix.as_slice(), &[0xff]].concat();
            snapshot.range(tables.keyspace(Table::Members), keys::member(user, after)..end)
        }
        None => snapshot.prefix(tables.keyspace(Table::Members), &prefix),
    };
    for row in rows {
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        let conversation = keys::member_conversation(&key, &prefix)?;
        let member = record::decode_member(&key, &value)?;
        if Some(&conversation) != after && !member.standing.banned && !each(conversation, member)? {
            break;
        }
    }
    Ok(())
}

pub(super) fn conversations(
    tables: &Tables,
    user: &str,
    after: Option<&ConversationKey>,
    limit: usize,
) -> Result<Vec<ConversationKey>, StoreError> {
    let mut found = Vec::new();
    if limit > 0 {
        each_conversation(tables, &tables.db.snapshot(), user, after, |conversation, _| {
            found.push(conversation);
            Ok(found.len() < limit)
        })?;
    }
    Ok(found)
}

pub(super) fn unread(
    tables: &Tables,
    user: &str,
    device: &str,
    after: Option<&ConversationKey>,
    limit: usize,
) -> Result<Vec<Unread>, StoreError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let snapshot = tables.db.snapshot();
    each_conversation(tables, &snapshot, user, after, |conversation, member| {
        let head_key = keys::head(&conversation);
        let Some(head) = get(tables, &snapshot, Table::Heads, &head_key, record::decode_head)? else {
            return Err(StoreError::corrupt(Table::Heads.name(), &head_key, "it is missing"));
        };
        let cursor = cursor(tables, &snapshot, user, device, &conversation, (&member, &head))?;
        if head.seq > cursor {
            found.push(Unread { conversation, epoch: head.epoch, head: head.seq, cursor });
        }
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

pub(super) fn members(
    tables: &Tables,
    conversation: &ConversationKey,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(Arc<str>, Member)>, StoreError> {
    let prefix = keys::roster_of(conversation);
    let snapshot = tables.db.snapshot();
    let rows = match after {
        Some(after) => {
            let end = [prefix.as_slice(), &[0xff]].concat();
            snapshot.range(tables.keyspace(Table::Roster), keys::roster(conversation, after)..end)
        }
        None => snapshot.prefix(tables.keyspace(Table::Roster), &prefix),
    };
    let mut found = Vec::new();
    for row in rows {
        if found.len() >= limit {
            break;
        }
        let user = keys::roster_user(&row.key().map_err(directory::engine)?, &prefix)?;
        if Some(&*user) == after {
            continue;
        }
        let Some(member) = member(tables, &snapshot, &user, conversation)? else {
            let key = keys::member(&user, conversation);
            return Err(StoreError::corrupt(Table::Members.name(), &key, "it is missing"));
        };
        found.push((user, member));
    }
    Ok(found)
}
