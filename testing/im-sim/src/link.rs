//! What happens to bytes on their way.

use std::ops::RangeInclusive;
use std::time::Duration;

use im_proto::Instant;

/// How a link treats what is written to it.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Delay of each chunk, in milliseconds; chunks of one direction stay in order.
    pub latency_ms: RangeInclusive<u64>,
    /// Bytes per chunk: a stream knows no packets.
    pub chunk: RangeInclusive<usize>,
    /// Chance, in percent, that a chunk is the connection's last: it may arrive in part, and both sides see the end.
    pub cut_percent: u64,
}

impl Profile {
    /// Delays and splits, and loses nothing.
    pub fn lossless() -> Self {
        Self { latency_ms: 1..=50, chunk: 1..=2000, cut_percent: 0 }
    }

    /// As [`lossless`](Self::lossless), and every fifth chunk is the connection's last.
    pub fn lossy() -> Self {
        Self { cut_percent: 20, ..Self::lossless() }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    last_arrival: Instant,
}

/// A chunk with its arrival; `last` when the connection ends behind it.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) at: Instant,
    pub(crate) bytes: Vec<u8>,
    pub(crate) last: bool,
}

impl Direction {
    /// Cuts written bytes into chunks with arrival times, up to the end of the connection.
    pub(crate) fn carry(
        &mut self,
        now: Instant,
        mut bytes: Vec<u8>,
        profile: &Profile,
        rng: &mut fastrand::Rng,
    ) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let n = rng.usize(profile.chunk.clone()).min(bytes.len());
            let rest = bytes.split_off(n);
            let delay = Duration::from_millis(rng.u64(profile.latency_ms.clone()));
            self.last_arrival = self.last_arrival.max(now + delay);
            let last = rng.u64(0..100) < profile.cut_percent;
            if last {
                bytes.truncate(rng.usize(0..=n));
            }
            chunks.push(Chunk { at: self.last_arrival, bytes, last });
            if last {
                break;
            }
            bytes = rest;
        }
        chunks
    }
}
