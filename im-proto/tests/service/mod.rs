//! A small service in memory: devices with a connection each, and the log behind them. Nothing is lost unless a test says so.

use std::sync::Arc;
use std::time::Duration;

use im_proto::*;
use im_sim::{Log, Submitted, configs, credentials, entropy};

/// A device with both ends of its connection.
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) client: Connection<Client>,
    pub(crate) server: Connection<Server>,
    /// Bytes pass, in both directions.
    pub(crate) connected: bool,
    /// Hints at new messages reach the device's connection.
    pub(crate) hinted: bool,
    /// Deliveries: conversation, seq, text.
    pub(crate) got: Vec<(String, u64, String)>,
    /// What else the client told, without the handshake and receipts.
    pub(crate) told: Vec<ClientEvent>,
    up: Vec<u8>,
    down: Vec<u8>,
}

/// Devices and their log.
pub(crate) struct Service {
    pub(crate) now: Instant,
    pub(crate) log: Log,
    pub(crate) devices: Vec<Device>,
    /// The log does not answer what a device lacks; the questions wait.
    pub(crate) log_is_down: bool,
    questions: Vec<(usize, Conversation, Option<u64>, usize)>,
    seed: u64,
}

impl Service {
    pub(crate) fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        Self { now, log: Log::default(), devices: Vec::new(), log_is_down: false, questions: Vec::new(), seed: 1 }
    }

    /// Another device, not connected yet.
    pub(crate) fn device(&mut self, user: &str, name: &str) -> usize {
        self.device_with(user, name, |_| {})
    }

    /// The same with other settings.
    pub(crate) fn device_with(&mut self, user: &str, name: &str, change: impl FnOnce(&mut ClientConfig)) -> usize {
        let (mut client, server) = configs();
        client.credentials = credentials(user, name);
        change(&mut client);
        self.seed += 1;
        self.devices.push(Device {
            user: user.into(),
            name: name.into(),
            client: Connection::client(client, self.seed).expect("a valid configuration"),
            server: Connection::server(Arc::new(server), entropy(self.seed), self.now).expect("a valid configuration"),
            connected: false,
            hinted: true,
            got: Vec::new(),
            told: Vec::new(),
            up: Vec::new(),
            down: Vec::new(),
        });
        self.devices.len() - 1
    }

    /// A new transport for a device; the one before, if any, ends.
    pub(crate) fn connect(&mut self, device: usize) {
        self.cut(device);
        self.seed += 2;
        let (now, seed) = (self.now, self.seed);
        let of = &mut self.devices[device];
        of.server = Connection::server(Arc::new(configs().1), entropy(seed), now).expect("a valid configuration");
        of.client.connect(entropy(seed + 1), now).expect("a client that is offline");
        of.connected = true;
        self.settle();
    }

    /// The transport ends without a word.
    pub(crate) fn cut(&mut self, device: usize) {
        let now = self.now;
        let of = &mut self.devices[device];
        of.connected = false;
        of.up.clear();
        of.down.clear();
        of.client.handle_eof(now);
        of.server.handle_eof(now);
        while of.client.poll_event().is_some() {}
        while of.server.poll_event().is_some() {}
        self.questions.retain(|(asking, ..)| *asking != device);
    }

    /// A device sends a text.
    pub(crate) fn send(&mut self, device: usize, to: &str, text: &str) -> PacketId {
        let id = self.devices[device].client.send(self.now, Message::text(to, text)).expect("room in the outbox");
        self.settle();
        id
    }

    /// What a device got since the last look.
    pub(crate) fn got(&mut self, device: usize) -> Vec<(String, u64, String)> {
        std::mem::take(&mut self.devices[device].got)
    }

    /// Time goes by, with every timer at its moment.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let client = self.devices.iter().filter_map(|device| device.client.poll_timeout());
            let server = self.devices.iter().filter(|device| device.connected);
            let server = server.filter_map(|device| device.server.poll_timeout());
            let next = client.chain(server).map(|(at, _)| at).min().filter(|at| *at <= until);
            self.now = next.unwrap_or(until).max(self.now);
            for device in &mut self.devices {
                device.client.handle_timeout(self.now);
                device.server.handle_timeout(self.now);
            }
            self.settle();
            if next.is_none() {
                return;
            }
        }
    }

    /// The log answers again.
    pub(crate) fn log_is_back(&mut self) {
        self.log_is_down = false;
        for (device, conversation, after, max) in std::mem::take(&mut self.questions) {
            self.fetch(device, &conversation, after, max);
        }
        self.settle();
    }

    /// Until nobody has anything to say.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut busy = false;
            for device in 0..self.devices.len() {
                busy |= self.turn(device);
            }
            if !busy {
                return;
            }
        }
    }

    fn turn(&mut self, device: usize) -> bool {
        let of = &mut self.devices[device];
        if !of.connected {
            return false;
        }
        let now = self.now;
        while of.client.poll_transmit(now, &mut of.up, usize::MAX).is_some() {}
        while of.server.poll_transmit(now, &mut of.down, usize::MAX).is_some() {}
        let mut busy = false;
        let mut events = Vec::new();
        loop {
            let n = of.server.handle_input(now, &mut of.up);
            of.up.drain(..n);
            let before = events.len();
            events.extend(std::iter::from_fn(|| of.server.poll_event()));
            if n == 0 && before == events.len() {
                break;
            }
            busy = true;
        }
        loop {
            let n = of.client.handle_input(now, &mut of.down);
            of.down.drain(..n);
            let mut any = n > 0;
            while let Some(event) = of.client.poll_event() {
                any = true;
                of.take(event);
            }
            if !any {
                break;
            }
            busy = true;
        }
        for event in events {
            self.serve(device, event);
        }
        busy
    }

    fn serve(&mut self, device: usize, event: ServerEvent) {
        let (user, name) = (self.devices[device].user.clone(), self.devices[device].name.clone());
        let of = &mut self.devices[device].server;
        if let ServerEvent::Login(login) = event {
            let positions = login.resume.map_or_else(Vec::new, |resume| resume.positions);
            let facts: Vec<_> = positions.iter().map(|position| self.facts(&user, &name, position)).collect();
            let of = &mut self.devices[device].server;
            let _ = of.resume_login(self.now, &user, 0, &facts).expect("a login to answer");
        } else if let ServerEvent::Unread { limit } = event {
            let (heads, complete) = self.log.unread(&user, &name, limit);
            of.unread(&heads, complete).expect("a question");
        } else if let ServerEvent::Fetch { conversation, after, max_messages, .. } = event {
            if self.log_is_down {
                self.questions.push((device, conversation, after, max_messages));
            } else {
                self.fetch(device, &conversation, after, max_messages);
            }
        } else if let ServerEvent::Delivered { conversation, up_to, .. } = event {
            self.log.advance(&user, &name, &conversation, up_to);
        } else if let ServerEvent::Message(message) = event {
            self.store(device, message);
        }
    }

    fn facts(&self, user: &str, name: &str, position: &Position) -> LogFacts {
        let head = self.log.conversation(user, &position.conversation).len() as u64;
        LogFacts { epoch: 0, oldest: 1, head, acked: self.log.cursor(user, name, &position.conversation) }
    }

    fn fetch(&mut self, device: usize, conversation: &Conversation, after: Option<u64>, max: usize) {
        let of = &mut self.devices[device];
        let after = after.unwrap_or_else(|| self.log.cursor(&of.user, &of.name, conversation));
        let items = self.log.items(&of.user, &of.name, conversation, after, max);
        of.server.fetched(conversation, after, items).expect("a question");
    }

    fn store(&mut self, device: usize, message: Submission) {
        let Submission { packet_id, to, content_type, content } = message;
        let (user, name) = (self.devices[device].user.clone(), self.devices[device].name.clone());
        let submitted = Submitted { packet_id, to: to.clone(), entry: Entry::Message { content_type, content } };
        let (seq, duplicate) = self.log.append(self.now, &user, &name, &submitted).expect("no conflict");
        self.devices[device].server.stored(packet_id, &to, seq, seq, 0, duplicate).expect("a question");
        self.hint(&user, &to, seq);
    }

    /// Tells the connections of both users that there is more.
    pub(crate) fn hint(&mut self, user: &str, to: &Conversation, seq: u64) {
        for device in self.devices.iter_mut().filter(|device| device.hinted) {
            if device.user == to.id {
                device.server.notify(&Conversation::private(user), seq);
            }
            if device.user == user {
                device.server.notify(to, seq);
            }
        }
    }
}

impl Device {
    fn take(&mut self, event: ClientEvent) {
        if let ClientEvent::Message(delivery) = event {
            let text = String::from_utf8(delivery.entry.content().to_vec()).expect("text");
            self.got.push((delivery.conversation.id.into(), delivery.seq, text));
            self.client.ack(delivery.token);
        } else if !matches!(event, ClientEvent::Negotiated(_) | ClientEvent::LoggedIn { .. }) {
            self.told.push(event);
        }
    }
}
