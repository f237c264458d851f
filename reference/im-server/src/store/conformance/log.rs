//! The log: density, order, idempotency, limits.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::{join_all, poll_immediate};
use tokio::task::JoinSet;

use super::{Checked, all, append, done, key, message, same, stored};
use crate::store::{Append, ConversationKey, MAX_CONTENT_BYTES, MAX_NAME_BYTES, NewEntry, Receipt, Store, StoreError};

/// Seqs count from 1 in each conversation, and what is read is what was written.
pub(super) async fn dense_seq(store: Arc<dyn Store>) -> Checked {
    let (a, b) = (key("a")?, key("b")?);
    for n in 1..=20 {
        let receipt = stored(&*store, &a, 2 * n).await?;
        same(
            "the receipt",
            &receipt,
            &Receipt { message_id: 1000 + 2 * n, seq: n, time_ms: message(&a, 2 * n).time_ms },
        )?;
        same("the seq in the other conversation", &stored(&*store, &b, 2 * n + 1).await?.seq, &n)?;
    }
    let log = all(&*store, &a).await?;
    same("the length of the log", &log.len(), &20)?;
    for (read, n) in log.iter().zip(1..) {
        let sent = message(&a, 2 * n);
        same("the content", &read.content, &sent.content)?;
        same("the ids", &(read.message_id, read.packet_id), &(sent.message_id, sent.packet_id))?;
        same("the time and type", &(read.time_ms, read.content_type), &(sent.time_ms, sent.content_type))?;
        same("the sender", &(&read.from, &read.device), &(&sent.from, &sent.device))?;
    }
    let head = done(store.head(&a).await)?;
    same("the head", &head.seq, &20)?;
    if head.epoch == 0 || head.epoch == done(store.head(&b).await)?.epoch {
        return Err("each conversation needs an epoch of its own, not zero".into());
    }
    Ok(())
}

/// Appends under way at once are stored in the order in which they were first polled.
pub(super) async fn order_of_first_polls(store: Arc<dyn Store>) -> Checked {
    const MESSAGES: u64 = 200;
    let c = key("c")?;
    let mut early = BTreeMap::new();
    let mut waiting = Vec::new();
    for packet_id in 1..=MESSAGES {
        // Without this a poll may do nothing but yield, once the task has used up its budget.
        let mut append = tokio::task::unconstrained(store.append(message(&c, packet_id)));
        match poll_immediate(&mut append).await {
            Some(outcome) => drop(early.insert(packet_id, outcome)),
            None => waiting.push(async move { (packet_id, append.await) }),
        }
    }
    for (packet_id, outcome) in early.into_iter().chain(join_all(waiting).await) {
        let Append::Stored(receipt) = outcome else { return Err(format!("an append gave {outcome:?}")) };
        same("the seq", &receipt.seq, &packet_id)?;
    }
    Ok(())
}

/// Many tasks write to several conversations at once: receipts and log agree, one seq each, no hole; and each task's
/// messages are in the order in which it sent them.
pub(super) async fn concurrent_order(store: Arc<dyn Store>) -> Checked {
    const TASKS: u64 = 24;
    const EACH: u64 = 25;
    let conversations = [key("one")?, key("two")?, key("three")?];
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, conversations) = (store.clone(), conversations.clone());
        tasks.spawn(async move {
            let mut receipts = Vec::new();
            for (n, which) in (0..EACH).zip(conversations.iter().cycle().skip(task as usize)) {
                let packet_id = task * EACH + n;
                receipts.push((which.clone(), packet_id, stored(&*store, which, packet_id).await?));
            }
            Ok::<_, String>(receipts)
        });
    }
    let mut by_place = BTreeMap::new();
    while let Some(receipts) = tasks.join_next().await {
        for (conversation, packet_id, receipt) in receipts.map_err(|e| e.to_string())?? {
            if by_place.insert((conversation, receipt.seq), packet_id).is_some() {
                return Err(format!("seq {} was given twice", receipt.seq));
            }
        }
    }
    let mut total = 0;
    for conversation in &conversations {
        let mut last = BTreeMap::new();
        for read in all(&*store, conversation).await? {
            let receipt = by_place.get(&(conversation.clone(), read.seq));
            same("the packet at a receipt's place", &Some(&read.packet_id), &receipt)?;
            let before = last.insert(read.packet_id / EACH, read.packet_id);
            if before.is_some_and(|before| before >= read.packet_id) {
                return Err(format!("packet {} comes before {before:?}, which was sent first", read.packet_id));
            }
            total += 1;
        }
    }
    same("the messages in all logs", &total, &(TASKS * EACH))
}

/// The same again, even with another message id and time, answers the first receipt and writes nothing.
pub(super) async fn retry(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    let first = stored(&*store, &c, 1).await?;
    stored(&*store, &c, 2).await?;
    for _ in 0..3 {
        let again = NewEntry { message_id: 77, time_ms: 78, members: Vec::new(), ..message(&c, 1) };
        same("a retry", &store.append(again).await, &Append::AlreadyStored(first))?;
    }
    same("the length of the log", &all(&*store, &c).await?.len(), &2)?;
    same("the next seq", &stored(&*store, &c, 3).await?.seq, &3)
}

/// A used packet id with another digest or in another conversation is a conflict and writes nothing.
pub(super) async fn conflict(store: Arc<dyn Store>) -> Checked {
    let (c, other) = (key("c")?, key("other")?);
    let first = stored(&*store, &c, 1).await?;
    let changed = NewEntry { digest: [255; 32], ..message(&c, 1) };
    same("another digest", &store.append(changed).await, &Append::Conflict(first))?;
    same("another conversation", &store.append(message(&other, 1)).await, &Append::Conflict(first))?;
    same("the length of the log", &all(&*store, &c).await?.len(), &1)?;
    same("the head of the other conversation", &done(store.head(&other).await)?.seq, &0)?;
    same("the unread conversations", &done(store.unread("bob", "desk", None, 9).await)?.len(), &1)?;
    same("the next seq", &stored(&*store, &c, 2).await?.seq, &2)
}

/// Another device, or another user, with the same packet id sends another message.
pub(super) async fn other_device(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    stored(&*store, &c, 1).await?;
    let desk = NewEntry { device: "desk".into(), ..message(&c, 1) };
    same("the seq from another device", &append(&*store, desk).await?.seq, &2)?;
    let bob = NewEntry { from: "bob".into(), ..message(&c, 1) };
    same("the seq from another user", &append(&*store, bob).await?.seq, &3)
}

/// Repetitions and conflicts are seen among messages that are in flight together, as in one batch.
pub(super) async fn repetition_in_flight(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for round in 1..=20 {
        let changed = NewEntry { digest: [255; 32], ..message(&c, round) };
        let batch = [message(&c, round), message(&c, round), changed.clone(), message(&c, round), changed];
        let outcomes = join_all(batch.map(|m| store.append(m))).await;
        let (mut won, mut repeated, mut conflicts) = (0, 0, 0);
        for outcome in &outcomes {
            let (Append::Stored(receipt) | Append::AlreadyStored(receipt) | Append::Conflict(receipt)) = outcome else {
                return Err(format!("an append in flight gave {outcome:?}"));
            };
            same("the seq of all five", &receipt.seq, &round)?;
            won += usize::from(matches!(outcome, Append::Stored(_)));
            repeated += usize::from(matches!(outcome, Append::AlreadyStored(_)));
            conflicts += usize::from(matches!(outcome, Append::Conflict(_)));
        }
        // Whichever came first won: three are alike and two are alike.
        if won != 1 || !matches!((repeated, conflicts), (2, 2) | (1, 3)) {
            return Err(format!("five appends with one packet id gave {outcomes:?}"));
        }
    }
    same("the length of the log", &all(&*store, &c).await?.len(), &20)
}

/// Names that are alike when put together, or that start alike, stay apart.
pub(super) async fn names_do_not_run_together(store: Arc<dyn Store>) -> Checked {
    let names = ["a", "ab", "ab\0", "abc", "b", "é"];
    let mut packet_id = 0;
    for (n, name) in (1..).zip(names) {
        let c = key(name)?;
        for seq in 1..=n {
            packet_id += 1;
            same("the seq", &stored(&*store, &c, packet_id).await?.seq, &seq)?;
        }
    }
    for (n, name) in (1..).zip(names) {
        same("the length of the log", &all(&*store, &key(name)?).await?.len(), &n)?;
    }
    let c = key("c")?;
    for (seq, (user, device)) in (1..).zip([("ab", "c"), ("a", "bc"), ("abc", "d"), ("a", "b")]) {
        let m = NewEntry { from: user.into(), device: device.into(), ..message(&c, 1) };
        same("the seq from another sender", &append(&*store, m).await?.seq, &seq)?;
    }
    Ok(())
}

/// A read keeps to its limits, but always gets on.
pub(super) async fn read_limits(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for packet_id in 1..=10 {
        append(&*store, NewEntry { content: vec![7; 100], ..message(&c, packet_id) }).await?;
    }
    for (after, messages, bytes, expected) in [
        (0, 3, 10_000, 1..=3),
        (0, 100, 250, 1..=2),
        (0, 100, 300, 1..=3),
        (4, 100, 10_000, 5..=10),
        (9, 100, 1, 10..=10),
        (0, 1, 0, 1..=1),
        (0, 0, 10_000, 1..=1),
    ] {
        let page = done(store.read(&c, after, messages, bytes).await)?;
        let seqs: Vec<u64> = page.iter().map(|m| m.seq).collect();
        same(&format!("a read after {after} of {messages} and {bytes} B"), &seqs, &expected.collect())?;
    }
    for after in [10, 11, u64::MAX] {
        same("a read after the head", &done(store.read(&c, after, 9, 999).await)?.len(), &0)?;
    }
    Ok(())
}

/// What is too long or empty is refused by name, and the longest names and an empty content work.
pub(super) async fn lengths(store: Arc<dyn Store>) -> Checked {
    if ConversationKey::new("").is_ok() || ConversationKey::new("x".repeat(MAX_NAME_BYTES + 1)).is_ok() {
        return Err("a key of a wrong length was taken".into());
    }
    let c = key(&"k".repeat(MAX_NAME_BYTES))?;
    let long: Arc<str> = "n".repeat(MAX_NAME_BYTES + 1).into();
    for wrong in [
        NewEntry { from: "".into(), ..message(&c, 1) },
        NewEntry { from: long.clone(), ..message(&c, 1) },
        NewEntry { device: long.clone(), ..message(&c, 1) },
        NewEntry { members: vec![long.clone()], ..message(&c, 1) },
        NewEntry { content: vec![0; MAX_CONTENT_BYTES + 1], ..message(&c, 1) },
    ] {
        let outcome = store.append(wrong).await;
        if !matches!(outcome, Append::NotStored(StoreError::Length { .. })) {
            return Err(format!("a wrong length gave {outcome:?}"));
        }
    }
    let name: Arc<str> = "n".repeat(MAX_NAME_BYTES).into();
    let longest = NewEntry {
        from: name.clone(),
        device: name.clone(),
        members: vec![name.clone()],
        content: Vec::new(),
        ..message(&c, u64::MAX)
    };
    same("the seq", &append(&*store, longest).await?.seq, &1)?;
    same("the unread of its sender's other device", &done(store.unread(&name, "x", None, 9).await)?.len(), &1)
}
