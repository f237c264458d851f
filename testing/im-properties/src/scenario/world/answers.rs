//! What the server's application answers, connections, time, and a world without faults.

use super::*;

impl World {
    pub(super) fn answer_login(&mut self, how: u8) {
        let (Some(resume), Some(_)) = (self.login.take(), &self.server) else { return };
        let (now, wall) = (self.now, self.unix_secs() * 1000);
        let Some(server) = &mut self.server else { return };
        let answered = match how % 8 {
            0 => server.refuse_login(now, "not now"),
            1 => server.accept_login(now, "alice", wall),
            _ => {
                let positions = resume.map_or_else(Vec::new, |resume| resume.positions);
                let facts = positions.iter().map(|position| {
                    let at = index(&position.conversation);
                    LogFacts { epoch: 0, oldest: 1, head: self.log.head(at), acked: self.log.acked[at] }
                });
                let facts: Vec<_> = facts.collect();
                server.resume_login(now, "alice", wall, &facts).map(drop)
            }
        };
        if answered.is_ok() && server.state() == State::Online {
            for at in 0..OTHERS.len() {
                server.read_by(&conversation(at), "alice", 0, self.log.read[at]);
            }
        }
        self.read_arrived();
    }

    pub(super) fn answer_ticket(&mut self, fresh: bool) {
        let Some(ticket) = self.ticket.take() else { return };
        let fresh = fresh && self.used.spend(&ticket.id, ticket.expires, ticket.now);
        if let Some(server) = &mut self.server {
            let _ = server.ticket(self.now, fresh);
        }
        self.read_arrived();
    }

    pub(super) fn store(&mut self, which: usize, says: StoreSays) {
        if self.waiting.is_empty() {
            return;
        }
        let Some((id, message)) = self.waiting.remove(which % self.waiting.len()) else { return };
        let stored = match says {
            StoreSays::Stored | StoreSays::StoredSilently => Some(self.log.append(id, &message)),
            StoreSays::Nothing | StoreSays::NotNow => None,
            // What is in the log is never refused.
            StoreSays::Never => self.log.find(id).map(|(_, seq)| (seq, true)),
        };
        let Some(server) = &mut self.server else { return };
        let answered = match (says, stored) {
            (StoreSays::Stored | StoreSays::Never, Some((seq, duplicate))) => {
                server.stored(id, &message.to, seq, seq, 0, duplicate)
            }
            (StoreSays::NotNow, _) => server.refused(id, RefusalCode::STORE, "busy", true),
            (StoreSays::Never, None) => server.refused(id, RefusalCode::FORBIDDEN, "no", false),
            (StoreSays::StoredSilently, Some((seq, _))) => {
                // Whoever else watches the log tells this device, too.
                server.notify(&message.to, seq);
                server.unanswerable()
            }
            (StoreSays::Nothing | StoreSays::Stored | StoreSays::StoredSilently, _) => server.unanswerable(),
        };
        if let Err(error) = answered {
            assert!(!matches!(server.state(), State::Online | State::Closing), "an answer was not taken: {error}");
        }
        self.read_arrived();
    }

    pub(super) fn log_answers(&mut self) {
        let (Some(asked), Some(server)) = (self.asked.take(), &mut self.server) else { return };
        let answered = match asked {
            Asked::Unread { limit } => {
                let (heads, complete) = self.log.unread(limit);
                server.unread(&heads, complete)
            }
            Asked::Fetch { conversation, after, max } => {
                let at = index(&conversation);
                let after = after.unwrap_or(self.log.acked[at]);
                server.fetched(&conversation, after, self.log.items(at, after, max))
            }
        };
        assert_eq!(answered, Ok(()), "an answer that was asked for");
    }

    pub(super) fn tell(&mut self, what: u8) {
        let at = usize::from(what) % OTHERS.len();
        let Some(server) = &mut self.server else { return };
        let up_to = u64::from(what / 8).min(self.log.head(at));
        match what % 5 {
            0 | 1 => server.read_by(&conversation(at), OTHERS[at], 0, up_to),
            2 | 3 => server.delivered_to(&conversation(at), OTHERS[at], 0, up_to),
            _ => {
                server.signal(PeerSignal::Typing { conversation: conversation(at), user: OTHERS[at].into(), on: true });
            }
        }
    }

    /// A transport; the one before is gone on both sides.
    pub(super) fn connect(&mut self) -> bool {
        if self.client.state() != State::Offline {
            return false;
        }
        self.connections += 1;
        self.server_gone();
        let (secret, other) = (self.secret(), self.secret());
        for wire in [&mut self.up, &mut self.down] {
            wire.0.clear();
            wire.1.clear();
        }
        // Events of the end before are not this connection's, and are judged by what that one went through.
        while let Some(event) = self.client.poll_event() {
            self.client_event(event);
        }
        self.corrupted = false;
        self.client.connect(secret, self.now).expect("a client that is offline");
        let mut arrival = Arrival::at(self.unix_secs());
        arrival.tickets = Some(self.keys.clone());
        let server = Connection::server_for(self.config.clone(), arrival, other, self.now);
        self.server = Some(server.expect("a valid configuration"));
        true
    }

    /// The server's side of the connection, with what it did not get to.
    pub(super) fn server_gone(&mut self) {
        self.server = None;
        (self.login, self.ticket, self.asked) = (None, None, None);
        self.waiting.clear();
    }

    pub(super) fn client_crash(&mut self) {
        // Its last events came to the application, or not.
        self.secrets += 1;
        let seed = 1 + self.secrets;
        self.client = Connection::client(self.template.clone(), seed).expect("a valid configuration");
        self.down.0.clear();
        self.down.1.clear();
        self.application.crash();
        if let Some(saved) = &self.saved {
            self.client.add_ticket(saved).expect("a ticket of this device");
        }
    }

    pub(super) fn time(&mut self, how: u8) {
        let timers = [self.client.poll_timeout(), self.server.as_ref().and_then(Connection::poll_timeout)];
        let next = timers.into_iter().flatten().map(|(at, _)| at).min();
        self.now = match how {
            0..=199 => self.now + Duration::from_millis(u64::from(how) * 50),
            200..=229 => next.unwrap_or(self.now).max(self.now),
            230..=239 => self.now + Duration::from_secs(30),
            240..=249 => self.now + Duration::from_secs(600),
            250..=255 => Instant::from_micros(self.now.as_micros().saturating_sub(5_000_000)),
        };
        self.client.handle_timeout(self.now);
        assert!(self.client.poll_timeout().is_none_or(|(at, _)| at > self.now), "a timer is due again at once");
        if let Some(server) = &mut self.server {
            server.handle_timeout(self.now);
            assert!(server.poll_timeout().is_none_or(|(at, _)| at > self.now), "a timer is due again at once");
        }
    }

    /// A round without faults: everybody does what is to be done. Whether anything was.
    pub(super) fn calm(&mut self) -> bool {
        let mut any = self.connect();
        any |= self.transmit(Side::Client, usize::MAX, usize::MAX);
        any |= self.transmit(Side::Server, usize::MAX, usize::MAX);
        any |= self.arrive(Side::Server, usize::MAX);
        any |= self.arrive(Side::Client, usize::MAX);
        any |= self.poll(Side::Client, usize::MAX);
        any |= self.poll(Side::Server, usize::MAX);
        any |= self.ticket.is_some() || self.login.is_some() || self.asked.is_some();
        self.answer_ticket(true);
        self.answer_login(2);
        self.log_answers();
        while !self.waiting.is_empty() {
            any = true;
            self.store(0, StoreSays::Stored);
        }
        while !self.application.held.is_empty() {
            any = true;
            let token = self.application.keep(0);
            self.client.ack(token);
        }
        if self.server.is_none() && self.client.state() != State::Offline {
            any = true;
            self.client.handle_eof(self.now);
        }
        any
    }

    /// Without faults from here on, everything is where it belongs after a while.
    pub(in super::super) fn settle(mut self) {
        if self.corrupted {
            self.client.handle_eof(self.now);
            self.server_gone();
        }
        for _ in 0..MAX_ROUNDS {
            let busy = self.calm();
            self.check();
            if !busy {
                if self.converged() {
                    assert_eq!(self.client.unanswered(), 0, "the outbox holds what has its outcome");
                    assert_eq!(self.server.as_ref().map(Connection::unacked), Some(0), "the server waits for acks");
                    return;
                }
                self.time(200);
            }
        }
        let safe: Vec<_> = (0..2).map(|at| self.application.covered(&self.log, at)).collect();
        panic!(
            "no rest: {:?}, {} messages without an outcome, {} read positions not told back, {safe:?} safe, {:?}",
            self.client.state(),
            self.application.open(),
            self.client.unconfirmed_reads(),
            self.log,
        );
    }

    fn converged(&self) -> bool {
        let everything = |at| {
            let head = self.log.head(at);
            self.application.covered(&self.log, at) == head && self.log.acked[at] == head
        };
        self.client.state() == State::Online && self.application.open() == 0 && (0..2).all(everything)
    }
}
