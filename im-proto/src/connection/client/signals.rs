//! What this client signals, and what it is told of others; nothing of it is stored.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::time::Duration;

use im_codec::MessageType;
use im_serial::Body;
use im_serial::body::{CallAnswer, CallNotice, Presence, Refused, Typing};

use super::{Client, ClientEvent};
use crate::Connection;
use crate::call;
use crate::close::{RefusalCode, cut_reason};
use crate::config::{content_fits, valid_name};
use crate::connection::State;
use crate::connection::machine::Core;
use crate::error::{Error, SignalError};
use crate::feed::has_positions;
use crate::outbox::PacketId;
use crate::signals::{PeerSignal, PresenceState, Signal};

/// Signals whose refusal is recognized.
const MAX_SENT: usize = 64;

impl Connection<Client> {
    /// Signals something, once: what is lost with a connection is not sent again. A server that refuses it says so with
    /// [`ClientEvent::SignalRefused`]; a call signal is answered with [`ClientEvent::CallAnswered`].
    ///
    /// Of typing in one conversation, of the own presence and of watching one user only the last waits for transmission.
    /// Beyond `signal_bytes` the oldest signal is dropped and counted in
    /// [`Stats::dropped_signals`](crate::Stats::dropped_signals).
    ///
    /// # Errors
    /// [`SignalError::Offline`] without a login: nothing of it would make sense later.
    pub fn signal(&mut self, signal: Signal) -> Result<PacketId, SignalError> {
        if self.core.state != State::Online {
            return Err(SignalError::Offline);
        }
        self.role.check_signal(&signal)?;
        let id = self.role.outbox.take_id();
        self.core.stats.dropped_signals += self.role.signals.push(id.0, signal.into_body());
        Ok(id)
    }
}

impl Client {
    fn check_signal(&self, signal: &Signal) -> Result<(), SignalError> {
        let valid = match signal {
            Signal::Typing { conversation, .. } => has_positions(conversation) && valid_name(&conversation.id),
            Signal::Presence(state) => state.is_known(),
            Signal::Watch { user, .. } => valid_name(user),
            Signal::Call { call, signal } => {
                let body = call::wire::signal_body(*call, signal.clone());
                // Names take as much room as content.
                let len = body.payload.len() + body.users.len();
                if !content_fits(len, self.config.max_body) {
                    return Err(SignalError::TooLarge { len });
                }
                call::wire::signal(body).is_ok()
            }
        };
        if valid { Ok(()) } else { Err(SignalError::Invalid) }
    }

    /// The signal was transmitted: its refusal may come.
    pub(super) fn signal_sent(&mut self) {
        if let Some((id, _)) = self.signals.next() {
            self.sent_signals.push_back(id);
            if self.sent_signals.len() > MAX_SENT {
                self.sent_signals.pop_front();
            }
            self.signals.pop();
        }
    }

    fn take_sent(&mut self, id: u64) -> bool {
        let at = self.sent_signals.iter().position(|sent| *sent == id);
        at.is_some_and(|at| self.sent_signals.remove(at).is_some())
    }

    /// Whether it was the refusal of a signal.
    pub(super) fn signal_refused(&mut self, events: &mut VecDeque<ClientEvent>, id: u64, refused: &Refused) -> bool {
        if !self.take_sent(id) {
            return false;
        }
        events.push_back(ClientEvent::SignalRefused {
            packet_id: PacketId(id),
            code: RefusalCode(u16::try_from(refused.code).unwrap_or(RefusalCode::INVALID.0)),
            reason: cut_reason(refused.reason.clone()),
            retry_after: refused.retry.then(|| Duration::from_millis(refused.retry_after_ms.into())),
        });
        true
    }

    pub(super) fn call_answered(&mut self, events: &mut VecDeque<ClientEvent>, id: u64, body: &CallAnswer) {
        if self.take_sent(id) {
            let (call, result) = call::wire::answer(body);
            events.push_back(ClientEvent::CallAnswered { packet_id: PacketId(id), call, result });
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the role matched before")]
    pub(super) fn peer_signal(
        &mut self,
        core: &Core,
        events: &mut VecDeque<ClientEvent>,
        body: Body,
    ) -> Result<(), Error> {
        let name = |field, name: &str| if valid_name(name) { Ok(()) } else { Err(Error::Name { field }) };
        let signal = match body {
            Body::Typing(Typing { conversation, user, on }) => {
                name("conversation", &conversation.id)?;
                name("user", &user)?;
                PeerSignal::Typing { conversation, user, on }
            }
            Body::Presence(Presence { user, state, seen_ms }) => {
                name("user", &user)?;
                PeerSignal::Presence { user, state: PresenceState(state), seen_ms }
            }
            Body::CallNotice(body) => match Self::call_notice(*body) {
                Some(signal) => signal,
                // Of a later version: nothing that this client could act on.
                None => return Ok(()),
            },
            body => return Err(Error::Unexpected { got: MessageType(body.kind().code()), state: core.state }),
        };
        events.push_back(ClientEvent::Signal(signal));
        Ok(())
    }

    fn call_notice(body: CallNotice) -> Option<PeerSignal> {
        let names = [&body.group, &body.user, &body.device, &body.host];
        let valid = names.into_iter().all(|name: &String| name.is_empty() || valid_name(name));
        if !valid {
            return None;
        }
        call::wire::notice(body).map(|(call, notice)| PeerSignal::Call { call, notice })
    }
}
