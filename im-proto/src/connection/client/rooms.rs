//! Into rooms, out of them, and what is said there.

use alloc::collections::VecDeque;
use core::time::Duration;

use im_serial::body::{Conversation, Refused, RoomJoined, RoomLeft, RoomMessage};

use super::{Client, ClientEvent};
use crate::Connection;
use crate::close::{RefusalCode, cut_reason};
use crate::config::valid_name;
use crate::connection::State;
use crate::error::{Error, RoomError};
use crate::outbox::PacketId;
use crate::rooms::{RoomExit, is_room};

impl Connection<Client> {
    /// Asks to come into a room. The answer is [`ClientEvent::RoomJoined`] or [`ClientEvent::RoomRefused`]; from then on the
    /// room's messages come as [`ClientEvent::RoomMessage`]. A room ends with the connection: after each login the application
    /// joins again. To say something, [`send`](Self::send) a message to the room.
    ///
    /// # Errors
    /// [`RoomError::Offline`] without a login; [`RoomError::TooMany`] beyond `rooms_max` of the settings.
    pub fn join_room(&mut self, room: &Conversation) -> Result<PacketId, RoomError> {
        self.check_room(room)?;
        self.role.rooms.may_join(room)?;
        let id = self.role.outbox.take_id();
        self.role.rooms.join(id.0, room.clone());
        Ok(id)
    }

    /// Leaves a room. From now on no message of it is an event; [`ClientEvent::RoomLeft`] says when the server knows.
    ///
    /// # Errors
    /// [`RoomError::NotIn`] where the server did not let this connection in, or it leaves already.
    pub fn leave_room(&mut self, room: &Conversation) -> Result<PacketId, RoomError> {
        self.check_room(room)?;
        if !self.role.rooms.is_in(room) {
            return Err(RoomError::NotIn);
        }
        let id = self.role.outbox.take_id();
        self.role.rooms.leave(id.0, room.clone());
        Ok(id)
    }

    /// Whether the server let this connection into the room.
    pub fn is_in_room(&self, room: &Conversation) -> bool {
        self.role.rooms.is_in(room)
    }

    fn check_room(&self, room: &Conversation) -> Result<(), RoomError> {
        if self.core.state != State::Online {
            return Err(RoomError::Offline);
        }
        if is_room(room) { Ok(()) } else { Err(RoomError::Invalid) }
    }
}

impl Client {
    pub(super) fn room_joined(&mut self, events: &mut VecDeque<ClientEvent>, id: u64, body: RoomJoined) {
        let RoomJoined { room } = body;
        if self.rooms.joined(id, &room) {
            events.push_back(ClientEvent::RoomJoined { packet_id: PacketId(id), room });
        }
    }

    pub(super) fn room_left(&mut self, events: &mut VecDeque<ClientEvent>, body: RoomLeft) {
        let RoomLeft { room, exit, reason } = body;
        if self.rooms.left(&room) {
            events.push_back(ClientEvent::RoomLeft { room, exit: RoomExit(exit), reason: cut_reason(reason) });
        }
    }

    /// Whether it was the refusal of a join or a leave. A leave is refused only where the client is out already.
    pub(super) fn room_refused(&mut self, events: &mut VecDeque<ClientEvent>, id: u64, refused: &Refused) -> bool {
        let Some((room, join)) = self.rooms.refused(id) else { return false };
        let reason = cut_reason(refused.reason.clone());
        events.push_back(if join {
            ClientEvent::RoomRefused {
                packet_id: PacketId(id),
                room,
                code: RefusalCode(u16::try_from(refused.code).unwrap_or(RefusalCode::INVALID.0)),
                reason,
                retry_after: refused.retry.then(|| Duration::from_millis(refused.retry_after_ms.into())),
            }
        } else {
            ClientEvent::RoomLeft { room, exit: RoomExit::LEFT, reason }
        });
        true
    }

    pub(super) fn room_message(&self, events: &mut VecDeque<ClientEvent>, body: RoomMessage) -> Result<(), Error> {
        let RoomMessage { room, from, message_id, time_ms, content_type, content, dropped } = body;
        // What is still under way for a room that this side left.
        if !self.rooms.is_in(&room) {
            return Ok(());
        }
        if !valid_name(&from) {
            return Err(Error::Name { field: "user" });
        }
        events.push_back(ClientEvent::RoomMessage { room, from, message_id, time_ms, content_type, content, dropped });
        Ok(())
    }
}
