//! Who is in which room on this connection, and what is said there.

use alloc::collections::VecDeque;
use alloc::format;
use core::time::Duration;

use im_serial::body::{Conversation, RoomJoined, RoomLeft};

use super::submit::{Refusal, refusal};
use super::{Server, ServerEvent};
use crate::Connection;
use crate::budget::Operation;
use crate::close::{RefusalCode, cut_reason};
use crate::connection::State;
use crate::error::{AnswerError, PostError};
use crate::outbox::PacketId;
use crate::rooms::{Join, RoomExit, RoomPost, is_room};
use crate::time::Instant;

impl Connection<Server> {
    /// Answers [`ServerEvent::RoomJoin`]: the connection is in the room, until [`ServerEvent::RoomLeft`] says that it left or
    /// [`remove_from_room`](Self::remove_from_room) ends it.
    pub fn accept_join(&mut self, packet_id: PacketId) -> Result<(), AnswerError> {
        let room = self.take_join(packet_id)?;
        self.role.live().rooms.enter(room.clone());
        self.role.answers.push_back((packet_id.0, RoomJoined { room }.into()));
        Ok(())
    }

    /// Answers [`ServerEvent::RoomJoin`]: the connection stays out. `retry_after` says from when on another answer is possible.
    pub fn refuse_join(
        &mut self,
        packet_id: PacketId,
        code: RefusalCode,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), AnswerError> {
        self.take_join(packet_id)?;
        self.role.refuse_for(packet_id.0, code, reason, retry_after);
        Ok(())
    }

    fn take_join(&mut self, packet_id: PacketId) -> Result<Conversation, AnswerError> {
        match self.role.live().rooms.take_asked(packet_id.0) {
            Some(room) => self.take_answer().map(|()| room),
            None if matches!(self.core.state, State::Online | State::Closing) => Err(AnswerError::NotAsked),
            None => Err(AnswerError::State(self.core.state)),
        }
    }

    /// Takes the connection out of a room and tells the client why; `reason` is for people. What waits of the room is gone.
    /// Whether it was in.
    pub fn remove_from_room(&mut self, room: &Conversation, exit: RoomExit, reason: &str) -> bool {
        let was_in = self.role.live().rooms.leave(room);
        if was_in {
            let left = RoomLeft { room: room.clone(), exit: exit.0, reason: cut_reason(reason.into()) };
            self.role.answers.push_back((0, left.into()));
        }
        was_in
    }

    /// Whether this connection is in the room.
    pub fn is_in_room(&self, room: &Conversation) -> bool {
        self.role.live.as_ref().is_some_and(|live| live.rooms.contains(room))
    }

    /// The rooms that this connection is in, at most `rooms_max`.
    pub fn rooms(&self) -> impl Iterator<Item = &Conversation> {
        self.role.live.iter().flat_map(|live| live.rooms.joined())
    }

    /// A message for this device, if it is in the room. It waits behind answers and takes turns with what else there is to
    /// send, private messages first. Beyond `room_bytes` the oldest room message that waits is dropped and counted in
    /// [`Stats::dropped_room_messages`](crate::Stats::dropped_room_messages), and the next one of its room tells the client.
    /// A clone of `post` for each member of the room shares the content.
    ///
    /// # Errors
    /// [`PostError::NotIn`] where the connection is not in the room, [`PostError::TooLarge`] beyond `max_content`.
    pub fn room_message(&mut self, post: RoomPost) -> Result<(), PostError> {
        let max = self.role.config.max_content;
        if post.len() > max {
            return Err(PostError::TooLarge { len: post.len(), max });
        }
        self.core.stats.dropped_room_messages += self.role.live().rooms.push(post).ok_or(PostError::NotIn)?;
        Ok(())
    }

    /// So many messages of a room went before they came to this connection, because its task had too many waiting: the next
    /// one of the room tells the client, as for those that the connection itself drops.
    pub fn lost_in_room(&mut self, room: &Conversation, count: u64) {
        if self.role.live().rooms.lost(room, count) {
            self.core.stats.dropped_room_messages = self.core.stats.dropped_room_messages.saturating_add(count);
        }
    }
}

impl Server {
    pub(super) fn room_join(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, room: Conversation) {
        if !self.spend(now, id, Operation::Signal) {
            return;
        }
        match self.check_join(id, &room) {
            Ok(true) => {
                self.unanswered = self.unanswered.saturating_add(1);
                events.push_back(ServerEvent::RoomJoin { packet_id: PacketId(id), room });
            }
            Ok(false) => self.answers.push_back((id, RoomJoined { room }.into())),
            Err((code, reason)) => self.refuse(id, code, &reason, false),
        }
    }

    /// Whether the application has to be asked.
    fn check_join(&mut self, id: u64, room: &Conversation) -> Result<bool, Refusal> {
        if id == 0 {
            return Err(refusal(RefusalCode::INVALID, "the packet id of a join must not be zero"));
        }
        if !is_room(room) {
            return Err(refusal(RefusalCode::INVALID, "only a room (kind 3) with a valid name can be joined"));
        }
        match self.live().rooms.join(id, room) {
            Join::Ask => Ok(true),
            Join::Joined => Ok(false),
            Join::Asked => Err(refusal(RefusalCode::INVALID, "this join is asked for already: wait for its answer")),
            Join::Full => {
                let max = self.config.rooms_max;
                Err((RefusalCode::TOO_MANY, format!("a connection may be in {max} rooms: leave one first").into()))
            }
        }
    }

    pub(super) fn room_leave(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, room: Conversation) {
        // Leaving costs nothing: who is in paid for the join.
        if self.live().rooms.leave(&room) {
            let left = RoomLeft { room: room.clone(), exit: RoomExit::LEFT.0, ..RoomLeft::default() };
            self.answers.push_back((id, left.into()));
            events.push_back(ServerEvent::RoomLeft { room });
        } else if self.spend(now, id, Operation::Signal) {
            self.refuse(id, RefusalCode::INVALID, "this connection is not in that room", false);
        }
    }
}
