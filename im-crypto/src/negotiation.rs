//! What is negotiated, and its bytes.

use alloc::vec::Vec;

use crate::{
    HandshakeId, SuiteId,
    error::{HandshakeError, OfferProblem},
    provider::CryptoProvider,
};

/// Length of the packet header in front of a handshake body, bytes.
pub const HEADER_LEN: usize = 24;
/// Most suites in an offer.
pub const MAX_SUITES: usize = 8;
/// Most serialization formats in an offer.
pub const MAX_FORMATS: usize = 16;
/// Longest handshake body that is read, bytes. A framing layer can refuse a longer one before it is stored.
pub const MAX_HANDSHAKE_BODY: usize = 2048;
/// Least value of a body limit, bytes: every control packet fits.
pub const MIN_BODY_LIMIT: u32 = 256;

/// Channel binding type "none".
const NO_BINDING: u8 = 0;
/// Bytes of the choice that this version knows: suite, format, body limit.
const CHOICE_LEN: u8 = 6;

/// What a client offers.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{Offer, RUSTCRYPTO};
/// let offer = Offer { suites: RUSTCRYPTO.preferred_suites(), formats: vec![16, 2], max_body: 65_536 };
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Record suites, best first: 1 to [`MAX_SUITES`], each once, neither NONE nor a legacy id.
    pub suites: Vec<SuiteId>,
    /// Serialization ids: 1 to [`MAX_FORMATS`], each once, best first. Their meaning is not this crate's business.
    pub formats: Vec<u8>,
    /// The largest packet body that this side accepts, bytes on the wire; at least [`MIN_BODY_LIMIT`].
    pub max_body: u32,
}

/// What the server chose. It travels encrypted, and both sides hold the same value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The record suite, one of the offer's.
    pub suite: SuiteId,
    /// The serialization id, one of the offer's.
    pub format: u8,
    /// The largest packet body that the server accepts, bytes on the wire.
    pub max_body: u32,
}

/// What a server accepts. The same rules as for an [`Offer`] hold for the lists.
///
/// The server's order decides, with one exception: a client that lists ChaCha20-Poly1305 first has no AES hardware and gets
/// ChaCha20-Poly1305 if it is on this list at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerPolicy {
    /// Record suites, best first.
    pub suites: Vec<SuiteId>,
    /// Serialization ids, best first.
    pub formats: Vec<u8>,
    /// The largest packet body that the server accepts, bytes on the wire; at least [`MIN_BODY_LIMIT`].
    pub max_body: u32,
}

/// The rules for the lists of an offer and of a policy.
fn check(suites: &[SuiteId], formats: &[u8], max_body: u32) -> Result<(), OfferProblem> {
    if suites.is_empty() {
        return Err(OfferProblem::NoSuites);
    }
    if suites.len() > MAX_SUITES {
        return Err(OfferProblem::TooManySuites(suites.len()));
    }
    let mut seen = suites;
    while let [first, rest @ ..] = seen {
        if *first == SuiteId::NONE {
            return Err(OfferProblem::NoEncryption);
        }
        if first.legacy_name().is_some() {
            return Err(OfferProblem::LegacySuite(*first));
        }
        if rest.contains(first) {
            return Err(OfferProblem::DuplicateSuite(*first));
        }
        seen = rest;
    }
    if formats.is_empty() {
        return Err(OfferProblem::NoFormats);
    }
    if formats.len() > MAX_FORMATS {
        return Err(OfferProblem::TooManyFormats(formats.len()));
    }
    let mut seen = formats;
    while let [first, rest @ ..] = seen {
        if rest.contains(first) {
            return Err(OfferProblem::DuplicateFormat(*first));
        }
        seen = rest;
    }
    if max_body < MIN_BODY_LIMIT {
        return Err(OfferProblem::BodyLimit(max_body));
    }
    Ok(())
}

fn check_provider(provider: &CryptoProvider, suites: &[SuiteId]) -> Result<(), HandshakeError> {
    match suites.iter().find(|suite| !provider.supports(**suite)) {
        Some(missing) => Err(HandshakeError::ProviderLacks(*missing)),
        None => Ok(()),
    }
}

impl Offer {
    pub(crate) fn validate(&self, provider: &CryptoProvider) -> Result<(), HandshakeError> {
        check(&self.suites, &self.formats, self.max_body).map_err(HandshakeError::OwnOffer)?;
        check_provider(provider, &self.suites)
    }

    /// Whether the server's choice is one of ours.
    pub(crate) fn permits(&self, choice: &Choice) -> Result<(), HandshakeError> {
        if self.suites.contains(&choice.suite) && self.formats.contains(&choice.format) {
            Ok(())
        } else {
            Err(HandshakeError::NotOffered { suite: choice.suite, format: choice.format })
        }
    }
}

impl ServerPolicy {
    pub(crate) fn validate(&self, provider: &CryptoProvider) -> Result<(), HandshakeError> {
        check(&self.suites, &self.formats, self.max_body).map_err(HandshakeError::OwnPolicy)?;
        check_provider(provider, &self.suites)
    }

    pub(crate) fn choose(&self, offer: &Offer) -> Result<Choice, HandshakeError> {
        let chacha = SuiteId::CHACHA20_POLY1305;
        let suite = if offer.suites.first() == Some(&chacha) && self.suites.contains(&chacha) {
            chacha
        } else {
            *self.suites.iter().find(|suite| offer.suites.contains(suite)).ok_or(HandshakeError::NoCommonSuite)?
        };
        let format =
            *self.formats.iter().find(|format| offer.formats.contains(format)).ok_or(HandshakeError::NoCommonFormat)?;
        Ok(Choice { suite, format, max_body: self.max_body })
    }
}

impl Choice {
    /// Length byte, then suite, format and body limit; a reader skips bytes after those it knows.
    pub(crate) fn encode(&self) -> [u8; 1 + CHOICE_LEN as usize] {
        let [a, b, c, d] = self.max_body.to_be_bytes();
        [CHOICE_LEN, self.suite.0, self.format, a, b, c, d]
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let (&len, fields) = bytes.split_first().ok_or(HandshakeError::BadChoice)?;
        if fields.len() != usize::from(len) {
            return Err(HandshakeError::BadChoice);
        }
        let [suite, format, a, b, c, d, ..] = *fields else { return Err(HandshakeError::BadChoice) };
        let max_body = u32::from_be_bytes([a, b, c, d]);
        if max_body < MIN_BODY_LIMIT {
            return Err(HandshakeError::BadChoice);
        }
        Ok(Self { suite: SuiteId(suite), format, max_body })
    }
}

/// The part of a HELLO body in front of the Noise message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HelloPrefix {
    pub(crate) handshake: HandshakeId,
    pub(crate) key_id: [u8; 8],
    pub(crate) offer: Offer,
}

impl HelloPrefix {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { handshake, key_id, offer: Offer { suites, formats, max_body } } = self;
        let mut out = Vec::with_capacity(Self::encoded_len(&self.offer));
        out.extend([handshake.0, NO_BINDING]);
        out.extend_from_slice(key_id);
        // The counts fit: the lists were validated.
        out.push(suites.len() as u8);
        out.extend(suites.iter().map(|suite| suite.0));
        out.push(formats.len() as u8);
        out.extend_from_slice(formats);
        out.extend_from_slice(&max_body.to_be_bytes());
        out
    }

    pub(crate) fn encoded_len(offer: &Offer) -> usize {
        2 + 8 + 1 + offer.suites.len() + 1 + offer.formats.len() + 4
    }

    /// Reads the prefix and says how long it is. The lists are checked by the same rules as our own; suites that nobody here
    /// knows are kept, so that a newer client can offer them.
    pub(crate) fn decode(body: &[u8]) -> Result<(Self, usize), HandshakeError> {
        if body.len() > MAX_HANDSHAKE_BODY {
            return Err(HandshakeError::TooLong(body.len()));
        }
        let mut reader = Reader(body);
        let handshake = HandshakeId(reader.byte()?);
        if handshake != HandshakeId::NK {
            return Err(HandshakeError::UnsupportedHandshake(handshake));
        }
        let binding = reader.byte()?;
        if binding != NO_BINDING {
            return Err(HandshakeError::UnsupportedBinding(binding));
        }
        let key_id = *reader.array()?;
        let suites: Vec<SuiteId> = reader
            .list(MAX_SUITES, |n| HandshakeError::PeerOffer(OfferProblem::TooManySuites(n)))?
            .iter()
            .map(|id| SuiteId(*id))
            .collect();
        let formats =
            reader.list(MAX_FORMATS, |n| HandshakeError::PeerOffer(OfferProblem::TooManyFormats(n)))?.to_vec();
        let max_body = u32::from_be_bytes(*reader.array()?);
        check(&suites, &formats, max_body).map_err(HandshakeError::PeerOffer)?;
        let read = body.len() - reader.0.len();
        Ok((Self { handshake, key_id, offer: Offer { suites, formats, max_body } }, read))
    }
}

/// Reads from the front; every shortage is [`HandshakeError::Truncated`].
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], HandshakeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(HandshakeError::Truncated)?;
        self.0 = rest;
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, HandshakeError> {
        let [byte] = *self.array()?;
        Ok(byte)
    }

    fn list(&mut self, max: usize, too_many: fn(usize) -> HandshakeError) -> Result<&'a [u8], HandshakeError> {
        let count = usize::from(self.byte()?);
        if count > max {
            return Err(too_many(count));
        }
        let (list, rest) = self.0.split_at_checked(count).ok_or(HandshakeError::Truncated)?;
        self.0 = rest;
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn choice_tolerates_later_fields() {
        let choice = Choice { suite: SuiteId(18), format: 2, max_body: 70_000 };
        assert_eq!(Choice::decode(&choice.encode()), Ok(choice));
        let mut longer = choice.encode().to_vec();
        longer.extend([1, 2, 3]);
        assert_eq!(Choice::decode(&longer), Err(HandshakeError::BadChoice));
        longer[0] += 3;
        assert_eq!(Choice::decode(&longer), Ok(choice));
        for short in 0..7 {
            assert_eq!(Choice::decode(&choice.encode()[..short]), Err(HandshakeError::BadChoice));
        }
        let small = Choice { max_body: MIN_BODY_LIMIT - 1, ..choice };
        assert_eq!(Choice::decode(&small.encode()), Err(HandshakeError::BadChoice));
        assert_eq!(Choice::decode(&[5, 18, 2, 0, 1, 0]), Err(HandshakeError::BadChoice));
    }

    #[test]
    fn server_order_decides_except_for_chacha_first() {
        let policy =
            ServerPolicy { suites: vec![SuiteId(17), SuiteId(16), SuiteId(18)], formats: vec![2, 16], max_body: 999 };
        let choose = |suites: &[u8], formats: &[u8]| {
            let offer = Offer {
                suites: suites.iter().map(|id| SuiteId(*id)).collect(),
                formats: formats.to_vec(),
                max_body: 1000,
            };
            policy.choose(&offer).map(|choice| (choice.suite.0, choice.format))
        };
        assert_eq!(choose(&[16, 17, 18], &[16, 2]), Ok((17, 2)));
        assert_eq!(choose(&[18, 17, 16], &[16]), Ok((18, 16)));
        assert_eq!(choose(&[16, 18], &[16]), Ok((16, 16)));
        assert_eq!(choose(&[200, 18], &[16]), Ok((18, 16)));
        assert_eq!(choose(&[200], &[16]), Err(HandshakeError::NoCommonSuite));
        assert_eq!(choose(&[16], &[3]), Err(HandshakeError::NoCommonFormat));
        let no_chacha = ServerPolicy { suites: vec![SuiteId(16)], ..policy.clone() };
        let offer = Offer { suites: vec![SuiteId(18), SuiteId(16)], formats: vec![2], max_body: 1000 };
        assert_eq!(no_chacha.choose(&offer).unwrap().suite, SuiteId(16));
    }
}
