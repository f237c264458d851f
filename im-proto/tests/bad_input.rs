//! Whatever a peer sends, the answer is a typed error, a close packet with the right code and a reason, and nothing else.

use im_codec::{
    DEFAULT_MAX_BODY, DecodeError, EncryptionId, HEADER_LEN, Header, Limits, MessageType, Version, encode_packet,
};
use im_proto::*;
use im_sim::{Pair, configs};

/// A server that was given these bytes: its error and the close packet it wrote.
fn server_given(bytes: &[u8]) -> (Error, CloseCode, String) {
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    pair.to_server = bytes.to_vec();
    pair.receive();
    pair.server.handle_eof(pair.now + std::time::Duration::ZERO);
    assert_eq!(pair.server.state(), State::Closed);
    close_of(&mut pair)
}

/// The error that ended the server, and what it wrote in the clear.
fn close_of(pair: &mut Pair) -> (Error, CloseCode, String) {
    let mut out = Vec::new();
    while pair.server.poll_transmit(pair.now, &mut out, usize::MAX).is_some() {}
    pair.server_events.extend(std::iter::from_fn(|| pair.server.poll_event()));
    let Some(ServerEvent::Closed(closed)) = pair.server_events.pop() else { panic!("{:?}", pair.server_events) };
    let error = closed.error.expect("an error ended it");
    assert_eq!(closed.code, error.close_code());
    (error, closed.code, closed.reason)
}

/// What a server that is still there writes for these bytes, as the client reads it.
fn written_for(bytes: &[u8]) -> (CloseCode, String) {
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    pair.to_server = bytes.to_vec();
    pair.receive();
    assert_eq!(pair.server.state(), State::Closing);
    while pair.server.poll_transmit(pair.now, &mut pair.to_client, usize::MAX).is_some() {}
    pair.receive();
    match pair.client_events.pop() {
        Some(ClientEvent::Closed(closed)) => {
            assert_eq!(closed.by, ClosedBy::Peer);
            assert!(!closed.authenticated, "nobody proved to have written it");
            assert!(closed.may_reconnect(), "so it must not keep the client away");
            (closed.code, closed.reason)
        }
        other => panic!("{other:?}"),
    }
}

fn packet(message_type: MessageType, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_packet(&mut out, &Header::new(message_type), body, &Limits::default()).unwrap();
    out
}

#[test]
fn bytes_that_are_no_packet_are_named_and_closed_with_a_code() {
    let with = |at: usize, value: u8| {
        let mut bytes = Header::new(MessageType::HELLO).to_bytes(0);
        bytes[at] = value;
        bytes.to_vec()
    };
    let huge = Header::new(MessageType::HELLO).to_bytes(u32::MAX).to_vec();
    let cases = [
        (b"GET / HTTP/1.1\r\n".to_vec(), Error::Packet(DecodeError::Magic { found: b'G' }), CloseCode::PROTOCOL),
        (with(0, 0x67), Error::Packet(DecodeError::Magic { found: 0x67 }), CloseCode::PROTOCOL),
        (with(3, 7), Error::Packet(DecodeError::Version { found: 7 }), CloseCode::UNSUPPORTED),
        (with(3, 1), Error::Packet(DecodeError::VersionOff { found: Version::V1 }), CloseCode::UNSUPPORTED),
        (huge, Error::Packet(DecodeError::BodyTooLarge { len: u32::MAX, max: DEFAULT_MAX_BODY }), CloseCode::TOO_LARGE),
    ];
    for (bytes, error, code) in cases {
        assert_eq!(server_given(&bytes), (error, code, error.to_string()));
        assert_eq!(written_for(&bytes), (code, error.to_string()));
    }
}

#[test]
fn a_truncated_header_needs_more_and_its_end_is_a_truncation() {
    for n in 0..HEADER_LEN {
        let bytes = &Header::new(MessageType::HELLO).to_bytes(9)[..n];
        let (error, code, _) = server_given(bytes);
        assert_eq!((error, code), (Error::Truncated, CloseCode::GOING_AWAY));
    }
}

#[test]
fn a_packet_before_the_handshake_or_the_login_is_refused() {
    for message_type in
        [MessageType::SEND, MessageType::LOGIN, MessageType::PING, MessageType::SEALED, MessageType(200)]
    {
        let (code, reason) = written_for(&packet(message_type, b"{}"));
        assert_eq!(code, CloseCode::LOGIN_REQUIRED);
        assert!(reason.contains("not logged in"), "{reason}");
    }
    // Sealed properly, but before the login was accepted: a ping is no login.
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    pair.settle();
    assert!(matches!(pair.server_events.pop(), Some(ServerEvent::Login(_))));
    let before = pair.server.stats().packets_in;
    pair.to_server = packet(MessageType::SEALED, b"anything");
    pair.receive();
    assert_eq!(pair.server.stats().packets_in, before, "nothing is read until the login is answered");
    assert!(!pair.server.wants_read());
}

#[test]
fn a_damaged_hello_fails_the_handshake_and_names_no_secret() {
    let (client, server) = configs();
    let mut pair = Pair::new(client, server);
    pair.transmit();
    let last = pair.to_server.len() - 1;
    pair.to_server[last] ^= 1;
    pair.receive();
    let (error, code, _) = close_of(&mut pair);
    assert_eq!(code, CloseCode::HANDSHAKE_FAILED);
    assert_eq!(error.fault(), Fault::PeerViolated);
}

#[test]
fn every_flipped_bit_of_every_packet_of_a_session_ends_it_and_delivers_nothing() {
    let template = {
        let (client, server) = configs();
        let mut pair = Pair::new(client, server);
        pair.login();
        pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
        pair.transmit();
        pair.to_server
    };
    for bit in 0..template.len() * 8 {
        let (client, server) = configs();
        let mut pair = Pair::new(client, server);
        pair.login();
        pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
        pair.transmit();
        pair.to_server[bit / 8] ^= 1 << (bit % 8);
        pair.receive();
        // A changed length may ask for bytes that never come; everything else is found at once.
        let told = pair.server_events.iter().any(|event| matches!(event, ServerEvent::Message(_)));
        assert!(!told, "bit {bit}");
        let length = (20..24).contains(&(bit / 8));
        assert!(length || pair.server.state() != State::Online, "bit {bit}");
        pair.server.handle_eof(pair.now);
        assert_eq!(pair.server.state(), State::Closed);
    }
}

/// One changed bit must not look like a peer that speaks another version, and keep the client away for ever.
#[test]
fn a_changed_version_delays_a_client_and_never_keeps_it_away() {
    let changed = |at_server: bool, sealed: bool| {
        let (client, server) = configs();
        let mut pair = Pair::new(client, server);
        if sealed {
            pair.login();
        } else {
            pair.transmit();
            pair.receive();
        }
        let _ = pair.client.send(pair.now, Message::text("bob", "hello"));
        pair.server.delivered_to(&Conversation::private("bob"), "bob", 0, 1);
        pair.transmit();
        let wire = if at_server { &mut pair.to_server } else { &mut pair.to_client };
        wire[3] ^= 0x10;
        pair.settle();
        pair.client.handle_eof(pair.now);
        pair.receive();
        let Some(ClientEvent::Closed(closed)) = pair.client_events.pop() else { panic!("{:?}", pair.client_events) };
        closed
    };
    for (at_server, sealed) in [(true, true), (false, true), (false, false)] {
        let closed = changed(at_server, sealed);
        let code = if sealed { CloseCode::PROTOCOL } else { CloseCode::UNSUPPORTED };
        assert!(closed.may_reconnect() && closed.code == code, "{at_server} {sealed}: {closed}");
    }
}

#[test]
fn a_sealed_packet_with_another_suite_or_format_is_refused_before_it_is_opened() {
    for (offset, name) in [(12, "device"), (13, "ip"), (17, "suite"), (18, "format")] {
        let (client, server) = configs();
        let mut pair = Pair::new(client, server);
        pair.login();
        pair.client.send(pair.now, Message::text("bob", "hello")).unwrap();
        pair.transmit();
        pair.to_server[offset] = 99;
        pair.receive();
        let (error, code, _) = close_of(&mut pair);
        assert_eq!(code, CloseCode::PROTOCOL);
        assert!(matches!(error, Error::HeaderField { offset: at, .. } if usize::from(at) == offset), "{name}: {error}");
    }
}

#[test]
fn legacy_and_unknown_suites_cannot_be_negotiated() {
    let (mut client, server) = configs();
    client.suites = vec![SuiteId(3)];
    let mut connection = Connection::client(client, 1).unwrap();
    let error = connection.connect(im_sim::entropy(1), Instant::default()).unwrap_err();
    assert!(error.to_string().contains("3DES") || error.to_string().contains("AES"), "{error}");
    let (mut client, mut server2) = configs();
    client.suites = vec![SuiteId::AES_128_GCM];
    server2.suites = vec![SuiteId::CHACHA20_POLY1305];
    let mut pair = Pair::new(client, server2);
    pair.settle();
    assert!(matches!(pair.client_events.pop(), Some(ClientEvent::Closed(Closed { code: CloseCode::UNSUPPORTED, .. }))));
    drop(server);
}

#[test]
fn random_bytes_never_panic_either_side_and_end_in_one_closed_event() {
    let mut rng = fastrand::Rng::with_seed(20);
    for round in 0..2000 {
        let (client, server) = configs();
        let mut pair = Pair::new(client, server);
        if round % 2 == 0 {
            pair.login();
        }
        let len = rng.usize(0..200);
        let mut noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(len).collect();
        if rng.bool() {
            let mut valid = packet(MessageType(rng.u8(..)), &noise);
            valid[17] = EncryptionId::AES_128_GCM.0;
            valid[18] = 6;
            noise = valid;
        }
        pair.to_server.extend_from_slice(&noise);
        pair.to_client.extend_from_slice(&noise);
        pair.receive();
        pair.server.handle_eof(pair.now);
        pair.client.handle_eof(pair.now);
        pair.receive();
        let closed = |event: &&ServerEvent| matches!(event, ServerEvent::Closed(_));
        assert_eq!(pair.server_events.iter().filter(closed).count(), 1);
        let closed = |event: &&ClientEvent| matches!(event, ClientEvent::Closed(_));
        assert_eq!(pair.client_events.iter().filter(closed).count(), 1);
    }
}
