//! The RustCrypto provider with a witness: which keys exist, which nonces each of them saw, how often it worked. Per thread, so
//! that tests do not see each other.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    sync::LazyLock,
};

use im_crypto::{
    AeadKey, AeadSuite, Client, CryptoError, CryptoProvider, Established, RUSTCRYPTO, Server, ServerContext, ServerKey,
    SuiteId, TrafficKey,
};

use super::common::{self, client_policy, entropy, finish, hello_header, offer, policy};

thread_local! {
    static OPENS: Cell<u64> = const { Cell::new(0) };
    static SEALS: Cell<u64> = const { Cell::new(0) };
    static KEYS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static NONCES: RefCell<HashSet<([u8; 32], [u8; 12])>> = RefCell::new(HashSet::new());
    static REPEATED: RefCell<Vec<[u8; 12]>> = const { RefCell::new(Vec::new()) };
}

/// How often a packet was opened on this thread.
pub(crate) fn opens() -> u64 {
    OPENS.get()
}

/// How often something was sealed on this thread.
pub(crate) fn seals() -> u64 {
    SEALS.get()
}

/// The keys that were expanded on this thread since the last question.
pub(crate) fn take_keys() -> Vec<Vec<u8>> {
    KEYS.take()
}

/// Nonces that sealed twice under one key: has to be empty.
pub(crate) fn repeated() -> Vec<[u8; 12]> {
    REPEATED.take()
}

struct Witness(SuiteId);

struct WitnessKey {
    inner: Box<dyn AeadKey>,
    name: [u8; 32],
}

impl Witness {
    fn inner(&self) -> &'static dyn AeadSuite {
        RUSTCRYPTO.aead(self.0).unwrap()
    }
}

impl AeadSuite for Witness {
    fn id(&self) -> SuiteId {
        self.0
    }
    fn key_len(&self) -> usize {
        self.inner().key_len()
    }
    fn is_accelerated(&self) -> bool {
        true
    }
    fn key(&self, key: &TrafficKey) -> Result<Box<dyn AeadKey>, CryptoError> {
        let mut name = [0; 32];
        name[..key.as_bytes().len()].copy_from_slice(key.as_bytes());
        KEYS.with_borrow_mut(|keys| keys.push(key.as_bytes().to_vec()));
        Ok(Box::new(WitnessKey { inner: self.inner().key(key)?, name }))
    }
}

impl WitnessKey {
    fn sealed(&self, nonce: &[u8; 12]) {
        SEALS.set(SEALS.get() + 1);
        if !NONCES.with_borrow_mut(|nonces| nonces.insert((self.name, *nonce))) {
            REPEATED.with_borrow_mut(|repeated| repeated.push(*nonce));
        }
    }
}

impl AeadKey for WitnessKey {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &mut [u8; 16]) -> Result<(), CryptoError> {
        self.sealed(nonce);
        self.inner.seal(nonce, aad, buf, tag)
    }
    fn seal_into(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
        tag: &mut [u8; 16],
    ) -> Result<(), CryptoError> {
        self.sealed(nonce);
        self.inner.seal_into(nonce, aad, plain, out, tag)
    }
    fn open(&self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError> {
        OPENS.set(OPENS.get() + 1);
        self.inner.open(nonce, aad, buf, tag)
    }
}

/// RustCrypto, watched.
pub(crate) static INSTRUMENTED: LazyLock<CryptoProvider> = LazyLock::new(|| {
    let mut provider = RUSTCRYPTO;
    let suites: Vec<&'static dyn AeadSuite> =
        [16, 17, 18].map(|id| &*Box::leak(Box::new(Witness(SuiteId(id)))) as &'static dyn AeadSuite).to_vec();
    provider.aeads = suites.leak();
    provider
});

/// A finished handshake with a provider: client, server. The handshake's own nonces are not looked at: its randomness is fixed, so
/// two handshakes are one.
pub(crate) fn established(provider: &'static CryptoProvider, suite: SuiteId) -> (Established, Established) {
    let established = session(provider, suite, 2);
    NONCES.with_borrow_mut(HashSet::clear);
    REPEATED.take();
    established
}

/// The same with the client's randomness from a seed, and nothing forgotten.
pub(crate) fn session(provider: &'static CryptoProvider, suite: SuiteId, seed: u64) -> (Established, Established) {
    let key = ServerKey::generate(provider, entropy(1)).unwrap();
    let client = Client::new(provider, client_policy(offer(&[suite])), &[key.public()]).unwrap();
    let start = client.start(entropy(seed)).unwrap();
    let header = hello_header(start.body_len());
    let (mut hello, mut reply) = (Vec::new(), Vec::new());
    let wait = start.write(&header, &mut hello).unwrap();
    let server = Server::new(provider, policy(&[suite])).unwrap().start(entropy(3));
    let mut context = ServerContext::new(core::slice::from_ref(&key));
    let server = server.accept(&mut context, &header, &mut hello, &mut reply).unwrap();
    (finish(wait, &mut reply).unwrap(), common::established(server))
}
