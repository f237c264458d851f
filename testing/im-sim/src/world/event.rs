//! What happens at a moment.

use im_proto::{AckToken, Command, Conversation, Entry, FeedItem, Message, PacketId, TicketUse};

use super::live::Deed;
use super::server::{Hint, LoginAsked, Op};

#[derive(Debug)]
pub(super) enum Event {
    /// The client dials, if it is still in this life.
    Dial { client: usize, life: u32 },
    /// The application hands something to the client.
    Submit(usize, Said),
    /// The application does something beside messages.
    Live { client: usize, deed: Deed },
    /// The server answers a request, or does not know the method.
    Respond { transport: u64, packet_id: PacketId, content: Option<Vec<u8>> },
    /// Bytes arrive at one end of a transport, or its end does.
    Arrive { transport: u64, to_server: bool },
    /// One end of a transport hears that it is gone.
    Gone { transport: u64, at_server: bool },
    /// A writer that waited for the link goes on.
    Writable { transport: u64, to_server: bool },
    /// The application has a delivery safe.
    Ack { client: usize, life: u32, conversation: Conversation, seq: u64, token: AckToken },
    /// The store decides about a message.
    Store(Op),
    /// The server knows what the store did.
    Answer(Op, Outcome),
    /// The store of used tickets answers.
    Ticket { transport: u64, ticket: TicketUse },
    /// Whoever decides about logins answers.
    Login { transport: u64, asked: LoginAsked },
    /// The log answers which conversations a device lacks messages of.
    Unread { transport: u64, heads: Vec<(Conversation, u64)>, complete: bool },
    /// The log answers with entries.
    Fetched { transport: u64, conversation: Conversation, epoch: u64, after: u64, items: Vec<FeedItem> },
    /// A hint of another server arrives.
    Hint { server: usize, hint: Hint },
    /// A server asks the log about every device again.
    Poll { server: usize },
    /// Something goes wrong.
    Trouble(Trouble),
    /// Somebody's timer.
    Timer,
}

impl Event {
    /// The world does not rest before it.
    pub(super) const fn is_to_come(&self) -> bool {
        matches!(self, Self::Submit(..) | Self::Trouble(_) | Self::Live { .. })
    }
}

/// What goes wrong once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    ServerCrash,
    ClientCrash,
    HalfOpen,
    Partition,
    ClockJump,
    ReplaceLog,
    /// A device goes away.
    Leave(usize),
}

/// What the store did with a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Stored {
        seq: u64,
        duplicate: bool,
    },
    /// The packet id was used for something else.
    Conflict,
    /// Nobody may write there.
    Forbidden,
    /// It may be sent again.
    NotStored,
    /// Stored or not: the store does not say.
    Unanswered,
}

/// What an application says.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Message(Message),
    Command(Command),
}

impl Said {
    pub(super) fn entry(&self) -> (Conversation, Entry) {
        match self {
            Self::Message(Message { to, content_type, content }) => {
                (to.clone(), Entry::Message { content_type: *content_type, content: content.clone() })
            }
            Self::Command(Command { to, about, change }) => {
                (to.clone(), Entry::Command { about: *about, change: change.clone() })
            }
        }
    }
}
