//! Handshake patterns as data (Noise rev 34, section 7).

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
}

use Token::{E, Ee, Es, Psk, S, Se, Ss};

/// A pattern: who knows whose static key beforehand, and the tokens of each message. Messages alternate, the initiator begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pattern {
    /// As in the protocol name.
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
        self.messages.iter().any(|message| message.contains(&Psk))
    }
}

const NK: Pattern =
    Pattern { name: "NK", initiator_known: false, responder_known: true, messages: &[&[E, Es], &[E, Ee]] };
const NN_PSK0: Pattern =
    Pattern { name: "NNpsk0", initiator_known: false, responder_known: false, messages: &[&[Psk, E], &[E, Ee]] };
const XX: Pattern = Pattern {
    name: "XX",
    initiator_known: false,
    responder_known: false,
    messages: &[&[E], &[E, Ee, S, Es], &[S, Se]],
};
const IK: Pattern =
    Pattern { name: "IK", initiator_known: false, responder_known: true, messages: &[&[E, Es, S, Ss], &[E, Ee, Se]] };

/// The table: what each handshake id means.
pub(crate) const PATTERNS: [(HandshakeId, Pattern); 4] =
    [(HandshakeId::NK, NK), (HandshakeId::NN_PSK0, NN_PSK0), (HandshakeId::XX, XX), (HandshakeId::IK, IK)];

/// The pattern of a handshake id.
pub(crate) fn by_id(id: HandshakeId) -> Option<Pattern> {
    PATTERNS.iter().find(|(known, _)| *known == id).map(|(_, pattern)| *pattern)
}
