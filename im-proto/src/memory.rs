//! How much memory a connection may take, as a formula over its configuration. A test holds it against a counting allocator.

use im_serial::Body;

use crate::config::{ClientConfig, MAX_NAME_LEN, ServerConfig};
use crate::connection::{Client, ClientEvent, Connection, Live, Server, ServerEvent};
use crate::feed::KEPT_SIZES;
use crate::link::bundle;

/// Keys and messages of a handshake with ML-KEM-768, and a ticket or two.
const HANDSHAKE: usize = 32 * 1024;
/// A queue that grows has up to twice the room that it needs.
const ROOM: usize = 2;
/// A body in a queue, with the names in it, and without content.
const BODY: usize = ROOM * size_of::<Body>() + 2 * MAX_NAME_LEN;
/// A position of a conversation, in a tree whose nodes are half empty.
const POSITION: usize = 700;
/// A receipt that waits, and the memory of one that was told.
const RECEIPT: usize = 1200;
/// A user that is watched, and the watch that may still be refused.
const WATCH: usize = ROOM * (2 * MAX_NAME_LEN + 64);
const MEMBERSHIP: usize = 512;
const STREAM: usize = 1024;
const REQUEST: usize = 1024;

const fn times(n: u32, bytes: usize) -> usize {
    (n as usize).saturating_mul(bytes)
}

/// A queue bounded in bytes.
const fn queue(bytes: usize) -> usize {
    bytes.saturating_mul(ROOM)
}

/// So many of this side, and as many of the other.
const fn both(n: u32, bytes: usize) -> usize {
    times(n, bytes).saturating_mul(2)
}

const fn sum<const N: usize>(parts: [usize; N]) -> usize {
    let (mut sum, mut rest) = (0_usize, parts.as_slice());
    while let [part, others @ ..] = rest {
        sum = sum.saturating_add(*part);
        rest = others;
    }
    sum
}

impl ServerConfig {
    /// The most that one connection holds, in bytes, itself included: all queues full, all limits reached, names as long as they may
    /// be. What the caller holds comes on top: buffers, and submissions that it polled and did not answer.
    ///
    /// ```
    /// # use rand_chacha::rand_core::SeedableRng;
    /// # use im_proto::*;
    /// # let entropy = Entropy::from_rng(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1))?;
    /// let mut config = ServerConfig::new(&RUSTCRYPTO, ServerKey::generate(&RUSTCRYPTO, entropy)?);
    /// let before = config.memory_max();
    /// config.signal_bytes -= 1000;
    /// assert_eq!(config.memory_max(), before - 2000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn memory_max(&self) -> usize {
        sum([
            size_of::<Connection<Server>>() + size_of::<Live>() + HANDSHAKE,
            // One packet becomes events before the next is taken.
            queue(self.max_body as usize),
            bundle::MAX_ITEMS * (ROOM * size_of::<ServerEvent>() + 2 * MAX_NAME_LEN),
            times(self.send_max.saturating_add(bundle::MAX_ITEMS as u32), BODY),
            queue(self.fetch_bytes),
            bundle::MAX_ITEMS * BODY,
            times(self.max_conversations, 2 * POSITION + KEPT_SIZES * size_of::<u32>()),
            times(self.receive_max, ROOM * size_of::<u32>()),
            times(self.receipts_max, RECEIPT),
            queue(self.signal_bytes),
            times(self.watch_max, WATCH),
            times(self.rooms_max, MEMBERSHIP),
            queue(self.room_bytes),
            both(self.streams_max, STREAM),
            queue(self.stream_bytes),
            both(self.requests_max, REQUEST.saturating_add(self.max_content)),
            queue(self.request_bytes),
        ])
    }
}

impl ClientConfig {
    /// The most that a connection holds, in bytes, itself included: all queues full, all limits reached, names as long as they may be.
    /// What the caller holds comes on top: buffers, and deliveries that it polled and did not ack.
    pub const fn memory_max(&self) -> usize {
        sum([
            size_of::<Connection<Client>>() + HANDSHAKE,
            queue(self.max_body as usize),
            bundle::MAX_ITEMS * (ROOM * size_of::<ClientEvent>() + 2 * MAX_NAME_LEN),
            self.max_tickets.saturating_mul(1024),
            queue(self.outbox_bytes),
            queue(self.signal_bytes),
            // Each unacked delivery is remembered by its seq.
            times(self.receive_max, 2 * 64),
            times(self.max_conversations, 3 * POSITION),
            times(self.rooms_max, MEMBERSHIP),
            both(self.streams_max, STREAM),
            queue(self.stream_bytes),
            both(self.requests_max, REQUEST.saturating_add(self.max_content)),
            queue(self.request_bytes),
        ])
    }
}
