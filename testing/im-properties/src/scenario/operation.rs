//! The operations and their bytes.

/// What is left of an input. What is missing is zero.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }

    fn side(&mut self) -> Side {
        if self.flag() { Side::Client } else { Side::Server }
    }
}

/// What the store does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreSays {
    /// Stored, or there already.
    Stored,
    /// Stored, and the answer is lost.
    StoredSilently,
    /// Not stored, and there is no answer.
    Nothing,
    /// Not stored; the same may come again.
    NotNow,
    /// Not stored, for good.
    Never,
}

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Send {
        to: u8,
        len: u8,
    },
    Command {
        to: u8,
        what: u8,
    },
    Read {
        to: u8,
        up_to: u8,
    },
    Signal {
        what: u8,
    },
    /// The application makes one of the entries that it holds safe, and acks it.
    Ack {
        which: u8,
    },
    /// Up to so many packets, each of at most so many bytes; 255 is no limit.
    Transmit {
        side: Side,
        packets: u8,
        max: u8,
    },
    /// So many bytes arrive; 255 is all.
    Arrive {
        at: Side,
        bytes: u8,
    },
    /// So many events are polled.
    Poll {
        side: Side,
        events: u8,
    },
    /// The server's application answers a login.
    Login {
        how: u8,
    },
    Ticket {
        fresh: bool,
    },
    IssueTicket,
    Store {
        which: u8,
        says: StoreSays,
    },
    /// The log answers the connection's question.
    LogAnswers,
    Bob {
        to: u8,
    },
    NotifyAll,
    /// The server tells of others.
    Tell {
        what: u8,
    },
    Eof {
        side: Side,
    },
    Connect,
    Crash {
        side: Side,
        keys_too: bool,
    },
    /// Time goes on by this, to the next timer, or back.
    Time {
        how: u8,
    },
    Corrupt {
        to: Side,
        at: u8,
        bits: u8,
    },
    Close {
        side: Side,
    },
    /// Steps without a fault.
    Calm {
        steps: u8,
    },
}

pub(super) const SEND: u8 = 0;
pub(super) const CLIENT_TRANSMITS: u8 = 5;
pub(super) const TO_SERVER: u8 = 7;
pub(super) const BOB: u8 = 15;
pub(super) const CALM: u8 = 26;
pub(super) const CODES: u8 = 27;

impl Operation {
    /// The next operation of an input, or `None` at its end.
    pub(super) fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        if bytes.0.is_empty() {
            return None;
        }
        let says =
            [StoreSays::Stored, StoreSays::StoredSilently, StoreSays::Nothing, StoreSays::NotNow, StoreSays::Never];
        Some(match bytes.next() % CODES {
            SEND => Self::Send { to: bytes.next(), len: bytes.next() },
            1 => Self::Command { to: bytes.next(), what: bytes.next() },
            2 => Self::Read { to: bytes.next(), up_to: bytes.next() },
            3 => Self::Signal { what: bytes.next() },
            4 => Self::Ack { which: bytes.next() },
            CLIENT_TRANSMITS => Self::Transmit { side: Side::Client, packets: bytes.next(), max: 255 },
            6 => Self::Transmit { side: Side::Server, packets: bytes.next(), max: 255 },
            TO_SERVER => Self::Arrive { at: Side::Server, bytes: bytes.next() },
            8 => Self::Arrive { at: Side::Client, bytes: bytes.next() },
            9 => Self::Poll { side: Side::Client, events: bytes.next() },
            10 => Self::Poll { side: Side::Server, events: bytes.next() },
            11 => Self::Login { how: bytes.next() },
            12 => Self::Ticket { fresh: bytes.flag() },
            13 => Self::Store { which: bytes.next(), says: says[usize::from(bytes.next()) % says.len()] },
            14 => Self::LogAnswers,
            BOB => Self::Bob { to: bytes.next() },
            16 => Self::Tell { what: bytes.next() },
            17 => Self::Eof { side: bytes.side() },
            18 => Self::Connect,
            19 => Self::Crash { side: Side::Client, keys_too: false },
            20 => Self::Crash { side: Side::Server, keys_too: bytes.flag() },
            21 => Self::Time { how: bytes.next() },
            22 => {
                let to = bytes.side();
                Self::Corrupt { to, at: bytes.next(), bits: bytes.next() }
            }
            23 => Self::Close { side: bytes.side() },
            24 => {
                let side = bytes.side();
                Self::Transmit { side, packets: bytes.next(), max: bytes.next() }
            }
            25 => {
                if bytes.flag() {
                    Self::IssueTicket
                } else {
                    Self::NotifyAll
                }
            }
            _ => Self::Calm { steps: bytes.next() },
        })
    }
}
