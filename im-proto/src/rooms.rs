//! Rooms: live chat, bullet screens. Who is in a room belongs to a connection and ends with it, nothing of a room is kept for
//! somebody who is not there, and what comes too fast for a reader is dropped, the oldest first, and counted.

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use im_serial::Body;
use im_serial::body::{Conversation, ConversationKind, RoomJoin, RoomLeave, RoomMessage};

use crate::config::valid_name;
use crate::error::{PostError, RoomError};

/// Why a connection is in a room no more.
///
/// ```
/// # use im_proto::RoomExit;
/// assert_eq!(RoomExit::BANNED.name(), Some("banned"));
/// assert!(RoomExit(130).is_application());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomExit(pub u32);

impl RoomExit {
    /// It left.
    pub const LEFT: Self = Self(0);
    /// Removed; it may come back.
    pub const REMOVED: Self = Self(1);
    /// Removed, and not to come back.
    pub const BANNED: Self = Self(2);
    /// The room was closed.
    pub const CLOSED: Self = Self(3);

    /// The name of a known reason.
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("left"),
            1 => Some("removed"),
            2 => Some("banned"),
            3 => Some("closed"),
            _ => None,
        }
    }

    /// Whether the code belongs to applications: 128 to 191.
    pub const fn is_application(self) -> bool {
        matches!(self.0, 128..=191)
    }
}

/// Whether it names a room.
pub(crate) fn is_room(room: &Conversation) -> bool {
    room.known_kind() == Some(ConversationKind::Room) && valid_name(&room.id)
}

/// A message of a room for any number of connections, which share its bytes: a clone costs no copy of the content.
///
/// ```
/// use im_proto::{Conversation, RoomPost};
/// let post = RoomPost::new(&Conversation::room("show"), "alice", 7, 1_700_000_000_000, 1, b"wow".to_vec())?;
/// assert_eq!(post.room().id, "show");
/// assert!(RoomPost::new(&Conversation::group("team"), "alice", 7, 0, 1, Vec::new()).is_err());
/// # Ok::<(), im_proto::PostError>(())
/// ```
#[derive(Clone)]
pub struct RoomPost(Arc<Post>);

struct Post {
    room: Conversation,
    len: usize,
    body: Body,
}

impl RoomPost {
    /// A message in `room` of the user `from`. `message_id` is the server's, `time_ms` in Unix milliseconds; for
    /// `content_type` see [`crate::content_type`].
    ///
    /// # Errors
    /// [`PostError::Invalid`] where it is no room or a name is not valid.
    pub fn new(
        room: &Conversation,
        from: &str,
        message_id: u64,
        time_ms: u64,
        content_type: u32,
        content: Vec<u8>,
    ) -> Result<Self, PostError> {
        if !is_room(room) || !valid_name(from) {
            return Err(PostError::Invalid);
        }
        let (room, len) = (room.clone(), content.len());
        let message = RoomMessage {
            room: room.clone(),
            from: from.into(),
            message_id,
            time_ms,
            content_type,
            content,
            dropped: 0,
        };
        Ok(Self(Arc::new(Post { room, len, body: message.into() })))
    }

    /// The room.
    pub fn room(&self) -> &Conversation {
        &self.0.room
    }

    /// Length of the content, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// What a queue counts for it: as if it held it alone.
    fn cost(&self) -> usize {
        OVERHEAD + self.0.len
    }
}

/// Never shows content.
impl fmt::Debug for RoomPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomPost").field("room", &self.0.room).field("len", &self.0.len).finish_non_exhaustive()
    }
}

/// What a waiting message costs beyond its content: itself, and names of the usual length.
const OVERHEAD: usize = size_of::<Post>() + size_of::<RoomPost>() + 96;

/// A server's side: the rooms of a connection, and what waits for it.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// With how many messages were dropped since the last one that was transmitted.
    joined: BTreeMap<Conversation, u64>,
    /// Joins that wait for the application: packet id and room.
    asked: Vec<(u64, Conversation)>,
    max_rooms: usize,
    queue: VecDeque<RoomPost>,
    bytes: usize,
    max_bytes: usize,
}

/// What a join comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// The application is asked.
    Ask,
    /// The connection is in already.
    Joined,
    /// The same was asked and is not answered yet.
    Asked,
    /// No more rooms.
    Full,
}

impl Rooms {
    pub(crate) const fn new(max_rooms: u32, max_bytes: usize) -> Self {
        Self {
            joined: BTreeMap::new(),
            asked: Vec::new(),
            max_rooms: max_rooms as usize,
            queue: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    pub(crate) fn join(&mut self, id: u64, room: &Conversation) -> Join {
        if self.joined.contains_key(room) {
            return Join::Joined;
        }
        if self.asked.iter().any(|(asked, other)| *asked == id || other == room) {
            return Join::Asked;
        }
        if self.joined.len() + self.asked.len() >= self.max_rooms {
            return Join::Full;
        }
        self.asked.push((id, room.clone()));
        Join::Ask
    }

    /// The room that was asked for under this id; it is asked for no more.
    pub(crate) fn take_asked(&mut self, id: u64) -> Option<Conversation> {
        let at = self.asked.iter().position(|(asked, _)| *asked == id)?;
        Some(self.asked.swap_remove(at).1)
    }

    pub(crate) fn enter(&mut self, room: Conversation) {
        self.joined.insert(room, 0);
    }

    /// Whether it was in; what waits of the room is gone.
    pub(crate) fn leave(&mut self, room: &Conversation) -> bool {
        if self.joined.remove(room).is_none() {
            return false;
        }
        self.queue.retain(|post| post.room() != room);
        self.bytes = self.queue.iter().map(RoomPost::cost).sum();
        true
    }

    pub(crate) fn joined(&self) -> impl Iterator<Item = &Conversation> {
        self.joined.keys()
    }

    pub(crate) fn contains(&self, room: &Conversation) -> bool {
        self.joined.contains_key(room)
    }

    /// Takes a message; how many older ones went for it. `None`: the connection is not in that room. One always fits into an
    /// empty queue.
    pub(crate) fn push(&mut self, post: RoomPost) -> Option<u64> {
        if !self.joined.contains_key(post.room()) {
            return None;
        }
        self.bytes += post.cost();
        self.queue.push_back(post);
        let mut dropped = 0;
        while self.bytes > self.max_bytes && self.queue.len() > 1 {
            let Some(oldest) = self.pop() else { break };
            if let Some(count) = self.joined.get_mut(oldest.room()) {
                *count += 1;
            }
            dropped += 1;
        }
        Some(dropped)
    }

    /// So many messages of a room were lost before they came here. False: the connection is not in that room.
    pub(crate) fn lost(&mut self, room: &Conversation, count: u64) -> bool {
        let Some(lost) = self.joined.get_mut(room) else { return false };
        *lost = lost.saturating_add(count);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Of this connection alone: what all members of a room are told is there once for all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.len() * size_of::<RoomPost>()
    }

    /// The next message to transmit. Only one that tells of a loss is copied.
    pub(crate) fn next(&self) -> Option<Cow<'_, Body>> {
        let post = self.queue.front()?;
        let lost = self.joined.get(post.room()).copied().unwrap_or(0);
        let body = &post.0.body;
        if lost > 0
            && let Body::RoomMessage(message) = body
        {
            return Some(Cow::Owned(RoomMessage { dropped: lost, ..message.clone() }.into()));
        }
        Some(Cow::Borrowed(body))
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        if let Some(post) = self.pop()
            && let Some(count) = self.joined.get_mut(post.room())
        {
            *count = 0;
        }
    }

    fn pop(&mut self) -> Option<RoomPost> {
        let post = self.queue.pop_front()?;
        self.bytes -= post.cost();
        Some(post)
    }

    /// Gives back memory that is not in use. Whether the connection is in no room and asks for none.
    pub(crate) fn rest(&mut self) -> bool {
        self.asked.shrink_to_fit();
        self.queue.shrink_to_fit();
        self.joined.is_empty() && self.asked.is_empty()
    }

    /// Forgets everything; the rooms that the connection was in.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = Conversation> + use<> {
        self.asked.clear();
        self.queue.clear();
        self.bytes = 0;
        core::mem::take(&mut self.joined).into_keys()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    /// The join waits for transmission.
    ToJoin(u64),
    Joining(u64),
    Joined,
    /// The leave waits for transmission.
    ToLeave(u64),
    Leaving(u64),
}

/// A client's side: where it is, and what it has to say about that. Bounded by the number of rooms.
#[derive(Debug)]
pub(crate) struct Memberships {
    rooms: BTreeMap<Conversation, Membership>,
    max_rooms: usize,
}

impl Memberships {
    pub(crate) const fn new(max_rooms: u32) -> Self {
        Self { rooms: BTreeMap::new(), max_rooms: max_rooms as usize }
    }

    /// Whether a join may be said.
    pub(crate) fn may_join(&self, room: &Conversation) -> Result<(), RoomError> {
        if self.rooms.contains_key(room) {
            return Err(RoomError::UnderWay);
        }
        if self.rooms.len() >= self.max_rooms {
            return Err(RoomError::TooMany { max: self.max_rooms });
        }
        Ok(())
    }

    pub(crate) fn join(&mut self, id: u64, room: Conversation) {
        self.rooms.insert(room, Membership::ToJoin(id));
    }

    /// Whether the client is in, and has not said that it leaves.
    pub(crate) fn is_in(&self, room: &Conversation) -> bool {
        self.rooms.get(room) == Some(&Membership::Joined)
    }

    pub(crate) fn leave(&mut self, id: u64, room: Conversation) {
        self.rooms.insert(room, Membership::ToLeave(id));
    }

    /// The server let the client in. Whether that was asked for.
    pub(crate) fn joined(&mut self, id: u64, room: &Conversation) -> bool {
        match self.rooms.get_mut(room) {
            Some(membership) if *membership == Membership::Joining(id) => {
                *membership = Membership::Joined;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The server says that the client is out. Whether it was in.
    pub(crate) fn left(&mut self, room: &Conversation) -> bool {
        match self.rooms.get(room) {
            Some(Membership::Joined | Membership::ToLeave(_) | Membership::Leaving(_)) => {
                self.rooms.remove(room);
                true
            }
            Some(Membership::ToJoin(_) | Membership::Joining(_)) | None => false,
        }
    }

    /// The server refused a join or a leave: which room, and whether it was a join. Either way the client is not in it.
    pub(crate) fn refused(&mut self, id: u64) -> Option<(Conversation, bool)> {
        let said = |of: &Membership| *of == Membership::Joining(id) || *of == Membership::Leaving(id);
        let (room, membership) = self.rooms.iter().find(|(_, membership)| said(membership))?;
        let (room, join) = (room.clone(), *membership == Membership::Joining(id));
        self.rooms.remove(&room);
        Some((room, join))
    }

    fn waiting(&self) -> Option<(&Conversation, Membership)> {
        let waits = |of: &Membership| matches!(of, Membership::ToJoin(_) | Membership::ToLeave(_));
        self.rooms.iter().find(|(_, membership)| waits(membership)).map(|(room, membership)| (room, *membership))
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting().is_none()
    }

    pub(crate) fn next(&self) -> Option<(u64, Body)> {
        let (room, membership) = self.waiting()?;
        let room = room.clone();
        match membership {
            Membership::ToJoin(id) => Some((id, RoomJoin { room }.into())),
            Membership::ToLeave(id) => Some((id, RoomLeave { room }.into())),
            Membership::Joining(_) | Membership::Joined | Membership::Leaving(_) => None,
        }
    }

    /// What [`next`](Self::next) gave was transmitted.
    pub(crate) fn sent(&mut self) {
        let Some((room, membership)) = self.waiting() else { return };
        let (room, membership) = (
            room.clone(),
            match membership {
                Membership::ToJoin(id) => Membership::Joining(id),
                Membership::ToLeave(id) => Membership::Leaving(id),
                other @ (Membership::Joining(_) | Membership::Joined | Membership::Leaving(_)) => other,
            },
        );
        self.rooms.insert(room, membership);
    }

    pub(crate) fn clear(&mut self) {
        self.rooms.clear();
    }
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::vec;

    use super::*;

    fn room(id: &str) -> Conversation {
        Conversation::room(id)
    }

    fn post(id: &str, n: u64, bytes: usize) -> RoomPost {
        RoomPost::new(&room(id), "bob", n, 0, 1, vec![7; bytes]).unwrap()
    }

    fn rooms(max_bytes: usize) -> Rooms {
        let mut rooms = Rooms::new(2, max_bytes);
        for id in ["a", "b"] {
            assert_eq!(rooms.join(1, &room(id)), Join::Ask);
            let room = rooms.take_asked(1).unwrap();
            rooms.enter(room);
        }
        rooms
    }

    /// Room, message and loss of everything that waits.
    fn drain(rooms: &mut Rooms) -> Vec<(im_serial::body::Name, u64, u64)> {
        let mut all = Vec::new();
        while let Some(body) = rooms.next() {
            match &*body {
                Body::RoomMessage(message) => {
                    all.push((message.room.id.clone(), message.message_id, message.dropped));
                }
                other => panic!("{other:?}"),
            }
            drop(body);
            rooms.sent();
        }
        assert_eq!(rooms.bytes, 0);
        all
    }

    #[test]
    fn the_oldest_goes_and_the_next_of_its_room_tells_how_many_went() {
        let mut rooms = rooms(3 * (OVERHEAD + 100));
        let order = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5), ("a", 6)];
        let dropped: Vec<_> = order.iter().map(|(id, n)| rooms.push(post(id, *n, 100)).unwrap()).collect();
        assert_eq!(dropped, [0, 0, 0, 1, 1, 1]);
        assert!(rooms.bytes <= rooms.max_bytes);
        assert_eq!(drain(&mut rooms), [("a".into(), 4, 2), ("b".into(), 5, 1), ("a".into(), 6, 0)]);
        assert_eq!(rooms.push(post("a", 7, 1 << 20)), Some(0), "one always fits");
        assert_eq!(rooms.push(post("b", 8, 1)), Some(1));
        assert_eq!(drain(&mut rooms), [("b".into(), 8, 0)]);
        rooms.push(post("a", 9, 1));
        assert_eq!(drain(&mut rooms), [("a".into(), 9, 1)]);
    }

    #[test]
    fn connections_share_the_content_of_a_message_until_one_has_a_loss_to_tell() {
        let post = post("a", 1, 100);
        let mut all: Vec<_> = (0..100).map(|_| rooms(1 << 20)).collect();
        for rooms in &mut all {
            rooms.push(post.clone());
            assert!(matches!(rooms.next(), Some(Cow::Borrowed(_))));
        }
        assert_eq!(Arc::strong_count(&post.0), 101);
    }

    #[test]
    fn who_leaves_gets_nothing_more_and_rooms_are_bounded() {
        let mut rooms = rooms(1 << 20);
        assert_eq!(rooms.join(9, &room("a")), Join::Joined);
        assert_eq!(rooms.join(9, &room("c")), Join::Full);
        for (id, n) in [("a", 1), ("b", 2), ("a", 3)] {
            rooms.push(post(id, n, 10));
        }
        assert!(rooms.leave(&room("a")) && !rooms.leave(&room("a")));
        assert_eq!(rooms.push(post("a", 4, 10)), None);
        assert_eq!(drain(&mut rooms), [("b".into(), 2, 0)]);
        assert_eq!(rooms.join(9, &room("c")), Join::Ask);
        assert_eq!(rooms.join(9, &room("d")), Join::Asked, "the id stands for another room");
        assert_eq!(rooms.join(8, &room("c")), Join::Asked);
        assert_eq!(rooms.join(8, &room("d")), Join::Full, "what is asked for counts");
    }
}
