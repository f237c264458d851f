//! What a run did, and why one failed.

use std::fmt;

use crate::fault::Faults;

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
    /// Messages that were answered as stored.
    pub stored: usize,
    /// Commands that were.
    pub commands: usize,
    /// Messages that were refused.
    pub refused: usize,
    /// Messages whose outcome nobody knows.
    pub unknown: usize,
    /// Deliveries without the content that was recalled before.
    pub recalled: usize,
    /// Deliveries that clients told their applications of.
    pub delivered: usize,
    /// Requests that were answered, or refused.
    pub answered: usize,
    /// Requests whose time was over, or whose connection was.
    pub unanswered: usize,
    /// Streams that came back whole.
    pub streamed: usize,
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
    /// Virtual time at rest, in milliseconds; of several runs the longest.
    pub ended_ms: u64,
    /// What went wrong on the way.
    pub faults: Faults,
}

impl Report {
    /// Adds what another run did.
    pub fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.commands += other.commands;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.recalled += other.recalled;
        self.delivered += other.delivered;
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self.streamed += other.streamed;
        self.connections += other.connections;
        self.duplicates += other.duplicates;
        self.retries += other.retries;
        self.resumed += other.resumed;
        self.reused += other.reused;
        self.recovered += other.recovered;
        self.replaced += other.replaced;
        self.steps += other.steps;
        self.ended_ms = self.ended_ms.max(other.ended_ms);
        self.faults.add(&other.faults);
    }
}
