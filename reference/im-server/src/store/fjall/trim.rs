//! What goes from the fronts of the logs: found on a thread of its own, in one snapshot, and taken away by the writer.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Bound};

use ::fjall::{Readable, Snapshot};

use super::{
    directory::{self, Tables},
    keys::{self, Table},
    record,
    stage::Stage,
    writer::Disk,
};
use crate::store::{ConversationKey, Cutoff, EntryKind, Head, StoreError, Trimmed};

/// Conversations that one step looks at: a step without anything to do ends soon too.
const LOGS: usize = 4096;

/// An entry that goes.
struct Gone {
    time_ms: u64,
    /// The row of its packet id.
    dedup: Vec<u8>,
    /// The message that it is an edit of.
    edit_of: Option<u64>,
}

/// The front of one log: entries without a hole from `first` on.
struct Cut {
    first: u64,
    entries: Vec<Gone>,
}

/// What one batch takes away.
#[derive(Default)]
pub(super) struct Cuts {
    logs: BTreeMap<ConversationKey, Cut>,
    /// Keys of expiring packet ids.
    packet_ids: Vec<Vec<u8>>,
}

impl Cuts {
    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.packet_ids.is_empty()
    }

    fn entries(&self) -> usize {
        self.logs.values().map(|cut| cut.entries.len()).sum()
    }

    /// How many rows it holds, for what it costs in memory.
    pub(super) fn rows(&self) -> usize {
        self.entries() + self.packet_ids.len()
    }
}

/// What a step is to take away, and where the next one goes on.
pub(super) struct Plan {
    cuts: Cuts,
    after: Option<ConversationKey>,
    complete: bool,
}

impl Plan {
    pub(super) fn into_parts(self) -> (Cuts, Trimmed) {
        let Self { cuts, after, complete } = self;
        let (entries, packet_ids) = (cuts.entries() as u64, cuts.packet_ids.len() as u64);
        (cuts, Trimmed { entries, packet_ids, after, complete })
    }
}

pub(super) fn plan(
    tables: &Tables,
    cutoff: Cutoff,
    after: Option<ConversationKey>,
    limit: usize,
) -> Result<Plan, StoreError> {
    let (snapshot, limit) = (tables.db.snapshot(), limit.max(1));
    let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(keys::head(after)));
    let mut plan = Plan { cuts: Cuts::default(), after, complete: true };
    let (mut left, mut unfinished) = (limit, None);
    for (looked_at, row) in snapshot.range(tables.keyspace(Table::Heads), (from, Bound::Unbounded)).enumerate() {
        if left == 0 || looked_at >= LOGS {
            plan.complete = false;
            break;
        }
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        let conversation = keys::head_conversation(&key)?;
        let cut = record::decode_head(&key, &value)
            .and_then(|head| front(tables, &snapshot, &conversation, head, cutoff.entries_ms, left));
        let cut = match cut {
            Ok(cut) => cut,
            // It is about this log alone, and stays for `im-server verify` to find.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "a damaged log is not trimmed: see im-server verify");
                Cut { first: 0, entries: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        left = left.saturating_sub(cut.entries.len());
        if left == 0 {
            unfinished = Some((conversation.clone(), cut.entries.len()));
        } else {
            plan.after = Some(conversation.clone());
        }
        if !cut.entries.is_empty() {
            plan.cuts.logs.insert(conversation, cut);
        }
    }
    plan.complete &= unfinished.is_none();
    hold(tables, &snapshot, &mut plan.cuts.logs, cutoff.events_ms)?;
    if let Some((last, planned)) = unfinished
        && plan.cuts.logs.get(&last).is_none_or(|cut| cut.entries.len() < planned)
    {
        // What holds it up now would hold the next step up too.
        plan.after = Some(last);
    }
    plan.cuts.packet_ids = expired(tables, &snapshot, cutoff.packet_ids_ms, limit)?;
    plan.complete &= plan.cuts.packet_ids.len() < limit;
    Ok(plan)
}

/// The entries before the cutoff at the front of a log.
fn front(
    tables: &Tables,
    snapshot: &Snapshot,
    conversation: &ConversationKey,
    head: Head,
    before_ms: u64,
    limit: usize,
) -> Result<Cut, StoreError> {
    let mut cut = Cut { first: head.first, entries: Vec::new() };
    if head.first > head.seq {
        return Ok(cut);
    }
    let range = keys::log(conversation, head.first)..=keys::log(conversation, head.seq);
    for (expected, row) in (head.first..).zip(snapshot.range(tables.keyspace(Table::Log), range)).take(limit) {
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        let (entry, _) = record::decode_place(&key, &value)?;
        if entry.seq != expected {
            return Err(StoreError::corrupt(Table::Log.name(), &key, "entries before it are missing"));
        }
        if entry.time_ms >= before_ms {
            break;
        }
        let edit_of = match entry.kind {
            EntryKind::Edit { about } => Some(about),
            EntryKind::Message
            | EntryKind::Sealed
            | EntryKind::Recall { .. }
            | EntryKind::React { .. }
            | EntryKind::Unreact { .. } => None,
        };
        let dedup = keys::dedup(&entry.from, &entry.device, entry.packet_id);
        cut.entries.push(Gone { time_ms: entry.time_ms, dedup, edit_of });
    }
    Ok(cut)
}

/// Leaves the entries that somebody still has to be told of, and all behind them. Looks at every event that waits: an old
/// entry's event need not be an early one, where a dead letter is sent again or a history was imported.
fn hold(
    tables: &Tables,
    snapshot: &Snapshot,
    logs: &mut BTreeMap<ConversationKey, Cut>,
    since_ms: u64,
) -> Result<(), StoreError> {
    if logs.is_empty() {
        return Ok(());
    }
    for row in snapshot.iter(tables.keyspace(Table::Outbox)) {
        tables.check_open()?;
        let (key, value) = row.into_inner().map_err(directory::engine)?;
        // A damaged one is never told, so it holds nothing.
        let Ok(event) = record::decode_event(&key, &value) else { continue };
        if event.since_ms < since_ms {
            continue;
        }
        if let Some(cut) = logs.get_mut(&event.conversation)
            && let Some(before) = event.seq.checked_sub(cut.first)
        {
            cut.entries.truncate(usize::try_from(before).unwrap_or(usize::MAX));
        }
    }
    logs.retain(|_, cut| !cut.entries.is_empty());
    Ok(())
}

/// Packet ids without an entry whose time is over, the oldest first.
fn expired(tables: &Tables, snapshot: &Snapshot, before_ms: u64, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = snapshot.range(tables.keyspace(Table::Expiring), ..before_ms.to_be_bytes().to_vec());
    rows.take(limit).map(|row| row.key().map(|key| key.to_vec()).map_err(directory::engine)).collect()
}

impl<D: Disk> Stage<'_, D> {
    /// Takes away what was planned, as far as it is as it was then.
    pub(super) fn trim(&mut self, cuts: &Cuts) -> Result<(), StoreError> {
        let mut logs = Vec::with_capacity(cuts.logs.len());
        for (conversation, cut) in &cuts.logs {
            let key = keys::head(conversation);
            if let Some(head) = self.head(&key)?.filter(|head| head.first == cut.first) {
                logs.push((conversation, cut, key, head));
            }
        }
        let mut packet_ids = Vec::with_capacity(cuts.packet_ids.len());
        for key in &cuts.packet_ids {
            let (time_ms, dedup) = keys::expiring_parts(key)?;
            let row = self.get(Table::Dedup, dedup)?;
            // Anything else under this packet id came later.
            let same = row
                .is_none_or(|row| record::decode_dedup(dedup, &row).map_or(true, |row| row.receipt.time_ms == time_ms));
            packet_ids.push((key, same.then_some(dedup)));
        }

        if !logs.is_empty() {
            // In the same batch, so that no older program ever sees a log that begins later.
            self.put(Table::Meta, keys::FORMAT.to_vec(), record::encode_format(record::FORMAT));
        }
        for (conversation, cut, head_key, head) in logs {
            let mut first = cut.first;
            for Gone { time_ms, dedup, edit_of } in &cut.entries {
                self.remove(Table::Log, keys::log(conversation, first));
                if let Some(about) = edit_of {
                    self.remove(Table::Edits, keys::edit(conversation, *about, first));
                }
                self.put(Table::Expiring, keys::expiring(*time_ms, dedup), record::encode_mark());
                first = first.saturating_add(1);
            }
            self.put(Table::Heads, head_key, record::encode_head(Head { first, ..head }));
        }
        for (expiring, dedup) in packet_ids {
            self.remove(Table::Expiring, expiring.clone());
            if let Some(dedup) = dedup {
                self.remove(Table::Dedup, dedup.to_vec());
            }
        }
        Ok(())
    }
}
