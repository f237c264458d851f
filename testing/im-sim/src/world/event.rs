//! What happens at a moment.

use im_proto::{AckToken, Command, Conversation, Entry, Message, TicketUse};

use crate::log::Submitted;

#[derive(Debug)]
pub(super) enum Event {
    /// The client dials.
    Dial(usize),
    /// The application hands something to the client.
    Submit(usize, Said),
    /// Bytes arrive at one end of a transport, and perhaps its end.
    Arrive {
        transport: u64,
        to_server: bool,
        bytes: Vec<u8>,
        last: bool,
    },
    /// The application is done with a delivery.
    Ack(usize, AckToken),
    /// A message becomes durable.
    Durable {
        transport: u64,
        message: Submitted,
    },
    /// The server knows that it is durable.
    Answer {
        transport: u64,
        message: Submitted,
        result: Result<(u64, bool), u64>,
    },
    Crash,
    /// The store of used tickets answers.
    Ticket {
        transport: u64,
        ticket: TicketUse,
    },
    /// The server notices the end of a transport.
    Gone {
        transport: u64,
    },
    /// Somebody's timer; everybody looks.
    Timer,
}

/// What an application says.
#[derive(Debug)]
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
