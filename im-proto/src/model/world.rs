//! Devices, their connections, the store, and every step that any of them can take.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use im_serial::Body;
use im_serial::body::Conversation;

use super::Packet;
use super::device::{Device, Phase};
use super::server::Server;
use super::store::Store;

/// Whose device each is.
pub(super) const USERS: [&str; 3] = ["alice", "bob", "alice"];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct DeviceScope {
    /// Which device; its user is that of [`USERS`].
    pub(super) index: usize,
    /// How many messages its application sends.
    pub(super) sends: usize,
    pub(super) receive_max: u32,
}

impl DeviceScope {
    /// The conversation as this device names it.
    pub(super) fn conversation(&self) -> Conversation {
        Conversation::private(if USERS[self.index] == "alice" { "bob" } else { "alice" })
    }
}

/// How often each fault may happen in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) cuts: u8,
    pub(super) client_crashes: u8,
    pub(super) server_crashes: u8,
    pub(super) duplicates: u8,
    pub(super) reorders: u8,
    pub(super) store: u8,
    pub(super) epochs: u8,
    /// Answers that come too late for the timer of the outbox. Those that never come run into it without this budget, at rest.
    pub(super) timeouts: u8,
}

/// What is explored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scope {
    pub(super) devices: Vec<DeviceScope>,
    pub(super) faults: Faults,
    /// Packets on their way in one direction.
    pub(super) on_the_way: usize,
    pub(super) send_max: u32,
    pub(super) max_tries: u32,
    pub(super) outbox_bytes: usize,
    pub(super) slow: Slow,
}

/// What may take time, so that other steps come between. What is not slow happens in the step that leads to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Slow {
    /// From a question to the log's answer.
    pub(super) log: bool,
    /// From a message in the log to its answer and the notice to others.
    pub(super) store: bool,
    /// From the server's transmission to the client.
    pub(super) down: bool,
    /// The application acks in any order.
    pub(super) acks: bool,
}

/// What the store does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StoreSays {
    Stored,
    StoredWithoutAnswer,
    NotNow,
    Nothing,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Up,
    Down,
}

/// A step. The number is the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Send(usize),
    Connect(usize),
    ClientTransmits(usize),
    ServerReceives(usize, StoreSays),
    /// The login is judged by what the log said before its last entry.
    ServerReceivesLate(usize),
    /// A stored message is answered, and the other devices are told of it.
    Commit(usize),
    /// With what the log saw when it was asked, or what it sees now.
    LogAnswers(usize, Seen),
    ServerTransmits(usize),
    ClientReceives(usize),
    Ack(usize, usize),
    Timeout(usize),
    Cut(usize),
    ClientNotices(usize),
    ServerNotices(usize),
    /// The server handles a packet of a connection that the client left.
    OldReceives(usize),
    OldNotices(usize),
    ClientCrash(usize),
    ServerCrash,
    NewEpoch,
    Duplicate(usize, Way),
    Reorder(usize, Way),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seen {
    Then,
    Now,
}

/// The first property that did not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Broken(pub(super) Option<&'static str>);

impl Broken {
    pub(super) fn now(&mut self, property: &'static str) {
        self.0.get_or_insert(property);
    }

    pub(super) fn unless(&mut self, holds: bool, property: &'static str) {
        if !holds {
            self.now(property);
        }
    }
}

/// A device and its connection.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Line {
    pub(super) device: Device,
    pub(super) up: VecDeque<Packet>,
    pub(super) down: VecDeque<Packet>,
    pub(super) server: Option<Server>,
    /// Nothing gets onto the way any more.
    pub(super) cut: bool,
    /// A packet came twice or out of order, so that the client may find the server in error.
    tampered: bool,
    /// What the server has not noticed the end of.
    pub(super) old: Option<(Server, VecDeque<Packet>)>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct World {
    pub(super) left: Faults,
    /// Shared with the states before and after, where a step does not touch it.
    pub(super) lines: Vec<Arc<Line>>,
    pub(super) store: Arc<Store>,
    pub(super) broken: Broken,
}

impl Line {
    fn new(scope: &Scope) -> Self {
        let (up, down) = (VecDeque::new(), VecDeque::new());
        Self { device: Device::new(scope), up, down, server: None, cut: false, tampered: false, old: None }
    }

    /// The client has no transport any more; the server may not know it.
    fn client_leaves(&mut self) {
        self.cut = true;
        self.down.clear();
        self.tidy();
    }

    /// Ends that nobody could tell from later ones.
    fn tidy(&mut self) {
        if self.cut && self.up.is_empty() {
            self.server = None;
        }
        if self.cut && self.down.is_empty() && self.device.phase != Phase::Offline {
            self.device.disconnected();
        }
        if self.old.as_ref().is_some_and(|(_, up)| up.is_empty()) {
            self.old = None;
        }
    }
}

impl World {
    pub(super) fn new(scope: &Scope) -> Self {
        let lines = scope.devices.iter().map(|_| Arc::new(Line::new(scope))).collect();
        let store = Arc::new(Store::new(scope.devices.len()));
        Self { left: scope.faults, lines, store, broken: Broken::default() }
    }

    /// Takes a step.
    pub(super) fn take(&mut self, scope: &Scope, action: Action) {
        let Self { left, lines, store, broken } = self;
        match action {
            Action::Send(d) => {
                let before: usize = scope.devices[..d].iter().map(|device| device.sends).sum();
                let line = Arc::make_mut(&mut lines[d]);
                let message = u8::try_from(before + line.device.app.sent.len()).unwrap_or(u8::MAX);
                line.device.send(&scope.devices[d].conversation(), message);
            }
            Action::Connect(d) => {
                let line = Arc::make_mut(&mut lines[d]);
                line.old = line.server.take().map(|server| (server, core::mem::take(&mut line.up)));
                (line.server, line.cut, line.tampered) = (Some(Server::new()), false, false);
                line.up.clear();
                line.down.clear();
                line.device.connect();
                // Nothing can come before it, and nothing changes what it says.
                self.take_output(scope, d);
            }
            Action::ClientTransmits(d) => {
                self.take_output(scope, d);
            }
            Action::ServerReceives(d, says) => {
                left.store -= u8::from(says != StoreSays::Stored);
                let line = Arc::make_mut(&mut lines[d]);
                if let (Some(server), Some(packet)) = (&mut line.server, line.up.pop_front()) {
                    let store = Arc::make_mut(store);
                    if let Body::Login(login) = packet.body {
                        server.log_in(&scope.devices[d], store, login, false, 1);
                    } else {
                        server.receive(&scope.devices[d], store, packet, says, broken);
                    }
                }
            }
            Action::ServerReceivesLate(d) => {
                let line = Arc::make_mut(&mut lines[d]);
                if let (Some(server), Some(Packet { body: Body::Login(login), .. })) =
                    (&mut line.server, line.up.pop_front())
                {
                    server.log_in(&scope.devices[d], Arc::make_mut(store), login, true, 1);
                }
            }
            Action::Commit(d) => {
                if let Some(server) = &mut Arc::make_mut(&mut lines[d]).server {
                    server.answer(&scope.devices[d]);
                }
                self.tell(scope);
            }
            Action::LogAnswers(d, seen) => {
                if let Some(server) = &mut Arc::make_mut(&mut lines[d]).server
                    && let Some(then) = server.asked()
                {
                    let seen = if seen == Seen::Then { then } else { store.snapshot(d) };
                    server.log_answers(&scope.devices[d], store, seen, broken);
                }
            }
            Action::ServerTransmits(d) => {
                let line = Arc::make_mut(&mut lines[d]);
                if let Some(packet) = line.server.as_mut().and_then(Server::transmit) {
                    line.down.push_back(packet);
                }
                if !scope.slow.down {
                    self.take_input(scope, d);
                }
            }
            Action::ClientReceives(d) => self.take_input(scope, d),
            Action::Ack(d, which) => Arc::make_mut(&mut lines[d]).device.ack(which, broken),
            Action::Timeout(d) => {
                left.timeouts = left.timeouts.saturating_sub(1);
                Arc::make_mut(&mut lines[d]).device.time_out(broken);
            }
            Action::Cut(d) => {
                left.cuts -= 1;
                Arc::make_mut(&mut lines[d]).cut = true;
            }
            Action::ClientNotices(d) => {
                let line = Arc::make_mut(&mut lines[d]);
                line.device.disconnected();
                line.client_leaves();
            }
            Action::ServerNotices(d) => {
                let line = Arc::make_mut(&mut lines[d]);
                line.server = None;
                line.up.clear();
            }
            Action::OldReceives(d) => {
                let line = Arc::make_mut(&mut lines[d]);
                if let Some((server, up)) = &mut line.old
                    && let Some(packet) = up.pop_front()
                {
                    // Its login would be answered to nobody.
                    if matches!(packet.body, Body::Login(_)) {
                        line.old = None;
                    } else {
                        server.receive(
                            &scope.devices[d],
                            Arc::make_mut(store),
                            packet,
                            StoreSays::StoredWithoutAnswer,
                            broken,
                        );
                    }
                }
            }
            Action::OldNotices(d) => Arc::make_mut(&mut lines[d]).old = None,
            Action::ClientCrash(d) => {
                left.client_crashes -= 1;
                let line = Arc::make_mut(&mut lines[d]);
                line.device.crash(scope);
                line.client_leaves();
            }
            Action::ServerCrash => {
                left.server_crashes -= 1;
                lines.iter_mut().for_each(end_at_server);
                let store = Arc::make_mut(store);
                store.sessions.fill(0);
                store.noticed = store.head();
            }
            Action::NewEpoch => {
                left.epochs -= 1;
                lines.iter_mut().for_each(end_at_server);
                Arc::make_mut(store).replace();
            }
            Action::Duplicate(d, way) => {
                left.duplicates -= 1;
                let line = Arc::make_mut(&mut lines[d]);
                line.tampered = true;
                let queue = if way == Way::Up { &mut line.up } else { &mut line.down };
                if let Some(packet) = queue.front().cloned() {
                    queue.push_front(packet);
                }
            }
            Action::Reorder(d, way) => {
                left.reorders -= 1;
                let line = Arc::make_mut(&mut lines[d]);
                line.tampered = true;
                let queue = if way == Way::Up { &mut line.up } else { &mut line.down };
                queue.swap(0, 1);
            }
        }
        self.after(scope);
    }

    /// The client transmits.
    fn take_output(&mut self, scope: &Scope, d: usize) {
        let line = Arc::make_mut(&mut self.lines[d]);
        if let Some(packet) = line.device.transmit(&scope.devices[d], scope.send_max) {
            acks_no_more_than_is_safe(&packet, &line.device, &scope.devices[d], &self.store, &mut self.broken);
            line.up.push_back(packet);
        }
    }

    /// The client receives.
    fn take_input(&mut self, scope: &Scope, d: usize) {
        let line = Arc::make_mut(&mut self.lines[d]);
        let Some(packet) = line.down.pop_front() else { return };
        if line.device.receive(&scope.devices[d], &self.store, packet, &mut self.broken).is_err() {
            self.broken.unless(line.tampered, "an honest server is never in error");
            line.device.disconnected();
            line.client_leaves();
        }
    }

    /// The devices that are online are told of the head of the log.
    fn tell(&mut self, scope: &Scope) {
        let head = self.store.head();
        Arc::make_mut(&mut self.store).noticed = head;
        for (me, line) in scope.devices.iter().zip(&mut self.lines) {
            if line.server.as_ref().is_some_and(|server| server.feed.is_some())
                && let Some(feed) = Arc::make_mut(line).server.as_mut().and_then(|server| server.feed.as_mut())
            {
                feed.notify(&me.conversation(), head);
            }
        }
    }

    /// What follows from the state: ends, and questions to the log. Then the bounds.
    fn after(&mut self, scope: &Scope) {
        if !scope.slow.store {
            for (me, line) in scope.devices.iter().zip(&mut self.lines) {
                if let Some(Line { server: Some(server), .. }) = Arc::get_mut(line) {
                    while server.has_committed() {
                        server.answer(me);
                    }
                }
            }
        }
        // Where a connection ended before its answer, the others are told all the same.
        let answers_wait = |line: &Arc<Line>| line.server.as_ref().is_some_and(Server::has_committed);
        if self.store.noticed < self.store.head() && !self.lines.iter().any(answers_wait) {
            self.tell(scope);
        }
        let Self { lines, store, broken, .. } = self;
        for (me, line) in scope.devices.iter().zip(lines) {
            // A line that is shared with the state before was not touched.
            let Some(line) = Arc::get_mut(line) else { continue };
            line.tidy();
            if let Some(server) = &mut line.server {
                server.poll(me, store);
                if !scope.slow.log {
                    while server.asked().is_some() {
                        server.log_answers(me, store, store.snapshot(me.index), broken);
                        server.poll(me, store);
                    }
                }
                server.check(me, scope.send_max, broken);
            }
            let Device { outbox, inbox, .. } = &line.device;
            broken.unless(outbox.bytes() <= scope.outbox_bytes || outbox.len() == 1, "an outbox keeps its bound");
            broken.unless(inbox.pending() <= 2 * me.receive_max as usize, "an inbox keeps its bound");
        }
    }

    /// At rest: whether every device has everything, and every message its outcome.
    pub(super) fn converged(&self, scope: &Scope) -> Result<(), &'static str> {
        for (me, line) in scope.devices.iter().zip(&self.lines) {
            let Line { device, .. } = &**line;
            if device.phase != Phase::Online {
                return Err("a device is not online");
            }
            if device.outbox.len() > 0 || device.app.sent.iter().any(|sent| sent.outcome.is_none()) {
                return Err("a message has no outcome");
            }
            if me.receive_max == 0 {
                continue;
            }
            if device.covered(me, &self.store) != self.store.head() {
                return Err("a device lacks an entry");
            }
            if device.app.safe.keys().any(|seq| *seq > self.store.head()) || device.inbox.pending() > 0 {
                return Err("a device has what is not in the log");
            }
            if self.store.acked[me.index] != self.store.head() {
                return Err("the server does not know what a device has");
            }
        }
        Ok(())
    }
}

/// The server's end of a connection is gone, and what was on its way to it.
fn end_at_server(line: &mut Arc<Line>) {
    let line = Arc::make_mut(line);
    if line.server.take().is_some() {
        line.cut = true;
    }
    line.up.clear();
    line.old = None;
}

fn acks_no_more_than_is_safe(packet: &Packet, device: &Device, me: &DeviceScope, store: &Store, broken: &mut Broken) {
    let acks = if let Body::Delivered(ack) = &packet.body {
        Some((ack.up_to, ack.epoch))
    } else if let Body::Login(login) = &packet.body {
        login.positions.first().map(|position| (position.acked, position.epoch))
    } else {
        None
    };
    if let Some((up_to, epoch)) = acks
        && epoch == store.epoch
    {
        broken.unless(up_to <= device.covered(me, store), "nothing is acked that the application has not safe");
    }
}
