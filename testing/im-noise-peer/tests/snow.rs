//! `snow` as client and as server, with the bytes of `docs/spec/security.md` put together here: the Noise messages inside our packets
//! are those of another implementation, and both end with the same transcript hash.

use im_crypto::{
    Accepted, Client, ClientPolicy, ClientTicket, Entropy, Established, HandshakeId, Offer, RUSTCRYPTO, Replied,
    Resumption, Server, ServerContext, ServerKey, ServerPolicy, StaticKey, SuiteId, TicketIdentity, TicketKeys,
    UsedTickets,
};
use snow::{Builder, HandshakeState};

const HEADER: [u8; 24] = [0x66; 24];
const OURS: [HandshakeId; 4] = [HandshakeId::NK, HandshakeId::NN_PSK0, HandshakeId::XX, HandshakeId::IK];
const NOW: u64 = 1_000_000;

struct Seeded(u8);

impl rand_core::TryRng for Seeded {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from(self.0))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.0))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Seeded {}

fn entropy(byte: u8) -> Entropy {
    Entropy::from_rng(&mut Seeded(byte)).unwrap()
}

const SERVER_SECRET: [u8; 32] = [0x51; 32];
const CLIENT_SECRET: [u8; 32] = [0xc5; 32];

fn server_key() -> ServerKey {
    ServerKey::from_bytes(SERVER_SECRET, &RUSTCRYPTO).unwrap()
}

fn client_key() -> StaticKey {
    StaticKey::from_bytes(CLIENT_SECRET, &RUSTCRYPTO).unwrap()
}

fn client(handshakes: &[HandshakeId]) -> Client {
    let policy = ClientPolicy {
        offer: Offer { suites: vec![SuiteId(16), SuiteId(18)], formats: vec![2], max_body: 1000 },
        handshakes: handshakes.to_vec(),
        require_pq: false,
        allow_plaintext: false,
    };
    Client::with_key(&RUSTCRYPTO, policy, &[server_key().public()], client_key()).unwrap()
}

fn server() -> Server {
    let policy = ServerPolicy {
        suites: vec![SuiteId(16)],
        formats: vec![2],
        max_body: 1000,
        handshakes: OURS.to_vec(),
        require_pq: false,
        require_binding: false,
        allow_plaintext: false,
    };
    Server::new(&RUSTCRYPTO, policy).unwrap()
}

fn ticket_keys() -> TicketKeys {
    TicketKeys::new(&RUSTCRYPTO, entropy(0x71)).unwrap()
}

/// A ticket and its psk, out of a session between our own two sides.
fn ticket() -> (Vec<u8>, [u8; 32]) {
    let start = client(&[HandshakeId::NK]).start(entropy(1)).unwrap();
    let (mut hello, mut reply, keys) = (Vec::new(), Vec::new(), [server_key()]);
    let wait = start.write(&HEADER, &mut hello).unwrap();
    let accepted =
        server().start(entropy(2)).accept(&mut ServerContext::new(&keys), &HEADER, &mut hello, &mut reply).unwrap();
    let Accepted::Established(session) = accepted else { panic!("{accepted:?}") };
    drop(wait.finish(&mut reply).unwrap());
    let ticket = ticket_keys().issue(&session.resumption, &TicketIdentity::default(), NOW, 60, entropy(3)).unwrap();
    let mut stored = Vec::new();
    ClientTicket::new(&RUSTCRYPTO, &session.resumption, ticket.clone()).unwrap().write_to(&mut stored);
    (ticket, *stored.first_chunk().unwrap())
}

/// A snow state for a handshake id, on either side.
fn snow(id: HandshakeId, initiator: bool, prologue: &[u8], psk: &[u8; 32]) -> HandshakeState {
    let params = format!("Noise_{}_25519_ChaChaPoly_SHA256", id.name().unwrap()).parse().unwrap();
    let server_public = *server_key().public().as_bytes();
    let mut builder = Builder::new(params).prologue(prologue).unwrap();
    if id == HandshakeId::NN_PSK0 {
        builder = builder.psk(0, psk).unwrap();
    }
    if [HandshakeId::XX, HandshakeId::IK].contains(&id) && initiator {
        builder = builder.local_private_key(&CLIENT_SECRET).unwrap();
    }
    if id != HandshakeId::NN_PSK0 && !initiator {
        builder = builder.local_private_key(&SERVER_SECRET).unwrap();
    }
    if [HandshakeId::NK, HandshakeId::IK].contains(&id) && initiator {
        builder = builder.remote_public_key(&server_public).unwrap();
        return builder.build_initiator().unwrap();
    }
    if initiator { builder.build_initiator().unwrap() } else { builder.build_responder().unwrap() }
}

/// `security.md`, section 3: what stands in front of the Noise message.
fn prefix(id: HandshakeId, ticket: &[u8]) -> Vec<u8> {
    let pinned = [HandshakeId::NK, HandshakeId::IK].contains(&id);
    let key_id = if pinned { server_key().key_id() } else { [0; 8] };
    let mut prefix = [&[id.0, 0], key_id.as_slice(), &[2, 16, 18, 1, 2], &1000_u32.to_be_bytes()].concat();
    if id == HandshakeId::NN_PSK0 {
        prefix.extend_from_slice(&(ticket.len() as u16).to_be_bytes());
        prefix.extend_from_slice(ticket);
    }
    prefix
}

fn prologue(prefix: &[u8]) -> Vec<u8> {
    [b"im/1 prologue".as_slice(), &HEADER, prefix].concat()
}

/// `security.md`, section 5: six bytes, suite 16, format 2, 1000 bytes.
const CHOICE: [u8; 7] = [6, 16, 2, 0, 0, 3, 232];

#[test]
fn snow_as_client() {
    for id in OURS {
        let (ticket, psk) = ticket();
        let prefix = prefix(id, &ticket);
        let mut peer = snow(id, true, &prologue(&prefix), &psk);
        let mut buffer = vec![0; 2048];
        let length = peer.write_message(&[0; 64], &mut buffer).unwrap();
        let mut hello = [prefix, buffer[..length].to_vec()].concat();

        let (tickets, mut used, keys) = (ticket_keys(), UsedTickets::new(1), [server_key()]);
        let resumption = Some(Resumption { keys: &tickets, used: &mut used });
        let mut context = ServerContext { now: NOW, resumption, ..ServerContext::new(&keys) };
        let mut reply = Vec::new();
        let accepted = server().start(entropy(9)).accept(&mut context, &HEADER, &mut hello, &mut reply).unwrap();
        let length = peer.read_message(&reply, &mut buffer).unwrap();
        assert_eq!(buffer[..length], CHOICE, "{id}");
        let session: Established = match accepted {
            Accepted::Established(session) => *session,
            Accepted::Wait(wait) => {
                assert_eq!(peer.get_remote_static().unwrap(), server_key().public().as_bytes());
                let length = peer.write_message(&[], &mut buffer).unwrap();
                wait.finish(&mut buffer[..length]).unwrap()
            }
            Accepted::Retry => panic!("{id}"),
        };
        assert!(peer.is_handshake_finished());
        assert_eq!(peer.get_handshake_hash(), session.handshake_hash, "{id}");
        let named = [HandshakeId::XX, HandshakeId::IK].contains(&id);
        assert_eq!(session.peer_key, named.then(|| client_key().public()));
    }
}

#[test]
fn snow_as_server() {
    for id in OURS {
        let (ticket, psk) = ticket();
        let start = if id == HandshakeId::NN_PSK0 {
            let stored = [psk.as_slice(), &ticket].concat();
            client(&[HandshakeId::NK, id]).resume(ClientTicket::from_bytes(&stored).unwrap(), entropy(8)).unwrap()
        } else {
            client(&[id]).start(entropy(8)).unwrap()
        };
        let mut hello = Vec::new();
        let wait = start.write(&HEADER, &mut hello).unwrap();
        let prefix = prefix(id, &ticket);
        assert_eq!(hello[..prefix.len()], prefix, "{id}");

        let mut peer = snow(id, false, &prologue(&prefix), &psk);
        let mut buffer = vec![0; 2048];
        let length = peer.read_message(&hello[prefix.len()..], &mut buffer).unwrap();
        assert_eq!(buffer[..length], [0; 64]);
        let mut reply = vec![0; 2048];
        let length = peer.write_message(&CHOICE, &mut reply).unwrap();
        let session = match wait.finish(&mut reply[..length]).unwrap() {
            Replied::Established(session) => *session,
            Replied::Finish(finish) => {
                assert_eq!(finish.server_key(), server_key().public());
                let mut third = Vec::new();
                let session = finish.write(&mut third).unwrap();
                assert_eq!(peer.read_message(&third, &mut buffer).unwrap(), 0);
                session
            }
        };
        assert!(peer.is_handshake_finished());
        assert_eq!(peer.get_handshake_hash(), session.handshake_hash, "{id}");
        assert_eq!(session.choice.suite, SuiteId(16));
    }
}
