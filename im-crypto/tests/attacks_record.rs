//! The rows of the attack table (`docs/spec/attacks.md`) that concern the record layer; a test's name begins with its row.
#![cfg(feature = "rustcrypto")]

mod common;
mod instrumented;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU16;

use common::*;
use im_crypto::{
    CLOSE_TYPE, CryptoProvider, DatagramError, DatagramOpener, DatagramSealer, KeyLimits, KeyUpdate, KeyUpdates,
    OpenError, Opener, Padding, RUSTCRYPTO, SealError, Sealer, Server, ServerContext, SuiteId, TAG_LEN, Truncated,
    finish_plaintext, sealed_len,
};
use instrumented::{INSTRUMENTED, established};
use proptest::prelude::*;

/// Every suite of the provider, SM4-GCM too where it is compiled in.
fn suites() -> Vec<SuiteId> {
    RUSTCRYPTO.preferred_suites()
}

type Packet = ([u8; 24], Vec<u8>);

/// One direction of a fresh session; equal calls give equal keys.
fn direction(suite: SuiteId, to_server: bool) -> (Sealer, Opener) {
    let (client, server) = established(&RUSTCRYPTO, suite);
    if to_server { (client.sealer, server.opener) } else { (server.sealer, client.opener) }
}

fn datagrams(suite: SuiteId) -> (DatagramSealer, DatagramOpener) {
    let (sealer, opener) = direction(suite, true);
    (sealer.into_datagrams().unwrap(), opener.into_datagrams().unwrap())
}

fn datagram(sealer: &mut DatagramSealer, content: &[u8]) -> Packet {
    let mut body = content.to_vec();
    finish_plaintext(&mut body, 0, Padding::None);
    let mut header = record_header(sealer.suite(), body.len());
    sealer.seal(&mut header, &mut body).unwrap();
    (header, body)
}

fn receive(opener: &mut DatagramOpener, packet: &Packet) -> Result<Vec<u8>, DatagramError> {
    let mut body = packet.1.clone();
    opener.open(&packet.0, &mut body).map(|opened| [&[opened.inner_type], &*opened.payload].concat())
}

fn run(sealer: &mut Sealer, packets: u8) -> Vec<Packet> {
    (0..packets).map(|n| packet(sealer, 7, &[n], Padding::None)).collect()
}

/// How many packets of a play open before one does not; after that none may.
fn plays<'a>(suite: SuiteId, order: impl IntoIterator<Item = &'a Packet>) -> usize {
    let (_, mut opener) = direction(suite, true);
    let opened: Vec<bool> = order.into_iter().map(|packet| open(&mut opener, &packet.0, &packet.1).is_some()).collect();
    let good = opened.iter().take_while(|good| **good).count();
    assert!(!opened[good..].contains(&true), "nothing opens after a failure");
    good
}

fn update(sealer: &mut Sealer, update: KeyUpdate) -> Packet {
    let [kind, payload] = update.content();
    packet(sealer, kind, &[payload], Padding::None)
}

#[test]
fn row_04_a_header_that_names_another_suite_does_no_aead_work() {
    for suite in [SuiteId::AES_128_GCM, SuiteId::AES_256_GCM, SuiteId::CHACHA20_POLY1305] {
        for id in 0..=255 {
            let (mut client, mut server) = established(&INSTRUMENTED, suite);
            let (mut header, body) = packet(&mut client.sealer, 5, b"x", Padding::None);
            header[17] = id;
            let work = instrumented::opens();
            assert_eq!(open(&mut server.opener, &header, &body).is_some(), id == suite.0);
            assert_eq!(instrumented::opens() - work, u64::from(id == suite.0));
            // Poisoned: the true packet does not open either, and without work.
            header[17] = suite.0;
            let work = instrumented::opens();
            assert_eq!(open(&mut server.opener, &header, &body), None);
            if id != suite.0 {
                assert_eq!(instrumented::opens(), work);
            }
        }
    }
}

#[test]
fn row_05_every_bit_of_the_header_is_authenticated() {
    for suite in suites() {
        for to_server in [true, false] {
            let (mut sealer, _) = direction(suite, to_server);
            let (header, body) = packet(&mut sealer, 5, b"attack at dawn", Padding::None);
            for bit in 0..24 * 8 {
                let (_, mut opener) = direction(suite, to_server);
                let mut changed = header;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&mut opener, &changed, &body), None, "{suite} bit {bit}");
            }
            for length in (0..24).chain(25..26) {
                let (_, mut opener) = direction(suite, to_server);
                let cut: Vec<u8> = header.into_iter().chain([0]).take(length).collect();
                assert_eq!(open(&mut opener, &cut, &body), None, "{suite} a header of {length} bytes");
            }
        }
    }
}

/// On datagrams a bad packet changes nothing, so one opener serves for all values of all bytes.
#[test]
fn row_05_every_value_of_every_header_byte_on_datagrams() {
    for suite in suites() {
        let (mut sealer, mut opener) = datagrams(suite);
        let (header, body) = datagram(&mut sealer, b"\x05attack at dawn");
        for at in 0..24 {
            for value in (0..=255).filter(|value| *value != header[at]) {
                let mut changed = header;
                changed[at] = value;
                assert_eq!(receive(&mut opener, &(changed, body.clone())), Err(DatagramError::Dropped), "{at} {value}");
            }
        }
        assert_eq!(receive(&mut opener, &(header, body)).unwrap(), b"\x05attack at dawn");
    }
}

#[test]
fn row_06_every_bit_of_bodies_of_1_to_64_bytes() {
    for suite in suites() {
        let (mut sealer, mut opener) = datagrams(suite);
        for length in 1..=64_u8 {
            let mut content = vec![length; usize::from(length)];
            content[0] = 7;
            let (header, body) = datagram(&mut sealer, &content);
            for bit in 0..body.len() * 8 {
                let mut changed = body.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    receive(&mut opener, &(header, changed)),
                    Err(DatagramError::Dropped),
                    "{suite} {length} {bit}"
                );
            }
            for cut in 0..body.len() {
                assert_eq!(receive(&mut opener, &(header, body[..cut].to_vec())), Err(DatagramError::Dropped));
            }
            assert_eq!(receive(&mut opener, &(header, body)).unwrap(), content);
        }
    }
}

#[test]
fn row_06_every_bit_of_a_body_and_its_padding_on_a_stream() {
    for suite in suites() {
        let (mut sealer, _) = direction(suite, true);
        let (header, body) = packet(&mut sealer, 5, b"attack at dawn", Padding::Block(NonZeroU16::new(32).unwrap()));
        for bit in 0..body.len() * 8 {
            let (_, mut opener) = direction(suite, true);
            let mut changed = body.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&mut opener, &header, &changed), None, "{suite} bit {bit}");
            assert_eq!(open(&mut opener, &header, &body), None, "{suite} poisoned after bit {bit}");
        }
    }
}

#[test]
fn row_07_a_repeated_packet_of_a_run_of_100() {
    let suite = SuiteId::AES_128_GCM;
    let (mut sealer, _) = direction(suite, true);
    let stream = run(&mut sealer, 100);
    for n in 0..100 {
        // At once, and at the end.
        assert_eq!(plays(suite, stream[..=n].iter().chain(&stream[n..])), n + 1);
        assert_eq!(plays(suite, stream.iter().chain(&stream[n..=n])), 100);
    }
    let (mut sealer, mut opener) = datagrams(suite);
    let all: Vec<Packet> = (0..100).map(|n| datagram(&mut sealer, &[7, n])).collect();
    for (n, packet) in all.iter().enumerate() {
        receive(&mut opener, packet).unwrap();
        for earlier in &all[..=n] {
            assert_eq!(receive(&mut opener, earlier), Err(DatagramError::Dropped));
        }
    }
}

/// Equal client randomness, another server randomness: what was recorded opens nowhere else.
#[test]
fn row_08_a_recorded_flight_against_a_fresh_server() {
    for suite in suites() {
        let key = server_key();
        let (header, hello, wait) = hello(&key, offer(&[suite]));
        let (mut reply, _) = accept(&key, policy(&suites()), &header, &hello).unwrap();
        let mut client = finish(wait, &mut reply).unwrap();
        let first = packet(&mut client.sealer, 16, b"token", Padding::None);
        for seed in 100..110 {
            let fresh = Server::new(&RUSTCRYPTO, policy(&suites())).unwrap().start(entropy(seed));
            let mut context = ServerContext::new(core::slice::from_ref(&key));
            // The HELLO is taken, as it must be; the flight ends at its first record.
            let accepted = fresh.accept(&mut context, &header, &mut hello.clone(), &mut Vec::new()).unwrap();
            let mut server = common::established(accepted);
            assert_eq!(open(&mut server.opener, &first.0, &first.1), None);
        }
    }
}

#[test]
fn row_09_all_adjacent_swaps_and_all_single_drops_of_a_run_of_100() {
    let suite = SuiteId::CHACHA20_POLY1305;
    let (mut sealer, _) = direction(suite, true);
    let stream = run(&mut sealer, 100);
    assert_eq!(plays(suite, &stream), 100);
    for n in 0..99 {
        let mut order: Vec<&Packet> = stream.iter().collect();
        order.swap(n, n + 1);
        assert_eq!(plays(suite, order.iter().copied()), n);
        order.swap(n, n + 1);
        order.remove(n);
        assert_eq!(plays(suite, order), n);
    }
    // A packet of another session between any two.
    let (mut other, _) = established(&RUSTCRYPTO, SuiteId::CHACHA20_POLY1305);
    let (_, stranger) =
        (packet(&mut other.sealer, 1, b"", Padding::None), packet(&mut other.sealer, 1, b"?", Padding::None));
    for n in 0..100 {
        let inserted = stream[..n].iter().chain(Some(&stranger)).chain(&stream[n..]);
        assert_eq!(plays(suite, inserted), if n == 1 { 2 } else { n }, "with equal keys it is the packet of its place");
    }
}

#[test]
fn row_09_datagrams_open_in_any_order_within_1024() {
    let (mut sealer, mut opener) = datagrams(SuiteId::AES_128_GCM);
    let all: Vec<Packet> = (0..1500_u16).map(|n| datagram(&mut sealer, &n.to_be_bytes())).collect();
    receive(&mut opener, &all[1499]).unwrap();
    for (n, packet) in all[..1499].iter().enumerate().rev() {
        assert_eq!(receive(&mut opener, packet).is_ok(), 1499 - n < 1024, "{n}");
    }
}

#[test]
fn row_10_reflection() {
    for suite in suites() {
        let (mut client, mut server) = established(&RUSTCRYPTO, suite);
        let (up, down) = (run(&mut client.sealer, 3), run(&mut server.sealer, 3));
        assert!(open(&mut client.opener, &up[0].0, &up[0].1).is_none());
        assert!(open(&mut server.opener, &down[0].0, &down[0].1).is_none());
        let (client, server) = established(&RUSTCRYPTO, suite);
        for (sealer, opener) in [(client.sealer, client.opener), (server.sealer, server.opener)] {
            let own = datagram(&mut sealer.into_datagrams().unwrap(), b"\x01own");
            assert_eq!(receive(&mut opener.into_datagrams().unwrap(), &own), Err(DatagramError::Dropped));
        }
    }
}

#[test]
fn row_11_truncation_at_every_byte() {
    let suite = SuiteId::AES_128_GCM;
    let (mut sealer, _) = direction(suite, true);
    let mut stream = run(&mut sealer, 5);
    stream.push(update(&mut sealer, KeyUpdate::Notice));
    stream.extend(run(&mut sealer, 2));
    stream.push(packet(&mut sealer, CLOSE_TYPE, b"bye", Padding::None));
    let mut late = vec![1];
    finish_plaintext(&mut late, 0, Padding::None);
    assert_eq!(
        sealer.seal(&record_header(suite, late.len()), &mut late),
        Err(SealError::Closed),
        "nothing follows a close"
    );

    let bytes: Vec<u8> = stream.iter().flat_map(|(header, body)| header.iter().chain(body).copied()).collect();
    for cut in 0..=bytes.len() {
        let (_, mut opener) = direction(suite, true);
        let mut rest = &bytes[..cut];
        // Whole packets only; the last one may be given in part as well, and does not open.
        while rest.len() >= 24 {
            let length = u32::from_be_bytes(rest[20..24].try_into().unwrap()) as usize;
            if rest.len() < 24 + length {
                break;
            }
            let (packet, tail) = rest.split_at(24 + length);
            open(&mut opener, &packet[..24], &packet[24..]).unwrap();
            rest = tail;
        }
        assert_eq!(opener.end(), if cut == bytes.len() { Ok(()) } else { Err(Truncated) }, "cut at {cut}");
        if rest.len() > 24 {
            assert_eq!(open(&mut opener, &rest[..24], &rest[24..]), None);
            assert_eq!(opener.end(), Err(Truncated));
        }
    }
    let (_, mut opener) = direction(suite, true);
    assert!(stream.iter().all(|packet| open(&mut opener, &packet.0, &packet.1).is_some()));
    assert_eq!(open(&mut opener, &stream[0].0, &stream[0].1), None, "nothing opens after the close");
    assert_eq!(opener.end(), Ok(()));
}

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

#[test]
fn row_30_unauthenticated_bytes_move_no_state() {
    let mut random = 1_u64;
    for suite in suites() {
        let (mut sealer, mut opener) = datagrams(suite);
        for n in 0..100 {
            let good = datagram(&mut sealer, &[1, n]);
            for _ in 0..10 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mut header = good.0;
                // Far ahead in the counter or in the epoch.
                header[4..12].copy_from_slice(&(random >> 1 & 0x0001_ffff_ffff_ffff).to_be_bytes());
                let garbage = (header, random.to_be_bytes().repeat(4));
                assert_eq!(receive(&mut opener, &garbage), Err(DatagramError::Dropped));
            }
            assert_eq!(receive(&mut opener, &good).unwrap(), [1, n]);
        }
    }
}

#[test]
fn row_31_all_failures_are_one_error() {
    let suite = SuiteId::AES_128_GCM;
    let (mut sealer, _) = direction(suite, true);
    let (header, body) = packet(&mut sealer, 1, b"payload", Padding::None);
    let second = packet(&mut sealer, 1, b"payload", Padding::None);
    let mut causes: Vec<Packet> = vec![second, (header, vec![]), (header, vec![0; 17]), (header, vec![0; 500])];
    for at in [0, 8, body.len() - 1] {
        let mut changed = body.clone();
        changed[at] ^= 0x40;
        causes.push((header, changed));
    }
    for at in [0, 4, 17, 20] {
        let mut changed = header;
        changed[at] ^= 0x40;
        causes.push((changed, body.clone()));
    }
    let errors: HashSet<(OpenError, String)> = causes
        .iter()
        .map(|(header, body)| {
            let error = direction(suite, true).1.open(header, &mut body.clone()).unwrap_err();
            (error, error.to_string())
        })
        .collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(size_of::<OpenError>(), 0, "there is nothing in it that could tell");
}

#[test]
fn row_32_debug_shows_no_key() {
    instrumented::take_keys();
    let suite = SuiteId::AES_128_GCM;
    let (mut client, server) = established(&INSTRUMENTED, suite);
    let mut text = format!("{client:?} {server:?} {:?} {:?} ", client.sealer, server.opener);
    let (_, mut body) = packet(&mut client.sealer, 7, b"secret content", Padding::None);
    let mut opener = server.opener;
    let header = record_header(suite, body.len());
    let opened = opener.open(&header, &mut body).unwrap();
    text += &format!("{opened:?} {:?} {:?} {:?} ", KeyUpdate::Request, KeyUpdates::default(), KeyLimits::default());
    let provider: &CryptoProvider = &INSTRUMENTED;
    let (sealer, opener) = datagrams(suite);
    text += &format!("{provider:?} {sealer:?} {opener:?} {:?} {:?}", OpenError, Truncated);
    let keys = instrumented::take_keys();
    assert!(!keys.is_empty());
    for key in keys.into_iter().chain([b"secret content".to_vec()]) {
        for four in key.windows(4) {
            let list = format!("{four:?}");
            for shown in [hex(four), hex(four).to_uppercase(), list[1..list.len() - 1].to_string()] {
                assert!(!text.contains(&shown), "{text}");
            }
        }
        assert!(!text.contains(&String::from_utf8_lossy(&key).into_owned()));
    }
}
