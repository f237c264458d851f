//! Both providers in both roles, over whole sessions: what is on the wire must not tell which one made it.

use im_crypto::{
    ClientStart, CryptoError, CryptoProvider, Entropy, Established, KeyUpdate, Offer, Opener, Padding, RUSTCRYPTO,
    Sealer, ServerKey, ServerPolicy, ServerStart, SuiteId, finish_plaintext,
};
use im_crypto_aws_lc::AWS_LC;

const PROVIDERS: [&CryptoProvider; 2] = [&RUSTCRYPTO, &AWS_LC];
const SUITES: [SuiteId; 3] = [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305];

/// A generator that gives the same byte for ever, as in the golden transcripts.
struct Fixed(u8);

impl rand_core::TryRng for Fixed {
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

impl rand_core::TryCryptoRng for Fixed {}

fn entropy(byte: u8) -> Entropy {
    Entropy::from_rng(&mut Fixed(byte)).unwrap()
}

fn header(suite: SuiteId, length: usize) -> [u8; 24] {
    let mut header = [0; 24];
    (header[0], header[3], header[17]) = (0x66, 2, suite.0);
    header[20..].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    header
}

struct Session {
    hello: Vec<u8>,
    reply: Vec<u8>,
    client: Established,
    server: Established,
}

fn session(
    client: &'static CryptoProvider,
    server: &'static CryptoProvider,
    offer: Offer,
    policy: ServerPolicy,
) -> Session {
    let key = ServerKey::generate(server, entropy(0x51)).unwrap();
    let start = ClientStart::new(client, key.public(), offer, entropy(0xc1)).unwrap();
    let head = header(SuiteId::NONE, start.body_len());
    let (mut hello, mut reply) = (Vec::new(), Vec::new());
    let wait = start.write(&head, &mut hello).unwrap();
    let server = ServerStart::new(server, policy, entropy(0x5e)).unwrap();
    let server = server.accept(&key, &head, &mut hello.clone(), &mut reply).unwrap();
    let client = wait.finish(&mut reply.clone()).unwrap();
    assert_eq!(client.handshake_hash, server.handshake_hash);
    Session { hello, reply, client, server }
}

fn seal(sealer: &mut Sealer, content: &[u8], padding: Padding) -> ([u8; 24], Vec<u8>) {
    let mut body = content.to_vec();
    finish_plaintext(&mut body, 0, padding);
    let header = header(sealer.suite(), body.len());
    sealer.seal(&header, &mut body).unwrap();
    (header, body)
}

fn exchange(sealer: &mut Sealer, opener: &mut Opener, seen: &mut Vec<Vec<u8>>) {
    for n in 0..40_u8 {
        let payload = vec![n; usize::from(n) * 37];
        let (header, body) = seal(sealer, &[&[7], payload.as_slice()].concat(), Padding::None);
        seen.push(body.clone());
        assert_eq!(*opener.open(&header, &mut body.clone()).unwrap().payload, payload);
        if n % 10 == 9 {
            let (header, mut body) = seal(sealer, &KeyUpdate::Notice.content(), Padding::Padme);
            assert_eq!(opener.open(&header, &mut body).unwrap().key_update(), Some(KeyUpdate::Notice));
        }
        // One plaintext into another buffer gives the same as in place: here the peer opens it.
        let mut shared = vec![8, n];
        finish_plaintext(&mut shared, 0, Padding::None);
        let (mut out, header) = (vec![0; shared.len()], self::header(sealer.suite(), shared.len()));
        sealer.seal_into(&header, &shared, &mut out).unwrap();
        seen.push(out.clone());
        assert_eq!(opener.open(&header, &mut out).unwrap().inner_type, 8);
    }
}

/// Each pair of providers understands each other, and all four pairs put the same bytes on the wire.
#[test]
fn all_pairs_of_providers_and_all_suites() {
    for suite in SUITES {
        let mut wires = Vec::new();
        for client in PROVIDERS {
            for server in PROVIDERS {
                let offer = Offer { suites: vec![suite], formats: vec![16, 2], max_body: 65_536 };
                let policy = ServerPolicy { suites: SUITES.to_vec(), formats: vec![2, 16], max_body: 100_000 };
                let mut session = session(client, server, offer, policy);
                let mut wire = vec![session.hello, session.reply];
                exchange(&mut session.client.sealer, &mut session.server.opener, &mut wire);
                exchange(&mut session.server.sealer, &mut session.client.opener, &mut wire);
                wires.push(wire);
            }
        }
        assert!(wires.windows(2).all(|pair| pair[0] == pair[1]), "{suite}");
    }
}

/// The transcripts of `im-crypto/tests/vectors/golden-nk.json`, made by this provider.
#[test]
fn golden_transcripts() {
    let golden: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../tests/vectors/golden-nk.json")).unwrap();
    assert_eq!(golden.len(), 3);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for golden in golden {
        let suite = SuiteId(u8::try_from(golden["suite"].as_u64().unwrap()).unwrap());
        let mut suites = vec![suite, SuiteId(17)];
        suites.dedup();
        let offer = Offer { suites, formats: vec![16, 2], max_body: 65_536 };
        let policy = ServerPolicy { suites: vec![suite], formats: vec![2], max_body: 1 << 20 };
        let mut session = session(&AWS_LC, &AWS_LC, offer, policy);
        assert_eq!(golden["hello"], hex(&session.hello));
        assert_eq!(golden["reply"], hex(&session.reply));
        assert_eq!(golden["handshake_hash"], hex(&session.client.handshake_hash));
        let (header, body) = seal(&mut session.client.sealer, b"\x01ping", Padding::None);
        assert_eq!(golden["client_record"], hex(&header) + &hex(&body));
        let (header, body) = seal(&mut session.server.sealer, b"\x02pong", Padding::Block(64.try_into().unwrap()));
        assert_eq!(golden["server_record"], hex(&header) + &hex(&body));
    }
}

#[test]
fn a_failed_packet_gives_no_plaintext() {
    for suite in SUITES {
        let offer = Offer { suites: vec![suite], formats: vec![2], max_body: 65_536 };
        let policy = ServerPolicy { suites: SUITES.to_vec(), formats: vec![2], max_body: 65_536 };
        let mut session = session(&AWS_LC, &AWS_LC, offer, policy);
        let (header, mut body) = seal(&mut session.client.sealer, b"\x05attack at dawn", Padding::None);
        *body.last_mut().unwrap() ^= 1;
        assert!(session.server.opener.open(&header, &mut body).is_err());
        assert!(!body.windows(4).any(|four| b"attack at dawn".windows(4).any(|plain| plain == four)));
    }
}

#[test]
fn weak_keys_and_long_outputs_are_errors() {
    let mut order_8 = [0; 32];
    order_8.copy_from_slice(&[
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ]);
    for provider in PROVIDERS {
        for point in [[0; 32], order_8] {
            assert_eq!(provider.dh.agree(&[3; 32], &point).unwrap_err(), CryptoError::WeakPublicKey);
        }
        assert_eq!(provider.hash.expand(&im_crypto::Secret::default(), &[], &mut [0; 8161]), Err(CryptoError::Failed));
        provider.hash.expand(&im_crypto::Secret::default(), &[], &mut [0; 8160]).unwrap();
    }
}
