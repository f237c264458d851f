//! Transports: two pipes, two ends, and what each end hears of the other.

use std::time::Duration;

use im_proto::{Framing, Instant, Limits, State, frame_len};

use super::event::Event;
use super::{Node, Outcome, World};
use crate::fault::Fault;
use crate::link::Pipe;

/// A transport between a client and a server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// Whether each end still holds it.
    pub(super) client_end: bool,
    pub(super) server_end: bool,
    /// An end took bytes that nobody wrote.
    pub(super) damaged: bool,
}

impl Link {
    pub(super) fn new(client: usize, server: usize) -> Self {
        let (up, down) = (Pipe::default(), Pipe::default());
        Self { client, server, up, down, client_end: true, server_end: true, damaged: false }
    }

    pub(super) fn pipe(&mut self, to_server: bool) -> &mut Pipe {
        if to_server { &mut self.up } else { &mut self.down }
    }
}

/// What an end is about to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Nothing,
    Genuine,
    /// Not what was written, from this offset on: it must end the connection.
    Tampered(usize),
}

/// What the front of an inbox is, before it is opened in place.
pub(super) fn front(pipe: &Pipe, damages: bool) -> Taken {
    if pipe.inbox.is_empty() {
        return Taken::Nothing;
    }
    if !damages {
        return Taken::Genuine;
    }
    match frame_len(&pipe.inbox, &Limits::default()) {
        Ok(Framing::Need(_)) => Taken::Nothing,
        Ok(Framing::Complete(n)) => pipe.differs(n).map_or(Taken::Genuine, Taken::Tampered),
        Err(_) => Taken::Tampered(0),
    }
}

/// After bytes that nobody wrote: a sealed connection is over, whatever they said.
pub(super) fn check_tampered(before: State, after: State) -> Outcome {
    let sealed = matches!(before, State::LoggingIn | State::Online);
    if sealed && !matches!(after, State::Closing | State::Closed | State::Offline) {
        return Err(format!("bytes that nobody wrote were taken: {before}, then {after}"));
    }
    Ok(())
}

impl World {
    /// Hands written bytes to the link.
    pub(super) fn write(&mut self, transport: u64, to_server: bool, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&transport) else { return };
        let faults = &mut self.report.faults;
        let look = link.pipe(to_server).carry(self.now, bytes, &self.plan.profile, &mut self.rng, faults);
        for at in look {
            self.schedule(at, Event::Arrive { transport, to_server });
        }
    }

    /// Whether a writer may write now; otherwise it is woken when it may.
    pub(super) fn may_write(&mut self, transport: u64, to_server: bool) -> bool {
        let now = self.now;
        let Some(link) = self.links.get_mut(&transport) else { return true };
        let pipe = link.pipe(to_server);
        let Some(until) = pipe.busy(now) else { return true };
        if !std::mem::replace(&mut pipe.waits, true) {
            self.report.faults.count(Fault::SlowLink);
            self.schedule(until, Event::Writable { transport, to_server });
        }
        false
    }

    pub(super) fn writable(&mut self, transport: u64, to_server: bool) {
        let Some(link) = self.links.get_mut(&transport) else { return };
        link.pipe(to_server).waits = false;
        let client = link.client;
        self.touch(if to_server { Node::Client(client) } else { Node::Session(transport) });
    }

    /// One end lets go of the transport; the other one hears of it behind what was written.
    pub(super) fn let_go(&mut self, transport: u64, client_end: bool) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&transport) else { return };
        if client_end {
            link.client_end = false;
        } else {
            link.server_end = false;
        }
        let end = link.pipe(client_end).end(now);
        if !link.client_end && !link.server_end {
            self.links.remove(&transport);
        } else if let Some(at) = end {
            self.schedule(at, Event::Arrive { transport, to_server: client_end });
        }
    }

    pub(super) fn arrive(&mut self, transport: u64, to_server: bool) -> Outcome {
        let now = self.now;
        let Some(link) = self.links.get(&transport) else { return Ok(()) };
        if let Some(until) = self.blocked(link.client, link.server, to_server) {
            self.schedule(until, Event::Arrive { transport, to_server });
            return Ok(());
        }
        let Some(link) = self.links.get_mut(&transport) else { return Ok(()) };
        let (client, reading) = (link.client, if to_server { link.server_end } else { link.client_end });
        let ended = link.pipe(to_server).arrive(now);
        if !reading {
            return Ok(());
        }
        self.touch(if to_server { Node::Session(transport) } else { Node::Client(client) });
        if ended {
            // The reader gets what came before the end.
            self.pump()?;
            let Some(link) = self.links.get_mut(&transport) else { return Ok(()) };
            link.pipe(!to_server).cut();
            let linger = if to_server { 200 } else { self.plan.linger_ms };
            let delay = if linger > 0 { self.rng.u64(0..=linger) } else { 0 };
            self.gone(transport, to_server);
            self.at(delay, Event::Gone { transport, at_server: !to_server });
        }
        Ok(())
    }

    /// An end hears that the transport is gone.
    pub(super) fn gone(&mut self, transport: u64, at_server: bool) {
        let Some(link) = self.links.get(&transport) else { return };
        let client = link.client;
        if at_server {
            if let Some(session) = self.sessions.get_mut(&transport) {
                session.connection.handle_eof(self.servers[session.server].clock.at(self.now));
                self.touch(Node::Session(transport));
            }
        } else if self.clients[client].transport == Some(transport) {
            let client_clock = self.clients[client].clock.at(self.now);
            self.clients[client].connection.handle_eof(client_clock);
            self.touch(Node::Client(client));
        }
    }

    /// Whether the client still holds the transport of a session, and the two can hear each other.
    pub(super) fn is_alive(&self, transport: u64) -> bool {
        self.links.get(&transport).is_some_and(|link| link.client_end)
    }

    /// Until when nothing passes between these two.
    pub(super) fn blocked(&self, client: usize, server: usize, to_server: bool) -> Option<Instant> {
        let between = self.partitions.iter().filter(|partition| partition.stops(client, server, to_server));
        between.map(|partition| partition.until).max().filter(|until| *until > self.now)
    }

    /// Partitions that are over.
    pub(super) fn forget_partitions(&mut self) {
        let now = self.now;
        self.partitions.retain(|partition| partition.until + Duration::from_secs(1) > now);
    }
}
