//! The client, the server, the bytes between them, and each operation.

mod answers;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use im_proto::{
    Arrival, Client, ClientConfig, ClientEvent, CloseCode, Closed, Command, Connection, Conversation, Entry, Fault,
    Instant, LogFacts, Message, PacketId, PeerSignal, PresenceState, RUSTCRYPTO, RefusalCode, ResumeRequest,
    SavedTicket, SendError, Server, ServerConfig, ServerEvent, Signal, SignalError, State, Submission, TicketKeys,
    TicketStore, TicketUse, UsedTickets,
};
use im_sim::{configs, entropy};

use super::judge::{Application, Outcome};
use super::log::{Log, OTHERS, Submitted, conversation, index};
use super::operation::{Operation, Side, StoreSays};

const RECEIVE_MAX: u32 = 3;
/// One of the longest texts, and not two.
const RECEIVE_BYTES: u32 = 300;
const SEND_MAX: u32 = 4;
const OUTBOX: usize = 2_000;
/// Handshakes cost the most.
const MAX_CONNECTIONS: u64 = 10;
/// The wall clock at the start, seconds since 1970.
const WALL: u64 = 1_800_000_000;
/// More rounds than anything without faults needs.
const MAX_ROUNDS: usize = 2_000;

#[derive(Debug)]
enum Asked {
    Unread { limit: usize },
    Fetch { conversation: Conversation, after: Option<u64>, max: usize },
}

pub(super) struct World {
    now: Instant,
    template: ClientConfig,
    config: Arc<ServerConfig>,
    client: Connection<Client>,
    server: Option<Connection<Server>>,
    /// Written and not arrived; arrived and not read.
    up: (Vec<u8>, Vec<u8>),
    down: (Vec<u8>, Vec<u8>),
    /// Bytes were changed on this connection.
    corrupted: bool,
    connections: u64,
    secrets: u64,
    keys: Arc<TicketKeys>,
    used: UsedTickets,
    saved: Option<SavedTicket>,
    log: Log,
    application: Application,
    ticket: Option<TicketUse>,
    login: Option<Option<ResumeRequest>>,
    /// Submitted to the store.
    waiting: VecDeque<(PacketId, Submitted)>,
    asked: Option<Asked>,
}

impl World {
    pub(super) fn new() -> Self {
        let (mut template, mut config) = configs();
        // Scenarios are about what comes after; ML-KEM would be half of their time.
        template.handshakes.retain(|id| !id.is_post_quantum());
        config.handshakes.retain(|id| !id.is_post_quantum());
        (template.receive_max, template.outbox_bytes, template.max_tries) = (RECEIVE_MAX, OUTBOX, 3);
        template.receive_bytes = RECEIVE_BYTES;
        config.send_max = SEND_MAX;
        Self {
            now: Instant::from_micros(1_000_000_000),
            client: Connection::client(template.clone(), 1).expect("a valid configuration"),
            template,
            config: Arc::new(config),
            server: None,
            up: Default::default(),
            down: Default::default(),
            corrupted: false,
            connections: 0,
            secrets: 0,
            keys: Arc::new(TicketKeys::new(&RUSTCRYPTO, entropy(0)).expect("valid keys")),
            used: UsedTickets::new(64),
            saved: None,
            log: Log::default(),
            application: Application::default(),
            ticket: None,
            login: None,
            waiting: VecDeque::new(),
            asked: None,
        }
    }

    fn secret(&mut self) -> im_proto::Entropy {
        self.secrets += 1;
        entropy(self.secrets)
    }

    fn unix_secs(&self) -> u64 {
        WALL + self.now.as_micros() / 1_000_000
    }

    pub(super) fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Send { to, len } => {
                let text = format!("{}{}", self.application.sent.len(), "x".repeat(len.into()));
                self.say(Message::text(OTHERS[usize::from(to) % 2], &text));
            }
            Operation::Command { to, what } => self.command(&conversation(to.into()), what),
            Operation::Read { to, up_to } => {
                self.client.read(&conversation(to.into()), 0, up_to.into()).expect("a conversation with positions");
            }
            Operation::Signal { what } => self.signal(what),
            Operation::Ack { which } => {
                if !self.application.held.is_empty() {
                    let token = self.application.keep(usize::from(which) % self.application.held.len());
                    self.client.ack(token);
                    self.read_arrived();
                }
            }
            Operation::Transmit { side, packets, max } => {
                let max = if max == 255 { usize::MAX } else { usize::from(max) * 4 };
                self.transmit(side, packets.into(), max);
            }
            Operation::Arrive { at, bytes } => {
                self.arrive(at, if bytes == 255 { usize::MAX } else { bytes.into() });
            }
            Operation::Poll { side, events } => {
                self.poll(side, events.into());
            }
            Operation::Login { how } => self.answer_login(how),
            Operation::Ticket { fresh } => self.answer_ticket(fresh),
            Operation::IssueTicket => {
                let (secret, unix_secs) = (self.secret(), self.unix_secs());
                if let Some(server) = &mut self.server {
                    let _ = server.issue_ticket(&self.keys, unix_secs, 3600, secret);
                }
            }
            Operation::Store { which, says } => self.store(which.into(), says),
            Operation::LogAnswers => self.log_answers(),
            Operation::Bob { to } => {
                let head = self.log.other(usize::from(to) % 2);
                if let Some(server) = &mut self.server {
                    server.notify(&conversation(to.into()), head);
                }
            }
            Operation::NotifyAll => {
                if let Some(server) = &mut self.server {
                    server.notify_all();
                }
            }
            Operation::Tell { what } => self.tell(what),
            Operation::Eof { side: Side::Client } => self.client.handle_eof(self.now),
            Operation::Eof { side: Side::Server } => {
                if let Some(server) = &mut self.server {
                    server.handle_eof(self.now);
                }
            }
            Operation::Connect => {
                if self.connections < MAX_CONNECTIONS {
                    self.connect();
                }
            }
            Operation::Crash { side: Side::Client, .. } => self.client_crash(),
            Operation::Crash { side: Side::Server, keys_too } => {
                self.server_gone();
                if keys_too {
                    let secret = self.secret();
                    self.keys = Arc::new(TicketKeys::new(&RUSTCRYPTO, secret).expect("valid keys"));
                }
            }
            Operation::Time { how } => self.time(how),
            Operation::Corrupt { to, at, bits } => {
                let wire = if to == Side::Server { &mut self.up.0 } else { &mut self.down.0 };
                if !wire.is_empty() && bits != 0 {
                    let at = usize::from(at) % wire.len();
                    wire[at] ^= bits;
                    self.corrupted = true;
                }
            }
            Operation::Close { side: Side::Client } => self.client.close(self.now, CloseCode::NORMAL, "bye"),
            Operation::Close { side: Side::Server } => {
                if let Some(server) = &mut self.server {
                    server.close(self.now, CloseCode::GOING_AWAY, "restart");
                }
            }
            Operation::Calm { steps } => {
                for _ in 0..steps % 12 {
                    if !self.corrupted && !self.calm() {
                        break;
                    }
                }
            }
        }
    }

    /// What holds after every operation.
    pub(super) fn check(&self) {
        let (unanswered, buffered) = (self.client.unanswered(), self.client.buffered());
        assert!(unanswered <= self.application.open(), "the outbox holds what has its outcome");
        assert!(buffered <= OUTBOX || unanswered == 1, "{buffered} bytes are over the bound of the outbox");
        assert!(self.application.held.len() <= 2 * RECEIVE_MAX as usize, "more deliveries than the window allows");
        // A bundle is taken as a whole, so the last one may go over.
        let most = SEND_MAX as usize + 63;
        assert!(self.waiting.len() <= most, "more messages at the store than were allowed");
        if let Some(server) = &self.server {
            assert!(
                server.unacked() <= 2 * u64::from(RECEIVE_MAX),
                "more unacked than the window and what was inherited"
            );
        }
    }

    fn say(&mut self, message: Message) {
        let copy = message.clone();
        match self.client.send(self.now, message) {
            Ok(id) => {
                let Message { to, content_type, content } = copy;
                self.sent(id, Submitted { to, entry: Entry::Message { content_type, content } });
            }
            Err(SendError::Blocked(back)) => {
                assert_eq!(back, copy);
                assert!(self.client.unanswered() > 0, "one message always fits");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn sent(&mut self, id: PacketId, submitted: Submitted) {
        let before = self.application.sent.insert(id, (submitted, None));
        assert!(before.is_none(), "{id} was given twice");
    }

    fn command(&mut self, to: &Conversation, what: u8) {
        let about = u64::from(what / 4).max(1);
        let command = match what % 3 {
            0 => Command::recall(to.clone(), about),
            1 => Command::edit(to.clone(), about, "better"),
            _ => Command::react(to.clone(), about, "👍"),
        };
        let Command { to, about, change } = command.clone();
        match self.client.command(self.now, command) {
            Ok(id) => self.sent(id, Submitted { to, entry: Entry::Command { about, change } }),
            Err(SendError::Blocked(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn signal(&mut self, what: u8) {
        let signal = match what % 3 {
            0 => Signal::Typing { conversation: conversation(what.into()), on: what > 100 },
            1 => Signal::Presence(PresenceState(u32::from(what) % 4)),
            _ => Signal::Watch { user: OTHERS[usize::from(what) % 2].into(), on: what > 100 },
        };
        match self.client.signal(signal) {
            Ok(id) => assert!(!self.application.sent.contains_key(&id), "{id} is a message's"),
            Err(SignalError::Offline) => assert_ne!(self.client.state(), State::Online),
            Err(error) => panic!("{error}"),
        }
    }

    fn transmit(&mut self, side: Side, packets: usize, max: usize) -> bool {
        let mut any = false;
        for _ in 0..packets {
            let wire = if side == Side::Client { &mut self.up.0 } else { &mut self.down.0 };
            let before = wire.len();
            let sent = match (side, &mut self.server) {
                (Side::Client, _) => self.client.poll_transmit(self.now, wire, max),
                (Side::Server, Some(server)) => server.poll_transmit(self.now, wire, max),
                (Side::Server, None) => break,
            };
            let Some(sent) = sent else {
                assert_eq!(wire.len(), before, "bytes that nobody was told of");
                break;
            };
            assert!(sent.len <= max && wire.len() == before + sent.len, "more bytes than allowed or told");
            any = true;
        }
        any
    }

    fn arrive(&mut self, at: Side, bytes: usize) -> bool {
        let (wire, buffer) = if at == Side::Server { &mut self.up } else { &mut self.down };
        let bytes = bytes.min(wire.len());
        buffer.extend(wire.drain(..bytes));
        self.read_arrived() || bytes > 0
    }

    /// Both sides take what they can of what arrived.
    fn read_arrived(&mut self) -> bool {
        let before = self.up.1.len() + self.down.1.len();
        loop {
            let taken = self.client.handle_input(self.now, &mut self.down.1);
            self.down.1.drain(..taken);
            let (buffer, server) = (&mut self.up.1, &mut self.server);
            let read = server.as_mut().map_or(buffer.len(), |server| server.handle_input(self.now, buffer));
            buffer.drain(..read);
            if taken + read == 0 {
                return before > self.up.1.len() + self.down.1.len();
            }
        }
    }

    fn poll(&mut self, side: Side, events: usize) -> bool {
        let mut any = false;
        for _ in 0..events {
            match side {
                Side::Client => {
                    let Some(event) = self.client.poll_event() else { break };
                    self.client_event(event);
                }
                Side::Server => {
                    let Some(event) = self.server.as_mut().and_then(Connection::poll_event) else { break };
                    self.server_event(event);
                }
            }
            any = true;
        }
        self.read_arrived() || any
    }

    /// No honest side is in error.
    fn closed(&self, closed: &Closed) {
        let violated = closed.error.is_some_and(|error| error.fault() == Fault::PeerViolated);
        assert!(self.corrupted || !violated, "an honest peer was found in error: {closed}");
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else may happen here")]
    fn client_event(&mut self, event: ClientEvent) {
        let Self { application, log, .. } = self;
        match event {
            ClientEvent::Stored { packet_id, conversation, seq, .. } => {
                application.stored(log, packet_id, index(&conversation), seq);
            }
            ClientEvent::Refused { packet_id, .. } => application.outcome(packet_id, Outcome::Refused),
            ClientEvent::Unknown { packet_id } => application.outcome(packet_id, Outcome::Unknown),
            ClientEvent::Message(delivery) => application.delivered(log, delivery),
            ClientEvent::ReadBy { conversation, user, up_to, .. } => {
                application.told(log, true, index(&conversation), user, up_to);
            }
            ClientEvent::DeliveredTo { conversation, user, up_to, .. } => {
                application.told(log, false, index(&conversation), user, up_to);
            }
            ClientEvent::Ticket { saved, .. } => self.saved = Some(saved),
            ClientEvent::Closed(closed) => self.closed(&closed),
            ClientEvent::Negotiated(_) | ClientEvent::LoggedIn { .. } => {}
            ClientEvent::Signal(_) | ClientEvent::SignalRefused { .. } => {}
            other => panic!("nothing here leads to {other:?}"),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what the scenario does not do is an error")]
    fn server_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Negotiated(_) => {}
            ServerEvent::Ticket(ticket) => self.ticket = Some(ticket),
            ServerEvent::Login(login) => {
                assert_eq!((login.user.as_str(), login.device.as_str()), ("alice", "phone"));
                self.login = Some(login.resume);
            }
            ServerEvent::Resumed(login) => {
                assert_eq!((login.user.as_str(), login.device.as_str()), ("alice", "phone"));
                self.login = Some(login.resume);
            }
            ServerEvent::Message(Submission { packet_id, to, content_type, content }) => {
                let submitted = Submitted { to, entry: Entry::Message { content_type, content } };
                self.submitted(packet_id, submitted);
            }
            ServerEvent::Command { packet_id, command: Command { to, about, change } } => {
                self.submitted(packet_id, Submitted { to, entry: Entry::Command { about, change } });
            }
            ServerEvent::Unread { limit } => self.asked = Some(Asked::Unread { limit }),
            ServerEvent::Fetch { conversation, after, max_messages, .. } => {
                self.asked = Some(Asked::Fetch { conversation, after, max: max_messages });
            }
            ServerEvent::Delivered { conversation, up_to, .. } => {
                let at = index(&conversation);
                let covered = self.application.covered(&self.log, at);
                assert!(up_to <= covered, "{up_to} was acked, and the application has only {covered} safe");
                self.log.acked[at] = self.log.acked[at].max(up_to);
            }
            ServerEvent::Signal { packet_id, .. } => {
                if packet_id.0 % 2 == 0
                    && let Some(server) = &mut self.server
                {
                    let _ = server.signal_refused(packet_id, RefusalCode::FORBIDDEN, "not here", None);
                }
            }
            ServerEvent::Read { conversation, up_to, .. } => {
                let at = index(&conversation);
                self.log.read[at] = self.log.read[at].max(up_to.min(self.log.head(at)));
                if let Some(server) = &mut self.server {
                    server.read_by(&conversation, "alice", 0, self.log.read[at]);
                }
            }
            ServerEvent::Closed(closed) => {
                self.closed(&closed);
                self.server_gone();
            }
            other => panic!("nothing here leads to {other:?}"),
        }
    }

    /// What the server is given is what the client sent.
    fn submitted(&mut self, id: PacketId, message: Submitted) {
        let sent = self.application.sent.get(&id);
        assert_eq!(sent.map(|(sent, _)| sent), Some(&message), "{id} is another message than was sent");
        self.waiting.push_back((id, message));
    }
}
