//! The task that drives one connection over any number of transports.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use getrandom::SysRng;
use im_proto::{
    AckToken, ClientEvent, CloseCode, Closed, ClosedBy, ConfigError, Connection, Entropy, PacketId, RefusalCode,
    SendError,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{Call, Outgoing, SendFailure, Sent, Submission};
use crate::clock::Clock;
use crate::events::{Event, EventSender, RoomMessage};
use crate::options::Options;
use crate::transport::{Output, Transport, TransportError, Turn};

/// What the handles say.
pub(crate) struct Inputs {
    pub(crate) submissions: mpsc::Receiver<Submission>,
    pub(crate) acks: mpsc::UnboundedReceiver<AckToken>,
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) closing: watch::Receiver<bool>,
}

pub(crate) struct Driver {
    options: Options,
    connection: Connection<im_proto::Client>,
    clock: Clock,
    inputs: Inputs,
    events: EventSender,
    /// Who waits for the outcome of which message.
    waiting: BTreeMap<PacketId, oneshot::Sender<Result<Sent, SendFailure>>>,
    /// A message that the full outbox gave back. While it waits no other is taken.
    blocked: Option<Submission>,
    /// The end was asked for.
    closing: bool,
    /// Calls since the last login.
    attempt: u32,
}

/// What a handle said.
enum Command {
    Submit(Submission),
    Ack(AckToken),
    Call(Call),
    Close,
}

/// What woke the driver.
enum Woken {
    Transport(Result<Turn, TransportError>),
    Command(Command),
    Timer,
}

/// Sealed bytes that may wait for the transport. With more the connection keeps its packets unsealed.
const OUTPUT_TARGET: usize = 64 * 1024;

impl Inputs {
    /// The next word of a handle. May be cancelled without loss.
    async fn next(&mut self, submissions: bool) -> Command {
        tokio::select! {
            Some(token) = self.acks.recv() => Command::Ack(token),
            Some(call) = self.calls.recv() => Command::Call(call),
            Some(submission) = self.submissions.recv(), if submissions => Command::Submit(submission),
            // An error means that the last handle is gone, which ends the client too.
            _ = self.closing.wait_for(|closing| *closing) => Command::Close,
        }
    }
}

impl Driver {
    pub(crate) fn new(options: Options, inputs: Inputs, events: EventSender) -> Result<Self, ConfigError> {
        let clock = Clock::start();
        // Packet ids of two runs must differ. Without a random source no handshake will work anyway.
        let seed = getrandom::u64().unwrap_or_default();
        let connection = Connection::client(options.config.clone(), seed)?;
        let waiting = BTreeMap::new();
        Ok(Self { options, connection, clock, inputs, events, waiting, blocked: None, closing: false, attempt: 0 })
    }

    pub(crate) async fn run(mut self) {
        while let Some(delay) = self.attempt().await {
            if self.offline(tokio::time::sleep(delay)).await.is_none() {
                break;
            }
        }
        tracing::debug!("the client ended");
    }

    /// One connection from the dial to its end. How long to wait before the next; `None` for the end.
    async fn attempt(&mut self) -> Option<Duration> {
        self.attempt = self.attempt.saturating_add(1);
        let url = self.options.url.clone();
        tracing::debug!(%url, attempt = self.attempt, "connecting");
        self.events.push(Event::Connecting { attempt: self.attempt, url: url.clone() });

        let dial_timeout = self.options.dial_timeout;
        let max_body = self.options.config.max_body;
        let tls = self.options.tls.clone();
        let dial = tokio::time::timeout(dial_timeout, Transport::dial(&url, &tls, max_body));
        let error = match self.offline(dial).await? {
            Ok(Ok(transport)) => match self.connect() {
                Ok(()) => return self.session(transport).await,
                // The settings or the random source are wrong; calling again does not help.
                Err(error) => {
                    self.events.push(Event::DialFailed { error, retry_in: None });
                    return None;
                }
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", dial_timeout.as_secs_f32()),
        };
        tracing::debug!(%url, error, "cannot connect");
        let retry_in = self.options.reconnect.then(|| self.connection.reconnect_delay());
        self.events.push(Event::DialFailed { error, retry_in });
        retry_in
    }

    fn connect(&mut self) -> Result<(), String> {
        let entropy = Entropy::from_rng(&mut SysRng).map_err(|error| error.to_string())?;
        self.connection.connect(entropy, self.clock.now()).map_err(|error| error.to_string())
    }

    /// Serves the handles while a future runs. `None` when the end was asked for first.
    async fn offline<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return Some(output),
                command = self.inputs.next(self.blocked.is_none()) => self.command(command),
            }
            if self.closing {
                return None;
            }
        }
    }

    /// A transport is there: runs the connection to its end.
    async fn session(&mut self, mut transport: Transport) -> Option<Duration> {
        let (mut input, mut output) = (Vec::new(), Output::default());
        let closed = loop {
            let now = self.clock.now();
            if let Some(closed) = self.feed(&mut input) {
                break closed;
            }
            self.unblock();
            let max = self.connection.max_transmit();
            while output.len() < OUTPUT_TARGET {
                if self.connection.poll_transmit(now, output.buffer(), max).is_none() {
                    break;
                }
            }
            // A close packet that was just sealed ends the connection.
            if let Some(closed) = self.take_events() {
                break closed;
            }

            let timeout = self.connection.poll_timeout().map(|(at, _)| at);
            let woken = tokio::select! {
                turn = transport.turn(&mut input, &mut output) => Woken::Transport(turn),
                command = self.inputs.next(self.blocked.is_none()), if !self.closing => Woken::Command(command),
                () = self.clock.sleep_until(timeout) => Woken::Timer,
            };
            match woken {
                Woken::Transport(Ok(Turn::Moved)) => {}
                Woken::Transport(Ok(Turn::Eof)) => self.connection.handle_eof(self.clock.now()),
                Woken::Transport(Err(TransportError::NotOnePacket(reason))) => {
                    self.connection.close(self.clock.now(), CloseCode::PROTOCOL, reason);
                }
                Woken::Transport(Err(error)) => {
                    tracing::debug!(%error, "the transport failed");
                    self.connection.handle_eof(self.clock.now());
                }
                Woken::Command(command) => self.command(command),
                Woken::Timer => self.connection.handle_timeout(self.clock.now()),
            }
        };
        tracing::debug!(%closed, "disconnected");
        let again = self.options.reconnect && !self.closing && closed.may_reconnect();
        let retry_in = again.then(|| match closed.code {
            // Nothing is wrong: only new keys are needed.
            CloseCode::KEY_LIMIT if closed.authenticated => Duration::ZERO,
            _ => self.connection.reconnect_delay(),
        });
        let by = closed.by;
        self.events.push(Event::Disconnected { closed, retry_in });
        if by == ClosedBy::Local {
            let farewell = transport.finish(output);
            if retry_in.is_some() {
                self.offline(farewell).await?;
            } else {
                farewell.await;
            }
        }
        retry_in
    }

    /// Feeds everything that came in.
    fn feed(&mut self, input: &mut Vec<u8>) -> Option<Closed> {
        let now = self.clock.now();
        let mut fed = 0;
        let closed = loop {
            if let Some(closed) = self.take_events() {
                break Some(closed);
            }
            let rest = input.get_mut(fed..).unwrap_or_default();
            if rest.is_empty() {
                break None;
            }
            match self.connection.handle_input(now, rest) {
                0 => break None,
                taken => fed += taken,
            }
        };
        input.drain(..fed.min(input.len()));
        closed
    }

    /// Passes the connection's events on. The end of the connection, if it came.
    fn take_events(&mut self) -> Option<Closed> {
        while let Some(event) = self.connection.poll_event() {
            match event {
                ClientEvent::Negotiated(negotiated) => self.events.push(Event::Negotiated(negotiated)),
                ClientEvent::LoggedIn { user, server_time_ms, .. } => {
                    self.attempt = 0;
                    self.events.push(Event::LoggedIn { user, server_time_ms });
                }
                ClientEvent::Stored { packet_id, conversation, message_id, seq, time_ms } => {
                    self.resolve(packet_id, Ok(Sent { packet_id, conversation, message_id, seq, time_ms }));
                }
                ClientEvent::Refused { packet_id, code, reason } => {
                    self.resolve(packet_id, Err(SendFailure::Refused { code, reason }));
                }
                ClientEvent::Unknown { packet_id } => self.resolve(packet_id, Err(SendFailure::Unknown)),
                ClientEvent::Message(delivery) => self.events.push(Event::Message(delivery)),
                ClientEvent::Gap { conversation, had, next } => {
                    self.events.push(Event::Gap { conversation, had, next });
                }
                ClientEvent::Reload { conversation, reason, epoch } => {
                    self.events.push(Event::Reload { conversation, reason, epoch });
                }
                // Options pin the server's key, so nobody has to look at it.
                ClientEvent::ServerKeySeen(_) => {
                    self.connection.close(self.clock.now(), CloseCode::HANDSHAKE_FAILED, "no server key is pinned");
                }
                // The connection keeps it and comes back with it; this client stores nothing.
                ClientEvent::Ticket { .. } => {}
                ClientEvent::Closed(closed) => return Some(closed),
                ClientEvent::Request { packet_id, .. } => {
                    let reason = "this client answers no requests";
                    // A request whose time is over needs no answer.
                    let _ = self.connection.refuse_request(packet_id, RefusalCode::UNKNOWN_METHOD, reason, None);
                }
                ClientEvent::ReadBy { conversation, user, epoch, up_to } => {
                    self.events.push(Event::ReadBy { conversation, user, epoch, up_to });
                }
                ClientEvent::DeliveredTo { conversation, user, epoch, up_to } => {
                    self.events.push(Event::DeliveredTo { conversation, user, epoch, up_to });
                }
                ClientEvent::Signal(signal) => self.events.push(Event::Signal(signal)),
                ClientEvent::SignalRefused { packet_id, code, reason, retry_after } => {
                    self.events.push(Event::SignalRefused { packet_id, code, reason, retry_after });
                }
                ClientEvent::CallAnswered { packet_id, call, result } => {
                    self.events.push(Event::CallAnswered { packet_id, call, result });
                }
                ClientEvent::RoomJoined { room, .. } => self.events.push(Event::RoomJoined { room }),
                ClientEvent::RoomRefused { room, code, reason, retry_after, .. } => {
                    self.events.push(Event::RoomRefused { room, code, reason, retry_after });
                }
                ClientEvent::RoomLeft { room, exit, reason } => {
                    self.events.push(Event::RoomLeft { room, exit, reason });
                }
                ClientEvent::RoomMessage { room, from, message_id, time_ms, content_type, content, dropped } => {
                    let message = RoomMessage { room, from, message_id, time_ms, content_type, content, dropped };
                    self.events.push(Event::RoomMessage(message));
                }
                // This client asks nothing, and has no events for streams yet.
                ClientEvent::StreamOpened { .. }
                | ClientEvent::StreamDelta { .. }
                | ClientEvent::StreamBroken { .. }
                | ClientEvent::StreamEnded { .. }
                | ClientEvent::StreamRefused { .. }
                | ClientEvent::Response { .. }
                | ClientEvent::RequestFailed { .. } => {}
                other => tracing::warn!(?other, "an event that this client does not know"),
            }
        }
        None
    }

    fn resolve(&mut self, packet_id: PacketId, outcome: Result<Sent, SendFailure>) {
        if let Some(waiter) = self.waiting.remove(&packet_id) {
            // Who does not wait any more need not be told.
            let _ = waiter.send(outcome);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.submit(submission),
            Command::Ack(token) => self.connection.ack(token),
            Command::Call(call) => call(&mut self.connection),
            Command::Close => {
                // What was acked before goes out before the close packet.
                while let Ok(token) = self.inputs.acks.try_recv() {
                    self.connection.ack(token);
                }
                self.closing = true;
                self.connection.close(self.clock.now(), CloseCode::NORMAL, "done");
            }
        }
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { message, outcome } = submission;
        let (connection, now) = (&mut self.connection, self.clock.now());
        let taken = match message {
            Outgoing::Message(message) => {
                connection.send(now, message).map_err(|error| failed(error, Outgoing::Message))
            }
            Outgoing::Command(command) => {
                connection.command(now, command).map_err(|error| failed(error, Outgoing::Command))
            }
            Outgoing::Sealed(message) => {
                connection.send_sealed(now, message).map_err(|error| failed(error, Outgoing::Sealed))
            }
        };
        match taken {
            Ok(packet_id) => {
                self.waiting.insert(packet_id, outcome);
            }
            Err(NotQueued::Blocked(message)) => self.blocked = Some(Submission { message, outcome }),
            // Who does not wait any more need not be told.
            Err(NotQueued::Failed(failure)) => drop(outcome.send(Err(failure))),
        }
    }

    /// An answer may have made room.
    fn unblock(&mut self) {
        if let Some(submission) = self.blocked.take() {
            self.submit(submission);
        }
    }
}

/// Why the outbox did not take something.
enum NotQueued {
    /// It is full, and gives it back.
    Blocked(Outgoing),
    Failed(SendFailure),
}

fn failed<M: std::fmt::Debug>(error: SendError<M>, back: fn(M) -> Outgoing) -> NotQueued {
    match error {
        SendError::Blocked(message) => NotQueued::Blocked(back(message)),
        SendError::TooLarge { max, .. } => NotQueued::Failed(SendFailure::TooLarge { max }),
        SendError::InvalidTarget(_) => NotQueued::Failed(SendFailure::InvalidTarget),
        SendError::InvalidCommand(_) => NotQueued::Failed(SendFailure::InvalidCommand),
        other => {
            let reason = other.to_string();
            NotQueued::Failed(SendFailure::Refused { code: RefusalCode::INVALID, reason })
        }
    }
}
