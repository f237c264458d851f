//! What each side allows, checked once and then shared by all its handshakes.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    HandshakeId, SuiteId,
    error::{HandshakeError, PolicyProblem},
    handshake::{ClientStart, ServerStart},
    key::{Entropy, StaticKey, StaticPublicKey},
    negotiation::{Choice, Offer, check_lists},
    noise::{self, Pattern},
    provider::CryptoProvider,
    ticket::ClientTicket,
};

/// Most server keys that a client pins: the current one and the next one.
pub const MAX_PINS: usize = 2;

/// What a client wants and allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientPolicy {
    /// What is offered to the server.
    pub offer: Offer,
    /// The handshakes that this client is willing to make, best first, each once; at least one that is not a resumption. A server
    /// can ask for another one with a RETRY, but only for one of these.
    pub handshakes: Vec<HandshakeId>,
    /// Refuses at once a list that has a handshake without ML-KEM on it, so that nobody weakens it later by accident.
    pub require_pq: bool,
    /// Whether `offer.suites` may be the one entry [`SuiteId::NONE`]: records in the clear, for TLS or loopback underneath. Even
    /// then it cannot be negotiated down to: a list has either this entry or none of it.
    pub allow_plaintext: bool,
}

/// What a server accepts.
///
/// The server's order decides, with one exception: a client that lists ChaCha20-Poly1305 first has no AES hardware and gets
/// ChaCha20-Poly1305 if it is on this list at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerPolicy {
    /// Record suites, best first; the rules of an [`Offer`].
    pub suites: Vec<SuiteId>,
    /// Serialization ids, best first; the rules of an [`Offer`].
    pub formats: Vec<u8>,
    /// The largest packet body that the server accepts, bytes on the wire; at least [`MIN_BODY_LIMIT`](crate::MIN_BODY_LIMIT).
    pub max_body: u32,
    /// The handshakes that this server makes, best first, each once; at least one that is not a resumption. The client chooses;
    /// the order is what a RETRY asks for.
    pub handshakes: Vec<HandshakeId>,
    /// As in [`ClientPolicy`].
    pub require_pq: bool,
    /// Refuses clients that do not bind the handshake to the TLS connection underneath. Web pages cannot: a browser does not show
    /// them its exporter.
    pub require_binding: bool,
    /// As in [`ClientPolicy`].
    pub allow_plaintext: bool,
}

/// The rules for the list of handshakes.
fn check_handshakes(
    provider: &CryptoProvider,
    handshakes: &[HandshakeId],
    require_pq: bool,
) -> Result<(), HandshakeError> {
    let mut rest = handshakes;
    while let [id, after @ ..] = rest {
        let pattern = noise::by_id(*id).ok_or(PolicyProblem::UnknownHandshake(*id))?;
        if after.contains(id) {
            return Err(PolicyProblem::DuplicateHandshake(*id).into());
        }
        if require_pq && !pattern.is_hybrid() {
            return Err(PolicyProblem::NotPostQuantum(*id).into());
        }
        if pattern.is_hybrid() && provider.kem.is_none() {
            return Err(PolicyProblem::NoKem(*id).into());
        }
        rest = after;
    }
    if handshakes.iter().all(|id| id.is_resumption()) {
        return Err(PolicyProblem::NoFullHandshake.into());
    }
    Ok(())
}

fn check_provider(provider: &CryptoProvider, suites: &[SuiteId]) -> Result<(), HandshakeError> {
    let handshake = SuiteId::CHACHA20_POLY1305;
    match suites.iter().chain([&handshake]).find(|suite| !provider.supports(**suite)) {
        Some(missing) => Err(HandshakeError::ProviderLacks(*missing)),
        None => Ok(()),
    }
}

/// A client's checked configuration. Cheap to clone; every connection starts from it.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{Client, ClientPolicy, Entropy, HandshakeId, Offer, RUSTCRYPTO, ServerKey};
/// let rng = &mut getrandom::SysRng;
/// let [current, next] = [(); 2].map(|()| {
///     ServerKey::generate(&RUSTCRYPTO, Entropy::from_rng(rng).unwrap()).unwrap().public()
/// });
/// let policy = ClientPolicy {
///     offer: Offer { suites: RUSTCRYPTO.preferred_suites(), formats: vec![16], max_body: 65_536 },
///     handshakes: vec![HandshakeId::NK, HandshakeId::NN_PSK0],
///     require_pq: false,
///     allow_plaintext: false,
/// };
/// let client = Client::new(&RUSTCRYPTO, policy, &[current, next]).unwrap();
/// let start = client.start(Entropy::from_rng(rng).unwrap()).unwrap();
/// assert_eq!(start.handshake(), HandshakeId::NK);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) provider: &'static CryptoProvider,
    pub(crate) policy: Arc<ClientPolicy>,
    /// At most [`MAX_PINS`].
    pub(crate) pins: Vec<StaticPublicKey>,
    pub(crate) key: Option<Arc<StaticKey>>,
}

impl Client {
    /// Checks a configuration. `pins` are the keys by which the client knows its server: the first one is used, a second one (the
    /// next key, during a rotation) when the server asks for it. Without pins only XX is possible.
    ///
    /// # Errors
    /// [`HandshakeError::OwnOffer`], [`HandshakeError::ProviderLacks`], [`HandshakeError::OwnHandshakes`].
    pub fn new(
        provider: &'static CryptoProvider,
        policy: impl Into<Arc<ClientPolicy>>,
        pins: &[StaticPublicKey],
    ) -> Result<Self, HandshakeError> {
        Self::checked(provider, policy.into(), pins, None)
    }

    /// The same for a client that shows a static key of its own, as XX and IK need it.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_key(
        provider: &'static CryptoProvider,
        policy: impl Into<Arc<ClientPolicy>>,
        pins: &[StaticPublicKey],
        key: impl Into<Arc<StaticKey>>,
    ) -> Result<Self, HandshakeError> {
        Self::checked(provider, policy.into(), pins, Some(key.into()))
    }

    fn checked(
        provider: &'static CryptoProvider,
        policy: Arc<ClientPolicy>,
        pins: &[StaticPublicKey],
        key: Option<Arc<StaticKey>>,
    ) -> Result<Self, HandshakeError> {
        let Offer { suites, formats, max_body } = &policy.offer;
        check_lists(suites, formats, *max_body, policy.allow_plaintext).map_err(HandshakeError::OwnOffer)?;
        check_provider(provider, suites)?;
        check_handshakes(provider, &policy.handshakes, policy.require_pq)?;
        for id in &policy.handshakes {
            let pattern = noise::by_id(*id).ok_or(PolicyProblem::UnknownHandshake(*id))?;
            if pattern.responder_known && pins.is_empty() {
                return Err(PolicyProblem::NoPin(*id).into());
            }
            if pattern.initiator_has_static() && key.is_none() {
                return Err(PolicyProblem::NoOwnKey(*id).into());
            }
        }
        if pins.len() > MAX_PINS {
            return Err(PolicyProblem::TooManyPins(pins.len()).into());
        }
        Ok(Self { provider, policy, pins: pins.to_vec(), key })
    }

    /// Begins the first full handshake of the list. `entropy` becomes the ephemeral key: never use it again.
    ///
    /// # Errors
    /// [`HandshakeError::Provider`] if the provider refuses.
    pub fn start(&self, entropy: Entropy) -> Result<ClientStart, HandshakeError> {
        let full = self.policy.handshakes.iter().find(|id| !id.is_resumption());
        ClientStart::new(self.clone(), *full.ok_or(PolicyProblem::NoFullHandshake)?, None, entropy)
    }

    /// Begins the first resumption of the list. The ticket is used up, whatever comes of it: two connections that show the same
    /// one could be linked.
    ///
    /// # Errors
    /// [`HandshakeError::OwnHandshakes`] with [`PolicyProblem::NoResumption`] if none is on the list.
    pub fn resume(&self, ticket: ClientTicket, entropy: Entropy) -> Result<ClientStart, HandshakeError> {
        let resumption = self.policy.handshakes.iter().find(|id| id.is_resumption());
        ClientStart::new(self.clone(), *resumption.ok_or(PolicyProblem::NoResumption)?, Some(ticket), entropy)
    }

    pub(crate) fn pin_by_id(&self, key_id: &[u8; 8]) -> Option<StaticPublicKey> {
        self.pins.iter().copied().find(|pin| pin.key_id(self.provider) == *key_id)
    }

    /// Whether the server's choice is one of ours.
    pub(crate) fn permits(&self, choice: &Choice) -> Result<(), HandshakeError> {
        let offer = &self.policy.offer;
        if offer.suites.contains(&choice.suite) && offer.formats.contains(&choice.format) {
            Ok(())
        } else {
            Err(HandshakeError::NotOffered { suite: choice.suite, format: choice.format })
        }
    }
}

/// A server's checked policy. Cheap to clone; every connection starts from it.
///
/// ```
/// # #[cfg(feature = "rustcrypto")] {
/// use im_crypto::{Entropy, HandshakeId, RUSTCRYPTO, Server, ServerPolicy, SuiteId};
/// let policy = ServerPolicy {
///     suites: vec![SuiteId::AES_128_GCM, SuiteId::CHACHA20_POLY1305],
///     formats: vec![16],
///     max_body: 65_536,
///     handshakes: vec![HandshakeId::NK],
///     require_pq: false,
///     require_binding: false,
///     allow_plaintext: false,
/// };
/// let server = Server::new(&RUSTCRYPTO, policy).unwrap();
/// let waiting = server.start(Entropy::from_rng(&mut getrandom::SysRng).unwrap());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) provider: &'static CryptoProvider,
    pub(crate) policy: Arc<ServerPolicy>,
}

impl Server {
    /// Checks a policy.
    ///
    /// # Errors
    /// [`HandshakeError::OwnPolicy`], [`HandshakeError::ProviderLacks`], [`HandshakeError::OwnHandshakes`].
    pub fn new(
        provider: &'static CryptoProvider,
        policy: impl Into<Arc<ServerPolicy>>,
    ) -> Result<Self, HandshakeError> {
        let policy = policy.into();
        check_lists(&policy.suites, &policy.formats, policy.max_body, policy.allow_plaintext)
            .map_err(HandshakeError::OwnPolicy)?;
        check_provider(provider, &policy.suites)?;
        check_handshakes(provider, &policy.handshakes, policy.require_pq)?;
        Ok(Self { provider, policy })
    }

    /// Prepares for one client. `entropy` becomes the ephemeral key: never use it again.
    #[must_use]
    pub fn start(&self, entropy: Entropy) -> ServerStart {
        ServerStart::new(self.clone(), entropy)
    }

    pub(crate) fn allows(&self, id: HandshakeId) -> Option<Pattern> {
        if self.policy.handshakes.contains(&id) { noise::by_id(id) } else { None }
    }

    /// The full handshake to ask for instead of `asked`. The client's list is not known; likeliest on it is what needs the same
    /// keys (a client without a pin cannot do NK at all), and then what is post-quantum if that was.
    pub(crate) fn alternative(&self, asked: HandshakeId) -> Option<HandshakeId> {
        let keys = |id: HandshakeId| (id.needs_pin(), id.shows_client_key());
        let full = self.policy.handshakes.iter().copied().filter(|id| !id.is_resumption());
        full.min_by_key(|id| {
            let other_keys = !asked.is_resumption() && keys(*id) != keys(asked);
            (other_keys, id.is_post_quantum() != asked.is_post_quantum())
        })
    }

    pub(crate) fn choose(&self, offer: &Offer) -> Result<Choice, HandshakeError> {
        let ServerPolicy { suites, formats, max_body, .. } = &*self.policy;
        let chacha = SuiteId::CHACHA20_POLY1305;
        let suite = if offer.suites.first() == Some(&chacha) && suites.contains(&chacha) {
            chacha
        } else {
            *suites.iter().find(|suite| offer.suites.contains(suite)).ok_or(HandshakeError::NoCommonSuite)?
        };
        let format =
            *formats.iter().find(|format| offer.formats.contains(format)).ok_or(HandshakeError::NoCommonFormat)?;
        Ok(Choice { suite, format, max_body: *max_body })
    }
}
