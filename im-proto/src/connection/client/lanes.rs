//! What a client transmits beside answers takes turns, so that none of it waits for ever behind another.

use alloc::borrow::Cow;

use super::Client;
use crate::connection::machine::{Core, Offer};
use crate::connection::turns;
use crate::outbox::PacketId;
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Messages,
    Signals,
    Rooms,
    Streams,
    Requests,
}

impl Lane {
    const ALL: [Self; 5] = [Self::Messages, Self::Signals, Self::Rooms, Self::Streams, Self::Requests];
}

impl Client {
    pub(super) fn lane(&self, now: Instant) -> Option<Lane> {
        turns::next(&Lane::ALL, self.last, |lane| match lane {
            Lane::Messages => self.outbox.next(now, self.send_max).is_some(),
            Lane::Signals => !self.signals.is_empty(),
            Lane::Rooms => !self.rooms.is_quiet(),
            Lane::Streams => !self.streams_out.is_empty(),
            Lane::Requests => !self.requests.is_empty(),
        })
    }

    pub(super) fn in_turn(&self, now: Instant) -> Option<Offer<'_>> {
        Some(match self.lane(now)? {
            Lane::Messages => {
                let (id, body) = self.outbox.next(now, self.send_max)?;
                (id.0, Cow::Borrowed(body))
            }
            Lane::Signals => {
                let (id, body) = self.signals.next()?;
                (id, Cow::Borrowed(body))
            }
            Lane::Rooms => {
                let (id, body) = self.rooms.next()?;
                (id, Cow::Owned(body))
            }
            Lane::Streams => {
                let (id, body) = self.streams_out.next()?;
                (id, Cow::Owned(body))
            }
            Lane::Requests => {
                let (id, body) = self.requests.next()?;
                (id, Cow::Borrowed(body))
            }
        })
    }

    /// What [`in_turn`](Self::in_turn) gave was transmitted.
    pub(super) fn sent_in_turn(&mut self, core: &mut Core, id: u64, now: Instant) {
        // No other lane has an id of the outbox.
        let message = self.outbox.next(now, self.send_max).is_some_and(|(next, _)| next.0 == id);
        let lane = if message { Some(Lane::Messages) } else { self.lane(now) };
        let Some(lane) = lane else { return };
        match lane {
            Lane::Messages => {
                if self.outbox.transmitted(PacketId(id), now, &mut self.rng) {
                    core.stats.retries += 1;
                }
            }
            Lane::Signals => self.signal_sent(),
            Lane::Rooms => self.rooms.sent(),
            Lane::Streams => self.streams_out.sent(),
            Lane::Requests => self.requests.sent(),
        }
        self.last = lane;
    }
}
