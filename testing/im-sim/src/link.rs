//! What happens to bytes on their way.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use im_proto::Instant;

use crate::fault::{Fault, Faults};

/// How a link treats what is written to it.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Delay of each chunk, in milliseconds; chunks of one direction stay in order.
    pub latency_ms: RangeInclusive<u64>,
    /// Bytes per chunk: a stream knows no packets.
    pub chunk: RangeInclusive<usize>,
    /// Chance, in percent, that a chunk is the connection's last: it may arrive in part, and both sides see the end.
    pub cut_percent: u64,
    /// Chance, in 1/1000, that a chunk comes twice.
    pub duplicate_permille: u64,
    /// Chance, in 1/1000, that a chunk overtakes the one before it.
    pub swap_permille: u64,
    /// Chance, in 1/1000, that one bit of a chunk changes.
    pub corrupt_permille: u64,
    /// Bytes per second in each direction; `None`: as many as are written. A writer waits while the link is busy.
    pub bytes_per_sec: Option<u64>,
}

impl Profile {
    /// Delays and splits, and loses nothing.
    pub fn lossless() -> Self {
        Self {
            latency_ms: 1..=50,
            chunk: 1..=2000,
            cut_percent: 0,
            duplicate_permille: 0,
            swap_permille: 0,
            corrupt_permille: 0,
            bytes_per_sec: None,
        }
    }

    /// As [`lossless`](Self::lossless), and every fifth chunk is the connection's last.
    pub fn lossy() -> Self {
        Self { cut_percent: 20, ..Self::lossless() }
    }

    /// Whether what arrives may be something else than what was written.
    pub(crate) const fn damages(&self) -> bool {
        self.duplicate_permille + self.swap_permille + self.corrupt_permille > 0
    }
}

/// Bytes with their arrival; `last` when the transport ends behind them.
#[derive(Debug)]
struct Chunk {
    at: Instant,
    bytes: Vec<u8>,
    last: bool,
}

/// One direction of a transport: what is on its way, and what its reader did not take yet.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    flight: VecDeque<Chunk>,
    last_arrival: Instant,
    busy_until: Instant,
    /// Nothing that is written from now on arrives.
    over: bool,
    /// What was written and not read yet; kept where the link may change it.
    written: VecDeque<u8>,
    /// What arrived and was not read yet.
    pub(crate) inbox: Vec<u8>,
    /// The writer waits for the link and will be woken.
    pub(crate) waits: bool,
}

impl Pipe {
    /// When the link takes more, if it does not now.
    pub(crate) fn busy(&self, now: Instant) -> Option<Instant> {
        (self.busy_until > now).then_some(self.busy_until)
    }

    /// Cuts written bytes into chunks with arrival times, up to the end of the transport. Returns when to look.
    pub(crate) fn carry(
        &mut self,
        now: Instant,
        bytes: &[u8],
        profile: &Profile,
        rng: &mut fastrand::Rng,
        faults: &mut Faults,
    ) -> Vec<Instant> {
        let mut look = Vec::new();
        if self.over {
            return look;
        }
        if profile.damages() {
            self.written.extend(bytes);
        }
        if let Some(rate) = profile.bytes_per_sec {
            let micros = bytes.len() as u64 * 1_000_000 / rate.max(1);
            self.busy_until = self.busy_until.max(now) + Duration::from_micros(micros);
        }
        let mut rest = bytes;
        while !rest.is_empty() && !self.over {
            let n = rng.usize(profile.chunk.clone()).min(rest.len());
            let (chunk, after) = rest.split_at(n);
            rest = after;
            let mut chunk = chunk.to_vec();
            let delay = Duration::from_millis(rng.u64(profile.latency_ms.clone()));
            self.last_arrival = self.last_arrival.max(now.max(self.busy_until) + delay);
            let mut chance = |permille: u64| permille > 0 && rng.u64(0..1000) < permille;
            let last = chance(profile.cut_percent * 10);
            let (twice, overtakes) = (chance(profile.duplicate_permille), chance(profile.swap_permille));
            if chance(profile.corrupt_permille) {
                faults.count(Fault::Corrupt);
                chunk[rng.usize(0..n)] ^= 1 << rng.u8(0..8);
            }
            if last {
                faults.count(Fault::Cut);
                chunk.truncate(rng.usize(0..=n));
                self.over = true;
            }
            if twice {
                faults.count(Fault::Duplicate);
                self.push(chunk.clone(), false, &mut look);
            }
            self.push(chunk, last, &mut look);
            if overtakes && !last && self.swap() {
                faults.count(Fault::Swap);
            }
        }
        look
    }

    fn push(&mut self, bytes: Vec<u8>, last: bool, look: &mut Vec<Instant>) {
        look.push(self.last_arrival);
        self.flight.push_back(Chunk { at: self.last_arrival, bytes, last });
    }

    /// The last chunk and the one before it change places, if there are two.
    fn swap(&mut self) -> bool {
        let n = self.flight.len();
        let Some(before) = n.checked_sub(2) else { return false };
        let [a, b] = [&self.flight[before].bytes, &self.flight[before + 1].bytes];
        if a == b {
            return false;
        }
        let moved = std::mem::take(&mut self.flight[before].bytes);
        self.flight[before].bytes = std::mem::replace(&mut self.flight[before + 1].bytes, moved);
        true
    }

    /// The writer ends the transport behind what it wrote. Returns when to look.
    pub(crate) fn end(&mut self, now: Instant) -> Option<Instant> {
        if self.over {
            return None;
        }
        self.over = true;
        self.last_arrival = self.last_arrival.max(now);
        self.flight.push_back(Chunk { at: self.last_arrival, bytes: Vec::new(), last: true });
        Some(self.last_arrival)
    }

    /// Nothing more arrives, not even an end.
    pub(crate) fn cut(&mut self) {
        self.over = true;
        self.flight.clear();
    }

    /// What is due arrives. Whether the transport ends behind it.
    pub(crate) fn arrive(&mut self, now: Instant) -> bool {
        while let Some(chunk) = self.flight.pop_front_if(|chunk| chunk.at <= now) {
            self.inbox.extend_from_slice(&chunk.bytes);
            if chunk.last {
                self.flight.clear();
                return true;
            }
        }
        false
    }

    /// Where the first `n` bytes that arrived are not the ones that were written, if anywhere.
    pub(crate) fn differs(&self, n: usize) -> Option<usize> {
        let arrived = self.inbox.iter().take(n).enumerate();
        arrived
            .zip(self.written.iter().map(Some).chain(std::iter::repeat(None)))
            .find_map(|((at, arrived), written)| (Some(arrived) != written).then_some(at))
    }

    /// The reader took so many bytes.
    pub(crate) fn taken(&mut self, n: usize) {
        self.inbox.drain(..n);
        self.written.drain(..n.min(self.written.len()));
    }
}
