//! What a session does about the events of its connection.

use std::sync::Arc;

use im_proto::{CloseCode, Conversation, ConversationKind, Instant, PacketId, RefusalCode, ServerEvent};

use super::appender::Submitted;
use super::questions::{Move, Question};
use super::{Entrant, Refusal, Session, submission};
use crate::conversation;
use crate::hub::Receipt;
use crate::store::ConversationKey;
use crate::transport::Transport;

impl<T: Transport> Session<T> {
    /// Handles every event that waits.
    pub(super) fn events(&mut self, now: Instant) {
        while let Some(event) = self.connection.poll_event() {
            self.event(now, event);
        }
    }

    fn event(&mut self, now: Instant, event: ServerEvent) {
        match event {
            ServerEvent::Negotiated(negotiated) => self.negotiated = Some(negotiated),
            ServerEvent::Login(request) => {
                let services = self.services.clone();
                self.login = Some(Box::pin(async move {
                    let result = match services.authenticator.authenticate(&request).await {
                        Ok(user) => services.admitted(user, &request.device, request.resume.as_ref()).await,
                        Err(error) => Err(error),
                    };
                    (Entrant { user: request.user, device: request.device, by_ticket: false }, result)
                }));
            }
            ServerEvent::Ticket(ticket) => {
                let fresh = self.services.tickets.spend(&ticket);
                let result = self.connection.ticket(now, fresh);
                self.answered(now, result);
            }
            ServerEvent::Resumed(login) => {
                let services = self.services.clone();
                self.login = Some(Box::pin(async move {
                    let user = Arc::from(login.user.as_str());
                    let result = match services.authenticator.resume(&login).await {
                        Ok(()) => services.admitted(user, &login.device, login.resume.as_ref()).await,
                        Err(error) => Err(error),
                    };
                    (Entrant { user: login.user, device: login.device, by_ticket: true }, result)
                }));
            }
            ServerEvent::Message(message) if message.to.known_kind() == Some(ConversationKind::Room) => {
                self.post(now, message);
            }
            ServerEvent::Message(message) => {
                let packet_id = message.packet_id;
                self.submit(now, packet_id, |this, device| submission::message(&this.services, device, message));
            }
            ServerEvent::Command { packet_id, command } => {
                self.submit(now, packet_id, |this, device| {
                    submission::command(&this.services, device, packet_id, command)
                });
            }
            ServerEvent::Sealed(message) => {
                let packet_id = message.packet_id;
                self.submit(now, packet_id, |this, device| submission::sealed(&this.services, device, message));
            }
            ServerEvent::RoomJoin { packet_id, room } => self.join_room(packet_id, room),
            ServerEvent::RoomLeft { room } => self.left_room(&room),
            ServerEvent::StreamOpened { stream, .. } => {
                let reason = "this server passes no streams on";
                let result = self.connection.refuse_stream(stream, RefusalCode::INVALID, reason, None);
                self.answered(now, result);
            }
            ServerEvent::Request { packet_id, request } => self.asked(packet_id, request),
            // Of streams that were refused, and requests that nobody makes.
            ServerEvent::StreamDelta { .. }
            | ServerEvent::StreamEnded { .. }
            | ServerEvent::Response { .. }
            | ServerEvent::RequestFailed { .. } => {}
            ServerEvent::Signal { packet_id, signal } => self.signal(now, packet_id, signal),
            ServerEvent::Read { conversation, up_to, epoch } => {
                self.advance(now, conversation, Receipt::Read, epoch, up_to);
            }
            ServerEvent::Unread { limit } => self.questions.ask(Question::Unread { limit }),
            ServerEvent::Fetch { conversation, after, max_messages, max_bytes } => {
                if let Some(key) = self.key(now, &conversation) {
                    let (messages, bytes) = (max_messages, max_bytes);
                    self.questions.ask(Question::Fetch { conversation, key, after, messages, bytes });
                }
            }
            ServerEvent::Delivered { conversation, up_to, epoch } => {
                self.advance(now, conversation, Receipt::Delivered, epoch, up_to);
            }
            ServerEvent::Closed(closed) => self.closed = Some(closed),
            _ => {}
        }
    }

    /// The store's key of a conversation; a peer that names one of a kind without a log is closed.
    fn key(&mut self, now: Instant, conversation: &Conversation) -> Option<ConversationKey> {
        let key = conversation::key(&self.member.as_ref()?.device.user, conversation);
        if key.is_none() {
            let reason = "this server keeps logs of private conversations (kind 1), groups (2) and broadcasts (4) only";
            self.connection.close(now, CloseCode::PROTOCOL, reason);
        }
        key
    }

    fn advance(&mut self, now: Instant, conversation: Conversation, what: Receipt, epoch: u64, up_to: u64) {
        if let Some(key) = self.key(now, &conversation) {
            self.questions.advance(Move { conversation, key, what, epoch, up_to });
        }
    }

    fn submit(
        &mut self,
        now: Instant,
        packet_id: PacketId,
        make: impl FnOnce(&Self, &super::Device) -> Result<Submitted, Refusal>,
    ) {
        let Some(member) = &self.member else { return };
        match make(self, &member.device) {
            Ok(submitted) => {
                member.appender.submit(submitted);
                self.unanswered += 1;
            }
            Err(refusal) => self.refuse(now, packet_id, &refusal),
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, packet_id: PacketId, refusal: &Refusal) {
        let result = self.connection.refused(packet_id, refusal.code, &refusal.reason, refusal.retry);
        self.answered(now, result);
    }
}
