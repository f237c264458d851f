//! Records of a session, on a stream and as datagrams, against a plain list of what was sealed.

use std::collections::{BTreeSet, VecDeque};

use im_crypto::{
    CLOSE_TYPE, DatagramError, DatagramOpener, DatagramSealer, HandshakeId, KEY_UPDATE_TYPE, KeyLimits, KeyUpdate,
    Opener, Padding, SealError, Sealer, SuiteId, Truncated, finish_plaintext,
};

use super::input::{Input, change};
use super::world::{World, header};

/// A header and a body.
pub(super) type Bytes = ([u8; 24], Vec<u8>);

/// At most so many steps, so that each run is short.
const STEPS: usize = 400;
/// Low, so that a run reaches it.
const HARD_LIMIT: u32 = 40;
/// For datagrams where the window matters.
const HIGH_LIMIT: u32 = 3000;
/// How far a datagram may come late.
const WINDOW: u64 = 1024;

/// Four bytes are a step: an end sends, updates its key or closes; a packet arrives, or is dropped, repeated, swapped, changed,
/// invented or sent back. What was sealed is opened once: on a stream in its order, until the first packet that is not the next
/// one; on datagrams within the window.
pub fn record(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::from_input(input.byte() & !7, 0);
    let kind = input.byte();
    let (mut client, mut server) = world.honest(HandshakeId::NK);
    let hard = if kind & 3 == 3 { HIGH_LIMIT } else { HARD_LIMIT };
    let limits = KeyLimits::lowered(10, hard);
    for half in [&mut client, &mut server] {
        half.sealer.set_limits(limits);
        half.opener.set_limits(limits);
    }
    if kind.is_multiple_of(2) {
        let mut sides = [Stream::new(client.sealer, server.opener), Stream::new(server.sealer, client.opener)];
        for _ in 0..STEPS {
            let Some(step) = input.step() else { break };
            Stream::step(&mut sides, step);
        }
    } else {
        let mut datagrams = Datagrams::new(client.sealer, server.opener, hard);
        for _ in 0..STEPS {
            let Some(step) = input.step() else { break };
            datagrams.step(step);
        }
    }
}

/// The content of a packet with a length from the input.
fn content(kind: u8, length: u8) -> Vec<u8> {
    let kind = if [CLOSE_TYPE, KEY_UPDATE_TYPE].contains(&kind) { 0 } else { kind };
    [&[kind], vec![kind ^ 0x5a; length.into()].as_slice()].concat()
}

fn finished(content: &[u8], padded: bool) -> Vec<u8> {
    let mut body = content.to_vec();
    finish_plaintext(&mut body, 0, if padded { Padding::Padme } else { Padding::None });
    body
}

/// Somebody on the wire changes a packet: a byte of the header or anything of the body.
fn damage((header, body): &mut Bytes, place: u8, value: u8) {
    match usize::from(place) {
        at @ 0..24 => header[at] ^= value,
        24..128 => change(body, value / 32, usize::from(place - 24), value % 32),
        at => {
            // From the end: the tag.
            let last = body.len().saturating_sub(1);
            if let Some(byte) = body.get_mut(last.saturating_sub(at - 128)) {
                *byte ^= value;
            }
        }
    }
}

/// One direction of a stream.
struct Stream {
    sealer: Sealer,
    opener: Opener,
    wire: VecDeque<Bytes>,
    /// The oracle: what was sealed, with its content.
    sealed: Vec<(Bytes, Vec<u8>)>,
    arrived: usize,
    dead: bool,
}

impl Stream {
    fn new(sealer: Sealer, opener: Opener) -> Self {
        Self { sealer, opener, wire: VecDeque::new(), sealed: Vec::new(), arrived: 0, dead: false }
    }

    fn step(sides: &mut [Self; 2], [kind, a, b, c]: [u8; 4]) {
        let [left, right] = sides;
        let (here, there) = if kind < 128 { (left, right) } else { (right, left) };
        let wire = &mut here.wire;
        let (at, other) = (usize::from(a) % wire.len().max(1), usize::from(b) % wire.len().max(1));
        match kind % 16 {
            0..3 => here.send(&content(a, b), c % 2 == 1),
            3..6 => here.deliver(),
            6 => here.send(&if a % 2 == 0 { KeyUpdate::Notice } else { KeyUpdate::Request }.content(), false),
            7 if a > 200 => here.send(&[CLOSE_TYPE, b], false),
            7 => here.release(a),
            8 => drop(wire.remove(at)),
            9 => {
                if let Some(packet) = wire.get(at).cloned() {
                    wire.insert(other, packet);
                }
            }
            10 if at < wire.len() => wire.swap(at, other),
            // Old packets, and those of the other direction.
            11 => wire.extend(here.sealed.get(usize::from(a)).map(|(packet, _)| packet.clone())),
            12 => wire.extend(there.wire.get(usize::from(a)).cloned()),
            13 => wire.push_front((header(SuiteId(a), b.into()), vec![c; b.into()])),
            _ => wire.iter_mut().skip(at).take(1).for_each(|packet| damage(packet, b, c)),
        }
    }

    fn release(&mut self, which: u8) {
        if which.is_multiple_of(2) { self.sealer.release_key() } else { self.opener.release_key() }
    }

    fn send(&mut self, content: &[u8], padded: bool) {
        let mut body = finished(content, padded);
        let before = body.clone();
        let header = header(self.sealer.suite(), body.len());
        let closed = self.sealed.last().is_some_and(|(_, content)| content[0] == CLOSE_TYPE);
        let update = content[0] == KEY_UPDATE_TYPE;
        match self.sealer.seal(&header, &mut body) {
            Ok(()) => {
                assert!(!closed);
                self.wire.push_back((header, body.clone()));
                self.sealed.push(((header, body), content.to_vec()));
            }
            Err(error) => {
                assert_eq!(body, before);
                #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it says is wrong")]
                match error {
                    SealError::Closed => assert!(closed),
                    SealError::UpdateTooSoon => assert!(update && !self.sealer.may_update()),
                    SealError::KeyExhausted => assert_eq!(self.sealer.packets(), u64::from(HARD_LIMIT)),
                    error => panic!("{error}"),
                }
            }
        }
    }

    fn deliver(&mut self) {
        let Some((header, mut body)) = self.wire.pop_front() else { return };
        let due = self.sealed.get(self.arrived).filter(|_| !self.dead);
        let good = due.is_some_and(|(due, _)| due.0 == header && due.1 == body);
        let opened = self.opener.open(&header, &mut body);
        assert_eq!(opened.is_ok(), good, "packet {} was due", self.arrived);
        let mut closed = false;
        if let (Ok(opened), Some((_, content))) = (opened, due) {
            assert!(content.split_first() == Some((&opened.inner_type, &*opened.payload)), "not what was sent");
            assert_eq!(opened.key_update().is_some(), opened.inner_type == KEY_UPDATE_TYPE);
            closed = opened.inner_type == CLOSE_TYPE;
            self.arrived += 1;
            assert_eq!(self.opener.end(), if closed { Ok(()) } else { Err(Truncated) });
            let updates = self.sealed[..self.arrived].iter().filter(|(_, content)| content[0] == KEY_UPDATE_TYPE);
            assert_eq!(usize::try_from(self.opener.epoch()).ok(), Some(updates.count()));
        }
        self.dead |= closed || !good;
    }
}

struct Sent {
    packet: Bytes,
    content: Vec<u8>,
    epoch: u32,
    number: u64,
}

/// Datagrams in one direction.
struct Datagrams {
    hard: u64,
    sealer: DatagramSealer,
    opener: DatagramOpener,
    wire: VecDeque<Bytes>,
    /// The oracle: what was sealed, and what was opened, by epoch and number.
    sealed: Vec<Sent>,
    opened: BTreeSet<(u32, u64)>,
    /// Packets of the sealer's epoch.
    count: u64,
    confirmed: bool,
    closed: bool,
    /// The opener's epoch, and whether it still has the key before.
    present: u32,
    keeps_previous: bool,
    ended: bool,
}

impl Datagrams {
    fn new(sealer: Sealer, opener: Opener, hard: u32) -> Self {
        Self {
            hard: hard.into(),
            sealer: sealer.into_datagrams().expect("unused"),
            opener: opener.into_datagrams().expect("unused"),
            wire: VecDeque::new(),
            sealed: Vec::new(),
            opened: BTreeSet::new(),
            count: 0,
            confirmed: false,
            closed: false,
            present: 0,
            keeps_previous: false,
            ended: false,
        }
    }

    fn step(&mut self, [kind, a, b, c]: [u8; 4]) {
        let wire = &mut self.wire;
        let (at, other) = (usize::from(a) % wire.len().max(1), usize::from(b) % wire.len().max(1));
        match kind % 16 {
            0..3 => self.send(&content(a, b), c % 2 == 1),
            3..6 => {
                if let Some(packet) = wire.remove(at) {
                    self.deliver(packet);
                }
            }
            6 => self.update(),
            7 if a > 200 => self.send(&[CLOSE_TYPE, b], false),
            7 if a > 100 => {
                self.opener.forget_previous();
                self.keeps_previous = false;
            }
            7 if a > 50 => self.opener.release_key(),
            7 => self.sealer.release_key(),
            8 => drop(wire.remove(at)),
            9 => {
                if let Some(packet) = wire.get(at).cloned() {
                    wire.insert(other, packet);
                }
            }
            10 => {
                self.sealer.confirm();
                self.confirmed = true;
            }
            11 => {
                let which = usize::from(u16::from_be_bytes([a, b]));
                wire.extend(self.sealed.get(which).map(|sent| sent.packet.clone()));
            }
            12 if a < 128 => self.send(&KeyUpdate::Request.content(), false),
            12 => {
                // Many that are lost, so that the window moves.
                for _ in 0..usize::from(b) * 5 {
                    let waiting = self.wire.len();
                    self.send(&[1], false);
                    self.wire.truncate(waiting);
                }
            }
            13 => wire.push_front((header(SuiteId(a), b.into()), vec![c; b.into()])),
            _ => wire.iter_mut().skip(at).take(1).for_each(|packet| damage(packet, b, c)),
        }
    }

    fn update(&mut self) {
        let updated = self.sealer.update_key();
        if self.closed {
            assert_eq!(updated, Err(SealError::Failed));
        } else if !self.confirmed {
            assert_eq!(updated, Err(SealError::UpdateTooSoon));
        } else {
            assert_eq!(updated, Ok(()));
            (self.count, self.confirmed) = (0, false);
        }
    }

    fn send(&mut self, content: &[u8], padded: bool) {
        let mut body = finished(content, padded);
        let mut header = header(self.sealer.suite(), body.len());
        let before = (header, body.clone());
        let sealed = self.sealer.seal(&mut header, &mut body);
        if sealed.is_err() {
            assert!(header == before.0 && body == before.1);
        }
        if self.closed {
            return assert_eq!(sealed, Err(SealError::Closed));
        }
        if self.count == self.hard {
            return assert_eq!(sealed, Err(SealError::KeyExhausted));
        }
        assert_eq!(sealed, Ok(()));
        self.closed = content[0] == CLOSE_TYPE;
        let (epoch, number) = (self.sealer.epoch(), self.count);
        self.count += 1;
        self.wire.push_back((header, body.clone()));
        self.sealed.push(Sent { packet: (header, body), content: content.to_vec(), epoch, number });
    }

    fn deliver(&mut self, packet: Bytes) {
        let sent = self.sealed.iter().find(|sent| sent.packet == packet);
        let expected = sent.filter(|sent| {
            let known = sent.epoch == self.present
                || sent.epoch == self.present + 1
                || (sent.epoch + 1 == self.present && self.keeps_previous);
            let newest = self.opened.range(..=(sent.epoch, u64::MAX)).next_back();
            let late = newest.is_some_and(|(epoch, top)| *epoch == sent.epoch && sent.number + WINDOW <= *top);
            known && !late && !self.opened.contains(&(sent.epoch, sent.number))
        });
        let (header, mut body) = packet;
        let opened = self.opener.open(&header, &mut body);
        if self.ended {
            return assert_eq!(opened, Err(DatagramError::Closed));
        }
        let Some(sent) = expected else { return assert_eq!(opened, Err(DatagramError::Dropped)) };
        let opened = opened.expect("it was sent and is new");
        assert!(sent.content.split_first() == Some((&opened.inner_type, &*opened.payload)), "not what was sent");
        self.ended = opened.inner_type == CLOSE_TYPE;
        self.opened.insert((sent.epoch, sent.number));
        if sent.epoch > self.present {
            (self.present, self.keeps_previous) = (sent.epoch, true);
        }
        assert_eq!(self.opener.epoch(), self.present);
    }
}

/// A quiet life of each kind, and one with each disturbance.
pub fn seeds() -> Vec<Vec<u8>> {
    let quiet = [[0, 1, 20, 0], [1, 2, 0, 1], [3, 0, 0, 0], [6, 1, 0, 0], [3, 0, 0, 0], [3, 0, 0, 0], [2, 5, 9, 0]];
    let end = [[10, 0, 0, 0], [6, 0, 0, 0], [0, 9, 9, 1], [3, 0, 0, 0], [3, 0, 0, 0], [7, 220, 0, 0], [3, 0, 0, 0]];
    let mut seeds = Vec::new();
    for kind in 0..2 {
        let life = |middle: &[[u8; 4]]| [&[8 * kind, kind], quiet.as_flattened(), middle.as_flattened()].concat();
        seeds.push([life(&[]), end.concat()].concat());
        for disturbance in 7..16 {
            let steps = [[0, 4, 4, 0], [disturbance, 0, 30, 1], [3, 0, 0, 0], [3, 0, 0, 0]];
            seeds.push([life(&steps), end.concat()].concat());
        }
        let mut other_way = life(&[[128, 6, 6, 0], [12, 0, 0, 0], [3, 0, 0, 0]]);
        other_way.extend(end.concat());
        seeds.push(other_way);
        // To the hard limit, and update after update.
        seeds.push(life(&[[0, 1, 0, 0], [3, 0, 0, 0]].repeat(45)));
        seeds.push(life(&[[10, 0, 0, 0], [6, 0, 0, 0], [0, 1, 1, 1], [3, 0, 0, 0]].repeat(10)));
    }
    // More packets than the window covers, and old ones after them.
    let old: Vec<[u8; 4]> = [0, 1, 2, 130, 131, 255].map(|which| [11, 4, which, 0]).to_vec();
    let mut late = vec![[12, 128, 210, 0], [12, 128, 210, 0], [0, 1, 1, 0], [3, 0, 0, 0]];
    for step in old.iter().chain(&[[11, 0, 5, 0], [11, 8, 51, 0], [11, 8, 52, 0]]) {
        late.extend([*step, [3, 0, 0, 0]]);
    }
    seeds.push([&[0, 3], late.as_flattened()].concat());
    seeds
}
