//! How much one key may protect, and how often a key may change.

/// How much one key may protect; the same for every suite. The default is
///
/// | | packets | blocks of 16 bytes, header included |
/// |---|---|---|
/// | soft: time to update the key | 2^20 | 2^26 |
/// | hard: nothing more is sealed or opened | 2^23 | 2^34 |
///
/// At the hard limit the advantage of an attacker against AES-GCM is about 2^-61 (draft-irtf-cfrg-aead-limits); TLS 1.3 stops at
/// 2^24.5 full records (RFC 8446 section 5.5).
///
/// ```
/// use im_crypto::KeyLimits;
/// assert_eq!(KeyLimits::default().soft_packets(), 1 << 20);
/// assert_eq!(KeyLimits::lowered(1000, 2000).soft_packets(), 1000);
/// assert_eq!(KeyLimits::lowered(u32::MAX, u32::MAX), KeyLimits::default()); // no way to raise them
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeyLimits {
    pub(super) soft_packets: u32,
    pub(super) hard_packets: u32,
    pub(super) soft_blocks: u64,
    pub(super) hard_blocks: u64,
}

/// What [`KeyLimits`] keeps free for a last word: packets.
const RESERVE_PACKETS: u64 = 16;
/// And blocks: twice the largest packet (1 MiB).
const RESERVE_BLOCKS: u64 = 1 << 17;

impl KeyLimits {
    /// Lower limits: 1 to 2^20 packets for the soft one and 1 to 2^23 for the hard one; anything else is taken as the nearest value
    /// of that range. For services that want new keys more often, and for tests. Updates come no faster than one in 64 packets for
    /// long, so leave some 100 packets between the two.
    #[must_use]
    pub fn lowered(soft_packets: u32, hard_packets: u32) -> Self {
        let default = Self::default();
        Self {
            soft_packets: soft_packets.clamp(1, default.soft_packets),
            hard_packets: hard_packets.clamp(1, default.hard_packets),
            ..default
        }
    }

    /// The soft limit in packets.
    #[must_use]
    pub const fn soft_packets(&self) -> u32 {
        self.soft_packets
    }

    /// Whether so much use is past the soft limit, times `factor`.
    pub(super) fn soft(&self, packets: u64, blocks: u64, factor: u64) -> bool {
        packets >= u64::from(self.soft_packets).saturating_mul(factor)
            || blocks >= self.soft_blocks.saturating_mul(factor)
    }

    /// Whether so much use is allowed.
    pub(super) fn allow(&self, packets: u64, blocks: u64) -> bool {
        packets <= u64::from(self.hard_packets) && blocks <= self.hard_blocks
    }

    /// Whether so little is left that it should go to the close packet.
    pub(super) fn nearly_reached(&self, packets: u64, blocks: u64) -> bool {
        packets.saturating_add(RESERVE_PACKETS) >= u64::from(self.hard_packets)
            || blocks.saturating_add(RESERVE_BLOCKS) >= self.hard_blocks
    }
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self { soft_packets: 1 << 20, hard_packets: 1 << 23, soft_blocks: 1 << 26, hard_blocks: 1 << 34 }
    }
}

/// How many key updates one direction may still do: 8 at first, and one more for each 64 other packets, never over 8. Both sides
/// count the same packets, so a sender that keeps to it is never refused, and no clock is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Allowance {
    left: u8,
    packets: u8,
}

impl Allowance {
    pub(super) const BURST: u8 = 8;
    pub(super) const EARN: u8 = 64;

    pub(super) const fn new() -> Self {
        Self { left: Self::BURST, packets: 0 }
    }

    /// A packet that is no key update went by.
    pub(super) fn earn(&mut self) {
        self.packets = self.packets.saturating_add(1);
        if self.packets >= Self::EARN {
            self.packets = 0;
            self.left = self.left.saturating_add(1).min(Self::BURST);
        }
    }

    pub(super) const fn any(self) -> bool {
        self.left > 0
    }

    /// Takes one, if there is one.
    pub(super) fn spend(&mut self) -> bool {
        let any = self.any();
        self.left = self.left.saturating_sub(1);
        any
    }
}
