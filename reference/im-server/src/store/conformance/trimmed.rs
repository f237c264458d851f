//! Logs whose front was taken away: what stays, what is told of what is gone, and for how long a retry is known.

use std::sync::Arc;

use futures_util::future::{join, join_all};

use super::{Checked, advance, all, append, done, key, message, new, same, stored};
use crate::store::{
    Append, ConversationKey, Cutoff, EntryKind, Head, MemberChange, NewEntry, Page, Positions, Standing, Store,
    StoreError, trim_all,
};

/// What goes before the entry of this packet id, and no packet id with it.
fn before(packet_id: u64, conversation: &ConversationKey) -> Cutoff {
    Cutoff { entries_ms: message(conversation, packet_id).time_ms, packet_ids_ms: 0, events_ms: 0 }
}

/// Trims all logs: how many entries and packet ids went.
async fn trim(store: &dyn Store, cutoff: Cutoff) -> Checked<(u64, u64)> {
    let (mut entries, mut packet_ids) = (0, 0);
    let outcome = trim_all(store, cutoff, |step| {
        entries += step.entries;
        packet_ids += step.packet_ids;
    });
    done(outcome.await).map(|()| (entries, packet_ids))
}

/// A log of `count` messages whose packet ids are their seqs, trimmed so that `first` is the first one.
async fn trimmed(store: &dyn Store, name: &str, count: u64, first: u64) -> Checked<ConversationKey> {
    let c = key(name)?;
    for packet_id in 1..=count {
        stored(store, &c, packet_id).await?;
    }
    same("the entries that went", &trim(store, before(first, &c)).await?.0, &(first - 1))?;
    Ok(c)
}

async fn seqs(store: &dyn Store, c: &ConversationKey) -> Checked<Vec<u64>> {
    Ok(all(store, c).await?.iter().map(|entry| entry.seq).collect())
}

/// The front goes, all else stays as it was, nothing goes back, and no seq is given twice.
pub(super) async fn front(store: Arc<dyn Store>) -> Checked {
    let other = key("another")?;
    append(&*store, NewEntry { device: "desk".into(), ..message(&other, 100) }).await?;
    let c = trimmed(&*store, "c", 10, 7).await?;
    let head = done(store.head(&c).await)?;
    same("the ends of the log", &(head.first, head.seq, head.trimmed()), &(7, 10, 6))?;
    same("the log", &seqs(&*store, &c).await?, &(7..=10).collect())?;
    for after in [0, 1, 5] {
        let read = store.read(&c, after, 9, 9999).await;
        same(&format!("a read after {after}"), &read, &Err(StoreError::Trimmed { first: 7 }))?;
    }
    same("the log of newer entries", &seqs(&*store, &other).await?, &vec![1])?;
    for cutoff in [before(7, &c), before(3, &c), Cutoff::default()] {
        same("what goes again, or before that", &trim(&*store, cutoff).await?, &(0, 0))?;
        same("the head", &done(store.head(&c).await)?, &head)?;
    }
    same("the next seq", &stored(&*store, &c, 11).await?.seq, &11)?;

    same("the rest", &trim(&*store, before(12, &c)).await?.0, &5)?;
    same("the head of an empty log", &done(store.head(&c).await)?, &Head { seq: 11, first: 12, ..head })?;
    same("a read of an empty log", &done(store.read(&c, 11, 9, 9999).await)?.len(), &0)?;
    same("a read of what is gone", &store.read(&c, 10, 9, 9999).await, &Err(StoreError::Trimmed { first: 12 }))?;
    same("the seq after all was trimmed", &stored(&*store, &c, 12).await?.seq, &12)?;
    same("the log", &seqs(&*store, &c).await?, &vec![12])
}

/// Only the front: what is older than the cutoff stays behind an entry that is not.
pub(super) async fn front_only(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for (packet_id, time_ms) in (1..).zip([10, 50, 20, 30]) {
        append(&*store, NewEntry { time_ms, ..message(&c, packet_id) }).await?;
    }
    let cutoff = |entries_ms| Cutoff { entries_ms, ..Cutoff::default() };
    same("what is older, at the front", &trim(&*store, cutoff(40)).await?.0, &1)?;
    same("the log", &seqs(&*store, &c).await?, &vec![2, 3, 4])?;
    same("an entry of this very time", &trim(&*store, cutoff(50)).await?.0, &0)?;
    same("what is older now", &trim(&*store, cutoff(51)).await?.0, &3)
}

/// A step keeps to its limit and gets on, over many logs, also while others write.
pub(super) async fn steps(store: Arc<dyn Store>) -> Checked {
    let names = ["a", "ab", "b", "c", "d", "é"];
    let mut packet_id = 0;
    for name in names {
        for _ in 0..7 {
            packet_id += 1;
            stored(&*store, &key(name)?, packet_id).await?;
        }
    }
    let (c, cutoff) = (key("c")?, before(packet_id, &key("c")?));
    let (mut after, mut entries) = (None, 0);
    for step in 0.. {
        // Into a log that is being trimmed.
        let (trimmed, appended) = join(store.trim(cutoff, after.as_ref(), 3), stored(&*store, &c, 1000 + step)).await;
        same("the seq of an append meanwhile", &appended?.seq, &(8 + step))?;
        let trimmed = done(trimmed)?;
        if trimmed.entries > 3 || (trimmed.entries == 0 && !trimmed.complete && trimmed.after == after) {
            return Err(format!("a step of 3 was {trimmed:?}"));
        }
        (after, entries) = (trimmed.after, entries + trimmed.entries);
        if trimmed.complete {
            break;
        }
    }
    same("the entries that went", &entries, &(packet_id - 1))?;
    for name in &names[..5] {
        same("the first seq", &done(store.head(&key(name)?).await)?.first, &8)?;
    }
    let all = seqs(&*store, &c).await?;
    same("what was written meanwhile", &all, &(8..8 + all.len() as u64).collect())
}

/// A device is told where the log begins, or begins there if it names no place of its own.
pub(super) async fn pages(store: Arc<dyn Store>) -> Checked {
    let c = trimmed(&*store, "c", 9, 5).await?;
    let epoch = done(store.head(&c).await)?.epoch;
    for after in [0, 3] {
        let page = done(store.page("bob", "desk", &c, Some(after), 9, 9999).await)?;
        same(&format!("a page after {after}"), &page, &Page::TooOld { first: 5 })?;
    }
    for after in [None, Some(4)] {
        let page = done(store.page("bob", "desk", &c, after, 9, 9999).await)?;
        let Page::Entries { epoch: named, after, entries } = page else { return Err(format!("the page is {page:?}")) };
        same("the epoch and the place", &(named, after), &(epoch, 4))?;
        same("the page", &entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), &(5..=9).collect())?;
    }
    let joins = MemberChange { user: "eve".into(), standing: Some(Standing::default()) };
    done(store.set_members(&c, vec![joins]).await)?;
    same("who came later", &done(store.page("eve", "x", &c, Some(8), 9, 999).await)?, &Page::BeforeJoin)?;
    trim(&*store, before(99, &c)).await?;
    let page = done(store.page("bob", "desk", &c, None, 9, 9999).await)?;
    same("the page of an empty log", &page, &Page::Entries { epoch, after: 9, entries: Vec::new() })?;
    same(
        "a page of what is gone",
        &done(store.page("bob", "desk", &c, Some(8), 9, 999).await)?,
        &Page::TooOld { first: 10 },
    )
}

/// What was trimmed is not unread, and a cursor before it goes on behind it.
pub(super) async fn cursors(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for packet_id in 1..=9 {
        stored(&*store, &c, packet_id).await?;
    }
    advance(&*store, "bob", "desk", &c, 2).await?;
    let epoch = done(store.head(&c).await)?.epoch;
    done(store.mark_read("bob", &c, epoch, 1).await)?;
    trim(&*store, before(6, &c)).await?;
    for device in ["desk", "new"] {
        same("the cursor", &done(store.cursor("bob", device, &c).await)?, &5)?;
        let unread = done(store.unread("bob", device, None, 9).await)?;
        same("the unread", &unread.iter().map(|u| (u.head, u.cursor)).collect::<Vec<_>>(), &vec![(9, 5)])?;
    }
    let positions = done(store.positions("bob", &c).await)?;
    same("the positions, which trimming moves not", &positions, &Positions { epoch, delivered: 2, read: 1 })?;
    same("an ack of what is gone", &advance(&*store, "bob", "desk", &c, 4).await?, &5)?;
    same("a read mark at what is gone", &done(store.mark_read("bob", &c, epoch, 4).await)?.read, &4)?;
    same("an ack of what is there", &advance(&*store, "bob", "desk", &c, 7).await?, &7)?;
    same("the cursor beyond", &done(store.cursor("bob", "desk", &c).await)?, &7)?;
    trim(&*store, before(99, &c)).await?;
    same("the unread of an empty log", &done(store.unread("bob", "new", None, 9).await)?.len(), &0)?;
    same("a stranger's cursor", &done(store.cursor("eve", "x", &c).await)?, &0)?;
    stored(&*store, &c, 10).await?;
    let unread = done(store.unread("bob", "new", None, 9).await)?;
    same("the unread after that", &unread.iter().map(|u| (u.head, u.cursor)).collect::<Vec<_>>(), &vec![(10, 9)])
}

/// A retry is answered as ever until the packet ids go too; those of entries that are there never go.
pub(super) async fn retries(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    let mut receipts = Vec::new();
    for packet_id in 1..=9 {
        receipts.push(stored(&*store, &c, packet_id).await?);
    }
    trim(&*store, before(5, &c)).await?;
    for (packet_id, receipt) in (1..).zip(&receipts) {
        let again = NewEntry { message_id: 1, time_ms: 2, ..message(&c, packet_id) };
        same(
            "whether it was stored",
            &done(store.stored_before(&again).await)?,
            &Some(Append::AlreadyStored(*receipt)),
        )?;
        same("a retry", &store.append(again).await, &Append::AlreadyStored(*receipt))?;
        let changed = NewEntry { digest: [255; 32], ..message(&c, packet_id) };
        same("something else under its id", &store.append(changed).await, &Append::Conflict(*receipt))?;
    }
    let cutoff = Cutoff { packet_ids_ms: message(&c, 3).time_ms, ..before(5, &c) };
    same("the packet ids that went", &trim(&*store, cutoff).await?, &(0, 2))?;
    let known = store.append(message(&c, 3)).await;
    if !matches!(known, Append::AlreadyStored(receipt) if Some(&receipt) == receipts.get(2)) {
        return Err(format!("a retry that is young enough gave {known:?}"));
    }
    same("the seq of one that is not", &stored(&*store, &c, 2).await?.seq, &10)?;
    let everything = Cutoff { packet_ids_ms: u64::MAX, ..before(5, &c) };
    same("the others without an entry", &trim(&*store, everything).await?, &(0, 2))?;
    for (packet_id, receipt) in (5..=9).zip(receipts.iter().skip(4)) {
        same(
            "a retry of what is there",
            &store.append(message(&c, packet_id)).await,
            &Append::AlreadyStored(*receipt),
        )?;
    }
    same("the log", &seqs(&*store, &c).await?, &(5..=10).collect())
}

/// Commands about what is gone are entries like others, and change nothing else.
pub(super) async fn commands(store: Arc<dyn Store>) -> Checked {
    let c = trimmed(&*store, "c", 6, 4).await?;
    let about = 2;
    let kinds = [
        EntryKind::Recall { about },
        EntryKind::Edit { about },
        EntryKind::React { about },
        EntryKind::Recall { about: 4 },
    ];
    let batch = kinds.into_iter().zip(10..).map(|(kind, packet_id)| NewEntry { kind, ..message(&c, packet_id) });
    for outcome in join_all(batch.map(|entry| store.append(entry))).await {
        if !matches!(outcome, Append::Stored(_)) {
            return Err(format!("a command about what is gone gave {outcome:?}"));
        }
    }
    let log = all(&*store, &c).await?;
    let erased: Vec<u64> = log.iter().filter(|entry| entry.recalled).map(|entry| entry.seq).collect();
    same("what was recalled", &erased, &vec![4])?;
    // An edit may go while its message, of a later time by a clock that was set, does not; and the other way round.
    trim(&*store, before(12, &c)).await?;
    same("the log", &seqs(&*store, &c).await?, &vec![9, 10])
}

/// All of it is there after closing and opening again.
pub(super) async fn reopen<F>(open: &F, name: &str) -> Checked
where
    F: AsyncFn(&str) -> Result<Arc<dyn Store>, StoreError>,
{
    let store = new(open, name).await?;
    let c = trimmed(&*store, "c", 9, 5).await?;
    let head = done(store.head(&c).await)?;
    done(store.close().await)?;
    drop(store);

    let store = new(open, name).await?;
    same("the head", &done(store.head(&c).await)?, &head)?;
    same("the log", &seqs(&*store, &c).await?, &(5..=9).collect())?;
    same("the cursor", &done(store.cursor("bob", "desk", &c).await)?, &4)?;
    let retry = store.append(message(&c, 2)).await;
    if !matches!(retry, Append::AlreadyStored(receipt) if receipt.seq == 2) {
        return Err(format!("a retry of what is gone gave {retry:?}"));
    }
    same("the next seq", &stored(&*store, &c, 10).await?.seq, &10)?;
    same("what goes next", &trim(&*store, before(6, &c)).await?, &(1, 0))?;
    done(store.close().await)
}
