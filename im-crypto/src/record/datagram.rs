//! The record layer for transports that lose, repeat and reorder packets.
//!
//! The number of a packet stands in the packet id of its header, under the tag like the rest: 15 bits of epoch, then 48 bits of
//! counter. A receiver knows the epoch before, the present one and the next one.

use core::fmt;

use super::{
    CLOSE_TYPE, KEY_UPDATE_TYPE, KeyLimits, Opened, RECORD_OVERHEAD, SUITE_OFFSET, TAG_LEN, half::Half, padding,
    window::Window,
};
use crate::{
    HEADER_LEN, SuiteId,
    error::{DatagramError, SealError},
};

/// Where the number stands in the header: the packet id.
const NUMBER: core::ops::Range<usize> = 4..12;
const COUNTER_BITS: u32 = 48;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
/// The top bit of a packet id is always 0.
const EPOCH_MASK: u32 = 0x7fff;

/// So many forgeries under one key, and the peer is to be asked for a new one.
const FORGERIES_UPDATE: u32 = 1 << 16;
/// So many, and the connection ends (DTLS 1.3 allows 2^36 with AES-GCM, RFC 9147 section 4.5.3).
const FORGERIES_CLOSE: u32 = 1 << 20;

/// Seals datagrams; made by [`Sealer::into_datagrams`](super::Sealer::into_datagrams).
pub struct DatagramSealer {
    half: Half,
    confirmed: bool,
    closed: bool,
}

impl DatagramSealer {
    pub(super) fn new(stream: &Half) -> Option<Self> {
        if stream.packets() != 0 || stream.epoch() != 0 {
            return None;
        }
        Some(Self { half: stream.for_datagrams()?, confirmed: false, closed: false })
    }

    /// The suite that byte 17 of each header must name.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.half.suite()
    }

    /// Lowers the limits of each key.
    pub fn set_limits(&mut self, limits: KeyLimits) {
        self.half.limits = limits;
    }

    /// Seals a packet in place and writes its number into the packet id, bytes 4 to 11 of `header`. Otherwise as
    /// [`Sealer::seal`](super::Sealer::seal). A datagram that is sent again is sealed again.
    ///
    /// A packet with the content of [`KeyUpdate::Request`](super::KeyUpdate::Request) asks the peer for a new key and changes none;
    /// it can be repeated until the peer's packets carry the next epoch.
    ///
    /// # Errors
    /// See [`SealError`]; except for [`SealError::Failed`], `header`, `body` and the counter are untouched.
    pub fn seal(&mut self, header: &mut [u8; HEADER_LEN], body: &mut [u8]) -> Result<(), SealError> {
        let (plain, tag) = body.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Unfinished)?;
        let content =
            padding::content_len(plain).and_then(|length| plain.get(..length)).ok_or(SealError::Unfinished)?;
        if header.get(SUITE_OFFSET) != Some(&self.suite().0) {
            return Err(SealError::WrongSuite);
        }
        if self.closed {
            return Err(SealError::Closed);
        }
        // A notice has no sense here: the epoch in the header is one.
        if content.first() == Some(&KEY_UPDATE_TYPE) && content != [KEY_UPDATE_TYPE, 1] {
            return Err(SealError::Unfinished);
        }
        let closes = content.first() == Some(&CLOSE_TYPE);
        let number = u64::from(self.half.epoch() & EPOCH_MASK) << COUNTER_BITS | self.half.packets();
        let mut numbered = *header;
        if let Some(id) = numbered.get_mut(NUMBER) {
            id.copy_from_slice(&number.to_be_bytes());
        }
        self.half.seal(HEADER_LEN, plain.len(), |key, nonce| key.seal(nonce, &numbered, plain, tag))?;
        *header = numbered;
        if closes {
            self.closed = true;
            self.half.poison();
        }
        Ok(())
    }

    /// Goes on to the next key: at the soft limit, or because the peer asked.
    ///
    /// # Errors
    /// [`SealError::UpdateTooSoon`] until the peer [confirmed](Self::confirm) the present epoch, for it knows no more than one
    /// ahead; [`SealError::Failed`], [`SealError::KeyExhausted`].
    pub fn update_key(&mut self) -> Result<(), SealError> {
        if self.half.poisoned() {
            return Err(SealError::Failed);
        }
        if !self.confirmed {
            return Err(SealError::UpdateTooSoon);
        }
        self.half = self.half.next().ok_or(SealError::KeyExhausted)?;
        self.confirmed = false;
        Ok(())
    }

    /// An acknowledgement inside the channel shows that the peer opened a packet of the present epoch.
    pub fn confirm(&mut self) {
        self.confirmed = true;
    }

    /// Whether the soft limit is reached: time for [`update_key`](Self::update_key).
    #[must_use]
    pub fn needs_update(&self) -> bool {
        self.half.past_soft_limit(1)
    }

    /// How many times the key was updated.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.half.epoch()
    }

    /// Frees the expanded key; the next packet expands it again.
    pub fn release_key(&mut self) {
        self.half.release_key();
    }
}

impl fmt::Debug for DatagramSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.half.debug("DatagramSealer", f)
    }
}

/// One key of the peer, with what was opened and what was forged under it.
struct Epoch {
    half: Half,
    window: Window,
    forgeries: u32,
}

impl Epoch {
    const fn new(half: Half) -> Self {
        Self { half, window: Window::new(), forgeries: 0 }
    }
}

/// Opens datagrams; made by [`Opener::into_datagrams`](super::Opener::into_datagrams). A bad packet changes nothing but a counter
/// of forgeries.
pub struct DatagramOpener {
    current: Epoch,
    /// Kept for packets that come late, until [`forget_previous`](Self::forget_previous).
    previous: Option<Epoch>,
    /// Derived once somebody names it, and kept so that forgeries do not derive it again.
    next: Option<Epoch>,
    closed: bool,
    /// Ended by forgeries, and not by the peer.
    spent: bool,
}

impl DatagramOpener {
    pub(super) fn new(stream: &Half) -> Option<Self> {
        if stream.packets() != 0 || stream.epoch() != 0 {
            return None;
        }
        let current = Epoch::new(stream.for_datagrams()?);
        Some(Self { current, previous: None, next: None, closed: false, spent: false })
    }

    /// The suite that byte 17 of each header must name.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.current.half.suite()
    }

    /// Lowers the limits of each key.
    pub fn set_limits(&mut self, limits: KeyLimits) {
        self.current.half.limits = limits;
        self.next = None;
    }

    /// Opens a packet in place; its number is read from the packet id of `header`.
    ///
    /// Packets come in any order, each at most once, and up to 1,023 behind the newest of their epoch. The first packet of the
    /// next epoch makes that one the present.
    ///
    /// # Errors
    /// [`DatagramError::Dropped`]: ignore the packet; `body` is then without value. [`DatagramError::Closed`]: too many forgeries,
    /// or the peer said that it ended.
    pub fn open<'a>(&mut self, header: &[u8; HEADER_LEN], body: &'a mut [u8]) -> Result<Opened<'a>, DatagramError> {
        if self.closed {
            return Err(DatagramError::Closed);
        }
        let opened = self.try_open(header, body);
        if self.spent || opened.as_ref().is_some_and(|opened| opened.inner_type == CLOSE_TYPE) {
            self.close();
        }
        if self.spent {
            return Err(DatagramError::Closed);
        }
        opened.ok_or(DatagramError::Dropped)
    }

    fn try_open<'a>(&mut self, header: &[u8; HEADER_LEN], body: &'a mut [u8]) -> Option<Opened<'a>> {
        if header.get(SUITE_OFFSET) != Some(&self.suite().0) || body.len() < RECORD_OVERHEAD {
            return None;
        }
        let (text, tag) = body.split_last_chunk_mut::<TAG_LEN>()?;
        let number = u64::from_be_bytes(header.get(NUMBER)?.try_into().ok()?);
        let (epoch, counter) = (u32::try_from(number >> COUNTER_BITS).ok()?, number & COUNTER_MASK);
        let now = self.current.half.epoch();
        let is_next = epoch == now.wrapping_add(1) & EPOCH_MASK;
        let keys = if epoch == now & EPOCH_MASK {
            &mut self.current
        } else if is_next {
            if self.next.is_none() {
                self.next = Some(Epoch::new(self.current.half.next()?));
            }
            self.next.as_mut()?
        } else {
            self.previous.as_mut().filter(|previous| epoch == previous.half.epoch() & EPOCH_MASK)?
        };
        if !keys.window.is_new(counter) {
            return None;
        }
        if keys.half.open(counter, header, text, tag).is_err() {
            keys.forgeries = keys.forgeries.saturating_add(1);
            self.spent = keys.forgeries >= FORGERIES_CLOSE;
            return None;
        }
        keys.window.mark(counter);
        if is_next && let Some(next) = self.next.take() {
            self.previous = Some(core::mem::replace(&mut self.current, next));
        }
        let opened = Opened::parse(text)?;
        (opened.inner_type != KEY_UPDATE_TYPE || opened.key_update().is_some()).then_some(opened)
    }

    fn close(&mut self) {
        self.closed = true;
        self.current.half.poison();
        (self.previous, self.next) = (None, None);
    }

    /// Whether the peer is to be asked for a new key: 2^16 packets did not authenticate under the present one, or it is past twice
    /// its soft limit.
    #[must_use]
    pub fn needs_update(&self) -> bool {
        let forgeries = self.next.iter().chain(Some(&self.current)).map(|keys| keys.forgeries).max();
        !self.closed && (forgeries >= Some(FORGERIES_UPDATE) || self.current.half.past_soft_limit(2))
    }

    /// Drops the key before the present one. Call it when packets cannot be that late any more: three round trips after
    /// [`epoch`](Self::epoch) changed.
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// How many times the peer updated its key.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.current.half.epoch()
    }

    /// Frees the expanded keys; the next packet expands its own again.
    pub fn release_key(&mut self) {
        for keys in [Some(&mut self.current), self.previous.as_mut(), self.next.as_mut()].into_iter().flatten() {
            keys.half.release_key();
        }
    }
}

impl fmt::Debug for DatagramOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.half.debug("DatagramOpener", f)
    }
}
