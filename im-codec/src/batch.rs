//! Packets back to back in one HTTP body: whole packets only, limited in count and bytes.

use crate::decode::{DecodeError, Decoder};
use crate::encode::{EncodeError, Output, encode_packet};
use crate::fault::Fault;
use crate::header::{HEADER_LEN, Header};
use crate::limits::Limits;
use crate::packet::PacketRef;

/// How much a batch may hold, beside the [`Limits`] of each packet.
///
/// ```
/// use im_codec::BatchLimits;
/// let limits = BatchLimits::default();
/// assert_eq!((limits.max_packets, limits.max_bytes), (1_000, 1024 * 1024 + 24));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most packets in a batch.
    pub max_packets: u32,
    /// Most bytes in a batch, headers included. A server sets its HTTP body limit to the same number.
    pub max_bytes: u32,
}

impl Default for BatchLimits {
    /// 1,000 packets, and the largest packet that any limit allows.
    fn default() -> Self {
        Self { max_packets: 1_000, max_bytes: crate::HARD_MAX_BODY + HEADER_LEN as u32 }
    }
}

/// Why bytes are not a batch, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet {index} at byte {packet_offset} of the batch: {kind}")]
pub struct BatchError {
    /// Which packet, from 0.
    pub index: u32,
    /// Where the packet starts, in bytes from the start of the batch.
    pub packet_offset: u32,
    /// What is wrong with it.
    pub kind: BatchErrorKind,
}

/// What is wrong with a packet of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchErrorKind {
    /// The bytes are not a packet.
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// The batch ends inside the packet.
    #[error("the batch ends inside the packet, {missing} bytes short: send whole packets")]
    Truncated {
        /// How many bytes the header or the packet lacks.
        missing: u32,
    },
    /// One packet more than the limit.
    #[error("more than {max} packets: send several batches")]
    TooManyPackets {
        /// The limit.
        max: u32,
    },
    /// The batch is over the limit; nothing of it was looked at.
    #[error("the batch is longer than {max} bytes: send several batches")]
    TooManyBytes {
        /// The limit, in bytes.
        max: u32,
    },
}

impl BatchError {
    /// Offset of the offending byte in the batch; the limit or the end of the batch when it is too long or too short.
    pub const fn offset(&self) -> usize {
        match self.kind {
            BatchErrorKind::Packet(error) => self.packet_offset as usize + error.offset(),
            BatchErrorKind::Truncated { .. } | BatchErrorKind::TooManyPackets { .. } => self.packet_offset as usize,
            BatchErrorKind::TooManyBytes { max } => max as usize,
        }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self.kind {
            BatchErrorKind::Packet(error) => error.fault(),
            BatchErrorKind::Truncated { .. } => Fault::PeerViolated,
            BatchErrorKind::TooManyPackets { .. } | BatchErrorKind::TooManyBytes { .. } => Fault::LocalLimit,
        }
    }
}

/// The packets of one HTTP body, in order. The first error ends it. No packets at all are a valid batch, and the usual
/// answer to a poll.
///
/// A receiver refuses a batch as a whole: look at all of it before you act on any of it. Looking costs 24 bytes a packet.
///
/// ```
/// use im_codec::{Batch, BatchLimits, BatchWriter, Header, Limits, MessageType};
/// let (limits, batch_limits) = (Limits::default(), BatchLimits::default());
/// let mut body = Vec::new();
/// let mut writer = BatchWriter::new(&mut body, limits, batch_limits);
/// writer.push(&Header::new(MessageType::SEND), b"one")?;
/// writer.push(&Header::new(MessageType::SEND), b"two")?;
///
/// let batch = Batch::new(&body, limits, batch_limits);
/// let packets = batch.clone().collect::<Result<Vec<_>, _>>()?; // or: for packet in batch.clone() { packet?; }
/// assert_eq!(packets.len(), 2);
///
/// let error = Batch::new(&body[..30], limits, batch_limits).last().expect("a packet begins").unwrap_err();
/// assert_eq!((error.index, error.offset()), (1, 27));
/// assert_eq!(error.to_string(), "packet 1 at byte 27 of the batch: the batch ends inside the packet, 21 bytes short: \
///                                send whole packets");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a batch does nothing until its packets are taken"]
pub struct Batch<'a> {
    decoder: Decoder,
    limits: BatchLimits,
    rest: &'a [u8],
    /// Bytes of the whole batch.
    len: usize,
    index: u32,
    ended: bool,
}

impl<'a> Batch<'a> {
    /// The packets of `body`. Its length is checked by the first packet taken.
    pub const fn new(body: &'a [u8], limits: Limits, batch_limits: BatchLimits) -> Self {
        Self {
            decoder: Decoder::new(limits),
            limits: batch_limits,
            rest: body,
            len: body.len(),
            index: 0,
            ended: false,
        }
    }

    fn take(&mut self) -> Result<PacketRef<'a>, BatchErrorKind> {
        let BatchLimits { max_packets, max_bytes } = self.limits;
        if self.len > max_bytes as usize {
            return Err(BatchErrorKind::TooManyBytes { max: max_bytes });
        }
        if self.index >= max_packets {
            return Err(BatchErrorKind::TooManyPackets { max: max_packets });
        }
        if let Some(packet) = self.decoder.decode_slice(&mut self.rest)? {
            return Ok(packet);
        }
        // A packet's length fits in 32 bits by its limit.
        Err(BatchErrorKind::Truncated { missing: self.decoder.needs(self.rest)? as u32 })
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<PacketRef<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.rest.is_empty() {
            return None;
        }
        // Below `max_bytes`, so it fits.
        let packet_offset = (self.len - self.rest.len()) as u32;
        let index = self.index;
        Some(match self.take() {
            Ok(packet) => {
                self.index += 1;
                Ok(packet)
            }
            Err(kind) => {
                self.ended = true;
                Err(BatchError { index, packet_offset, kind })
            }
        })
    }
}

impl core::iter::FusedIterator for Batch<'_> {}

/// Why a packet was not added to a batch. The batch is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchWriteError {
    /// The packet cannot be written at all.
    #[error(transparent)]
    Packet(#[from] EncodeError),
    /// The packet does not fit any more.
    #[error("the batch holds {packets} packets in {bytes} bytes and takes no more: send it, and begin another")]
    Full {
        /// Packets in the batch.
        packets: u32,
        /// Bytes in the batch.
        bytes: usize,
    },
    /// The packet is larger than a whole batch may be.
    #[error("a packet of {len} bytes is over the limit of {max} for a batch: send it in another way")]
    NeverFits {
        /// Length of the packet, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: u32,
    },
}

impl BatchWriteError {
    /// Offset of the offending field in the packet.
    pub const fn offset(&self) -> usize {
        match self {
            Self::Packet(error) => error.offset(),
            Self::Full { .. } => 0,
            Self::NeverFits { .. } => 20,
        }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Packet(error) => error.fault(),
            Self::Full { .. } | Self::NeverFits { .. } => Fault::LocalLimit,
        }
    }
}

/// Writes a batch behind what the caller's buffer holds already. The batch is complete after every [`push`](Self::push).
///
/// ```
/// use im_codec::{BatchLimits, BatchWriteError, BatchWriter, Header, Limits, MessageType};
/// let mut body = Vec::new();
/// let mut writer = BatchWriter::new(&mut body, Limits::default(), BatchLimits { max_packets: 1, max_bytes: 1000 });
/// writer.push(&Header::new(MessageType::SEND), b"one")?;
/// let full = writer.push(&Header::new(MessageType::SEND), b"two");
/// assert_eq!(full, Err(BatchWriteError::Full { packets: 1, bytes: 27 }));
/// # Ok::<(), BatchWriteError>(())
/// ```
#[derive(Debug)]
pub struct BatchWriter<'a, O> {
    out: &'a mut O,
    limits: Limits,
    batch_limits: BatchLimits,
    packets: u32,
    bytes: usize,
}

impl<'a, O: Output> BatchWriter<'a, O> {
    /// Begins a batch at the end of `out`.
    pub const fn new(out: &'a mut O, limits: Limits, batch_limits: BatchLimits) -> Self {
        Self { out, limits, batch_limits, packets: 0, bytes: 0 }
    }

    /// Appends one packet.
    pub fn push(&mut self, header: &Header, body: &[u8]) -> Result<(), BatchWriteError> {
        let BatchLimits { max_packets, max_bytes } = self.batch_limits;
        let len = body.len().saturating_add(HEADER_LEN);
        if len > max_bytes as usize {
            return Err(BatchWriteError::NeverFits { len, max: max_bytes });
        }
        if self.packets >= max_packets || len > max_bytes as usize - self.bytes {
            return Err(BatchWriteError::Full { packets: self.packets, bytes: self.bytes });
        }
        encode_packet(self.out, header, body, &self.limits)?;
        self.packets += 1;
        self.bytes += len;
        Ok(())
    }

    /// Packets written.
    pub const fn packets(&self) -> u32 {
        self.packets
    }

    /// Bytes written.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}
