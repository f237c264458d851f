//! What only the inside can see: limits, poisoning without AEAD work, and that no (key, nonce) pair repeats.

use alloc::{boxed::Box, vec, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::{collections::BTreeSet, sync::Mutex};

use super::{KeyLimits, KeyUpdate, KeyUpdates, Opener, Padding, Sealer, finish_plaintext, limits::Allowance};
use crate::{
    RUSTCRYPTO, SuiteId,
    error::{OpenError, SealError},
    provider::{AeadKey, AeadSuite, CryptoError, Secret, TrafficKey},
    schedule::{Direction, TrafficSecret},
};

fn secret(direction: Direction, suite: SuiteId) -> Box<TrafficSecret> {
    TrafficSecret::derive(&RUSTCRYPTO, &Secret::new([1; 32]), &[2; 32], suite, direction).unwrap()
}

fn halves() -> (Sealer, Opener) {
    let suite = SuiteId::AES_128_GCM;
    let implementation = RUSTCRYPTO.aead(suite).unwrap();
    let secret = || secret(Direction::ClientToServer, suite);
    (Sealer::new(&RUSTCRYPTO, implementation, secret()), Opener::new(&RUSTCRYPTO, implementation, secret()))
}

const HEADER: [u8; 24] = {
    let mut header = [0; 24];
    header[17] = 16;
    header
};

fn plaintext(length: usize) -> Vec<u8> {
    let mut body = vec![9; length];
    finish_plaintext(&mut body, 0, Padding::None);
    body
}

fn limits(hard_packets: u32, hard_blocks: u64) -> KeyLimits {
    KeyLimits { soft_packets: 3, soft_blocks: 20, hard_packets, hard_blocks }
}

#[test]
fn packet_limit_is_exact() {
    let (mut sealer, mut opener) = halves();
    sealer.half.limits = limits(5, 1000);
    for n in 0..5 {
        assert_eq!(sealer.needs_update(), n >= 3);
        let mut body = plaintext(4);
        sealer.seal(&HEADER, &mut body).unwrap();
        opener.open(&HEADER, &mut body).unwrap();
    }
    let mut body = plaintext(4);
    assert_eq!(sealer.seal(&HEADER, &mut body), Err(SealError::KeyExhausted));
    assert_eq!(body, plaintext(4));
    assert_eq!(sealer.seal(&HEADER, &mut body), Err(SealError::KeyExhausted));
}

#[test]
fn block_limit_counts_header_and_body() {
    let (mut sealer, _) = halves();
    // 24 header bytes are 2 blocks; 47 + 1 plaintext bytes are 3.
    sealer.half.limits = KeyLimits { soft_packets: 1000, ..limits(1000, 25) };
    for n in 0..5 {
        assert_eq!(sealer.needs_update(), n >= 4);
        sealer.seal(&HEADER, &mut plaintext(47)).unwrap();
    }
    let mut body = plaintext(4);
    assert_eq!(sealer.seal(&HEADER, &mut body), Err(SealError::KeyExhausted));
    assert_eq!(body, plaintext(4));
}

#[test]
fn opener_enforces_the_limit_too() {
    let (mut sealer, mut opener) = halves();
    opener.half.limits = limits(2, 1000);
    for n in 0..3 {
        let mut body = plaintext(4);
        sealer.seal(&HEADER, &mut body).unwrap();
        assert_eq!(opener.open(&HEADER, &mut body).is_ok(), n < 2);
    }
}

/// An AEAD that counts its work and remembers each key and nonce.
struct Recorder;
static OPENS: AtomicUsize = AtomicUsize::new(0);
static SEEN: Mutex<BTreeSet<(Vec<u8>, [u8; 12])>> = Mutex::new(BTreeSet::new());

struct RecorderKey(Vec<u8>);

impl AeadSuite for Recorder {
    fn id(&self) -> SuiteId {
        SuiteId(0x80)
    }
    fn key_len(&self) -> usize {
        32
    }
    fn is_accelerated(&self) -> bool {
        true
    }
    fn key(&self, key: &TrafficKey) -> Result<Box<dyn AeadKey>, CryptoError> {
        Ok(Box::new(RecorderKey(key.as_bytes().to_vec())))
    }
}

impl AeadKey for RecorderKey {
    fn seal(&self, nonce: &[u8; 12], _: &[u8], buf: &mut [u8], tag: &mut [u8; 16]) -> Result<(), CryptoError> {
        assert!(SEEN.lock().unwrap().insert((self.0.clone(), *nonce)), "a nonce was used twice");
        // A type of 255 stands for a provider that breaks down.
        if buf.first() == Some(&255) {
            return Err(CryptoError::Failed);
        }
        *tag = [3; 16];
        Ok(())
    }
    fn open(&self, _: &[u8; 12], _: &[u8], _: &mut [u8], tag: &[u8; 16]) -> Result<(), CryptoError> {
        OPENS.fetch_add(1, Ordering::Relaxed);
        if *tag == [3; 16] { Ok(()) } else { Err(CryptoError::BadTag) }
    }
}

static RECORDER: Recorder = Recorder;

#[test]
fn nonces_never_repeat_and_poisoned_halves_do_no_work() {
    let mut header = HEADER;
    header[17] = 0x80;
    let directions = [Direction::ClientToServer, Direction::ServerToClient];
    let mut sealers = directions.map(|direction| Sealer::new(&RUSTCRYPTO, &RECORDER, secret(direction, SuiteId(0x80))));
    for n in 0..2000 {
        for sealer in &mut sealers {
            sealer.seal(&header, &mut plaintext(1)).unwrap();
            // Refused packets must not disturb the count.
            assert!(sealer.seal(&header, &mut [0; 3]).is_err());
            if n % 7 == 0 {
                sealer.release_key();
            }
        }
    }
    assert_eq!(SEEN.lock().unwrap().len(), 4000);

    let mut broken = plaintext(1);
    broken[0] = 255;
    assert_eq!(sealers[0].seal(&header, &mut broken), Err(SealError::Failed));
    assert_eq!(sealers[0].seal(&header, &mut plaintext(1)), Err(SealError::Failed));
    assert_eq!(SEEN.lock().unwrap().len(), 4001);

    let opener = || Opener::new(&RUSTCRYPTO, &RECORDER, secret(Direction::ClientToServer, SuiteId(0x80)));
    let sealed = |tag: u8| {
        let mut body = plaintext(1);
        body.iter_mut().rev().take(16).for_each(|byte| *byte = tag);
        body
    };
    let mut forged = opener();
    assert!(forged.open(&header, &mut sealed(3)).is_ok());
    assert_eq!(forged.open(&header, &mut sealed(4)), Err(OpenError));
    let work = OPENS.load(Ordering::Relaxed);
    assert_eq!(forged.open(&header, &mut sealed(3)), Err(OpenError));
    assert_eq!(opener().open(&HEADER, &mut sealed(3)), Err(OpenError), "a wrong suite byte");
    assert_eq!(opener().open(&header, &mut [3; 17]), Err(OpenError), "too short");
    assert_eq!(OPENS.load(Ordering::Relaxed), work, "no AEAD work");

    // Authentic, but without 0x80: final as well.
    let mut unpadded = opener();
    let mut body = vec![7; 3];
    body.extend([3; 16]);
    assert_eq!(unpadded.open(&header, &mut body), Err(OpenError));
    assert_eq!(unpadded.open(&header, &mut sealed(3)), Err(OpenError));
}

/// The key schedule against values computed with another HKDF implementation.
#[test]
fn key_schedule_known_answers() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| std::format!("{byte:02x}")).collect::<std::string::String>();
    let mut seen = BTreeSet::new();
    for suite in [SuiteId(16), SuiteId(17), SuiteId(18)] {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            let (ts, iv) = secret(direction, suite).reveal();
            assert!(seen.insert(ts.to_vec()) && seen.insert(iv.to_vec()));
        }
    }
    let secret = secret(Direction::ServerToClient, SuiteId::AES_128_GCM);
    let (ts, iv) = secret.reveal();
    assert_eq!(hex(&ts), "98468dcba832d93d5a97856b099fed65aba8dc4ec5c1f3ca6001d2c32c1c03fe");
    assert_eq!(hex(&iv), "b874a3b65445f576cc29b714");
    let key = secret.key(&RUSTCRYPTO, RUSTCRYPTO.aead(SuiteId::AES_128_GCM).unwrap()).unwrap();
    assert_eq!(hex(key.as_bytes()), "bd1d8d059bbfbc84c1791a778a0590b8");
    let mut nonce = iv;
    nonce[11] ^= 0x05;
    nonce[4] ^= 0x80;
    assert_eq!(secret.nonce(0x8000_0000_0000_0005), nonce);
    let (ts, iv) = secret.next(&RUSTCRYPTO).unwrap().reveal();
    assert_eq!(hex(&ts), "d83e37413693895a53ac6531026cf3c3e42441c440a11abbe5f7b8c80f49138e");
    assert_eq!(hex(&iv), "594d4cbfde7300477d50184e");
    let (ts, iv) = secret.for_datagrams(&RUSTCRYPTO).unwrap().reveal();
    assert_eq!(hex(&ts), "ce11b1d7a0ea4066f5b5ccfe76bf35430ba2023687fb55dc60d50396a4f0a1a6");
    assert_eq!(hex(&iv), "10afc668514fa71786cb2a62");
}

fn update(kind: KeyUpdate) -> Vec<u8> {
    let mut body = kind.content().to_vec();
    finish_plaintext(&mut body, 0, Padding::None);
    body
}

#[test]
fn an_update_starts_the_counts_again_and_wipes_the_old_secret() {
    let (mut sealer, mut opener) = halves();
    sealer.set_limits(limits(5, 1000));
    opener.set_limits(limits(5, 1000));
    let mut secrets = BTreeSet::new();
    for epoch in 0..Allowance::BURST {
        assert_eq!((sealer.epoch(), opener.epoch()), (u32::from(epoch), u32::from(epoch)));
        for _ in 0..4 {
            let mut body = plaintext(4);
            sealer.seal(&HEADER, &mut body).unwrap();
            opener.open(&HEADER, &mut body).unwrap();
        }
        assert!(secrets.insert(sealer.half.next().unwrap().reveal()), "each epoch has its own secret");
        let mut body = update(KeyUpdate::Notice);
        sealer.seal(&HEADER, &mut body).unwrap();
        assert_eq!(opener.open(&HEADER, &mut body).unwrap().key_update(), Some(KeyUpdate::Notice));
    }
    // The rate limit: 8, and then one for each 64 packets; 32 went by.
    assert_eq!(sealer.seal(&HEADER, &mut update(KeyUpdate::Notice)), Err(SealError::UpdateTooSoon));
    assert!(!sealer.may_update());
}

/// A peer that does not keep to the rate limit is cut, at exactly the first update too many.
#[test]
fn an_update_flood_is_cut_at_the_exact_count() {
    let (mut sealer, mut opener) = halves();
    for n in 0..=u32::from(Allowance::BURST) {
        sealer.allowance = Allowance::new();
        let mut body = update(KeyUpdate::Request);
        sealer.seal(&HEADER, &mut body).unwrap();
        assert_eq!(opener.open(&HEADER, &mut body).is_ok(), n < u32::from(Allowance::BURST), "{n}");
    }
    let (mut sealer, mut opener) = halves();
    for n in 0..1000_u32 {
        if sealer.may_update() {
            let mut body = update(KeyUpdate::Notice);
            sealer.seal(&HEADER, &mut body).unwrap();
            opener.open(&HEADER, &mut body).unwrap();
        }
        let mut body = plaintext(1);
        sealer.seal(&HEADER, &mut body).unwrap();
        opener.open(&HEADER, &mut body).unwrap();
        let earned = n.saturating_sub(1) / u32::from(Allowance::EARN);
        assert!(
            sealer.epoch().abs_diff(u32::from(Allowance::BURST).min(n + 1) + earned) <= 1,
            "{n} {}",
            sealer.epoch()
        );
    }
}

#[test]
fn the_plan_answers_once_and_asks_once() {
    let (mut sealer, mut opener) = halves();
    let mut plan = KeyUpdates::default();
    assert_eq!(plan.due(&sealer, &opener), None);
    for _ in 0..3 {
        plan.received(KeyUpdate::Request);
    }
    assert_eq!(plan.due(&sealer, &opener), Some(KeyUpdate::Notice), "a request is never answered by a request");
    plan.sent(KeyUpdate::Notice);
    assert_eq!(plan.due(&sealer, &opener), None);
    plan.received(KeyUpdate::Notice);
    assert_eq!(plan.due(&sealer, &opener), None, "a notice has no answer");
    // The peer lets its key grow old.
    opener.set_limits(limits(100, 1000));
    for n in 0..6 {
        assert_eq!(plan.due(&sealer, &opener), None, "{n}");
        let mut body = plaintext(1);
        sealer.seal(&HEADER, &mut body).unwrap();
        opener.open(&HEADER, &mut body).unwrap();
    }
    assert_eq!(plan.due(&sealer, &opener), Some(KeyUpdate::Request));
    plan.sent(KeyUpdate::Request);
    assert_eq!(plan.due(&sealer, &opener), None, "one question");
    sealer.set_limits(limits(100, 1000));
    assert_eq!(plan.due(&sealer, &opener), Some(KeyUpdate::Notice), "the own limit is another matter");
}

/// Poisons at the end of the epochs rather than wrap.
#[test]
fn the_last_epoch_refuses_an_update() {
    let (mut sealer, _) = halves();
    sealer.half.set_epoch(u32::MAX);
    assert_eq!(sealer.seal(&HEADER, &mut update(KeyUpdate::Notice)), Err(SealError::KeyExhausted));
    sealer.seal(&HEADER, &mut plaintext(1)).unwrap();
}

#[test]
fn little_is_left_for_the_close_near_the_hard_limit() {
    let (mut sealer, _) = halves();
    sealer.set_limits(KeyLimits::lowered(1000, 20));
    for n in 0..20 {
        assert_eq!(sealer.nearly_used_up(), n >= 4, "{n}");
        sealer.seal(&HEADER, &mut plaintext(1)).unwrap();
    }
    assert_eq!(sealer.seal(&HEADER, &mut plaintext(1)), Err(SealError::KeyExhausted));
}
