//! Handshake patterns as data (Noise rev 34, section 7; the hfs extension, noise_hfs_spec).

use crate::HandshakeId;

/// One token of a message pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    E,
    S,
    Ee,
    Es,
    Se,
    Ss,
    Psk,
    /// The initiator's encapsulation key (hfs).
    E1,
    /// The ciphertext for it (hfs).
    Ekem1,
}

use Token::{E, E1, Ee, Ekem1, Es, Psk, S, Se, Ss};

/// A pattern: who knows whose static key beforehand, and the tokens of each message. Messages alternate, the initiator begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pattern {
    /// As in the protocol name, modifiers included.
    pub(crate) name: &'static str,
    /// Pre-message `-> s`.
    pub(crate) initiator_known: bool,
    /// Pre-message `<- s`.
    pub(crate) responder_known: bool,
    pub(crate) messages: &'static [&'static [Token]],
}

impl Pattern {
    /// Whether ephemeral keys are mixed into the key too (section 9.2).
    pub(crate) fn uses_psk(&self) -> bool {
        self.contains(Psk)
    }

    /// Whether there is a key encapsulation beside the Diffie-Hellman exchange.
    pub(crate) fn is_hybrid(&self) -> bool {
        self.contains(E1)
    }

    /// Whether the initiator sends a static key.
    pub(crate) fn initiator_has_static(&self) -> bool {
        self.messages.iter().step_by(2).any(|message| message.contains(&S))
    }

    /// Whether the responder has a static key, known beforehand or sent.
    pub(crate) fn responder_has_static(&self) -> bool {
        self.responder_known || self.messages.iter().skip(1).step_by(2).any(|message| message.contains(&S))
    }

    fn contains(&self, token: Token) -> bool {
        self.messages.iter().any(|message| message.contains(&token))
    }
}

const fn pattern(name: &'static str, responder_known: bool, messages: &'static [&'static [Token]]) -> Pattern {
    Pattern { name, initiator_known: false, responder_known, messages }
}

/// The table: what each handshake id means. `e1` stands directly behind the first Diffie-Hellman token of its message, or behind
/// `e` if there is none; `ekem1` directly behind the first `ee` (noise_hfs_spec, section 5).
pub(crate) const PATTERNS: [(HandshakeId, Pattern); 8] = [
    (HandshakeId::NK, pattern("NK", true, &[&[E, Es], &[E, Ee]])),
    (HandshakeId::NK_HFS, pattern("NKhfs", true, &[&[E, Es, E1], &[E, Ee, Ekem1]])),
    (HandshakeId::NN_PSK0, pattern("NNpsk0", false, &[&[Psk, E], &[E, Ee]])),
    (HandshakeId::NN_PSK0_HFS, pattern("NNhfs+psk0", false, &[&[Psk, E, E1], &[E, Ee, Ekem1]])),
    (HandshakeId::XX, pattern("XX", false, &[&[E], &[E, Ee, S, Es], &[S, Se]])),
    (HandshakeId::IK, pattern("IK", true, &[&[E, Es, S, Ss], &[E, Ee, Se]])),
    (HandshakeId::XX_HFS, pattern("XXhfs", false, &[&[E, E1], &[E, Ee, Ekem1, S, Es], &[S, Se]])),
    (HandshakeId::IK_HFS, pattern("IKhfs", true, &[&[E, Es, E1, S, Ss], &[E, Ee, Ekem1, Se]])),
];

/// The pattern of a handshake id.
pub(crate) fn by_id(id: HandshakeId) -> Option<Pattern> {
    PATTERNS.iter().find(|(known, _)| *known == id).map(|(_, pattern)| *pattern)
}
