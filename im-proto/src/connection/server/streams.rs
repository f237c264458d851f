//! Streams that this client makes, and what it is told of those of others.

use alloc::collections::VecDeque;
use alloc::format;
use core::time::Duration;

use im_serial::body::{Conversation, StreamDelta, StreamEnd, StreamOpen};

use super::submit::{Refusal, check_target, refusal};
use super::{Server, ServerEvent};
use crate::Connection;
use crate::budget::Operation;
use crate::close::RefusalCode;
use crate::config::valid_name;
use crate::connection::State;
use crate::connection::machine::Core;
use crate::error::{AnswerError, StreamError};
use crate::outbox::PacketId;
use crate::streams::{AbortReason, Piece, StreamId, StreamOutcome};
use crate::time::Instant;

impl Connection<Server> {
    /// Tells this device that a stream of `from` begins in a conversation, as this device names it.
    ///
    /// # Errors
    /// [`StreamError::TooMany`] beyond `streams_max`, ended streams whose end waits included: this reader is too slow, and
    /// waits for the message of the log. [`StreamError::InUse`] where the id names an open stream.
    pub fn open_stream(
        &mut self,
        stream: StreamId,
        conversation: &Conversation,
        from: &str,
        content_type: u32,
    ) -> Result<(), StreamError> {
        if self.core.state != State::Online {
            return Err(StreamError::Offline);
        }
        if stream.0 == 0 || !valid_name(&conversation.id) || !valid_name(from) {
            return Err(StreamError::Invalid);
        }
        self.role.live().streams_out.open(stream.0, conversation.clone(), from.into(), content_type)
    }

    /// The next piece. Pieces that wait for transmission become one. Where `stream_bytes` wait already the stream is broken off
    /// for this reader, and counted in [`Stats::broken_streams`](crate::Stats::broken_streams): what waits of it is dropped,
    /// and the client learns from the end of the stream that it has not all.
    ///
    /// # Errors
    /// [`StreamError::NotOpen`] where the stream is not open on this connection.
    pub fn extend_stream(&mut self, stream: StreamId, piece: &[u8]) -> Result<(), StreamError> {
        if !self.role.live().streams_out.push(stream.0, piece)? {
            self.role.live().streams_out.break_off(stream.0, piece);
            self.core.stats.broken_streams += 1;
        }
        Ok(())
    }

    /// Ends the stream behind the pieces that wait.
    ///
    /// # Errors
    /// [`StreamError::NotOpen`] as for a piece.
    pub fn end_stream(&mut self, stream: StreamId, outcome: StreamOutcome) -> Result<(), StreamError> {
        self.role.live().streams_out.end(stream.0, outcome)
    }

    /// This client's own stream is not wanted, or no more: nothing more of it is an event.
    ///
    /// # Errors
    /// [`AnswerError::NotAsked`] where the stream is not open.
    pub fn refuse_stream(
        &mut self,
        stream: PacketId,
        code: RefusalCode,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), AnswerError> {
        if !self.role.live().streams_in.forget(stream.0) {
            return Err(AnswerError::NotAsked);
        }
        self.role.refuse_for(stream.0, code, reason, retry_after);
        Ok(())
    }
}

impl Server {
    pub(super) fn stream_open(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, body: StreamOpen) {
        if !self.spend(now, id, Operation::Signal) {
            return;
        }
        let StreamOpen { stream, conversation, content_type, .. } = body;
        if let Err((code, reason)) = self.check_open(id, stream, &conversation) {
            return self.refuse(id, code, &reason, false);
        }
        self.live().streams_in.open(stream);
        events.push_back(ServerEvent::StreamOpened { stream: PacketId(stream), conversation, content_type });
    }

    fn check_open(&mut self, id: u64, stream: u64, conversation: &Conversation) -> Result<(), Refusal> {
        check_target(conversation)?;
        if id == 0 || id != stream || self.live().streams_in.contains(stream) {
            let reason =
                "a client's stream is named by the packet id of its first packet: not zero, and not one that is open";
            return Err(refusal(RefusalCode::INVALID, reason));
        }
        if self.live().streams_in.is_full() {
            let max = self.config.streams_max;
            return Err((
                RefusalCode::TOO_MANY,
                format!("a connection may have {max} streams open: end one first").into(),
            ));
        }
        Ok(())
    }

    pub(super) fn stream_delta(
        &mut self,
        core: &mut Core,
        events: &mut VecDeque<ServerEvent>,
        now: Instant,
        body: StreamDelta,
    ) {
        let StreamDelta { stream, offset, content } = body;
        // Of a stream that was refused more may be under way. It costs, and is not answered again.
        let known = self.live().streams_in.contains(stream);
        let bytes = u32::try_from(content.len()).unwrap_or(u32::MAX);
        if !self.spend_or_drop(now, stream, known, Operation::Delta { bytes }) {
            return self.break_off(events, stream, AbortReason::Limit);
        }
        let checked = match self.live().streams_in.piece(stream, offset, content.len()) {
            Piece::Unknown => {
                core.stats.dropped_deltas += 1;
                return;
            }
            Piece::Hole | Piece::Broken => Err(refusal(RefusalCode::INVALID, "a piece of the stream is missing")),
            Piece::Next => self.check_len(offset, content.len()),
        };
        match checked {
            Ok(()) if content.is_empty() => {}
            Ok(()) => events.push_back(ServerEvent::StreamDelta { stream: PacketId(stream), content }),
            Err((code, reason)) => {
                let violated = code == RefusalCode::INVALID;
                self.refuse(stream, code, &reason, false);
                self.break_off(events, stream, if violated { AbortReason::Other } else { AbortReason::Limit });
            }
        }
    }

    fn check_len(&self, offset: u64, len: usize) -> Result<(), Refusal> {
        let max = self.config.stream_len_max;
        if len > self.config.max_content {
            return Err(refusal(RefusalCode::TOO_LARGE, "a piece of the stream is over the limit of a message"));
        }
        if offset.saturating_add(len as u64) > max {
            return Err((RefusalCode::TOO_LARGE, format!("a stream may have {max} bytes").into()));
        }
        Ok(())
    }

    /// The stream is over for the application.
    fn break_off(&mut self, events: &mut VecDeque<ServerEvent>, stream: u64, reason: AbortReason) {
        if self.live().streams_in.forget(stream) {
            let outcome = StreamOutcome::Aborted(reason);
            events.push_back(ServerEvent::StreamEnded { stream: PacketId(stream), outcome });
        }
    }

    pub(super) fn stream_end(&mut self, events: &mut VecDeque<ServerEvent>, body: &StreamEnd) {
        let StreamEnd { stream, len, aborted, .. } = *body;
        match self.live().streams_in.end(stream, len) {
            None => {}
            Some(false) => {
                // Where the message stands is the log's to say.
                let outcome = StreamOutcome::from_codes(aborted, 0);
                events.push_back(ServerEvent::StreamEnded { stream: PacketId(stream), outcome });
            }
            Some(true) => {
                self.refuse(stream, RefusalCode::INVALID, "the stream ends with another length than it had", false);
                let outcome = StreamOutcome::Aborted(AbortReason::Other);
                events.push_back(ServerEvent::StreamEnded { stream: PacketId(stream), outcome });
            }
        }
    }

    /// What the end of the connection makes of the client's streams.
    pub(super) fn streams_lost(&mut self, events: &mut VecDeque<ServerEvent>) {
        self.live().streams_out.clear();
        let outcome = StreamOutcome::Aborted(AbortReason::Lost);
        events.extend(
            self.live().streams_in.clear().map(|id| ServerEvent::StreamEnded { stream: PacketId(id), outcome }),
        );
    }
}
