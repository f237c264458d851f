//! What goes wrong once: crashes, partitions, clocks that jump, logs that are replaced, devices that are away.

use std::sync::Arc;
use std::time::Duration;

use im_proto::{CloseCode, Instant, TicketKeys, UsedTickets};

use super::event::{Event, Trouble};
use super::{Node, Outcome, World};
use crate::fault::Fault;
use crate::pair::entropy;
use crate::provider::QUICK;

/// For a time nothing passes between one node and all others.
#[derive(Debug)]
pub(super) struct Partition {
    /// A client, or else a server, by its number.
    client: bool,
    node: usize,
    up: bool,
    down: bool,
    pub(super) until: Instant,
}

impl Partition {
    pub(super) fn stops(&self, client: usize, server: usize, to_server: bool) -> bool {
        self.node == (if self.client { client } else { server }) && if to_server { self.up } else { self.down }
    }
}

pub(super) fn ticket_keys(seed: u64) -> Arc<TicketKeys> {
    Arc::new(TicketKeys::new(&QUICK, entropy(seed)).expect("a valid key"))
}

impl World {
    /// Troubles at random moments.
    pub(super) fn troubles(&mut self) {
        let plan = &self.plan;
        let kinds = [
            (plan.crashes, Trouble::ServerCrash),
            (plan.client_crashes, Trouble::ClientCrash),
            (plan.half_open, Trouble::HalfOpen),
            (plan.partitions, Trouble::Partition),
            (plan.clock_jumps, Trouble::ClockJump),
            (plan.replaced_logs, Trouble::ReplaceLog),
        ];
        for (times, trouble) in kinds {
            for _ in 0..times {
                let delay = self.rng.u64(0..=self.plan.spread_ms);
                self.at(delay, Event::Trouble(trouble));
            }
        }
        for client in 0..self.plan.away.min(self.plan.clients.len()) {
            let delay = self.rng.u64(0..=self.plan.spread_ms);
            self.at(delay, Event::Trouble(Trouble::Leave(client)));
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::ServerCrash => self.server_crash(),
            Trouble::ClientCrash => self.client_crash(),
            Trouble::HalfOpen => self.half_open(),
            Trouble::Partition => self.partition(),
            Trouble::ClockJump => self.clock_jump(),
            Trouble::ReplaceLog => self.replace_log(),
            Trouble::Leave(client) => {
                self.report.faults.count(Fault::Away);
                self.leave(client);
            }
        }
    }

    fn server_crash(&mut self) {
        self.report.faults.count(Fault::ServerCrash);
        let server = self.rng.usize(0..self.servers.len());
        let down = Duration::from_millis(self.rng.u64(0..=self.plan.down_ms));
        let up_again = self.now + down;
        // With several servers the keys are part of a configuration that they share, or of one of their own.
        let lost = self.plan.tickets && self.servers.len() == 1 && self.rng.bool();
        let node = &mut self.servers[server];
        node.life += 1;
        node.up_again = up_again;
        node.online.clear();
        if lost {
            // With the keys the memory of used tickets may go too: none of them opens any more.
            node.ticket_keys = ticket_keys(self.rng.u64(..));
            node.used = 0;
            node.memory = vec![UsedTickets::new(10_000)];
        }
        let of_server = self.sessions.iter().filter(|(_, session)| session.server == server);
        let transports: Vec<u64> = of_server.map(|(id, _)| *id).collect();
        for transport in transports {
            self.sessions.remove(&transport);
            self.let_go(transport, false);
        }
    }

    fn client_crash(&mut self) {
        self.report.faults.count(Fault::ClientCrash);
        let index = self.rng.usize(0..self.plan.clients.len());
        // Half of the time the operating system closes what was open.
        let silent = self.rng.bool();
        let seed = self.rng.u64(..);
        let transport = self.clients[index].transport;
        if let Some(transport) = transport {
            if silent && let Some(link) = self.links.get_mut(&transport) {
                link.up.cut();
            }
            self.let_go(transport, true);
        }
        self.clients[index].crash(seed);
        let (life, delay) = (self.clients[index].life, self.rng.u64(0..=3_000));
        self.at(delay, Event::Dial { client: index, life });
    }

    /// One side loses its transport, or neither hears of it; nothing arrives any more.
    fn half_open(&mut self) {
        let whole = self.links.iter().filter(|(_, link)| link.client_end && link.server_end);
        let transports: Vec<u64> = whole.map(|(id, _)| *id).collect();
        if transports.is_empty() {
            return;
        }
        self.report.faults.count(Fault::HalfOpen);
        let transport = transports[self.rng.usize(0..transports.len())];
        if let Some(link) = self.links.get_mut(&transport) {
            link.up.cut();
            link.down.cut();
        }
        match self.rng.u8(0..3) {
            0 => self.gone(transport, true),
            1 => self.gone(transport, false),
            _ => {}
        }
    }

    fn partition(&mut self) {
        self.report.faults.count(Fault::Partition);
        let client = self.rng.bool();
        let node = self.rng.usize(0..if client { self.plan.clients.len() } else { self.servers.len() });
        let (up, down) = [(true, true), (true, false), (false, true)][self.rng.usize(0..3)];
        let until = self.now + Duration::from_millis(self.rng.u64(self.plan.partition_ms.clone()));
        self.forget_partitions();
        self.partitions.push(Partition { client, node, up, down, until });
    }

    fn clock_jump(&mut self) {
        let by = i64::try_from(self.rng.u64(1..=self.plan.clock_jump_secs.max(1))).unwrap_or(i64::MAX);
        let back = self.rng.bool();
        self.report.faults.count(if back { Fault::ClockBack } else { Fault::ClockForward });
        let (by_us, at_server) = (by * 1_000_000 * if back { -1 } else { 1 }, self.rng.bool());
        if at_server {
            let server = self.rng.usize(0..self.servers.len());
            self.servers[server].clock.offset_us += by_us;
        } else {
            let client = self.rng.usize(0..self.clients.len());
            self.clients[client].clock.offset_us += by_us;
        }
        if back {
            // A clock that goes back makes its owner wait for as long.
            let by = Duration::from_secs(by.unsigned_abs());
            (self.limit, self.back) = (self.limit + by, self.back + by);
        }
    }

    /// Another log stands in the place of one; whoever reads it is closed, comes back and is told.
    fn replace_log(&mut self) {
        if self.log.is_empty() {
            return;
        }
        let (n, keep) = (self.rng.usize(0..self.log.len()), self.rng.usize(1..=4));
        let Some((a, b)) = self.log.replace(n, keep) else { return };
        self.report.faults.count(Fault::LogReplaced);
        for (transport, session) in &mut self.sessions {
            if session.login.as_ref().is_some_and(|(user, _)| *user == a || *user == b) {
                let now = self.servers[session.server].clock.at(self.now);
                session.connection.close(now, CloseCode::RESYNC, "the log was replaced");
                self.touched.push_back(Node::Session(*transport));
            }
        }
    }

    /// A device goes away, and does not come back by itself.
    pub(super) fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.away = true;
        client.connection.close(client.clock.at(self.now), CloseCode::NORMAL, "away");
        self.touch(Node::Client(index));
    }

    /// Everybody goes, days go by, and nobody is online.
    pub(super) fn night(&mut self) -> Outcome {
        for index in 0..self.clients.len() {
            self.leave(index);
        }
        self.until("let everybody go", |world| {
            world.sessions.is_empty() && world.clients.iter().all(|client| client.transport.is_none())
        })?;
        let days = Duration::from_secs(self.plan.night_days * 86_400);
        self.now = self.now + days;
        self.limit = self.limit + days;
        Ok(())
    }

    /// Who was away comes back, and who is late joins.
    pub(super) fn everybody_comes(&mut self) {
        for index in 0..self.clients.len() {
            let late = index >= self.plan.clients.len();
            if late {
                self.report.faults.count(Fault::Late);
            }
            let client = &mut self.clients[index];
            if std::mem::take(&mut client.away) {
                let (life, delay) = (client.life, self.rng.u64(0..2_000));
                self.at(delay, Event::Dial { client: index, life });
            }
        }
        self.limit = self.limit + super::PATIENCE;
    }
}
