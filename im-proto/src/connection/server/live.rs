//! What a connection has for live traffic and receipts, of which one that is idle needs nothing.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;

use im_serial::body::Conversation;

use super::Server;
use crate::config::ServerConfig;
use crate::receipts::{Positions, Receipts};
use crate::requests::Requests;
use crate::rooms::Rooms;
use crate::signals::Dropping;
use crate::streams::{Incomings, Outgoings};

/// Made with the first use, and given back by a rest that finds it empty.
#[derive(Debug)]
pub(crate) struct Live {
    pub(super) receipts: Receipts,
    pub(super) signals: Dropping,
    pub(super) rooms: Rooms,
    pub(super) streams_in: Incomings,
    pub(super) streams_out: Outgoings,
    pub(super) requests: Requests,
    /// Users whose presence this device wants to be told of.
    pub(super) watched: BTreeSet<String>,
    /// Signals that may still be refused, and whom they watch.
    pub(super) refusable: VecDeque<(u64, Option<String>)>,
    /// What the client said that it read.
    pub(super) reads: Positions<Conversation>,
}

impl Live {
    fn new(config: &ServerConfig) -> Self {
        Self {
            receipts: Receipts::new(config.receipts_max),
            signals: Dropping::new(config.signal_bytes),
            rooms: Rooms::new(config.rooms_max, config.room_bytes),
            streams_in: Incomings::new(config.streams_max),
            streams_out: Outgoings::new(config.streams_max, config.stream_bytes, config.max_content),
            requests: Requests::new(config.requests_max, config.request_bytes),
            watched: BTreeSet::new(),
            refusable: VecDeque::new(),
            reads: Positions::new(config.max_conversations),
        }
    }

    /// What waits for transmission, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.signals.bytes() + self.rooms.bytes() + self.streams_out.bytes() + self.requests.bytes()
    }

    /// Gives back what is not in use. Whether nothing is.
    fn rest(&mut self) -> bool {
        // Who says no to a sign of typing after a heartbeat is too late; a watch stands for as long as it does.
        self.refusable.retain(|(_, watched)| watched.is_some());
        self.refusable.shrink_to_fit();
        self.reads.clear();
        // Each of them, whatever the others say.
        let idle = [
            self.receipts.rest(),
            self.signals.rest(),
            self.rooms.rest(),
            self.streams_in.is_idle(),
            self.streams_out.rest(),
            self.requests.rest(),
        ];
        idle.iter().all(|idle| *idle) && self.watched.is_empty() && self.refusable.is_empty()
    }
}

impl Server {
    pub(super) fn live(&mut self) -> &mut Live {
        let config = &self.config;
        self.live.get_or_insert_with(|| Box::new(Live::new(config)))
    }

    pub(super) fn rest_live(&mut self) {
        if self.live.as_deref_mut().is_some_and(Live::rest) {
            self.live = None;
        }
    }
}
