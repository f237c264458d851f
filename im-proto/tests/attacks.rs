//! The rows of the attack table (`docs/spec/attacks.md`) that concern the session; a test's name begins with its row.

use std::time::Duration;

use allocation_counter::measure;
use im_codec::{DEFAULT_MAX_BODY, DecodeError, Header, Limits, MessageType, frame_len};
use im_proto::*;
use im_sim::{Pair, configs};

/// The most that a refusal may allocate, bytes: its reason, and the close packet that tells it.
const REFUSAL: u64 = 1024;

fn pair() -> Pair {
    let (client, server) = configs();
    Pair::new(client, server)
}

/// Allocations and bytes while an end takes what it is given.
fn cost<R: Role>(end: &mut Connection<R>, now: Instant, bytes: &mut [u8]) -> (u64, u64, usize) {
    let mut taken = 0;
    let cost = measure(|| taken = end.handle_input(now, bytes));
    (cost.count_total, cost.bytes_total, taken)
}

/// The error that ended an end, which has nothing else to say.
fn server_error(pair: &mut Pair) -> Option<Error> {
    pair.transmit();
    pair.server.handle_eof(pair.now);
    match pair.server.poll_event() {
        Some(ServerEvent::Closed(closed)) => closed.error,
        other => panic!("{other:?}"),
    }
}

/// A length of up to 2^32 - 1 is refused by the header alone, before and after the login, at either end, and costs the memory of a
/// sentence.
#[test]
fn attack_29_huge_length() {
    for len in [DEFAULT_MAX_BODY + 1, 1 << 24, 1 << 31, u32::MAX] {
        let mut claim = Header::new(MessageType::SEND).to_bytes(len);
        let refused = DecodeError::BodyTooLarge { len, max: DEFAULT_MAX_BODY };
        let framing = measure(|| assert_eq!(frame_len(&claim, &Limits::default()), Err(refused)));
        assert_eq!(framing.count_total, 0);
        for online in [false, true] {
            let mut pair = pair();
            if online {
                pair.login();
                pair.server_events.clear();
                pair.client_events.clear();
            }
            let (_, bytes, taken) = cost(&mut pair.server, pair.now, &mut claim);
            assert_eq!((pair.server.state(), taken), (State::Closing, claim.len()));
            assert!(bytes < REFUSAL, "{bytes} bytes for a claim of {len}");
            assert_eq!(server_error(&mut pair), Some(Error::Packet(refused)));
            let (_, bytes, _) = cost(&mut pair.client, pair.now, &mut claim);
            assert!(bytes < REFUSAL, "{bytes} bytes for a claim of {len}");
            assert_ne!(pair.client.state(), State::Online);
        }
    }
    // Waiting for a body that is allowed costs the session nothing either: the bytes are the caller's until they are a packet.
    let mut pair = pair();
    let mut claim = Header::new(MessageType::HELLO).to_bytes(DEFAULT_MAX_BODY);
    assert_eq!(cost(&mut pair.server, pair.now, &mut claim), (0, 0, 0));
}

/// Whoever sends a byte now and then, in the middle of the HELLO or of the login, is closed at the login deadline, which no byte and
/// no packet moves.
#[test]
fn attack_29_slow_loris() {
    for packets in 0..2 {
        let mut pair = pair();
        let deadline = pair.now + configs().1.login_timeout;
        for _ in 0..packets {
            pair.now = pair.now + Duration::from_secs(3);
            pair.transmit();
            pair.receive();
            pair.transmit_server();
            pair.receive();
            assert_eq!(pair.server.state(), State::LoggingIn);
        }
        pair.transmit();
        let whole = std::mem::take(&mut pair.to_server);
        let mut arrived = 1;
        while pair.now + Duration::from_millis(500) < deadline {
            assert_eq!(pair.server.poll_timeout(), Some((deadline, Timer::Login)), "{arrived} bytes");
            pair.now = pair.now + Duration::from_millis(500);
            assert_eq!(cost(&mut pair.server, pair.now, &mut whole[..arrived].to_vec()), (0, 0, 0));
            pair.server.handle_timeout(pair.now);
            arrived += 1;
            assert!(arrived < whole.len(), "the packet is not complete");
        }
        pair.server.handle_timeout(deadline);
        assert_eq!(pair.server.state(), State::Closing);
        // The rest comes too late.
        let mut rest = whole.clone();
        assert_eq!(pair.server.handle_input(deadline, &mut rest), rest.len());
        assert_eq!(server_error(&mut pair), Some(Error::Timeout(Timer::Login)));
    }
}

/// The same with a slow server: the client does not wait for ever.
#[test]
fn attack_29_slow_server() {
    let mut pair = pair();
    let deadline = pair.now + configs().0.login_timeout;
    pair.transmit();
    let n = pair.server.handle_input(pair.now, &mut pair.to_server);
    pair.to_server.drain(..n);
    pair.transmit();
    let whole = std::mem::take(&mut pair.to_client);
    for arrived in 1..20 {
        pair.now = pair.now + Duration::from_millis(500);
        assert_eq!(cost(&mut pair.client, pair.now, &mut whole[..arrived].to_vec()), (0, 0, 0));
        assert_eq!(pair.client.poll_timeout(), Some((deadline, Timer::Login)));
        pair.client.handle_timeout(pair.now);
        assert_eq!(pair.client.state(), State::Handshaking);
    }
    pair.client.handle_timeout(deadline);
    assert_eq!(pair.client.state(), State::Closing);
}
