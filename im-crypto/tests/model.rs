//! Random lives of a session against a plain oracle: send, receive, key update, release of keys, drop, repeat, swap, change.
//! A failing seed is printed; replay it with `IM_MODEL_SEED=<seed> cargo test -p im-crypto --test model -- --nocapture`.
#![cfg(feature = "rustcrypto")]

mod common;
mod instrumented;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use common::*;
use im_crypto::{
    CLOSE_TYPE, DatagramOpener, DatagramSealer, KeyLimits, KeyUpdate, KeyUpdates, Opener, Padding, SealError, Sealer,
    SuiteId, Truncated, finish_plaintext,
};
use instrumented::{INSTRUMENTED, repeated, seals, session};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// The seed that the environment names.
#[expect(clippy::disallowed_methods, reason = "a replay is asked for from outside")]
static REPLAYED: LazyLock<Option<u64>> = LazyLock::new(|| {
    std::env::var("IM_MODEL_SEED").ok().map(|seed| seed.parse().expect("IM_MODEL_SEED is a seed, a number"))
});

fn run(name: &str, range: Range<u64>, life: impl Fn(u64)) {
    for seed in REPLAYED.map_or(range, |seed| seed..seed + 1) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| life(seed))) {
            eprintln!(
                "{name} failed with seed {seed}; replay: IM_MODEL_SEED={seed} cargo test -p im-crypto --test model {name}"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.next_u64() % bound as u64).unwrap()
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn payload(&mut self) -> Vec<u8> {
        let mut payload = vec![0; [0, 1, 15, 16, 64, 300][self.below(6)]];
        self.0.fill_bytes(&mut payload);
        payload
    }
}

/// A packet on its way, and what the oracle knows about it.
#[derive(Clone)]
struct Flying {
    header: [u8; 24],
    body: Vec<u8>,
    content: Vec<u8>,
    /// Place in the order of sealing.
    number: usize,
    /// Not as it was sealed.
    changed: bool,
}

/// One direction of a stream, its wire, and the oracle: a list of what was sealed and how much of it arrived.
struct Stream {
    sealer: Sealer,
    opener: Opener,
    wire: VecDeque<Flying>,
    sealed: usize,
    arrived: usize,
    dead: bool,
    closed: bool,
}

impl Stream {
    fn new(sealer: Sealer, opener: Opener) -> Self {
        Self { sealer, opener, wire: VecDeque::new(), sealed: 0, arrived: 0, dead: false, closed: false }
    }

    fn send(&mut self, dice: &mut Dice, content: &[u8]) -> Result<(), SealError> {
        let mut body = content.to_vec();
        finish_plaintext(&mut body, 0, if dice.one_in(3) { Padding::Padme } else { Padding::None });
        let header = record_header(self.sealer.suite(), body.len());
        if dice.one_in(2) {
            let mut out = vec![0; body.len()];
            self.sealer.seal_into(&header, &body, &mut out)?;
            body = out;
        } else {
            self.sealer.seal(&header, &mut body)?;
        }
        self.closed |= content[0] == CLOSE_TYPE;
        self.wire.push_back(Flying { header, body, content: content.to_vec(), number: self.sealed, changed: false });
        self.sealed += 1;
        Ok(())
    }

    /// Delivers the front of the wire; the oracle says what has to come of it.
    fn deliver(&mut self, plan: &mut KeyUpdates) {
        let Some(mut packet) = self.wire.pop_front() else { return };
        let good = !self.dead && !packet.changed && packet.number == self.arrived;
        let opened = self.opener.open(&packet.header, &mut packet.body);
        assert_eq!(opened.is_ok(), good, "packet {} where {} was due", packet.number, self.arrived);
        match opened {
            Ok(opened) => {
                self.arrived += 1;
                assert_eq!(
                    [&[opened.inner_type], &*opened.payload].concat(),
                    packet.content,
                    "what was sent, nothing else"
                );
                if let Some(update) = opened.key_update() {
                    plan.received(update);
                }
                let ended = opened.inner_type == CLOSE_TYPE;
                self.dead |= ended;
                assert_eq!(self.opener.end(), if ended { Ok(()) } else { Err(Truncated) });
            }
            Err(_) => self.dead = true,
        }
    }

    fn disturb(&mut self, dice: &mut Dice) {
        let count = self.wire.len();
        if count == 0 {
            return;
        }
        let at = dice.below(count);
        match dice.below(4) {
            0 => drop(self.wire.remove(at)),
            1 => self.wire.insert(dice.below(count + 1), self.wire[at].clone()),
            2 => self.wire.swap(at, dice.below(count)),
            _ if self.wire[at].changed => {}
            _ => {
                let packet = &mut self.wire[at];
                let bit = dice.below((24 + packet.body.len()) * 8);
                let byte = if bit < 24 * 8 { &mut packet.header[bit / 8] } else { &mut packet.body[bit / 8 - 24] };
                *byte ^= 1 << (bit % 8);
                packet.changed = true;
            }
        }
    }
}

/// One session of both directions until an attacker, a close or enough operations end it.
fn stream_life(seed: u64, operations: usize, attacked: bool) -> u64 {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
    let suite = [SuiteId(16), SuiteId(17), SuiteId(18)][dice.below(3)];
    let (mut client, mut server) = session(&INSTRUMENTED, suite, seed + 1000);
    for half in [&mut client, &mut server] {
        let limits = KeyLimits::lowered(30, 120);
        half.sealer.set_limits(limits);
        half.opener.set_limits(limits);
    }
    let mut sides = [Stream::new(client.sealer, server.opener), Stream::new(server.sealer, client.opener)];
    let mut plans = [KeyUpdates::default(); 2];
    for _ in 0..operations {
        let side = dice.below(2);
        let (here, there) = if side == 0 { (0, 1) } else { (1, 0) };
        match dice.below(100) {
            0..45 => {
                // What the rules of sending say: an update that is due goes first.
                let [left, right] = &sides;
                let (sealer, opener) =
                    if here == 0 { (&left.sealer, &right.opener) } else { (&right.sealer, &left.opener) };
                let due = plans[here].due(sealer, opener);
                let content =
                    due.map_or_else(|| [&[7], dice.payload().as_slice()].concat(), |update| update.content().to_vec());
                let sent = sides[here].send(&mut dice, &content);
                if sides[here].closed {
                    assert_eq!(sent.unwrap_err(), SealError::Closed);
                } else {
                    sent.unwrap();
                    due.into_iter().for_each(|update| plans[here].sent(update));
                }
            }
            45..90 => sides[here].deliver(&mut plans[there]),
            90 => plans[here].want(if dice.one_in(2) { KeyUpdate::Request } else { KeyUpdate::Notice }),
            91..94 => sides[here].sealer.release_key(),
            94..97 => sides[here].opener.release_key(),
            97 if attacked && dice.one_in(4) => sides[here].disturb(&mut dice),
            98 if attacked && dice.one_in(40) && !sides[here].closed => {
                sides[here].send(&mut dice, &[CLOSE_TYPE]).unwrap();
            }
            _ => {}
        }
    }
    if !attacked {
        for (side, other) in [(0, 1), (1, 0)] {
            while !sides[side].wire.is_empty() {
                sides[side].deliver(&mut plans[other]);
            }
            assert!(!sides[side].dead && sides[side].arrived == sides[side].sealed);
            assert_eq!(sides[side].sealer.epoch(), sides[side].opener.epoch());
        }
    }
    u64::from(sides[0].sealer.epoch()) + u64::from(sides[1].sealer.epoch())
}

#[test]
fn streams_in_peace() {
    run("streams_in_peace", 0..60, |seed| {
        let epochs = stream_life(seed, 2000, false);
        assert!(epochs > 10, "{epochs} updates");
        assert!(repeated().is_empty());
    });
}

#[test]
fn streams_under_attack() {
    run("streams_under_attack", 0..400, |seed| {
        stream_life(seed, 600, true);
        assert!(repeated().is_empty());
    });
}

/// The witness sees a million seals, over sessions, updates, releases and refusals, and no nonce twice under a key.
#[test]
fn a_million_seals_repeat_no_nonce() {
    run("a_million_seals_repeat_no_nonce", 0..550, |seed| {
        stream_life(seed, 4000, seed % 2 == 1);
        datagram_life(seed, 1000);
        assert!(repeated().is_empty());
    });
    println!("{} seals", seals());
    if REPLAYED.is_none() {
        assert!(seals() >= 1_000_000);
    }
}

/// The oracle of datagrams: a set of what was opened, and what the window still covers.
fn datagram_life(seed: u64, operations: usize) {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
    let suite = [SuiteId(16), SuiteId(17), SuiteId(18)][dice.below(3)];
    let (client, server) = session(&INSTRUMENTED, suite, seed + 1_000_000);
    let mut sealer: DatagramSealer = client.sealer.into_datagrams().unwrap();
    let mut opener: DatagramOpener = server.opener.into_datagrams().unwrap();
    let mut wire: Vec<(Flying, u32)> = Vec::new();
    // By epoch: how many were sealed, which were opened.
    let mut sealed = vec![0_usize];
    let mut opened_numbers: Vec<BTreeSet<usize>> = vec![BTreeSet::new()];
    let (mut present, mut forgot) = (0_u32, 0_u32);
    for _ in 0..operations {
        match dice.below(100) {
            0..40 => {
                let content = [&[7], dice.payload().as_slice()].concat();
                let mut body = content.clone();
                finish_plaintext(&mut body, 0, Padding::None);
                let mut header = record_header(suite, body.len());
                sealer.seal(&mut header, &mut body).unwrap();
                let epoch = sealer.epoch();
                let number = sealed[epoch as usize];
                sealed[epoch as usize] += 1;
                wire.push((Flying { header, body, content, number, changed: false }, epoch));
            }
            40..85 if !wire.is_empty() => {
                // Any packet, and sometimes a copy of it stays: loss, repetition and reordering are one thing here.
                let at = if dice.one_in(3) { dice.below(wire.len()) } else { 0 };
                let (mut packet, epoch) = if dice.one_in(4) { wire[at].clone() } else { wire.remove(at) };
                let fresh = &opened_numbers[epoch as usize];
                let in_window =
                    fresh.last().is_none_or(|top| packet.number + 1024 > *top) && !fresh.contains(&packet.number);
                let known = epoch == present || epoch == present + 1 || (epoch + 1 == present && forgot < present);
                let good = !packet.changed && known && in_window;
                let result = opener.open(&packet.header, &mut packet.body);
                assert_eq!(result.is_ok(), good, "packet {} of epoch {epoch}, present {present}", packet.number);
                if let Ok(opened) = result {
                    assert_eq!([&[opened.inner_type], &*opened.payload].concat(), packet.content);
                    opened_numbers[epoch as usize].insert(packet.number);
                    present = present.max(epoch);
                }
                assert_eq!(opener.epoch(), present);
            }
            85..88 if !wire.is_empty() => {
                let at = dice.below(wire.len());
                let packet = &mut wire[at].0;
                if packet.changed {
                    continue;
                }
                let bit = dice.below((24 + packet.body.len()) * 8);
                let byte = if bit < 24 * 8 { &mut packet.header[bit / 8] } else { &mut packet.body[bit / 8 - 24] };
                *byte ^= 1 << (bit % 8);
                packet.changed = true;
            }
            88..90 if !wire.is_empty() => drop(wire.remove(dice.below(wire.len()))),
            90..93 => {
                // The acknowledgement of the present epoch, if the peer has seen it.
                if present == sealer.epoch() {
                    sealer.confirm();
                    sealer.update_key().unwrap();
                    sealed.push(0);
                    opened_numbers.push(BTreeSet::new());
                } else {
                    assert_eq!(sealer.update_key(), Err(SealError::UpdateTooSoon));
                }
            }
            93..95 => sealer.release_key(),
            95..97 => opener.release_key(),
            97 => {
                opener.forget_previous();
                forgot = present;
            }
            _ => {}
        }
    }
}

#[test]
fn datagrams() {
    run("datagrams", 0..300, |seed| {
        datagram_life(seed, 2000);
        assert!(repeated().is_empty());
    });
}
