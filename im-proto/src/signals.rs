//! What is said and never stored: typing, presence, call signals. Who is not there misses it.

use alloc::collections::VecDeque;
use alloc::string::String;

use im_serial::Body;
use im_serial::body::{Conversation, Presence, Typing, Watch};

use crate::call::{self, CallId, CallSignal, Notice};

/// Whether somebody is there.
///
/// ```
/// # use im_proto::PresenceState;
/// assert_eq!(PresenceState::AWAY.name(), Some("away"));
/// assert!(PresenceState(130).is_application());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PresenceState(pub u32);

impl PresenceState {
    /// Not there, or not to be seen.
    pub const OFFLINE: Self = Self(0);
    /// There.
    pub const ONLINE: Self = Self(1);
    /// There, and not at the device.
    pub const AWAY: Self = Self(2);
    /// There, and not to be disturbed.
    pub const BUSY: Self = Self(3);

    /// The name of a known state.
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("offline"),
            1 => Some("online"),
            2 => Some("away"),
            3 => Some("busy"),
            _ => None,
        }
    }

    /// Whether the code belongs to applications: 128 to 191.
    pub const fn is_application(self) -> bool {
        matches!(self.0, 128..=191)
    }

    /// Whether a client may say it.
    pub(crate) const fn is_known(self) -> bool {
        self.name().is_some() || self.is_application()
    }
}

/// What a client signals.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The user types, or stopped, in a private conversation or a group.
    Typing {
        /// The conversation.
        conversation: Conversation,
        /// Types; false: stopped.
        on: bool,
    },
    /// The user's own presence, as this device sees it.
    Presence(PresenceState),
    /// Whether this device wants to be told of a user's presence. Forgotten with the connection.
    Watch {
        /// Whose.
        user: String,
        /// Begin; false: end.
        on: bool,
    },
    /// Something in a call.
    Call {
        /// Which call.
        call: CallId,
        /// What.
        signal: CallSignal,
    },
}

impl Signal {
    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Typing { conversation, on } => Typing { conversation, user: String::new(), on }.into(),
            Self::Presence(state) => Presence { user: String::new(), state: state.0, seen_ms: 0 }.into(),
            Self::Watch { user, on } => Watch { user, on }.into(),
            Self::Call { call, signal } => call::wire::signal_body(call, signal).into(),
        }
    }
}

/// What a device is told of others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerSignal {
    /// Somebody types, or stopped.
    Typing {
        /// The conversation, as the receiver names it.
        conversation: Conversation,
        /// Who.
        user: String,
        /// Types; false: stopped.
        on: bool,
    },
    /// Somebody's presence.
    Presence {
        /// Whose.
        user: String,
        /// What it is now.
        state: PresenceState,
        /// When the user was seen last, in Unix milliseconds; 0: not told.
        seen_ms: u64,
    },
    /// Something in a call.
    Call {
        /// Which call.
        call: CallId,
        /// What.
        notice: Notice,
    },
}

impl PeerSignal {
    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Typing { conversation, user, on } => Typing { conversation, user, on }.into(),
            Self::Presence { user, state, seen_ms } => Presence { user, state: state.0, seen_ms }.into(),
            Self::Call { call, notice } => call::wire::notice_body(call, notice).into(),
        }
    }
}

/// What one waiting body costs beyond its own bytes.
const OVERHEAD: usize = size_of::<(u64, Body)>() + 32;

/// Bodies that wait for transmission: bounded in bytes, and the oldest goes where there are too many.
#[derive(Debug)]
pub(crate) struct Dropping {
    queue: VecDeque<(u64, Body)>,
    bytes: usize,
    max_bytes: usize,
}

impl Dropping {
    pub(crate) const fn new(max_bytes: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Takes a body; how many older ones went for it. One that says the same of the same as a later one is replaced, and
    /// not counted. One body always fits into an empty queue.
    pub(crate) fn push(&mut self, id: u64, body: Body) -> u64 {
        if let Some(same) = self.queue.iter_mut().find(|(_, waiting)| replaces(&body, waiting)) {
            self.bytes = (self.bytes - cost(&same.1)) + cost(&body);
            *same = (id, body);
        } else {
            self.bytes += cost(&body);
            self.queue.push_back((id, body));
        }
        let mut dropped = 0;
        while self.bytes > self.max_bytes && self.queue.len() > 1 {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    pub(crate) fn next(&self) -> Option<(u64, &Body)> {
        self.queue.front().map(|(id, body)| (*id, body))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn pop(&mut self) {
        if let Some((_, body)) = self.queue.pop_front() {
            self.bytes -= cost(&body);
        }
    }

    /// Gives back memory that is not in use. Whether nothing waits.
    pub(crate) fn rest(&mut self) -> bool {
        self.queue.shrink_to_fit();
        self.is_empty()
    }

    /// Forgets everything; how many there were.
    pub(crate) fn clear(&mut self) -> u64 {
        self.bytes = 0;
        let waiting = self.queue.len() as u64;
        self.queue.clear();
        waiting
    }
}

/// Whether `new` makes `old` pointless. Call signals never do.
fn replaces(new: &Body, old: &Body) -> bool {
    match (new, old) {
        (Body::Typing(new), Body::Typing(old)) => (&new.conversation, &new.user) == (&old.conversation, &old.user),
        (Body::Presence(new), Body::Presence(old)) => new.user == old.user,
        (Body::Watch(new), Body::Watch(old)) => new.user == old.user,
        _ => false,
    }
}

/// What a waiting body takes in memory, in bytes.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else waits in such a queue")]
fn cost(body: &Body) -> usize {
    let own = match body {
        Body::Typing(body) => body.conversation.id.allocated() + body.user.capacity(),
        Body::Presence(body) => body.user.capacity(),
        Body::Watch(body) => body.user.capacity(),
        Body::CallSignal(body) => {
            body.group.capacity() + body.user.capacity() + body.users.capacity() + body.payload.capacity()
        }
        Body::CallNotice(body) => {
            let names = [&body.group, &body.user, &body.device, &body.users, &body.host];
            size_of_val(&**body) + names.into_iter().map(String::capacity).sum::<usize>() + body.payload.capacity()
        }
        _ => 0,
    };
    OVERHEAD + own
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::call::Payload;

    fn typing(user: &str, on: bool) -> Body {
        PeerSignal::Typing { conversation: Conversation::group("team"), user: user.into(), on }.into_body()
    }

    fn candidate(bytes: usize) -> Body {
        PeerSignal::Call { call: CallId(1), notice: Notice::Candidate(Payload(vec![7; bytes])) }.into_body()
    }

    fn drain(queue: &mut Dropping) -> Vec<Body> {
        let mut all = Vec::new();
        while let Some((_, body)) = queue.next() {
            all.push(body.clone());
            queue.pop();
        }
        assert_eq!(queue.bytes, 0);
        all
    }

    #[test]
    fn the_latest_of_the_same_thing_replaces_what_waits_and_calls_are_kept_all() {
        let mut queue = Dropping::new(1 << 20);
        for body in [typing("bob", true), candidate(1), typing("carol", true), typing("bob", false), candidate(1)] {
            assert_eq!(queue.push(0, body), 0);
        }
        assert_eq!(drain(&mut queue), [typing("bob", false), candidate(1), typing("carol", true), candidate(1)]);
    }

    #[test]
    fn the_bound_is_in_bytes_and_the_oldest_goes() {
        let mut queue = Dropping::new(3 * cost(&candidate(1000)));
        let mut dropped = 0;
        for n in 0..100 {
            dropped += queue.push(n, candidate(1000));
            assert!(queue.bytes <= queue.max_bytes);
        }
        assert_eq!((dropped, queue.next().unwrap().0, queue.queue.len()), (97, 97, 3));
        // One that is larger than the whole queue goes out alone.
        assert_eq!(queue.push(100, candidate(1 << 16)), 3);
        assert_eq!(queue.push(101, candidate(1)), 1);
        assert_eq!(drain(&mut queue), [candidate(1)]);
    }
}
