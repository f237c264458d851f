//! What a session does about why its loop woke up.

use std::ops::ControlFlow;
use std::sync::Arc;

use im_proto::{AnswerError, CloseCode, Closed, ClosedBy, Entropy, Instant, RefusalCode, valid_name};

use super::appender::{Appender, Outcome};
use super::jobs::Retelling;
use super::questions::{self, Answer, Device};
use super::resume::Accepted;
use super::{DRAIN, Entrant, Member, Refusal, Session, Wake};
use crate::auth::AuthError;
use crate::clock;
use crate::hub::{Mail, Receipt};
use crate::store::{Append, Positions, StoreError};
use crate::tickets::MAX_LIFETIME;
use crate::transport::{Input, Transport};

impl<T: Transport> Session<T> {
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
            Wake::Done(done) => self.done(now, done),
            Wake::Replied(packet_id, reply) => self.replied(now, packet_id, reply),
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

    pub(super) fn user(&self) -> Option<&str> {
        self.member.as_ref().map(|member| &*member.device.user)
    }

    fn logged_in(&mut self, now: Instant, request: &Entrant, result: Result<Accepted, AuthError>) {
        let (user, facts) = match result {
            Ok(Accepted { user, facts }) if valid_name(&user) => (user, facts),
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
        let device = Device { user, device: Arc::from(request.device.as_str()) };
        let kind = (self.services.device_kind)(&device.device);
        // Those that have to go are told before this one is in, so that no two are in that exclude each other.
        let membership = match self.services.hub.join(&device.user, &device.device, kind, now) {
            Ok(membership) => membership,
            Err(rule) => {
                tracing::info!(user = ?device.user, device = ?device.device, %rule, "login refused");
                self.services.metrics.login("refused");
                let result = self.connection.refuse_login(now, &rule.to_string());
                return self.answered(now, result);
            }
        };
        let accepted = self.connection.resume_login(now, &device.user, clock::unix_ms(), &facts);
        let session = match accepted {
            Ok(session) => session,
            // It was closed while the login was checked.
            Err(error) => return self.answered(now, Err(error)),
        };
        self.services.metrics.login("accepted");
        self.give_ticket();
        let appender = Appender::start(self.services.clone(), membership.mailbox.clone(), self.slot.clone());
        let negotiated = self.negotiated;
        tracing::info!(
            user = ?device.user,
            device = ?device.device,
            peer = ?self.peer,
            transport = T::NAME,
            suite = negotiated.and_then(|negotiated| negotiated.suite.name()),
            format = negotiated.map(|negotiated| negotiated.format_name),
            by_ticket = request.by_ticket,
            session = ?session,
            "login"
        );
        self.member = Some(Member { device, membership, appender });
        self.find_groups();
        self.look_for_ban();
        self.retelling = Retelling::Due(None);
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
        let Outcome { packet_id, to, result } = outcome;
        self.unanswered = self.unanswered.saturating_sub(1);
        let connection = &mut self.connection;
        let result = match result {
            Ok(Append::Stored(at)) => connection.stored(packet_id, &to, at.message_id, at.seq, at.time_ms, false),
            Ok(Append::AlreadyStored(at)) => connection.stored(packet_id, &to, at.message_id, at.seq, at.time_ms, true),
            Ok(Append::Conflict(_)) => {
                let reason = "this packet id was used for another message before: send it with a new id";
                connection.refused(packet_id, RefusalCode::CONFLICT, reason, false)
            }
            Ok(Append::NotStored(error)) if error.is_final() => {
                connection.refused(packet_id, RefusalCode::INVALID, &error.to_string(), false)
            }
            Ok(Append::NotStored(_)) => {
                let reason = "the server could not store the message: it is tried again";
                connection.refused(packet_id, RefusalCode::STORE, reason, true)
            }
            Ok(Append::Unknown(error)) => {
                tracing::error!(%error, "a message may be stored or not; its sender will try again");
                connection.unanswerable()
            }
            Err(Refusal { code, reason, retry }) => connection.refused(packet_id, code, &reason, retry),
        };
        self.answered(now, result);
    }

    fn answer(&mut self, now: Instant, answer: Answer) {
        let result = match answer {
            Answer::Moved { conversation, what, positions } => {
                let Some(Member { device, .. }) = &self.member else { return };
                questions::tell(&self.services.hub, &device.user, &conversation, what, &positions);
                if what == Receipt::Read {
                    // Also where nothing moved: the client says it until it is told.
                    let Positions { epoch, read, .. } = positions;
                    self.connection.read_by(&conversation, &device.user, epoch, read);
                }
                return;
            }
            Answer::Failed(error) => return self.store_failed(now, &error),
            Answer::Resync(reason) => return self.connection.close(now, CloseCode::RESYNC, reason),
            Answer::Unread { heads, complete } => self.connection.unread(&heads, complete),
            Answer::Fetched { conversation, epoch, after, items } => {
                self.connection.fetched_in(&conversation, epoch, after, items)
            }
        };
        self.answered(now, result);
    }

    pub(super) fn store_failed(&mut self, now: Instant, error: &StoreError) {
        tracing::error!(%error, user = self.user(), "the store did not answer a session, which is closed");
        self.connection.close(now, CloseCode::INTERNAL, "the server's store failed: come back later");
    }

    fn mail(&mut self, now: Instant, mail: Mail) {
        let connection = &mut self.connection;
        for (conversation, seq) in &mail.recalled {
            connection.recalled(conversation, *seq);
        }
        for (conversation, head) in &mail.heads {
            connection.notify(conversation, *head);
        }
        if mail.overflow {
            connection.notify_all();
        }
        for (whose, (epoch, up_to)) in &mail.receipts {
            match whose.what {
                Receipt::Delivered => connection.delivered_to(&whose.conversation, &whose.user, *epoch, *up_to),
                Receipt::Read => connection.read_by(&whose.conversation, &whose.user, *epoch, *up_to),
            }
        }
        for (_, signal) in mail.signals {
            connection.signal(signal);
        }
        for (room, count) in &mail.posts_lost {
            connection.lost_in_room(room, *count);
        }
        for (_, post) in mail.posts {
            if let Err(error) = connection.room_message(post) {
                // It left meanwhile.
                tracing::trace!(%error, "a room message was not given to a session");
            }
        }
        if mail.receipts_lost {
            self.retelling = Retelling::Due(None);
        }
        if mail.recalls_lost {
            self.recalls_lost(now);
        }
        if let Some((code, reason)) = mail.kicked {
            self.connection.close(now, code, &reason);
        }
    }

    /// Takes the content out of what was fetched and recalled since. Before anything is transmitted: what was recalled must
    /// not leave, also while other mail waits.
    pub(super) fn redact(&mut self, now: Instant) {
        let Some(Member { membership, .. }) = &self.member else { return };
        let (recalled, lost) = membership.mailbox.take_recalls();
        for (conversation, seq) in recalled {
            self.connection.recalled(&conversation, seq);
        }
        if lost {
            self.recalls_lost(now);
        }
    }

    fn recalls_lost(&mut self, now: Instant) {
        self.connection.close(now, CloseCode::RESYNC, "too much was recalled at once: come back");
    }

    /// An answer that comes too late is forgotten; one that does not fit is a fault of this server or its store.
    pub(super) fn answered(&mut self, now: Instant, result: Result<(), AnswerError>) {
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
