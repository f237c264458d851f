//! The handle of a running client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use im_proto::{
    AckToken, Command, ConfigError, Connection, Conversation, Message, PacketId, ReadError, RefusalCode, RoomError,
    SealedMessage, Signal, SignalError,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::driver::{Driver, Inputs};
use crate::events::Events;
use crate::options::Options;

/// A message is durable at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// This client's id of the message.
    pub packet_id: PacketId,
    /// The conversation, as this user names it.
    pub conversation: Conversation,
    /// The server's id.
    pub message_id: u64,
    /// Its place in the conversation.
    pub seq: u64,
    /// When it was stored, in Unix milliseconds.
    pub time_ms: u64,
}

/// Why a message has no place in its conversation, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The server refused it for good; it is not stored.
    #[error("refused: {code}: {reason}")]
    Refused {
        /// Why.
        code: RefusalCode,
        /// For people.
        reason: String,
    },
    /// The content is over this client's limit; it was not sent.
    #[error("the content is over the limit of {max} bytes: send it as a file")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// A command about no entry, or whose reaction is not valid; it was not sent.
    #[error("the command is about no entry, or its reaction is not 1 to 64 bytes without control characters")]
    InvalidCommand,
    /// The target is not a valid name; it was not sent.
    #[error("the target is not a valid name: 1 to 128 bytes without control characters")]
    InvalidTarget,
    /// No try is left, and at least one had no answer: it may be stored or not.
    #[error("no answer came: the message may be stored or not")]
    Unknown,
    /// The client ended before an answer: it may be stored or not.
    #[error("the client ended before an answer: the message may be stored or not; the last event says why it ended")]
    Ended,
}

/// Why the client did not take something that is not kept for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken<E> {
    /// The client ended.
    #[error("the client ended; the last event says why")]
    Ended,
    /// It does not fit now.
    #[error(transparent)]
    Refused(#[from] E),
}

/// A message that the client took; resolves to its outcome. Dropping it does not take the message back.
#[derive(Debug)]
#[must_use = "the outcome of a message is known only to who waits for it"]
pub struct Pending {
    outcome: oneshot::Receiver<Result<Sent, SendFailure>>,
}

impl Future for Pending {
    type Output = Result<Sent, SendFailure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        Poll::Ready(outcome.unwrap_or(Err(SendFailure::Ended)))
    }
}

/// A running client: a cheap handle of a background task that keeps one session over any number of connections.
///
/// Messages queue also while offline, and every one has exactly one outcome. When the last clone is dropped the client
/// ends as with [`close`](Self::close).
///
/// ```no_run
/// use im_client::{Client, Credentials, Event, Message, Options};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let key = "5f6c…the 64 hex digits that the server prints…".parse()?;
/// let alice = Credentials { user: "alice".into(), device: "phone".into(), token: String::new() };
/// let (client, mut events) = Client::start(Options::new("tcp://127.0.0.1:6001".parse()?, key, alice))?;
///
/// let sent = client.send(Message::text("bob", "hello")).await?;
/// println!("stored as number {} of the conversation", sent.seq);
///
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Message(delivery) => {
///             println!("{}: {} bytes", delivery.from, delivery.entry.content().len());
///             client.ack(delivery.token).await; // only when the message is safe
///         }
///         Event::Disconnected { closed, retry_in: None } => println!("over: {closed}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    submissions: mpsc::Sender<Submission>,
    /// Bounded by `receive_max`: there is one token for each delivery that is not acked.
    acks: mpsc::UnboundedSender<AckToken>,
    calls: mpsc::Sender<Call>,
    closing: watch::Sender<bool>,
}

/// Something for the connection that is done or refused at once.
pub(crate) type Call = Box<dyn FnOnce(&mut Connection<im_proto::Client>) + Send>;

/// What goes into the log.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message(Message),
    Command(Command),
    Sealed(SealedMessage),
}

/// A message on its way to the driver.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) message: Outgoing,
    pub(crate) outcome: oneshot::Sender<Result<Sent, SendFailure>>,
}

/// Messages between the handles and the outbox; the rest waits in [`Client::submit`].
const SUBMISSIONS: usize = 64;
/// Calls between the handles and the connection; the rest waits in the methods.
const CALLS: usize = 64;

impl Client {
    /// Starts the background task on the current tokio runtime.
    ///
    /// # Errors
    /// When the settings cannot work together.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
    pub fn start(options: Options) -> Result<(Self, Events), ConfigError> {
        let (submissions, submissions_in) = mpsc::channel(SUBMISSIONS);
        let (acks, acks_in) = mpsc::unbounded_channel();
        let (calls, calls_in) = mpsc::channel(CALLS);
        let (closing, closing_in) = watch::channel(false);
        let (sender, events) = crate::events::channel();
        let inputs = Inputs { submissions: submissions_in, acks: acks_in, calls: calls_in, closing: closing_in };
        let driver = Driver::new(options, inputs, sender)?;
        tokio::spawn(driver.run());
        Ok((Self { inner: Arc::new(Inner { submissions, acks, calls, closing }) }, events))
    }

    /// Sends a message and waits for its outcome, over as many connections as it takes. Waits also while the outbox is
    /// full. If the future is dropped the message may be sent nevertheless.
    ///
    /// # Errors
    /// [`SendFailure`] says whether the message may be stored.
    pub async fn send(&self, message: Message) -> Result<Sent, SendFailure> {
        self.submit(message).await?.await
    }

    /// Hands a message over, and gives its outcome as a future of its own: messages that were submitted one after the
    /// other are sent in this order without waiting for answers. Waits while the outbox is full.
    ///
    /// # Errors
    /// [`SendFailure::Ended`] when the client ended; the message was not sent.
    pub async fn submit(&self, message: Message) -> Result<Pending, SendFailure> {
        self.hand_over(Outgoing::Message(message)).await
    }

    /// Recalls, edits or reacts, as [`send`](Self::send): queued, sent again, in line with the messages.
    ///
    /// ```no_run
    /// use im_client::{Client, Command, Conversation};
    ///
    /// # async fn run(client: &Client) -> Result<(), im_client::SendFailure> {
    /// let sent = client.send(im_client::Message::text("bob", "helo")).await?;
    /// client.command(Command::edit(Conversation::private("bob"), sent.seq, "hello")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn command(&self, command: Command) -> Result<Sent, SendFailure> {
        self.hand_over(Outgoing::Command(command)).await?.await
    }

    /// Sends a message that is encrypted for devices one by one, as [`send`](Self::send).
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn send_sealed(&self, message: SealedMessage) -> Result<Sent, SendFailure> {
        self.hand_over(Outgoing::Sealed(message)).await?.await
    }

    /// The user read a conversation up to and including `up_to`, in the log with this epoch; both are in a delivery. Said also
    /// while offline, until the server knows it, which [`Event::ReadBy`](crate::Event::ReadBy) with the user's own id tells.
    ///
    /// # Errors
    /// [`ReadError`] as of the connection.
    pub async fn read(&self, conversation: &Conversation, epoch: u64, up_to: u64) -> Result<(), NotTaken<ReadError>> {
        let conversation = conversation.clone();
        self.call(move |connection| connection.read(&conversation, epoch, up_to)).await
    }

    /// Says something that is not stored and not sent again: typing, the own presence, whom to watch, or a signal of a call.
    /// What others say comes as [`Event::Signal`](crate::Event::Signal).
    ///
    /// ```no_run
    /// use im_client::{Client, Conversation, NotTaken, Signal, SignalError};
    ///
    /// # async fn run(client: &Client) -> Result<(), NotTaken<SignalError>> {
    /// client.signal(Signal::Watch { user: "bob".into(), on: true }).await?;
    /// client.signal(Signal::Typing { conversation: Conversation::private("bob"), on: true }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SignalError`] as of the connection.
    pub async fn signal(&self, signal: Signal) -> Result<PacketId, NotTaken<SignalError>> {
        self.call(move |connection| connection.signal(signal)).await
    }

    /// Asks to come into a room, until the connection ends. To say something there, send a message to it.
    ///
    /// # Errors
    /// [`RoomError`] as of the connection.
    pub async fn join_room(&self, room: &Conversation) -> Result<PacketId, NotTaken<RoomError>> {
        let room = room.clone();
        self.call(move |connection| connection.join_room(&room)).await
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// [`RoomError`] as of the connection.
    pub async fn leave_room(&self, room: &Conversation) -> Result<PacketId, NotTaken<RoomError>> {
        let room = room.clone();
        self.call(move |connection| connection.leave_room(&room)).await
    }

    async fn call<T: Send + 'static, E: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Connection<im_proto::Client>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, NotTaken<E>> {
        let (answer, answered) = oneshot::channel();
        // Who does not wait any more need not be told.
        let call: Call = Box::new(move |connection| drop(answer.send(call(connection))));
        self.inner.calls.send(call).await.map_err(|_| NotTaken::Ended)?;
        answered.await.map_err(|_| NotTaken::Ended)?.map_err(NotTaken::Refused)
    }

    async fn hand_over(&self, message: Outgoing) -> Result<Pending, SendFailure> {
        let (outcome, pending) = oneshot::channel();
        let submission = Submission { message, outcome };
        self.inner.submissions.send(submission).await.map_err(|_| SendFailure::Ended)?;
        Ok(Pending { outcome: pending })
    }

    /// The application has the message safe: the server need not deliver it to this device again. Returns when the client
    /// took it; the ack goes out with the next packets, before anything that a later [`close`](Self::close) says.
    pub async fn ack(&self, token: AckToken) {
        // After the end nobody can be told, and the server delivers the message again.
        let _ = self.inner.acks.send(token);
    }

    /// Ends the client and waits until it has: acks go out, the server is told, and the task ends. Messages without an
    /// outcome get [`SendFailure::Ended`], so wait for outcomes first.
    pub async fn close(&self) {
        self.inner.closing.send_replace(true);
        self.inner.submissions.closed().await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("ended", &self.inner.submissions.is_closed()).finish_non_exhaustive()
    }
}
