//! Delivery: unread conversations, cursors, closing.

use std::sync::Arc;

use super::{Checked, advance, all, append, done, key, message, same, stored};
use crate::store::{Append, ConversationKey, Cutoff, Head, NewEntry, Store, StoreError};

/// Names that nobody has used have nothing, and that is no error.
pub(super) async fn nothing_yet(store: Arc<dyn Store>) -> Checked {
    let c = key("nowhere")?;
    same("the head", &done(store.head(&c).await)?, &Head::default())?;
    same("the cursor", &done(store.cursor("ann", "phone", &c).await)?, &0)?;
    same("the log", &all(&*store, &c).await?.len(), &0)?;
    same("the unread", &done(store.unread("ann", "phone", None, 9).await)?.len(), &0)?;
    done(store.advance("ann", "phone", &c, 0, 5).await)?;
    same("the cursor after an advance", &done(store.cursor("ann", "phone", &c).await)?, &0)
}

/// Pages of any size give the same conversations, in the order of their keys, and only those with something unread.
pub(super) async fn unread_pages(store: Arc<dyn Store>) -> Checked {
    // "10" sorts before "9" and a longer name does not sort last: the order is by bytes.
    let mut names: Vec<String> = (1..=12).map(|n| format!("{n}")).chain(["1:very:long".into(), "é".into()]).collect();
    for (name, packet_id) in names.iter().zip(1..) {
        stored(&*store, &key(name)?, packet_id).await?;
    }
    // Of others: not for bob, whose name starts another one.
    let other = NewEntry { members: vec!["bobby".into(), "bo".into()], ..message(&key("2:other")?, 100) };
    append(&*store, other).await?;
    for read in ["3", "12"] {
        advance(&*store, "bob", "desk", &key(read)?, 1).await?;
    }
    names.retain(|name| name != "3" && name != "12");
    names.sort();
    for limit in [1, 2, 5, 100] {
        let mut found: Vec<String> = Vec::new();
        let mut after: Option<ConversationKey> = None;
        loop {
            let page = done(store.unread("bob", "desk", after.as_ref(), limit).await)?;
            if page.len() > limit {
                return Err(format!("a page of {} with limit {limit}", page.len()));
            }
            let Some(last) = page.last() else { break };
            after = Some(last.conversation.clone());
            for unread in page {
                same("head and cursor", &(unread.head, unread.cursor), &(1, 0))?;
                let head = done(store.head(&unread.conversation).await)?;
                same("the epoch", &unread.epoch, &head.epoch)?;
                found.push(unread.conversation.as_str().into());
            }
        }
        same(&format!("the unread conversations in pages of {limit}"), &found, &names)?;
    }
    same("a page of none", &done(store.unread("bob", "desk", None, 0).await)?.len(), &0)?;
    same("another device's", &done(store.unread("bob", "tablet", None, 100).await)?.len(), &14)?;
    same("another user's", &done(store.unread("bobby", "desk", None, 100).await)?.len(), &1)
}

/// The members given with the first message count, those of later ones do not.
pub(super) async fn members_of_a_new_conversation(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    stored(&*store, &c, 1).await?;
    append(&*store, NewEntry { members: vec!["eve".into()], ..message(&c, 2) }).await?;
    same("eve's unread", &done(store.unread("eve", "x", None, 9).await)?.len(), &0)?;
    let unread = done(store.unread("bob", "x", None, 9).await)?;
    same("bob's unread", &unread.iter().map(|u| u.head).collect::<Vec<_>>(), &vec![2])
}

/// A cursor goes forward only, never beyond the head, for one device.
pub(super) async fn cursor(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for packet_id in 1..=5 {
        stored(&*store, &c, packet_id).await?;
    }
    for (up_to, expected) in [(0, 0), (3, 3), (2, 3), (0, 3), (4, 4), (99, 5), (u64::MAX, 5), (1, 5)] {
        let moved = advance(&*store, "bob", "desk", &c, up_to).await?;
        same(&format!("what advancing to {up_to} gives"), &moved, &expected)?;
        let found = done(store.cursor("bob", "desk", &c).await)?;
        same(&format!("the cursor after advancing to {up_to}"), &found, &expected)?;
    }
    same("another device's cursor", &done(store.cursor("bob", "tablet", &c).await)?, &0)?;
    same("the unread", &done(store.unread("bob", "desk", None, 9).await)?.len(), &0)?;
    stored(&*store, &c, 6).await?;
    same("the cursor after another message", &done(store.cursor("bob", "desk", &c).await)?, &5)?;
    let unread = done(store.unread("bob", "desk", None, 9).await)?;
    same("the unread", &unread.iter().map(|u| (u.head, u.cursor)).collect::<Vec<_>>(), &vec![(6, 5)])
}

/// A sender's own messages stand in its stream like all others: only an advance moves its cursor.
pub(super) async fn only_acks(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for packet_id in 1..=3 {
        stored(&*store, &c, packet_id).await?;
        same("the sender's cursor", &done(store.cursor("ann", "phone", &c).await)?, &0)?;
    }
    let unread = done(store.unread("ann", "phone", None, 9).await)?;
    same("the sender's unread", &unread.iter().map(|u| (u.head, u.cursor)).collect::<Vec<_>>(), &vec![(3, 0)])?;
    advance(&*store, "ann", "phone", &c, 3).await?;
    stored(&*store, &c, 4).await?;
    same("the cursor after an ack and another message", &done(store.cursor("ann", "phone", &c).await)?, &3)?;
    same("the sender's other device", &done(store.cursor("ann", "desk", &c).await)?, &0)
}

/// After closing, writes are refused and say so; reads work; closing again is fine.
pub(super) async fn close(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    stored(&*store, &c, 1).await?;
    done(store.close().await)?;
    same("an append", &store.append(message(&c, 2)).await, &Append::NotStored(StoreError::Closed))?;
    same("an advance", &store.advance("bob", "desk", &c, 0, 1).await, &Err(StoreError::Closed))?;
    same("a read position", &store.mark_read("bob", &c, 0, 1).await, &Err(StoreError::Closed))?;
    same("a change of members", &store.set_members(&c, Vec::new()).await, &Err(StoreError::Closed))?;
    same("a trim", &store.trim(Cutoff::default(), None, 1).await, &Err(StoreError::Closed))?;
    same("the log", &all(&*store, &c).await?.len(), &1)?;
    done(store.close().await)
}
