//! A step of trimming: entries go, and their packet ids stay for a while.

use im_server::store::{ConversationKey, Cutoff, StoreError, Trimmed};
use rusqlite::{Connection, params};

use crate::store::{engine, execute, rows};

pub(crate) fn trim(c: &Connection, cutoff: Cutoff, after: Option<String>, limit: usize) -> Result<Trimmed, StoreError> {
    let [entries_ms, packet_ids_ms] =
        [cutoff.entries_ms, cutoff.packet_ids_ms].map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let mut trimmed = Trimmed::default();
    let mut last = after;
    while (trimmed.entries as usize) < limit {
        let next = "select conversation from heads where conversation > ? order by conversation limit 1";
        let found: Vec<String> = rows(c, next, [last.as_deref().unwrap_or_default()], |row| row.get(0))?;
        let Some(conversation) = found.into_iter().next() else {
            trimmed.complete = true;
            break;
        };
        // Up to the first entry that stays, or the end.
        let front = "select seq from log where conversation = ?1 and seq < coalesce(
            (select min(seq) from log where conversation = ?1 and time_ms >= ?2), 9223372036854775807) order by seq limit ?3";
        let left = limit - trimmed.entries as usize;
        let front: Vec<i64> = rows(c, front, params![conversation, entries_ms, left as i64], |row| row.get(0))?;
        if let Some(to) = front.last() {
            let keep = "insert or replace into packet_ids
                select sender, device, packet_id, conversation, seq, message_id, time_ms, digest
                from log where conversation = ? and seq <= ?";
            execute(c, keep, params![conversation, to])?;
            execute(c, "delete from log where conversation = ? and seq <= ?", params![conversation, to])?;
            execute(c, "update heads set first = ? + 1 where conversation = ?", params![to, conversation])?;
        }
        trimmed.entries += front.len() as u64;
        if front.len() < left {
            last = Some(conversation);
        }
    }
    let expired = "delete from packet_ids where (sender, device, packet_id) in
        (select sender, device, packet_id from packet_ids where time_ms < ? order by time_ms limit ?)";
    let expired = c.execute(expired, params![packet_ids_ms, limit as i64]).map_err(engine)?;
    trimmed.packet_ids = expired as u64;
    trimmed.complete &= expired < limit;
    trimmed.after = last.map(ConversationKey::new).transpose()?;
    Ok(trimmed)
}
