//! A device: the machines of a client's connection, what the connection does around them, and the application.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use im_serial::Body;
use im_serial::body::{Conversation, Deliver, Delivered, Login, LoginOk, Position, Refused, Stored};

use super::store::{Store, content};
use super::world::{Broken, DeviceScope, Scope};
use super::{Packet, hash_positions};
use crate::backoff::Backoff;
use crate::inbox::{AckToken, Inbox, Verdict};
use crate::outbox::{Message, Outbox, PacketId};
use crate::resume::{MAX_POSITIONS, SessionAnswer};
use crate::time::Instant;

/// The time, always.
const NOW: Instant = Instant::from_micros(1_000_000_000);
/// Long enough for every delay of the machine.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(4), max: Duration::from_secs(4) };

/// Delays of a machine that are all equal.
fn jitter() -> fastrand::Rng {
    fastrand::Rng::with_seed(1)
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Stored,
    Refused,
    Unknown,
    /// The client lost its memory first.
    Forgotten,
}

/// A message that the application sent.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub(super) struct Sent {
    pub(super) id: PacketId,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Offline,
    LoggingIn { login_due: bool },
    Online,
}

/// What the application holds. It survives a crash, except for what it did not make safe yet.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct App {
    /// Entries that are safe: seq and message, of the log of `epoch`.
    pub(super) safe: BTreeMap<u64, u8>,
    pub(super) epoch: u64,
    /// Taken from the connection, and lost with the process.
    pub(super) taken: Vec<(u64, u8, AckToken)>,
    /// The last seq that came in this run, own entries included.
    last: Option<u64>,
    pub(super) sent: Vec<Sent>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Device {
    pub(super) phase: Phase,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    session: u64,
    named: Vec<Position>,
    pub(super) app: App,
    /// How often the process began.
    run: u64,
}

impl core::hash::Hash for Device {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        let Self { phase, outbox, inbox, session, named, app, run } = self;
        (phase, outbox, inbox, session, app, run).hash(state);
        hash_positions(named, state);
    }
}

/// A packet that the connection would close for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProtocolError;

impl Device {
    pub(super) fn new(scope: &Scope) -> Self {
        let (outbox, inbox) = machines(scope, 0);
        let (phase, app) = (Phase::Offline, App::default());
        Self { phase, outbox, inbox, session: 0, named: Vec::new(), app, run: 0 }
    }

    /// The process dies and begins again.
    pub(super) fn crash(&mut self, scope: &Scope) {
        self.run += 1;
        (self.outbox, self.inbox) = machines(scope, self.run);
        (self.phase, self.session) = (Phase::Offline, 0);
        self.named.clear();
        self.app.taken.clear();
        self.app.last = None;
        for sent in &mut self.app.sent {
            sent.outcome.get_or_insert(Outcome::Forgotten);
        }
    }

    /// As `Connection::send`.
    pub(super) fn send(&mut self, to: &Conversation, message: u8) {
        let Conversation { id, .. } = to;
        if let Ok(id) = self.outbox.push(Message::text(id, &content(message))) {
            self.app.sent.push(Sent { id, outcome: None });
        }
    }

    /// As `Connection::connect`; the handshake is done at once, and the login is due.
    pub(super) fn connect(&mut self) {
        self.outbox.disconnected();
        self.inbox.connected();
        self.named.clear();
        if self.session != 0 {
            self.named = self.inbox.positions(MAX_POSITIONS, 1 << 16);
        }
        self.phase = Phase::LoggingIn { login_due: true };
    }

    /// As `Client::on_closed`.
    pub(super) fn disconnected(&mut self) {
        self.phase = Phase::Offline;
        self.outbox.disconnected();
    }

    pub(super) fn has_output(&self, send_max: u32) -> bool {
        match self.phase {
            Phase::LoggingIn { login_due } => login_due,
            Phase::Online => self.inbox.next_ack().is_some() || self.outbox.next(NOW, send_max).is_some(),
            Phase::Offline => false,
        }
    }

    /// The next packet, in the order of `Connection::transmit`: login, acks, messages.
    pub(super) fn transmit(&mut self, me: &DeviceScope, send_max: u32) -> Option<Packet> {
        match self.phase {
            Phase::LoggingIn { login_due: true } => {
                self.phase = Phase::LoggingIn { login_due: false };
                let login = Login {
                    receive_max: me.receive_max,
                    session: self.session,
                    positions: self.named.clone(),
                    ..Login::default()
                };
                Some(Packet { id: 0, body: login.into() })
            }
            Phase::Online => {
                if let Some((conversation, up_to, epoch)) = self.inbox.next_ack() {
                    let body = Delivered { conversation: conversation.clone(), up_to, epoch }.into();
                    self.inbox.ack_sent();
                    return Some(Packet { id: 0, body });
                }
                let (id, body) = self.outbox.next(NOW, send_max).map(|(id, body)| (id, body.clone()))?;
                self.outbox.transmitted(id, NOW, &mut jitter());
                Some(Packet { id: id.0, body })
            }
            Phase::Offline | Phase::LoggingIn { login_due: false } => None,
        }
    }

    /// As `Client::accepts_input`.
    pub(super) fn accepts_input(&self, me: &DeviceScope) -> bool {
        self.phase != Phase::Online || self.inbox.pending() < 2 * me.receive_max.max(1) as usize
    }

    /// As `Client::on_body`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what a server does not send")]
    pub(super) fn receive(
        &mut self,
        me: &DeviceScope,
        store: &Store,
        packet: Packet,
        broken: &mut Broken,
    ) -> Result<(), ProtocolError> {
        let Packet { id, body } = packet;
        match body {
            Body::LoginOk(ok) => self.logged_in(&ok),
            Body::Epoch(epoch) => match self.inbox.epoch(&epoch.conversation, epoch.epoch) {
                Some(reload) => {
                    if reload {
                        self.app.reload();
                    }
                }
                None => broken.now("one conversation fits into an inbox"),
            },
            Body::Stored(Stored { conversation, seq, in_stream, .. }) => {
                if in_stream {
                    self.take(me, &conversation, seq, true, store, broken)?;
                }
                let packet_id = PacketId(id);
                if self.outbox.remove(packet_id) {
                    let is_there = store.log.iter().any(|record| record.device == me.index && record.id == id);
                    broken.unless(is_there, "what is acked as stored is in the log");
                    self.app.outcome(packet_id, Outcome::Stored, broken);
                }
            }
            Body::Refused(Refused { retry, .. }) => {
                let packet_id = PacketId(id);
                if retry && self.outbox.postpone(packet_id, NOW, Duration::ZERO, &mut jitter()) {
                    return Ok(());
                }
                if self.outbox.remove(packet_id) || retry {
                    self.app.outcome(packet_id, Outcome::Refused, broken);
                }
            }
            Body::Deliver(Deliver { conversation, seq, content, .. }) => {
                if self.take(me, &conversation, seq, false, store, broken)? {
                    let message = core::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
                    let (token, _) = self.inbox.token(conversation, seq);
                    self.app.taken.push((seq, message.unwrap_or(u8::MAX), token));
                }
            }
            _ => broken.now("a server sends nothing else"),
        }
        self.inbox.forget_activity();
        Ok(())
    }

    /// As `Client::logged_in`.
    fn logged_in(&mut self, ok: &LoginOk) {
        self.phase = Phase::Online;
        self.session = ok.session;
        let answer = SessionAnswer::from_code(ok.resume);
        for position in core::mem::take(&mut self.named) {
            match ok.reload.iter().find(|reload| reload.conversation == position.conversation) {
                Some(reload) => {
                    self.inbox.reset(&position.conversation, reload.epoch);
                    self.app.reload();
                }
                None if answer != SessionAnswer::New => self.inbox.continues(&position),
                None => {}
            }
        }
    }

    /// As `Client::take`.
    fn take(
        &mut self,
        me: &DeviceScope,
        conversation: &Conversation,
        seq: u64,
        own: bool,
        store: &Store,
        broken: &mut Broken,
    ) -> Result<bool, ProtocolError> {
        if self.inbox.lacks_epoch(conversation) {
            self.inbox.reset(conversation, 0);
            self.app.reload();
        }
        match self.inbox.item(conversation, seq, (!own).then_some(1)) {
            Verdict::Take if self.inbox.pending_here() > me.receive_max as usize => Err(ProtocolError),
            Verdict::Take => {
                let epoch = self.inbox.positions(1, 1 << 16).first().map_or(0, |position| position.epoch);
                self.app.comes(me, seq, epoch, store, broken);
                Ok(true)
            }
            Verdict::TakeAfterGap { .. } => {
                broken.now("the record of a device is never ahead of its memory");
                Ok(true)
            }
            Verdict::Duplicate => Ok(false),
            Verdict::Gap { .. } => Err(ProtocolError),
            Verdict::Full => {
                broken.now("one conversation fits into an inbox");
                Ok(false)
            }
        }
    }

    /// The application makes one of the entries that it took safe, and acks it.
    pub(super) fn ack(&mut self, which: usize, broken: &mut Broken) {
        let (seq, message, token) = self.app.taken.remove(which);
        if self.inbox.is_current(&token) {
            let before = self.app.safe.insert(seq, message);
            broken.unless(before.is_none_or(|before| before == message), "a seq is one entry for ever");
        }
        self.inbox.ack(token);
    }

    /// Whether a timer of the outbox is armed.
    pub(super) fn may_time_out(&self) -> bool {
        self.phase == Phase::Online && self.outbox.due().is_some()
    }

    /// The timer is due.
    pub(super) fn time_out(&mut self, broken: &mut Broken) {
        let Some(at) = self.outbox.due() else { return };
        while let Some(id) = self.outbox.expire(at) {
            self.app.outcome(id, Outcome::Unknown, broken);
        }
        self.outbox.rebase(NOW, at.saturating_since(NOW));
    }

    /// The longest run of the log that this device has safe. What it sent itself is safe.
    pub(super) fn covered(&self, me: &DeviceScope, store: &Store) -> u64 {
        let of_epoch = self.app.epoch == store.epoch;
        let has = |seq: u64, record: &super::store::Record| {
            record.device == me.index || of_epoch && self.app.safe.get(&seq) == Some(&record.message)
        };
        store.log.iter().zip(1..).take_while(|(record, seq)| has(*seq, record)).count() as u64
    }
}

impl App {
    /// A place of the stream is taken for the first time in this run.
    fn comes(&mut self, me: &DeviceScope, seq: u64, epoch: u64, store: &Store, broken: &mut Broken) {
        if epoch != self.epoch {
            // A run without a memory is told nothing of the epoch, so the application compares it.
            self.safe.clear();
            self.epoch = epoch;
        }
        match self.last {
            Some(last) if seq <= last => broken.now("nothing comes twice in one run"),
            Some(last) => broken.unless(seq == last + 1, "entries come in order without a gap"),
            None if epoch == store.epoch => {
                let has = |(record, seq): &(&super::store::Record, u64)| {
                    record.device == me.index || self.safe.get(seq) == Some(&record.message)
                };
                let covered = store.log.iter().zip(1..).take_while(has).count() as u64;
                broken.unless(seq <= covered + 1, "a new run continues where the application has everything safe");
            }
            None => {}
        }
        self.last = Some(seq);
    }

    fn reload(&mut self) {
        self.safe.clear();
        self.last = None;
    }

    fn outcome(&mut self, id: PacketId, outcome: Outcome, broken: &mut Broken) {
        match self.sent.iter_mut().find(|sent| sent.id == id) {
            Some(sent) if sent.outcome.is_none() => sent.outcome = Some(outcome),
            Some(_) | None => broken.now("a message has one outcome"),
        }
    }
}

fn machines(scope: &Scope, run: u64) -> (Outbox, Inbox) {
    let mut seed = fastrand::Rng::with_seed(run);
    (Outbox::new(scope.outbox_bytes, scope.max_tries, BACKOFF, &mut seed), Inbox::new(1))
}
