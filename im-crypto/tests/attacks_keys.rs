//! Attacks on the use of record keys: nonces, limits, updates, labels, lengths. A test's name begins with its row in
//! `docs/spec/attacks.md`.
#![cfg(feature = "rustcrypto")]

mod common;
mod instrumented;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use common::*;
use im_crypto::{
    DatagramError, KeyLimits, KeyUpdate, KeyUpdates, Padding, RUSTCRYPTO, SealError, SuiteId, TAG_LEN, Truncated,
    finish_plaintext, sealed_len,
};
use instrumented::{INSTRUMENTED, established};
use proptest::prelude::*;
use records::*;

/// Row 12 is also `tests/model.rs` (10^6 operations) and the `compile_fail` example of `Sealer`.
#[test]
fn row_12_refused_and_repeated_packets_use_no_nonce_twice() {
    let (mut client, mut server) = established(&INSTRUMENTED, SuiteId::AES_128_GCM);
    client.sealer.set_limits(KeyLimits::lowered(70, 400));
    for n in 0..3000_u32 {
        let refused = client.sealer.seal(&record_header(SuiteId(18), 18), &mut [1, 0x80, 0]);
        assert!(refused.is_err());
        // The same content again is another packet.
        for _ in 0..2 {
            let (header, body) = packet(&mut client.sealer, 1, b"again", Padding::None);
            assert!(open(&mut server.opener, &header, &body).is_some());
        }
        if n % 3 == 0 {
            client.sealer.release_key();
        }
        if client.sealer.needs_update() && client.sealer.may_update() {
            let (header, body) = update(&mut client.sealer, KeyUpdate::Notice);
            assert!(open(&mut server.opener, &header, &body).is_some());
        }
        if client.sealer.nearly_used_up() {
            break;
        }
    }
    assert!(instrumented::repeated().is_empty());
}

#[test]
fn row_13_the_hard_limit_is_exact_and_leaves_no_output() {
    for suite in suites() {
        let limits = KeyLimits::lowered(3, 5);
        let (mut sealer, mut opener) = direction(suite, true);
        let (mut wide, _) = direction(suite, true);
        sealer.set_limits(limits);
        opener.set_limits(limits);
        for n in 0..6 {
            let (header, body) = packet(&mut wide, 1, b"x", Padding::None);
            assert_eq!(open(&mut opener, &header, &body).is_some(), n < 5);
        }
        run(&mut sealer, 5);
        let mut body = vec![1];
        finish_plaintext(&mut body, 0, Padding::None);
        let (before, header, mut out) = (body.clone(), record_header(suite, body.len()), vec![9; body.len()]);
        for _ in 0..3 {
            assert_eq!(sealer.seal(&header, &mut body), Err(SealError::KeyExhausted));
            assert_eq!(sealer.seal_into(&header, &body, &mut out), Err(SealError::KeyExhausted));
            assert_eq!((&body, &out), (&before, &vec![9; body.len()]));
        }
        let (mut sealer, mut opener) = datagrams(suite);
        let (mut wide, _) = datagrams(suite);
        sealer.set_limits(limits);
        opener.set_limits(limits);
        for n in 0..6 {
            assert_eq!(receive(&mut opener, &datagram(&mut wide, b"\x01x")).is_ok(), n < 5);
            let mut header = header;
            assert_eq!(sealer.seal(&mut header, &mut body.clone()).is_ok(), n < 5);
            assert_eq!(header[4..12] == [0; 8], n == 5 || n == 0, "no number without a packet");
        }
    }
}

#[test]
fn row_14_forgeries_on_datagrams_are_counted_exactly() {
    let (mut sealer, mut opener) = datagrams(SuiteId::AES_128_GCM);
    let packets: Vec<Packet> = (0..4).map(|n| datagram(&mut sealer, &[1, n])).collect();
    receive(&mut opener, &packets[0]).unwrap();
    let mut forged = packets[1].clone();
    forged.1[0] ^= 1;
    for n in 1..=1_u32 << 20 {
        let expected = if n < 1 << 20 { DatagramError::Dropped } else { DatagramError::Closed };
        let mut body = [0; 19];
        body.copy_from_slice(&forged.1);
        assert_eq!(opener.open(&forged.0, &mut body).unwrap_err(), expected, "{n}");
        assert_eq!(opener.needs_update(), (1 << 16..1 << 20).contains(&n), "{n}");
        if n == 1 << 17 {
            // The window did not move: what was forged still opens, and is new once.
            assert_eq!(receive(&mut opener, &packets[1]).unwrap(), [1, 1]);
            assert_eq!(receive(&mut opener, &packets[1]), Err(DatagramError::Dropped));
            forged = packets[2].clone();
            forged.1[0] ^= 1;
        }
    }
    assert_eq!(receive(&mut opener, &packets[3]), Err(DatagramError::Closed));
}

/// A new epoch of the peer starts the count again; forging the next epoch does not bring it about.
#[test]
fn row_14_an_update_answers_forgeries() {
    let (mut sealer, mut opener) = datagrams(SuiteId::CHACHA20_POLY1305);
    assert_eq!(sealer.update_key(), Err(SealError::UpdateTooSoon), "not before the peer confirmed");
    let late = datagram(&mut sealer, b"\x01late");
    let mut forged = datagram(&mut sealer, b"\x01first");
    receive(&mut opener, &forged).unwrap();
    sealer.confirm();
    sealer.update_key().unwrap();
    assert_eq!(sealer.update_key(), Err(SealError::UpdateTooSoon));
    let new = datagram(&mut sealer, b"\x01new");
    forged.0[5] = 1; // epoch 1, made of an old packet
    forged.0[11] = 9;
    for _ in 0..1 << 16 {
        assert_eq!(receive(&mut opener, &forged), Err(DatagramError::Dropped));
    }
    assert_eq!((opener.epoch(), opener.needs_update()), (0, true));
    receive(&mut opener, &new).unwrap();
    assert_eq!(opener.epoch(), 1);
    assert_eq!(receive(&mut opener, &late).unwrap(), b"\x01late", "the old key is kept for late packets");
    assert_eq!(receive(&mut opener, &late), Err(DatagramError::Dropped));
    opener.forget_previous();
    assert_eq!(receive(&mut opener, &late), Err(DatagramError::Dropped));
    // Two epochs ahead is more than the receiver knows.
    sealer.confirm();
    sealer.update_key().unwrap();
    sealer.confirm();
    sealer.update_key().unwrap();
    assert_eq!(receive(&mut opener, &datagram(&mut sealer, b"\x01far")), Err(DatagramError::Dropped));
}

#[test]
fn row_22_keys_are_distinct_over_all_labels() {
    let mut keys: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut add = |name: String| {
        for key in instrumented::take_keys() {
            let other = keys.insert(key, name.clone());
            assert_eq!(other, None, "{name}");
        }
    };
    instrumented::take_keys();
    for suite in [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305] {
        let (client, server) = established(&INSTRUMENTED, suite);
        instrumented::take_keys();
        for (name, mut sealer) in [("up", client.sealer), ("down", server.sealer)] {
            for epoch in 0..4 {
                run(&mut sealer, 1);
                add(format!("{suite} {name} {epoch}"));
                update(&mut sealer, KeyUpdate::Notice);
            }
        }
        let (client, server) = established(&INSTRUMENTED, suite);
        instrumented::take_keys();
        for (name, sealer) in [("up", client.sealer), ("down", server.sealer)] {
            let mut sealer = sealer.into_datagrams().unwrap();
            for epoch in 0..4 {
                datagram(&mut sealer, b"\x01");
                add(format!("{suite} {name} datagrams {epoch}"));
                sealer.confirm();
                sealer.update_key().unwrap();
            }
        }
    }
    assert_eq!(keys.len(), 3 * 2 * 4 * 2);
    // 16-byte keys are no prefixes of longer ones either.
    let prefixes: BTreeSet<&[u8]> = keys.keys().map(|key| &key[..16]).collect();
    assert_eq!(prefixes.len(), keys.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is authenticated, header and plaintext, determines packet id, types, payload: no byte can move between fields.
    #[test]
    fn row_23_no_two_field_tuples_have_the_same_authenticated_bytes(
        a in (any::<u64>(), any::<u8>(), prop::collection::vec(prop_oneof![Just(0), Just(0x80), any::<u8>()], 0..8)),
        b in (any::<u64>(), any::<u8>(), prop::collection::vec(prop_oneof![Just(0), Just(0x80), any::<u8>()], 0..8)),
        (one, two) in (0..4_u16, 0..4_u16),
    ) {
        let encode = |(id, kind, payload): &(u64, u8, Vec<u8>), block: u16| {
            let mut body = [&[*kind], payload.as_slice()].concat();
            finish_plaintext(&mut body, 0, NonZeroU16::new(block * 4).map_or(Padding::None, Padding::Block));
            let mut header = record_header(SuiteId::AES_128_GCM, body.len());
            header[4..12].copy_from_slice(&id.to_be_bytes());
            [&header, &body[..body.len() - TAG_LEN]].concat()
        };
        // The first ids are often equal, so that the rest decides.
        let (mut a, b) = (a, b);
        if a.0 % 2 == 0 { a.0 = b.0; a.1 = b.1; }
        prop_assert_eq!(a == b && one == two, encode(&a, one) == encode(&b, two) && one == two);
        if a != b { prop_assert_ne!(encode(&a, one), encode(&b, two)); }
    }
}

#[test]
fn row_27_lengths_on_the_wire_are_buckets() {
    let (mut sealer, mut opener) = direction(SuiteId::AES_128_GCM, true);
    let mut buckets = |padding| {
        let mut lengths = BTreeMap::<usize, usize>::new();
        for length in 0..3000 {
            let (header, body) = packet(&mut sealer, 1, &vec![7; length], padding);
            assert_eq!(open(&mut opener, &header, &body).unwrap().1.len(), length);
            *lengths.entry(body.len() - TAG_LEN).or_default() += 1;
        }
        lengths
    };
    assert_eq!(buckets(Padding::None).len(), 3000);
    for block in [64, 256, 1000] {
        let lengths = buckets(Padding::Block(NonZeroU16::new(block).unwrap()));
        assert!(lengths.keys().all(|length| length % usize::from(block) == 0));
    }
    // Padmé: few lengths, each at most 12 % over the content, all of the form of the paper.
    let lengths = buckets(Padding::Padme);
    assert!(lengths.len() < 120, "{}", lengths.len());
    for length in lengths.keys() {
        let exponent = length.ilog2();
        assert_eq!(length % (1 << (exponent - exponent.checked_ilog2().map_or(0, |e| e + 1).min(exponent))), 0);
    }
    for payload in 0..100_000 {
        let (least, padded) = (payload + 2, sealed_len(payload, Padding::Padme) - TAG_LEN);
        assert!(padded >= least && (padded - least) * 100 <= least * 12, "{payload}: {padded}");
    }
    assert_eq!(
        [9, 100, 1000, 1_000_000].map(|n| sealed_len(n - 2, Padding::Padme) - TAG_LEN),
        [10, 104, 1024, 1_015_808]
    );
    assert_eq!(sealed_len(usize::MAX, Padding::Padme), usize::MAX);
}

/// Both ask at the same moment, again and again: each answers once, and both end with the same keys.
#[test]
fn row_28_simultaneous_updates_settle() {
    let (mut client, mut server) = established(&RUSTCRYPTO, SuiteId::AES_128_GCM);
    let (mut at_client, mut at_server) = (KeyUpdates::default(), KeyUpdates::default());
    for round in 0..50_u8 {
        at_client.want(KeyUpdate::Request);
        at_server.want(KeyUpdate::Request);
        let mut exchanged = 0;
        loop {
            // Both send before either receives.
            let up = at_client.due(&client.sealer, &client.opener);
            let down = at_server.due(&server.sealer, &server.opener);
            let up = up.map(|kind| (update(&mut client.sealer, kind), at_client.sent(kind)).0);
            let down = down.map(|kind| (update(&mut server.sealer, kind), at_server.sent(kind)).0);
            if up.is_none() && down.is_none() {
                break;
            }
            for (packet, opener, plan) in
                [(up, &mut server.opener, &mut at_server), (down, &mut client.opener, &mut at_client)]
            {
                let Some((header, mut body)) = packet else { continue };
                plan.received(opener.open(&header, &mut body).unwrap().key_update().unwrap());
            }
            exchanged += 1;
            assert!(exchanged <= 2, "a request and its answer, no loop");
        }
        assert_eq!((client.sealer.epoch(), server.sealer.epoch()), (server.opener.epoch(), client.opener.epoch()));
        for _ in 0..130 {
            for (sealer, opener) in [(&mut client.sealer, &mut server.opener), (&mut server.sealer, &mut client.opener)]
            {
                let (header, body) = packet(sealer, 1, &[round], Padding::None);
                assert!(open(opener, &header, &body).is_some());
            }
        }
    }
    assert_eq!(client.sealer.epoch(), 100);
}

#[test]
fn row_28_a_storm_is_refused_on_both_sides() {
    let (mut sealer, mut opener) = direction(SuiteId::AES_128_GCM, true);
    for _ in 0..8 {
        let (header, body) = update(&mut sealer, KeyUpdate::Request);
        assert!(open(&mut opener, &header, &body).is_some());
    }
    let mut body = KeyUpdate::Request.content().to_vec();
    finish_plaintext(&mut body, 0, Padding::None);
    let header = record_header(sealer.suite(), body.len());
    assert_eq!(sealer.seal(&header, &mut body), Err(SealError::UpdateTooSoon));
    // 64 packets later there is one more.
    for packet in run(&mut sealer, 64) {
        assert!(open(&mut opener, &packet.0, &packet.1).is_some());
    }
    sealer.seal(&header, &mut body).unwrap();
    assert!(open(&mut opener, &header, &body).is_some());
    assert!(!sealer.may_update());
}

#[test]
fn row_28_old_epochs_bad_updates_and_an_update_as_the_last_record() {
    let suite = SuiteId::AES_256_GCM;
    let (mut sealer, _) = direction(suite, true);
    let mut stream = run(&mut sealer, 2);
    let (mut twin, _) = direction(suite, true);
    run(&mut twin, 3);
    // What the old key would have sealed in the place after the update: right counter or not, it does not open.
    let mut old = run(&mut twin, 1);
    let (mut again, _) = direction(suite, true);
    old.extend(run(&mut again, 1));
    stream.push(update(&mut sealer, KeyUpdate::Notice));
    for stale in &old {
        assert_eq!(plays(suite, stream.iter().chain(Some(stale))), 3);
    }
    let (_, mut opener) = direction(suite, true);
    assert!(stream.iter().all(|packet| open(&mut opener, &packet.0, &packet.1).is_some()));
    assert_eq!(opener.end(), Err(Truncated), "an update is no end");
    for payload in [&[][..], &[2], &[0, 0], &[1, 1], &[255]] {
        let mut body = [&[im_crypto::KEY_UPDATE_TYPE], payload].concat();
        finish_plaintext(&mut body, 0, Padding::None);
        assert_eq!(sealer.seal(&record_header(suite, body.len()), &mut body), Err(SealError::Unfinished));
    }
}
