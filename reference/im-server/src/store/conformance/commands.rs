//! Commands: what stands in the log, and that what was recalled is gone.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Checked, all, append, done, key, message, same, stored};
use crate::store::{Append, ConversationKey, EntryKind, MAX_EDITS, NewEntry, Page, Store, StoreError, StoredEntry};

const SECRET: &[u8] = b"nobody may read this again";

fn secret(c: &ConversationKey, packet_id: u64, kind: EntryKind) -> NewEntry {
    NewEntry { kind, content_type: 9, content: SECRET.to_vec(), ..message(c, packet_id) }
}

fn recall(c: &ConversationKey, packet_id: u64, about: u64) -> NewEntry {
    NewEntry { kind: EntryKind::Recall { about }, content_type: 0, content: Vec::new(), ..message(c, packet_id) }
}

/// Every kind comes back as it was stored, in its place.
pub(super) async fn kinds(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    let about = 1;
    let kinds = [
        EntryKind::Message,
        EntryKind::Sealed,
        EntryKind::Edit { about },
        EntryKind::React { about },
        EntryKind::Unreact { about },
        EntryKind::Recall { about: u64::MAX },
    ];
    for (kind, packet_id) in kinds.into_iter().zip(1..) {
        append(&*store, secret(&c, packet_id, kind)).await?;
    }
    let log = all(&*store, &c).await?;
    same("the kinds", &log.iter().map(|entry| entry.kind).collect::<Vec<_>>(), &kinds.to_vec())?;
    same("entries that lost their content", &log.iter().filter(|e| e.recalled || e.content != SECRET).count(), &0)
}

/// Checks that on no way of reading there is content of entries that must have none.
async fn gone(store: &dyn Store, c: &ConversationKey, erased: &[u64]) -> Checked<Vec<StoredEntry>> {
    let log = all(store, c).await?;
    for after in 0..log.len() as u64 {
        for one in done(store.read(c, after, 2, 9999).await)? {
            same("an entry read in another page", &Some(&one), &log.iter().find(|entry| entry.seq == one.seq))?;
        }
        let page = done(store.page("bob", "desk", c, Some(after), 2, 9999).await)?;
        let Page::Entries { entries, .. } = page else { return Err(format!("a member's page is {page:?}")) };
        for one in entries {
            same("an entry of a device's page", &Some(&one), &log.iter().find(|entry| entry.seq == one.seq))?;
        }
    }
    for entry in &log {
        let expected = erased.contains(&entry.seq);
        same(&format!("whether {} is recalled", entry.seq), &entry.recalled, &expected)?;
        if expected && !(entry.content.is_empty() && entry.content_type == 0) {
            return Err(format!("the recalled entry {} still has content", entry.seq));
        }
    }
    Ok(log)
}

/// A recall takes the content of the message and of its edits, earlier and later, on every page; the places, senders, ids and
/// everything else stay.
pub(super) async fn recalled(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    let about = 2;
    let entries = [
        message(&c, 1),
        secret(&c, 2, EntryKind::Message),
        secret(&c, 3, EntryKind::Edit { about }),
        secret(&c, 4, EntryKind::Edit { about: 1 }),
        secret(&c, 5, EntryKind::React { about }),
        secret(&c, 6, EntryKind::Sealed),
    ];
    for entry in entries.clone() {
        append(&*store, entry).await?;
    }
    let other = key("other")?;
    let elsewhere = NewEntry { device: "tablet".into(), ..secret(&other, 2, EntryKind::Message) };
    append(&*store, elsewhere.clone()).await?;
    append(&*store, NewEntry { packet_id: 3, message_id: 1, ..elsewhere }).await?;

    append(&*store, recall(&c, 7, 2)).await?;
    append(&*store, secret(&c, 8, EntryKind::Edit { about })).await?;
    append(&*store, recall(&c, 9, 6)).await?;
    let log = gone(&*store, &c, &[2, 3, 6, 8]).await?;
    for (entry, sent) in log.iter().zip(&entries) {
        same("what stays", &(entry.kind, entry.message_id, &entry.from), &(sent.kind, sent.message_id, &sent.from))?;
    }
    gone(&*store, &other, &[]).await?;
    // Again: the same answer, and nothing else happens.
    append(&*store, recall(&c, 10, 2)).await?;
    let again = store.append(secret(&c, 2, EntryKind::Message)).await;
    if !matches!(again, Append::AlreadyStored(receipt) if receipt.seq == 2) {
        return Err(format!("a retry of a recalled message gave {again:?}"));
    }
    gone(&*store, &c, &[2, 3, 6, 8]).await.map(drop)
}

/// The same where message, edits and recall are under way at once, as in one batch.
pub(super) async fn in_flight(store: Arc<dyn Store>) -> Checked {
    for round in 0..20 {
        let c = key(&format!("c{round}"))?;
        let ids = round * 10;
        let batch = [
            secret(&c, ids + 1, EntryKind::Message),
            secret(&c, ids + 2, EntryKind::Edit { about: 1 }),
            recall(&c, ids + 3, 1),
            secret(&c, ids + 4, EntryKind::Edit { about: 1 }),
        ];
        // Appends are stored in the order of their first polls.
        let outcomes = join_all(batch.map(|entry| store.append(entry))).await;
        let stored = outcomes.iter().filter(|outcome| matches!(outcome, Append::Stored(_))).count();
        same("how many were stored", &stored, &4)?;
        gone(&*store, &c, &[1, 2, 4]).await?;
    }
    Ok(())
}

/// A recall of a command, of itself, or of a place that is not there takes nothing away.
pub(super) async fn recall_of_nothing(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    append(&*store, secret(&c, 1, EntryKind::Message)).await?;
    append(&*store, secret(&c, 2, EntryKind::Edit { about: 1 })).await?;
    for (packet_id, about) in (3..).zip([2, 5, 0, 99, u64::MAX]) {
        append(&*store, recall(&c, packet_id, about)).await?;
    }
    append(&*store, secret(&c, 20, EntryKind::Message)).await?;
    gone(&*store, &c, &[]).await.map(drop)
}

/// A message takes [`MAX_EDITS`] edits and no more, so that a recall has a bounded amount to do.
pub(super) async fn edits_are_bounded(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    stored(&*store, &c, 1).await?;
    let edit = |packet_id| secret(&c, packet_id, EntryKind::Edit { about: 1 });
    let outcomes = join_all((0..MAX_EDITS as u64).map(|n| store.append(edit(100 + n)))).await;
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, Append::Stored(_))).count();
    same("the edits taken", &taken, &MAX_EDITS)?;
    same("one more", &store.append(edit(9999)).await, &Append::NotStored(StoreError::TooManyEdits))?;
    append(&*store, recall(&c, 10_000, 1)).await?;
    let left = all(&*store, &c).await?.iter().filter(|entry| entry.content == SECRET).count();
    same("the edits that kept their content", &left, &0)
}

/// Whether an entry was stored before is known without storing it.
pub(super) async fn stored_before(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    same("before", &done(store.stored_before(&message(&c, 1)).await)?, &None)?;
    let first = stored(&*store, &c, 1).await?;
    same("after", &done(store.stored_before(&message(&c, 1)).await)?, &Some(Append::AlreadyStored(first)))?;
    let changed = NewEntry { digest: [255; 32], ..message(&c, 1) };
    same("another digest", &done(store.stored_before(&changed).await)?, &Some(Append::Conflict(first)))?;
    same("another packet id", &done(store.stored_before(&message(&c, 2)).await)?, &None)?;
    same("the length of the log", &all(&*store, &c).await?.len(), &1)
}
