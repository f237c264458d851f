//! Signs of life: any traffic counts. The client pings when nothing went one way for a heartbeat; both sides close a peer
//! that was silent for the idle time.

use core::time::Duration;

use crate::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct Keepalive {
    heartbeat: Duration,
    idle: Duration,
    last_sent: Instant,
    last_received: Instant,
    last_ping: Option<Instant>,
}

impl Keepalive {
    /// Zero durations, which a peer may state, count as a second.
    pub(crate) fn new(heartbeat: Duration, idle: Duration, now: Instant) -> Self {
        let second = Duration::from_secs(1);
        Self {
            heartbeat: heartbeat.max(second),
            idle: idle.max(second),
            last_sent: now,
            last_received: now,
            last_ping: None,
        }
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.last_sent = self.last_sent.max(now);
    }

    pub(crate) fn received(&mut self, now: Instant) {
        self.last_received = self.last_received.max(now);
    }

    pub(crate) fn pinged(&mut self, now: Instant) {
        self.last_ping = Some(now);
    }

    /// When the next ping is due.
    pub(crate) fn ping_at(&self) -> Instant {
        let quiet = self.last_sent.min(self.last_received);
        self.last_ping.map_or(quiet, |ping| ping.max(quiet)) + self.heartbeat
    }

    /// When the peer counts as gone.
    pub(crate) fn idle_at(&self) -> Instant {
        self.last_received + self.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn traffic_in_both_directions_puts_the_ping_off_and_only_hearing_puts_idle_off() {
        let mut keepalive = Keepalive::new(Duration::from_secs(25), Duration::from_secs(60), at(0));
        keepalive.sent(at(10));
        assert_eq!((keepalive.ping_at(), keepalive.idle_at()), (at(25), at(60)));
        keepalive.received(at(20));
        assert_eq!((keepalive.ping_at(), keepalive.idle_at()), (at(35), at(80)));
        keepalive.pinged(at(35));
        assert_eq!(keepalive.ping_at(), at(60));
        keepalive.received(at(5)); // a clock that went back changes nothing
        assert_eq!(keepalive.idle_at(), at(80));
    }
}
