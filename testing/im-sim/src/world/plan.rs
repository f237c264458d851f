//! What a run does, what it did, and why it failed.

use std::fmt;

use crate::link::Profile;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The links.
    pub profile: Profile,
    /// Who takes part: user and device. Devices of one user have conversations in common.
    pub clients: Vec<(String, String)>,
    /// Messages that each client sends, to users at random.
    pub messages: usize,
    /// Of so many percent of its messages a client recalls, edits or reacts to one when it is stored.
    pub commands_percent: u64,
    /// They are handed to the client within so many virtual milliseconds.
    pub spread_ms: u64,
    /// The server crashes so often, at random moments within the spread; what was not durable is gone.
    pub crashes: usize,
    /// The server gives tickets and continues sessions. Clients come back with them, some with one that was used before; some are
    /// sent back to a full login; and half of the crashes lose the ticket keys.
    pub tickets: bool,
    /// The server notices that a client's transport is gone only after up to so many milliseconds, so that a device often
    /// comes back while its older connection stands.
    pub linger_ms: u64,
    /// Deliveries that a client takes unacked.
    pub receive_max: u32,
    /// Steps after which a run counts as a livelock.
    pub max_steps: u64,
}

impl Plan {
    /// Two users and three devices over links that lose nothing.
    pub fn lossless() -> Self {
        let clients = [("alice", "phone"), ("alice", "desk"), ("bob", "phone")];
        Self {
            profile: Profile::lossless(),
            clients: clients.map(|(user, device)| (user.into(), device.into())).to_vec(),
            messages: 12,
            commands_percent: 0,
            spread_ms: 5_000,
            crashes: 0,
            tickets: false,
            linger_ms: 0,
            receive_max: 4,
            max_steps: 200_000,
        }
    }

    /// The same over links that lose every fifth chunk together with the connection.
    pub fn lossy() -> Self {
        Self { profile: Profile::lossy(), ..Self::lossless() }
    }

    /// The same, and the server crashes three times.
    pub fn crashing() -> Self {
        Self { crashes: 3, ..Self::lossy() }
    }

    /// The same with tickets, sessions that go on, and connections that outlive their transport.
    pub fn resuming() -> Self {
        Self { tickets: true, linger_ms: 3_000, ..Self::crashing() }
    }

    /// The same, and clients recall, edit and react.
    pub fn commanding() -> Self {
        Self { commands_percent: 60, ..Self::crashing() }
    }

    /// Messages sent in a run.
    pub fn messages_in_all(&self) -> usize {
        self.clients.len() * self.messages
    }
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// What a run that succeeded did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages in the log.
    pub stored: usize,
    /// Commands in the log.
    pub commands: usize,
    /// Deliveries without the content that was recalled before.
    pub recalled: usize,
    /// Deliveries that clients told their applications of.
    pub delivered: usize,
    /// Transports begun.
    pub connections: u64,
    /// Deliveries dropped because they were had before.
    pub duplicates: u64,
    /// Messages transmitted more than once on one connection.
    pub retries: u64,
    /// Logins with a ticket.
    pub resumed: u64,
    /// Tickets that were shown after their use.
    pub reused: u64,
    /// Sessions that went on where the device stood.
    pub recovered: u64,
    /// Connections that had to go because their device came back.
    pub replaced: u64,
    /// Events handled.
    pub steps: u64,
    /// Virtual time at rest, in milliseconds.
    pub ended_ms: u64,
}
