//! Who is in which room: in memory only, and as long as the session lasts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use im_proto::RoomPost;

use super::mailbox::Mailbox;

/// Messages to rooms that are remembered, so that one that is sent again after a lost connection is not shown twice. About
/// 300 bytes each.
const MAX_RECENT: usize = 16_384;

type Members = BTreeMap<u64, Arc<Mailbox>>;
type Identity = (Arc<str>, Arc<str>, u64);

#[derive(Debug, Default)]
pub(crate) struct Rooms {
    rooms: Mutex<BTreeMap<Arc<str>, Arc<Mutex<Members>>>>,
    recent: Mutex<Recent>,
}

/// What is known of a message to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posted {
    pub(crate) digest: [u8; 32],
    pub(crate) message_id: u64,
    pub(crate) time_ms: u64,
}

#[derive(Debug, Default)]
struct Recent {
    known: BTreeMap<Identity, Posted>,
    order: VecDeque<Identity>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rooms {
    pub(crate) fn join(&self, room: &str, mailbox: &Arc<Mailbox>) {
        let mut rooms = lock(&self.rooms);
        lock(rooms.entry(room.into()).or_default()).insert(mailbox.session, mailbox.clone());
    }

    pub(crate) fn leave(&self, room: &str, session: u64) {
        let mut rooms = lock(&self.rooms);
        let empty = rooms.get(room).is_some_and(|members| {
            let mut members = lock(members);
            members.remove(&session);
            members.is_empty()
        });
        if empty {
            rooms.remove(room);
        }
    }

    /// How many sessions are in a room.
    pub(crate) fn size(&self, room: &str) -> usize {
        let members = lock(&self.rooms).get(room).cloned();
        members.map_or(0, |members| lock(&members).len())
    }

    /// Gives the message to everybody in the room, in the same order as every other message there.
    pub(crate) fn post(&self, post: &RoomPost, bytes: usize) {
        let members = lock(&self.rooms).get(post.room().id.as_str()).cloned();
        if let Some(members) = members {
            for mailbox in lock(&members).values() {
                mailbox.post(post.clone(), bytes);
            }
        }
    }

    /// The message that had this identity before.
    pub(crate) fn known(&self, user: &Arc<str>, device: &Arc<str>, packet_id: u64) -> Option<Posted> {
        lock(&self.recent).known.get(&(user.clone(), device.clone(), packet_id)).copied()
    }

    /// The message that had this identity before, or else notes this one.
    pub(crate) fn note(&self, user: &Arc<str>, device: &Arc<str>, packet_id: u64, posted: Posted) -> Option<Posted> {
        let identity = (user.clone(), device.clone(), packet_id);
        let mut recent = lock(&self.recent);
        if let Some(before) = recent.known.get(&identity) {
            return Some(*before);
        }
        recent.known.insert(identity.clone(), posted);
        recent.order.push_back(identity);
        if recent.order.len() > MAX_RECENT
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.known.remove(&oldest);
        }
        None
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.rooms).is_empty()
    }
}
