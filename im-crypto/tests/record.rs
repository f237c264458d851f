//! The record layer from outside: round trips, and every way to disturb the stream.
#![cfg(feature = "rustcrypto")]

mod common;

use std::num::NonZeroU16;

use common::*;
use im_crypto::{OpenError, Padding, RECORD_OVERHEAD, SealError, SuiteId, TAG_LEN, finish_plaintext, sealed_len};
use proptest::prelude::*;

fn block(size: u16) -> Padding {
    Padding::Block(NonZeroU16::new(size).unwrap())
}

#[test]
fn every_flipped_bit_fails_and_poisons() {
    for suite in ALL_SUITES {
        let (mut client, _) = pair(suite);
        let (header, body) = packet(&mut client.sealer, 5, b"attack at dawn", block(32));
        for bit in 0..(24 + body.len()) * 8 {
            // Equal seeds give equal keys, so each flip meets a fresh opener.
            if bit % 64 != 0 && suite != SuiteId::AES_128_GCM {
                continue;
            }
            let (_, mut server) = pair(suite);
            let mut all = [header.as_slice(), &body].concat();
            all[bit / 8] ^= 1 << (bit % 8);
            let (changed_header, changed_body) = all.split_at(24);
            assert_eq!(open(&mut server.opener, changed_header, changed_body), None, "bit {bit}");
            assert_eq!(open(&mut server.opener, &header, &body), None, "poisoned after bit {bit}");
        }
    }
}

#[test]
fn a_failed_packet_gives_no_plaintext() {
    for suite in ALL_SUITES {
        let (mut client, mut server) = pair(suite);
        let (header, mut body) = packet(&mut client.sealer, 5, b"attack at dawn", Padding::None);
        *body.last_mut().unwrap() ^= 1;
        let before = body.clone();
        assert_eq!(server.opener.open(&header, &mut body), Err(OpenError));
        assert_eq!(body, before);
    }
}

/// Only the negotiated suite opens, whatever byte 17 says.
#[test]
fn header_cannot_choose_the_suite() {
    let (mut client, _) = pair(SuiteId::AES_128_GCM);
    let (mut header, body) = packet(&mut client.sealer, 5, b"x", Padding::None);
    for id in (0..=255).filter(|id| *id != 16) {
        let (_, mut server) = pair(SuiteId::AES_128_GCM);
        header[17] = id;
        assert_eq!(open(&mut server.opener, &header, &body), None);
        header[17] = 16;
        assert_eq!(open(&mut server.opener, &header, &body), None, "poisoned");
    }
    let mut body = vec![1];
    finish_plaintext(&mut body, 0, Padding::None);
    let before = body.clone();
    assert_eq!(client.sealer.seal(&record_header(SuiteId(18), body.len()), &mut body), Err(SealError::WrongSuite));
    assert_eq!(client.sealer.seal(&[16; 17], &mut body), Err(SealError::WrongSuite));
    assert_eq!(body, before);
}

#[test]
fn replay_reorder_drop_and_reflection_fail() {
    let suite = SuiteId::CHACHA20_POLY1305;
    let (mut client, mut server) = pair(suite);
    let stream: Vec<_> = (0..8).map(|n| packet(&mut client.sealer, n, b"payload", Padding::None)).collect();
    let plays = |order: &[usize]| {
        let (_, mut server) = pair(suite);
        order.iter().take_while(|n| open(&mut server.opener, &stream[**n].0, &stream[**n].1).is_some()).count()
    };
    assert_eq!(plays(&[0, 1, 2, 3, 4, 5, 6, 7]), 8);
    for n in 0..7 {
        let mut swapped: Vec<usize> = (0..8).collect();
        swapped.swap(n, n + 1);
        assert_eq!(plays(&swapped), n);
        let mut dropped: Vec<usize> = (0..8).collect();
        dropped.remove(n);
        assert_eq!(plays(&dropped), n);
        let mut replayed: Vec<usize> = (0..8).collect();
        replayed.insert(n + 1, n);
        assert_eq!(plays(&replayed), n + 1);
    }
    // A client's own packets, sent back to it.
    assert_eq!(open(&mut client.opener, &stream[0].0, &stream[0].1), None);
    let (header, body) = packet(&mut server.sealer, 1, b"", Padding::None);
    assert_eq!(open(&mut server.opener, &header, &body), None);
}

#[test]
fn truncation_fails() {
    let (mut client, _) = pair(SuiteId::AES_128_GCM);
    let (header, body) = packet(&mut client.sealer, 1, b"some payload", Padding::None);
    for length in 0..body.len() {
        let (_, mut server) = pair(SuiteId::AES_128_GCM);
        assert_eq!(open(&mut server.opener, &header, &body[..length]), None);
        assert_eq!(open(&mut server.opener, &header, &body), None);
    }
}

#[test]
fn unfinished_bodies_are_refused_untouched() {
    let (mut client, mut server) = pair(SuiteId::AES_128_GCM);
    let header = record_header(SuiteId::AES_128_GCM, 0);
    let bad: [&[u8]; 6] = [&[], &[0; 17], &[1, 2, 3], &[0; 40], &[7; 40], &[&[0x80][..], &[0; 20]].concat()];
    for body in bad {
        let mut buffer = body.to_vec();
        assert_eq!(client.sealer.seal(&header, &mut buffer), Err(SealError::Unfinished), "{body:?}");
        assert_eq!(buffer, body);
    }
    // None of them used up a nonce.
    let (header, body) = packet(&mut client.sealer, 1, b"", Padding::None);
    assert_eq!(open(&mut server.opener, &header, &body), Some((1, vec![])));
    assert_eq!(body.len(), RECORD_OVERHEAD);
}

#[test]
fn payloads_that_look_like_padding_survive() {
    let (mut client, mut server) = pair(SuiteId::AES_256_GCM);
    for payload in [&[0x80_u8][..], &[0x80, 0, 0], &[0; 31], &[], &[0x80; 64]] {
        for padding in [Padding::None, block(1), block(16), block(64), block(u16::MAX)] {
            let (header, body) = packet(&mut client.sealer, 0, payload, padding);
            assert_eq!(open(&mut server.opener, &header, &body), Some((0, payload.to_vec())));
        }
    }
}

/// With padding the length on the wire tells the bucket only.
#[test]
fn padded_lengths_are_multiples() {
    for size in [1_u16, 16, 100, 256] {
        let lengths: std::collections::BTreeSet<usize> =
            (0..1000).map(|n| sealed_len(n, block(size)) - TAG_LEN).collect();
        assert!(lengths.iter().all(|length| length % usize::from(size) == 0));
        assert_eq!(
            lengths.len(),
            1001_usize.div_ceil(usize::from(size)) - 2_usize.div_ceil(usize::from(size)) + 1,
            "{size}"
        );
    }
    assert_eq!(sealed_len(usize::MAX, block(256)), usize::MAX);
    assert_eq!(sealed_len(usize::MAX, Padding::None), usize::MAX);
}

/// A body may stand behind other bytes in its buffer.
#[test]
fn body_start_is_respected() {
    let (mut client, mut server) = pair(SuiteId::AES_128_GCM);
    let mut out = vec![0xee; 24];
    out.extend([3, b'o', b'k']);
    finish_plaintext(&mut out, 24, block(32));
    let header = record_header(SuiteId::AES_128_GCM, out.len() - 24);
    out[..24].copy_from_slice(&header);
    let (head, body) = out.split_at_mut(24);
    assert_eq!(body.len(), sealed_len(2, block(32)));
    client.sealer.seal(head, body).unwrap();
    assert_eq!(open(&mut server.opener, head, body), Some((3, b"ok".to_vec())));
}

#[test]
fn released_keys_come_back() {
    for suite in ALL_SUITES {
        let (mut client, mut server) = pair(suite);
        for n in 0..5 {
            let (header, body) = packet(&mut client.sealer, n, b"idle", Padding::None);
            assert_eq!(open(&mut server.opener, &header, &body), Some((n, b"idle".to_vec())));
            client.sealer.release_key();
            server.opener.release_key();
        }
    }
}

#[test]
fn halves_can_move_to_other_threads() {
    fn is_send<T: Send + Sync + 'static>() {}
    is_send::<im_crypto::Sealer>();
    is_send::<im_crypto::Opener>();
    is_send::<im_crypto::ClientWait>();
    is_send::<im_crypto::ServerStart>();
    is_send::<im_crypto::ServerKey>();
}

/// Not those that mean something to the record layer.
fn application_type() -> impl Strategy<Value = u8> {
    any::<u8>().prop_filter("reserved", |kind| ![im_crypto::KEY_UPDATE_TYPE, im_crypto::CLOSE_TYPE].contains(kind))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trip(
        packets in prop::collection::vec((application_type(), prop::collection::vec(any::<u8>(), 0..72_000), 0..5_u16), 1..4),
        suite in 0..3_usize,
    ) {
        let (mut client, mut server) = pair(ALL_SUITES[suite]);
        for (inner_type, payload, padding) in packets {
            let padding = NonZeroU16::new(padding * 100).map_or(Padding::None, Padding::Block);
            let (header, body) = packet(&mut client.sealer, inner_type, &payload, padding);
            prop_assert_eq!(open(&mut server.opener, &header, &body), Some((inner_type, payload)));
        }
    }

    #[test]
    fn arbitrary_hellos_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), start in 0..10_u8) {
        let mut body = body;
        if let Some(first) = body.first_mut() { *first = start; }
        let key = server_key();
        prop_assert!(accept(&key, policy(&ALL_SUITES), &[0; 24], &body).is_err());
    }
}
