//! Every timer of a connection, by name.

use crate::time::Instant;

/// What a timeout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// Handshake and login must be done by then.
    Login,
    /// Nothing went one way for a heartbeat: a ping is due.
    Ping,
    /// Nothing was heard for too long: the peer is gone.
    Idle,
    /// A message without an answer is due for another try, or the time of a request is over.
    Retry,
    /// A close packet that could not be sent is given up.
    Linger,
}

impl Timer {
    const ALL: [Self; 5] = [Self::Login, Self::Ping, Self::Idle, Self::Retry, Self::Linger];
}

/// A moment that never comes: the timer is not armed.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// The armed timers.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    at: [Instant; Timer::ALL.len()],
}

impl Default for Timers {
    fn default() -> Self {
        Self { at: [NEVER; Timer::ALL.len()] }
    }
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(slot) = self.at.get_mut(timer as usize) {
            *slot = at.unwrap_or(NEVER);
        }
    }

    pub(crate) fn clear_all(&mut self) {
        *self = Self::default();
    }

    /// The earliest armed timer.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        let armed = Timer::ALL.iter().zip(self.at).map(|(timer, at)| (at, *timer)).filter(|(at, _)| *at < NEVER);
        armed.min_by_key(|(at, timer)| (*at, *timer as usize))
    }

    /// Disarms and returns one timer that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.next().filter(|(at, _)| *at <= now)?;
        self.set(timer, None);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Idle, Some(Instant::from_micros(5)));
        timers.set(Timer::Ping, Some(Instant::from_micros(3)));
        timers.set(Timer::Retry, Some(Instant::from_micros(9)));
        let now = Instant::from_micros(5);
        assert_eq!(timers.next(), Some((Instant::from_micros(3), Timer::Ping)));
        assert_eq!(timers.take_due(now), Some(Timer::Ping));
        assert_eq!(timers.take_due(now), Some(Timer::Idle));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.next(), Some((Instant::from_micros(9), Timer::Retry)));
    }
}
