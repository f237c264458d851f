//! Streams of others as they come, and this client's own.

use alloc::collections::VecDeque;
use core::time::Duration;

use im_serial::body::{Conversation, Name, Refused, StreamDelta, StreamEnd, StreamOpen};

use super::{Client, ClientEvent};
use crate::Connection;
use crate::close::{RefusalCode, cut_reason};
use crate::config::valid_name;
use crate::connection::State;
use crate::connection::machine::Core;
use crate::error::{Error, StreamError};
use crate::outbox::PacketId;
use crate::streams::{Piece, StreamId, StreamOutcome};

impl Connection<Client> {
    /// Begins a stream to a private conversation, a group or a room: content that others see while it is made. Nothing of it is
    /// stored; to keep it, [`send`](Self::send) the whole as a message. The end of the connection ends it, and its receivers
    /// are told. A server that does not want it says so with [`ClientEvent::StreamRefused`], at any time.
    ///
    /// ```no_run
    /// # fn show(client: &mut im_proto::Connection<im_proto::Client>, room: &im_proto::Conversation) -> Result<(), im_proto::StreamError> {
    /// let stream = client.open_stream(room, im_proto::content_type::TEXT)?;
    /// for word in ["one ", "two ", "three"] {
    ///     client.extend_stream(stream, word.as_bytes())?;
    /// }
    /// client.end_stream(stream, im_proto::StreamOutcome::Done { seq: 0 })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StreamError::Offline`] without a login, [`StreamError::TooMany`] beyond `streams_max`.
    pub fn open_stream(&mut self, to: &Conversation, content_type: u32) -> Result<PacketId, StreamError> {
        if self.core.state != State::Online {
            return Err(StreamError::Offline);
        }
        if !valid_name(&to.id) {
            return Err(StreamError::Invalid);
        }
        self.role.streams_out.has_room()?;
        let id = self.role.outbox.take_id();
        self.role.streams_out.open(id.0, to.clone(), Name::default(), content_type)?;
        Ok(id)
    }

    /// The next piece. Pieces that wait for transmission become one.
    ///
    /// # Errors
    /// [`StreamError::Blocked`] where `stream_bytes` wait already: nothing was taken, try again when something was transmitted.
    /// [`StreamError::NotOpen`] behind the end of the stream, its refusal, or the end of its connection.
    pub fn extend_stream(&mut self, stream: PacketId, piece: &[u8]) -> Result<(), StreamError> {
        if self.role.streams_out.push(stream.0, piece)? { Ok(()) } else { Err(StreamError::Blocked) }
    }

    /// Ends the stream behind the pieces that wait.
    ///
    /// # Errors
    /// [`StreamError::NotOpen`] as for a piece.
    pub fn end_stream(&mut self, stream: PacketId, outcome: StreamOutcome) -> Result<(), StreamError> {
        self.role.streams_out.end(stream.0, outcome)
    }
}

impl Client {
    pub(super) fn stream_open(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ClientEvent>,
        body: StreamOpen,
    ) -> Result<(), Error> {
        let StreamOpen { stream, conversation, from, content_type } = body;
        for (field, name) in [("conversation", &conversation.id), ("user", &from)] {
            if !valid_name(name) {
                return Err(Error::Name { field });
            }
        }
        // One that is open twice is the server's fault; the second cannot be told from the first.
        if self.streams_in.is_full() || self.streams_in.contains(stream) {
            core.stats.broken_streams += 1;
            return Ok(());
        }
        self.streams_in.open(stream);
        events.push_back(ClientEvent::StreamOpened { stream: StreamId(stream), conversation, from, content_type });
        Ok(())
    }

    pub(super) fn stream_delta(&mut self, core: &mut Core, events: &mut VecDeque<ClientEvent>, body: StreamDelta) {
        let StreamDelta { stream, offset, content } = body;
        match self.streams_in.piece(stream, offset, content.len()) {
            Piece::Next => events.push_back(ClientEvent::StreamDelta { stream: StreamId(stream), content }),
            Piece::Hole => self.stream_broken(core, events, stream),
            Piece::Broken | Piece::Unknown => {}
        }
    }

    pub(super) fn stream_end(&mut self, core: &mut Core, events: &mut VecDeque<ClientEvent>, body: &StreamEnd) {
        let StreamEnd { stream, len, aborted, seq } = *body;
        let Some(hole) = self.streams_in.end(stream, len) else { return };
        if hole {
            self.stream_broken(core, events, stream);
        }
        let outcome = StreamOutcome::from_codes(aborted, seq);
        events.push_back(ClientEvent::StreamEnded { stream: StreamId(stream), outcome });
    }

    fn stream_broken(&mut self, core: &mut Core, events: &mut VecDeque<ClientEvent>, stream: u64) {
        core.stats.broken_streams += 1;
        events.push_back(ClientEvent::StreamBroken { stream: StreamId(stream) });
    }

    /// Whether it was the refusal of a stream.
    pub(super) fn stream_refused(&mut self, events: &mut VecDeque<ClientEvent>, id: u64, refused: &Refused) -> bool {
        if !self.streams_out.refused(id) {
            return false;
        }
        events.push_back(ClientEvent::StreamRefused {
            stream: PacketId(id),
            code: RefusalCode(u16::try_from(refused.code).unwrap_or(RefusalCode::INVALID.0)),
            reason: cut_reason(refused.reason.clone()),
            retry_after: refused.retry.then(|| Duration::from_millis(refused.retry_after_ms.into())),
        });
        true
    }
}
