//! What a session does when something happened: events of its connection, and why its loop woke up.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use im_proto::{
    AnswerError, CloseCode, Closed, ClosedBy, Conversation, Entropy, Instant, RefusalCode, ServerEvent, Signal,
    Submission, valid_name,
};

use super::appender::{Appender, Outcome, Submitted};
use super::questions::{Answer, Device, Question};
use super::{DRAIN, Entrant, Member, Services, Session, Wake};
use crate::auth::AuthError;
use crate::clock;
use crate::conversation;
use crate::hub::Mail;
use crate::store::{Append, ConversationKey, NewMessage, StoreError};
use crate::tickets::MAX_LIFETIME;
use crate::transport::{Input, Transport};

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
                let authenticator = self.services.authenticator.clone();
                self.login = Some(Box::pin(async move {
                    let result = authenticator.authenticate(&request).await;
                    (Entrant { user: request.user, device: request.device, by_ticket: false }, result)
                }));
            }
            ServerEvent::Ticket(ticket) => {
                let fresh = self.services.tickets.spend(&ticket);
                let result = self.connection.ticket(now, fresh);
                self.answered(now, result);
            }
            ServerEvent::Resumed(login) => {
                let authenticator = self.services.authenticator.clone();
                self.login = Some(Box::pin(async move {
                    let result = authenticator.resume(&login).await.map(|()| Arc::from(login.user.as_str()));
                    (Entrant { user: login.user, device: login.device, by_ticket: true }, result)
                }));
            }
            ServerEvent::Message(message) => self.message(now, message),
            ServerEvent::Command { packet_id, .. } => {
                let reason = "this server stores messages only: nothing can be recalled, edited or reacted to";
                let result = self.connection.refused(packet_id, RefusalCode::INVALID, reason, false);
                self.answered(now, result);
            }
            ServerEvent::Sealed(message) => {
                let reason = "this server keeps no parts for devices: nothing sealed can be stored";
                let result = self.connection.refused(message.packet_id, RefusalCode::INVALID, reason, false);
                self.answered(now, result);
            }
            ServerEvent::RoomJoin { packet_id, .. } => {
                let result =
                    self.connection.refuse_join(packet_id, RefusalCode::INVALID, "this server has no rooms", None);
                self.answered(now, result);
            }
            ServerEvent::StreamOpened { stream, .. } => {
                let reason = "this server passes no streams on";
                let result = self.connection.refuse_stream(stream, RefusalCode::INVALID, reason, None);
                self.answered(now, result);
            }
            ServerEvent::Request { packet_id, .. } => {
                let (code, reason) = (RefusalCode::UNKNOWN_METHOD, "this server answers no requests");
                let result = self.connection.refuse_request(packet_id, code, reason, None);
                self.answered(now, result);
            }
            // Of rooms that nobody is in, streams that were refused, and requests that nobody makes.
            ServerEvent::RoomLeft { .. }
            | ServerEvent::StreamDelta { .. }
            | ServerEvent::StreamEnded { .. }
            | ServerEvent::Response { .. }
            | ServerEvent::RequestFailed { .. } => {}
            ServerEvent::Signal { packet_id, signal } => {
                let (code, reason) = (RefusalCode::INVALID, "this server passes no signals on");
                let result = match signal {
                    Signal::Call { .. } => self.connection.refused(packet_id, code, reason, false),
                    Signal::Typing { .. } | Signal::Presence(_) | Signal::Watch { .. } | _ => {
                        self.connection.signal_refused(packet_id, code, reason, None)
                    }
                };
                self.answered(now, result);
            }
            // There is no answer that could refuse it; the client says it again on its next connection.
            ServerEvent::Read { .. } => tracing::debug!(user = self.user(), "a read position is not kept here"),
            ServerEvent::Unread { limit } => self.questions.ask(Question::Unread { limit }),
            ServerEvent::Fetch { conversation, after, max_messages, max_bytes } => {
                if let Some(key) = self.key(now, &conversation) {
                    let (messages, bytes) = (max_messages, max_bytes);
                    self.questions.ask(Question::Fetch { conversation, key, after, messages, bytes });
                }
            }
            ServerEvent::Delivered { conversation, up_to, .. } => {
                if let Some(key) = self.key(now, &conversation) {
                    self.questions.advance(key, up_to);
                }
            }
            ServerEvent::Closed(closed) => self.closed = Some(closed),
            _ => {}
        }
    }

    /// The store's key of a conversation; a peer that names one of an unknown kind is closed.
    fn key(&mut self, now: Instant, conversation: &Conversation) -> Option<ConversationKey> {
        let key = conversation::key(&self.member.as_ref()?.device.user, conversation);
        if key.is_none() {
            self.connection.close(now, CloseCode::PROTOCOL, "this server knows private conversations (kind 1) only");
        }
        key
    }

    fn message(&mut self, now: Instant, message: Submission) {
        let packet_id = message.packet_id;
        let result = match self.submission(message) {
            Ok(submitted) => {
                let Some(member) = &self.member else { return };
                member.appender.submit(submitted);
                self.unanswered += 1;
                return;
            }
            Err((code, reason, retry)) => self.connection.refused(packet_id, code, &reason, retry),
        };
        self.answered(now, result);
    }

    fn submission(&self, message: Submission) -> Result<Submitted, (RefusalCode, String, bool)> {
        let invalid = |reason: &str| (RefusalCode::INVALID, reason.to_owned(), false);
        let Some(Member { device, .. }) = &self.member else { return Err(invalid("nobody is logged in")) };
        let Some(key) = conversation::key(&device.user, &message.to) else {
            return Err(invalid("this server knows private conversations (kind 1) only"));
        };
        let Ok(content_type) = u16::try_from(message.content_type) else {
            return Err(invalid("the content type is over 65535"));
        };
        let time_ms = clock::unix_ms();
        let id = self.services.ids.lock().unwrap_or_else(PoisonError::into_inner).next(time_ms);
        let message_id = id.map_err(|error| {
            tracing::error!(%error, "messages cannot be stored");
            (RefusalCode::STORE, "the server's clock is wrong: try again later".into(), true)
        })?;
        let new = NewMessage {
            members: conversation::members(&device.user, &message.to),
            conversation: key,
            from: device.user.clone(),
            device: device.device.clone(),
            packet_id: message.packet_id.0,
            digest: conversation::digest(&message),
            message_id,
            time_ms,
            content_type,
            content: message.content,
        };
        Ok(Submitted { to: message.to, message: new })
    }

    /// Acts on why the loop woke up. `Break` when the transport is lost.
    pub(super) fn handle(&mut self, now: Instant, wake: Wake) -> ControlFlow<()> {
        match wake {
            Wake::Read(Ok(Input::Bytes)) => {}
            Wake::Read(Ok(Input::End)) => self.end_of_input(now),
            Wake::Read(Ok(Input::Refused(code, reason))) => self.connection.close(now, code, reason),
            Wake::Written(Ok(len)) => {
                self.output.written += len;
                self.output.progress = now;
                if self.output.written >= self.output.bytes.len() {
                    // An idle session holds no buffer.
                    (self.output.bytes, self.output.written) = (Vec::new(), 0);
                }
            }
            Wake::Flushed(Ok(())) => self.output.unflushed = false,
            Wake::Read(Err(error)) | Wake::Written(Err(error)) | Wake::Flushed(Err(error)) => {
                self.services.metrics.cut(false);
                return self.lost(now, &error.to_string());
            }
            Wake::Login(request, result) => {
                self.login = None;
                self.logged_in(now, &request, result);
            }
            Wake::Stored(outcome) => {
                self.stored(now, outcome);
                // Those that were committed together are answered together.
                while let Some(outcome) = self.member.as_mut().and_then(|member| member.appender.try_outcome()) {
                    self.stored(now, outcome);
                }
            }
            Wake::Answer(answer) => self.answer(now, answer),
            Wake::Mail(mail) => self.mail(now, mail),
            Wake::Stopping => self.drain_until = Some(now + DRAIN),
            Wake::Timer => {
                if !self.output.is_empty() && self.output.progress + self.services.stall <= now {
                    self.services.metrics.cut(true);
                    return self.lost(now, "the peer took nothing for too long");
                }
                self.connection.handle_timeout(now);
            }
        }
        ControlFlow::Continue(())
    }

    /// The peer sends nothing more. It may still read, so a packet that was cut off is answered.
    fn end_of_input(&mut self, now: Instant) {
        if self.input.is_empty() {
            self.connection.handle_eof(now);
        } else {
            let reason = format!("the transport ended inside a packet, after {} of its bytes", self.input.len());
            self.connection.close(now, CloseCode::PROTOCOL, &reason);
            self.input = Vec::new();
        }
    }

    /// The transport failed: nobody can be told.
    fn lost(&mut self, now: Instant, why: &str) -> ControlFlow<()> {
        self.connection.handle_eof(now);
        tracing::debug!(peer = ?self.peer, user = self.user(), why, "transport lost");
        ControlFlow::Break(())
    }

    fn user(&self) -> Option<&str> {
        self.member.as_ref().map(|member| &*member.device.user)
    }

    fn logged_in(&mut self, now: Instant, request: &Entrant, result: Result<Arc<str>, AuthError>) {
        let user = match result {
            Ok(user) if valid_name(&user) => user,
            Ok(_) => {
                tracing::error!("the authenticator gave a user id that is not a valid name");
                return self.connection.close(now, CloseCode::INTERNAL, "the login could not be completed");
            }
            Err(AuthError::Unavailable(why)) => {
                tracing::error!(why, "a login could not be checked");
                self.services.metrics.login("unavailable");
                return self.connection.close(
                    now,
                    CloseCode::INTERNAL,
                    "the login could not be checked: come back later",
                );
            }
            Err(AuthError::Refused(reason)) => {
                tracing::info!(user = ?request.user, device = ?request.device, peer = ?self.peer, "login refused");
                self.services.metrics.login("refused");
                self.slot.login_refused();
                let result = self.connection.refuse_login(now, &reason);
                return self.answered(now, result);
            }
        };
        if let Err(error) = self.connection.accept_login(now, &user, clock::unix_ms()) {
            // It was closed while the login was checked.
            return self.answered(now, Err(error));
        }
        self.services.metrics.login("accepted");
        self.give_ticket();
        let device = Device { user, device: Arc::from(request.device.as_str()) };
        let membership = self.services.hub.join(&device.user, &device.device);
        let Services { store, hub, .. } = &*self.services;
        let appender = Appender::start(store.clone(), hub.clone(), membership.mailbox.clone(), self.slot.clone());
        let negotiated = self.negotiated;
        tracing::info!(
            user = ?device.user,
            device = ?device.device,
            peer = ?self.peer,
            transport = T::NAME,
            suite = negotiated.and_then(|negotiated| negotiated.suite.name()),
            format = negotiated.map(|negotiated| negotiated.format_name),
            by_ticket = request.by_ticket,
            "login"
        );
        self.member = Some(Member { device, membership, appender });
    }

    /// With it the device comes back without its token. Without one it logs in as it did now, so nothing is lost by a failure.
    fn give_ticket(&mut self) {
        let Some(lifetime) = self.services.authenticator.ticket_lifetime() else { return };
        let lifetime = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).min(MAX_LIFETIME);
        let now = clock::unix_ms() / 1000;
        let entropy = Entropy::from_rng(&mut getrandom::SysRng);
        let (Some(keys), Ok(entropy)) = (self.services.tickets.keys(now), entropy) else { return };
        if let Err(error) = self.connection.issue_ticket(&keys, now, lifetime, entropy) {
            tracing::warn!(%error, "a ticket was not given");
        }
    }

    fn stored(&mut self, now: Instant, outcome: Outcome) {
        let Outcome { packet_id, to, append } = outcome;
        self.unanswered = self.unanswered.saturating_sub(1);
        let connection = &mut self.connection;
        let result = match append {
            Append::Stored(at) => connection.stored(packet_id, &to, at.message_id, at.seq, at.time_ms, false),
            Append::AlreadyStored(at) => connection.stored(packet_id, &to, at.message_id, at.seq, at.time_ms, true),
            Append::Conflict(_) => {
                let reason = "this packet id was used for another message before: send it with a new id";
                connection.refused(packet_id, RefusalCode::CONFLICT, reason, false)
            }
            Append::NotStored(error) => {
                tracing::error!(%error, "a message was not stored");
                let reason = "the server could not store the message: it is tried again";
                connection.refused(packet_id, RefusalCode::STORE, reason, true)
            }
            Append::Unknown(error) => {
                tracing::error!(%error, "a message may be stored or not; its sender will try again");
                connection.unanswerable()
            }
        };
        self.answered(now, result);
    }

    fn answer(&mut self, now: Instant, answer: Answer) {
        let result = match answer {
            Answer::Advanced(Ok(())) => return,
            Answer::Advanced(Err(error)) => return self.store_failed(now, &error),
            Answer::Failed(error) => return self.store_failed(now, &error),
            Answer::Unread { heads, complete } => self.connection.unread(&heads, complete),
            Answer::Fetched { conversation, after, items } => self.connection.fetched(&conversation, after, items),
        };
        self.answered(now, result);
    }

    fn store_failed(&mut self, now: Instant, error: &StoreError) {
        tracing::error!(%error, user = self.user(), "the store did not answer a session, which is closed");
        self.connection.close(now, CloseCode::INTERNAL, "the server's store failed: come back later");
    }

    fn mail(&mut self, now: Instant, mail: Mail) {
        let Mail { heads, overflow, replaced } = mail;
        for (conversation, head) in heads {
            self.connection.notify(&conversation, head);
        }
        if overflow {
            self.connection.notify_all();
        }
        if replaced {
            self.connection.close(now, CloseCode::REPLACED, "the same device logged in again elsewhere");
        }
    }

    /// An answer that comes too late is forgotten; one that does not fit is a fault of this server or its store.
    fn answered(&mut self, now: Instant, result: Result<(), AnswerError>) {
        match result {
            Ok(()) | Err(AnswerError::State(_)) => {}
            Err(error) => {
                tracing::error!(%error, user = self.user(), "an answer did not fit; the session is closed");
                self.connection.close(now, CloseCode::INTERNAL, "the server made a mistake: come back");
            }
        }
    }

    pub(super) fn log_end(&self, closed: &Closed) {
        // What a peer gave as its reason is its own text and stays out of the log.
        let reason = (closed.by != ClosedBy::Peer).then_some(closed.reason.as_str());
        self.services.metrics.closed(closed, self.member.is_some());
        tracing::debug!(peer = ?self.peer, by = ?closed.by, code = %closed.code, reason, "session ended");
    }
}
