//! Who is in a conversation, and how far its users are.

use std::sync::Arc;

use im_proto::rights::MemberRole;

use super::{Checked, advance, append, done, key, message, same, stored};
use crate::store::{ConversationKey, Member, MemberChange, NewEntry, Page, Positions, Standing, Store};

fn standing(user: &str, standing: Standing) -> MemberChange {
    MemberChange { user: user.into(), standing: Some(standing) }
}

fn joins(user: &str) -> MemberChange {
    standing(user, Standing::default())
}

fn leaves(user: &str) -> MemberChange {
    MemberChange { user: user.into(), standing: None }
}

/// A message that names no members, as one of a group.
async fn said(store: &dyn Store, c: &ConversationKey, packet_id: u64) -> Checked {
    append(store, NewEntry { members: Vec::new(), ..message(c, packet_id) }).await.map(drop)
}

/// Members find what was said, wherever they are listed; who left does not.
pub(super) async fn group(store: Arc<dyn Store>) -> Checked {
    let c = key("g:team")?;
    done(store.set_members(&c, vec![joins("ann"), standing("bob", Standing::of(MemberRole::Admin))]).await)?;
    let head = done(store.head(&c).await)?;
    same("the head of a new group", &head.seq, &0)?;
    if head.epoch == 0 {
        return Err("a new group needs an epoch".into());
    }
    same("the unread of a group without messages", &done(store.unread("bob", "x", None, 9).await)?.len(), &0)?;
    said(&*store, &c, 1).await?;
    same("the epoch after the first message", &done(store.head(&c).await)?.epoch, &head.epoch)?;
    for user in ["ann", "bob"] {
        let unread = done(store.unread(user, "x", None, 9).await)?;
        same("the unread", &unread.iter().map(|u| (u.head, u.cursor)).collect::<Vec<_>>(), &vec![(1, 0)])?;
    }
    let bob = done(store.member("bob", &c).await)?;
    same("bob", &bob, &Some(Member { standing: Standing::of(MemberRole::Admin), since: 0 }))?;
    let muted = Standing { muted: true, ..Standing::default() };
    done(store.set_members(&c, vec![leaves("ann"), standing("bob", muted), leaves("nobody")]).await)?;
    same("who left", &done(store.member("ann", &c).await)?, &None)?;
    same("the unread of who left", &done(store.unread("ann", "x", None, 9).await)?.len(), &0)?;
    let members = done(store.members(&c, None, 9).await)?;
    same("who is left", &members, &vec![("bob".into(), Member { standing: muted, since: 0 })])
}

/// Who joins begins at the head, and again at the head after an absence.
pub(super) async fn since(store: Arc<dyn Store>) -> Checked {
    let c = key("g:team")?;
    done(store.set_members(&c, vec![joins("ann")]).await)?;
    said(&*store, &c, 1).await?;
    said(&*store, &c, 2).await?;
    done(store.set_members(&c, vec![joins("bob")]).await)?;
    same("the cursor of who just came", &done(store.cursor("bob", "desk", &c).await)?, &2)?;
    same("the unread of who just came", &done(store.unread("bob", "desk", None, 9).await)?.len(), &0)?;
    said(&*store, &c, 3).await?;
    let page = done(store.page("bob", "desk", &c, None, 9, 999).await)?;
    let Page::Entries { epoch, after, entries } = page else { return Err(format!("the page is {page:?}")) };
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    same("the first page of who just came", &(after, seqs), &(2, vec![3]))?;
    same("the epoch of the page", &epoch, &done(store.head(&c).await)?.epoch)?;
    same("what was before", &done(store.page("bob", "desk", &c, Some(0), 9, 999).await)?, &Page::BeforeJoin)?;
    // The same again changes the standing only.
    done(store.set_members(&c, vec![standing("bob", Standing::of(MemberRole::Owner))]).await)?;
    same("since when", &done(store.member("bob", &c).await)?.map(|member| member.since), &Some(2))?;
    advance(&*store, "bob", "desk", &c, 3).await?;
    done(store.set_members(&c, vec![leaves("bob")]).await)?;
    said(&*store, &c, 4).await?;
    same("the page of who left", &done(store.page("bob", "desk", &c, Some(3), 9, 999).await)?, &Page::NotMember)?;
    done(store.set_members(&c, vec![joins("bob")]).await)?;
    same("what was said without bob", &done(store.page("bob", "desk", &c, Some(3), 9, 999).await)?, &Page::BeforeJoin)?;
    same("bob's cursor", &done(store.cursor("bob", "desk", &c).await)?, &4)
}

/// Pages of any size give the same members, and the same conversations of one of them.
pub(super) async fn pages(store: Arc<dyn Store>) -> Checked {
    let c = key("g:a")?;
    let mut names: Vec<Arc<str>> = (0..20).map(|n| format!("user {n}").into()).collect();
    names.extend(["a".into(), "é".into()]);
    done(store.set_members(&c, names.iter().map(|name| joins(name)).collect()).await)?;
    // A conversation whose name begins like the other's.
    done(store.set_members(&key("g:ab")?, vec![joins("a"), joins("stranger")]).await)?;
    stored(&*store, &key("private")?, 1).await?;
    names.sort();
    for limit in [1, 3, 100] {
        let (mut found, mut after) = (Vec::new(), None::<Arc<str>>);
        loop {
            let page = done(store.members(&c, after.as_deref(), limit).await)?;
            if page.len() > limit {
                return Err(format!("a page of {} with limit {limit}", page.len()));
            }
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page.into_iter().map(|(name, _)| name));
        }
        same(&format!("the members in pages of {limit}"), &found, &names)?;
        let first = done(store.conversations("a", None, limit).await)?;
        let rest = done(store.conversations("a", Some(&c), limit).await)?;
        same("the first conversation", &first.first(), &Some(&c))?;
        same("what follows it", &rest, &vec![key("g:ab")?])?;
    }
    same("a page of none", &done(store.members(&c, None, 0).await)?.len(), &0)?;
    same("conversations, none asked for", &done(store.conversations("a", None, 0).await)?.len(), &0)?;
    same("who is in a private one", &done(store.members(&key("private")?, None, 9).await)?.len(), &2)?;
    same("a stranger's conversations", &done(store.conversations("nobody", None, 9).await)?.len(), &0)
}

/// Who is banned stays in the list and has nothing; a stranger cannot leave anything behind.
pub(super) async fn banned(store: Arc<dyn Store>) -> Checked {
    let c = key("g:team")?;
    let banned = Standing { banned: true, ..Standing::default() };
    done(store.set_members(&c, vec![joins("ann"), joins("bob")]).await)?;
    said(&*store, &c, 1).await?;
    done(store.set_members(&c, vec![standing("bob", banned)]).await)?;
    same("the unread", &done(store.unread("bob", "x", None, 9).await)?.len(), &0)?;
    same("the conversations", &done(store.conversations("bob", None, 9).await)?.len(), &0)?;
    same("the page", &done(store.page("bob", "x", &c, None, 9, 999).await)?, &Page::NotMember)?;
    same("the list", &done(store.members(&c, None, 9).await)?.len(), &2)?;
    same("a stranger's page", &done(store.page("eve", "x", &c, Some(0), 9, 999).await)?, &Page::NotMember)?;
    same("a stranger's advance", &advance(&*store, "eve", "x", &c, 1).await?, &0)?;
    let epoch = done(store.head(&c).await)?.epoch;
    let nothing = Positions { epoch, ..Positions::default() };
    same("a stranger's read position", &done(store.mark_read("eve", &c, epoch, 1).await)?, &nothing)?;
    done(store.set_members(&c, vec![joins("eve")]).await)?;
    same("eve's positions", &done(store.positions("eve", &c).await)?, &nothing)?;
    same("eve's cursor is where she came in", &done(store.cursor("eve", "x", &c).await)?, &1)
}

/// A read position is the user's, goes forward only and never beyond the head; what devices have is the highest of them.
pub(super) async fn read_positions(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    for packet_id in 1..=5 {
        stored(&*store, &c, packet_id).await?;
    }
    let epoch = done(store.head(&c).await)?.epoch;
    for (up_to, read) in [(0, 0), (3, 3), (2, 3), (4, 4), (99, 5), (u64::MAX, 5), (1, 5)] {
        let expected = Positions { epoch, delivered: 0, read };
        let moved = done(store.mark_read("bob", &c, epoch, up_to).await)?;
        same(&format!("the position after reading up to {up_to}"), &moved, &expected)?;
        same("the position that is kept", &done(store.positions("bob", &c).await)?, &expected)?;
    }
    same("ann's", &done(store.positions("ann", &c).await)?.read, &0)?;
    for (device, up_to, delivered) in [("desk", 2, 2), ("phone", 1, 2), ("phone", 4, 4), ("desk", 99, 5)] {
        advance(&*store, "bob", device, &c, up_to).await?;
        let found = done(store.positions("bob", &c).await)?;
        same("what bob's devices have", &found, &Positions { epoch, delivered, read: 5 })?;
    }
    Ok(())
}

/// Whatever is said about another log moves nothing in this one.
pub(super) async fn other_epoch(store: Arc<dyn Store>) -> Checked {
    let c = key("c")?;
    stored(&*store, &c, 1).await?;
    let epoch = done(store.head(&c).await)?.epoch;
    let nothing = Positions { epoch, ..Positions::default() };
    for other in [0, epoch ^ 1] {
        same("the read position", &done(store.mark_read("bob", &c, other, 1).await)?, &nothing)?;
        same("the cursor", &done(store.advance("bob", "desk", &c, other, 1).await)?, &0)?;
    }
    same("the positions", &done(store.positions("bob", &c).await)?, &nothing)?;
    same("the unread", &done(store.unread("bob", "desk", None, 9).await)?.len(), &1)
}
