//! What is negotiated, and its bytes.

use alloc::vec::Vec;

use crate::{
    HandshakeId, SuiteId,
    error::{HandshakeError, OfferProblem},
    noise,
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

/// Longest cookie of a RETRY, bytes.
pub(crate) const MAX_COOKIE: usize = 128;
/// Longest ticket, bytes; with everything else at its longest a HELLO still fits [`MAX_HANDSHAKE_BODY`].
pub const MAX_TICKET: usize = 512;

/// Channel binding type "none".
pub(crate) const NO_BINDING: u8 = 0;
/// Channel binding type "tls-exporter" (RFC 9266).
pub(crate) const TLS_EXPORTER: u8 = 1;
/// In the byte of the binding type: a cookie follows.
const HAS_COOKIE: u8 = 0x80;
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

/// The rules for the lists of an offer and of a policy.
pub(crate) fn check_lists(
    suites: &[SuiteId],
    formats: &[u8],
    max_body: u32,
    allow_plaintext: bool,
) -> Result<(), OfferProblem> {
    if suites.is_empty() {
        return Err(OfferProblem::NoSuites);
    }
    if suites.len() > MAX_SUITES {
        return Err(OfferProblem::TooManySuites(suites.len()));
    }
    let mut seen = suites;
    while let [first, rest @ ..] = seen {
        if *first == SuiteId::NONE && !(allow_plaintext && suites == [SuiteId::NONE]) {
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
    /// Type of the channel binding.
    pub(crate) binding: u8,
    /// Zero where the pattern has no server key that is known beforehand.
    pub(crate) key_id: [u8; 8],
    pub(crate) offer: Offer,
    /// From a RETRY; not empty.
    pub(crate) cookie: Option<Vec<u8>>,
    /// Not empty in a resumption, empty in a full handshake.
    pub(crate) ticket: Vec<u8>,
}

impl HelloPrefix {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { handshake, binding, key_id, offer: Offer { suites, formats, max_body }, cookie, ticket } = self;
        let mut out = Vec::with_capacity(self.encoded_len());
        out.extend([handshake.0, *binding | if cookie.is_some() { HAS_COOKIE } else { 0 }]);
        out.extend_from_slice(key_id);
        // The counts fit: the lists, the cookie and the ticket were checked.
        out.push(suites.len() as u8);
        out.extend(suites.iter().map(|suite| suite.0));
        out.push(formats.len() as u8);
        out.extend_from_slice(formats);
        out.extend_from_slice(&max_body.to_be_bytes());
        if let Some(cookie) = cookie {
            out.push(cookie.len() as u8);
            out.extend_from_slice(cookie);
        }
        if !ticket.is_empty() {
            out.extend_from_slice(&(ticket.len() as u16).to_be_bytes());
            out.extend_from_slice(ticket);
        }
        out
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let cookie = self.cookie.as_ref().map_or(0, |cookie| 1 + cookie.len());
        let ticket = if self.ticket.is_empty() { 0 } else { 2 + self.ticket.len() };
        2 + 8 + 1 + self.offer.suites.len() + 1 + self.offer.formats.len() + 4 + cookie + ticket
    }

    /// Reads the prefix and says how long it is. The lists are checked by the same rules as our own; suites that nobody here
    /// knows are kept, so that a newer client can offer them.
    pub(crate) fn decode(body: &[u8], allow_plaintext: bool) -> Result<(Self, usize), HandshakeError> {
        if body.len() > MAX_HANDSHAKE_BODY {
            return Err(HandshakeError::TooLong(body.len()));
        }
        let mut reader = Reader(body);
        let handshake = HandshakeId(reader.byte()?);
        let pattern = noise::by_id(handshake).ok_or(HandshakeError::UnsupportedHandshake(handshake))?;
        let options = reader.byte()?;
        let binding = options & !HAS_COOKIE;
        if binding > TLS_EXPORTER {
            return Err(HandshakeError::UnsupportedBinding(binding));
        }
        let key_id = *reader.array()?;
        if !pattern.responder_known && key_id != [0; 8] {
            return Err(HandshakeError::UnknownServerKey(key_id));
        }
        let suites: Vec<SuiteId> = reader
            .list(MAX_SUITES, |n| HandshakeError::PeerOffer(OfferProblem::TooManySuites(n)))?
            .iter()
            .map(|id| SuiteId(*id))
            .collect();
        let formats =
            reader.list(MAX_FORMATS, |n| HandshakeError::PeerOffer(OfferProblem::TooManyFormats(n)))?.to_vec();
        let max_body = u32::from_be_bytes(*reader.array()?);
        check_lists(&suites, &formats, max_body, allow_plaintext).map_err(HandshakeError::PeerOffer)?;
        let cookie = if options & HAS_COOKIE == 0 { None } else { Some(reader.cookie()?.to_vec()) };
        let ticket = if pattern.uses_psk() {
            let length = usize::from(u16::from_be_bytes(*reader.array()?));
            if length == 0 || length > MAX_TICKET {
                return Err(HandshakeError::BadTicketLength(length));
            }
            reader.take(length)?.to_vec()
        } else {
            Vec::new()
        };
        let read = body.len() - reader.0.len();
        let offer = Offer { suites, formats, max_body };
        Ok((Self { handshake, binding, key_id, offer, cookie, ticket }, read))
    }
}

/// What a RETRY says: say HELLO again, this way and with this cookie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Retry {
    pub(crate) handshake: HandshakeId,
    pub(crate) key_id: [u8; 8],
    pub(crate) cookie: Vec<u8>,
}

impl Retry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { handshake, key_id, cookie } = self;
        // The length fits: the cookie was made here, or decoded.
        [&[handshake.0], key_id.as_slice(), &[cookie.len() as u8], cookie].concat()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader(body);
        let handshake = HandshakeId(reader.byte()?);
        let key_id = *reader.array()?;
        let cookie = reader.cookie()?.to_vec();
        if reader.0.is_empty() { Ok(Self { handshake, key_id, cookie }) } else { Err(HandshakeError::BadRetry) }
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
        if count > max { Err(too_many(count)) } else { self.take(count) }
    }

    fn cookie(&mut self) -> Result<&'a [u8], HandshakeError> {
        match usize::from(self.byte()?) {
            length @ 1..=MAX_COOKIE => self.take(length),
            _ => Err(HandshakeError::BadRetry),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], HandshakeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HandshakeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
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
    fn prefix_and_retry_come_back() {
        let offer = Offer { suites: vec![SuiteId(16); 1], formats: vec![2], max_body: 1000 };
        for handshake in (1..=8).map(HandshakeId) {
            let pattern = noise::by_id(handshake).unwrap();
            for (binding, cookie) in [(0, None), (1, Some(vec![7; MAX_COOKIE])), (0, Some(vec![7]))] {
                let key_id = [u8::from(pattern.responder_known); 8];
                let ticket = if handshake.is_resumption() { vec![9; MAX_TICKET] } else { vec![] };
                let prefix = HelloPrefix { handshake, binding, key_id, offer: offer.clone(), cookie, ticket };
                let mut bytes = prefix.encode();
                let length = bytes.len();
                assert_eq!(length, prefix.encoded_len());
                bytes.push(0xff);
                assert_eq!(HelloPrefix::decode(&bytes, false), Ok((prefix.clone(), length)));
                for short in 0..length {
                    assert_eq!(HelloPrefix::decode(&bytes[..short], false), Err(HandshakeError::Truncated), "{short}");
                }
            }
        }
        let retry = Retry { handshake: HandshakeId::NK, key_id: [3; 8], cookie: vec![1; 72] };
        let mut bytes = retry.encode();
        assert_eq!(Retry::decode(&bytes), Ok(retry));
        for short in 0..bytes.len() {
            assert_eq!(Retry::decode(&bytes[..short]), Err(HandshakeError::Truncated));
        }
        bytes.push(0);
        assert_eq!(Retry::decode(&bytes), Err(HandshakeError::BadRetry));
        for length in [0, MAX_COOKIE as u8 + 1] {
            let bytes = [&[1; 9], [length].as_slice(), &[1; 200]].concat();
            assert_eq!(Retry::decode(&bytes), Err(HandshakeError::BadRetry));
        }
    }

    #[test]
    fn plaintext_stands_alone_or_not_at_all() {
        let none = SuiteId::NONE;
        let check = |suites: &[SuiteId], allowed| check_lists(suites, &[1], 256, allowed);
        assert_eq!(check(&[none], true), Ok(()));
        for (suites, allowed) in
            [(&[none][..], false), (&[none, SuiteId(16)], true), (&[SuiteId(16), none], true), (&[none, none], true)]
        {
            assert_eq!(check(suites, allowed), Err(OfferProblem::NoEncryption));
        }
    }
}
