//! Key updates: a record of a type of its own, and when it is due.

use super::{Opener, Sealer};

/// Inner type of a key update: the last packet under a key. The record layer acts on it by itself.
pub const KEY_UPDATE_TYPE: u8 = 21;
/// Inner type of a close: the last packet of its direction. Its payload (a reason, say) is the application's.
pub const CLOSE_TYPE: u8 = 18;

/// What a key update asks of the peer.
///
/// ```
/// use im_crypto::{KeyUpdate, Padding, finish_plaintext};
/// let mut body = KeyUpdate::Request.content().to_vec();
/// finish_plaintext(&mut body, 0, Padding::None);
/// assert_eq!(body[..3], [21, 1, 0x80]); // ready for Sealer::seal
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyUpdate {
    /// Nothing: the sender's own key changes, that is all.
    Notice = 0,
    /// That the peer updates its key too, once, with a [`Notice`](Self::Notice).
    Request = 1,
}

impl KeyUpdate {
    /// Inner type and payload of the packet.
    #[must_use]
    pub const fn content(self) -> [u8; 2] {
        [KEY_UPDATE_TYPE, self as u8]
    }

    pub(super) const fn parse(payload: &[u8]) -> Option<Self> {
        match payload {
            [0] => Some(Self::Notice),
            [1] => Some(Self::Request),
            _ => None,
        }
    }
}

/// Decides when this side updates its key. Ask [`due`](Self::due) before each packet that is sent.
///
/// ```
/// use im_crypto::{KeyUpdate, KeyUpdates, Opener, Padding, SealError, Sealer, finish_plaintext};
///
/// /// Goes before the next packet.
/// fn update(plan: &mut KeyUpdates, sealer: &mut Sealer, opener: &Opener) -> Result<Vec<u8>, SealError> {
///     let Some(update) = plan.due(sealer, opener) else { return Ok(Vec::new()) };
///     let mut packet = vec![0; 24];
///     packet[17] = sealer.suite().0;
///     packet.extend(update.content());
///     finish_plaintext(&mut packet, 24, Padding::None);
///     packet[23] = 19; // length of the body
///     let (header, body) = packet.split_at_mut(24);
///     sealer.seal(header, body)?;
///     plan.sent(update);
///     Ok(packet)
/// }
/// ```
#[derive(Clone, Copy, Default, Debug)]
pub struct KeyUpdates {
    wanted: Option<KeyUpdate>,
    asked: bool,
}

impl KeyUpdates {
    /// The update to send before anything else: the own key reached its soft limit, the peer asked for one, the application wants
    /// one, or the peer's key is used twice as often as it should be. `None` also while the rate limit holds it back.
    #[must_use]
    pub fn due(&self, sealer: &Sealer, opener: &Opener) -> Option<KeyUpdate> {
        if !sealer.may_update() {
            return None;
        }
        let overdue = opener.needs_update() && !self.asked;
        let own = sealer.needs_update().then_some(KeyUpdate::Notice);
        overdue.then_some(KeyUpdate::Request).max(own).max(self.wanted)
    }

    /// The application, or its clock, wants an update.
    pub fn want(&mut self, update: KeyUpdate) {
        self.wanted = self.wanted.max(Some(update));
    }

    /// An update was sealed.
    pub fn sent(&mut self, update: KeyUpdate) {
        self.wanted = None;
        self.asked |= update == KeyUpdate::Request;
    }

    /// The peer's update was opened. Requests that came before an answer went out share that answer.
    pub fn received(&mut self, update: KeyUpdate) {
        self.asked = false;
        if update == KeyUpdate::Request {
            self.want(KeyUpdate::Notice);
        }
    }
}
