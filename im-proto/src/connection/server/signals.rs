//! What a client signals, and what the application tells the device of others; nothing of it is stored.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use im_serial::body::{CallSignal as CallBody, ConversationKind, Presence, Typing, Watch};

use super::submit::{Refusal, refusal};
use super::{Server, ServerEvent};
use crate::Connection;
use crate::budget::Operation;
use crate::call::{self, CallId, CallRefusal, Effects};
use crate::close::RefusalCode;
use crate::config::valid_name;
use crate::connection::State;
use crate::error::AnswerError;
use crate::outbox::PacketId;
use crate::signals::{PeerSignal, PresenceState, Signal};
use crate::time::Instant;

/// Signals that an application may still refuse.
const MAX_REFUSABLE: usize = 64;

impl Connection<Server> {
    /// Tells this device something of others, if it is online; a presence only if it watches that user. A signal that waits
    /// is replaced by a later one of the same thing; beyond `signal_bytes` the oldest is dropped and counted in
    /// [`Stats::dropped_signals`](crate::Stats::dropped_signals).
    pub fn signal(&mut self, signal: PeerSignal) {
        if self.core.state != State::Online {
            return;
        }
        if let PeerSignal::Presence { user, .. } = &signal
            && !self.role.watches(user)
        {
            return;
        }
        self.core.stats.dropped_signals += self.role.live().signals.push(0, signal.into_body());
    }

    /// Answers a call signal with what [`CallServer`](call::CallServer) said; the effects are the caller's to carry out.
    pub fn call_answered(
        &mut self,
        packet_id: PacketId,
        call: CallId,
        result: &Result<Effects, CallRefusal>,
    ) -> Result<(), AnswerError> {
        self.take_answer()?;
        self.role.answers.push_back((packet_id.0, call::wire::answer_body(call, result).into()));
        Ok(())
    }

    /// Refuses typing, a presence or a watch, of which the application knows that the user may not. Without it they stand: no
    /// answer says so. Call signals are refused with [`refused`](Self::refused) or [`call_answered`](Self::call_answered).
    pub fn signal_refused(
        &mut self,
        packet_id: PacketId,
        code: RefusalCode,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Result<(), AnswerError> {
        match self.core.state {
            State::Online | State::Closing => {}
            state @ (State::Offline | State::Handshaking | State::LoggingIn | State::Closed) => {
                return Err(AnswerError::State(state));
            }
        }
        let at =
            self.role.live().refusable.iter().position(|(id, _)| *id == packet_id.0).ok_or(AnswerError::NotAsked)?;
        if let Some((_, Some(user))) = self.role.live().refusable.remove(at) {
            self.role.live().watched.remove(&user);
        }
        self.role.refuse_for(packet_id.0, code, reason, retry_after);
        Ok(())
    }

    /// Whether this device wants to be told of the presence of `user`.
    pub fn watches(&self, user: &str) -> bool {
        self.role.watches(user)
    }
}

impl Server {
    fn watches(&self, user: &str) -> bool {
        self.live.as_ref().is_some_and(|live| live.watched.contains(user))
    }

    pub(super) fn typing(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, body: Typing) {
        let Typing { conversation, on, .. } = body;
        let fits = matches!(conversation.known_kind(), Some(ConversationKind::Private | ConversationKind::Group))
            && valid_name(&conversation.id);
        let check = if fits {
            Ok(Signal::Typing { conversation, on })
        } else {
            Err(refusal(RefusalCode::INVALID, "typing names a private conversation or a group"))
        };
        self.signal(events, now, id, check);
    }

    pub(super) fn presence(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, body: &Presence) {
        let state = PresenceState(body.state);
        let check = if state.is_known() {
            Ok(Signal::Presence(state))
        } else {
            Err((RefusalCode::INVALID, format!("presence {} is not known here", state.0).into()))
        };
        self.signal(events, now, id, check);
    }

    pub(super) fn watch(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, body: Watch) {
        let Watch { user, on } = body;
        let full = on && !self.watches(&user) && self.live().watched.len() >= self.config.watch_max as usize;
        let check = if !valid_name(&user) {
            Err(refusal(RefusalCode::INVALID, "the user to watch is not a valid name"))
        } else if full {
            let max = self.config.watch_max;
            Err((RefusalCode::INVALID, format!("a device may watch {max} users: end some watches").into()))
        } else {
            Ok(Signal::Watch { user, on })
        };
        self.signal(events, now, id, check);
    }

    pub(super) fn call_signal(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, body: CallBody) {
        let check = match call::wire::signal(body) {
            Ok(_) if id == 0 => Err(refusal(RefusalCode::INVALID, "the packet id of a call signal must not be zero")),
            Ok((call, signal)) => Ok(Signal::Call { call, signal }),
            Err(bad) => Err((RefusalCode::INVALID, bad.to_string().into())),
        };
        self.signal(events, now, id, check);
    }

    fn signal(&mut self, events: &mut VecDeque<ServerEvent>, now: Instant, id: u64, checked: Result<Signal, Refusal>) {
        if !self.spend(now, id, Operation::Signal) {
            return;
        }
        let signal = match checked {
            Ok(signal) => signal,
            Err((code, reason)) => return self.refuse(id, code, &reason, false),
        };
        let watched = match &signal {
            Signal::Watch { user, on: true } => {
                self.live().watched.insert(user.clone());
                Some(user.clone())
            }
            Signal::Watch { user, on: false } => {
                self.live().watched.remove(user);
                None
            }
            Signal::Typing { .. } | Signal::Presence(_) | Signal::Call { .. } => None,
        };
        if matches!(signal, Signal::Call { .. }) {
            self.unanswered = self.unanswered.saturating_add(1);
        } else {
            self.live().refusable.push_back((id, watched));
            if self.live().refusable.len() > MAX_REFUSABLE {
                self.live().refusable.pop_front();
            }
        }
        events.push_back(ServerEvent::Signal { packet_id: PacketId(id), signal });
    }

    /// Takes what an operation costs, or refuses it and says when to come back.
    pub(super) fn spend(&mut self, now: Instant, id: u64, operation: Operation) -> bool {
        self.spend_or_drop(now, id, true, operation)
    }

    /// The same, with or without an answer.
    pub(super) fn spend_or_drop(&mut self, now: Instant, id: u64, answer: bool, operation: Operation) -> bool {
        let Some(budgets) = &mut self.budgets else { return true };
        let Err(over) = budgets.spend(now, operation) else { return true };
        if !answer {
            return false;
        }
        let reason = match over.retry_after(now) {
            Some(_) => format!("{over}: wait before you send this again"),
            None => format!("{over}, and this is more than it ever holds"),
        };
        self.refuse_for(id, RefusalCode::OVER_BUDGET, &reason, over.retry_after(now));
        false
    }
}
