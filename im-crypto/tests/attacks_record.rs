//! Attacks on packets on the wire: changed, repeated, moved, cut; and what their refusal tells. A test's name begins with its row in
//! `docs/spec/attacks.md`.
#![cfg(feature = "rustcrypto")]

mod common;
mod instrumented;
mod records;

use std::collections::HashSet;
use std::num::NonZeroU16;

use common::*;
use im_crypto::{
    CLOSE_TYPE, CryptoProvider, DatagramError, KeyLimits, KeyUpdate, KeyUpdates, OpenError, Padding, RUSTCRYPTO,
    SealError, Server, ServerContext, SuiteId, Truncated, finish_plaintext,
};
use instrumented::{INSTRUMENTED, established};
use records::*;

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
