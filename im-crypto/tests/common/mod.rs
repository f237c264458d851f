//! Helpers of the integration tests: seeded entropy and a whole handshake.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod golden;
pub(crate) mod world;

use im_crypto::{
    Accepted, Client, ClientPolicy, ClientWait, Entropy, Established, HandshakeError, HandshakeId, Offer, Opener,
    Padding, RUSTCRYPTO, Replied, Sealer, Server, ServerContext, ServerKey, ServerPolicy, SuiteId, finish_plaintext,
};
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

pub(crate) const ALL_SUITES: [SuiteId; 3] = [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305];

pub(crate) fn entropy(seed: u64) -> Entropy {
    Entropy::from_rng(&mut ChaCha12Rng::seed_from_u64(seed)).unwrap()
}

pub(crate) fn server_key() -> ServerKey {
    ServerKey::generate(&RUSTCRYPTO, entropy(1)).unwrap()
}

pub(crate) fn offer(suites: &[SuiteId]) -> Offer {
    Offer { suites: suites.to_vec(), formats: vec![16, 2], max_body: 65_536 }
}

pub(crate) fn policy(suites: &[SuiteId]) -> ServerPolicy {
    ServerPolicy {
        suites: suites.to_vec(),
        formats: vec![2, 16],
        max_body: 100_000,
        handshakes: vec![HandshakeId::NK],
        require_pq: false,
        require_binding: false,
        allow_plaintext: false,
    }
}

pub(crate) fn client_policy(offer: Offer) -> ClientPolicy {
    ClientPolicy { offer, handshakes: vec![HandshakeId::NK], require_pq: false, allow_plaintext: false }
}

/// A HELLO header: only its being the same on both sides matters to the handshake.
pub(crate) fn hello_header(body_len: usize) -> [u8; 24] {
    let mut header = [0; 24];
    header[0] = 0x66;
    header[3] = 2;
    header[20..].copy_from_slice(&u32::try_from(body_len).unwrap().to_be_bytes());
    header
}

pub(crate) fn record_header(suite: SuiteId, body_len: usize) -> [u8; 24] {
    let mut header = hello_header(body_len);
    header[17] = suite.0;
    header
}

/// A client's HELLO: header, body, and the client that waits.
pub(crate) fn hello(key: &ServerKey, offer: Offer) -> ([u8; 24], Vec<u8>, ClientWait) {
    let client = Client::new(&RUSTCRYPTO, client_policy(offer), &[key.public()]).unwrap();
    let start = client.start(entropy(2)).unwrap();
    let header = hello_header(start.body_len());
    let mut body = Vec::new();
    let wait = start.write(&header, &mut body).unwrap();
    (header, body, wait)
}

pub(crate) fn accept(
    key: &ServerKey,
    policy: ServerPolicy,
    header: &[u8],
    hello: &[u8],
) -> Result<(Vec<u8>, Established), HandshakeError> {
    let mut reply = vec![0xaa];
    let mut context = ServerContext::new(std::slice::from_ref(key));
    let server = Server::new(&RUSTCRYPTO, policy).unwrap().start(entropy(3));
    let result = server.accept(&mut context, header, &mut hello.to_vec(), &mut reply);
    if result.is_err() {
        assert_eq!(reply, [0xaa], "a refused HELLO leaves no bytes");
    }
    result.map(|accepted| (reply.split_off(1), established(accepted)))
}

/// The session of a handshake of two messages.
pub(crate) fn established(accepted: Accepted) -> Established {
    let Accepted::Established(server) = accepted else { panic!("{accepted:?}") };
    *server
}

/// The client's end of a handshake of two messages.
pub(crate) fn finish(wait: ClientWait, reply: &mut [u8]) -> Result<Established, HandshakeError> {
    wait.finish(reply).map(|replied| match replied {
        Replied::Established(client) => *client,
        Replied::Finish(more) => panic!("{more:?}"),
    })
}

/// A finished handshake: client, server.
pub(crate) fn pair(suite: SuiteId) -> (Established, Established) {
    let key = server_key();
    let (header, body, wait) = hello(&key, offer(&[suite]));
    let (mut reply, server) = accept(&key, policy(&ALL_SUITES), &header, &body).unwrap();
    (finish(wait, &mut reply).unwrap(), server)
}

/// A packet as it is sent: header and sealed body.
pub(crate) fn packet(sealer: &mut Sealer, inner_type: u8, payload: &[u8], padding: Padding) -> ([u8; 24], Vec<u8>) {
    let mut body = [&[inner_type], payload].concat();
    finish_plaintext(&mut body, 0, padding);
    assert_eq!(body.len(), im_crypto::sealed_len(payload.len(), padding));
    let header = record_header(sealer.suite(), body.len());
    sealer.seal(&header, &mut body).unwrap();
    (header, body)
}

/// Opens a copy; `None` for any error.
pub(crate) fn open(opener: &mut Opener, header: &[u8], body: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut body = body.to_vec();
    opener.open(header, &mut body).ok().map(|opened| (opened.inner_type, opened.payload.to_vec()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The points of small order of Curve25519, their non-canonical forms and their twins with the ignored top bit.
pub(crate) fn weak_points() -> Vec<[u8; 32]> {
    let fixed = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    let order_8 = [
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
            0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
        ],
    ];
    let mut points = vec![fixed(0, 0, 0), fixed(1, 0, 0)];
    points.extend([fixed(0xec, 0xff, 0x7f), fixed(0xed, 0xff, 0x7f), fixed(0xee, 0xff, 0x7f)]);
    points.extend(order_8);
    let twins = points.clone();
    points.extend(twins.into_iter().map(|mut point| {
        point[31] |= 0x80;
        point
    }));
    points
}

/// A generator that gives the same byte for ever: for transcripts that anybody can reproduce.
pub(crate) struct FixedRng(pub(crate) u8);

impl rand_core::TryRng for FixedRng {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for FixedRng {}
