//! What others see of whether a user is there, and who wants to be told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use im_proto::{PeerSignal, PresenceState};

use super::mailbox::Mailbox;

/// Who watches whom.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watched: Mutex<BTreeMap<Arc<str>, Watched>>,
}

/// A user whom somebody watches.
#[derive(Debug, Default)]
struct Watched {
    by: BTreeMap<u64, Arc<Mailbox>>,
    /// When the user's last device left, in Unix milliseconds, as far as somebody watched then; 0: not known.
    seen_ms: u64,
}

/// What others see of a user: what its devices say, the one that most wants to be left alone first; offline without devices.
pub(super) fn combined(states: impl Iterator<Item = PresenceState>) -> PresenceState {
    states.max_by_key(|state| rank(*state)).unwrap_or(PresenceState::OFFLINE)
}

fn rank(state: PresenceState) -> u8 {
    match state {
        PresenceState::BUSY => 4,
        PresenceState::ONLINE => 3,
        PresenceState::AWAY => 1,
        PresenceState::OFFLINE => 0,
        // The application's own.
        _ => 2,
    }
}

impl Watches {
    /// Tells the watchers.
    pub(super) fn tell(&self, user: &str, state: PresenceState, now_ms: u64) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watched) = watched.get_mut(user) else { return };
        if state == PresenceState::OFFLINE {
            watched.seen_ms = now_ms;
        }
        for mailbox in watched.by.values() {
            mailbox.signal(signal(user, state, watched.seen_ms), 0);
        }
    }

    /// Begins a watch, and tells the state as it is now.
    pub(super) fn begin(&self, user: &str, mailbox: &Arc<Mailbox>, state: impl FnOnce() -> PresenceState) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched.entry(user.into()).or_default();
        watched.by.insert(mailbox.session, mailbox.clone());
        mailbox.signal(signal(user, state(), watched.seen_ms), 0);
    }

    pub(super) fn end(&self, user: &str, session: u64) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_user) = watched.get_mut(user) {
            of_user.by.remove(&session);
            if of_user.by.is_empty() {
                watched.remove(user);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.watched.lock().unwrap().is_empty()
    }
}

fn signal(user: &str, state: PresenceState, seen_ms: u64) -> PeerSignal {
    let seen_ms = if state == PresenceState::OFFLINE { seen_ms } else { 0 };
    PeerSignal::Presence { user: user.into(), state, seen_ms }
}
